"""A preset as a TFLite file in the cache, made and proven once: LiteRT starts without TensorFlow.

The file is of one block of the model's own grid, as `runtime` has it, so that both engines cut a
recording alike and give the same stems but for rounding.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import kzoo
from kzoo import files
from kzoo.deploy.interpreter import loaded
from kzoo.deploy.request import LITERT_MISSING
from kzoo.dsp.blocks import BlockGrid
from kzoo.presets import Preset, PresetError, Progress
from kzoo.presets.cache import cache_folder
from kzoo.separation import System, at_level

if TYPE_CHECKING:
    from kzoo.models.base.sizes import Signal

ENGINES = ("auto", "litert", "tensorflow")
_LIMIT_DB = 90.0  # under which a file is not kept
_FORM = 1  # of what lies in the cache; another is made again
_FILE, _SYSTEM, _ARRAYS = "separate_fp32.tflite", "system.json", "arrays.npz"
_PITCH_FILE = "pitch_fp32.tflite"
_STATE = "state_"


def chosen(
    engine: str,
    preset: Preset,
    *,
    device: str | None = None,
    mwf: bool = False,
    hop_length: int | None = None,
    **options: Any,
) -> bool:
    """Whether LiteRT runs `preset`: where it was asked for, and with "auto" where its file is made.

    With "auto" TensorFlow runs what needs another graph, and all of it where there is a GPU.
    hop_length: of a pitch tracker, which has a file for each.
    Raises ValueError for an unknown engine, for "litert" with a device, the Wiener filter or
    options of the model, and where what would run the preset is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}")
    if engine == "tensorflow":
        return False
    needs = [name for name, given in (("device", device), ("mwf", mwf)) if given] + list(options)
    if importlib.util.find_spec("tensorflow") is None:
        if needs:
            raise ValueError(f"{', '.join(needs)} needs TensorFlow, which is not installed")
        if not is_made(preset, hop_length):
            raise ValueError(
                f"TensorFlow is not installed, and the LiteRT file of {preset} is not in "
                f"{cache_folder()}: bring the cache of a machine that has made it, by --engine "
                "litert"
            )
    installed = importlib.util.find_spec("ai_edge_litert") is not None
    if engine == "litert":
        if needs:
            raise ValueError(f"{', '.join(needs)} needs TensorFlow; leave it or engine litert out")
        if not installed:
            raise ValueError(LITERT_MISSING)
        return True
    gpu = Path("/dev/nvidiactl").exists()
    return installed and not needs and not gpu and is_made(preset, hop_length)


def is_made(preset: Preset, hop_length: int | None = None) -> bool:
    """Whether the file of `preset`, of these weights and this version, lies in the cache.

    hop_length: as in `chosen`.
    """
    return preset.weights_path() is not None and _place(preset, hop_length).is_dir()


def system(
    preset: Preset, *, threads: int | None = None, progress: Progress | None = None
) -> System:
    """Separate by LiteRT on `threads` threads, by default one a processor.

    Makes the file where it is missing, for which TensorFlow is needed once. Raises PresetError for
    a preset that is no separator of a waveform alone, and where the file says something else.
    """
    place = _made(preset, None, _make, progress)
    kept = json.loads((place / _SYSTEM).read_text(encoding="utf-8"))
    with np.load(place / _ARRAYS) as arrays:
        arrays = dict(arrays)
    state = {name: array for name, array in arrays.items() if name.startswith(_STATE)}
    run = _loaded(place / _FILE, threads or os.cpu_count() or 1)
    made = System(
        function=None if state else _of_blocks(run, kept["sources"]),
        begin=_of_streams(run, kept["sources"], state) if state else None,
        grid=BlockGrid(**kept["grid"], fade=arrays["fade"]),
        **{name: kept[name] for name in ("sources", "sample_rate", "channels")},
        **{name: kept[name] for name in ("delay", "interchangeable")},
    )
    level_db = preset.card.get("level_db")
    return made if level_db is None else at_level(made, level_db)


