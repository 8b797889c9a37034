"""The U-Nets written again in NumPy float64, from the papers' tables and not from kzoo's code.

Weights are a mapping of names as in Spleeter's checkpoints: "conv2d_7/kernel", ...
"""

import numpy as np

LEVELS = 6


def spleeter(weights, magnitudes, sources, *, elu, softmax):
    """Magnitudes `[batch, frames, bins, channels]` to `[batch, sources, frames, bins, channels]`.

    Source i owns the conv2d 7i..7i+6, conv2d_transpose 6i..6i+5, batch_normalization 12i..12i+11.
    """
    mixture = np.asarray(magnitudes, np.float64)
    logits = np.stack([spleeter_logits(weights, mixture, i, elu=elu) for i in range(sources)], 1)
    if softmax:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        masks = powers / powers.sum(axis=1, keepdims=True)
    else:
        masks = sigmoid(logits)
    return masks * mixture[:, None]


def spleeter_logits(weights, x, i, *, elu):
    down = elu_ if elu else leaky_relu
    up = elu_ if elu else relu
    skips = []
    for level in range(LEVELS):
        if level:  # norm and activation belong to the way down; the skip is the plain convolution
            norm = named(weights, "batch_normalization", 12 * i + level - 1)
            x = down(batch_norm(x, *norm))
        x = conv(x, *named(weights, "conv2d", 7 * i + level), stride=2, before=1, after=2)
        skips.append(x)
    x = skips.pop()
    for level in range(LEVELS):
        x = up(conv_transpose(x, *named(weights, "conv2d_transpose", 6 * i + level)))
        x = batch_norm(x, *named(weights, "batch_normalization", 12 * i + LEVELS + level))
        if skips:
            x = np.concatenate([skips.pop(), x], axis=-1)
    mask = named(weights, "conv2d", 7 * i + LEVELS)
    return conv(x, *mask, dilation=2, before=3, after=3)


def jansson_logits(weights, x, *, log_input, output_norm):
    """One source; conv2d 0..5, conv2d_transpose 0..5, batch_normalization 0..11."""
    x = np.log(1 + np.asarray(x, np.float64)) if log_input else np.asarray(x, np.float64)
    skips = []
    for level in range(LEVELS):
        x = conv(x, *named(weights, "conv2d", level), stride=2, before=1, after=2)
        x = leaky_relu(batch_norm(x, *named(weights, "batch_normalization", level)))
        skips.append(x)
    x = skips.pop()
    for level in range(LEVELS):
        x = conv_transpose(x, *named(weights, "conv2d_transpose", level))
        if level < LEVELS - 1 or output_norm:
            x = batch_norm(x, *named(weights, "batch_normalization", LEVELS + level))
        if level < LEVELS - 1:
            x = np.concatenate([relu(x), skips.pop()], axis=-1)
    return x


def named(weights, kind, index):
    """The arrays of one layer in the order in which they are used here."""
    name = f"{kind}_{index}" if index else kind
    norm = kind == "batch_normalization"
    parts = ("gamma", "beta", "moving_mean", "moving_variance") if norm else ("kernel", "bias")
    return [np.asarray(weights[f"{name}/{part}"], np.float64) for part in parts]


def conv(x, kernel, bias, *, stride=1, dilation=1, before=0, after=0):
    """Kernel `[height, width, in, out]`; before, after: zeros on either side of both axes."""
    height, width = kernel.shape[:2]
    x = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    rows = (x.shape[1] - (height - 1) * dilation - 1) // stride + 1
    columns = (x.shape[2] - (width - 1) * dilation - 1) // stride + 1
    total = 0
    for u in range(height):
        for v in range(width):
            top, left = u * dilation, v * dilation
            seen = x[:, top : top + stride * rows : stride, left : left + stride * columns : stride]
            total = total + seen[:, :rows, :columns] @ kernel[u, v]
    return total + bias


def conv_transpose(x, kernel, bias):
    """Stride 2, twice as large: the transpose of a strided `conv`; kernel `[5, 5, out, in]`."""
    batch, rows, columns, _ = x.shape
    wide = np.zeros((batch, 2 * rows + 3, 2 * columns + 3, kernel.shape[2]))
    for u in range(5):
        for v in range(5):
            wide[:, u : u + 2 * rows : 2, v : v + 2 * columns : 2] += x @ kernel[u, v].T
    return wide[:, 1 : 1 + 2 * rows, 1 : 1 + 2 * columns] + bias


def batch_norm(x, gamma, beta, mean, variance):
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def relu(x):
    return np.maximum(x, 0)


def leaky_relu(x):
    return np.where(x > 0, x, 0.2 * x)


def elu_(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
