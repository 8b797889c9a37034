"""Convolutions whose lanes XNNPACK would leave empty, as others of the same taps.

A transposed 5x5 convolution of stride 2 gives four phases: output 2m + phase is a sum over inputs
m - 1, m and m + 1 times taps phase + 3, phase + 1 and phase - 1 in each direction, where they
exist. As one operator it took 125 ms of one thread for 32 channels to 1 on [256, 512] inputs, and
as the forms below 4.5. With few channels, neighbours along an axis are made channels. Kernels are
put together by `tf.gather`, which the converter folds.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras import layers

from kzoo.layers.folded_conv import FoldedConv1DTranspose

_TAPS = ({0: 3, 1: 1}, {0: 4, 1: 2, 2: 0})  # of each phase: {offset of the input + 1: tap}
_ROWS = 4  # that are computed as one
_COLUMNS = 8


class _Phases(layers.Conv2DTranspose):
    """5x5, stride 2, "same": `[batch, h, w, c]` to `[batch, 2 h, 2 w, filters]`."""

    def call(self, inputs):
        outputs = self.phases(inputs)
        return outputs if self.activation is None else self.activation(outputs)

    def biased(self, x, times: int):
        return x + tf.tile(self.bias, [times]) if self.use_bias else x

    def placed(self, index: np.ndarray):
        """The kernel's numbers at the places of `index`, of `numbered`; 0 where that is -1."""
        return _placed(self.kernel, index)

    def numbered(self) -> np.ndarray:
        """The number of each tap, `[5, 5, inputs, filters]`."""
        return np.swapaxes(_numbered(self.kernel), 2, 3)


class FourConvolutions(_Phases):
    """Four convolutions of 2x2, 2x3, 3x2 and 3x3 taps: for many filters."""

    def phases(self, inputs):
        height, width = inputs.shape[1:3]
        padded = tf.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)))
        found = []
        for down in _TAPS:
            for along in _TAPS:
                taps = self.numbered()[np.ix_(list(down.values()), list(along.values()))]
                seen = padded[:, : height + len(down) - 1, : width + len(along) - 1]
                found.append(self.biased(tf.nn.conv2d(seen, self.placed(taps), 1, "VALID"), 1))
        return tf.nn.depth_to_space(tf.concat(found, axis=-1), 2)


class TwoConvolutions(_Phases):
    """Two convolutions, of both phases along rows each: for filters too few for a lane's width."""

    def phases(self, inputs):
        taps = self.numbered()
        channels, filters = taps.shape[2:]
        found = []
        for phase, down in enumerate(_TAPS):
            index = np.full((len(down), 3, channels, 2, filters), -1)
            for i, row in down.items():
                for j, along in enumerate(_TAPS):
                    for k, column in along.items():
                        index[i, k, :, j] = taps[row, column]
            index = index.reshape(len(down), 3, channels, 2 * filters)
            padding = ((0, 0), (1, phase), (1, 1), (0, 0))
            found.append(self.biased(tf.nn.conv2d(inputs, self.placed(index), 1, padding), 2))
        return tf.nn.depth_to_space(tf.concat(found, axis=-1), 2)


class RowsAtOnce(_Phases):
    """One convolution that gives all phases of four rows: for very few filters."""

    def phases(self, inputs):
        taps = self.numbered()
        channels, filters = taps.shape[2:]
        index = np.full((_ROWS + 2, 3, channels, _ROWS, 2, 2, filters), -1)
        for row in range(_ROWS):
            for i, down in enumerate(_TAPS):
                for j, along in enumerate(_TAPS):
                    for a, vertical in down.items():
                        for b, horizontal in along.items():
                            index[row + a, b, :, row, i, j] = taps[vertical, horizontal]
        index = index.reshape(_ROWS + 2, 3, channels, 4 * _ROWS * filters)
        padding = ((0, 0), (1, 1), (1, 1), (0, 0))
        x = tf.nn.conv2d(inputs, self.placed(index), (_ROWS, 1), padding)
        x = self.biased(x, 4 * _ROWS)
        height, width = inputs.shape[1:3]
        x = tf.reshape(x, (-1, width, 2 * _ROWS, 2 * filters))
        x = tf.transpose(x, (0, 2, 1, 3))
        return tf.reshape(x, (-1, 2 * height, 2 * width, filters))


