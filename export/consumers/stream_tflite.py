"""Clean or separate a recording as an app does, block after block: LiteRT and NumPy, nothing else.

    pip install ai-edge-litert numpy
    python stream_tflite.py gtcrn_dns3_stream.tflite talk.wav -o clean.wav

talk.wav: 16 bits, one channel, at the model's rate. Several sources are as many channels of
clean.wav. The file keeps its own state between blocks; `reset` brings silence back. With a file
called NAME_step.tflite the state is this program's: what comes out as state_... goes in with the
next block. The sound is late by the model's delay, which this program takes off. A microphone gives
and a loudspeaker takes the same blocks. Where the card is not there, what the file tells of itself
takes its place.
"""

import argparse
import hashlib
import json
import struct
import sys
import time
import wave
from pathlib import Path

import numpy as np


class Problem(Exception):
    """What the user can mend: one line."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="the _stream.tflite or _step.tflite file")
    parser.add_argument("sound", type=Path, help="a WAV of 16 bits and one channel")
    parser.add_argument("-o", "--out", type=Path, default=Path("out.wav"), help="a WAV")
    parser.add_argument("--card", type=Path, help="default: the NAME_fp*.json beside it")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    options = parser.parse_args()
    try:
        card = read_card(options.model, options.card)
        sound = read_sound(options.sound, card["sample_rate"])
        if options.out.exists() and options.out.samefile(options.sound):
            raise Problem(f"{options.out}: is the recording itself; give another file by -o")
        step = load(options.model, options.threads, card["stream"]["begins_with"])
        clean, worst = through(step, sound, card)
        write_sound(options.out, clean, card["sample_rate"])
    except (Problem, OSError) as error:
        print(f"stream_tflite: {error}", file=sys.stderr)
        return 1
    print(
        f"{options.out}: {len(clean) / card['sample_rate']:.2f} s, worst block {1e3 * worst:.1f} ms"
    )
    return 0


def read_card(model, path):
    """The card that knows the file; each NAME_fp*.json tells of the stream and its twin."""
    if not model.is_file():
        raise Problem(f"{model}: is not there")
    name = model.stem.removesuffix("_stream").removesuffix("_step")
    paths = sorted(model.parent.glob(f"{name}_fp*.json")) if path is None else [path]
    if not paths:
        return told_by(model)
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    for place in paths:
        try:
            card = json.loads(place.read_text(encoding="utf-8"))
            known = {card["files"][card["stream"][key]]["sha256"] for key in ("file", "twin")}
            if sha256 in known:
                return card
        except (ValueError, KeyError, TypeError):
            pass  # no card, or none of a stream
    raise Problem(f"{', '.join(map(str, paths))}: no card of {model} as a stream")


def told_by(model):
    """What is in the file's own metadata under the name "kzoo"."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError:
        raise Problem("LiteRT is not installed: pip install ai-edge-litert") from None
    content = model.read_bytes()
    try:
        root = schema.Model.GetRootAsModel(content, 0)
        entries = [root.Metadata(i) for i in range(root.MetadataLength())]
        texts = [root.Buffers(e.Buffer()).DataAsNumpy() for e in entries if e.Name() == b"kzoo"]
        card = json.loads(bytes(texts[0]))
        card["stream"]["begins_with"], card["sources"]
    except (IndexError, KeyError, TypeError, ValueError, struct.error):
        raise Problem(
            f"{model}: has no .json beside it, and tells nothing of a stream itself"
        ) from None
    return card


def read_sound(path, rate):
    """`[samples]`, full scale 1.0."""
    try:
        with wave.open(str(path)) as reader:
            form = reader.getnchannels(), reader.getsampwidth(), reader.getframerate()
            data = reader.readframes(reader.getnframes())
    except (wave.Error, EOFError) as error:
        raise Problem(f"{path}: no WAV of 16 bits ({error})") from None
    if form != (1, 2, rate):
        raise Problem(f"{path}: needs one channel of 16 bits at {rate} Hz; got {form}")
    if len(data) < 2:
        raise Problem(f"{path}: holds no sound")
    return np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768


def through(step, sound, card):
    """The sources `[samples, sources]`, as long as the sound, and the slowest block's seconds."""
    stream, worst, heard = card["stream"], 0.0, []
    block, late = stream["frames"] * stream["hop_length"], stream["delay_samples"]
    padded = np.pad(sound, (0, late + -(len(sound) + late) % block))
    for at in range(0, len(padded), block):
        begun = time.perf_counter()
        found = step(padded[None, at : at + block, None])
        heard.append(np.stack([found[source][0, :, 0] for source in card["sources"]], axis=1))
        worst = max(worst, time.perf_counter() - begun)
    return np.concatenate(heard)[late : late + len(sound)], worst


def write_sound(path, sound, rate):
    with wave.open(str(path), "wb") as writer:
        writer.setparams((sound.shape[1], 2, rate, 0, "NONE", None))
        writer.writeframes(np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


def load(model, threads, begins_with):
    """A function of a block `[1, samples, 1]`, which goes on with each call.

    begins_with: {state: values} of the states of silence that are not zeros.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise Problem("LiteRT is not installed: pip install ai-edge-litert") from None
    try:
        interpreter = Interpreter(model_path=str(model), num_threads=threads)
        run = interpreter.get_signature_runner("step")
        if "reset" in interpreter.get_signature_list():
            interpreter.get_signature_runner("reset")()
    except (ValueError, RuntimeError) as error:
        raise Problem(f"{model}: LiteRT cannot use it ({str(error).splitlines()[0]})") from None
    state = {
        name: np.array(begins_with.get(name, np.zeros(detail["shape"])), detail["dtype"])
        for name, detail in run.get_input_details().items()
        if name.startswith("state_")
    }

    def step(block):
        results = run(waveform=block, **state)
        state.update((name, results[name]) for name in state)
        return results

    return step


if __name__ == "__main__":
    sys.exit(main())
