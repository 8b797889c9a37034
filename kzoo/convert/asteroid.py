"""Weights of asteroid's TasNets, DPRNNTasNet, Chimera and DCUNet, by their names there.

https://github.com/asteroid-team/asteroid: an encoder, a masker and a decoder. PyTorch's kernels
are `[out, in, taps]`, and its LSTMs have two biases where Keras has their sum. In a ConvTasNet
with a skip path the last block's residual convolution reaches no output: it is in every state dict
and has no place in the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert._asteroid_dcunet import dcunet_from_weights, dcunet_options_of
from kzoo.convert._asteroid_stft import STFT_WEIGHTS, stft_of
from kzoo.convert._torch_layers import counters, shape_of
from kzoo.convert.torch_files import read_torch, read_torch_content
from kzoo.models import conv_tasnet, deep_clustering, dual_path_rnn, tasnet

__all__ = [
    "chimera_from_weights",
    "conv_tasnet_from_weights",
    "conv_tasnet_options_of",
    "dcunet_from_weights",
    "dcunet_options_of",
    "dual_path_rnn_from_weights",
    "dual_path_rnn_options_of",
    "from_weights",
    "read",
    "said_in",
    "tasnet_from_weights",
]

_NORM = {"gamma": "gamma", "beta": "beta"}
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


_ARGUMENTS = {
    "sample_rate": "sample_rate",
    "stride": "stride",
    "n_blocks": "blocks",
    "norm_type": "norm",
    "mask_act": "mask",
    "chunk_size": "segment_frames",
    "hop_size": "segment_hop",
}
_NORMS = {"gLN": "gln", "cLN": "cln", "cgLN": "cumulative", "BN": "batch"}
_LSTM = "masker.masker.0.rnn"
_CHIMERA_LSTM = "masker.rnn.rnn"


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict in a file that asteroid has published, or of a file that is one.

    Nothing in it is executed.
    """
    return read_torch(path, key="state_dict")


def said_in(path: str | Path) -> dict[str, Any]:
    """What a file that asteroid has published tells of its network beside the arrays.

    By the names of the arguments here; nothing of a state dict alone.
    """
    content = read_torch_content(path)
    said = content.get("model_args") if isinstance(content, dict) else None
    if not isinstance(said, dict):
        return {}
    found = {ours: said[theirs] for theirs, ours in _ARGUMENTS.items() if said.get(theirs)}
    if "norm" in found:
        found["norm"] = _NORMS.get(found["norm"], found["norm"])
    if "encoder_activation" in said:
        found["encoder_activation"] = said["encoder_activation"] or "linear"
    if "sample_rate" in found:
        found["sample_rate"] = int(found["sample_rate"])
    return found


def from_weights(weights: Mapping[str, np.ndarray], **options) -> keras.Model:
    """The model of whichever network these weights are of, by their names.

    options: of `conv_tasnet_from_weights`, `tasnet_from_weights`, `dual_path_rnn_from_weights`,
        `chimera_from_weights` or `dcunet_from_weights`.
    Raises ValueError where they are none of these.
    """
    readers = {
        "masker.TCN.": conv_tasnet_from_weights,
        _LSTM: tasnet_from_weights,
        "masker.net.": dual_path_rnn_from_weights,
        _CHIMERA_LSTM: chimera_from_weights,
        "masker.encoders.": dcunet_from_weights,
    }
    for begins, reader in readers.items():
        if any(name.startswith(begins) for name in weights):
            return reader(weights, **options)
    raise ValueError(
        f"weights must be those of asteroid's ConvTasNet (masker.TCN.*), LSTMTasNet ({_LSTM}.*), "
        f"DPRNNTasNet (masker.net.*), Chimera ({_CHIMERA_LSTM}.*) or DCUNet (masker.encoders.*); "
        f"got {', '.join(list(weights)[:4]) or 'none'}"
    )


