"""SEGAN against its original program, by its parameters, its windows, and its random input."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.dsp import emphasis
from kzoo.layers.virtual_batch_norm import set_reference
from kzoo.models import segan

LEVELS = {"filters": (2, 3, 4), "kernel_size": 31, "stride": 2}


def count(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def give(model, values):
    """Weights by the beginning of their paths."""
    for weight in model.trainable_weights:
        value = values.pop(weight.path)
        weight.assign(np.reshape(value, weight.shape))
    assert not values


@pytest.fixture
def cheap(monkeypatch):
    """Counting needs no random numbers."""
    monkeypatch.setattr(segan, "_initializer", lambda size: "zeros")


@pytest.fixture(scope="module")
def vector(vectors):
    return vectors("segan_small")


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"variant": "paper"}, 73_100_049),
        ({"variant": "paper", "biases": False}, 73_096_048),
        ({"variant": "paper_alpha"}, 73_101_537),
        ({"variant": "plus"}, 64_770_561),
    ],
)
def test_generators_have_the_published_numbers_of_parameters(cheap, options, parameters):
    assert count(segan.core(size=models.sizes("segan", **options))) == parameters


@pytest.mark.parametrize(("variant", "parameters"), [("paper", 24_373_081), ("plus", 25_825_793)])
def test_discriminators_have_the_published_numbers_of_parameters(cheap, variant, parameters):
    assert count(segan.discriminator(segan.DISCRIMINATORS[variant], window=16384)) == parameters


def test_the_generator_computes_what_the_original_program_does(vector):
    core = segan.core(
        size=models.sizes("segan", variant="paper", z_channels=4, window=64, **LEVELS)
    )
    given, values = "param/g_ae/", {}
    for level in range(3):
        values[f"enc{level + 1}_conv/kernel"] = vector[f"{given}enc_{level}/W"]
        values[f"enc{level + 1}_conv/bias"] = vector[f"{given}enc_{level}/b"]
        values[f"enc{level + 1}_prelu/alpha"] = vector[f"{given}enc_prelu_{level}/alpha"]
        values[f"dec{level + 1}_conv/kernel"] = vector[f"{given}dec_{level}/W"]
        values[f"dec{level + 1}_conv/bias"] = vector[f"{given}dec_{level}/b"]
        if level < 2:
            values[f"dec{level + 1}_prelu/alpha"] = vector[f"{given}dec_prelu_{level}/alpha"]
    give(core, values)
    found = np.asarray(core([vector["input"], vector["z"]]))[:, 0]
    np.testing.assert_allclose(found, vector["output"], atol=1e-6)


@pytest.fixture(scope="module")
def discriminators(vector):
    """(discriminator, frozen one), of the original program's weights, and these weights."""
    size = replace(segan.DISCRIMINATORS["paper"], reference_examples=2, **LEVELS)
    made = [segan.discriminator(size, window=64, frozen=frozen) for frozen in (False, True)]
    for model in made:
        values = {}
        for level in range(3):
            name, given = f"disc{level + 1}", f"param/d_model/d_block_{level}/"
            values[f"{name}_conv/kernel"] = vector[f"{given}downconv/W"]
            values[f"{name}_conv/bias"] = vector[f"{given}downconv/b"]
            values[f"{name}_norm/gamma"] = vector[f"{given}d_vbn_{level}/gamma"]
            values[f"{name}_norm/beta"] = vector[f"{given}d_vbn_{level}/beta"]
        values["logits_conv/kernel"] = vector["param/d_model/logits_conv/W"]
        values["logits/kernel"] = vector["param/d_model/fully_connected/weights"]
        values["logits/bias"] = vector["param/d_model/fully_connected/biases"]
        give(model, values)
    set_reference(made[0], vector["d_ref_input"])
    return made, [model.get_weights() for model in made]


@pytest.fixture
def adversary(discriminators):
    """Both, and nothing has been measured."""
    for model, weights in zip(*discriminators, strict=True):
        model.set_weights(weights)
    return discriminators[0]


