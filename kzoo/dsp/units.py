"""Units of sound: hertz and MIDI notes, amplitudes and decibels, and a positive nonlinearity.

Engel et al., DDSP, 2020, https://arxiv.org/abs/2001.04643, has the conventions: silence is 0 Hz is
note 0, a level is never below its floor, a network's amplitudes come out of `exp_sigmoid`.
"""

from __future__ import annotations

import math

from keras import ops

LEAST_POWER = 1e-20  # of the reference: -200 dB
RANGE_DB = 80.0  # of loudness: what is fainter counts as this far below full scale


def hz_to_midi(frequency_hz):
    """MIDI note numbers, 69 at 440 Hz, with fractions; 0 for 0 Hz and below, without gradient."""
    voiced = frequency_hz > 0
    # Twice "where": the logarithm must not see a zero, or its gradient there is not finite.
    octaves = ops.log(ops.where(voiced, frequency_hz, 440.0) / 440.0) / math.log(2.0)
    return ops.where(voiced, 12.0 * octaves + 69.0, 0.0)


def power_to_db(power, range_db: float = RANGE_DB):
    """Decibels of a power, at least -range_db."""
    return ops.maximum(_decibels(ops.maximum(power, LEAST_POWER), 10.0), -range_db)


def exp_sigmoid(x, *, exponent: float = 10.0, max_value: float = 2.0, threshold: float = 1e-7):
    """max_value * sigmoid(x) ** log(exponent) + threshold: positive, bounded, exponential below 0.

    A step of x changes a faint amplitude by as many decibels as a middling one; the threshold
    keeps its logarithm. 0.405 at x = 0.
    """
    return max_value * ops.sigmoid(x) ** math.log(exponent) + threshold


def _decibels(x, factor: float):
    return ops.log(x) * (factor / math.log(10.0))