class StridesAtOnce(layers.Conv1DTranspose):
    """A "valid" one along time of whole strides: one convolution that gives a stride of samples."""

    def call(self, inputs):
        (taps, filters, channels), (stride,) = self.kernel.shape, self.strides
        parts = taps // stride  # inputs that an output hears
        length = inputs.shape[1] + parts - 1
        index = _numbered(self.kernel).reshape(parts, stride, filters, channels)[::-1]
        index = index.transpose(0, 3, 1, 2).reshape(parts, channels, stride * filters)
        x = tf.pad(inputs, ((0, 0), (parts - 1, parts - 1), (0, 0)))
        x = tf.nn.conv1d(x, _placed(self.kernel, index), 1, "VALID")
        x = x + tf.tile(self.bias, [stride]) if self.use_bias else x
        x = tf.reshape(x, (-1, length * stride, filters))
        return x if self.activation is None else self.activation(x)


class ColumnsAtOnce(layers.Conv2D):
    """A "same" convolution of few channels and dilation 2 with eight columns as channels."""

    def call(self, inputs):
        rows, columns, channels, filters = self.kernel.shape
        height, width = inputs.shape[1:3]
        dilation = self.dilation_rate[0]
        before, after = _same(rows, dilation)
        index = np.full((rows, 3, _COLUMNS, channels, _COLUMNS, filters), -1)
        for column in range(_COLUMNS):
            for tap in range(columns):
                seen = column - _same(columns, dilation)[0] + dilation * tap
                index[:, seen // _COLUMNS + 1, seen % _COLUMNS, :, column] = _numbered(self.kernel)[
                    :, tap
                ]
        index = index.reshape(rows, 3, _COLUMNS * channels, _COLUMNS * filters)
        x = tf.reshape(inputs, (-1, height, width // _COLUMNS, _COLUMNS * channels))
        padding = ((0, 0), (before, after), (1, 1), (0, 0))
        x = tf.nn.conv2d(x, _placed(self.kernel, index), 1, padding, dilations=(dilation, 1))
        x = x + tf.tile(self.bias, [_COLUMNS]) if self.use_bias else x
        x = tf.reshape(x, (-1, height, width, filters))
        return x if self.activation is None else self.activation(x)


def convolution_form(layer) -> type | None:
    """The kind of this module that computes what `layer` does and faster; None for none."""
    if _is_transposed(layer):
        if layer.filters <= 4 and _input_shape(layer)[0] % _ROWS == 0:
            return RowsAtOnce
        return TwoConvolutions if layer.filters < 32 else FourConvolutions
    if _is_transposed_in_time(layer):
        return StridesAtOnce
    return ColumnsAtOnce if _is_dilated(layer) else None


def _is_transposed(layer) -> bool:
    return (
        type(layer) is layers.Conv2DTranspose
        and layer.kernel_size == (5, 5)
        and layer.strides == (2, 2)
        and layer.padding == "same"
        and layer.output_padding in (None, (1, 1))
        and layer.dilation_rate == (1, 1)
        and layer.data_format == "channels_last"
        and None not in _input_shape(layer)
    )


def _is_transposed_in_time(layer) -> bool:
    return (
        type(layer) in (layers.Conv1DTranspose, FoldedConv1DTranspose)
        and layer.kernel_size[0] % layer.strides[0] == 0
        and layer.padding == "valid"
        and layer.output_padding is None
        and layer.dilation_rate == (1,)
        and layer.data_format == "channels_last"
        and None not in _input_shape(layer)
    )


def _is_dilated(layer) -> bool:
    return (
        type(layer) is layers.Conv2D
        and layer.dilation_rate == (2, 2)
        and layer.padding == "same"
        and layer.groups == 1
        and layer.data_format == "channels_last"
        and None not in _input_shape(layer)
        and _input_shape(layer)[1] % _COLUMNS == 0
        and max(_input_shape(layer)[2], layer.filters) <= 4
        and max(_same(layer.kernel_size[1], 2)) <= _COLUMNS
    )


def _input_shape(layer) -> tuple[int | None, ...]:
    """`(height, width, channels)`, with None where it is open or the layer is called twice."""
    try:
        return layer.input.shape[1:]
    except (AttributeError, ValueError):
        return None, None, None


def _same(taps: int, dilation: int) -> tuple[int, int]:
    """Zeros before and after in padding "same" of stride 1."""
    total = (taps - 1) * dilation
    return total // 2, total - total // 2


def _numbered(kernel) -> np.ndarray:
    return np.arange(int(np.prod(kernel.shape))).reshape(kernel.shape)


def _placed(kernel, index: np.ndarray):
    flat = tf.concat([tf.reshape(kernel, [-1]), tf.zeros([1], kernel.dtype)], axis=0)
    return tf.gather(flat, np.where(index < 0, int(np.prod(kernel.shape)), index))
