"""Differences of loudness, as the ear weighs it."""

from __future__ import annotations

from keras import ops

from kzoo.dsp.loudness import loudness_db
from kzoo.losses.shapes import over_examples, waveforms


def loudness_l1(
    target,
    estimate,
    *,
    sample_rate: int,
    hop_length: int = 64,
    n_fft: int = 512,
    range_db: float = 80.0,
):
    """Per example, the mean absolute difference of A-weighted loudness, in dB, frame by frame.

    Waveforms are `[batch, ..., samples, channels]`. A synthesiser is told how loud to be, and a
    difference of log magnitudes alone leaves it some dB too quiet: of two random phases' sums the
    median is under the mean. Loudness as of `dsp.loudness`, not under -range_db.
    """
    target, estimate = waveforms(target, estimate)
    options = {
        "sample_rate": sample_rate,
        "hop_length": hop_length,
        "n_fft": n_fft,
        "range_db": range_db,
    }
    heard, wanted = (loudness_db(ops.swapaxes(x, -2, -1), **options) for x in (estimate, target))
    return over_examples(ops.abs(heard - wanted))
