"""The block of temporal convolutional networks for separation: dilated, separable, with skips.

Luo and Mesgarani, 2019, Conv-TasNet, https://arxiv.org/abs/1809.07454
"""

from __future__ import annotations

from typing import Any

from keras import layers
from keras.initializers import Constant

from kzoo.layers.norms import norm_layer


def temporal_block(
    x,
    *,
    hidden: int,
    dilation: int,
    name: str,
    residual: bool = True,
    skip: int = 0,
    kernel_size: int = 3,
    norm_kind: str = "gln",
    past: Any = None,
    biases: bool = True,
):
    """`[batch, frames, width]` to (x plus the block's residual, skip path).

    1x1 convolution to `hidden`, PReLU, norm, depthwise convolution, PReLU, norm, then a 1x1
    convolution back (None without residual), and one of `skip` channels (None where that is 0).
    past: a `models.base.causal.Past`, for a depthwise convolution that looks at the past only; with
    None it looks as far ahead as back.
    """
    h = pointwise(hidden, biases, f"{name}_expand")(x)
    h = prelu(f"{name}_expand_prelu")(h)
    h = normed(h, norm_kind, past, f"{name}_expand_norm")
    if past is not None:
        h = past.before(h, (kernel_size - 1) * dilation, f"{name}_past")
    h = layers.DepthwiseConv1D(
        kernel_size,
        dilation_rate=dilation,
        padding="same" if past is None else "valid",
        use_bias=biases,
        name=f"{name}_depthwise",
    )(h)
    h = prelu(f"{name}_depthwise_prelu")(h)
    h = normed(h, norm_kind, past, f"{name}_depthwise_norm")
    out = side = None
    if residual:
        out = pointwise(x.shape[-1], biases, f"{name}_residual")(h)
        out = layers.Add(name=f"{name}_add")([x, out])
    if skip:
        side = pointwise(skip, biases, f"{name}_skip")(h)
    return out, side


def normed(x, kind: str, past: Any, name: str):
    """`x` through the norm `kind`, which goes on from the `past` where there is one."""
    norm = norm_layer(kind, name=name)
    return norm(x) if past is None else past.normed(norm, x, name)


def pointwise(filters: int, biases: bool, name: str):
    """A convolution of one frame, `[batch, frames, any]` to `[batch, frames, filters]`."""
    return layers.Conv1D(filters, 1, use_bias=biases, name=name)


def prelu(name: str):
    """PReLU with one slope for all channels, 0.25 at first, as PyTorch has it."""
    return layers.PReLU(Constant(0.25), shared_axes=[1, 2], name=name)
