"""Play a synthesiser of kzoo as an app does, block after block: LiteRT and NumPy, nothing else.

    pip install ai-edge-litert numpy
    python play_tflite.py ddsp_violin_stream.tflite melody.csv -o melody.wav

melody.csv has a header and rows of time (seconds), f0_hz (0 for a rest) and loudness_db; between
them both move along lines, the pitch on the scale of notes; a rest is silent. The file keeps its
own state, so that blocks join without a click and in tune, however long it plays; `reset` brings
silence back. The sound is one hop late, which this program takes off.
"""

import argparse
import csv
import hashlib
import json
import sys
import time
import wave
from pathlib import Path

import numpy as np


class Problem(Exception):
    """What the user can mend: one line."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="the _stream.tflite file")
    parser.add_argument("controls", type=Path, help="CSV: time, f0_hz, loudness_db")
    parser.add_argument("-o", "--out", type=Path, default=Path("out.wav"), help="a WAV")
    parser.add_argument("--card", type=Path, help="default: the NAME_fp*.json beside it")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    options = parser.parse_args()
    try:
        card = read_card(options.model, options.card)
        silence_db = -float(card.get("loudness_range_db", 80))
        times, f0_hz, loudness_db = read_controls(options.controls, silence_db)
        begun = time.perf_counter()
        seconds = play(options, card, times, f0_hz, loudness_db, silence_db)
        spent = time.perf_counter() - begun
    except (Problem, OSError) as error:
        print(f"play_tflite: {error}", file=sys.stderr)
        return 1
    print(f"{options.out}: {seconds:.2f} s of sound in {spent:.2f} s")
    return 0


def read_card(model, path):
    """The card that knows the file; of NAME_stream.tflite each NAME_fp*.json tells."""
    name = model.stem.removesuffix("_stream")
    paths = sorted(model.parent.glob(f"{name}_fp*.json")) if path is None else [path]
    if not model.is_file() or not paths:
        raise Problem(f"{model}: the .tflite and its .json belong together, and one is not there")
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    for place in paths:
        try:
            card = json.loads(place.read_text(encoding="utf-8"))
            if sha256 == card["files"][card["stream"]["file"]]["sha256"]:
                return card
        except (ValueError, KeyError, TypeError):
            pass  # no card, or none of a stream
    names = ", ".join(map(str, paths))
    raise Problem(f"{names}: no card of {model} as a stream; NAME_stream.tflite is what plays")


def read_controls(path, silence_db):
    """Three arrays `[points]` from the columns of these names; none is fainter than silence."""
    columns = "time", "f0_hz", "loudness_db"
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        found = np.array([[float(row[name]) for name in columns] for row in rows]).reshape(-1, 3).T
    except (KeyError, TypeError, ValueError, csv.Error):
        raise Problem(f"{path}: needs columns {', '.join(columns)} of numbers") from None
    times, f0_hz, loudness_db = found
    if not found.size or not np.isfinite(found).all() or np.any(np.diff(times) <= 0):
        raise Problem(f"{path}: needs rows of finite numbers, and times that rise")
    if np.any(f0_hz < 0):
        raise Problem(f"{path}: f0_hz must be at least 0; got {f0_hz.min():g}")
    return times, f0_hz, np.maximum(loudness_db, silence_db)


def play(options, card, times, f0_hz, loudness_db, silence_db):
    """Write the sound; its seconds."""
    rate, hop, block = card["sample_rate"], card["stream"]["hop_length"], card["stream"]["frames"]
    step, reset = load(options.model, options.threads)
    reset()
    frames = 1 + int((times[-1] - times[0]) * rate / hop + 1e-6)
    late, due, last = hop, frames * hop, next((f0 for f0 in f0_hz if f0 > 0), 440.0)
    with wave.open(str(options.out), "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", None))
        for start in range(0, frames + 1, block):  # one frame more, for the hop that is late
            at = times[0] + np.minimum(np.arange(start, start + block), frames - 1) * hop / rate
            pitch, level = between(at, times, f0_hz), np.interp(at, times, loudness_db)
            for k in np.flatnonzero(pitch == 0):  # a rest: silence, at the pitch before it
                pitch[k], level[k] = last if k == 0 else pitch[k - 1], silence_db
            last = pitch[-1]
            sound = step(f0_hz=column(pitch), loudness_db=column(level))["audio"]
            sound = sound[0, late:, 0][:due]
            due, late = due - len(sound), 0
            writer.writeframes(np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return frames * hop / rate


def between(at, times, f0_hz):
    """Pitch along lines of notes; held where it goes away or comes."""
    one = np.searchsorted(times, at, "right") - 1
    other = np.minimum(one + 1, len(times) - 1)
    a, b = f0_hz[one], f0_hz[other]
    part = (at - times[one]) / np.where(other > one, times[other] - times[one], 1)
    glides = (a > 0) & (b > 0)
    return np.where(glides, a * np.where(glides, b / np.where(a > 0, a, 1), 1) ** part, a)


def column(values):
    return values.astype(np.float32)[None, :, None]


def load(model, threads):
    """The signatures `step` and `reset` as functions."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise Problem("LiteRT is not installed: pip install ai-edge-litert") from None
    try:
        interpreter = Interpreter(model_path=str(model), num_threads=threads)
        return interpreter.get_signature_runner("step"), interpreter.get_signature_runner("reset")
    except (ValueError, RuntimeError) as error:
        raise Problem(f"{model}: LiteRT cannot use it ({str(error).splitlines()[0]})") from None


if __name__ == "__main__":
    sys.exit(main())
