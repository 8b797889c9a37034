"""Bands and moments of a spectrogram left out, as SpecAugment does.

Park et al., 2019, https://arxiv.org/abs/1904.08779, without the warping of time.
"""

from __future__ import annotations

import functools
import warnings
from typing import Literal

import numpy as np

from kzoo.data.examples import Step
from kzoo.data.steps.base import check
from kzoo.data.steps.frames import analysed, frame_size, synthesised
from kzoo.extras import package


def spec_augment(
    *, probability: float = 1.0, bands: int = 2, band_hz: float = 1000.0, moments: int = 2,
    moment_seconds: float = 0.1, masks: Literal["numpy", "tensorflow_io"] = "numpy",
) -> Step:  # fmt: skip
    """Silence bands of frequencies, and moments, of all sources alike.

    bands, moments: how many of each. band_hz, moment_seconds: how wide one is at most; a width is
    drawn evenly from nothing to that. They are masks on the spectrogram, the same for all, so that
    the sources still sum to the mixture.
    masks: who draws them. tensorflow_io (`kzoo[tfio]`) never masks the highest bin and the last
    frame, and takes some ten times as long.
    Raises ImportError where tensorflow_io is asked for and not installed.
    """
    check("spec_augment", probability)
    if min(bands, moments) < 0 or bands + moments == 0:
        raise ValueError(
            f"spec_augment: bands and moments must be 0 or more, and not both 0; got {bands} and "
            f"{moments}: leave the step out for none"
        )
    if (bands and not band_hz > 0) or (moments and not moment_seconds > 0):
        raise ValueError(
            "spec_augment: band_hz and moment_seconds must be above 0; got "
            f"{band_hz} and {moment_seconds}: bands=0 or moments=0 is for none of them"
        )

    drawn = numpy_masks if masks == "numpy" else tensorflow_io_masks
    if drawn is tensorflow_io_masks:
        _tensorflow_io()

    def apply(example, rng, examples):
        if rng.random() >= probability:
            return example
        sources = example["sources"]
        count, samples, channels = sources.shape
        rate = examples.corpus.sample_rate
        n_fft, hop = frame_size(rate)
        at = np.arange(-(-samples // hop) + 1) * hop
        keep = drawn(
            rng, len(at), n_fft // 2 + 1, bands=bands, widest_bins=band_hz * n_fft / rate,
            moments=moments, longest_frames=moment_seconds * rate / hop,
        )  # fmt: skip
        together = sources.transpose(1, 0, 2).reshape(samples, count * channels)
        spectra = analysed(np.pad(together, ((n_fft // 2, n_fft // 2), (0, 0))), at, n_fft)
        masked = synthesised(spectra * keep[:, None], n_fft, samples)
        return {**example, "sources": masked.reshape(samples, count, channels).transpose(1, 0, 2)}

    return apply


def numpy_masks(
    rng: np.random.Generator, frames: int, bins: int, *, bands: int, widest_bins: float,
    moments: int, longest_frames: float,
) -> np.ndarray:  # fmt: skip
    """What is left of a spectrogram: float32 `[frames, bins]`, 0 in bands and moments, else 1.

    Widths are drawn evenly from 0 to the widest, not above the whole, and places evenly.
    """
    keep = np.ones((frames, bins), np.float32)
    for count, most, lines in ((bands, widest_bins, keep.T), (moments, longest_frames, keep)):
        for _ in range(count):
            width = round(rng.uniform(0, min(most, len(lines))))
            start = int(rng.integers(0, len(lines) - width + 1))
            lines[start : start + width] = 0
    return keep


def tensorflow_io_masks(
    rng: np.random.Generator, frames: int, bins: int, *, bands: int, widest_bins: float,
    moments: int, longest_frames: float,
) -> np.ndarray:  # fmt: skip
    """The same by `freq_mask` and `time_mask` of tensorflow-io, a function of `rng` too."""
    import tensorflow as tf

    audio = _tensorflow_io().audio
    # They draw by the seed of the graph that they are in: one of their own leaves TensorFlow's as
    # it is, also where several threads make examples.
    with tf.Graph().as_default() as graph:
        graph.seed = int(rng.integers(2**31))
        keep = tf.ones((frames, bins))
        for mask, count, most, lines in (
            (audio.freq_mask, bands, widest_bins, bins),
            (audio.time_mask, moments, longest_frames, frames),
        ):
            for _ in range(count):
                keep = mask(keep, param=min(round(most) + 1, lines))  # widths are below param
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(keep)


@functools.cache
def _tensorflow_io():
    with warnings.catch_warnings():
        # Its readers and decoders are built for TensorFlow 2.17; the masks need neither.
        warnings.simplefilter("ignore", UserWarning)
        return package("tensorflow_io", "spec_augment with masks: tensorflow_io", "tfio")
