"""Convolutions of channels in groups, by the operations that processors have for them."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("kzoo")
class GroupedConv2D(layers.Conv2D):
    """keras.layers.Conv2D with its weights and outputs, several times faster with `groups`.

    Keras compiles grouped convolutions on processors with XLA, whose loops are slow there. Here
    each channel by itself is a depthwise convolution, and larger groups, which must be few and
    small, are a plain convolution whose kernel is 0 between groups. Tensors are channels last.
    """

    def convolution_op(self, inputs, kernel):
        channels, (*window, _, filters) = inputs.shape[-1], kernel.shape
        high, wide = self.strides
        # TensorFlow has no depthwise kernel of unequal strides: bands that nobody wants are made.
        thinned = high != wide
        if self.groups == 1 or (thinned and self.padding != "valid"):
            return super().convolution_op(inputs, kernel)
        if self.groups < channels:
            same = np.arange(channels)[:, None] // (channels // self.groups) == (
                np.arange(filters) // (filters // self.groups)
            )
            kernel = ops.tile(kernel, (1, 1, self.groups, 1)) * ops.cast(same, kernel.dtype)
            return super().convolution_op(inputs, kernel)
        kernel = ops.reshape(kernel, (*window, channels, filters // channels))
        outputs = ops.depthwise_conv(
            inputs,
            kernel,
            strides=1 if thinned else high,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
        )
        return outputs[:, ::high, ::wide] if thinned else outputs
