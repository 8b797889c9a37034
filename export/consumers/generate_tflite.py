"""Draw sound with a generator of kzoo as an app does, block after block: LiteRT and NumPy alone.

    pip install ai-edge-litert numpy
    python generate_tflite.py wavenet_violin_free_stream.tflite --seconds 5 --seed 1 -o violin.wav

The file keeps its own state: `reset` begins anew, and `step` draws a block of samples from noise
that it is given, so that the same seed draws the same sound, that of `kzoo generate`. One that
plays pitch and loudness takes --controls, a CSV of time (seconds), f0_hz and loudness_db, between
whose rows it moves along lines.
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

OWN = -2  # given as what is heard before a sample: what was drawn


class Problem(Exception):
    """What the user can mend: one line."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="the _stream.tflite file")
    parser.add_argument("-o", "--out", type=Path, default=Path("out.wav"), help="a WAV")
    parser.add_argument("--seconds", type=float, default=5.0, help="default 5")
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    parser.add_argument("--temperature", type=float, default=1.0, help="default 1; 0: likeliest")
    parser.add_argument("--controls", type=Path, help="CSV: time, f0_hz, loudness_db")
    parser.add_argument("--speaker", help="one of the card's names")
    parser.add_argument("--card", type=Path, help="default: the NAME_fp*.json beside it")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    options = parser.parse_args()
    try:
        if not 0 < options.seconds < np.inf or options.seed < 0:
            raise Problem("--seconds must be above 0 and --seed 0 or above")
        if not 0 <= options.temperature < np.inf:
            raise Problem(f"--temperature must be 0 or above; got {options.temperature}")
        card = read_card(options.model, options.card)
        begun = time.perf_counter()
        seconds = generate(options, card)
        spent = time.perf_counter() - begun
    except (Problem, OSError) as error:
        print(f"generate_tflite: {error}", file=sys.stderr)
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
            if sha256 == card["files"][card["stream"]["file"]]["sha256"] and "draws" in card:
                return card
        except (ValueError, KeyError, TypeError):
            pass  # no card, or none of a stream
    names = ", ".join(map(str, paths))
    raise Problem(f"{names}: no card of {model} as a generator; NAME_stream.tflite is what draws")


def generate(options, card):
    """Write the sound; its seconds."""
    rate, frames = card["sample_rate"], card["stream"]["frames"]
    count, wanted = (
        frames * card["stream"]["hop_length"],
        round(options.seconds * card["sample_rate"]),
    )
    step, reset = load(options.model, options.threads)
    reset()
    codes = card["draws"]["output"] == "softmax"
    past = np.full((1, count, 1), OWN, np.int32 if codes else np.float32)
    temperature = np.float32([[options.temperature]])
    speaker, controls = conditions(options, card["draws"])
    rng = np.random.Generator(np.random.PCG64(options.seed))
    with wave.open(str(options.out), "wb") as writer:
        writer.setparams((1, 2, rate, 0, "NONE", None))
        for start in range(0, wanted, count):
            noise = rng.random((1, count, 2)).astype(np.float32)
            at = (start + np.arange(frames) * card["stream"]["hop_length"]) / rate
            known = {name: between(at)[None, :, None] for name, between in controls.items()}
            sound = step(past=past, noise=noise, temperature=temperature, **speaker, **known)
            sound = sound["audio"][0, : wanted - start, 0]
            writer.writeframes(np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return wanted / rate


def conditions(options, draws):
    """({"speaker": its number} or nothing, {control: function of times} or nothing)."""
    speaker, controls = {}, {}
    if draws["speakers"]:
        if options.speaker not in draws["speakers"]:
            raise Problem(f"--speaker must be one of {', '.join(draws['speakers'])}")
        speaker["speaker"] = np.int32([[draws["speakers"].index(options.speaker)]])
    if draws["conditions"] in ("mel", "piano_roll"):
        raise Problem("a vocoder's bands and the notes of MIDI are no files of this program")
    if (draws["conditions"] == "controls") != (options.controls is not None):
        raise Problem("--controls is for files that play pitch and loudness, and those need it")
    if options.controls is not None:
        columns = "time", "f0_hz", "loudness_db"
        try:
            with open(options.controls, newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file, skipinitialspace=True))
            found = np.array([[float(row[name]) for name in columns] for row in rows])
        except (KeyError, TypeError, ValueError, csv.Error):
            raise Problem(f"{options.controls}: needs columns {', '.join(columns)}") from None
        if not found.size or not np.isfinite(found).all() or np.any(np.diff(found[:, 0]) <= 0):
            raise Problem(f"{options.controls}: needs rows of finite numbers, and rising times")
        if found[-1, 0] - found[0, 0] < options.seconds - 1e-6:
            raise Problem(f"{options.controls}: ends before --seconds {options.seconds:g}")
        for k, name in enumerate(columns[1:], start=1):
            controls[name] = lambda at, k=k: np.interp(
                at + found[0, 0], found[:, 0], found[:, k]
            ).astype(np.float32)
    return speaker, controls


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
