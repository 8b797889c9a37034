"""Demucs's state dicts: every weight to its layer, none missing, none left over."""

import made_demucs as made
import numpy as np
import pytest
from made_once import drawn_once

from kzoo.convert import demucs
from kzoo.models import demucs as architecture

TWO = ["vocals", "accompaniment"]
SIZE = {"sources": 2, "filters": 3, "depth": 2, "lstm_layers": 2}


each_network_is_drawn_once = drawn_once((architecture, "core"))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"upsample": True},
        {"glu": False},
        {"rewrite": False, "context": 1},
        {"lstm_layers": 0},
        {"channels": 1, "kernel_size": 6, "context": 5},
        {"depth": 4, "growth": 1.7},
        {"depth": 1},
    ],
    ids=str,
)
def test_every_size_is_read_off_the_weights(options):
    sizes = {**SIZE, **options}
    weights = made.weights(**sizes)
    model = demucs.from_weights(weights, resample=False, normalize=False, sources=TWO)
    assert model.count_params() == made.counts(**sizes)[1]
    assert model.input_shape[-1] == sizes.get("channels", 2)
    assert model.get_layer("estimates").sources == tuple(TWO)


def test_weights_land_in_the_layers_of_their_names():
    weights = made.weights(**SIZE)
    model = demucs.from_weights(weights, resample=False, normalize=False, sources=TWO)
    for theirs, ours in {
        "encoder.0.0": "encoder1_conv",
        "encoder.1.2": "encoder2_rewrite",
        "decoder.0.0": "decoder1_rewrite",
        "decoder.1.2": "decoder2_conv",
        "lstm.linear": "lstm_linear",
    }.items():
        layer = model.get_layer(ours)
        np.testing.assert_array_equal(layer.kernel, weights[f"{theirs}.weight"].T)
        np.testing.assert_array_equal(layer.bias, weights[f"{theirs}.bias"])
    for number in range(2):
        both = model.get_layer(f"lstm{number + 1}")
        for layer, way in ((both.forward_layer, ""), (both.backward_layer, "_reverse")):
            theirs = {kind: weights[f"lstm.lstm.{kind}_l{number}{way}"]
                      for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
            np.testing.assert_array_equal(layer.cell.kernel, theirs["weight_ih"].T)
            np.testing.assert_array_equal(layer.cell.recurrent_kernel, theirs["weight_hh"].T)
            np.testing.assert_array_equal(layer.cell.bias, theirs["bias_ih"] + theirs["bias_hh"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encoder.0.0.weight", "missing: encoder.0.0.weight"),
        ("encoder.1.2.bias", "missing: encoder.1.2.bias"),
        ("decoder.0.0.weight", "missing: decoder.0.0.weight"),
        ("decoder.1.2.weight", "missing: decoder.1.2.weight"),
        ("lstm.linear.bias", "missing: lstm.linear.bias"),
        ("lstm.lstm.weight_hh_l1_reverse", "missing: lstm.lstm.weight_hh_l1_reverse"),
        ("lstm.lstm.bias_hh_l0", r"missing: .*bias_ih_l0 \+ bias_hh_l0; unused: .*bias_ih_l0"),
    ],
)
def test_a_missing_weight_is_named(name, message):
    weights = made.weights(**SIZE)
    del weights[name]
    with pytest.raises(ValueError, match=message):
        demucs.from_weights(weights, resample=False, normalize=False, sources=TWO)


@pytest.mark.parametrize(
    "name", ["encoder.2.0.bias", "lstm.lstm.bias_hh_l2", "_meta", "final.bias"]
)
def test_a_weight_that_is_left_over_is_named(name):
    weights = {**made.weights(**SIZE), name: np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=f"unused: {name}$"):
        demucs.from_weights(weights, resample=False, normalize=False, sources=TWO)


def test_more_sources_than_the_weights_hold_are_refused():
    message = r"wrong shape: decoder.1.2.weight is \(8, 4, 3\), not \(8, 6, 3\)"
    with pytest.raises(ValueError, match=message):
        demucs.from_weights(
            made.weights(**SIZE), resample=False, normalize=False, sources=["a", "b", "c"]
        )


def test_biases_of_an_lstm_that_only_broadcast_are_refused():
    weights = made.weights(**SIZE)
    weights["lstm.lstm.bias_hh_l0"] = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match=r"unused: .*bias_ih_l0, .*bias_hh_l0"):
        demucs.from_weights(weights, resample=False, normalize=False, sources=TWO)
