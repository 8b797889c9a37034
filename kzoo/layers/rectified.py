"""A layer, a ReLU and a batch norm, in either order that papers have them."""

from __future__ import annotations

from keras import layers


def rectified(layer: layers.Layer, x, *, norms: str, epsilon: float):
    """Of `layer` at `x` a ReLU and a batch norm over its last axis.

    norms: "last", the norm follows the ReLU, or "first". They are called as the layer is, with
    `_relu` and `_norm` behind it.
    """
    x = layer(x)
    norm = layers.BatchNormalization(epsilon=epsilon, name=f"{layer.name}_norm")
    relu = layers.Activation("relu", name=f"{layer.name}_relu")
    for part in (norm, relu) if norms == "first" else (relu, norm):
        x = part(x)
    return x