def conv_tasnet_from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = conv_tasnet.SPEAKERS,
    blocks: int,
    norm: str,
    mask: str,
    encoder_activation: str,
    stride: int | None = None,
) -> keras.Model:
    """`conv_tasnet.core` with the weights of an asteroid ConvTasNet.

    weights: arrays by state-dict name, "encoder.filterbank._filters", ... Widths, the number of
        blocks, the skip path, whether convolutions are causal and whether norms are batch norms
        are read off them.
    blocks, norm, mask, encoder_activation, stride: what arrays do not tell, and a wrong choice of
        which loads and separates badly; `said_in` finds them in a published file. They are its
        n_blocks, norm_type ("gLN" is "gln" here, "cLN" "cln", "cgLN" "cumulative"), mask_act,
        encoder_activation (none is "linear") and stride, half of a filter by default.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    size = models.sizes(
        "conv_tasnet",
        **conv_tasnet_options_of(weights, blocks=blocks, norm=norm),
        stride=stride,
        mask=mask,
        encoder_activation=encoder_activation,
    )
    model = conv_tasnet.core(sources, size)
    causal, count = size.causal, size.blocks * size.repeats
    layers = {
        "masker.bottleneck.0": "input_norm",
        "masker.bottleneck.1": "bottleneck",
        "masker.mask_net.0": "mask_prelu",
        "masker.mask_net.1": "mask_conv",
    }
    for number in range(count):
        theirs, ours = f"masker.TCN.{number}", "block{}_{}".format(*_from_one(number, blocks))
        depthwise = "shared_block.3.0" if causal else "shared_block.3"
        parts = {
            "shared_block.0": "expand",
            "shared_block.1": "expand_prelu",
            "shared_block.2": "expand_norm",
            depthwise: "depthwise",
            "shared_block.4": "depthwise_prelu",
            "shared_block.5": "depthwise_norm",
            "res_conv": "residual",
            "skip_conv": "skip",
        }
        layers |= {f"{theirs}.{part}": f"{ours}_{name}" for part, name in parts.items()}
    existing = {layer.name for layer in model.layers}
    targets = _filterbanks(model, {"encoder": "encoder"})
    for theirs, ours in layers.items():
        if ours in existing:
            targets |= _variables(model.get_layer(ours), theirs)
    last = f"masker.TCN.{count - 1}.res_conv"
    unused = [f"{last}.weight", f"{last}.bias"] if size.skip else []
    assign(targets, _in_keras_layout(weights, targets), unused=[*unused, *counters(weights)])
    return model


def conv_tasnet_options_of(
    weights: Mapping[str, np.ndarray], *, blocks: int, norm: str = "gln"
) -> dict[str, Any]:
    """The fields of `conv_tasnet.ConvTasNet` that the weights of an asteroid ConvTasNet tell.

    blocks, norm: as in `conv_tasnet_from_weights`.
    """
    first = "masker.TCN.0.shared_block"
    filters, _, length = shape_of(weights, "encoder.filterbank._filters")
    hidden, bottleneck, _ = shape_of(weights, f"{first}.0.weight")
    causal = f"{first}.3.0.weight" in weights
    count = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("masker.TCN."))
    if count % blocks:
        raise ValueError(f"blocks must divide the {count} blocks of these weights; got {blocks}")
    return {
        "filters": filters,
        "filter_length": length,
        "bottleneck": bottleneck,
        "hidden": hidden,
        "skip": next((len(w) for n, w in weights.items() if n.endswith(".skip_conv.weight")), 0),
        "kernel_size": shape_of(weights, f"{first}.3.{'0.' if causal else ''}weight")[-1],
        "blocks": blocks,
        "repeats": count // blocks,
        "norm": "batch" if "masker.bottleneck.0.running_mean" in weights else norm,
        "causal": causal,
    }


def tasnet_from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = tasnet.SPEAKERS,
    norm: str | None = None,
    mask: str,
    stride: int | None = None,
    dropout: float = 0.3,
) -> keras.Model:
    """`tasnet.core` with the weights of an asteroid LSTMTasNet.

    weights: arrays by state-dict name, "encoder.filterbank._filters", ... Widths, the number of
        layers and the directions are read off them.
    norm: by default asteroid's, "gln" with two directions and "cumulative" with one.
    mask, stride, dropout: what arrays do not tell; stride is half of a filter by default.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    filters, _, length = shape_of(weights, "encoder.filterbank._filters")
    hidden = shape_of(weights, f"{_LSTM}.weight_hh_l0")[-1]
    bidirectional = f"{_LSTM}.weight_hh_l0_reverse" in weights
    n_layers = 0
    while f"{_LSTM}.weight_hh_l{n_layers}" in weights:
        n_layers += 1
    size = models.sizes(
        "tasnet",
        filters=filters,
        filter_length=length,
        stride=stride,
        hidden=hidden,
        n_layers=n_layers,
        bidirectional=bidirectional,
        norm=norm or ("gln" if bidirectional else "cumulative"),
        mask=mask,
        dropout=dropout,
    )
    model = tasnet.core(sources, size)
    encoders = {"encoder": "encoder", "encoder.encoder_sig": "encoder_gate"}
    targets = _filterbanks(model, encoders)
    targets |= _variables(model.get_layer("input_norm"), "masker.bn_layer")
    targets |= _variables(model.get_layer("mask_dense"), "masker.masker.1")
    weights = dict(weights)
    for number in range(n_layers):
        targets |= _lstm(model.get_layer(f"lstm{number + 1}"), _LSTM, number, weights)
    # The ungated half of the encoder is listed under two names.
    twice = weights.pop("encoder.encoder_relu.filterbank._filters", None)
    if twice is not None and not np.array_equal(twice, weights["encoder.filterbank._filters"]):
        raise ValueError(
            "encoder.encoder_relu.filterbank._filters and encoder.filterbank._filters are one "
            "filterbank in asteroid; these differ"
        )
    assign(targets, _in_keras_layout(weights, targets), unused=counters(weights))
    return model


