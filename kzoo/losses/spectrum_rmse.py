"""Root mean squared differences of complex spectra, source by source."""

from __future__ import annotations

from keras import ops

from kzoo.dsp.stft import stft
from kzoo.losses.shapes import waveforms


def spectrum_rmse(target, estimate, *, n_fft: int = 4096, hop_length: int = 1024):
    """The root of the mean squared difference of STFTs, a mean over the sources, `[batch]`.

    As SCNet is trained, https://github.com/starrytong/SCNet: a rectangular window, the mirror image
    at both ends, divided by the root of n_fft; squares of real and imaginary parts, over channels,
    frames and bins. Waveforms are `[batch, sources, samples, channels]`, or `[batch, samples,
    channels]` of one source. So a faint source weighs as much as a loud one whose error is as
    great, which it does not in a mean of squares.
    """
    target, estimate = waveforms(target, estimate)
    difference = ops.swapaxes(estimate - target, -2, -1)
    parts = stft(difference, n_fft, hop_length, window="ones", pad_mode="reflect")
    squares = sum(ops.square(part) for part in parts) / (2 * n_fft)
    mean = ops.mean(squares, axis=(-3, -2, -1))  # channels, frames, bins
    root = ops.sqrt(ops.maximum(mean, 1e-20))  # a perfect estimate has a gradient, of zero
    return ops.mean(root, axis=1) if len(root.shape) > 1 else root
