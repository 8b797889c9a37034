"""Weights of Wave-U-Net by the names of its authors' TensorFlow 1 program.

https://github.com/f90/Wave-U-Net numbers its convolutions under `separator` in the order of their
creation: the way down, the bottleneck, the way up, and one for each source that is estimated. With
learned upsampling, interp_0 is the deepest level's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert._checkpoints import is_training_state, read_checkpoint
from kzoo.models import wave_u_net

__all__ = ["from_weights", "options_of", "read", "read_checkpoint"]

read = read_checkpoint


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = wave_u_net.SOURCES,
    context: bool,
    activation: str = "tanh",
    samples: int | None = None,
) -> keras.Model:
    """`wave_u_net.core` with the reference's weights.

    weights: arrays by checkpoint name, "separator/conv1d/kernel", "separator/interp_0", ...; the
        optimizer's slots may be among them. Every size is read off the arrays.
    sources: in the reference's order, (accompaniment, vocals) or (bass, drums, other, vocals);
        where the weights estimate all but one, the last is the difference.
    context, activation: cannot be read off the weights (of the paper's models M1 and M2 have no
        context, and all end in tanh); a wrong choice loads and separates into garbage.
    samples: as in `wave_u_net.core`.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    weights = {name: value for name, value in weights.items() if not is_training_state(name)}
    options = options_of(weights, sources=sources)
    size = models.sizes("wave_u_net", context=context, activation=activation, **options)
    model = wave_u_net.core(sources, size, samples=samples)
    assign(_variables(model, sources, size), weights)
    return model


def options_of(weights: Mapping[str, np.ndarray], *, sources: Sequence[str]) -> dict:
    """The fields of `wave_u_net.WaveUNet` that can be read off the reference's weights.

    Raises ValueError for weights that are no Wave-U-Net's.
    """

    def shape(index: int) -> tuple[int, ...]:
        name = _numbered(index) + "/kernel"
        if name not in weights:
            raise ValueError(f"these weights do not fit the model; missing: {name}")
        found = np.shape(weights[name])
        if len(found) != 3:
            raise ValueError(f"these weights do not fit the model; {name} is {found}, not 3-D")
        return found

    kernel_size, channels, filters = shape(0)
    levels = 0
    while shape(levels + 1)[2] > shape(levels)[2]:  # the bottleneck is the widest
        levels += 1
    if not levels:
        raise ValueError(
            "these weights do not fit the model; the second convolution must be wider than the "
            f"first; got kernels {shape(0)} and {shape(1)}"
        )
    first = 2 * levels + 1  # of the outputs
    estimated = sum(
        name.startswith("separator/conv1d") and name.endswith("/kernel") for name in weights
    )
    return {
        "levels": levels,
        "filters": filters,
        "kernel_size": kernel_size,
        "merge_kernel_size": shape(levels + 1)[0],
        "output_kernel_size": shape(first)[0],
        "upsampling": "learned" if "separator/interp_0" in weights else "linear",
        "output": "difference" if estimated - first < len(sources) else "direct",
        "channels": channels,
    }


def _variables(
    model: keras.Model, sources: Sequence[str], size: wave_u_net.WaveUNet
) -> dict[str, object]:
    levels = size.levels
    order = [f"down{level}" for level in range(1, levels + 1)]
    order += ["bottleneck", *(f"up{level}" for level in range(levels, 0, -1))]
    order += sources[:-1] if size.output == "difference" else sources
    found = {}
    for index, name in enumerate(order):
        layer = model.get_layer(f"{name}_conv")
        found[f"{_numbered(index)}/kernel"] = layer.kernel
        found[f"{_numbered(index)}/bias"] = layer.bias
    if size.upsampling == "learned":
        for index in range(levels):
            layer = model.get_layer(f"up{levels - index}_upsampling")
            found[f"separator/interp_{index}"] = layer.interpolation
    return found


def _numbered(index: int) -> str:
    return f"separator/conv1d_{index}" if index else "separator/conv1d"
