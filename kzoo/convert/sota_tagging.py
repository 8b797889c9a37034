"""Taggers of https://github.com/minzwon/sota-music-tagging-models by their PyTorch state dicts.

Won, Ferraro, Bogdanov and Serra, 2020, https://arxiv.org/abs/2006.00751: FCN, CRNN, Musicnn, the
short-chunk CNN and the harmonic CNN. Their files models/<data>/<network>/best_model.pth hold one
state dict each; the code is MIT, and MagnaTagATune's recordings are CC BY-NC-SA.
"""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._torch_layers import Place, batch_norm, counters, whole
from kzoo.convert.torch_files import read_torch as read
from kzoo.models import choi, harmonic_cnn, musicnn, vgg
from kzoo.models.base.listener import ListenerSizes

__all__ = ["SIZES", "from_weights", "read"]

SIZES: dict[str, ListenerSizes] = {
    "fcn": choi.VARIANTS["fcn5"],
    "crnn": choi.VARIANTS["crnn_torch"],
    "musicnn": musicnn.VARIANTS["torch"],
    "short": vgg.VARIANTS["short_chunk"],
    "hcnn": harmonic_cnn.VARIANTS["mtat"],
}
_FIXED = (".window", ".fb")  # buffers of torchaudio, which follow from the sizes
_DENSE = (("dense", "dense1"), ("dense_norm", "bn"), ("logits", "dense2"))


def from_weights(weights: Mapping[str, np.ndarray], size: ListenerSizes) -> keras.Model:
    """The model of `size`, from waveform to tags, with the arrays of a file, as `read` gives them.

    size: one of SIZES, by the name of the file's folder, or of other widths or names: those of
        SIZES are MagnaTagATune's, in their order.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    if isinstance(size, choi.Choi):
        model, pairs = choi.build(size), _choi(size)
    elif isinstance(size, musicnn.Musicnn):
        model, pairs = musicnn.build(size), _musicnn()
    elif isinstance(size, vgg.VGG):
        model, pairs = vgg.build(size), _short_chunk(size)
    else:
        model, pairs = harmonic_cnn.build(size), _harmonic_cnn(size)
    places: dict[str, Place] = {}
    for ours, theirs in pairs:
        places |= _placed(model.get_layer(ours), theirs)
    fixed = [name for name in weights if name.endswith(_FIXED)]
    assign(places, weights, unused=[*counters(weights), *fixed])
    return model


def _placed(layer, theirs: str) -> dict[str, Place]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return batch_norm(layer, theirs)
    if isinstance(layer, keras.layers.GRU):
        return _gru(layer.cell, *theirs.split(" "))
    if theirs.endswith(".bw_Q"):
        return {theirs: whole(layer.quality, np.squeeze, (1,))}
    kernel = layer.kernel
    shape = kernel.shape[::-1]
    if shape[1:3] == (1, 1) and len(shape) == 4:  # temporal filters, of one dimension there
        shape = (shape[0], *shape[2:])
    return {
        f"{theirs}.weight": whole(kernel, lambda array: array.T.reshape(kernel.shape), shape),
        f"{theirs}.bias": whole(layer.bias),
    }


def _gru(cell, theirs: str, level: str) -> dict[str, Place]:
    """Of level `level` of a GRU, whose gates are r, z and candidate; Keras's z, r, candidate."""

    def ordered(array):
        r, z, candidate = np.split(array, 3)
        return np.concatenate([z, r, candidate])

    places = {}
    kernels = {"ih": cell.kernel, "hh": cell.recurrent_kernel}
    for number, (part, kernel) in enumerate(kernels.items()):
        places[f"{theirs}.weight_{part}_l{level}"] = whole(
            kernel, lambda array: ordered(array).T, kernel.shape[::-1]
        )
        places[f"{theirs}.bias_{part}_l{level}"] = Place(
            cell.bias, cell.bias.shape[1:], ordered, (number,)
        )
    return places


def _choi(size: choi.Choi):
    yield "input_norm", "spec_bn"
    for level in range(1, len(size.filters) + 1):
        yield f"conv{level}", f"layer{level}.conv"
        yield f"norm{level}", f"layer{level}.bn"
    if size.gru:
        yield "gru1", f"layer{len(size.filters) + 1} 0"
        yield "gru2", f"layer{len(size.filters) + 1} 1"
    yield "logits", "dense"


def _musicnn():
    yield "input_norm", "spec_bn"
    front = ("timbral1", "timbral2", "temporal1", "temporal2", "temporal3")
    places = {ours: f"layers.{number}" for number, ours in enumerate(front)}
    places |= {f"middle{level}": f"layer{level}" for level in (1, 2, 3)}
    for ours, theirs in places.items():
        yield ours, f"{theirs}.conv"
        yield f"{ours}_norm", f"{theirs}.bn"
    yield from _DENSE


def _short_chunk(size: vgg.VGG):
    yield "input_norm", "spec_bn"
    for level in range(1, len(size.filters) + 1):
        yield f"conv{level}", f"layer{level}.conv"
        yield f"conv{level}_norm", f"layer{level}.bn"
    yield from _DENSE


def _harmonic_cnn(size: harmonic_cnn.HarmonicCNN):
    yield "bands", "hstft.bw_Q"
    yield "bands_norm", "hstft_bn"
    before = size.harmonics
    for level, filters in enumerate(size.filters, start=1):
        residual = filters == before
        yield f"conv{level}", f"layer{level}.conv_1" if residual else f"layer{level}.conv"
        yield f"norm{level}", f"layer{level}.bn_1" if residual else f"layer{level}.bn"
        if residual:
            yield f"second{level}", f"layer{level}.conv_2"
            yield f"second_norm{level}", f"layer{level}.bn_2"
        before = filters
    yield from _DENSE
