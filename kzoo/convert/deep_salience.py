"""Weights of Deep Salience's authors, https://github.com/rabitt/ismir2017-deepsalience (MIT).

Their .h5 files hold weights alone, a group a layer, and call the batch norms by another number in
each file: layers are taken in the file's own order.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert.dtln import read
from kzoo.models import deep_salience

__all__ = ["from_weights", "read"]

_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def from_weights(weights: Mapping[str, np.ndarray]) -> keras.Model:
    """`deep_salience.core` with the weights of one of the authors' files, as `read` gives them.

    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    model = deep_salience.core()
    names = [f"{kind}{k}" for k in range(6) for kind in ("convolution", "norm")][1:]
    targets = {}
    for number, name in enumerate([*names, "salience"]):
        kinds = _NORM if name.startswith("norm") else ("kernel", "bias")
        layer = model.get_layer(name)
        targets |= {f"{number}/{kind}": getattr(layer, kind) for kind in kinds}
    # Their first axis is frequency, ours time.
    turned = {
        name: np.swapaxes(array, 0, 1) if np.ndim(array) == 4 else array
        for name, array in weights.items()
    }
    assign(targets, turned)
    return model
