"""Deezer's checkpoints: every weight to its layer, none missing, none left over."""

import made_checkpoints as made
import numpy as np
import pytest
from made_once import drawn_once

from kzoo.convert import assign, spleeter
from kzoo.models import unet

SOURCES = {
    2: ["vocals", "accompaniment"],
    4: ["vocals", "drums", "bass", "other"],
    5: ["vocals", "piano", "drums", "bass", "other"],
}
SIZE = {"frames": 64, "bins": 64, "activation": "leaky_relu", "masks": "sigmoid"}
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


each_network_is_drawn_once = drawn_once((unet, "core"))


def numbered(kind, index):
    return f"{kind}_{index}" if index else kind


def expected_places(instruments):
    """{checkpoint name: (layer of kzoo's network, part)}, from the order of creation."""
    places = {}

    def put(layer, kind, index, parts):
        for part in parts:
            places[f"{numbered(kind, index)}/{part}"] = (layer, part)

    for i, source in enumerate(SOURCES[instruments]):
        for level in range(6):
            put(f"{source}_down{level + 1}_conv", "conv2d", 7 * i + level, ("kernel", "bias"))
            at = 6 * i + level
            put(f"{source}_up{level + 1}_conv", "conv2d_transpose", at, ("kernel", "bias"))
            if level != 5:  # the bottleneck's norm is created and never used
                put(f"{source}_down{level + 1}_norm", "batch_normalization", 12 * i + level, NORM)
            put(f"{source}_up{level + 1}_norm", "batch_normalization", 12 * i + 6 + level, NORM)
        put(f"{source}_mask_conv", "conv2d", 7 * i + 6, ("kernel", "bias"))
    return places


@pytest.mark.parametrize("instruments", [2, 5])  # 4 are between them
def test_every_weight_lands_in_the_layer_of_its_number(instruments):
    weights = made.weights(instruments)
    model = spleeter.from_weights(weights, **SIZE)
    assert list(model.get_layer("estimates").sources) == SOURCES[instruments]
    assert {n: list(names) for n, names in spleeter.INSTRUMENTS.items()} == SOURCES
    places = expected_places(instruments)
    assert len(places) == 70 * instruments == len(model.weights)
    for name, (layer, part) in places.items():
        np.testing.assert_array_equal(getattr(model.get_layer(layer), part), weights[name], name)


@pytest.mark.parametrize("instruments", [2, 5])  # 4 are between them
def test_only_the_norm_of_each_bottleneck_has_no_place(instruments):
    weights = made.weights(instruments)
    assert len(weights) == 74 * instruments
    spare = {name.split("/")[0] for name in set(weights) - set(expected_places(instruments))}
    assert spare == {numbered("batch_normalization", 12 * i + 5) for i in range(instruments)}
    spleeter.from_weights({k: v for k, v in weights.items() if k.split("/")[0] not in spare},
                          **SIZE)  # fmt: skip


def test_the_same_weights_separate_otherwise_where_they_are_called_otherwise(rng):
    weights = made.weights(2)
    magnitudes = np.abs(rng.standard_normal((1, 64, 64, 2))).astype(np.float32)
    first = np.asarray(spleeter.from_weights(weights, **SIZE)(magnitudes))
    named = spleeter.from_weights(weights, sources=["speech", "noise"], **SIZE)
    np.testing.assert_array_equal(named(magnitudes), first)
    elu = spleeter.from_weights(weights, **{**SIZE, "activation": "elu"})
    assert np.abs(np.asarray(elu(magnitudes)) - first).max() > 1e-2


def test_the_network_of_a_residual_is_left_out():
    weights = made.weights(2)
    model = spleeter.from_weights(weights, **SIZE, residual=True)
    whole = spleeter.from_weights(weights, **SIZE)
    assert len(model.weights) == 70
    magnitudes = np.abs(np.random.default_rng(0).standard_normal((1, 64, 64, 2)))
    vocals, rest = np.asarray(model(magnitudes.astype(np.float32)))[0]
    np.testing.assert_array_equal(vocals, whole(magnitudes.astype(np.float32))[0, 0])
    np.testing.assert_allclose(rest, np.maximum(magnitudes[0] - vocals, 0), atol=1e-6)
    with pytest.raises(ValueError, match=r"unused: dense/kernel$"):
        spleeter.from_weights(
            {**weights, "dense/kernel": weights["conv2d/bias"]}, **SIZE, residual=True
        )


