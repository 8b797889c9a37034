"""`kzoo separate` next to demucs 4.1, both with the same made weights of `htdemucs`' sizes.

    python benchmarks/hybrid_demucs.py song.wav --torch-python TORCH [--seconds 10 20] [--threads 2]
        > benchmarks/results/hybrid_demucs.txt

TORCH is the interpreter of an environment with torch and demucs 4.1, without its dependencies but
julius, einops, dora-search and omegaconf. It draws weights at random, packs them as the published
file is, and separates by `demucs.apply.apply_model` in blocks that share a quarter, without shifts,
as `demucs -n htdemucs --shifts 0` does between reading and writing; kzoo reads the same package.
Each side is a process of its own, from start to end. Weights that nobody trained cost what trained
ones do; how good stems are is not to be seen here.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from separate import measure

SOURCES = ("drums", "bass", "other", "vocals")
SIZES = {
    "bottom_channels": 512, "t_layers": 5, "dconv_mode": 3, "t_dropout": 0.02, "segment": 7.8,
}  # fmt: skip


def make(package: str) -> None:
    """Write a package of weights in which every branch counts; run by TORCH."""
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    arguments = {"sources": list(SOURCES), **SIZES}
    model = HTDemucs(**arguments)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("scale"):
                weight.uniform_(0.1, 0.3)
    torch.save({"klass": HTDemucs, "args": (), "kwargs": arguments, "state": model.state_dict()},
               package)  # fmt: skip


def demucs(package: str, song: str, out: str, threads: str) -> None:
    """Separate a recording as the program of demucs does; run by TORCH."""
    import torch
    from demucs.apply import apply_model

    torch.set_num_threads(int(threads))
    content = torch.load(package, weights_only=False)
    model = content["klass"](**content["kwargs"])
    model.load_state_dict(content["state"])
    sound, rate = soundfile.read(song, dtype="float32", always_2d=True)
    waveform = torch.from_numpy(sound.T.copy())
    mono = waveform.mean(0)
    waveform = (waveform - mono.mean()) / (mono.std() + 1e-8)
    stems = apply_model(model, waveform[None], shifts=0, split=True, overlap=0.25)[0]
    stems = stems * (mono.std() + 1e-8) + mono.mean()
    for name, stem in zip(SOURCES, stems, strict=True):
        soundfile.write(f"{out}/{name}.wav", stem.numpy().T, rate, subtype="FLOAT")


def preset(package: Path, folder: Path) -> None:
    """Write kzoo's preset of a package."""
    from kzoo import presets
    from kzoo.convert import htdemucs

    model = htdemucs.from_weights(htdemucs.read(package))
    card = {
        "name": "htdemucs", "task": "music separation", "sources": list(SOURCES),
        "sample_rate": 44100, "channels": 2, "trained": "not at all: random weights from a seed",
        "model": {"name": "htdemucs", "options": {"sources": list(SOURCES)}},
    }  # fmt: skip
    presets.save_to_preset(model, folder, card)


def main() -> None:
    """Run both sides on each length and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("song", type=Path)
    parser.add_argument("--torch-python", required=True)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 20.0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    peer = [options.torch_python, __file__]
    kzoo = str(Path(sys.executable).with_name("kzoo"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}; one run of each, {options.threads} threads")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        package, song = root / "model.th", root / "song.wav"
        subprocess.run([*peer, "make", str(package)], check=True)
        preset(package, root / "htdemucs")
        (root / "peer").mkdir()
        for seconds in options.seconds:
            rate = soundfile.info(options.song).samplerate
            sound, _ = soundfile.read(options.song, frames=round(seconds * rate), always_2d=True)
            soundfile.write(song, sound, rate, subtype="FLOAT")
            sides = {
                "demucs": [*peer, "demucs", package, song, root / "peer", options.threads],
                "kzoo": [
                    kzoo, "separate", "-q", "--overwrite", "-p", root / "htdemucs",
                    "-o", root / "out",
                    "--bit-depth", "float32", "--engine", "tensorflow", song,
                ],
            }  # fmt: skip
            for name, command in sides.items():
                figures = measure([*map(str, command)])
                row = "".join(f"{value:10.1f} {key}" for key, value in figures.items())
                print(f"{seconds:5g} s  {name:8}{row}", flush=True)
            for name in SOURCES:
                theirs, _ = soundfile.read(root / "peer" / f"{name}.wav")
                ours, _ = soundfile.read(root / "out" / "song" / f"{name}.wav")
                level = 10 * np.log10(np.sum(theirs**2) / np.sum((ours - theirs) ** 2))
                print(f"{seconds:5g} s  {name}: {level:.1f} dB between the stem and its difference")


if __name__ == "__main__":
    if sys.argv[1] in ("make", "demucs"):
        globals()[sys.argv[1]](*sys.argv[2:])
    else:
        main()
