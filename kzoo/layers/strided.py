"""Filters of samples that a network learns, in place of a spectrum: one size, or several at once.

Dieleman and Schrauwen, 2014, https://doi.org/10.1109/ICASSP.2014.6854950, take a convolution whose
stride is the hop of a spectrum; Zhu, Engel and Hannun, 2016, https://arxiv.org/abs/1603.09509,
short and long windows in parallel, as one window is fine either in time or in frequency.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops


def parallel_scales(
    waveform, filters: int, windows: Sequence[int], strides: Sequence[int], hop_length: int
):
    """Waveform `[batch, samples, 1]` to `[batch, samples / hop_length, scales * filters]`.

    Of each window and stride, in samples, a convolution ("scale1", "scale2", ...) and a ReLU, of
    which the largest value in each hop is left. Frame m of all scales is around the middle of hop
    m; silence is around the waveform, which is whole hops. Raises ValueError for strides that do
    not divide the hop, or are not as many as windows.
    """
    if len(windows) != len(strides) or not windows:
        raise ValueError(
            f"strides must be as many as windows; got {len(strides)} and {len(windows)}"
        )
    if odd := [stride for stride in strides if hop_length % stride]:
        raise ValueError(f"strides must divide hop_length={hop_length}; got {odd[0]}")
    scales = []
    for number, (window, stride) in enumerate(zip(windows, strides, strict=True), start=1):
        x = layers.Conv1D(
            filters, window, strides=stride, padding="same", use_bias=False, name=f"scale{number}"
        )(waveform)
        x = layers.MaxPooling1D(hop_length // stride, name=f"scale{number}_pool")(x)
        scales.append(layers.ReLU(name=f"scale{number}_relu")(x))
    return layers.Concatenate(name="scales")(scales)


@keras.saving.register_keras_serializable("kzoo")
class LogPower(layers.Layer):
    """log(1 + gain * x^2), by which outputs of filters are compressed as levels of a spectrum are.

    gain: 10,000 as Dieleman and Schrauwen compress spectra.
    """

    def __init__(self, gain: float = 10000.0, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.gain = gain

    def call(self, x):
        return ops.log1p(self.gain * ops.square(x))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}
