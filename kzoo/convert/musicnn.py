"""Weights of the package musicnn, https://github.com/jordipons/musicnn (ISC), out of its wheel.

Of each network there is a TensorFlow 1 checkpoint, whose files have endings and no names. Layers
are numbered in the order of their creation, kind by kind, and the first has no number.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._checkpoints import (
    NORM_PARTS,
    is_training_state,
    layer_variables,
    numbered,
)
from kzoo.convert._checkpoints import read_checkpoint as read
from kzoo.convert._torch_layers import whole
from kzoo.models import musicnn

__all__ = ["from_weights", "read"]


def from_weights(
    weights: Mapping[str, np.ndarray], size: musicnn.Musicnn = musicnn.VARIANTS["mtt"]
) -> keras.Model:
    """`musicnn.core` with the arrays of a checkpoint, as `read` gives them.

    size: of the network; its names say what the output means, which weights cannot tell. Raises
    ValueError that names every weight which is missing, of another shape, or left over.
    """
    model = musicnn.core(size)
    convolutions = [
        *(f"timbral{k + 1}" for k in range(len(size.timbral_bands))),
        *(f"temporal{k + 1}" for k in range(len(size.temporal_frames))),
        *(f"middle{k + 1}" for k in range(3)),
    ]
    norms = ["input_norm", *(f"{conv}_norm" for conv in convolutions), "pooled_norm", "dense_norm"]
    targets = {}
    for kind, names in (
        ("conv2d", convolutions), ("batch_normalization", norms), ("dense", ["dense", "logits"])
    ):  # fmt: skip
        for number, name in enumerate(names):
            targets |= layer_variables(model.get_layer(name), numbered(kind, number))
    pooled = numbered("batch_normalization", norms.index("pooled_norm"))
    for number, name in list(enumerate(convolutions))[-3:]:  # all features are one axis of an image
        kernel = model.get_layer(name).kernel
        shape = (*kernel.shape[:2], 1, kernel.shape[2])
        targets[f"{numbered('conv2d', number)}/kernel"] = whole(
            kernel, lambda array: array[:, :, 0], shape
        )
    for name in (*(f"{pooled}/{part}" for part in NORM_PARTS), "dense/kernel"):
        targets[name] = whole(targets[name], _maxima_first)
    given = {name: value for name, value in weights.items() if not is_training_state(name)}
    assign(targets, given)
    return model


def _maxima_first(array: np.ndarray) -> np.ndarray:
    """The maxima of all features and then the means, where they have both of each feature."""
    return np.concatenate([array[::2], array[1::2]])
