"""A preset as a TFLite file in the cache, made and proven once: LiteRT starts without TensorFlow.

The file is of one of the preset's `engines.blocks`, so that both engines cut a recording alike and
give the same stems but for rounding.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import files
from kzoo.deploy.request import LITERT_MISSING
from kzoo.engines import exported
from kzoo.engines import folder as folders
from kzoo.engines.states import Instrument
from kzoo.engines.windows import MelodyNetwork, WindowNetwork
from kzoo.presets import Preset, Progress
from kzoo.presets.cache import cache_folder
from kzoo.separation import System, at_level

ENGINES = ("auto", "litert", "tensorflow")


def chosen(
    engine: str,
    preset: Preset,
    *,
    device: str | None = None,
    mwf: bool = False,
    hop_length: int | None = None,
    live: bool = False,
    frames: int | None = None,
    **options: Any,
) -> bool:
    """Whether LiteRT runs `preset`: where it was asked for, and with "auto" where its file is made.

    With "auto" TensorFlow runs what needs another graph, and all of it where there is a GPU.
    hop_length: of a pitch tracker, which has a file for each. live: in blocks for sound as it
    comes, which have a file of their own. frames: of a block of a synthesiser.
    An exported file (`engines.exported`) is always run by LiteRT.
    Raises ValueError for an unknown engine, for LiteRT with a device, the Wiener filter or
    options of the model, for an exported file by "tensorflow", and where what would run the preset
    is not installed.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}; got {engine!r}")
    file = isinstance(preset, exported.Exported)
    if engine == "tensorflow" and file:
        raise ValueError(f"{preset}: is an exported file, which LiteRT runs; leave the engine out")
    if engine == "tensorflow":
        return False
    form = {"hop_length": hop_length, "live": live, "frames": frames}
    needs = [name for name, given in (("device", device), ("mwf", mwf)) if given] + list(options)
    if importlib.util.find_spec("tensorflow") is None:
        if needs:
            raise ValueError(f"{', '.join(needs)} needs TensorFlow, which is not installed")
        if not is_made(preset, **form):
            raise ValueError(
                f"TensorFlow is not installed, and the LiteRT file of {preset} is not in "
                f"{cache_folder()}: bring the cache of a machine that has made it, by --engine "
                "litert"
            )
    installed = importlib.util.find_spec("ai_edge_litert") is not None
    if engine == "litert" or file:
        if needs:
            left = "it" if file else "it or engine litert"
            raise ValueError(f"{', '.join(needs)} needs TensorFlow; leave {left} out")
        if not installed:
            raise ValueError(LITERT_MISSING)
        return True
    gpu = Path("/dev/nvidiactl").exists()
    return installed and not needs and not gpu and is_made(preset, **form)


def is_made(preset: Preset, **form: Any) -> bool:
    """Whether the file of `preset`, of these weights and this version, lies in the cache.

    form: as in `folder.place`.
    """
    if isinstance(preset, exported.Exported):
        return True
    if preset.weights_path() is None:
        return False
    return folders.place(preset, **form).is_dir()


def system(
    preset: Preset,
    *,
    live: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> System:
    """Separate by LiteRT on `threads` threads, by default one a processor.

    live: in the shortest blocks that a stream runs on, one thread for each by default.
    Makes the file where it is missing, for which TensorFlow is needed once. Raises PresetError for
    a preset that is no separator of a waveform alone, for one that cannot run live, and where the
    file says something else.
    """

    def make(folder: Path) -> None:
        from kzoo.engines.making import make_separator

        make_separator(preset, folder, live=live)

    preset.refuse_other_tasks()
    threads = threads or (1 if live else _processors())
    if isinstance(preset, exported.Exported):
        made = exported.system(preset, live=live, threads=threads)
    else:
        place = _made(preset, make, progress, live=live)
        made = folders.read_system(place, threads=threads)
    level_db = preset.card.get("level_db")
    return made if level_db is None or live else at_level(made, level_db)


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

    def make(folder: Path) -> None:
        from kzoo.engines.making import make_pitch_tracker

        make_pitch_tracker(preset, folder, samples=samples, hop_length=hop_length)

    place = _made(preset, make, progress, hop_length=hop_length)
    run = folders.runner(place / folders.PITCH_FILE, threads=threads or _processors())
    return lambda waveform: run(waveform=waveform[:, None])["activations"]


def listener(
    preset: Preset, *, threads: int | None = None, progress: Progress | None = None
) -> WindowNetwork:
    """Hear windows by LiteRT; an exported file gives no embeddings.

    threads, and what is made and raised: as in `system`.
    """

    def make(folder: Path) -> None:
        from kzoo.engines.making import make_listener

        make_listener(preset, folder)

    threads = threads or _processors()
    if isinstance(preset, exported.Exported):
        return exported.listener(preset, threads=threads)
    return folders.read_listener(_made(preset, make, progress), threads=threads)


def melody(
    preset: Preset, *, threads: int | None = None, progress: Progress | None = None
) -> MelodyNetwork:
    """Track melodies by LiteRT; threads, and what is made and raised: as in `system`."""

    def make(folder: Path) -> None:
        from kzoo.engines.making import make_melody

        make_melody(preset, folder)

    place = _made(preset, make, progress)
    return folders.read_melody(place, threads=threads or _processors())


def instrument(
    preset: Preset, *, frames: int, threads: int = 1, progress: Progress | None = None
) -> Instrument:
    """Play a synthesiser's blocks of `frames` frames by LiteRT.

    threads: one by default, as its recurrent network computes frame after frame. What is made and
    raised is as in `system`; ValueError for a model that hears the whole recording.
    """

    def make(folder: Path) -> None:
        from kzoo.engines.making import make_instrument

        make_instrument(preset, folder, frames=frames)

    if isinstance(preset, exported.Exported):
        return exported.instrument(preset, threads=threads)
    place = _made(preset, make, progress, frames=frames)
    return folders.read_instrument(place, threads=threads)


def _made(
    preset: Preset,
    make: Callable[[Path], None],
    progress: Progress | None,
    **form: Any,
) -> Path:
    """The folder of the file of `preset`, which `make` fills where it is missing.

    form: as in `folder.place`.
    """
    preset.refuse_untrained()
    preset.download(progress=progress)
    place = folders.place(preset, **form)
    if not place.is_dir():
        from kzoo.presets.fetching import one_at_a_time  # brings the network along

        with one_at_a_time(cache_folder() / "locks" / place.name, f"the file of {preset}"):
            if not place.is_dir():  # whoever held the lock has made it
                with files.replacing(place) as folder:
                    folder.mkdir()
                    make(folder)
    return place


def _processors() -> int:
    return os.cpu_count() or 1
