"""Layers on complex numbers, made of real tensors: no complex type, built-in TFLite operators.

A tensor of c complex channels is a real one of 2 c channels, `[..., 2 * channels]`, in which each
imaginary part follows its real part. What treats the parts alike is then the layer that there is:
Concatenate, ReLU and LeakyReLU (the complex ReLU of the papers), Add, Dropout, BatchNormalization
(the naive complex one). Here is what does not:
    convolutions  W * h = (A * x - B * y) + i (B * x + A * y), for W = A + i B and h = x + i y, as
                  one real convolution whose kernel holds A and B twice; stored they are once
    batch norm    which makes the parts uncorrelated (Trabelsi et al., 2018, Deep complex networks,
                  https://arxiv.org/abs/1705.09792)
    max pooling   of what is largest in magnitude
    masks         bounded in magnitude or in their parts
"""

from __future__ import annotations

import itertools

import keras
from keras import layers, ops

BOUNDS = ("polar", "tanh", "sigmoid", "unbounded")


def split(x):
    """`[..., 2 * channels]` to (real, imag), each `[..., channels]`."""
    return x[..., 0::2], x[..., 1::2]


def join(real, imag):
    """Invert `split`."""
    pairs = ops.stack([real, imag], axis=-1)
    return ops.reshape(pairs, (*ops.shape(real)[:-1], 2 * real.shape[-1]))


def times(one, other):
    """Multiply two pairs (real, imag) of tensors that broadcast to each other."""
    return one[0] * other[0] - one[1] * other[1], one[0] * other[1] + one[1] * other[0]


def squared_magnitude(x):
    """`[..., 2 * channels]` to `[..., channels]`."""
    real, imag = split(x)
    return ops.square(real) + ops.square(imag)


def bounded(x, bound: str = "polar"):
    """`[..., 2 * channels]` to complex numbers within a bound, of the same shape.

    bound: "polar" limits the magnitude, tanh(|x|) x / |x| (Choi et al., 2019; 0 stays 0);
        "tanh" and "sigmoid" each part by itself; "unbounded" changes nothing.
    Raises ValueError for another one.
    """
    if bound == "polar":
        # Below 1e-4 the factor is 1 in float32, and the square root has a finite slope.
        magnitude = ops.sqrt(ops.maximum(squared_magnitude(x), 1e-8))
        factor = ops.tanh(magnitude) / magnitude
        return x * join(factor, factor)
    functions = {"tanh": ops.tanh, "sigmoid": ops.sigmoid, "unbounded": lambda x: x}
    if bound not in functions:
        raise ValueError(f"bound must be one of {', '.join(BOUNDS)}; got {bound!r}")
    return functions[bound](x)