def test_the_discriminator_computes_what_the_original_program_does(vector, adversary):
    model, _ = adversary
    # Mixed with itself, the reference has its own statistics.
    alone = model(vector["d_ref_input"], training=True)
    np.testing.assert_allclose(alone, vector["d_ref_output"], atol=1e-5)
    live = model(vector["d_live_input"], training=True)
    np.testing.assert_allclose(live, vector["d_live_output"], atol=1e-5)


def test_a_frozen_discriminator_needs_no_reference_batch(vector, adversary):
    model, frozen = adversary
    before = np.asarray(model(vector["d_live_input"], training=False))
    assert np.abs(before - vector["d_live_output"]).max() > 1e-3  # nothing has been measured yet
    model(vector["d_live_input"], training=True)
    kept = np.asarray(model(vector["d_live_input"], training=False))
    np.testing.assert_allclose(kept, vector["d_live_output"], atol=1e-5)
    values = {weight.path: weight for weight in model.weights}
    for weight in frozen.weights:
        weight.assign(values[weight.path])
    assert "reference/reference" not in {weight.path for weight in frozen.weights}
    np.testing.assert_allclose(frozen(vector["d_live_input"]), vector["d_live_output"], atol=1e-5)


def test_a_reference_of_too_few_examples_is_refused(adversary):
    with pytest.raises(ValueError, match="holds 2 reference examples; got 1"):
        set_reference(adversary[0], np.zeros((1, 64, 2), np.float32))


def test_a_discriminator_of_unit_level_judges_quiet_speech_as_loud_speech(rng):
    pairs = rng.standard_normal((2, 64, 2)).astype(np.float32)
    for unit_level, equal in ((True, True), (False, False)):
        size = replace(segan.DISCRIMINATORS["tiny"], norm="none", unit_level=unit_level)
        model = segan.discriminator(size, window=64)
        assert np.allclose(model(pairs), model(0.01 * pairs), rtol=1e-3) == equal


def test_what_is_over_the_attenuation_limit_stays(rng):
    waveform = 0.1 * rng.standard_normal((1, 1500, 1)).astype(np.float32)
    free, limited = (
        segan.build(size=replace(segan.VARIANTS["tiny"], attenuation_limit_db=limit))
        for limit in (None, 20.0)
    )
    limited.set_weights(free.get_weights())
    expected = 0.9 * np.asarray(free(waveform)) + 0.1 * waveform[:, None]
    np.testing.assert_allclose(limited(waveform), expected, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 7, 64, 1000])
