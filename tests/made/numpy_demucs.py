"""Demucs in NumPy, float64, on PyTorch's layout `[channels, samples]` and by PyTorch's names."""

import numpy as np


def demucs(weights, mixture, *, stride=4, lstm_layers=0, upsample=False):
    """`[channels, samples]` to `[sources * channels, fewer samples]`; sizes by the weights."""
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    rewrite = "encoder.0.2.weight" in weights
    depth = sum(name.startswith("encoder.") and name.endswith(".0.weight") for name in weights)
    x, saved = mixture.astype(np.float64), [mixture]
    for level in range(depth):
        at = f"encoder.{level}"
        x = relu(conv(x, weights, f"{at}.0", 1 if upsample else stride))
        if rewrite:
            x = gate(conv(x, weights, f"{at}.2"), x)
        saved.append(x)
        if upsample:
            x = x[:, ::stride]
    if lstm_layers:
        x = blstm(x, weights, lstm_layers)
    for level in range(depth):
        at = f"decoder.{level}"
        if upsample:
            x = stretched(x, stride)
        x = x + trimmed(saved.pop(), x)
        if rewrite:
            x = gate(conv(x, weights, f"{at}.0"), x)
        last = f"{at}.2" if rewrite else f"{at}.0"
        x = conv(x, weights, last) if upsample else transposed(x, weights, last, stride)
        if level < depth - 1:
            x = relu(x)
    if upsample:
        x = conv(np.concatenate([x, trimmed(saved.pop(), x)]), weights, "final")
    return x


def conv(x, weights, name, stride=1):
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2], axis=1)[:, ::stride]
    return np.einsum("itk,oik->ot", windows, kernel) + bias[:, None]


def transposed(x, weights, name, stride):
    kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    width = kernel.shape[2]
    y = np.zeros((kernel.shape[1], (x.shape[1] - 1) * stride + width))
    for frame in range(x.shape[1]):
        y[:, frame * stride : frame * stride + width] += np.einsum("i,iok->ok", x[:, frame], kernel)
    return y + bias[:, None]


def gate(y, x):
    """GLU where the convolution has doubled the channels of x, else a ReLU."""
    if len(y) == len(x):
        return relu(y)
    return y[: len(x)] * sigmoid(y[len(x) :])


def blstm(x, weights, count):
    for number in range(count):
        ahead = lstm(x, weights, f"l{number}")
        back = lstm(x[:, ::-1], weights, f"l{number}_reverse")[:, ::-1]
        x = np.concatenate([ahead, back])
    return weights["lstm.linear.weight"] @ x + weights["lstm.linear.bias"][:, None]


def lstm(x, weights, at):
    """Gates in PyTorch's order: input, forget, candidate, output; two biases."""
    inside, across = (weights[f"lstm.lstm.{kind}_{at}"] for kind in ("weight_ih", "weight_hh"))
    bias = weights[f"lstm.lstm.bias_ih_{at}"] + weights[f"lstm.lstm.bias_hh_{at}"]
    hidden = cell = np.zeros(across.shape[1])
    found = []
    for frame in x.T:
        i, f, g, o = np.split(inside @ frame + across @ hidden + bias, 4)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        found.append(hidden)
    return np.stack(found, axis=1)


def stretched(x, factor):
    at = np.arange((x.shape[1] - 1) * factor) / factor
    return np.stack([np.interp(at, np.arange(x.shape[1]), row) for row in x])


def trimmed(x, like):
    extra = x.shape[1] - like.shape[1]
    return x[:, extra // 2 : extra // 2 + like.shape[1]]


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))
