"""SCNet's weights: those of its authors, and of ZFTurbo's program, whose class has the same names.

https://github.com/starrytong/SCNet and
https://github.com/ZFTurbo/Music-Source-Separation-Training (both MIT): encoder.{block}, each with
SDlayer.convs.{band}, conv_modules.{band}.layers.{number} and globalconv; separation_net.dp_modules;
decoder.{block}, the deepest first. PyTorch's LSTMs have two biases where Keras's have their sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from kzoo.convert import _torch_layers as torch_layers
from kzoo.convert import assign
from kzoo.convert.torch_files import read_torch
from kzoo.models import scnet

_KEYS = ("best_state", "state_dict", "state")
_PARALLEL = "module."


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict in a file, `.ckpt` or `.th`; nothing in it is executed.

    Of the authors' checkpoints, which hold several, it is "best_state", the one that their program
    separates with.
    """
    weights = read_torch(path, key=_KEYS)
    return {name.removeprefix(_PARALLEL): array for name, array in weights.items()}


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    normalize: Literal["spectrum", "waveform", "both", "none"],
    band_shares: Sequence[float],
    sources: Sequence[str] = scnet.SOURCES,
    sample_rate: int = 44100,
    n_fft: int = 4096,
    hop_length: int = 1024,
) -> keras.Model:
    """`scnet.build` with weights by the authors' names, as `read` gives them.

    What arrays do not tell are the options here; a wrong one loads, and separates badly. Filters,
    kernels, depths and the number of LSTMs are read off the arrays; the stride of a band is its
    kernel, or 1 where that is odd.
    normalize: "spectrum", or "both" around whole recordings, of the authors' since 2024-09-24;
        "waveform" or "none" of ZFTurbo's, as its configuration says `normalize: true` or false.
    band_shares: [0.175, 0.392, 0.433] of the paper's size, [0.225, 0.372, 0.403] of the large one,
        [0.23, 0.37, 0.4] of ZFTurbo's XL.
    sources: in the reference's order. sample_rate, n_fft, hop_length: of all that is published.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    size = scnet.SCNet(
        normalize=normalize,
        band_shares=tuple(band_shares),
        sample_rate=sample_rate,
        n_fft=n_fft,
        hop_length=hop_length,
        **options_of(weights),
    )
    model = scnet.build(sources, size)
    assign(_places(model, size), torch_layers.summed_biases(weights))
    return model


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `scnet.SCNet` that can be read off weights; ValueError names a missing one."""

    def count(name: str) -> int:
        """How many of the names with a number, counted from 0, there are."""
        return next(n for n in range(len(weights) + 1) if name.format(n) not in weights)

    def shape(name: str) -> tuple[int, ...]:
        return torch_layers.shape_of(weights, name)

    first = "encoder.0.SDlayer.convs.0.weight"
    filters = [shape(first)[0]]
    filters += [
        shape(f"encoder.{block}.globalconv.weight")[0]
        for block in range(1, count("encoder.{}.globalconv.weight"))
    ]
    bands = range(max(1, count("encoder.0.SDlayer.convs.{}.weight")))
    kernels = [shape(f"encoder.0.SDlayer.convs.{band}.weight")[2] for band in bands]
    residual = "encoder.0.conv_modules.{}.layers.{{}}.1.weight"
    depths = [count(residual.format(band)) for band in bands]
    deepest = int(np.argmax(depths))
    inside, _, conv_kernel = (2, 1, 3)
    if depths[deepest]:
        inside, _, conv_kernel = shape(residual.format(deepest).format(0))
    lstm = "separation_net.dp_modules.{}.lstm_layers.0.weight_hh_l0"
    paths = count(lstm)
    return {
        "channels": shape(first)[1] // 2,
        "filters": tuple(filters),
        "band_kernels": tuple(kernels),
        "band_strides": tuple(1 if kernel % 2 else kernel for kernel in kernels),
        "band_depths": tuple(depths),
        "conv_kernel": conv_kernel,
        "compress": max(1, 2 * filters[0] // max(inside, 1)),
        "dual_paths": paths,
        "expand": max(1, shape(lstm.format(0))[1] // filters[-1]) if paths else 1,
    }


def _places(model: keras.Model, size: scnet.SCNet) -> dict[str, torch_layers.Place]:
    places = {}
    for block in range(len(size.filters)):
        ours, theirs = f"encoder{block + 1}", f"encoder.{block}"
        places |= _conv(model.get_layer(f"{ours}_global"), f"{theirs}.globalconv")
        up, up_theirs = f"decoder{block + 1}", f"decoder.{block}"
        places |= _conv(model.get_layer(f"{up}_fusion"), f"{up_theirs}.0.conv")
        for band, stride in enumerate(size.band_strides):
            of_band = f"band{band + 1}"
            layer = model.get_layer(f"{ours}_{of_band}")
            places |= _band(layer, f"{theirs}.SDlayer.convs.{band}", stride)
            layer = model.get_layer(f"{up}_{of_band}")
            places |= _band(layer, f"{up_theirs}.1.convtrs.{band}", stride, transposed=True)
            for number in range(size.band_depths[band]):
                layer = model.get_layer(f"{ours}_{of_band}_residual{number + 1}")
                places |= _residual(layer, f"{theirs}.conv_modules.{band}.layers.{number}")
    for path in range(size.dual_paths):
        for number, part in enumerate(("bins", "frames")):
            layer = model.get_layer(f"dual_path{path + 1}_{part}")
            theirs = f"separation_net.dp_modules.{path}.{{}}.{number}"
            lstms = theirs.format("lstm_layers")
            places |= torch_layers.lstm(layer.lstm.forward_layer, lstms)
            places |= torch_layers.lstm(layer.lstm.backward_layer, lstms, "l0_reverse")
            places |= torch_layers.linear(layer.dense, theirs.format("linear_layers"))
            places |= _norm(layer.norm, theirs.format("norm_layers"))
    return places


def _residual(layer, theirs: str) -> dict[str, torch_layers.Place]:
    length, _, channels, wide = layer.conv.kernel.shape
    return {
        **_norm(layer.norm1, f"{theirs}.0"),
        f"{theirs}.1.weight": torch_layers.whole(
            layer.conv.kernel, lambda x: x.transpose(2, 1, 0)[:, None], (wide, channels, length)
        ),
        f"{theirs}.1.bias": torch_layers.whole(layer.conv.bias),
        f"{theirs}.3.weight": torch_layers.whole(
            layer.depthwise.kernel, lambda x: x.transpose(2, 0, 1)[:, None], (wide // 2, 1, length)
        ),
        f"{theirs}.3.bias": torch_layers.whole(layer.depthwise.bias),
        **_norm(layer.norm2, f"{theirs}.4"),
        f"{theirs}.6.weight": torch_layers.whole(
            layer.dense.kernel, lambda x: x[..., 0].T, (channels, wide // 2, 1)
        ),
        f"{theirs}.6.bias": torch_layers.whole(layer.dense.bias),
    }


def _norm(layer, theirs: str) -> dict[str, torch_layers.Place]:
    return {
        f"{theirs}.weight": torch_layers.whole(layer.gamma),
        f"{theirs}.bias": torch_layers.whole(layer.beta),
    }


def _conv(layer, theirs: str) -> dict[str, torch_layers.Place]:
    """Of Conv2d over bins and frames, `[out, in, bins, frames]`; ours has frames before bins."""
    kernel = torch_layers.whole(
        layer.kernel, lambda x: x.transpose(3, 2, 1, 0), tuple(reversed(layer.kernel.shape))
    )
    return {f"{theirs}.weight": kernel, f"{theirs}.bias": torch_layers.whole(layer.bias)}


def _band(layer, theirs: str, stride: int, *, transposed: bool = False):
    """Of a convolution over bins, `[out, in, bins, 1]`; transposed ones have inputs first."""
    if not transposed and stride == 1:
        return _conv(layer, theirs)
    if transposed and stride == 1:
        _, length, features, filters = layer.kernel.shape
        shape = (features, filters, length, 1)

        def arranged(x):
            return x[:, :, ::-1].transpose(3, 2, 0, 1)

    elif transposed:
        shape = (layer.kernel.shape[0], layer.filters, stride, 1)

        def arranged(x):  # [in, (bins, out)]
            return x[..., 0].transpose(0, 2, 1).reshape(layer.kernel.shape)

    else:
        shape = (layer.filters, layer.kernel.shape[0] // stride, stride, 1)

        def arranged(x):  # [(bins, in), out]
            return x[..., 0].transpose(2, 1, 0).reshape(layer.kernel.shape)

    return {
        f"{theirs}.weight": torch_layers.whole(layer.kernel, arranged, shape),
        f"{theirs}.bias": torch_layers.whole(layer.bias),
    }
