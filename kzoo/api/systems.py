"""Systems by what a user calls them: presets, folders, scores, baselines, methods, NAME=PATH."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import kzoo
from kzoo import classical, presets, tasks
from kzoo.api.hearing_systems import PYIN, RUNS, pyin
from kzoo.evaluation.museval_scores import holds_scores, read_scores
from kzoo.evaluation.systems import (
    BASELINES,
    Baseline,
    EstimatesFolder,
    Separation,
    blend,
    untrained,
)


def evaluation_systems(
    names: Sequence[str],
    options: dict[str, Any],
    *,
    n_sources: int | None = None,
    interchangeable: bool = False,
    say: Callable[[str], object] | None = None,
) -> list:
    """Make a system of each name: a preset, a run folder, a folder of estimates, scores that
    museval or kzoo has written, a baseline, or a method without training (`classical.method_of`).

    NAME=PATH gives a system another name, so that two of one name can be told apart. A+B, or
    0.7*A+0.3*B, is the mean of the stems of presets, run folders and methods.
    What hears gives a `hearing.Hearing`, "pyin" too.
    n_sources: of the presets among them that separate by clusters; the others stay as they are.
    interchangeable: the sources of all of them, not only where a card says so.
    Models are built when their first track is separated; `say` is told what a user should know of
    each, in a line. Raises ValueError for what is neither, for n_sources that none has, and for
    `options` other than None, 0 or False where nothing among them is a preset or a run folder.
    """
    found = []
    for given in names:
        name, path = _named_system(given)
        systems = _system_of(path, options, n_sources, interchangeable, say)
        if name:
            if isinstance(systems[0], Baseline):
                raise ValueError(f"{given}: a baseline is called {' or '.join(BASELINES)}")
            if len(systems) > 1:
                listed = ", ".join(system.name for system in systems)
                raise ValueError(f"{path}: has several systems, {listed}: give it no name")
            systems = [dataclasses.replace(systems[0], name=name)]
        found += systems
    counts = [len(system.sources) for system in found if isinstance(system, Separation)]
    if n_sources is not None and n_sources not in counts:
        raise ValueError(
            f"none of these systems gives {n_sources} sources: n_sources is of presets that "
            "separate by clusters"
        )
    asked = [option for option, value in options.items() if value]
    if asked and not any(_has_preset(system) for system in found):
        raise ValueError(
            f"{asked[0]} is of presets and run folders that separate, and none of these systems is "
            "one: leave it out"
        )
    return found


def _has_preset(system: Any) -> bool:
    known = getattr(system, "known_by", None) or {}
    return "preset" in known or any("preset" in part for _, part in known.get("blend", ()))


def _named_system(given: str) -> tuple[str | None, str]:
    """(name or None, path) of PATH or NAME=PATH; ValueError for a name that is no folder's."""
    name, equals, path = given.partition("=")
    if not equals or ":" in name or Path(given).exists():  # NAME:OPTION=VALUE is a method's
        return None, given
    if not (name and path) or name.startswith(".") or {"/", "\\"} & set(name):
        raise ValueError(f"{given}: expected NAME=PATH, with a name that can be one of a folder")
    return name, path


def _system_of(
    name: str,
    options: dict[str, Any],
    n_sources: int | None,
    interchangeable: bool,
    say: Callable[[str], object] | None,
) -> list:
    path = Path(name)
    if "+" in name and not path.exists():
        return [_blend(name, options, n_sources, interchangeable, say)]
    if holds_scores(path):
        return read_scores(path)
    if path.is_dir() and not (path / presets.CARD).is_file():
        return [EstimatesFolder(path.resolve().name, path, interchangeable=interchangeable)]
    try:
        preset = presets.open_preset(name)
    except presets.PresetError as error:
        if name in BASELINES:
            return [Baseline(name)]
        if name == PYIN:
            return [pyin()]
        if name.partition(":")[0] in classical.METHODS:
            return [untrained(name)]
        raise ValueError(f"{error}; nor is it a folder of estimates or a method") from None
    if options.get("mwf"):
        preset.refuse_mwf()
    if n_sources is not None and preset.clusters:
        preset = preset.with_n_sources(n_sources)
    run = _plain(RUNS.get(preset.task, _separator)(preset, options, say))
    task = tasks.task(preset.task)
    return [task.scored(preset, run, options, interchangeable=interchangeable)]


def _blend(name: str, *arguments) -> Separation:
    """The blend that A+B or 0.7*A+0.3*B asks for; ValueError for what makes no stems itself."""
    parts = []
    for part in name.split("+"):
        weight, star, system = part.rpartition("*")
        try:
            number = float(weight) if star else 1.0
        except ValueError:
            raise ValueError(
                f"{name}: expected A+B or 0.7*A+0.3*B; {weight!r} is no number"
            ) from None
        if not system:
            raise ValueError(f"{name}: expected A+B or 0.7*A+0.3*B; a system is missing")
        found = _system_of(system, *arguments)[0]
        if not isinstance(found, Separation):
            raise ValueError(f"{name}: only presets, run folders and methods are blended")
        parts.append((number, found))
    return blend(parts)


def comparison_systems(names: Sequence[str], *, say: Callable[[str], object] | None = None) -> list:
    """Same as `evaluation_systems`, of presets, run folders, methods and folders of stems alone.

    Raises ValueError for what needs the true stems, or is no sound.
    """
    from kzoo.comparison import StemsFolder

    found: list[StemsFolder | Separation] = []
    for system in evaluation_systems(names, {}, say=say):
        if isinstance(system, EstimatesFolder):
            system = StemsFolder(system.name, system.folder)
        elif not isinstance(system, Separation):
            raise ValueError(
                f"{system.name} cannot be compared by ear: name presets, run folders, methods and "
                "folders of stems"
            )
        found.append(system)
    return found


def _separator(
    preset: presets.Preset, options: dict[str, Any], say: Callable[[str], object] | None
):
    made = []

    def separate(waveform, sample_rate):
        if not made:
            made.append(kzoo.Separator.from_preset(preset, engine="tensorflow", **options))
            for note in made[0].notes if say else ():
                say(f"{preset}: {note}")
        return made[0].separate(waveform, sample_rate)

    return separate


def _plain(run: Callable) -> Callable:
    """The same, but TensorFlow's errors, of a track that does not fit for one, are Python's."""

    def call(waveform, sample_rate):
        import tensorflow as tf

        try:
            return run(waveform, sample_rate)
        except tf.errors.OpError as error:
            exhausted = isinstance(error, tf.errors.ResourceExhaustedError)
            message = " ".join(error.message.split())
            raise (MemoryError if exhausted else RuntimeError)(message) from None

    return call
