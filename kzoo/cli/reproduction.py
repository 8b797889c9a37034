"""The short forms of trainings and of presets' scores that `kzoo reproduce --quick` runs."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_PRESET_SECONDS = 4.0
_NOISE_DB = -10.0  # under the voice, for presets of one source

# {what is compared: (its value, what is recorded, how far apart they may be)}
Compared = dict[str, tuple[float, float, float]]


def train(path: Path, tell) -> Compared:
    """Take the few steps that `expected.quick` of a configuration names, and compare their loss.

    Raises ValueError where it names none, and where the made data are others than recorded.
    """
    from kzoo import config, training
    from kzoo.training import forecast

    values = {"name": path.stem, **config.load_yaml(path)}
    section = values.pop("expected", None)
    if section is None:
        _, parts = forecast.forecast(values)
        missing = "; ".join(f"data.{part.name}: {part.missing}" for part in parts if part.missing)
        raise ValueError(
            f"{path}: has no section expected, so no short form; kzoo train trains it"
            f"{', once its data are here: ' + missing if missing else ''}"
        )
    expected = config.call(training.Quick, section.get("quick") or {}, where="expected.quick")
    values = config.override(values, expected.settings)
    with tempfile.TemporaryDirectory() as folder:
        place = training.train(values, Path(folder) / "run", say=tell)
        trained = config.load_yaml(place / "card.yaml")["trained"]
    if trained["data"]["sha256"] != expected.data_sha256:
        raise ValueError(
            f"{path}: learns from other data than recorded (sha256 {trained['data']['sha256'][:12]}"
            f", recorded {expected.data_sha256[:12]})"
        )
    return {"loss": (trained["best"], expected.loss, expected.tolerance * abs(expected.loss))}


def separate(name: str) -> Compared:
    """Compare the SI-SDR of each source of `made_sound` with what the card of a preset records.

    Raises ValueError where it records nothing.
    """
    from kzoo import api, presets

    preset = presets.open_preset(name)
    recorded = preset.card.get("expected")
    if not recorded:
        raise ValueError(
            f"preset {name} has nothing recorded: kzoo reproduce {name} tells the rest"
        )
    tolerance = recorded["tolerance_db"]
    scores = preset_scores(preset, api.Separator.from_preset(name).separate)
    return {
        f"SI-SDR of {source}": (scores[source], value, tolerance)
        for source, value in recorded["si_sdr_db"].items()
    }


def preset_scores(preset, separate) -> dict[str, float]:
    """SI-SDR in dB of each source of a preset on made sound; speakers in their best order."""
    from kzoo.metrics import si_sdr

    rate = preset.card["sample_rate"]
    mixture, references = made_sound(preset.sources, rate, preset.card["channels"])
    estimates = separate(mixture, rate)
    orders = [preset.sources]
    if preset.card.get("interchangeable"):
        orders = list(itertools.permutations(preset.sources))

    def scores(order) -> dict[str, float]:
        pairs = zip(preset.sources, order, strict=True)
        return {one: float(si_sdr(references[one], estimates[other])) for one, other in pairs}

    return max(map(scores, orders), key=lambda found: sum(found.values()))


def made_sound(
    sources: list[str], sample_rate: int, channels: int
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """(mixture, {source: reference}), `[samples, channels]` each, of the synthetic corpus.

    What is no source of music is a voice of its own, the first in noise where it is alone.
    """
    from kzoo import data

    samples = round(_PRESET_SECONDS * sample_rate)

    def part(source: str, track: int) -> np.ndarray:
        corpus = data.open_corpus(
            "synthetic", sources=[source], tracks=track + 1, seconds=_PRESET_SECONDS,
            sample_rate=sample_rate, channels=channels,
        )  # fmt: skip
        return corpus.read_part(track, source, 0, samples)

    music = ("vocals", "accompaniment", "drums", "bass", "other")
    references = {
        source: part(source, 0) if source in music else part("vocals", number)
        for number, source in enumerate(sources)
    }
    mixture = sum(references.values())
    if len(sources) == 1:
        level = np.sqrt(np.mean(np.square(mixture))) * 10 ** (_NOISE_DB / 20)
        mixture = mixture + level * np.random.default_rng(0).standard_normal(mixture.shape)
    return mixture.astype(np.float32), references
