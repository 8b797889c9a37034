"""The authors' checkpoints: every weight to its layer, none missing, none left over."""

import numpy as np
import numpy_wave_u_net as made
import pytest

from kzoo.convert import wave_u_net as convert
from kzoo.models import wave_u_net

SHAPE = {"levels": 2, "filters": 3, "kernel": 5, "merge": 3, "output": 1, "channels": 2}
NAMES = ["vocals", "drums", "bass"]


def weights(*, learned=True, estimated=2, **shape):
    rng = np.random.default_rng(0)
    return made.random_weights(rng, **{**SHAPE, **shape}, learned=learned, estimated=estimated)


def load(given, **options):
    return convert.from_weights(given, **{"sources": NAMES, "context": True, **options})


def test_every_weight_lands_in_the_layer_of_its_number():
    given = weights()
    model = load(given)
    order = ["down1", "down2", "bottleneck", "up2", "up1", "vocals", "drums"]
    for index, name in enumerate(order):
        theirs = f"separator/conv1d_{index}" if index else "separator/conv1d"
        for part in ("kernel", "bias"):
            layer = model.get_layer(f"{name}_conv")
            np.testing.assert_array_equal(getattr(layer, part), given[f"{theirs}/{part}"])
    for index, name in enumerate(["up2", "up1"]):
        layer = model.get_layer(f"{name}_upsampling")
        np.testing.assert_array_equal(layer.interpolation, given[f"separator/interp_{index}"])
    assert len(model.weights) == len(given)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize(("estimated", "output"), [(2, "difference"), (3, "direct")])
def test_sizes_are_read_off_the_arrays(learned, estimated, output):
    given = weights(learned=learned, estimated=estimated, output=3, kernel=7, channels=1)
    assert convert.options_of(given, sources=NAMES) == {
        "levels": 2, "filters": 3, "kernel_size": 7, "merge_kernel_size": 3,
        "output_kernel_size": 3, "upsampling": "learned" if learned else "linear",
        "output": output, "channels": 1,
    }  # fmt: skip
    assert load(given).input_shape == (None, None, 1)


def test_the_system_takes_the_weights_of_the_core(rng):
    given = weights()
    core = load(given)
    size = wave_u_net.WaveUNet(**convert.options_of(given, sources=NAMES), context=True)
    system = wave_u_net.build(NAMES, size)
    system.set_weights(core.get_weights())
    samples, out = size.lengths(20)
    mixture = rng.standard_normal((1, samples, 2)).astype(np.float32)
    before = (samples - out) // 2
    # The grid of the coarsest level is every fourth sample: shift the signal to lie on it.
    shift = -before % 4
    shifted = np.pad(mixture, ((0, 0), (shift, 0), (0, 0)))
    found = np.asarray(system(shifted))[:, :, shift + before : shift + before + out]
    np.testing.assert_allclose(found, core(mixture), atol=1e-5)


def test_training_state_is_passed_over():
    given = weights()
    state = {f"separator_solver/{name}/Adam": value + 1 for name, value in given.items()}
    state |= {f"separator_solver/{name}/Adam_1": value + 1 for name, value in given.items()}
    state |= {"separator_solver/beta1_power": np.float32(0.9), "global_step": np.int64(3)}
    model = load({**state, **given})
    np.testing.assert_array_equal(
        model.get_layer("down1_conv").bias, given["separator/conv1d/bias"]
    )


@pytest.mark.parametrize(
    "name", ["conv1d/kernel", "conv1d_2/kernel", "conv1d_3/bias", "conv1d_5/kernel", "interp_1"]
)
def test_a_missing_weight_is_named(name):
    given = weights()
    del given[f"separator/{name}"]
    with pytest.raises(ValueError, match=f"missing: separator/{name}"):
        load(given)


@pytest.mark.parametrize("name", ["conv1d_7/bias", "interp_2", "dense/kernel", "conv1d/kernel/EMA"])
def test_a_weight_that_is_left_over_is_named(name):
    with pytest.raises(ValueError, match=f"unused: separator/{name}"):
        load({**weights(), f"separator/{name}": np.zeros(3, np.float32)})


def test_too_few_and_too_many_names_are_told_apart_from_the_difference():
    with pytest.raises(ValueError, match="unused: separator/conv1d_6/kernel"):
        load(weights(), sources=["vocals"])
    with pytest.raises(ValueError, match="missing: separator/conv1d_7/kernel"):
        load(weights(), sources=[*NAMES, "other"])


def test_wrong_shapes_are_named_with_both():
    given = weights()
    given["separator/interp_0"] = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match=r"wrong shape: separator/interp_0 is \(4,\), not \(9,\)"):
        load(given)
    given = weights()
    given["separator/conv1d/kernel"] = np.zeros((5, 2), np.float32)
    with pytest.raises(ValueError, match=r"separator/conv1d/kernel is \(5, 2\), not"):
        load(given)


def test_an_activation_that_no_network_has_is_refused():
    with pytest.raises(ValueError, match="activation must be one of tanh, linear; got 'relu'"):
        load(weights(), activation="relu")


def test_weights_that_never_widen_are_refused():
    given = weights()
    given["separator/conv1d_1/kernel"] = given["separator/conv1d_1/kernel"][:, :, :3]
    with pytest.raises(ValueError, match="must be wider"):
        load(given)


def test_a_checkpoint_is_read_without_training_state(tmp_path):
    tf = pytest.importorskip("tensorflow")
    given = weights()
    slots = {f"separator_solver/{name}/Adam": value for name, value in given.items()}
    arrays = {**given, **slots, "global_step": np.int64(2000)}
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "123-2000"), tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays), tensors=[tf.constant(v) for v in arrays.values()],
    )  # fmt: skip
    for place in (tmp_path, tmp_path / "123-2000"):  # the folder, or the prefix of one of several
        found = convert.read_checkpoint(place)
        assert list(found) == sorted(given)
        assert load(found).count_params() == load(given).count_params()
