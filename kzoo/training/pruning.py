"""A U-Net made narrower: channels that others can stand for are left out, and stood for.

After He et al., 2017, Channel pruning for accelerating very deep neural networks,
https://arxiv.org/abs/1707.06168. Here the choice is greedy, and a layer gets, for each channel that
is gone, the linear combination of those left that is nearest to it on real magnitudes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace

import keras
import numpy as np

from kzoo.models import unet

_RIDGE = 1e-6  # of the mean power of a channel


def prune(
    network: keras.Model, size: unet.UNet, filters: Sequence[int], magnitudes: np.ndarray
) -> tuple[keras.Model, unet.UNet]:
    """Return `unet.core` with `filters` channels in its levels, and its sizes.

    network: `unet.core` of `size`, of Spleeter's kind with a network for each source.
    magnitudes: `[segments, frames, bins, channels]` of sound such as it will hear; a few minutes.
    Raises ValueError for a network of another kind, and for more filters than there are.
    """
    if size.network != "spleeter" or size.trunk != "each" or not size.skips:
        raise ValueError(
            "only Spleeter's network with skips and a trunk for each source is pruned; got "
            f"network={size.network!r}, trunk={size.trunk!r}, skips={size.skips}"
        )
    if len(filters) != len(size.filters) or not all(
        0 < n <= most for n, most in zip(filters, size.filters, strict=True)
    ):
        raise ValueError(f"filters must be 1 to {tuple(size.filters)}; got {tuple(filters)}")
    narrow = replace(size, filters=tuple(filters))
    sources = network.get_layer("estimates").sources
    pruned = unet.core(sources, narrow)
    for source in sources[:-1] if size.residual else sources:
        _prune_source(network, pruned, source, filters, magnitudes)
    return pruned, narrow


def _prune_source(network, pruned, source: str, filters: Sequence[int], magnitudes) -> None:
    downs = [f"{source}_down{level + 1}" for level in range(len(filters))]
    ups = [f"{source}_up{level + 1}" for level in range(len(filters))]
    heard = {lower: [upper] for upper, lower in itertools.pairwise(downs)}
    heard[ups[0]] = [downs[-1]]
    for level, up in enumerate(ups[1:], 1):  # the detail of a level first, then what went up
        heard[up] = [downs[-1 - level], ups[level - 1]]
    moments = _second_moments(network, heard, magnitudes)
    kernels = {name: _taps(network.get_layer(f"{name}_conv")) for name in [*downs, *ups]}

    hearers: dict[str, list] = {}
    for name, givers in heard.items():
        metric = np.einsum("tio,tjo->ij", kernels[name], kernels[name])
        start = 0
        for giver in givers:
            part = slice(start, start + kernels[giver].shape[2])
            hearers.setdefault(giver, []).append((moments[name][part, part], metric[part, part]))
            start = part.stop
    widths = dict(zip([*downs, *ups], [*filters, *reversed(filters[:-1]), 1], strict=True))
    kept = {name: _chosen(hearers[name], widths[name]) for name in hearers} | {ups[-1]: [0]}

    for name in widths:
        taps = kernels[name]
        if name in heard:
            offsets = np.cumsum([0, *(kernels[giver].shape[2] for giver in heard[name])])
            left = np.concatenate(
                [offset + kept[giver] for offset, giver in zip(offsets, heard[name], strict=False)]
            )
            taps = np.einsum("tio,ik->tko", taps, _stand_ins(moments[name], left))
        layer, bias = pruned.get_layer(f"{name}_conv"), network.get_layer(f"{name}_conv").bias
        taps = taps[:, :, kept[name]]
        if isinstance(layer, keras.layers.Conv2DTranspose):
            taps = np.swapaxes(taps, 1, 2)
        layer.set_weights([taps.reshape(layer.kernel.shape), np.asarray(bias)[kept[name]]])
        if name != downs[-1]:  # the deepest level has no norm
            norm = network.get_layer(f"{name}_norm").get_weights()
            pruned.get_layer(f"{name}_norm").set_weights([part[kept[name]] for part in norm])
    mask = f"{source}_mask_conv"
    pruned.get_layer(mask).set_weights(network.get_layer(mask).get_weights())


def _taps(layer: keras.layers.Layer) -> np.ndarray:
    """The kernel as `[taps, channels in, channels out]`."""
    kernel = np.asarray(layer.kernel, np.float64)
    kernel = kernel.reshape(-1, *kernel.shape[2:])
    return np.swapaxes(kernel, 1, 2) if isinstance(layer, keras.layers.Conv2DTranspose) else kernel


def _second_moments(network, heard: Mapping[str, Sequence[str]], magnitudes) -> dict:
    """{layer: mean products `[channels in, channels in]` of what its convolution hears}."""
    inputs = {name: network.get_layer(f"{name}_conv").input for name in heard}
    listen = keras.Model(network.input, inputs)
    sums = dict.fromkeys(heard, 0.0)
    for segment in magnitudes:
        for name, sound in listen(segment[None]).items():
            rows = np.asarray(sound).reshape(-1, sound.shape[-1])
            sums[name] = sums[name] + (rows.T @ rows).astype(np.float64) / len(rows)
    return {name: total / len(magnitudes) for name, total in sums.items()}


def _chosen(hearers: Sequence[tuple[np.ndarray, np.ndarray]], n: int) -> np.ndarray:
    """The indices of n channels; each next one is that after which all hearers miss least.

    hearers: (second moments of the channels, inner products of the kernels that weigh them).
    """
    rests, metrics = [], []
    for moments, metric in hearers:
        rests.append(moments.copy())
        metrics.append(metric / max(np.sum(moments * metric), 1e-30))
    chosen: list[int] = []
    for _ in range(n):
        gain = np.zeros(len(rests[0]))
        for rest, metric in zip(rests, metrics, strict=True):
            power = np.diagonal(rest)
            alive = power > _RIDGE * power.max(initial=1e-30)
            gain += np.einsum("ij,ij->j", rest, metric @ rest) / np.where(alive, power, np.inf)
        gain[chosen] = -1.0
        best = int(np.argmax(gain))
        chosen.append(best)
        for k, rest in enumerate(rests):
            if rest[best, best] > 0:
                rests[k] = rest - np.outer(rest[:, best], rest[best]) / rest[best, best]
    return np.sort(chosen)


def _stand_ins(moments: np.ndarray, left: np.ndarray) -> np.ndarray:
    """`[channels, channels left]`: the combination of those left that is nearest to each."""
    among = moments[np.ix_(left, left)]
    ridge = _RIDGE * np.trace(among) / len(left) * np.eye(len(left))
    nearest = np.linalg.solve(among + ridge, moments[left]).T
    nearest[left] = np.eye(len(left))  # a channel that is left stands for itself
    return nearest