def pitch_network(
    preset: Preset,
    *,
    samples: int,
    hop_length: int,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Callable[[np.ndarray], np.ndarray]:
    """The network of a pitch tracker by LiteRT: `[samples]` to activations `[frames, bins]`.

    threads, and what is made and raised: as in `system`.
    """

    def make(preset: Preset, folder: Path) -> None:
        with _refusing(preset, folder / _PITCH_FILE):
            _make_pitch(preset, folder, samples=samples, hop_length=hop_length)

    place = _made(preset, hop_length, make, progress)
    run = _loaded(place / _PITCH_FILE, threads or os.cpu_count() or 1)
    return lambda waveform: run(waveform=waveform[:, None])["activations"]


def _made(
    preset: Preset,
    hop_length: int | None,
    make: Callable[[Preset, Path], None],
    progress: Progress | None,
) -> Path:
    """The folder of the file of `preset`, which `make` fills where it is missing."""
    preset.refuse_untrained()
    preset.download(progress=progress)
    place = _place(preset, hop_length)
    if not place.is_dir():
        from kzoo.presets.fetching import one_at_a_time  # brings the network along

        with one_at_a_time(cache_folder() / "locks" / place.name, f"the file of {preset}"):
            if not place.is_dir():  # whoever held the lock has made it
                with files.replacing(place) as folder:
                    folder.mkdir()
                    make(preset, folder)
    return place


def _place(preset: Preset, hop_length: int | None = None) -> Path:
    # The weights' bytes are hashed where they are read, which is not here.
    known = {
        "card": dict(preset.card), "weights": preset.promised_sha256(preset.weights_path()),
        "kzoo": kzoo.__version__, "form": _FORM, "hop_length": hop_length,
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    return cache_folder() / "litert" / f"{preset.card['name']}-{key[:16]}"


def _loaded(path: Path, threads: int) -> Callable[..., dict[str, np.ndarray]]:
    """The only signature of a file, as a function of its named tensors."""
    return loaded(path, threads=threads).get_signature_runner()


def _of_blocks(run: Callable, sources: list[str]) -> Callable[[np.ndarray], np.ndarray]:
    def function(block: np.ndarray) -> np.ndarray:
        stems = run(waveform=block[0])
        return np.stack([stems[source] for source in sources])[None]

    return function


def _of_streams(run: Callable, sources: list[str], silence: Mapping[str, np.ndarray]) -> Callable:
    def begin() -> Callable[[np.ndarray], np.ndarray]:
        state = dict(silence)

        def function(block: np.ndarray) -> np.ndarray:
            found = run(waveform=block, **state)
            state.update((name, found.pop(name)) for name in silence)
            return np.stack([found[source] for source in sources], axis=1)

        return function

    return begin


def _make(preset: Preset, folder: Path) -> None:
    """Write the file and what a System is made of into `folder`."""
    from kzoo import runtime

    size, _ = preset.sizes()
    grid, state = runtime.stream_grid(size) if size.streams else size.grid(), {}
    with _refusing(preset, folder / _FILE):
        if size.streams:
            state = _make_stream(preset, size, grid, folder)
        else:
            _make_blocks(preset, size, folder)
    np.savez(folder / _ARRAYS, fade=grid.fade, **state)
    kept = {
        "sources": preset.sources, "sample_rate": size.sample_rate, "channels": size.channels,
        "delay": size.delay_samples if size.streams else 0,
        "interchangeable": bool(preset.card.get("interchangeable", False)),
        "grid": {
            name: getattr(grid, name) for name in ("samples", "hop", "start", "step", "context")
        },
    }  # fmt: skip
    (folder / _SYSTEM).write_text(json.dumps(kept, indent=2), encoding="utf-8")


@contextlib.contextmanager
def _refusing(preset: Preset, file: Path) -> Iterator[None]:
    """PresetError where `file` would say something else than the model."""
    from kzoo.deploy import parity

    try:
        yield
    except parity.ParityError as error:
        reason = str(error).replace(f"; {file} was not written", "")
        raise PresetError(
            f"preset {preset} needs engine tensorflow, as LiteRT says something else: {reason}"
        ) from None


def _make_blocks(preset: Preset, size: Signal, folder: Path) -> None:
    from kzoo.deploy.examples import sound_proof
    from kzoo.deploy.export import export

    model = preset.model(size, **size.block())
    if len(model.inputs) != 1:
        raise PresetError(f"preset {preset} takes more than a waveform, so engine litert has none")
    proof = sound_proof(model, sample_rate=size.sample_rate, speech_db=preset.card.get("level_db"))
    export(
        model, "tflite", folder, name="separate", proof=proof, sample_rate=size.sample_rate,
        limit_db=_LIMIT_DB,
    )  # fmt: skip


def _make_pitch(preset: Preset, folder: Path, *, samples: int, hop_length: int) -> None:
    from kzoo.deploy.examples import pitch_proof
    from kzoo.deploy.export import export

    size, _ = preset.sizes(hop_length=hop_length)
    model = preset.model(size, samples=samples, padding="valid")
    proof = pitch_proof(model, sample_rate=size.sample_rate, hop_length=hop_length)
    export(
        model, "tflite", folder, name="pitch", proof=proof, sample_rate=size.sample_rate,
        limit_db=_LIMIT_DB,
    )  # fmt: skip


def _make_stream(
    preset: Preset, size: Signal, grid: BlockGrid, folder: Path
) -> dict[str, np.ndarray]:
    """Write the step of a stream; returns {"state_<name>": what it begins with}."""
    from kzoo import runtime
    from kzoo.deploy import parity
    from kzoo.deploy.examples import noisy_speech
    from kzoo.deploy.formats.streaming import write_state_twin

    sources = preset.sources
    step = preset.module.build_step(tuple(sources), size, frames=grid.samples // size.hop_length)
    preset.assign(step)
    bare = preset.module.initial_state(step)
    silence = {_STATE + name: array for name, array in bare.items()}
    path = write_state_twin(step, folder / _FILE)
    sound, _ = noisy_speech(size.sample_rate, size.channels, 3 * grid.samples, level_db=-27.0)
    expected, found = {}, {}
    for answers, separate in (
        (expected, runtime.beginnings(step, bare, sources)()),
        (found, _of_streams(_loaded(path, 1), sources, silence)()),
    ):
        blocks = [separate(block[None]) for block in np.split(sound, 3)]
        joined = np.concatenate(blocks, axis=2)
        answers |= {source: joined[:, i] for i, source in enumerate(sources)}
    parity.check(parity.compare(expected, found), _LIMIT_DB)
    return silence
