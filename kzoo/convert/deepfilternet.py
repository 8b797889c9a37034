"""DeepFilterNet3's published weights, https://github.com/Rikorose/DeepFilterNet, from ONNX files.

The authors' archive DeepFilterNet3_onnx.tar.gz (code MIT or Apache-2.0) holds three graphs, whose
tensors are called "enc/<name>", "erb_dec/<name>" and "df_dec/<name>" here. Batch norms are folded
into the convolutions, which the export has given numbers for names; the GRUs of two graphs are
constants among the nodes.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert.onnx_files import read_onnx
from kzoo.models import deepfilternet

GRAPHS = ("enc", "erb_dec", "df_dec")
# A second output of the filters' decoder, which the authors' programs do not ask for.
UNUSED = ("df_dec/df_fc_a.0.bias", "df_dec/onnx::MatMul_321")


def read(path: str | Path) -> dict[str, np.ndarray]:
    """{"<graph>/<name>": array} of the archive's three graphs; nothing is unpacked or executed.

    What the graphs compute with beside weights, integers and single numbers, is left out. Raises
    ValueError for another kind of file, and for one that lacks a graph or is damaged.
    """
    try:
        with tarfile.open(path) as archive:
            members = {Path(member.name).name: member for member in archive if member.isfile()}
            missing = [f"{graph}.onnx" for graph in GRAPHS if f"{graph}.onnx" not in members]
            if missing:
                raise ValueError(f"{path} lacks {', '.join(missing)}")
            contents = {
                graph: archive.extractfile(members[f"{graph}.onnx"]).read() for graph in GRAPHS
            }
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is no archive that can be read: {error}") from error
    return {
        f"{graph}/{name}": array
        for graph, content in contents.items()
        for name, array in read_onnx(content).items()
        if array.dtype.kind == "f" and array.ndim
    }


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = deepfilternet.SOURCES,
    size: deepfilternet.DeepFilterNet = deepfilternet.VARIANTS["deepfilternet3"],
) -> keras.Model:
    """`deepfilternet.build` with the published weights, as `read` gives them.

    size: for another post-filter or limit. Raises ValueError that names every weight which is
    missing, of another shape, or left over.
    """
    if len(sources) != 1:
        raise ValueError(f"the published network has one source; got {', '.join(sources)}")
    model = models.build("deepfilternet", size, sources=sources)
    by_path = {weight.path: weight for weight in model.weights}
    targets, arrays = {}, dict(weights)
    for name, (path, convert) in _places().items():
        targets[name] = by_path[path]
        if name in weights:
            arrays[name] = _converted(np.asarray(weights[name]), convert)
    assign(targets, arrays, unused=UNUSED)
    return model


def _converted(array: np.ndarray, convert: Callable) -> np.ndarray:
    try:
        return convert(array)
    except (ValueError, IndexError):  # of another rank: it is refused with the shape that it has
        return array


def _places() -> dict[str, tuple[str, Callable]]:
    """{name of a published tensor: (path of the weight, how its array becomes the weight's)}."""
    places = {
        "enc/df_fc_emb.0.weight": ("df_fc_emb/kernel", _same),
        "enc/emb_gru.linear_in.0.weight": ("enc_linear_in/kernel", _same),
        "enc/emb_gru.linear_out.0.weight": ("enc_linear_out/kernel", _same),
        "enc/onnx::MatMul_337": ("local_snr/kernel", _same),
        "enc/lsnr_fc.0.bias": ("local_snr/bias", _same),
        "enc/erb_conv1.0.weight": ("erb_conv1_taps/kernel", _taps),
        "enc/erb_conv2.0.weight": ("erb_conv2_taps/kernel", _taps),
        "enc/erb_conv3.0.weight": ("erb_conv3_taps/kernel", _depthwise),
        "enc/df_conv0.1.weight": ("df_conv0_taps/kernel", _both_parts),
        "enc/df_conv1.0.weight": ("df_conv1_taps/kernel", _taps),
        "erb_dec/emb_gru.linear_in.0.weight": ("gain_linear_in/kernel", _same),
        "erb_dec/emb_gru.linear_out.0.weight": ("gain_linear_out/kernel", _same),
        "erb_dec/convt3.0.weight": ("convt3_taps/kernel", _depthwise),
        "erb_dec/convt2.0.weight": ("convt2_taps/kernel", _taps),
        "erb_dec/convt1.0.weight": ("convt1_taps/kernel", _taps),
        "df_dec/df_gru.linear_in.0.weight": ("filter_linear_in/kernel", _same),
        "df_dec/df_skip.weight": ("df_skip/kernel", _same),
        "df_dec/df_out.0.weight": ("df_out/kernel", _same),
        "df_dec/df_convp.1.weight": ("df_convp_taps/kernel", _convolution),
    }
    numbered = {  # the first of each layer's two numbers, kernel and bias
        ("enc", 282): "erb_conv0", ("enc", 285): "erb_conv1", ("enc", 288): "erb_conv2",
        ("enc", 291): "erb_conv3", ("enc", 294): "df_conv0", ("enc", 297): "df_conv1",
        ("erb_dec", 288): "conv3p", ("erb_dec", 291): "convt3", ("erb_dec", 294): "conv2p",
        ("erb_dec", 297): "convt2", ("erb_dec", 300): "conv1p", ("erb_dec", 303): "convt1",
        ("erb_dec", 306): "conv0p", ("erb_dec", 309): "conv0_out", ("df_dec", 268): "df_convp",
    }  # fmt: skip
    for (graph, number), layer in numbered.items():
        kernel = _depthwise if layer.endswith("p") and graph == "erb_dec" else _convolution
        places[f"{graph}/onnx::Conv_{number}"] = (f"{layer}/kernel", kernel)
        places[f"{graph}/onnx::Conv_{number + 1}"] = (f"{layer}/bias", _same)
    for layer, names, first in (
        ("enc_gru1", "enc//emb_gru/Constant_{}_output_0", 3),
        ("gain_gru1", "erb_dec//emb_gru/Constant_{}_output_0", 3),
        ("gain_gru2", "erb_dec//emb_gru/Constant_{}_output_0", 9),
        ("filter_gru1", "df_dec/onnx::GRU_{}", 291),
        ("filter_gru2", "df_dec/onnx::GRU_{}", 311),
    ):
        kinds = (("kernel", _gru), ("recurrent_kernel", _gru), ("bias", _gru_bias))
        for number, (weight, convert) in enumerate(kinds, first):
            places[names.format(number)] = (f"{layer}/gru_cell/{weight}", convert)
    return places


def _same(array):
    return array


def _convolution(kernel):
    """[filters, channels, height, width] to [height, width, channels, filters]."""
    return kernel.transpose(2, 3, 1, 0)


def _depthwise(kernel):
    """[channels, 1, height, width] to [height, width, channels, 1]."""
    return kernel.transpose(2, 3, 0, 1)


def _taps(kernel):
    """[channels, 1, 1, taps] to [taps, channels]."""
    return _depthwise(kernel)[0, :, :, 0]


def _both_parts(kernel):
    """[2 * filters, 1, height, width] to [height, width, 2, filters], as of two channels."""
    return _depthwise(kernel.reshape(2, -1, *kernel.shape[2:]))


def _gru(kernel):
    """[1, 3 * units, features], gates z, r, h as Keras has them, to [features, 3 * units]."""
    return kernel[0].T


def _gru_bias(bias):
    """[1, 6 * units], of the input and of the recurrence, to [2, 3 * units]."""
    return bias.reshape(2, -1)
