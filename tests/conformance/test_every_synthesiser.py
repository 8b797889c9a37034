"""Every architecture that plays controls (it has `synthesise`) through the same gauntlet."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import api, models, presets
from kzoo.deploy.examples import melody
from kzoo.deploy.formats import saved_model
from kzoo.models import architecture, list_models
from kzoo.synthesis import player

MODELS = [name for name in list_models() if hasattr(architecture(name), "synthesise")]
FRAMES = 12
ROOM = {"reverb_seconds": 0.01, "z_dims": 2}  # it hears the waveform too


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    """Every synthesiser; all tests of one after another, as they share what is built of it."""
    return request.param


def made(name, seed=1, **options):
    """The tiny model, from a seed, with biases that are not 0."""
    keras.utils.set_random_seed(seed)
    model = models.build(name, **{"variant": "tiny", **options})
    rng = np.random.default_rng(5)
    for weight in model.trainable_weights:
        if weight.path.endswith(("bias", "beta", "gamma")):
            weight.assign(weight + rng.uniform(0.01, 0.2, weight.shape))
        elif weight.path.endswith("reverb/response"):
            weight.assign(rng.normal(0, 0.05, weight.shape))
    return model


@functools.cache
def built(name, **options):
    """The tiny model, made once, and changed by no test."""
    return made(name, **options)


def notes(frames=FRAMES, batch=1, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "f0_hz": rng.uniform(100, 500, (batch, frames, 1)).astype(np.float32),
        "loudness_db": rng.uniform(-60, -10, (batch, frames, 1)).astype(np.float32),
    }


def hop_length(name):
    return architecture(name).VARIANTS["tiny"].hop_length


def test_there_is_a_tiny_variant_with_named_controls(name):
    model = built(name)
    assert model.count_params() < 200_000
    assert sorted(x.name for x in model.inputs) == ["f0_hz", "loudness_db"]
    assert architecture(name).VARIANTS["tiny"].task == "synthesis"
    with pytest.raises(ValueError, match="'huge'"):
        models.build(name, variant="huge")


def test_lengths_of_its_sizes_are_those_of_models_that_can_be_built(name):
    size = architecture(name).VARIANTS["tiny"]
    segment, arguments = size.segment(1000)
    static, samples = size.static(1000)
    for own, given in [(segment, arguments), (static, {"samples": samples})]:
        assert models.build(name, own, **given).output_shape == (None, given["samples"], 1)
        assert abs(given["samples"] - 1000) <= size.hop_length
    assert arguments["samples"] >= 1000
    assert size.block() == {"samples": size.grid().samples}


def test_a_preset_without_a_variant_is_saved_and_played(name, tmp_path, monkeypatch):
    size = architecture(name).VARIANTS["tiny"]
    monkeypatch.setattr(architecture(name), "VARIANTS", {"other": size})
    card = {
        "name": "x", "task": "synthesis", "sample_rate": 8000, "trained": "not at all",
        "model": {"name": name, "options": {"reverb_seconds": 0.0}},
    }  # fmt: skip
    model = models.build(name, reverb_seconds=0.0)
    folder = presets.save_to_preset(model, tmp_path / "preset", card)
    monkeypatch.setattr(player, "BLOCK_FRAMES", FRAMES)
    instrument = player.instrument(presets.open_preset(folder))
    assert instrument.hop_length == size.hop_length
    given = notes()
    block = np.concatenate([np.zeros((FRAMES, 1)), *(given[k][0] for k in sorted(given))], axis=1)
    sound = instrument.begin()(block.astype(np.float32))
    whole = np.asarray(model(given))[0, :, 0]
    np.testing.assert_allclose(
        sound[size.hop_length :], whole[: -size.hop_length], atol=2e-5 * np.abs(whole).max()
    )


def test_the_sound_is_as_long_as_its_controls(name):
    drawn = tf.function(built(name), reduce_retracing=True)  # eagerly a frame takes 7 ms
    for frames in (1, 2, 513):
        sound = np.asarray(drawn(notes(frames)) if frames > FRAMES else built(name)(notes(frames)))
        assert sound.shape == (1, frames * hop_length(name), 1)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() > 1e-4


def test_a_model_of_fixed_length_is_the_one_of_any(name):
    whole, fixed = built(name), made(name, samples=FRAMES * hop_length(name))
    np.testing.assert_allclose(fixed(notes()), whole(notes()), atol=1e-6)


def test_examples_of_a_batch_do_not_meet(name):
    model, both = built(name), notes(batch=2)
    alone = [np.asarray(model({k: v[i : i + 1] for k, v in both.items()})) for i in (0, 1)]
    np.testing.assert_allclose(model(both), np.concatenate(alone), atol=1e-6)


def test_sound_and_gradients_of_odd_controls_are_finite(name):
    model = built(name)
    pitches, levels = np.meshgrid([0.0, 1e-3, 5e3], [-80.0, -300.0, 20.0])
    odd = {
        key: np.repeat(np.float32(values).reshape(9, 1, 1), 9, axis=1)  # nine examples
        for key, values in (("f0_hz", pitches), ("loudness_db", levels))
    }
    weights = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        sound = model(odd, training=True)
        loss = tf.reduce_mean(tf.abs(sound - 0.1), axis=(1, 2))
    for example, values in enumerate(np.asarray(sound)):
        assert np.isfinite(values).all(), [odd[key][example, 0] for key in odd]
    for gradient in tape.gradient(loss, weights):  # of all: what is not finite in one stays so
        assert gradient is None or np.isfinite(gradient).all()


@pytest.mark.parametrize("options", [{}, ROOM])
def test_a_loss_reaches_every_trainable_weight(name, options):
    model, rng = built(name, **options), np.random.default_rng(3)
    target = rng.normal(0, 0.1, (1, FRAMES * hop_length(name), 1)).astype(np.float32)
    given = notes() if "z_dims" not in options else {**notes(), "waveform": target}
    weights = [weight.value for weight in model.trainable_weights]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(given, training=True) - target))
    for weight, gradient in zip(model.trainable_weights, tape.gradient(loss, weights), strict=True):
        assert np.any(gradient), weight.path


def test_half_precision_stays_finite_and_in_tune(name):
    expected = np.asarray(built(name)(notes()))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = made(name)
    finally:
        keras.config.set_dtype_policy("float32")
    found = np.asarray(model(notes()))
    assert found.dtype == np.float32
    # The network's rounding changes levels by a percent; a pitch in half precision would be noise.
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_weights_have_paths_of_their_own_that_do_not_depend_on_what_was_built_before(name):
    first, second = built(name), made(name)
    paths = [weight.path for weight in first.weights]
    assert len(set(paths)) == len(paths)
    assert paths == [weight.path for weight in second.weights]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's Variable and NumPy 2
def test_a_keras_file_gives_the_same_model_back(name, tmp_path):
    model = built(name, **ROOM)  # without a room it has no layer that this one has not
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    given = melody(model, hop_length=hop_length(name), frames=8)
    np.testing.assert_array_equal(loaded(given), model(given))


def test_a_preset_gives_the_same_model_back(name, tmp_path):
    model = built(name)
    card = {
        "name": "x", "task": "synthesis", "sample_rate": 8000, "trained": "not at all",
        "model": {"name": name, "options": {"variant": "tiny"}},
    }  # fmt: skip
    presets.save_to_preset(model, tmp_path / "preset", card)
    found = presets.from_preset(tmp_path / "preset")
    np.testing.assert_array_equal(found(notes()), model(notes()))
    with pytest.raises(presets.PresetError, match="is for synthesis"):
        presets.sources("x", presets.load_card(tmp_path / "preset"))


@pytest.fixture
def preset(tmp_path):
    """A maker of preset folders: `preset(name)`."""

    def make(name, **options):
        card = {
            "name": "x", "task": "synthesis", "sample_rate": 8000, "trained": "not at all",
            "model": {"name": name, "options": {"variant": "tiny", **options}},
        }  # fmt: skip
        return presets.save_to_preset(built(name, **options), tmp_path / "preset", card)

    return make


@pytest.mark.slow
def test_a_saved_model_says_what_keras_says(name, preset, tmp_path):
    card = api.export(preset(name, **ROOM), "saved_model", tmp_path / "out")
    assert card["parity"]["sources"]["audio"]["snr_db"] > 90
    run = saved_model.load(card["path"])
    model = built(name, **ROOM)
    given = melody(model, hop_length=hop_length(name), frames=37)
    np.testing.assert_allclose(run(given)["audio"], model(given), atol=1e-4)  # of another length


# Half precision is made of the whole file: what it holds, a dry file of fp32 holds too.
# Its bundle is one of fp16: tests/export/test_mobile_synthesiser.py.
@pytest.mark.parametrize(
    ("precision", "room"), [("fp32", 0.05), pytest.param("fp16", 0.0, marks=pytest.mark.slow)]
)
def test_a_tflite_file_and_a_stream_say_what_keras_says(name, precision, room, preset, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    folder = preset(name, reverb_seconds=room)
    card = api.export(folder, "tflite", tmp_path / "out", precision=precision, block_seconds=0.4)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [f"x_{precision}.json", f"x_{precision}.tflite", "x_stream.tflite"]
    )
    assert [op for op in card["operators"] if not op.isupper()] == []
    assert card["inputs"] == {"f0_hz": [100, 1], "loudness_db": [100, 1]}
    levels = {key: found["snr_db"] for key, found in card["parity"]["sources"].items()}
    assert levels["audio"] > (90 if precision == "fp32" else 50)
    assert levels["stream"] > 90
    with pytest.raises(FileExistsError):
        api.export(folder, "tflite", tmp_path / "out", precision=precision)
