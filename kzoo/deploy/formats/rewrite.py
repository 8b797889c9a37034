"""The same computation in the form that a phone's kernels run fastest; parity is checked after.

XNNPACK's transposed convolution wastes its lanes on few filters: a 5x5, stride 2, with one filter
on [256, 512, 32] took 104 ms on one thread. Each of the four output phases is an ordinary
convolution with at most 3x3 of the taps, so one Conv2D of four times the filters and a
depth-to-space give the same numbers, in 14 ms. And TFLite has one real FFT, which takes and gives
float32 and computes in float64 between.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import tensorflow as tf
from keras import layers

from kzoo.layers.spectra import FrameSpectrum

# 36 taps are stored for 25: beyond this many weights the file grows by more than the time is worth.
_MOST_WEIGHTS = 200_000


class PhasedConv2DTranspose(layers.Conv2DTranspose):
    """A transposed 5x5 convolution, stride 2, "same", as a convolution and depth-to-space."""

    def call(self, inputs):
        rows = [_taps(self.kernel, 0, phase) for phase in (0, 1)]
        phases = [_taps(row, 1, phase) for row in rows for phase in (0, 1)]
        kernel = tf.concat(phases, axis=2)  # [3, 3, 4 * filters, inputs]
        kernel = tf.transpose(kernel, (0, 1, 3, 2))
        outputs = tf.nn.depth_to_space(tf.nn.conv2d(inputs, kernel, 1, "SAME"), 2)
        outputs = outputs + self.bias if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)


def for_tflite(model: keras.Model) -> keras.Model:
    """A copy of `model` with the rewritten layers; itself where none fits or it cannot be copied.

    Only functional and sequential models can be copied, of layers that their config describes.
    """
    if not any(_fits(layer) or _is_exact(layer) for layer in _all_layers(model)):
        return model
    try:
        clone = keras.models.clone_model(model, clone_function=_copy, recursive=True)
    except (TypeError, ValueError, NotImplementedError):
        return model
    if [w.shape for w in clone.weights] != [w.shape for w in model.weights]:
        return model  # a layer that two inner models share is copied twice
    clone.set_weights(model.get_weights())
    return clone


def _all_layers(model) -> Iterator[layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)


def _taps(kernel, axis: int, phase: int):
    # Output 2m + phase is input m-1, m, m+1 times taps phase+3, phase+1, phase-1, where they exist.
    taps = [kernel[(slice(None),) * axis + (slice(i, i + 1),)] for i in range(5)]
    absent = tf.zeros_like(taps[0])
    wanted = (phase + 3, phase + 1, phase - 1)
    return tf.concat([taps[i] if 0 <= i < 5 else absent for i in wanted], axis=axis)


def _fits(layer) -> bool:
    return (
        type(layer) is layers.Conv2DTranspose
        and layer.kernel_size == (5, 5)
        and layer.strides == (2, 2)
        and layer.padding == "same"
        and layer.output_padding in (None, (1, 1))
        and layer.dilation_rate == (1, 1)
        and layer.data_format == "channels_last"
        and layer.kernel.shape[2] * layer.kernel.shape[3] * 25 <= _MOST_WEIGHTS
    )


def _is_exact(layer) -> bool:
    return isinstance(layer, FrameSpectrum) and layer.exact


def _copy(layer):
    kind = PhasedConv2DTranspose if _fits(layer) else type(layer)
    as_in_tflite = {"exact": False} if _is_exact(layer) else {}
    return kind.from_config({**layer.get_config(), **as_in_tflite})
