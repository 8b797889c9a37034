"""`kzoo separate` next to Spleeter, Open-Unmix, SCNet and demucs: whole processes on one song.

    python benchmarks/separate.py song.wav --torch-python TORCH --spleeter-python SPLEETER
        [--only htdemucs ...] [--engines litert ...] [--seconds 60] [--rounds 3]
        [--lengths 30 60 180 600] [--made FOLDER]

TORCH is the interpreter of an environment with torch, torchaudio and torchcodec, openunmix 1.3,
demucs 4.1 (without its dependencies but einops, julius, lameenc, sphn and safetensors), and the
package `scnet` of https://github.com/starrytong/SCNet; SPLEETER that of one with spleeter 2.4.

Both sides have the same weights, of the published layout and drawn from a seed, which cost what
trained ones do; how good stems are is not to be seen here. The peer is its own command, SCNet's
the program in `separate_peers.py`; kzoo's preset is what `kzoo presets convert` makes of the peer's
files. Each run is a process from start to end that reads and writes files. In a round each side
runs once, and the next round has the opposite order. Before the first all have run on a few
seconds, for the disk's cache and kzoo's LiteRT file. Figures are from the operating system's own
accounting of the finished process and its children; memory is that of the largest one.

A ratio is the median over the rounds of kzoo's figure by the peer's, with the least and the
greatest. How far the stems are apart is the energy of the peer's by that of their difference;
16 bits, as umx and Spleeter write them, bound it. --lengths measures kzoo's memory on the song
repeated up to these seconds, in place of the rounds. Weights, presets and LiteRT's files are kept
in --made, and taken from there the next time.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from separators import BUSY, cpu_of_others

PEERS = Path(__file__).with_name("separate_peers.py")
KZOO = Path(sys.executable).with_name("kzoo")
ENGINES = ("tensorflow", "litert")
WARM_UP_SECONDS = 4.0


@dataclass(frozen=True)
class Case:
    """A network on both sides.

    files: of the peer's folder, which kzoo converts as `model` with `options`.
    command: the peer's; {folder}, {song} and {out} are put in. python: which interpreter is its.
    stems: the folder of the peer's stems in {out}.
    """

    model: str
    files: Sequence[str]
    command: str
    options: Sequence[str] = ()
    python: str = "torch"
    stems: str = "song"


_UMX = (
    "-c 'from openunmix.cli import separate; separate()' {song} --model {folder} --outdir {out}"
    " --no-cuda --targets vocals drums bass other"
)
CASES = {
    "spleeter": Case(
        "spleeter", ["2stems"], "-m spleeter separate -p spleeter:2stems -o {out} {song}",
        ["activation=leaky_relu", "masks=sigmoid"], "spleeter",
    ),
    "umxhq": Case(
        "open_unmix", ["vocals.pth", "drums.pth", "bass.pth", "other.pth"], _UMX,
        ["sample_rate=44100", "hop_length=1024", "wiener_iterations=1"],
    ),
    "scnet": Case(
        "scnet", ["scnet.th"], f"{PEERS} scnet {{folder}} {{song}} {{out}}/song",
        ["sample_rate=44100", "normalize=both", "band_shares=[0.175, 0.392, 0.433]"],
    ),
    "htdemucs": Case(
        "htdemucs", ["htdemucs.th"],
        "-m demucs -n htdemucs --repo {folder} -d cpu --shifts 0 --float32 -o {out} {song}",
        ["sample_rate=44100"], stems="htdemucs/song",
    ),
}  # fmt: skip


def measure(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and peak memory in MB (the largest process) of one run."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        sys.exit(f"{shlex.join(command)} failed:\n{errors.decode(errors='replace')[-2000:]}")
    return {
        "wall s": wall,
        "cpu s": usage.ru_utime + usage.ru_stime,
        "peak MB": usage.ru_maxrss / 1e3,
    }


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def repeated(song: Path, seconds: float, path: Path) -> Path:
    """The song over and over, up to `seconds`, as 16-bit WAV."""
    sound, rate = soundfile.read(song, dtype="int16", always_2d=True)
    with soundfile.SoundFile(path, "w", rate, sound.shape[1], subtype="PCM_16") as file:
        missing = round(seconds * rate)
        while missing > 0:
            file.write(sound[:missing])
            missing -= len(sound)
    return path


def make(case: str, folder: Path, python: str) -> Path:
    """Write the peer's weights into `folder`, once; returns the folder of kzoo's preset of them."""
    peer, preset = CASES[case], folder / "preset"
    if preset.exists():
        return preset
    folder.mkdir(parents=True, exist_ok=True)
    _quietly([python, PEERS, "make", case, folder])
    told = [word for option in peer.options for word in ("--option", option)]
    files = [folder / name for name in peer.files]
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was interrupted
    part = unfinished / preset.name
    _quietly([KZOO, "presets", "convert", "--as", peer.model, *files, "-o", part, *told])
    if case == "scnet":
        from kzoo.presets import open_preset

        grid = open_preset(part).sizes()[0].grid()
        np.savez(folder / "grid.npz", samples=grid.samples, hop=grid.hop, fade=grid.fade)
    return part.rename(preset)


def ours(preset: Path, engine: str, out: Path, song: Path) -> list[str]:
    """The command of kzoo."""
    options = ["-q", "--overwrite", "--bit-depth", "float32", "--engine", engine]
    return [*map(str, (KZOO, "separate", *options, "-p", preset, "-o", out, song))]


def apart(theirs: Path, stems: Path) -> str:
    """How far the stems of two folders are apart, by stem."""
    found = []
    for path in sorted(theirs.glob("*.wav")):
        their, _ = soundfile.read(path, always_2d=True)
        our, _ = soundfile.read(stems / path.name, always_2d=True)
        energy = np.sum((our - their[: len(our)]) ** 2)
        found.append(f"{path.stem} {10 * np.log10(np.sum(their**2) / energy):.1f} dB")
    return ", ".join(found)


def side_by_side(
    case: str, song: Path, made: Path, python: str, engines: list[str], rounds: int
) -> None:
    """Run the peer and kzoo's engines in turn, and print what they take and how far they agree."""
    preset, peer, folder = make(case, made / case, python), CASES[case], song.parent
    names = ["peer", *engines]

    def run(name: str) -> dict[str, float]:
        out = folder / case / name
        if name != "peer":
            return measure(ours(preset, name, out, song))
        places = {"folder": made / case, "song": song, "out": out}
        return measure([python, *shlex.split(peer.command.format(**places))])

    whole = song.rename(folder / "whole.wav")
    repeated(whole, WARM_UP_SECONDS, song)
    for name in names:
        run(name)
    whole.rename(song)
    runs: dict[str, list] = {name: [] for name in names}
    began, others = time.perf_counter(), -cpu_of_others(())
    for number in range(rounds):
        for name in names[:: -1 if number % 2 else 1]:
            runs[name].append(run(name))
    others += cpu_of_others(()) - sum(
        figures["cpu s"] for done in runs.values() for figures in done
    )
    busy = others / ((time.perf_counter() - began) * os.cpu_count())
    print(f"\n{case}, {soundfile.info(song).duration:.0f} s, {rounds} rounds")
    for name, done in runs.items():
        print(f"  {_label(name):18}{_row(medians(done))}")
    for engine in engines:
        ratios = []
        for figure in runs["peer"][0]:
            by_round = [
                one[figure] / other[figure]
                for one, other in zip(runs[engine], runs["peer"], strict=True)
            ]
            spread = f"{min(by_round):.2f} to {max(by_round):.2f}"
            ratios.append(f"{statistics.median(by_round):.2f} of its {figure} ({spread})")
        print(f"  {_label(engine)} takes {', '.join(ratios)}")
        stems = folder / case / "peer" / peer.stems, folder / case / engine / "song"
        print(f"  {_label(engine)}, the peer's stems by the difference: {apart(*stems)}")
    if busy > BUSY:
        print(f"  a busy machine: other processes had {busy:.0%} of it; wall times say little")