def test_training_state_is_passed_over():
    weights = made.weights(2)
    state = {
        "global_step": np.int64(3),
        "beta1_power": np.float32(0.9),
        "beta2_power": np.float32(0.99),
        **{f"{name}/Adam": value + 1 for name, value in weights.items()},
        **{f"{name}/Adam_1": value + 2 for name, value in weights.items()},
    }
    # The optimizer's slots come first: whichever is read last would win.
    model = spleeter.from_weights({**state, **weights}, **SIZE)
    np.testing.assert_array_equal(
        model.get_layer("vocals_down1_conv").kernel, weights["conv2d/kernel"]
    )
    assert all(spleeter.is_training_state(name) for name in state)
    assert not any(spleeter.is_training_state(name) for name in weights)


@pytest.mark.parametrize(
    "name",
    ["conv2d_3/bias", "conv2d_13/kernel", "conv2d_transpose/kernel", "batch_normalization_23/beta"],
)
def test_a_missing_weight_is_named(name):
    weights = made.weights(2)
    del weights[name]
    with pytest.raises(ValueError, match=rf"missing: {name}$"):
        spleeter.from_weights(weights, sources=SOURCES[2], **SIZE)


def test_a_missing_kernel_from_which_sizes_are_read_is_named():
    weights = made.weights(2)
    del weights["conv2d_2/kernel"]
    with pytest.raises(ValueError, match="missing: conv2d_2/kernel"):
        spleeter.from_weights(weights, sources=SOURCES[2], **SIZE)


@pytest.mark.parametrize(
    "name", ["conv2d_14/bias", "dense/kernel", "batch_normalization_24/gamma", "conv2d/kernel/EMA"]
)
def test_a_weight_that_is_left_over_is_named(name):
    weights = {**made.weights(2), name: np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match=rf"unused: {name}$"):
        spleeter.from_weights(weights, **SIZE)


def test_a_wrong_shape_is_named_with_both_shapes():
    weights = made.weights(2)
    weights["conv2d_transpose_7/bias"] = np.zeros(4, np.float32)
    message = r"wrong shape: conv2d_transpose_7/bias is \(4,\), not \(5,\)"
    with pytest.raises(ValueError, match=message):
        spleeter.from_weights(weights, **SIZE)


def test_a_shape_that_would_broadcast_is_refused():
    weights = made.weights(2)
    weights["batch_normalization/gamma"] = np.ones(1, np.float32)
    with pytest.raises(ValueError, match=r"batch_normalization/gamma is \(1,\), not \(2,\)"):
        spleeter.from_weights(weights, **SIZE)


def test_all_problems_are_told_at_once_and_nothing_is_assigned():
    class Variable:
        shape = (2,)

        def assign(self, value):
            raise AssertionError("assigned")

    targets = {name: Variable() for name in ("right", "absent", "wide")}
    weights = {"right": np.zeros(2), "wide": np.zeros(3), "spare": np.zeros(1), "known": np.ones(1)}
    with pytest.raises(ValueError, match="missing: absent; unused: spare; wrong shape: wide is"):
        assign(targets, weights, unused=["known"])


def test_a_long_list_of_problems_is_cut_and_counted():
    with pytest.raises(ValueError, match=r"unused: a0, a1, a2, a3, a4, a5 and 4 more"):
        assign({}, {f"a{i}": np.zeros(1) for i in range(10)})


def test_three_instruments_need_names():
    weights = made.weights(3)
    with pytest.raises(ValueError, match=r"not those of 2, 4 or 5 instruments; these hold 3"):
        spleeter.from_weights(weights, **SIZE)
    model = spleeter.from_weights(weights, sources=["a", "b", "c"], **SIZE)
    assert model.output_shape == (None, 3, 64, 64, 2)


def test_too_few_names_leave_weights_over():
    with pytest.raises(ValueError, match=r"unused: .*conv2d_14/kernel"):
        spleeter.from_weights(made.weights(4), sources=["vocals", "drums"], **SIZE)


def test_mono_weights_make_a_mono_network():
    model = spleeter.from_weights(made.weights(2, channels=1), **SIZE)
    assert model.input_shape == (None, 64, 64, 1)


def test_a_checkpoint_is_read_by_its_index_without_training_state(tmp_path):
    weights = made.weights(2)
    made.write_checkpoint(tmp_path / "model", weights)  # its `checkpoint` names another machine
    found = spleeter.read_checkpoint(tmp_path / "model")
    assert list(found) == sorted(weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(found[name], value)


def test_a_folder_without_a_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no TensorFlow checkpoint"):
        spleeter.read_checkpoint(tmp_path)


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_a_damaged_checkpoint_is_a_line(tmp_path, ending):
    folder = made.write_checkpoint(tmp_path / "theirs", made.weights(2))
    path = folder / f"model.{ending}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"theirs/model: is damaged \(.+\)$"):
        spleeter.read_checkpoint(folder)
