"""Presets that hear, and their baselines, as systems that `kzoo.evaluation` scores."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from kzoo import presets, tasks
from kzoo.data import annotated
from kzoo.dsp.phones import phone_of
from kzoo.evaluation.hearing import BASELINES, Hearing

PYIN = "pyin"
VOICED_AT = 0.5  # confidence of CREPE and pYIN


def hears(systems: Sequence[Any], baselines: Sequence[str] | None) -> bool:
    """Whether systems, or without any the baselines, say something of recordings.

    Raises ValueError where some of the systems do, and others separate.
    """
    if not systems:
        known = {name for names in BASELINES.values() for name in names}
        return bool(baselines) and set(baselines) <= known
    hearing = [system for system in systems if isinstance(system, Hearing)]
    if hearing and len(hearing) < len(systems):
        other = next(system for system in systems if not isinstance(system, Hearing))
        raise ValueError(
            f"{hearing[0].name} says something of recordings and {other.name} separates them: "
            "score them apart"
        )
    return bool(hearing)


def hearing_baselines(
    systems: Sequence[Hearing], names: Sequence[str] | None
) -> list[str | Hearing]:
    """What to show beside `systems`: by default the first baseline of what they say.

    Those that are among the systems already are left out.
    """
    if names is None:
        names = BASELINES[systems[0].truth][:1]
    there = {system.name for system in systems}
    return [pyin() if name == PYIN else name for name in names if name not in there]


def refuse_for_hearing(**options: Any) -> None:
    """ValueError for an option of separation that was given with systems that hear."""
    for name, value in options.items():
        if value:
            raise ValueError(f"{name} is of what separates, and these systems hear: leave it out")


def pyin() -> Hearing:
    """The baseline of melodies: librosa's pYIN, which hears one voice."""
    known_by = {"baseline": PYIN, "voiced_at": VOICED_AT}
    return Hearing(PYIN, annotated.MELODY, _tracker(PYIN, {}, None), known_by)


def _listener(preset: presets.Preset, options, say):
    """An answer by a listener that is built when it is first called: see `_ANSWERS`."""
    size, _ = preset.sizes()
    made = functools.cache(functools.partial(_ANSWERS[tasks.Listening.truth_of(size)], preset))
    return lambda waveform, sample_rate: made()(waveform, sample_rate)


def _names(preset: presets.Preset):
    """Every name's mean probability."""
    from kzoo.listening import Listener

    listener = Listener(preset)

    def answer(waveform, sample_rate):
        heard = listener(waveform, sample_rate)
        return dict(zip(heard.names, map(float, heard.mean), strict=True))

    return answer


def _onsets(preset: presets.Preset):
    """The times of what begins, whatever its name."""
    from kzoo.listening import OnsetDetector

    detector = OnsetDetector(preset)
    return lambda waveform, sample_rate: np.unique(detector(waveform, sample_rate).times_seconds)


def _phones(preset: presets.Preset):
    """The phones, by the chain of states that a network has; without one those of the frames."""
    from kzoo.listening.frames import FrameListener
    from kzoo.listening.phones import PhoneRecogniser

    if "chain/prior" in preset.weights():
        recogniser = PhoneRecogniser(preset)
        return lambda waveform, rate: [phone.name for phone in recogniser(waveform, rate)]
    listener = FrameListener(preset)

    def answer(waveform, sample_rate):
        best = listener(waveform, sample_rate).probabilities.argmax(axis=1)
        phones = (phone_of(listener.names[k])[0] for k in best)
        return [phone for phone, _ in itertools.groupby(phones)]

    return answer


_ANSWERS = {annotated.NAMES: _names, annotated.ONSETS: _onsets, annotated.PHONES: _phones}


def _tracker(preset: presets.Preset | str, options, say):
    """A melody, by a tracker of melodies or of one voice, built when it is first called."""

    @functools.cache
    def tracker():
        from kzoo.pitch_tracking import PitchTracker, melody

        if preset != PYIN and preset.card["model"]["name"] == "deep_salience":
            return melody.MelodyTracker(preset), melody.THRESHOLD
        return PitchTracker(preset), VOICED_AT

    def answer(waveform, sample_rate):
        track, threshold = tracker()
        found = track(waveform, sample_rate)
        return found.times_seconds, found.f0_hz, found.confidence >= threshold

    return answer


# What runs a preset by its task, where it does not separate.
RUNS = {"listening": _listener, "pitch": _tracker}
