"""What `kzoo doctor --test` does: a second of sound through every preset whose weights are here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_SILENT_DB = -60.0  # of the loudest output, relative to the input
_SAME_DB = -60.0  # of the difference of an output and the mixture
_LEVEL_DB = -26.0  # of the sound that goes in
_TONE_HZ = 220.0
_CENTS = 50.0  # how far a pitch may be from that
_LOUDNESS_DB = -25.0


class Tested(NamedTuple):
    """problem: None, or in words what is wrong with what the preset gave."""

    preset: str
    task: str
    seconds: float
    problem: str | None


def presets_here() -> list[str]:
    """The names of the presets whose weights need not be fetched."""
    from kzoo import presets

    return [name for name in presets.list_presets() if presets.weights_path(name)]


def run(names: list[str]) -> Iterator[Tested]:
    """Run each preset, one after the other; whatever one raises of its own is its problem."""
    from kzoo import presets

    for name in names:
        began = time.perf_counter()
        preset = presets.open_preset(name)
        try:
            problem = _TESTS.get(preset.task, _separation)(preset)
        except (ValueError, OSError) as error:
            problem = str(error)
        yield Tested(name, preset.card["task"], time.perf_counter() - began, problem)


def _separation(preset) -> str | None:
    from kzoo import api
    from kzoo.deploy.examples import noisy_speech

    rate, channels = preset.card["sample_rate"], preset.card["channels"]
    mixture, _ = noisy_speech(rate, channels, rate, level_db=_LEVEL_DB)
    estimates = api.Separator.from_preset(preset.name).separate(mixture, rate)
    loudest = max(_level_db(estimate) for estimate in estimates.values())
    for source, estimate in estimates.items():
        if problem := _sound(estimate, mixture.shape):
            return f"{source} {problem}"
        if _level_db(estimate - mixture) < _LEVEL_DB + _SAME_DB:
            return f"{source} is the mixture as it was"
    return None if loudest >= _LEVEL_DB + _SILENT_DB else "all that it gives is silent"


def _pitch(preset) -> str | None:
    from kzoo.pitch_tracking import PitchTracker
    from kzoo.pitch_tracking.melody import MelodyTracker

    rate = preset.card["sample_rate"]
    phase = 2 * np.pi * _TONE_HZ * np.arange(rate) / rate
    tone = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 6))
    melody = preset.card["model"]["name"] == "deep_salience"
    tracker = (MelodyTracker if melody else PitchTracker)(preset.name)
    found = tracker(tone.astype(np.float32), rate)
    frames = 1 + int(tracker.frame_rate)
    if len(found.f0_hz) != frames:
        return f"gives {len(found.f0_hz)} frames of {frames}"
    cents = 1200 * abs(np.log2(np.median(found.f0_hz) / _TONE_HZ))
    return None if cents < _CENTS else f"is {cents:.0f} cents from a tone of {_TONE_HZ:g} Hz"


def _listening(preset) -> str | None:
    from kzoo.deploy.examples import noisy_speech
    from kzoo.listening import FrameListener, Listener

    size, _ = preset.sizes()
    rate = preset.card["sample_rate"]
    sound, _ = noisy_speech(rate, 1, rate, level_db=_LEVEL_DB)
    listener = (FrameListener if size.frame_wise else Listener)(preset.name)
    found = listener(sound, rate).probabilities
    shape = (1 + rate // size.hop_length if size.frame_wise else len(found), len(size.names))
    if found.shape != shape:
        return f"has the shape {found.shape}, not {shape}"
    probable = np.all((found >= 0) & (found <= 1))  # of NaN neither is true
    return None if probable else "holds what is no probability"


def _synthesis(preset) -> str | None:
    from kzoo.synthesis import player

    found = player.instrument(preset)
    frames = found.sample_rate // found.hop_length
    rows = np.tile(np.float32([0.0, _TONE_HZ, _LOUDNESS_DB]), (frames, 1))
    dry = player.played(found.begin(), iter(rows), found.hop_length)
    sound = np.concatenate(list(player.in_room(dry, found.room)))
    if problem := _sound(sound, (frames * found.hop_length,)):
        return problem
    return None if _level_db(sound) >= _LEVEL_DB + _SILENT_DB else "is silent"


def _sound(sound: np.ndarray, shape: tuple[int, ...]) -> str | None:
    if sound.shape != shape:
        return f"has the shape {sound.shape}, not {shape}"
    return None if np.isfinite(sound).all() else "holds what is no number"


def _level_db(sound: np.ndarray) -> float:
    return 10 * np.log10(np.mean(np.square(sound, dtype=np.float64)) + 1e-20)


_TESTS = {"listening": _listening, "pitch": _pitch, "synthesis": _synthesis}