def test_de_emphasis_is_the_recursion_that_undoes_pre_emphasis(rng, samples):
    from scipy.signal import lfilter

    waveform = rng.standard_normal((2, 3, samples, 2)).astype(np.float32)
    lifted = np.asarray(emphasis.pre_emphasis(waveform))
    np.testing.assert_allclose(
        lifted, lfilter([1, -0.95], [1], waveform, axis=2), rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(emphasis.de_emphasis(lifted), waveform, atol=2e-5)
    expected = lfilter([1], [1, -0.95], waveform.astype(np.float64), axis=2)
    np.testing.assert_allclose(emphasis.de_emphasis(waveform), expected, atol=1e-4)


def test_de_emphasis_of_an_unknown_length_is_refused():
    with pytest.raises(ValueError, match="known number of samples"):
        emphasis.de_emphasis(keras.KerasTensor((None, None, 1)))


class Unchanged(keras.layers.Layer):
    """In place of the network: its input is its estimate."""

    def call(self, inputs):
        return keras.ops.expand_dims(inputs[0], 1)


def test_a_network_that_changes_nothing_makes_a_system_that_changes_nothing(monkeypatch, rng):
    monkeypatch.setattr(segan, "core", lambda *_, **__: Unchanged())
    system = models.build("segan", variant="tiny")
    for samples in (1, 511, 512, 513, 3000):
        waveform = rng.standard_normal((2, samples, 1)).astype(np.float32)
        for model in (system, models.build("segan", variant="tiny", samples=samples)):
            np.testing.assert_allclose(model(waveform)[:, 0], waveform, atol=1e-4)


@pytest.fixture(scope="module")
def tiny():
    """The system with z as it ships, with zeros, and as an input, of the same weights."""
    keras.utils.set_random_seed(1)
    made = {z: models.build("segan", variant="tiny", z=z) for z in ("fixed", "zero", "input")}
    for model in made.values():
        model.set_weights(made["fixed"].get_weights())
    return made


def test_z_is_fixed_or_zero_in_use_and_drawn_anew_in_training(tiny, rng):
    noisy = rng.standard_normal((1, 1500, 1)).astype(np.float32)
    for z in ("fixed", "zero"):
        system = tiny[z]
        np.testing.assert_array_equal(system(noisy), system(noisy))
        one, other = (np.asarray(system(noisy, training=True)) for _ in range(2))
        assert np.abs(one - other).max() > 1e-5
    assert np.abs(np.asarray(tiny["fixed"](noisy)) - tiny["zero"](noisy)).max() > 1e-5


def test_z_as_an_input_gives_what_a_fixed_one_does(tiny, rng):
    noisy = rng.standard_normal((2, 1500, 1)).astype(np.float32)
    drawn = np.random.default_rng(0).standard_normal((1, 16, 2)).astype(np.float32)
    found = tiny["input"]([noisy, np.concatenate([drawn, np.zeros_like(drawn)])])
    np.testing.assert_allclose(found[0], tiny["fixed"](noisy)[0], atol=1e-6)
    np.testing.assert_allclose(found[1], tiny["zero"](noisy)[1], atol=1e-6)


def test_skip_factors_of_nothing_leave_only_the_code(rng):
    keras.utils.set_random_seed(0)
    core = segan.core(size=segan.VARIANTS["tiny"])
    z = np.zeros((1, 16, 2), np.float32)
    for weight in core.weights:
        if "skip/alpha" in weight.path:
            weight.assign(np.zeros(weight.shape))
    for weight in core.weights:
        if weight.path == "enc3_conv/kernel":
            weight.assign(np.zeros(weight.shape))
    one, other = rng.standard_normal((2, 1, 1024, 1)).astype(np.float32)
    np.testing.assert_array_equal(core([one, z]), core([other, z]))


def test_the_phase_shift_turns_by_a_few_samples_and_only_in_training():
    layer = segan.PhaseShift(5)
    ramp = np.arange(64, dtype=np.float32)[None, :, None]
    np.testing.assert_array_equal(layer(ramp), ramp)
    seen = {int(np.asarray(layer(ramp, training=True))[0, 0, 0]) for _ in range(100)}
    assert seen == {1, 2, 3, 4, 5, 59, 60, 61, 62, 63}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 1000}, "multiple of 64.*got 1000"),
        ({"z": "noise"}, "z must be one of fixed, zero, input; got 'noise'"),
        ({"padding": "same"}, "padding must be one of full, valid"),
        ({"samples": 2048, "padding": "valid"}, "one window of 1024 samples; got 2048"),
    ],
)
def test_what_cannot_be_built_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("segan", **{"variant": "tiny", **options})


def test_sources_of_one_name_are_refused():
    with pytest.raises(ValueError, match="sequence of different names; got 'speech'"):
        segan.build("speech", segan.VARIANTS["tiny"])


@pytest.mark.parametrize(
    ("samples", "options", "window"),
    [
        (1, {}, 64),
        (4000, {}, 4032),
        (4032, {}, 4032),
        (4000, {"filters": (3, 4, 5), "stride": 3, "window": 108}, 4050),
    ],
)
def test_a_segment_is_one_window_of_the_next_length_that_the_levels_divide(
    samples, options, window
):
    size = models.sizes("segan", variant="tiny", **options)
    segment, arguments = size.segment(samples)
    assert arguments == {"samples": window, "padding": "valid"}
    assert segment == replace(size, window=window)


def test_a_network_of_its_own_levels_has_blocks_of_its_own_window():
    size = models.sizes("segan", variant="tiny", filters=(3, 4), window=1040)
    assert (size.frames, size.context_samples()) == (65, 1039)
    assert (size.grid().samples, size.grid().hop, size.grid().start) == (1040, 520, -520)
    assert size.static() == (size, 2080)
    graph, _ = size.training(models.build("segan", size, **size.block()))
    assert graph.output_shape == (None, 1, 1040, 1)
