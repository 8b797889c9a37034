"""Separate a WAV of any length with a .tflite of kzoo and its card: LiteRT and NumPy, nothing else.

    pip install ai-edge-litert numpy
    python separate_tflite.py spleeter_2stems_fp32.tflite song.wav -o out     # out/vocals.wav, ...
    python separate_tflite.py cunet_any_stem_fp32.tflite song.wav --stem vocals
    python separate_tflite.py cunet_any_stem_fp32.tflite song.wav --remix vocals=0.2,drums=1

Where the card is not there, what the file tells of itself takes its place. A file that is told what
to extract runs once for each --stem, by default for all that it knows, or for one --remix of them.
The file separates blocks of one length; this program shows what an app does around it. Blocks
overlap, and each fades into the next along a squared sine, or as the card's `joining` says, so that
no seam is heard. A block and a half and one overlap per source are in memory, however long the
recording.
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import struct
import sys
import time
import wave
from pathlib import Path

import numpy as np

JOINING = ("linear", "centred", "standardised")  # what `blocks` knows


class Problem(Exception):
    """What the user can mend: one line."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="the .tflite file")
    parser.add_argument("wav", type=Path, help="PCM WAV at the card's sample rate")
    parser.add_argument("-o", "--out", type=Path, default=Path(), help="folder for the stems")
    parser.add_argument(
        "--card", type=Path, help="default: the model's name with .json, where it is there"
    )
    parser.add_argument(
        "--stem", action="append", metavar="NAME", help="what to extract, of a file that is told it"
    )
    parser.add_argument(
        "--remix", metavar="NAME=SHARE,...", help="shares from 0 to 1 of what a file is told"
    )
    parser.add_argument("--overlap-seconds", type=float, help="default 1, at most a quarter block")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    options = parser.parse_args()
    try:
        card = read_card(options.model, options.card)
        check_joining(card)
        card["asked"] = asked_for(card, options.stem, options.remix)
        begun = time.perf_counter()
        seconds = separate(options, card)
        spent = time.perf_counter() - begun
    except (Problem, OSError) as error:
        print(f"separate_tflite: {error}", file=sys.stderr)
        return 1
    names = ", ".join(f"{source}.wav" for source in outputs(card))
    print(f"{options.out}: {names}; {seconds:.2f} s of sound in {spent:.2f} s")
    return 0


