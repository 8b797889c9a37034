"""The same computation in the forms that a phone's kernels run fastest; parity is checked after.

A model is copied layer by layer, and some layers are copied as another kind with the same weights:
`convolutions` and `transforms` have those, and say what each gains; `half` has those that hold in
half precision.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
from keras import layers

from kzoo.deploy.forms.convolutions import convolution_form
from kzoo.deploy.forms.half import half_form
from kzoo.deploy.forms.transforms import transform_forms
from kzoo.layers.spectra import FrameSpectrum

__all__ = ["for_tflite"]


def for_tflite(model: keras.Model, *, fft: str = "auto", half_safe: bool = False) -> keras.Model:
    """A copy of `model` with the rewritten layers; itself where none fits or it cannot be copied.

    Only functional and sequential models can be copied, of layers that their config describes.
    fft: "rfft2d" leaves transforms as they are. half_safe: with the layers of `half`.
    """
    transforms = {} if fft == "rfft2d" else transform_forms(model)

    def form(layer) -> tuple[type, dict]:
        """(the kind that `layer` is copied as, what changes in its config)."""
        if id(layer) in transforms:
            kind, changes = transforms[id(layer)]
            return (half_form(kind) or kind if half_safe else kind), changes
        if half_safe and half_form(type(layer)):
            return half_form(type(layer)), {}
        if isinstance(layer, FrameSpectrum) and layer.exact:
            return type(layer), {"exact": False}  # TFLite's one FFT computes in float64
        return convolution_form(layer) or type(layer), {}

    def copy(layer):
        kind, changes = form(layer)
        return kind.from_config({**layer.get_config(), **changes})

    if all(form(layer) == (type(layer), {}) for layer in _all_layers(model)):
        return model
    try:
        clone = keras.models.clone_model(model, clone_function=copy, recursive=True)
    except (TypeError, ValueError, NotImplementedError):
        return model
    if [w.shape for w in clone.weights] != [w.shape for w in model.weights]:
        return model  # a layer that two inner models share is copied twice
    clone.set_weights(model.get_weights())
    return clone


def _all_layers(model) -> Iterator[layers.Layer]:
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _all_layers(layer)