def dual_path_rnn_from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = dual_path_rnn.SPEAKERS,
    norm: str,
    mask: str,
    stride: int | None = None,
    segment_frames: int,
    segment_hop: int | None = None,
) -> keras.Model:
    """`dual_path_rnn.core` with the weights of an asteroid DPRNNTasNet of LSTMs in one layer.

    weights: arrays by state-dict name, "encoder.filterbank._filters", ... Widths, the number of
        repeats, the directions and whether norms are batch norms are read off them.
    segment_frames, segment_hop: asteroid's chunk_size and hop_size; its default is 100, and its
        published networks, whose filters have two samples, have 250.
    norm, mask, stride: what arrays do not tell either, see above. Its "softmax" is over
        the filters, and not known here.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    if mask == "softmax":
        raise ValueError("mask must be sigmoid or relu: asteroid's softmax is over the filters")
    size = models.sizes(
        "dual_path_rnn",
        **dual_path_rnn_options_of(weights, norm=norm),
        stride=stride,
        segment_frames=segment_frames,
        segment_hop=segment_hop,
        mask=mask,
    )
    model = dual_path_rnn.core(sources, size)
    targets = _filterbanks(model, {"encoder": "encoder"})
    for theirs, ours in {
        "bottleneck.0": "input_norm",
        "bottleneck.1": "bottleneck",
        "first_out.0": "mask_prelu",
        "first_out.1": "mask_segments",
        "net_out.0": "mask_dense",
        "net_gate.0": "mask_gate",
    }.items():
        targets |= _variables(model.get_layer(ours), f"masker.{theirs}")
    targets["masker.mask_net.weight"] = model.get_layer("logits").kernel
    weights = dict(weights)
    for number, way in itertools.product(range(size.repeats), ("intra", "inter")):
        layer, theirs = model.get_layer(f"{way}{number + 1}"), f"masker.net.{number}.{way}"
        targets |= _lstm(layer.lstm, f"{theirs}_RNN.rnn", 0, weights)
        targets |= _variables(layer.dense, f"{theirs}_linear")
        targets |= _variables(layer.norm, f"{theirs}_norm")
    # Convolutions of one frame are dense layers here.
    weights = {name: _without_taps(value) for name, value in weights.items()}
    assign(targets, _in_keras_layout(weights, targets), unused=counters(weights))
    return model


def dual_path_rnn_options_of(
    weights: Mapping[str, np.ndarray], *, norm: str = "gln"
) -> dict[str, Any]:
    """The fields of `dual_path_rnn.DualPathRNN` that asteroid's weights tell; norm: as above."""
    filters, _, length = shape_of(weights, "encoder.filterbank._filters")
    return {
        "filters": filters,
        "filter_length": length,
        "bottleneck": shape_of(weights, "masker.bottleneck.1.weight")[0],
        "hidden": shape_of(weights, "masker.net.0.intra_RNN.rnn.weight_hh_l0")[-1],
        "repeats": 1 + max(int(n.split(".")[2]) for n in weights if n.startswith("masker.net.")),
        "bidirectional": "masker.net.0.inter_RNN.rnn.weight_hh_l0_reverse" in weights,
        "norm": "batch" if "masker.bottleneck.0.running_mean" in weights else norm,
    }