def over_lengths(
    case: str, song: Path, made: Path, python: str, engines: list[str], lengths: list[float]
) -> None:
    """Print what kzoo takes of the song repeated up to each length."""
    preset, long = make(case, made / case, python), song.with_name("long.wav")
    repeated(song, WARM_UP_SECONDS, long)
    for engine in engines:
        measure(ours(preset, engine, song.parent, long))
    print(f"\n{case}, over lengths")
    for seconds in lengths:
        repeated(song, seconds, long)
        for engine in engines:
            figures = measure(ours(preset, engine, song.parent, long))
            print(f"  {seconds:5g} s  {_label(engine):18}{_row(figures)}", flush=True)


def _label(side: str) -> str:
    return side if side == "peer" else f"kzoo, {side}"


def _row(figures: dict[str, float]) -> str:
    return "".join(f"{value:10.1f} {figure}" for figure, value in figures.items())


def _quietly(command: list) -> None:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(map(str, command))} failed:\n{done.stderr[-2000:]}")


def main() -> None:
    """Run each case and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("song", type=Path)
    parser.add_argument("--torch-python", help="interpreter with openunmix, scnet and demucs")
    parser.add_argument("--spleeter-python", help="interpreter with spleeter")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--seconds", type=float, help="of the song; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lengths", type=float, nargs="+", help="seconds; kzoo alone")
    parser.add_argument("--made", type=Path, help="folder of what is made before")
    options = parser.parse_args()
    pythons = {"torch": options.torch_python, "spleeter": options.spleeter_python}
    for case in options.only:
        if pythons[CASES[case].python] is None:
            parser.error(f"{case} needs --{CASES[case].python}-python")
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        made = options.made or Path(temporary) / "made"
        os.environ["KZOO_CACHE"] = str(made / "cache")
        os.environ["MODEL_PATH"] = str(made / "spleeter")  # where Spleeter looks for its weights
        seconds = options.seconds or soundfile.info(options.song).duration
        song = repeated(options.song, seconds, Path(temporary) / "song.wav")
        for case in options.only:
            told = case, song, made, pythons[CASES[case].python], options.engines
            if options.lengths:
                over_lengths(*told, options.lengths)
            else:
                side_by_side(*told, options.rounds)


if __name__ == "__main__":
    main()
