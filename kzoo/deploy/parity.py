"""Does the artefact say what Keras says? Signal-to-noise ratios of each output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

# dB. fp32 must be the same computation; fp16 rounds every weight to 11 bits; with int8 and int4 as
# many weights have fewer bits as this limit, and the next where an output is faint, leave.
# Arithmetic in 8 bits rounds what every layer hears as well, and is allowed more for being faster.
LIMITS_DB = {
    "fp32": 80.0, "fp16": 50.0, "int8": 50.0, "int4": 50.0, "dynamic_int8": 45.0, "full_int8": 45.0
}  # fmt: skip
FAINT_LIMIT_DB = 40.0
# A stem fainter than this below the mixture is measured as if it were this loud: the rounding of
# something that nobody hears is no fault of an artefact.
_FLOOR_DB = -60.0


class ParityError(ValueError):
    """An artefact that does not reproduce its model."""


@dataclass(frozen=True)
class Difference:
    """One source: artefact against Keras.

    snr_db: energy of the stem over energy of the difference; inf where they are equal, nan where
        either holds something that is not a number. max_abs: the largest difference of a sample.
    """

    snr_db: float
    max_abs: float


def compare(
    reference: Mapping[str, np.ndarray],
    artefact: Mapping[str, np.ndarray],
    mixture: np.ndarray | None = None,
) -> dict[str, Difference]:
    """Difference per output. Raises ParityError where names or shapes differ.

    mixture: what a stem is faint beside; without one, each output is measured by itself.
    """
    if set(reference) != set(artefact):
        raise ParityError(
            f"the artefact gives {', '.join(artefact)}; the model has {', '.join(reference)}"
        )
    return {
        source: _difference(source, reference[source], artefact[source], mixture)
        for source in reference
    }


def energy(reference: np.ndarray, mixture: np.ndarray | None = None) -> float:
    """What the energy of a difference is measured beside: the stem's, or that of a faint one."""
    floor = 0.0
    if mixture is not None:
        floor = np.sum(np.square(mixture, dtype=np.float64)) * 10 ** (_FLOOR_DB / 10)
    return float(max(np.sum(np.square(reference, dtype=np.float64)), floor))


def check(differences: Mapping[str, Difference], limit_db: float) -> None:
    """ParityError that names the sources under `limit_db`; one that is not a number is under it."""
    bad = {source: d for source, d in differences.items() if not d.snr_db >= limit_db}
    if bad:
        found = ", ".join(f"{source} {d.snr_db:.1f} dB" for source, d in bad.items())
        raise ParityError(
            f"the artefact differs from Keras by more than its limit of {limit_db:g} dB: {found}"
        )


def check_same(first: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray]) -> None:
    """ParityError that names the sources of which a later call says anything else."""
    changed = [
        source
        for source in first
        if not np.array_equal(first[source], again[source], equal_nan=True)
    ]
    if changed:
        raise ParityError(
            "the artefact answers the same input with something else after another call: "
            f"{', '.join(changed)}"
        )


def _difference(source: str, reference, artefact, mixture) -> Difference:
    if np.shape(reference) != np.shape(artefact):
        raise ParityError(
            f"the artefact gives {source} as {np.shape(artefact)}, Keras as {np.shape(reference)}"
        )
    reference, artefact = np.asarray(reference, np.float64), np.asarray(artefact, np.float64)
    error = artefact - reference
    if not np.isfinite(error).all():
        return Difference(float("nan"), float("nan"))
    noise = np.sum(error**2)
    if noise == 0:
        return Difference(float("inf"), 0.0)
    signal = energy(reference, mixture)
    snr = 10 * np.log10(signal / noise) if signal else float("-inf")
    return Difference(float(snr), float(np.abs(error).max()))
