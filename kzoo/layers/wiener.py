"""The multichannel Wiener filter of `dsp.wiener` as a layer, window after window."""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp import wiener
from kzoo.layers.masks import JoinSegments, Segments


@keras.saving.register_keras_serializable("kzoo")
class WienerFilter(keras.layers.Layer):
    """First estimates of the sources to better ones, by `dsp.wiener.refine` in each window.

    (real, imag) `[batch, sources, frames, bins, channels]` and the mixture's `[batch, frames, bins,
    channels]` to (real, imag) of the first shape.

    iterations: at least one. frames: of a window, with None of the whole signal. The last window is
    filled with silence, which changes nothing. epsilon: Open-Unmix's.
    """

    def __init__(
        self, iterations: int, frames: int | None = None, epsilon: float = 1e-10, **kwargs
    ):
        super().__init__(**kwargs)
        self.iterations, self.frames, self.epsilon = iterations, frames, epsilon

    def call(self, real, imag, mixture_real, mixture_imag):
        frames = mixture_real.shape[1]
        window = frames if self.frames is None else min(self.frames, frames or self.frames)
        if window is None or window == frames:  # one window
            return self._refine(real, imag, mixture_real, mixture_imag)
        segments, join = Segments(window, dtype=self.dtype), JoinSegments(dtype=self.dtype)
        sources = real.shape[1]

        def cut(x):  # [batch, sources, frames, ...] to [windows, sources, window, ...]
            parts = [segments(x[:, number]) for number in range(sources)]
            return ops.stack(parts, axis=1)

        better = self._refine(cut(real), cut(imag), segments(mixture_real), segments(mixture_imag))
        return tuple(join(part, mixture_real) for part in better)

    def _refine(self, *spectra):
        return wiener.refine(*spectra, iterations=self.iterations, epsilon=self.epsilon)

    def compute_output_shape(self, real_shape, imag_shape, mixture_real_shape, mixture_imag_shape):
        return real_shape, imag_shape

    def get_config(self):
        given = {"iterations": self.iterations, "frames": self.frames, "epsilon": self.epsilon}
        return {**super().get_config(), **given}