def read_card(model, path):
    """The card beside the file or elsewhere; without one, what the file tells of itself."""
    if not model.is_file():
        raise Problem(f"{model}: is not there")
    if path is None and not model.with_suffix(".json").is_file():
        return told_by(model)
    path = path or model.with_suffix(".json")
    if not path.is_file():
        raise Problem(f"{path}: is not there")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        expected = [file["sha256"] for file in card["files"].values()]
        card["sample_rate"], card["block_samples"], card["channels"], card["sources"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Problem(f"{path}: is not the card of a separator") from None
    if hashlib.sha256(model.read_bytes()).hexdigest() not in expected:
        raise Problem(
            f"{path}: is the card of another file than {model}, or that is cut off or changed"
        )
    return card


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
        card["block_samples"], card["sources"]
    except (IndexError, KeyError, TypeError, ValueError, struct.error):
        raise Problem(
            f"{model}: has no .json beside it, and tells nothing of a separator itself"
        ) from None
    return card


def check_joining(card):
    unknown = [name for name in card.get("joining", {}) if name not in JOINING]
    if unknown:
        raise Problem(
            f"its blocks are joined {', '.join(unknown)}, which this program does not know; "
            "take that of the kzoo which wrote the file"
        )


def asked_for(card, stems, remix):
    """{output: the condition}, of a file that is told what to extract; else None."""
    if "condition" not in card:
        if stems or remix:
            raise Problem(f"the file gives {', '.join(card['sources'])}; it is not told what")
        return None
    names = card["condition"]["names"]
    wanted = {stem: {stem: 1.0} for stem in stems or names}
    if remix is not None:
        try:
            shares = {
                name: float(share) for name, share in (x.split("=") for x in remix.split(","))
            }
        except ValueError:
            raise Problem(f"--remix: needs NAME=SHARE,...; got {remix!r}") from None
        wanted = {"remix": shares}
    for shares in wanted.values():
        for name, share in shares.items():
            if name not in names or not 0 <= share <= 1:
                raise Problem(
                    f"shares from 0 to 1 of {', '.join(names)} can be asked for; "
                    f"got {name}={share:g}"
                )
    return {
        output: np.array([shares.get(name, 0) for name in names], np.float32)
        for output, shares in wanted.items()
    }


def outputs(card):
    return list(card["asked"] or card["sources"])


def separate(options, card):
    """Write one WAV per source; the seconds of sound in them."""
    rate, block, channels = card["sample_rate"], card["block_samples"], card["channels"]
    overlap = card.get("overlap_samples", min(rate, block // 4))
    if options.overlap_seconds is not None:
        if not 0 <= options.overlap_seconds * rate <= block // 2:
            raise Problem(f"--overlap-seconds must be 0 to {block / 2 / rate:.2f}, half a block")
        overlap = round(options.overlap_seconds * rate)
    run = load(options.model, card, options.threads)
    with contextlib.ExitStack() as files:
        reader = files.enter_context(open_wav(options.wav))
        if reader.getframerate() != rate:
            raise Problem(
                f"{options.wav}: has {reader.getframerate()} Hz, the model wants {rate}; "
                f"resample it first: ffmpeg -i {options.wav.name} -ar {rate} resampled.wav"
            )
        width = reader.getnchannels()
        if width not in (1, channels):
            raise Problem(f"{options.wav}: has {width} channels, the model takes {channels} or 1")
        clipped, total = 0, count_samples(reader)
        if not total:
            raise Problem(f"{options.wav}: holds no sound")
        if 3 * width * total > 2**32 - 37:
            raise Problem(f"{options.wav}: is too long for the stems, WAVs which end at 4 GB")
        paths = {source: options.out / f"{source}.wav" for source in outputs(card)}
        for path in paths.values():
            if path.exists() and path.samefile(options.wav):
                raise Problem(f"{path}: is the recording itself; give another folder by -o")
        options.out.mkdir(parents=True, exist_ok=True)
        writers = {}
        for source, path in paths.items():
            writers[source] = files.enter_context(wave.open(str(path), "wb"))
            writers[source].setparams((width, 3, rate, 0, "NONE", None))
        if total < reader.getnframes():
            promised = reader.getnframes() / rate
            print(
                f"separate_tflite: {options.wav}: cut short, {total / rate:.2f} s of the"
                f" {promised:.2f} s its header promises",
                file=sys.stderr,
            )
        for stems in blocks(run, reader, card, overlap, total):
            for source, stem in stems.items():
                stem = stem.mean(axis=1, keepdims=True) if width == 1 else stem
                clipped += int(np.sum(np.abs(stem) > 1))
                writers[source].writeframes(to_pcm24(stem))
        if clipped:
            print(f"separate_tflite: {clipped} samples clipped at full scale", file=sys.stderr)
        return total / rate


def blocks(run, reader, card, overlap, total):
    """The stems piece by piece, {source: [samples, channels]}, as many samples as were read."""
    block, channels, joining = card["block_samples"], card["channels"], card.get("joining", {})
    hop = block - overlap
    fade = np.sin(0.5 * np.pi * (np.arange(overlap) + 0.5) / max(overlap, 1)) ** 2
    if joining.get("linear"):
        fade = np.arange(1, overlap + 1) / (overlap + 1)
    fade = fade[:, None].astype(np.float32)
    scale = scale_of(reader, card, block, hop)
    mean, deviation = np.float32([0, 1] if scale is None else scale)
    centred = joining.get("centred", False)
    past = block // 2 if centred else 0  # samples before the block
    heard = np.zeros((past + block, channels), np.float32)
    tails = {}
    # What has a joining begins a block at every hop, even behind one that hears the end.
    starts = range(0, total if joining else max(total - overlap, 1), hop)
    for start in starts:
        present = min(block, total - start)  # under a block at the end, with silence around it
        kept = min(overlap, present) if start else 0
        heard[: past + kept] = heard[hop : hop + past + kept]
        new = read_pcm(reader, present - kept, channels)
        heard[past + kept : past + present] = (new - mean) / deviation
        heard[past + present :] = 0
        early = (block - present) // 2 if centred else 0
        window = heard[past - early : past - early + block]
        stems = run(window)
        if "level_db" in card and (scale is None or not window.any()):
            # A network may say something in silence.
            stems = {source: np.zeros_like(stem) for source, stem in stems.items()}
        if card.get("interchangeable"):
            stems = in_order(stems, tails, fade)
        for source, stem in stems.items():
            stem = stems[source] = np.roll(stem, -early, axis=0)
            if source in tails:
                stem[:overlap] = fade * stem[:overlap] + (1 - fade) * tails[source]
            tails[source] = stem[hop:].copy()
        count = present if start == starts[-1] else hop
        yield {source: stem[:count] * deviation + mean for source, stem in stems.items()}


def scale_of(reader, card, block, hop):
    """(what is taken off, what is divided by) before the network; None of silence for a level."""
    if "level_db" in card:
        level_db = level_of(reader, card["sample_rate"], block, hop)
        return None if level_db is None else (0, 10 ** ((level_db - card["level_db"]) / 20))
    return statistics_of(reader) if card.get("joining", {}).get("standardised") else (0, 1)


def statistics_of(reader):
    """(mean, deviation) of the whole recording, of the mean of its channels."""
    count, total, squares = 0, 0.0, 0.0
    while len(waveform := read_pcm(reader, 1 << 16, reader.getnchannels())):
        mono = waveform.mean(axis=1, dtype=np.float64)
        count, total, squares = count + len(mono), total + mono.sum(), squares + mono @ mono
    reader.rewind()
    variance = max(squares - total**2 / count, 0) / max(count - 1, 1)
    return total / count, variance**0.5 + 1e-8


def level_of(reader, rate, block, hop):
    """The dBFS of what is no pause; None where all is silent.

    It is the mean power of the 50 ms that are at most 30 dB below the loudest, in classes of 1 dB.
    """
    frame, width = max(1, round(0.05 * rate)), reader.getnchannels()
    heard, powers, counts = np.zeros((0, width), np.float32), {}, {}
    while True:
        heard = np.concatenate([heard, read_pcm(reader, block - len(heard), width)])
        if not len(heard):
            break
        full = np.pad(heard, ((0, block - len(heard)), (0, 0)))[: block // frame * frame]
        squares = np.square(full, dtype=np.float64).reshape(-1, frame * width)
        for power in squares.mean(axis=1):
            if power > 1e-14:
                kind = int(np.floor(10 * np.log10(power)))
                powers[kind], counts[kind] = powers.get(kind, 0) + power, counts.get(kind, 0) + 1
        heard = heard[hop:]
    reader.rewind()
    kinds = [kind for kind in powers if kind >= max(powers) - 30]
    power = sum(powers[kind] for kind in kinds) / max(sum(counts[kind] for kind in kinds), 1)
    return 10 * np.log10(power) if kinds else None


def in_order(stems, tails, fade):
    """The stems under the names whose tails they go on from: of speakers any may come first."""
    names, both = list(tails), fade * (1 - fade)
    likeness = np.array(
        [[np.vdot(both * tails[a], stems[b][: len(fade)]) for b in names] for a in names]
    )
    # The first order is their own, which stays where all are alike.
    orders = itertools.permutations(range(len(names)))
    best = max(orders, key=lambda order: sum(likeness[k, other] for k, other in enumerate(order)))
    return {name: stems[names[k]] for name, k in zip(names, best, strict=True)} or stems


def load(model, card, threads):
    """The model as a function: float32 [block, channels] to {source: [block, channels]}."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise Problem("LiteRT is not installed: pip install ai-edge-litert") from None
    block = (card["block_samples"], card["channels"])
    try:
        interpreter = Interpreter(model_path=str(model), num_threads=threads)
        runner = interpreter.get_signature_runner(card["signature"])
        shape = tuple(runner.get_input_details()[card["input"]]["shape"].tolist())
    except (ValueError, RuntimeError, KeyError) as error:
        raise Problem(f"{model}: LiteRT cannot use it ({str(error).splitlines()[0]})") from None
    if shape != block:
        raise Problem(f"{model}: takes blocks of {shape}, its card says {block}")

    def run(waveform):
        if card["asked"] is None:
            return {s: y.copy() for s, y in runner(**{card["input"]: waveform}).items()}
        found = {}
        for output, shares in card["asked"].items():
            given = {card["input"]: waveform, card["condition"]["input"]: shares}
            found[output] = runner(**given)[card["sources"][0]].copy()
        return found

    return run


def open_wav(path):
    try:
        return wave.open(str(path), "rb")
    except (wave.Error, EOFError) as error:
        raise Problem(
            f"{path}: not a plain PCM WAV ({error}); convert it first: "
            f"ffmpeg -i {path.name} -c:a pcm_s16le plain.wav"
        ) from None


def count_samples(reader):
    """Samples per channel that are in the file, whatever its header promises."""
    samples, sample_bytes = 0, reader.getsampwidth() * reader.getnchannels()
    while data := reader.readframes(1 << 16):
        samples += len(data) // sample_bytes
    reader.rewind()
    return samples


def read_pcm(reader, samples, channels):
    """float32 [samples or fewer, channels], full scale 1; mono is repeated."""
    data, width = np.frombuffer(reader.readframes(samples), np.uint8), reader.getsampwidth()
    data = data[: len(data) // (width * reader.getnchannels()) * width * reader.getnchannels()]
    if width == 1:
        values = (data.astype(np.float32) - 128) / 128
    else:
        raw = np.zeros((len(data) // width, 4), np.uint8)  # the highest bytes of an int32
        raw[:, 4 - width :] = data.reshape(-1, width)
        values = raw.view("<i4")[:, 0].astype(np.float32) / 2**31
    values = values.reshape(-1, reader.getnchannels())
    return np.repeat(values, channels // values.shape[1], axis=1)


def to_pcm24(waveform):
    values = np.rint(np.clip(waveform, -1, 1 - 2**-23).astype(np.float64) * 2**23)
    return values.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()


if __name__ == "__main__":
    sys.exit(main())
