"""SCNet's checkpoints: every weight to its layer, none missing, none left over, from any file."""

import re

import made_scnet
import made_torch_files as made
import numpy as np
import pytest
from made_once import drawn_once

from kzoo.convert import scnet
from kzoo.models import scnet as architecture

SIZE = {"dims": (4, 4, 8), "kernels": (3, 2, 4), "depths": (1, 0, 2), "paths": 2, "sources": 2}
TOLD = {
    "normalize": "none", "band_shares": (0.175, 0.392, 0.433), "n_fft": 64, "hop_length": 16,
    "sources": ["vocals", "rest"],
}  # fmt: skip

each_network_is_drawn_once = drawn_once((architecture, "build"))


@pytest.fixture(scope="module")
def weights():
    """Those of `SIZE`, by the authors' names."""
    return made_scnet.weights(**SIZE)


def test_every_number_has_its_place(weights):
    model = scnet.from_weights(weights, **TOLD)
    shapes = made_scnet.shapes(**SIZE)
    theirs = sum(int(np.prod(shape)) for shape in shapes.values())
    assert model.count_params() == theirs - made_scnet.second_biases(shapes)
    layer = model.get_layer("decoder1_band3")  # [in, (bins, out)] of [in, out, bins, 1]
    wanted = weights["decoder.0.1.convtrs.2.weight"][..., 0].transpose(0, 2, 1)
    np.testing.assert_array_equal(layer.kernel, wanted.reshape(8, -1))
    lstm = model.get_layer("dual_path2_frames").lstm.backward_layer.cell
    at = "separation_net.dp_modules.1.lstm_layers.1"
    both = weights[f"{at}.bias_ih_l0_reverse"] + weights[f"{at}.bias_hh_l0_reverse"]
    np.testing.assert_array_equal(lstm.bias, both)


def test_weights_that_do_not_fit_are_named(weights):
    for name in (
        "encoder.0.SDlayer.convs.0.weight",
        "encoder.1.globalconv.bias",
        "decoder.0.1.convtrs.1.bias",
        "separation_net.dp_modules.1.norm_layers.0.weight",
    ):
        fewer = {key: array for key, array in weights.items() if key != name}
        with pytest.raises(ValueError, match=f"missing: {name}$"):
            scnet.from_weights(fewer, **TOLD)
    more = {**weights, "encoder.0.conv_modules.0.layers.3.0.weight": np.zeros(4)}
    with pytest.raises(ValueError, match=r"unused: encoder.0.conv_modules.0.layers.3.0.weight$"):
        scnet.from_weights(more, **TOLD)
    with pytest.raises(ValueError, match=r"decoder.1.1.convtrs.0.weight is \(4, 8, 3, 1\), not"):
        scnet.from_weights(weights, **{**TOLD, "sources": ["a", "b", "c"]})
    with pytest.raises(ValueError, match=r"missing: encoder.0.SDlayer.convs.0.weight"):
        scnet.from_weights({"conv.weight": np.zeros((3, 3))}, **TOLD)


def test_what_arrays_do_not_tell_must_be_told(weights):
    for name in ("normalize", "band_shares"):
        told = {key: value for key, value in TOLD.items() if key != name}
        with pytest.raises(TypeError, match=name):
            scnet.from_weights(weights, **told)


def file_of(path, layout, arrays):
    """A checkpoint with {mapping: prefix of its names}, or flat for ""."""
    data, programs = {}, {}
    for number, (mapping, (prefix, scale)) in enumerate(layout.items()):
        entries = {}
        for index, (name, array) in enumerate(arrays.items()):
            key = f"{number}_{index}"
            data[key] = np.float32(scale * array)
            stride = [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)]
            entries[prefix + name] = made.tensor(
                key, "FloatStorage", array.size, array.shape, stride
            )
        programs[mapping] = made.mapping(entries)
    whole = programs[""] if "" in programs else made.mapping(programs)
    return made.checkpoint(path, whole, data)


@pytest.mark.parametrize(
    "layout",
    [
        {"": ("", 1)},  # ZFTurbo's releases
        {"state_dict": ("", 1)},
        {"state": ("module.", 1)},
        # The authors' checkpoint.th: averages are beside what their program separates with.
        {"state": ("module.", 2), "best_state": ("module.", 1), "ema_batch_0": ("", 3)},
    ],
    ids=lambda layout: "+".join(layout) or "flat",
)
def test_each_layout_of_a_file_gives_the_weights(tmp_path, weights, layout):
    some = dict(list(weights.items())[:3])
    found = scnet.read(file_of(tmp_path / "checkpoint.th", layout, some))
    assert list(found) == list(some)
    for name, array in some.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_file_without_such_a_mapping_says_what_it_holds(tmp_path, weights):
    some = dict(list(weights.items())[:3])
    path = file_of(tmp_path / "checkpoint.th", {"generator": ("", 1)}, some)
    message = "no mapping called 'best_state' or 'state_dict' or 'state'; there are: generator"
    with pytest.raises(ValueError, match=re.escape(message)):
        scnet.read(path)
