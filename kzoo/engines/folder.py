"""The folder of a preset's LiteRT file in the cache: where it is, and what is read from it.

Nothing of it needs TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

import kzoo
from kzoo.deploy.interpreter import loaded
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines.states import STATE, Instrument, Step, beginnings
from kzoo.engines.windows import MelodyNetwork, WindowNetwork
from kzoo.presets import Preset
from kzoo.presets.cache import cache_folder
from kzoo.separation import Blocks, System

FILE, PITCH_FILE = "separate_fp32.tflite", "pitch_fp32.tflite"
INSTRUMENT_FILE, LISTENER_FILE = "play_fp32.tflite", "hear_fp32.tflite"
TRANSFORM_FILE, SALIENCE_FILE = "transform_fp32.tflite", "salience_fp32.tflite"
_BLOCKS, _ARRAYS = "system.json", "arrays.npz"
_HOP_LENGTH, _ROOM = "hop_length", "room"
_FORM = 2  # of what lies in a folder; another is made again
_OF_GRID = ("samples", "hop", "start", "step", "context", "linear", "centred")


def place(
    preset: Preset, *, hop_length: int | None = None, live: bool = False, frames: int | None = None
) -> Path:
    """Where the file of `preset` is, made or not: a folder for these weights and this version.

    hop_length: of a pitch tracker, which has a file for each. live: of a stream, the file of its
    shortest blocks. frames: of a block of a synthesiser.
    """
    # The weights' bytes are hashed where they are read, which is not here.
    known = {
        "card": dict(preset.card), "weights": preset.promised_sha256(preset.weights_path()),
        "kzoo": kzoo.__version__, "form": _FORM, "hop_length": hop_length,
    } | ({"live": True} if live else {}) | ({"frames": frames} if frames else {})  # fmt: skip
    key = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    return cache_folder() / "litert" / f"{preset.card['name']}-{key[:16]}"


def write_blocks(folder: Path, blocks: Blocks, silence: Mapping[str, np.ndarray]) -> None:
    """Write what `read_system` reads beside the file. silence: as in `engines.blocks.Network`."""
    grid = {name: getattr(blocks.grid, name) for name in _OF_GRID}
    np.savez(folder / _ARRAYS, fade=blocks.grid.fade, **silence)
    kept = json.dumps({**vars(blocks), "grid": grid}, indent=2)
    (folder / _BLOCKS).write_text(kept, encoding="utf-8")


def read_system(folder: Path, *, threads: int) -> System:
    """The System of a file, run by LiteRT on `threads` threads."""
    kept = json.loads((folder / _BLOCKS).read_text(encoding="utf-8"))
    with np.load(folder / _ARRAYS) as arrays:
        arrays = dict(arrays)
    silence = _silence(arrays)
    run, sources = runner(folder / FILE, threads=threads), kept["sources"]
    return System(
        **{**kept, "grid": BlockGrid(**kept["grid"], fade=arrays["fade"])},
        function=None if silence else of_blocks(run, sources),
        begin=of_streams(beginnings(run, silence), sources) if silence else None,
    )


def write_instrument(
    folder: Path, silence: Mapping[str, np.ndarray], *, hop_length: int, room: np.ndarray | None
) -> None:
    """Write what `read_instrument` reads beside the file. silence: {"state_<name>": array}."""
    arrays = {_HOP_LENGTH: np.array(hop_length), **silence}
    np.savez(folder / _ARRAYS, **arrays, **({} if room is None else {_ROOM: room}))


def read_instrument(folder: Path, *, threads: int) -> Instrument:
    """The Instrument of a file, run by LiteRT on `threads` threads."""
    with np.load(folder / _ARRAYS) as arrays:
        arrays = dict(arrays)
    run = runner(folder / INSTRUMENT_FILE, threads=threads)
    return Instrument(
        beginnings(run, _silence(arrays)), int(arrays[_HOP_LENGTH]), arrays.get(_ROOM)
    )


def write_heard(folder: Path, network: WindowNetwork | MelodyNetwork) -> None:
    """Write what `read_listener` or `read_melody` reads beside its files."""
    kept = {name: value for name, value in network._asdict().items() if not callable(value)}
    (folder / _BLOCKS).write_text(json.dumps(kept, indent=2), encoding="utf-8")


def read_listener(folder: Path, *, threads: int) -> WindowNetwork:
    """The network of a file, whose output is probabilities and behind them the embedding."""
    kept = json.loads((folder / _BLOCKS).read_text(encoding="utf-8"))
    names = tuple(kept["names"])
    heard = runner(folder / LISTENER_FILE, threads=threads)

    def run(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        both = heard(waveform=window[:, None])["heard"].copy()
        return both[: len(names)], both[len(names) :]

    return WindowNetwork(**{**kept, "names": names}, run=run)


def read_melody(folder: Path, *, threads: int) -> MelodyNetwork:
    """The network of two files."""
    kept = json.loads((folder / _BLOCKS).read_text(encoding="utf-8"))
    transform = runner(folder / TRANSFORM_FILE, threads=threads)
    salience = runner(folder / SALIENCE_FILE, threads=threads)

    def of_levels(magnitudes: np.ndarray, loudest: float) -> np.ndarray:
        return salience(magnitudes=magnitudes, loudest=np.float32([loudest]))["salience"].copy()

    return MelodyNetwork(
        **{**kept, "frequencies_hz": tuple(kept["frequencies_hz"])},
        transform=lambda piece: transform(waveform=piece[:, None])["magnitudes"].copy(),
        salience=of_levels,
    )


def runner(path: Path, *, threads: int) -> Callable[..., dict[str, np.ndarray]]:
    """The only signature of a file, as a function of its named tensors."""
    return loaded(path, threads=threads).get_signature_runner()


def _silence(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if name.startswith(STATE)}


def of_blocks(run: Step, sources: Sequence[str]) -> Callable[[np.ndarray], np.ndarray]:
    """`System.function` of a file that takes a waveform `[samples, channels]`."""

    def function(block: np.ndarray) -> np.ndarray:
        stems = run(waveform=block[0])
        return np.stack([stems[source] for source in sources])[None]

    return function


def of_streams(begin_step: Callable[[], Step], sources: Sequence[str]) -> Callable:
    """`System.begin` of what begins steps that keep their states."""

    def begin() -> Callable[[np.ndarray], np.ndarray]:
        step = begin_step()

        def function(block: np.ndarray) -> np.ndarray:
            found = step(waveform=block)
            return np.stack([found[source] for source in sources], axis=1)

        return function

    return begin
