"""Deezer's Spleeter weights, by the names of its TensorFlow 1 checkpoints.

The checkpoint knows no scopes: layers are numbered in the order of their creation, instrument by
instrument, and the first of a kind has no number. Instrument i owns conv2d 7i..7i+6 (six down,
then the mask), conv2d_transpose 6i..6i+5 and batch_normalization 12i..12i+11 (six down, six up).
The sixth of those norms follows the bottleneck, whose output the network never uses: it is in
every checkpoint and has no place in the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert._checkpoints import (
    NORM_PARTS,
    is_training_state,
    layer_variables,
    numbered,
    read_checkpoint,
)
from kzoo.models import unet

MODEL = "unet"
__all__ = ["INSTRUMENTS", "MODEL", "from_weights", "is_training_state", "read", "read_checkpoint"]

read = read_checkpoint

# In the order in which Spleeter's configurations list them, which is the checkpoint's order.
INSTRUMENTS = {
    2: ("vocals", "accompaniment"),
    4: ("vocals", "drums", "bass", "other"),
    5: ("vocals", "piano", "drums", "bass", "other"),
}
_LEVELS = 6


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] | None = None,
    frames: int = 512,
    bins: int = 1024,
    activation: str,
    masks: str,
    dropout: float = 0.5,
    residual: bool = False,
) -> keras.Model:
    """`unet.core` with Spleeter's weights.

    weights: arrays by checkpoint name, "conv2d/kernel", "batch_normalization_11/gamma", ...;
        the optimizer's slots may be among them. The number of filters and of channels is read
        off the arrays.
    sources: in the checkpoint's order; by default Spleeter's own for 2, 4 or 5 instruments.
    activation, masks: leaky_relu and sigmoid in Spleeter's for 2 instruments, elu and sigmoid in
        those for 4, elu and softmax in those for 5. A wrong choice loads and separates into
        garbage.
    residual: leave the last source's network out; the model takes what the others leave.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    weights = {name: value for name, value in weights.items() if not is_training_state(name)}
    instruments = sum(name.endswith("/kernel") and name.startswith("conv2d") for name in weights)
    instruments //= 2 * _LEVELS + 1
    if sources is None:
        if instruments not in INSTRUMENTS:
            raise ValueError(
                "sources must be named where the weights are not those of 2, 4 or 5 instruments; "
                f"these hold {instruments}"
            )
        sources = INSTRUMENTS[instruments]
    try:
        shapes = [np.shape(weights[numbered("conv2d", i) + "/kernel"]) for i in range(_LEVELS)]
    except KeyError as error:
        raise ValueError(f"these weights do not fit the model; missing: {error.args[0]}") from None
    size = models.sizes(
        "unet",
        filters=[shape[-1] for shape in shapes],
        channels=shapes[0][2],
        frames=frames,
        bins=bins,
        activation=activation,
        masks=masks,
        dropout=dropout,
        residual=residual,
    )
    model = unet.core(sources, size)
    networks = [_layer_names(source, i) for i, source in enumerate(sources)]
    targets, unused = {}, []
    for i, names in enumerate(networks):
        unused += [numbered("batch_normalization", 12 * i + 5) + f"/{p}" for p in NORM_PARTS]
        if residual and i == len(networks) - 1:
            unused += [name for name in weights if name.rpartition("/")[0] in names.values()]
            continue
        for layer, name in names.items():
            targets |= layer_variables(model.get_layer(layer), name)
    assign(targets, weights, unused=unused)
    return model


def _layer_names(source: str, i: int) -> dict[str, str]:
    """{layer of the model: the checkpoint's name for it} of instrument i."""
    names = {f"{source}_mask_conv": numbered("conv2d", 7 * i + _LEVELS)}
    for level in range(_LEVELS):
        down, up = f"{source}_down{level + 1}", f"{source}_up{level + 1}"
        names[f"{down}_conv"] = numbered("conv2d", 7 * i + level)
        names[f"{up}_conv"] = numbered("conv2d_transpose", 6 * i + level)
        if level < _LEVELS - 1:
            names[f"{down}_norm"] = numbered("batch_normalization", 12 * i + level)
        names[f"{up}_norm"] = numbered("batch_normalization", 12 * i + _LEVELS + level)
    return names
