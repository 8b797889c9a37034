"""Variables of Keras by the names and shapes of their counterparts in PyTorch's state dicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np


@dataclass(frozen=True)
class Place:
    """Where an array of another layout goes: a variable, or a part of it, for `convert.assign`.

    shape: of the array. arranged: the array as the variable, or its part `index`, has it.
    """

    variable: keras.Variable
    shape: tuple[int, ...]
    arranged: Callable[[np.ndarray], np.ndarray]
    index: tuple = ()

    def assign(self, value: np.ndarray) -> None:
        array = np.array(self.variable.value)
        array[self.index] = self.arranged(value)
        self.variable.assign(array)


def shape_of(weights: Mapping[str, np.ndarray], name: str) -> tuple[int, ...]:
    """The shape of one of the arrays; ValueError that names it where it is missing."""
    if name not in weights:
        raise ValueError(f"these weights do not fit the model; missing: {name}")
    return np.shape(weights[name])


def summed_biases(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays, with the two biases of each LSTM as one: only their sum ever acts.

    It is called "<...>bias_ih_<at> + bias_hh_<at>".
    """
    arrays = dict(weights)
    for name in weights:
        before, found, at = name.rpartition("bias_ih_")
        other = f"{before}bias_hh_{at}"
        if found and np.shape(weights.get(other)) == np.shape(weights[name]):
            one, two = arrays.pop(name), arrays.pop(other)
            wide = np.promote_types(one.dtype, np.float32)  # files may be in half precision
            arrays[f"{name} + bias_hh_{at}"] = np.add(one, two, dtype=wide)
    return arrays


def whole(variable: keras.Variable, arranged=np.asarray, shape: tuple[int, ...] | None = None):
    """A variable that has an array for itself, by default in its own layout."""
    return Place(variable, tuple(variable.shape) if shape is None else shape, arranged)


def transposed(variable: keras.Variable) -> Place:
    """A kernel `[in, out]` that they have as `[out, in]`."""
    return whole(variable, np.transpose, tuple(variable.shape[::-1]))


def batch_norm(layer, theirs: str, part: slice = slice(None)) -> dict[str, Place]:
    """Of BatchNorm over some of the channels; what it counts has no place, see `counters`."""
    names = {"weight": layer.gamma, "bias": layer.beta, "running_mean": layer.moving_mean}
    names["running_var"] = layer.moving_variance
    shape = np.empty(layer.gamma.shape)[part].shape
    return {
        f"{theirs}.{name}": Place(variable, shape, np.asarray, (part,))
        for name, variable in names.items()
    }


def linear(layer, theirs: str) -> dict[str, Place]:
    """Of a Linear layer, `[out, in]`."""
    return {f"{theirs}.weight": transposed(layer.kernel), f"{theirs}.bias": whole(layer.bias)}


def conv2d(layer, theirs: str, *, transposed: bool = False) -> dict[str, Place]:
    """Of Conv2d, `[out, in / groups, high, wide]`, or ConvTranspose2d as a flipped convolution.

    That one has `[in, out / groups, high, wide]`.
    """
    high, wide, features, filters = layer.kernel.shape
    groups = layer.groups

    def flipped(kernel):
        kernel = kernel.reshape(groups, features, filters // groups, high, wide)
        kernel = kernel[..., ::-1, ::-1].transpose(3, 4, 1, 0, 2)
        return kernel.reshape(high, wide, features, filters)

    if transposed:
        shape = (groups * features, filters // groups, high, wide)
        kernel = whole(layer.kernel, flipped, shape)
    else:
        shape = (filters, features, high, wide)
        kernel = whole(layer.kernel, lambda kernel: kernel.transpose(2, 3, 1, 0), shape)
    return {f"{theirs}.weight": kernel, f"{theirs}.bias": whole(layer.bias)}


def gru(cell, theirs: str, group: int = 0, way: str = "") -> dict[str, Place]:
    """Of a GRU's layer 0 in one direction, which is one group of a `GroupedGRUCell`.

    way: "" or "_reverse". PyTorch's gates are r, z and candidate, Keras's z, r and candidate.
    """
    kernels, bias = {"ih": cell.own_kernel, "hh": cell.own_recurrent_kernel}, cell.own_bias
    places = {}
    for number, (name, kernel) in enumerate(kernels.items()):
        features, gates = kernel.shape[-2:]
        places[f"{theirs}.weight_{name}_l0{way}"] = Place(
            kernel, (gates, features), lambda array: _gates(array).T, (group,)
        )
        places[f"{theirs}.bias_{name}_l0{way}"] = Place(bias, (gates,), _gates, (number, group))
    return places


def lstm(layer, theirs: str, at: str = "l0") -> dict[str, Place]:
    """Of one layer of an LSTM in one direction, whose arrays are `summed_biases`."""
    return {
        f"{theirs}.weight_ih_{at}": transposed(layer.cell.kernel),
        f"{theirs}.weight_hh_{at}": transposed(layer.cell.recurrent_kernel),
        f"{theirs}.bias_ih_{at} + bias_hh_{at}": whole(layer.cell.bias),
    }


def _gates(array):
    r, z, candidate = np.split(array, 3)
    return np.concatenate([z, r, candidate])


def grouped_gru(cell, theirs: str, *, both_ways: bool = False) -> dict[str, Place]:
    """Of GRUs called rnn1, rnn2, ..., one a group, or a group each way."""
    ways = ("", "_reverse") if both_ways else ("",)
    places = {}
    for number in range(cell.groups):
        group, way = divmod(number, len(ways))
        places |= gru(cell, f"{theirs}.rnn{group + 1}", number, ways[way])
    return places


def dual_path(model: keras.Model, ours: str, theirs: str) -> dict[str, Place]:
    """Of GTCRN's DPGRNN: `<ours>_intra` and `<ours>_inter` of `models.base.erb_enhancer`."""
    intra, inter = model.get_layer(f"{ours}_intra"), model.get_layer(f"{ours}_inter")
    places = grouped_gru(intra.gru.gru.cell, f"{theirs}.intra_rnn", both_ways=True)
    places |= grouped_gru(inter.gru.cell, f"{theirs}.inter_rnn")
    for name, half in (("intra", intra), ("inter", inter)):
        places |= linear(half.dense, f"{theirs}.{name}_fc")
        places[f"{theirs}.{name}_ln.weight"] = whole(half.gamma)
        places[f"{theirs}.{name}_ln.bias"] = whole(half.beta)
    return places


def erb(model: keras.Model, weights, theirs: str = "erb") -> dict[str, Place]:
    """Of the fixed triangles, which must be those of the model: it keeps its own.

    Raises ValueError for others.
    """
    filters = model.get_layer("bands").filters
    shapes = {f"{theirs}.erb_fc.weight": filters.T, f"{theirs}.ierb_fc.weight": filters}
    for name, own in shapes.items():
        array = np.asarray(weights.get(name, own))
        if array.shape == own.shape and not np.allclose(array, own, rtol=0, atol=1e-6):
            raise ValueError(f"{name} must hold the fixed triangles of layers.erb; it does not")
    return {name: Fixed(own.shape) for name, own in shapes.items()}


@dataclass(frozen=True)
class Fixed:
    """What a model computes itself: an array of `shape` that goes nowhere."""

    shape: tuple[int, ...]

    def assign(self, value: np.ndarray) -> None:
        pass


def counters(weights) -> list[str]:
    """The names of what batch norms count."""
    return [name for name in weights if name.endswith(".num_batches_tracked")]