def pool_by_magnitude(x, pool_size: tuple[int, ...], strides: tuple[int, ...]):
    """Of each window of `[batch, ..., 2 * channels]` the number that is largest, by channel.

    As a "valid" pooling: windows that reach beyond the end are left out. Of equal magnitudes the
    first counts.
    """
    lengths = ops.shape(x)[1:-1]
    spans = [(n - k) // s * s + 1 for n, k, s in zip(lengths, pool_size, strides, strict=True)]
    best = power = None
    for offsets in itertools.product(*map(range, pool_size)):
        index = [slice(a, a + n, s) for a, n, s in zip(offsets, spans, strides, strict=True)]
        other = x[(slice(None), *index)]
        other_power = squared_magnitude(other)
        if best is None:
            best, power = other, other_power
            continue
        larger = other_power > power
        best = ops.where(join(larger, larger), other, best)
        power = ops.maximum(other_power, power)
    return best


def real_kernel(kernel):
    """What W makes of real inputs to what it makes of complex ones.

    `[..., inputs, 2 * filters]` to `[..., 2 * inputs, 2 * filters]`, whose rows for imaginary
    inputs are i W.
    """
    real, imag = split(kernel)
    rows = ops.stack([kernel, join(-imag, real)], axis=-2)  # [..., inputs, 2, 2 * filters]
    return ops.reshape(rows, (*kernel.shape[:-2], 2 * kernel.shape[-2], kernel.shape[-1]))


class _Complex:
    """Before a convolution of Keras: `filters` are complex, and so are the inputs.

    The initial variance is He's for the number of real inputs.
    """

    fan = "fan_in"

    def __init__(self, filters: int, *args, kernel_initializer=None, **kwargs):
        if kernel_initializer is None:
            # The stored kernel has half of the inputs that there are: 1 for 2.
            kernel_initializer = keras.initializers.VarianceScaling(1.0, self.fan, "uniform")
        super().__init__(2 * filters, *args, kernel_initializer=kernel_initializer, **kwargs)

    def build(self, input_shape):
        *outer, channels = input_shape
        if channels % 2:
            raise ValueError(
                f"complex numbers are pairs of channels, an even number; got {channels} channels"
            )
        super().build((*outer, channels // 2))
        self.input_spec = keras.InputSpec(ndim=len(input_shape), axes={-1: channels})

    def call(self, inputs):
        outputs = self.convolved(inputs)
        outputs = outputs + self.bias if self.use_bias else outputs
        return outputs if self.activation is None else self.activation(outputs)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters // 2}


class _Convolution(_Complex):
    def convolved(self, inputs):
        padding = self.padding
        if padding == "causal":
            before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            inputs, padding = ops.pad(inputs, ((0, 0), (before, 0), (0, 0))), "valid"
        return ops.conv(
            inputs,
            real_kernel(self.kernel),
            strides=self.strides,
            padding=padding,
            dilation_rate=self.dilation_rate,
        )


class _Transposed(_Complex):
    fan = "fan_out"  # Keras has inputs last in these kernels

    def convolved(self, inputs):
        kernel = ops.swapaxes(real_kernel(ops.swapaxes(self.kernel, -1, -2)), -1, -2)
        return ops.conv_transpose(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
        )


@keras.saving.register_keras_serializable("kzoo")
class ComplexConv1D(_Convolution, layers.Conv1D):
    """keras.layers.Conv1D of complex numbers: `[batch, steps, 2 * channels]` to 2 * filters."""


@keras.saving.register_keras_serializable("kzoo")
class ComplexConv2D(_Convolution, layers.Conv2D):
    """keras.layers.Conv2D of complex numbers: `[batch, h, w, 2 * channels]` to 2 * filters."""


@keras.saving.register_keras_serializable("kzoo")
class ComplexConv1DTranspose(_Transposed, layers.Conv1DTranspose):
    """keras.layers.Conv1DTranspose of complex numbers, as `ComplexConv1D`."""


@keras.saving.register_keras_serializable("kzoo")
class ComplexConv2DTranspose(_Transposed, layers.Conv2DTranspose):
    """keras.layers.Conv2DTranspose of complex numbers, as `ComplexConv2D`."""


@keras.saving.register_keras_serializable("kzoo")
class ComplexMaxPooling(layers.Layer):
    """The number of largest magnitude in each window, see `pool_by_magnitude`.

    pool_size: of one axis or two. strides: by default pool_size.
    """

    def __init__(self, pool_size, strides=None, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = tuple(pool_size)
        self.strides = self.pool_size if strides is None else tuple(strides)

    def call(self, inputs):
        return pool_by_magnitude(inputs, self.pool_size, self.strides)

    def compute_output_shape(self, input_shape):
        batch, *lengths, channels = input_shape
        windows = zip(lengths, self.pool_size, self.strides, strict=True)
        return (batch, *(n and (n - k) // s + 1 for n, k, s in windows), channels)

    def get_config(self):
        sizes = {"pool_size": list(self.pool_size), "strides": list(self.strides)}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("kzoo")
class ComplexBound(layers.Layer):
    """Complex numbers within a bound, see `bounded`."""

    def __init__(self, bound: str = "polar", **kwargs):
        super().__init__(**kwargs)
        self.bound = bound

    def call(self, inputs):
        return bounded(inputs, self.bound)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "bound": self.bound}


@keras.saving.register_keras_serializable("kzoo")
class ComplexBatchNormalization(layers.Layer):
    """Batch norm that whitens: parts of unit variance that are not correlated, by channel.

    x - mean is multiplied by the inverse square root of its 2 x 2 covariance, then by a symmetric
    matrix that is learned, `gamma`, and `beta` is added. Rows of `gamma` and `moving_covariance`,
    `[3, channels]`, are those of real and real, imag and imag, real and imag.

    momentum, epsilon: PyTorch's by default. initial_scale: the first two rows of both at first,
        1 / sqrt(2) in the paper, sqrt(2) in the package complexPyTorch. As there, the moving
        covariance is of the unbiased kind and holds epsilon, which is added again when it is used.
    Several devices have statistics of their own.
    """

    def __init__(self, momentum=0.9, epsilon=1e-5, initial_scale=2**-0.5, **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.epsilon, self.initial_scale = momentum, epsilon, initial_scale

    def build(self, input_shape):
        channels = input_shape[-1]
        shape = (3, channels // 2)

        def diagonal(shape, dtype=None):
            rows = [[self.initial_scale], [self.initial_scale], [0.0]]
            return ops.cast(ops.broadcast_to(rows, shape), dtype)

        self.gamma = self.add_weight(name="gamma", shape=shape, initializer=diagonal)
        self.beta = self.add_weight(name="beta", shape=(channels,), initializer="zeros")
        fixed = {"trainable": False, "autocast": False}
        self.moving_mean = self.add_weight(
            name="moving_mean", shape=(channels,), initializer="zeros", **fixed
        )
        self.moving_covariance = self.add_weight(
            name="moving_covariance", shape=shape, initializer=diagonal, **fixed
        )

    def call(self, inputs, training=False):
        x = ops.cast(inputs, "float32")  # squares overflow in half precision
        if training and self.trainable:
            mean, covariance = self._measured(x)
        else:
            mean = self.moving_mean
            covariance = [self.moving_covariance[row] for row in range(2)]
            covariance = [row + self.epsilon for row in covariance] + [self.moving_covariance[2]]
        rows = [ops.cast(self.gamma[row], "float32") for row in range(3)]
        real, imag = split(x - mean)
        outputs = _by_matrix(rows, *_by_matrix(_inverse_root(covariance), real, imag))
        return ops.cast(join(*outputs) + ops.cast(self.beta, "float32"), self.compute_dtype)

    def _measured(self, x):
        """(mean, rows of the covariance) of a batch, which move the moving ones."""
        axes = tuple(range(len(x.shape) - 1))
        mean = ops.mean(x, axis=axes)
        real, imag = split(x - mean)
        covariance = [
            ops.mean(ops.square(real), axis=axes) + self.epsilon,
            ops.mean(ops.square(imag), axis=axes) + self.epsilon,
            ops.mean(real * imag, axis=axes),
        ]
        count = ops.cast(ops.prod(ops.convert_to_tensor(ops.shape(x)[:-1])), "float32")
        unbiased = count / ops.maximum(count - 1, 1)
        moved = (self.moving_mean, mean), (self.moving_covariance, unbiased * ops.stack(covariance))
        for variable, value in moved:
            variable.assign(self.momentum * variable + (1 - self.momentum) * value)
        return mean, covariance

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        numbers = {"momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().get_config(), **numbers, "initial_scale": self.initial_scale}


def _inverse_root(covariance):
    """The inverse square root of a symmetric 2 x 2 matrix, as its three rows are given."""
    rr, ii, ri = covariance
    root = ops.sqrt(rr * ii - ops.square(ri))
    trace = ops.sqrt(rr + ii + 2 * root)
    scale = 1 / (root * trace)
    return (ii + root) * scale, (rr + root) * scale, -ri * scale


def _by_matrix(rows, real, imag):
    rr, ii, ri = rows
    return rr * real + ri * imag, ri * real + ii * imag
