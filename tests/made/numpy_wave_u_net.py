"""Wave-U-Net once more, in NumPy and float64, from the paper's figure; weights in f90's names."""

import numpy as np


def random_weights(rng, *, levels, filters, kernel, merge, output, channels, estimated, learned):
    """Weights as the reference names them, large enough that outputs saturate."""
    found, count = {}, 0

    def conv(width, inputs, outputs):
        nonlocal count
        name = f"separator/conv1d_{count}" if count else "separator/conv1d"
        scale = 1.5 / np.sqrt(width * inputs)
        found[f"{name}/kernel"] = scale * rng.standard_normal((width, inputs, outputs))
        found[f"{name}/bias"] = 0.2 * rng.standard_normal(outputs)
        count += 1

    maps = [filters * (level + 1) for level in range(levels + 1)]
    for inputs, outputs in zip([channels, *maps], maps, strict=False):
        conv(kernel, inputs, outputs)
    for level in reversed(range(levels)):
        if learned:
            found[f"separator/interp_{levels - 1 - level}"] = rng.standard_normal(maps[level + 1])
        conv(merge, maps[level] + maps[level + 1], maps[level])
    for _ in range(estimated):
        conv(output, filters + channels, channels)
    return {name: value.astype(np.float32) for name, value in found.items()}


def wave_u_net(mixture, weights, *, levels, sources, context, activation, training=False):
    """`[batch, samples, channels]` to `[batch, sources, out, channels]`."""
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    numbers = iter(range(len(weights)))

    def conv(x):
        number = next(numbers)
        name = f"separator/conv1d_{number}" if number else "separator/conv1d"
        kernel = weights[f"{name}/kernel"]
        if not context:
            x = np.pad(x, ((0, 0), (len(kernel) // 2,) * 2, (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, len(kernel), axis=1)
        return np.einsum("bnck,kco->bno", windows, kernel) + weights[f"{name}/bias"]

    def leaky(x):
        return np.where(x > 0, x, 0.2 * x)

    def clip(x):
        return x if training else np.clip(x, -1, 1)

    def centre(x, samples):
        start = (x.shape[1] - samples) // 2
        return x[:, start : start + samples]

    def up(x, number):
        weight = weights.get(f"separator/interp_{number}")
        share = 0.5 if weight is None else 1 / (1 + np.exp(-weight))
        after = x[:, -1:] if weight is None else 0 * x[:, -1:]
        right = np.concatenate([x[:, 1:], after], axis=1)
        out = np.repeat(x, 2, axis=1)
        out[:, 1::2] = share * x + (1 - share) * right
        return out[:, :-1] if context else out

    x, skips = np.asarray(mixture, np.float64), []
    for _ in range(levels):
        x = leaky(conv(x))
        skips.append(x)
        x = x[:, ::2]
    x = leaky(conv(x))
    for number in range(levels):
        x = up(x, number)
        x = leaky(conv(np.concatenate([centre(skips.pop(), x.shape[1]), x], axis=2)))
    x = np.concatenate([centre(mixture, x.shape[1]), x], axis=2)
    estimated = sum(name.endswith("kernel") for name in weights) - 2 * levels - 1
    found = [(np.tanh if activation == "tanh" else clip)(conv(x)) for _ in range(estimated)]
    if estimated < sources:
        found.append(clip(centre(mixture, found[0].shape[1]) - sum(found)))
    return np.stack(found, axis=1)
