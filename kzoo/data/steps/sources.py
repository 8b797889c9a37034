"""Steps that move sources and mix them anew: tracks, levels, channels, time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kzoo.data.examples import Step
from kzoo.data.mixing.signals import at_speed, level_db
from kzoo.data.steps.base import check, each_source


def remix(*, probability: float = 1.0, active_db: float | None = None) -> Step:
    """Mix sources of different tracks and places: each is drawn by itself.

    active_db: draw again, up to eight times, a source whose RMS level is below so many dB of full
        scale: a voice rests for half of a song, and pauses teach little.
    """
    check("remix", probability)

    def apply(example, rng, examples):
        if rng.random() >= probability:
            return example
        sources = []
        for source in examples.corpus.sources:
            for _ in range(8 if active_db is not None else 1):
                drawn = examples.draw_source(rng, source)
                if active_db is None or level_db(drawn) >= active_db:
                    break
            sources.append(drawn)
        return {**example, "sources": np.stack(sources)}

    return apply


def level(
    *, probability: float = 1.0, low_db: float = -30.0, high_db: float = -16.0,
    silence_db: float = -60.0,
) -> Step:  # fmt: skip
    """Bring each source to an RMS level of its own, in dB of full scale; silence stays silence.

    For corpora put together from recordings of different levels, where the gains of `gain` would
    leave some sources always the louder ones.
    """
    if low_db > high_db:
        raise ValueError(f"level: low_db must not exceed high_db; got {low_db} and {high_db}")

    def change(source, rng):
        wanted, found = rng.uniform(low_db, high_db), level_db(source)
        return source if found < silence_db else source * np.float32(10 ** ((wanted - found) / 20))

    return each_source(change, probability, "level")


def gain(
    *, probability: float = 1.0, low_db: float = -6.0, high_db: float = 6.0, evenly: str = "db"
) -> Step:
    """Make each source louder or softer by its own number of decibels.

    evenly: "db" draws decibels evenly between the two, "factor" the factors that they stand for, as
        Uhlich et al., 2017, drew theirs from 0.25 to 1.25: -12.04 to 1.94 dB.
    """
    if low_db > high_db:
        raise ValueError(f"gain: low_db must not exceed high_db; got {low_db} and {high_db}")
    if evenly not in ("db", "factor"):
        raise ValueError(f"gain: evenly must be one of db, factor; got {evenly!r}")

    def change(source, rng):
        if evenly == "factor":
            return source * np.float32(rng.uniform(10 ** (low_db / 20), 10 ** (high_db / 20)))
        return source * np.float32(10 ** (rng.uniform(low_db, high_db) / 20))

    return each_source(change, probability, "gain")


def swap_channels(*, probability: float = 0.5) -> Step:
    """Exchange left and right of each source."""
    return each_source(lambda source, rng: source[:, ::-1], probability, "swap_channels")


def flip_polarity(*, probability: float = 0.5) -> Step:
    """Multiply each source by -1: the sum changes, its magnitudes alone do not."""
    return each_source(lambda source, rng: -source, probability, "flip_polarity")


def shift(
    *, probability: float = 1.0, seconds: float = 1.0, step_seconds: float | None = None,
    sources: Sequence[str] | None = None,
) -> Step:  # fmt: skip
    """Move each source in time by up to `seconds` either way, around the ends.

    step_seconds: by a multiple of so much. sources: these alone; all by default.
    So new mixtures are made of one song, as Huang et al., 2014, made them: their music moved
    around by multiples of 10,000 samples at 16 kHz, 0.625 s, and the voice stayed.
    """
    if step_seconds is not None and not 0 < step_seconds <= seconds:
        raise ValueError(
            f"shift: step_seconds must be above 0 and at most seconds; got {step_seconds} and "
            f"{seconds}"
        )
    check("shift", probability, sources)

    def apply(example, rng, examples):
        rate = examples.corpus.sample_rate
        step = 1 if step_seconds is None else max(1, round(step_seconds * rate))

        def change(source, rng):
            most = min(round(seconds * rate), len(source) - 1) // step
            return np.roll(source, step * int(rng.integers(-most, most + 1)), axis=0)

        return each_source(change, probability, "shift", sources)(example, rng, examples)

    return apply


def speed(*, probability: float = 1.0, low: float = 0.9, high: float = 1.1) -> Step:
    """Play each source at a speed of its own: a few speakers become many.

    Pitch and tempo change together.

    What is too long then is cut; what is too short is followed by silence.
    """
    if not 0 < low <= high:
        raise ValueError(f"speed: 0 < low <= high is needed; got low={low} and high={high}")

    def change(source, rng):
        factor = round(1000 * rng.uniform(low, high))
        changed = at_speed(source, factor)[: len(source)]
        return np.pad(changed, ((0, len(source) - len(changed)), (0, 0)))

    return each_source(change, probability, "speed")


def mute(*, probability: float = 0.1) -> Step:
    """Silence each source now and then, but never all of them."""
    check("mute", probability)

    def apply(example, rng, examples):
        silent = rng.random(len(example["sources"])) < probability
        silent[rng.integers(len(silent))] = False
        return {**example, "sources": example["sources"] * ~silent[:, None, None]}

    return apply
