"""What a separator's bundle has beside its files: programs that separate whole recordings.

One in Python and one in C separate a recording a block and a half long with each file, and are
compared with Keras on the same blocks, which kzoo joins.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export import c_programs
from export.mobile import figures

if TYPE_CHECKING:
    from kzoo.presets import Preset

CONSUMER = Path(__file__).parent / "consumers" / "separate_tflite.py"


def prove(
    preset: Preset,
    cards: Sequence[Mapping[str, Any]],
    folder: Path,
    scratch: Path,
    *,
    sound: Path | None,
) -> Iterator[str]:
    """Run the program of the bundle `folder` with the file of each card; yields how it did.

    scratch: where it writes. sound: a recording, or None for `deploy.examples.parity_sound`.
    Raises ValueError where it fails, and where its stems are not those of Keras.
    """
    from kzoo import audio
    from kzoo.deploy import examples, parity
    from kzoo.deploy.formats import tflite

    rate, block, channels = (cards[0][key] for key in ("sample_rate", "block_samples", "channels"))
    length = 3 * block // 2
    if sound is None:
        waveform, _ = examples.parity_sound(rate, channels, length)
    else:
        waveform = examples.fitted_to(audio.read(sound, sample_rate=rate)[0], channels, length)
    song = scratch / "song.wav"
    waveform = _write_wav(song, waveform, rate)
    condition = cards[0].get("condition")
    size = preset.sizes(**({"condition": "input"} if condition else {}))[0]
    size, samples = size.static(block)
    model = preset.model(size, samples=samples)
    example, program = {"waveform": waveform[None, :block]}, None
    if condition:  # which the C program does not know
        names = condition["names"]
        expected = {}
        for name, told in zip(names, np.eye(len(names)).tolist(), strict=True):
            [expected[name]] = _keras_in_blocks(model, waveform, cards[0], told).values()
        example[condition["input"]] = np.ones((1, len(names)), np.float32)
    else:
        for path in (c_programs.HEADER, c_programs.LITERT[0]):
            shutil.copyfile(path, folder / path.name)
        program = c_programs.build(folder, c_programs.LITERT, scratch / "separate")
        expected = _keras_in_blocks(model, waveform, cards[0])
    for card in cards:
        path = Path(card["path"])
        one, two = (_speed(tflite.load(path, threads=threads), example, rate) for threads in (1, 2))
        yield f"{path.name}: {one:.0f} ms per second of sound on 1 thread, {two:.0f} on 2"
        programs = {CONSUMER.name: [sys.executable, folder / CONSUMER.name]}
        if program is not None:
            programs[c_programs.LITERT[0].name] = [program]
        for name, command in programs.items():
            command += [path, song, "-o", scratch]
            run = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
            if run.returncode:
                raise ValueError(f"{name} failed: {run.stderr.strip().splitlines()[-1]}")
            found = {source: _read_wav(scratch / f"{source}.wav") for source in expected}
            differences = parity.compare(expected, found, waveform)
            parity.check(differences, parity.LIMITS_DB[card["precision"]])
            yield f"{name} with {path.name}, against Keras in blocks:"
            yield f"  {figures({source: vars(d) for source, d in differences.items()})}"


def _keras_in_blocks(
    model, waveform: np.ndarray, card: Mapping[str, Any], told: Sequence[float] = ()
) -> dict[str, np.ndarray]:
    """{source: `[samples, channels]`} of a model of one block, joined as its card says.

    told: what a model that is told it is to extract.
    """
    from kzoo.dsp.blocks import BlockGrid
    from kzoo.separation import BlockSeparator, System, at_level

    joining, block = dict(card.get("joining", {})), card["block_samples"]
    system = System(
        # Not a plain call, in which a recurrent network goes step by step for minutes.
        function=lambda x: model.predict([x, np.array([told])] if told else x, verbose=0),
        sources=card["sources"], sample_rate=card["sample_rate"], channels=card["channels"],
        interchangeable=card.get("interchangeable", False),
        standardised=joining.pop("standardised", False),
        grid=BlockGrid(block, block - card["overlap_samples"], **joining),
    )  # fmt: skip
    if "level_db" in card:
        system = at_level(system, card["level_db"])
    stems = BlockSeparator(system).separate(waveform, card["sample_rate"])
    return {name: np.clip(stem, -1, 1) for name, stem in stems.items()}  # as a WAV holds it


def _speed(run: Callable, inputs: Mapping[str, np.ndarray], rate: int) -> float:
    """Milliseconds per second of sound, the best of three after one to warm up."""
    spent = []
    for _ in range(4):
        begun = time.perf_counter()
        run(inputs)
        spent.append(time.perf_counter() - begun)
    return 1000 * min(spent[1:]) / (inputs["waveform"].shape[1] / rate)


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
