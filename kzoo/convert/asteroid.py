"""Weights of asteroid's ConvTasNet and LSTMTasNet, by the names of its state dicts.

https://github.com/asteroid-team/asteroid: an encoder, a masker and a decoder. PyTorch's kernels
are `[out, in, taps]`, and its LSTMs have two biases where Keras has their sum. In a ConvTasNet
with a skip path the last block's residual convolution reaches no output: it is in every state dict
and has no place in the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.models import conv_tasnet

_NORM = {"gamma": "gamma", "beta": "beta"}
_BATCH_NORM = {
    "weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
    "running_var": "moving_variance",
}  # fmt: skip


def conv_tasnet_from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = conv_tasnet.SPEAKERS,
    blocks: int = 8,
    norm: str = "gln",
    mask: str = "sigmoid",
    encoder_activation: str = "linear",
    stride: int | None = None,
) -> keras.Model:
    """`conv_tasnet.core` with the weights of an asteroid ConvTasNet.

    weights: arrays by state-dict name, "encoder.filterbank._filters", ... Widths, the number of
        blocks, the skip path, whether convolutions are causal and whether norms are batch norms
        are read off them.
    blocks, norm, mask, encoder_activation, stride: what arrays do not tell; asteroid's defaults.
        Its n_blocks, norm_type ("gLN" is "gln" here, "cLN" "cln", "cgLN" "cumulative"), mask_act,
        encoder_activation and stride.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    first = "masker.TCN.0.shared_block"
    filters, _, length = _shape(weights, "encoder.filterbank._filters")
    hidden, bottleneck, _ = _shape(weights, f"{first}.0.weight")
    causal = f"{first}.3.0.weight" in weights
    kernel_size = _shape(weights, f"{first}.3.{'0.' if causal else ''}weight")[-1]
    skip = weights.get("masker.TCN.0.skip_conv.weight")
    count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("masker.TCN."))
    if count % blocks:
        raise ValueError(f"blocks must divide the {count} blocks of these weights; got {blocks}")
    model = conv_tasnet.core(
        sources, filters=filters, filter_length=length, stride=stride, bottleneck=bottleneck,
        hidden=hidden, skip=0 if skip is None else len(skip), kernel_size=kernel_size,
        blocks=blocks, repeats=count // blocks, causal=causal, mask=mask,
        norm="batch" if "masker.bottleneck.0.running_mean" in weights else norm,
        encoder_activation=encoder_activation,
    )  # fmt: skip
    layers = {
        "masker.bottleneck.0": "input_norm", "masker.bottleneck.1": "bottleneck",
        "masker.mask_net.0": "mask_prelu", "masker.mask_net.1": "mask_conv",
    }  # fmt: skip
    for number in range(count):
        theirs, ours = f"masker.TCN.{number}", "block{}_{}".format(*_from_one(number, blocks))
        depthwise = "shared_block.3.0" if causal else "shared_block.3"
        parts = {
            "shared_block.0": "expand", "shared_block.1": "expand_prelu",
            "shared_block.2": "expand_norm", depthwise: "depthwise",
            "shared_block.4": "depthwise_prelu", "shared_block.5": "depthwise_norm",
            "res_conv": "residual", "skip_conv": "skip",
        }  # fmt: skip
        layers |= {f"{theirs}.{part}": f"{ours}_{name}" for part, name in parts.items()}
    existing = {layer.name for layer in model.layers}
    targets = _filterbanks(model, {"encoder": "encoder"})
    for theirs, ours in layers.items():
        if ours in existing:
            targets |= _variables(model.get_layer(ours), theirs)
    last = f"masker.TCN.{count - 1}.res_conv"
    unused = [f"{last}.weight", f"{last}.bias"] if skip is not None else []
    assign(targets, _in_keras_layout(weights, targets), unused=[*unused, *_counters(weights)])
    return model


def _shape(weights, name: str) -> tuple[int, ...]:
    if name not in weights:
        raise ValueError(f"these weights do not fit the model; missing: {name}")
    return np.shape(weights[name])


def _from_one(number: int, blocks: int) -> tuple[int, int]:
    repeat, block = divmod(number, blocks)
    return repeat + 1, block + 1


def _filterbanks(model, encoders: Mapping[str, str]) -> dict[str, object]:
    found = {
        f"{theirs}.filterbank._filters": model.get_layer(ours).kernel
        for theirs, ours in encoders.items()
    }
    return {**found, "decoder.filterbank._filters": model.get_layer("decoder").kernel}


def _variables(layer, theirs: str) -> dict[str, object]:
    """The variables of one layer by the names of its counterpart `theirs`."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return {f"{theirs}.{name}": getattr(layer, ours) for name, ours in _BATCH_NORM.items()}
    if isinstance(layer, keras.layers.PReLU):
        return {f"{theirs}.weight": layer.alpha}
    if hasattr(layer, "gamma"):
        return {f"{theirs}.{name}": getattr(layer, ours) for name, ours in _NORM.items()}
    return {f"{theirs}.weight": layer.kernel, f"{theirs}.bias": layer.bias}


def _in_keras_layout(weights, targets) -> dict[str, np.ndarray]:
    """Kernels transposed; arrays whose place has another rank are left as they are, to be named."""
    found = {}
    for name, value in weights.items():
        value = np.asarray(value)
        target = targets.get(name)
        if name == "decoder.filterbank._filters":
            value = value.reshape(len(value), -1)  # [filters, 1, taps]: one channel
        elif ".shared_block.3" in name and value.ndim == 3:
            value = value.transpose(2, 0, 1)  # [channels, 1, taps] of a depthwise convolution
        elif value.ndim == 3:
            value = value.transpose(2, 1, 0)
        elif value.shape == (1,) and target is not None:
            value = value.reshape(1, 1)  # the slope of a PReLU
        found[name] = value
    return found


def _counters(weights) -> list[str]:
    return [name for name in weights if name.endswith(".num_batches_tracked")]
