"""Strided convolutions as plain ones over samples that lie side by side."""

from __future__ import annotations

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class FoldedConv1D(layers.Conv1D):
    """keras.layers.Conv1D with its weights and outputs, whose gradients cost less on processors.

    Where the kernel is a multiple of the stride, and the stride divides the length, the `strides`
    samples of each step become channels of one, which are convolved with stride 1; a kernel of one
    such step is a product of matrices. Other convolutions, and inputs of open length, are Keras's.
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
