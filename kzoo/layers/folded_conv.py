"""Strided convolutions as plain ones over samples that lie side by side.

Weights and outputs are those of Keras's layers, up to rounding; gradients cost less on processors.
Convolutions that cannot be folded, and inputs of open length, are left to Keras.
"""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class FoldedConv1D(layers.Conv1D):
    """keras.layers.Conv1D, folded where the stride divides the kernel and the length.

    The samples of each step become channels of one, which are convolved with stride 1; a kernel of
    one step is a product of matrices.
    """

    def call(self, inputs):
        samples, channels = inputs.shape[1:]
        (length,), (stride,) = self.kernel_size, self.strides
        plain = (self.padding, self.groups, self.dilation_rate) == ("valid", 1, (1,))
        if not plain or samples is None or length % stride or samples % stride:
            return super().call(inputs)
        steps, wide = samples // stride, stride * channels
        if length == stride:
            kernel = ops.reshape(self.kernel, (wide, self.filters))
            outputs = ops.matmul(ops.reshape(inputs, (-1, wide)), kernel)
            outputs = ops.reshape(outputs, (-1, steps, self.filters))
        else:
            kernel = ops.reshape(self.kernel, (length // stride, wide, self.filters))
            outputs = ops.conv(ops.reshape(inputs, (-1, steps, wide)), kernel)
        outputs = outputs + self.bias if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable("kzoo")
class FoldedConv1DTranspose(layers.Conv1DTranspose):
    """keras.layers.Conv1DTranspose, folded where the stride divides the kernel.

    A convolution with stride 1 gives the samples of each step as channels of one.
    """

    def call(self, inputs):
        frames, channels = inputs.shape[1:]
        (length,), (stride,) = self.kernel_size, self.strides
        plain = (self.padding, self.output_padding, self.dilation_rate) == ("valid", None, (1,))
        if not plain or frames is None or length % stride:
            return super().call(inputs)
        steps = length // stride
        kernel = ops.reshape(self.kernel, (steps, stride * self.filters, channels))
        kernel = ops.transpose(ops.flip(kernel, axis=0), (0, 2, 1))
        outputs = ops.conv(ops.pad(inputs, ((0, 0), (steps - 1, steps - 1), (0, 0))), kernel)
        outputs = ops.reshape(outputs, (-1, (frames + steps - 1) * stride, self.filters))
        outputs = outputs + self.bias if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)
