"""What is heard in a signal: its pitch, melody, onsets and tags; and the signal played anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def pitch(
    waveform: np.ndarray,
    sample_rate: int,
    method: str | Path = "crepe_tiny",
    *,
    threshold: float = 0.0,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (times in seconds, f0_hz, confidence), one value a frame, of a waveform.

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0.

    threshold: f0_hz is NaN where the confidence is below it. options: those of `PitchTracker`
    (hop_ms=4, fmin_hz, fmax_hz, decoder, ...), which is the object to keep for many signals.
    """
    from kzoo.pitch_tracking import PitchTracker

    found = PitchTracker(method, **options)(waveform, sample_rate)
    f0_hz = np.where(found.confidence < threshold, np.nan, found.f0_hz)
    return found.times_seconds, f0_hz, found.confidence


def melody(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path = "deep_salience_melody",
    *,
    threshold: float = 0.3,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (times in seconds, f0_hz, salience), one value a frame, of the melody of a mixture.

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0.

    threshold: f0_hz is NaN where the salience is below it. options: those of
    `kzoo.pitch_tracking.melody.MelodyTracker`, which is the object to keep for many signals.
    """
    from kzoo.pitch_tracking.melody import MelodyTracker

    found = MelodyTracker(preset, **options)(waveform, sample_rate)
    f0_hz = np.where(found.confidence < threshold, np.nan, found.f0_hz)
    return found.times_seconds, f0_hz, found.confidence


def onsets(
    waveform: np.ndarray, sample_rate: int, preset: str | Path = "onset_cnn", **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return (times in seconds, strengths), one value for each place where a note or beat begins.

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0. options: those of
    `listening.OnsetDetector` (threshold, distance_seconds, device), which is the object to keep for
    many signals, and which says what begins where a preset knows several names.
    """
    from kzoo.listening import OnsetDetector

    found = OnsetDetector(preset, **options)(waveform, sample_rate)
    return found.times_seconds, found.strengths


def tag(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path = "musicnn_msd",
    *,
    top: int | None = 5,
    threshold: float = 0.0,
    **options: Any,
) -> list[tuple[str, float]]:
    """Return (tag, mean probability) of the `top` likeliest tags, the likeliest first.

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0. top: None for all. threshold:
    leaves out tags of a lower mean. options: those of `listening.Listener` (hop_seconds, device,
    engine), which is the object to keep for many signals, and which has the tags over time too.
    """
    return _heard(waveform, sample_rate, preset, options).top(top, threshold=threshold)


def embed(
    waveform: np.ndarray, sample_rate: int, preset: str | Path = "musicnn_msd", **options: Any
) -> np.ndarray:
    """Return what a tagger's last dense layer takes, `[windows, features]` float32.

    waveform, options: as in `tag`. Similar recordings lie close, so these features are what
    another classifier can learn from few examples by. Raises ValueError for an exported file, which
    does not give them.
    """
    embeddings = _heard(waveform, sample_rate, preset, options).embeddings
    if embeddings is None:
        raise ValueError(f"{preset}: an exported file gives tags and no embeddings; name a preset")
    return embeddings


def transfer(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path | None = None,
    *,
    input_rate: bool = False,
    **options: Any,
) -> tuple[np.ndarray, int]:
    """Play what a recording sings or plays by a trained synthesiser: (sound `[samples]`, rate).

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0, at any rate. The sound is as
    long, at the preset's rate, or with input_rate at the recording's. options: those
    of `TimbreTransfer` in `synthesis.transfer` (octaves, match, loudness_db, gate, dry, method,
    engine), which is the object to keep for many signals. Raises presets.PresetError for a preset
    that is no synthesiser, ValueError where nothing has a pitch.
    """
    from kzoo.synthesis.transfer import TimbreTransfer

    return TimbreTransfer(preset, **options)(waveform, sample_rate, input_rate=input_rate)


def translate(
    waveform: np.ndarray, sample_rate: int, preset: str | Path, *, to: str, **options: Any
) -> tuple[np.ndarray, int]:
    """Play what a recording plays as the domain `to` of a translator: (sound `[samples]`, rate).

    waveform: `[samples]` or `[samples, channels]`, full scale 1.0, at any rate. The sound lasts as
    long, at the preset's rate. options: those of `Translator` in `generation.translation`
    (temperature, top_k, seed), which is the object to keep for many signals. Raises
    presets.PresetError for a preset that translates nothing, config.ConfigError for another domain.
    """
    from kzoo.generation.translation import Translator

    return Translator(preset, to=to, **options)(waveform, sample_rate)


def generate(
    preset: str | Path,
    seconds: float | None = None,
    *,
    voices: int = 1,
    engine: str = "auto",
    **options: Any,
) -> tuple[np.ndarray, int]:
    """Draw sound by a generator, or its exported file: (sound `[samples]`, its rate).

    seconds: by default as long as the condition, or 5. voices: so many sounds at once, `[samples,
    voices]`. options: those of `Composer.blocks` in `generation.composing` (prime, condition,
    speaker, seed, temperature, top_k); that is the object to keep for many sounds, and for those
    that do not fit memory. engine: of `generation.Generator`. Raises presets.PresetError for a
    preset of another task, ValueError for what cannot be drawn.
    """
    from kzoo.generation.composing import Composer

    composer = Composer(preset, voices=voices, engine=engine)
    return composer(seconds, **options), composer.sample_rate


def _heard(waveform, sample_rate: int, preset: str | Path, options: Mapping[str, Any]):
    from kzoo.listening import Listener

    return Listener(preset, **options)(waveform, sample_rate)
