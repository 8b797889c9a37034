"""Everything an app needs to separate or play on the phone, run and compared before it goes out.

    python -m export.mobile -p spleeter_2stems -o out        # of a synthesiser: ddsp_violin

    out/spleeter_2stems/
        spleeter_2stems_fp32.tflite  .json    the model and its card, in each precision asked for
        operators.txt                         for a LiteRT build with these kernels alone
        separate_tflite.py                    a program around it, LiteRT and NumPy only

Each file is reloaded in LiteRT and compared with Keras by `kzoo.deploy`; then the program separates
a recording a block and a half long with it, and is compared with Keras on the same blocks. Of a
synthesiser there is a NAME_stream.tflite as well, and play_tflite.py plays a melody with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

CONSUMER = Path(__file__).parent / "consumers" / "separate_tflite.py"


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        for line in bundle(options):
            print(line, flush=True)
    except (ValueError, OSError, ImportError) as error:
        print(f"export.mobile: {error}", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """What the program's words mean."""
    parser = argparse.ArgumentParser(
        prog="python -m export.mobile", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "-p", "--preset", default="spleeter_2stems", help="a name or a folder; %(default)s"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="the bundle is OUT/NAME")
    parser.add_argument(
        "--precision", nargs="+", default=["fp32", "fp16"], choices=["fp32", "fp16"]
    )
    parser.add_argument("--block-seconds", type=float, help="about; default: the model's own")
    parser.add_argument("--sound", type=Path, help="a recording to compare on")
    parser.add_argument("--allow-flex", action="store_true", help="operators that apps pay for")
    parser.add_argument("--overwrite", action="store_true")
    return parser


def bundle(options: argparse.Namespace):
    """Write the bundle; yields what is to be said on the way."""
    from kzoo import audio, presets
    from kzoo.deploy import request

    preset = presets.open_preset(options.preset)
    card = preset.card
    name, rate, seconds = card["name"], card["sample_rate"], options.block_seconds
    request.check("tflite", block_seconds=seconds, allow_flex=options.allow_flex)
    target = options.out / name
    if target.exists() and not options.overwrite:
        raise FileExistsError(f"{target}: is there already; --overwrite it or name another folder")
    if card.get("task") == "synthesis":
        from export import mobile_synthesiser

        yield from mobile_synthesiser.bundle(options, card, target)
        return
    sources = preset.sources

    from kzoo.deploy import artefact, parity
    from kzoo.deploy.bundle import put, write_operators
    from kzoo.deploy.tflite import load_tflite

    wanted = seconds and max(1, round(seconds * rate))
    size, block = preset.sizes()[0].static(wanted)
    model = preset.model(size, samples=block)
    _, block, channels = model.input_shape
    if options.sound is None:
        sound, what = parity.parity_sound(rate, channels, 3 * block // 2)
    else:
        sound, _ = audio.read(options.sound, sample_rate=rate)
        sound, what = parity.fitted_to(sound, channels, 3 * block // 2), options.sound.name

    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=options.out) as scratch:
        folder = Path(scratch) / name
        cards = []
        for precision in options.precision:
            made = artefact.export(
                model, "tflite", folder, name=name, sources=sources, sample_rate=rate,
                precision=precision, sound=sound, sound_description=what, base_card=card,
                allow_flex=options.allow_flex,
            )  # fmt: skip
            cards.append(made)
            size = f"{made['bytes'] / 1e6:.1f} MB, blocks of {block / rate:.2f} s at {rate} Hz"
            yield f"{Path(made['path']).name}: {size}; against Keras on {what}:"
            yield f"  {_figures(made['parity']['sources'])}"
            runs = [load_tflite(made["path"], threads=threads) for threads in (1, 2)]
            one, two = (_speed(run, sound[:block], rate) for run in runs)
            yield f"  {one:.0f} ms per second of sound on 1 thread, {two:.0f} on 2"
        yield write_operators(
            folder, (operator for made in cards for operator in made["operators"])
        )
        shutil.copyfile(CONSUMER, folder / CONSUMER.name)

        song, overlap = Path(scratch) / "song.wav", min(rate, block // 4)
        sound = _write_wav(song, sound, rate)
        expected = _keras_in_blocks(model, sound, block, overlap)
        for made in cards:
            command = [sys.executable, str(folder / CONSUMER.name), made["path"], str(song)]
            command += ["--overlap-seconds", str(overlap / rate), "-o", scratch]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            if run.returncode:
                raise ValueError(f"{CONSUMER.name} failed: {run.stderr.strip().splitlines()[-1]}")
            stems = {source: _read_wav(Path(scratch) / f"{source}.wav") for source in sources}
            found = parity.compare(dict(zip(sources, expected, strict=True)), stems, sound)
            parity.check(found, parity.LIMITS_DB[made["precision"]])
            yield f"{CONSUMER.name} with {Path(made['path']).name}, against Keras in blocks:"
            yield f"  {_figures({source: vars(d) for source, d in found.items()})}"
        yield put(folder, target)


def _keras_in_blocks(model, waveform: np.ndarray, block: int, overlap: int) -> np.ndarray:
    """`[sources, samples, channels]`: a second account of the blocks, float64 on whole arrays."""
    hop, samples = block - overlap, len(waveform)
    starts = range(0, max(samples - overlap, 1), hop)
    padded = np.pad(waveform, ((0, starts[-1] + block - samples), (0, 0)))
    fade = np.sin(0.5 * np.pi * (np.arange(overlap) + 0.5) / max(overlap, 1)) ** 2
    total = 0.0
    for start in starts:
        weight = np.ones(block)
        weight[:overlap] = fade if start else 1.0
        weight[hop:] = fade[::-1] if start < starts[-1] else 1.0
        estimate = np.asarray(model(padded[None, start : start + block], training=False))[0]
        placed = np.zeros((len(estimate), *padded.shape))
        placed[:, start : start + block] = estimate * weight[:, None]
        total = total + placed
    return np.clip(total[:, :samples], -1, 1)  # as a WAV holds it


def _speed(run, waveform: np.ndarray, rate: int) -> float:
    """Milliseconds per second of sound, the best of three after one to warm up."""
    spent = []
    for _ in range(4):
        begun = time.perf_counter()
        run(waveform)
        spent.append(time.perf_counter() - begun)
    return 1000 * min(spent[1:]) / (len(waveform) / rate)


def _figures(sources: dict) -> str:
    def one(found):
        same = found["snr_db"] is None or np.isinf(found["snr_db"])
        return "equal" if same else f"{found['snr_db']:.1f} dB"

    return ", ".join(f"{source} {one(found)}" for source, found in sources.items())


def _write_wav(path: Path, waveform: np.ndarray, rate: int) -> np.ndarray:
    """Write 24-bit PCM; the waveform as it is in the file."""
    values = np.rint(np.clip(waveform, -1, 1 - 2**-23).astype(np.float64) * 2**23).astype("<i4")
    with wave.open(str(path), "wb") as writer:
        writer.setparams((waveform.shape[1], 3, rate, 0, "NONE", None))
        writer.writeframes(values.reshape(-1, 1).view(np.uint8)[:, :3].tobytes())
    return (values / 2**23).astype(np.float32)


def _read_wav(path: Path) -> np.ndarray:
    with wave.open(str(path), "rb") as reader:
        data = np.frombuffer(reader.readframes(reader.getnframes()), np.uint8).reshape(-1, 3)
        raw = np.zeros((len(data), 4), np.uint8)
        raw[:, 1:] = data
        return (raw.view("<i4")[:, 0] / 2**31).reshape(-1, reader.getnchannels())


if __name__ == "__main__":
    sys.exit(main())
