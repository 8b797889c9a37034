"""Weights of asteroid's DCUNet, by the names of its state dicts, for `convert.asteroid`.

A complex convolution there is two real ones, `re_module` and `im_module`, and so is a batch norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert._asteroid_stft import STFT_WEIGHTS, stft_of
from kzoo.convert._torch_layers import Place, batch_norm, counters, shape_of
from kzoo.models import dcunet

_PARTS = ("re", "im")
_LAST = "masker.output_layer.0"


def dcunet_from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = dcunet.SOURCES,
    mask: str,
    sample_rate: int = 16000,
    strides: Sequence[tuple[int, int]] | None = None,
) -> keras.Model:
    """`dcunet.build` with the weights of an asteroid DCUNet.

    weights: arrays by state-dict name, "masker.encoders.0.conv.re_module.weight", ... Widths,
        kernels, window and hop are read off them.
    mask: asteroid's mask_bound, "polar" for BDT or tanh, "sigmoid" for BDSS, "unbounded" for UBD.
    strides: in bins and frames, of each encoder; by default those of the published architecture
        that has these widths and kernels.
    Raises ValueError that names every weight which is missing, of another shape, or left over, for
    filters that are no STFT, and for an architecture of unknown strides.
    """
    options = dcunet_options_of(weights, strides=strides)
    size = models.sizes("dcunet", sample_rate=sample_rate, mask=mask, **options)
    count = len(size.encoders)
    model = dcunet.build(sources, size)
    core = model.get_layer("dcunet_core")
    targets = {}
    for number in range(count):
        at = f"masker.encoders.{number}"
        targets |= _complex_conv(core.get_layer(f"down{number + 1}_conv"), f"{at}.conv")
        targets |= _complex_norm(core.get_layer(f"down{number + 1}_norm"), f"{at}.norm")
    for number in range(count - 1):
        at = f"masker.decoders.{number}"
        targets |= _complex_conv(core.get_layer(f"up{number + 1}_conv"), f"{at}.deconv")
        targets |= _complex_norm(core.get_layer(f"up{number + 1}_norm"), f"{at}.norm")
    targets |= _complex_conv(core.get_layer(f"up{count}_conv"), _LAST)
    weights = dict(weights)
    # (a real convolution with a bias) + i (another one): each part of the output has both biases.
    real, imag = (f"{_LAST}.{part}_module.bias" for part in _PARTS)
    if shape_of(weights, real) == shape_of(weights, imag):
        a, b = weights[real], weights[imag]
        weights |= {real: a - b, imag: a + b}
    assign(targets, weights, unused=[*STFT_WEIGHTS, *counters(weights)])
    return model


def dcunet_options_of(
    weights: Mapping[str, np.ndarray], *, strides: Sequence[tuple[int, int]] | None = None
) -> dict[str, Any]:
    """The fields of `dcunet.DCUNet` that weights tell; strides: of `dcunet_from_weights`."""
    encoders = [name.split(".")[2] for name in weights if name.startswith("masker.encoders.")]
    count = 1 + max(map(int, encoders), default=-1)
    convolutions = [f"masker.encoders.{n}.conv.re_module.weight" for n in range(count)]
    decoders = [f"masker.decoders.{n}.deconv.re_module.weight" for n in range(count - 1)]
    kernels = [(n, *kernel) for n, _, *kernel in (shape_of(weights, x) for x in convolutions)]
    if strides is None:
        published = [size.encoders for size in dcunet.VARIANTS.values()]
        matching = [e for e in published if [level[:3] for level in e] == kernels]
        if not matching:
            raise ValueError(
                f"no published DCUNet has encoders of {kernels}, filters and kernels: give strides"
            )
        strides = [level[3:] for level in matching[0]]
    if len(strides) != count:
        raise ValueError(f"strides must be {count} pairs, one an encoder; got {strides}")
    n_fft, hop_length = stft_of(weights)
    return {
        "n_fft": n_fft,
        "hop_length": hop_length,
        "encoders": tuple((*k, *stride) for k, stride in zip(kernels, strides, strict=True)),
        "decoder_filters": tuple(shape_of(weights, name)[1] for name in decoders),
    }


def _complex_conv(layer, theirs: str) -> dict[str, Place]:
    """Of two real convolutions, transposed or not, one for each part of the weights."""
    transposed = isinstance(layer, keras.layers.Conv2DTranspose)
    places = {}
    for first, part in enumerate(_PARTS):
        every = slice(first, None, 2)
        index = (..., every, slice(None)) if transposed else (..., every)
        # Both of PyTorch's orders, [out, in, bins, frames] and [in, out, ...], are ours reversed.
        shape = np.empty(layer.kernel.shape)[index].shape[::-1]
        places[f"{theirs}.{part}_module.weight"] = Place(layer.kernel, shape, np.transpose, index)
        if layer.use_bias:
            bias = f"{theirs}.{part}_module.bias"
            places[bias] = Place(layer.bias, (layer.bias.shape[0] // 2,), np.asarray, (every,))
    return places


def _complex_norm(layer, theirs: str) -> dict[str, Place]:
    """Of two real batch norms, one for each part."""
    parts = {first: f"{theirs}.{part}_module" for first, part in enumerate(_PARTS)}
    places = (batch_norm(layer, name, slice(first, None, 2)) for first, name in parts.items())
    return {name: place for some in places for name, place in some.items()}