def chimera_from_weights(weights: Mapping[str, np.ndarray], *, dropout: float = 0.3) -> keras.Model:
    """`deep_clustering.core` with the weights of asteroid's DeepClustering recipe, its Chimera.

    weights: arrays by state-dict name, "masker.embedding_layer.weight", ... All sizes are read off
        them, the hop off the scale of the filterbank, which must be the transform that it was.
    dropout: what arrays do not tell.
    Raises ValueError that names every weight which is missing, of another shape, or left over, and
    for a filterbank that is no STFT.
    """
    n_fft, hop_length = stft_of(weights)
    bins = n_fft // 2 + 1
    embedding = shape_of(weights, "masker.embedding_layer.weight")[0] // bins
    masks = np.shape(weights.get("masker.mask_layer.weight", ()))[:1]
    mask_head = masks[0] // bins if masks != (0,) else 0
    n_layers = 0
    while f"{_CHIMERA_LSTM}.weight_hh_l{n_layers}" in weights:
        n_layers += 1
    size = models.sizes(
        "deep_clustering",
        variant="asteroid",
        n_fft=n_fft,
        hop_length=hop_length,
        hidden=shape_of(weights, f"{_CHIMERA_LSTM}.weight_hh_l0")[-1],
        n_layers=n_layers,
        embedding=embedding,
        mask_head=mask_head,
        dropout=dropout,
    )
    model = deep_clustering.core(size)
    targets, weights = {}, dict(weights)
    for number in range(n_layers):
        targets |= _lstm(model.get_layer(f"lstm{number + 1}"), _CHIMERA_LSTM, number, weights)
    for ours, theirs in (("embedding_dense", "embedding"), ("mask_dense", "mask")):
        if theirs == "embedding" or mask_head:
            targets |= _variables(model.get_layer(ours), f"masker.{theirs}_layer")
    assign(targets, _in_keras_layout(weights, targets), unused=STFT_WEIGHTS)
    return model


def _without_taps(value) -> np.ndarray:
    value = np.asarray(value)
    return value.squeeze(tuple(range(2, value.ndim))) if set(value.shape[2:]) == {1} else value


def _lstm(layer, theirs: str, number: int, weights: dict) -> dict[str, object]:
    """The variables of layer `number` of the LSTM `theirs`, one way or both.

    Its two biases in `weights` become their sum, under the first one's name.
    """
    ways = {"": layer}
    if isinstance(layer, keras.layers.Bidirectional):
        ways = {"": layer.forward_layer, "_reverse": layer.backward_layer}
    targets = {}
    for way, lstm in ways.items():
        at = f"l{number}{way}"
        targets[f"{theirs}.weight_ih_{at}"] = lstm.cell.kernel
        targets[f"{theirs}.weight_hh_{at}"] = lstm.cell.recurrent_kernel
        targets[f"{theirs}.bias_ih_{at}"] = lstm.cell.bias
        if shape_of(weights, f"{theirs}.bias_ih_{at}") == shape_of(
            weights, f"{theirs}.bias_hh_{at}"
        ):
            second = weights.pop(f"{theirs}.bias_hh_{at}")
            weights[f"{theirs}.bias_ih_{at}"] = weights[f"{theirs}.bias_ih_{at}"] + second
    return targets


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
    """Kernels transposed, and slopes of PReLUs in a rank that Keras gives them."""
    found = {}
    for name, value in weights.items():
        value = np.asarray(value)
        target = targets.get(name)
        if name == "decoder.filterbank._filters":
            value = value.reshape(len(value), -1)  # [filters, 1, taps]: one channel
        elif ".shared_block.3" in name and value.ndim == 3:
            value = value.transpose(2, 0, 1)  # [channels, 1, taps] of a depthwise convolution
        elif value.ndim in (2, 3):
            value = value.T  # [out, in, taps] of a convolution, [out, in] of all else
        elif value.shape == (1,) and target is not None:
            value = value.reshape(target.shape)  # the slope of a PReLU
        found[name] = value
    return found
