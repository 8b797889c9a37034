"""Weights of the VGG baselines of the package musicnn, as `kzoo.convert.musicnn` reads them."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._checkpoints import is_training_state, layer_variables, numbered
from kzoo.convert._checkpoints import read_checkpoint as read
from kzoo.models import vgg

__all__ = ["from_weights", "read"]


def from_weights(
    weights: Mapping[str, np.ndarray], size: vgg.VGG = vgg.VARIANTS["mtt"]
) -> keras.Model:
    """`vgg.core` with the arrays of a checkpoint, as `read` gives them.

    size: of the network; its names say what the output means, which weights cannot tell. Raises
    ValueError that names every weight which is missing, of another shape, or left over.
    """
    model = vgg.core(size)
    levels = range(1, len(size.filters) + 1)
    names = {f"conv{k}": f"{k}CNN" for k in levels} | {"logits": "dense"}
    norms = ["input_norm", *(f"conv{k}_norm" for k in levels)]
    names |= {name: numbered("batch_normalization", k) for k, name in enumerate(norms)}
    targets = {}
    for ours, theirs in names.items():
        targets |= layer_variables(model.get_layer(ours), theirs)
    assign(targets, {name: w for name, w in weights.items() if not is_training_state(name)})
    return model
