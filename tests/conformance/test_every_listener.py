"""Every architecture of the task listening through the same gauntlet."""

import functools

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from kzoo import api, models, presets
from kzoo.data import Windows, events, labelled
from kzoo.deploy.formats import saved_model
from kzoo.layers.labels import Labels
from kzoo.models import architecture, list_models
from kzoo.training import train

MODELS = [n for n in list_models() if architecture(n).VARIANTS["tiny"].task == "listening"]

# Trained and exported as a SavedModel in every run of the suite: one of windows and one of frames.
# The others are in slow ones; each of them takes a step along its slope, and is a TFLite file.
QUICK = ("dieleman", "tdnn")
STREAMS = [n for n in MODELS if architecture(n).VARIANTS["tiny"].streams]


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    """Every listener; all tests of one after another, as they share what is built of it."""
    return request.param


slow_for_most = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MODELS],
    indirect=True,
    scope="module",
)


@functools.cache
def built(name):
    """The tiny model of one window, made once, and changed by no test."""
    keras.utils.set_random_seed(1)
    size = architecture(name).VARIANTS["tiny"]
    return models.build(name, size, samples=size.whole(None))


def sound(name, batch=2):
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.1, (batch, *built(name).input_shape[1:])).astype(np.float32)


def preset(name, folder):
    size = architecture(name).VARIANTS["tiny"]
    card = {
        "name": "ear", "task": "listening", "sample_rate": size.sample_rate, "channels": 1,
        "trained": "not at all", "model": {"name": name, "options": {"variant": "tiny"}},
    }  # fmt: skip
    return presets.save_to_preset(built(name), folder, card)


def test_the_last_layer_names_what_comes_out(name):
    model, size = built(name), architecture(name).VARIANTS["tiny"]
    assert isinstance(model.layers[-1], Labels)
    assert tuple(model.layers[-1].names) == size.names
    heard = np.asarray(model(sound(name)))
    frames = (1 + sound(name).shape[1] // size.hop_length,) if size.frame_wise else ()
    assert heard.shape == (2, *frames, len(size.names))
    assert heard.dtype == np.float32
    assert np.all((heard > 0) & (heard < 1))
    alone = np.concatenate([model(one[None]) for one in sound(name)])
    np.testing.assert_allclose(heard, alone, atol=1e-5)


def test_of_exclusive_names_the_probabilities_sum_to_one(name):
    size = architecture(name).VARIANTS["tiny"]
    model = models.build(name, variant="tiny", exclusive=True, samples=size.whole(None))
    np.testing.assert_allclose(np.sum(model(sound(name)), axis=-1), 1, atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's Variable and NumPy 2
def test_a_keras_file_keeps_the_names(name, tmp_path):
    built(name).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].names == built(name).layers[-1].names
    np.testing.assert_array_equal(loaded(sound(name)), built(name)(sound(name)))


def test_a_loss_reaches_every_weight_and_falls_along_its_slope(name):
    model, waveforms, labels = built(name), sound(name), np.eye(2, dtype=np.float32)
    weights, before = model.trainable_weights, model.get_weights()
    if len(model.output.shape) == 3:
        labels = np.broadcast_to(labels[:, None], model(waveforms).shape)

    def loss():
        return tf.reduce_mean(keras.losses.binary_crossentropy(labels, model(waveforms)))

    with tf.GradientTape() as tape:
        first = loss()
    slopes = tape.gradient(first, [weight.value for weight in weights])
    for weight, slope in zip(weights, slopes, strict=True):
        assert np.isfinite(slope).all(), weight.path
        assert np.any(slope), weight.path
    step = 0.01 * first / sum(tf.reduce_sum(slope**2) for slope in slopes)
    try:
        for weight, slope in zip(weights, slopes, strict=True):
            weight.assign_sub(step * slope)
        assert 0.98 * first < loss() < 0.998 * first  # a straight line would lose a hundredth
    finally:
        model.set_weights(before)


def write_folders(size, folder):
    """A folder of recordings for each name, and the examples that a model learns from."""
    rate, rng = size.sample_rate, np.random.default_rng(0)
    for label, hz in zip(size.names, (200.0, 1500.0), strict=True):
        (folder / label).mkdir(parents=True)
        for k in range(4):
            wave = 0.3 * np.sin(2 * np.pi * hz * (1 + 0.05 * k) * np.arange(rate) / rate)
            wave += rng.normal(0, 0.01, rate)
            soundfile.write(folder / label / f"{k}.wav", wave, rate)
    return Windows(labelled.labelled(folder, names=size.names), samples=size.whole(None))


def write_events(size, folder):
    """Recordings of one name after another with their times, and the examples."""
    rate, rng = size.sample_rate, np.random.default_rng(0)
    folder.mkdir()
    for k in range(4):
        turns = [(0.2, size.names[k % 2], 200.0), (0.7, size.names[1 - k % 2], 1500.0)]
        turns = [(start, name, (200.0, 1500.0)[size.names.index(name)]) for start, name, _ in turns]
        wave = rng.normal(0, 0.01, rate)
        for start, _, hz in turns:
            at = slice(round(start * rate), round((start + 0.25) * rate))
            wave[at] += 0.3 * np.sin(2 * np.pi * hz * (1 + 0.05 * k) * np.arange(rate)[at] / rate)
        soundfile.write(folder / f"{k}.wav", wave, rate)
        lines = [f"{start} {start + 0.25} {name}" for start, name, _ in turns]
        (folder / f"{k}.txt").write_text("\n".join(lines))
    corpus = events.events(folder, names=size.names)
    framed = corpus.in_frames(size.hop_length, size.before_samples, size.after_samples)
    frames = 1 + (size.whole(None) - size.valid_samples(1)) // size.hop_length
    return Windows(framed, samples=frames * size.hop_length)


@slow_for_most
def test_it_learns_from_a_folder_a_name_or_from_times(name, tmp_path):
    size = architecture(name).VARIANTS["tiny"]
    write = write_events if size.frame_wise else write_folders
    examples = write(size, tmp_path / "corpus")
    kind = "events" if size.frame_wise else "labelled"
    corpus = {"kind": kind, "path": str(tmp_path / "corpus")}
    settings = {
        "name": "ear", "model": {"name": name, "variant": "tiny"},
        "data": {"train": corpus, "validation": corpus}, "loss": {"name": "binary_cross_entropy"},
        "optimizer": {"learning_rate": 0.02},
        "fit": {"batch_size": 8, "epochs": 1, "steps_per_epoch": 30},
    }  # fmt: skip
    folder = train(settings, tmp_path / "run", say=lambda line: None)
    card = presets.load_card(folder)
    assert card["task"] == "listening"
    first = "0" if size.frame_wise else f"{sorted(size.names)[0]}/0"
    assert card["trained"]["data"]["validation"][0] == first
    found = [examples.example(k) for k in range(len(examples))]
    # In training mode: the moving averages of so few steps are not those of the sound yet.
    heard = presets.from_preset(folder, **size.block())(
        np.stack([example["mixture"] for example in found]), training=True
    )
    right = (np.asarray(heard) > 0.5) == (np.stack([one["labels"] for one in found]) > 0.5)
    # A frame at an edge sees both sides of it.
    assert np.mean(right) > 0.9 if size.frame_wise else np.all(right)


@slow_for_most
def test_a_saved_model_says_what_keras_says(name, tmp_path):
    card = api.export(preset(name, tmp_path / "preset"), "saved_model", tmp_path / "out")
    assert card["names"] == list(architecture(name).VARIANTS["tiny"].names)
    run = saved_model.load(card["path"])
    found = run({"waveform": sound(name)})["probabilities"]
    np.testing.assert_allclose(found, built(name)(sound(name)), atol=1e-5)


def test_a_tflite_file_says_what_keras_says_with_built_in_operators(name, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    size = architecture(name).VARIANTS["tiny"]
    card = api.export(preset(name, tmp_path / "preset"), "tflite", tmp_path / "out")
    assert [op for op in card["operators"] if not op.isupper()] == []
    parities = card["parity"]["sources"]
    assert set(parities) == {"probabilities", *(("stream", "step") if size.streams else ())}
    for parity in parities.values():  # None where all bits are the same
        assert parity["snr_db"] is None or parity["snr_db"] > 80


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_says_late_what_the_whole_says(name):
    module, size = architecture(name), architecture(name).VARIANTS["tiny"]
    step = module.build_step(size, frames=3)
    step.set_weights(built(name).get_weights())
    state = {f"state_{key}": value for key, value in module.initial_state(step).items()}
    waveform = sound(name, batch=1)
    whole, block, found = np.asarray(built(name)(waveform)), 3 * size.hop_length, []
    for k in range(waveform.shape[1] // block):
        said = step({"waveform": waveform[:, k * block : (k + 1) * block], **state})
        said = {key: np.asarray(value) for key, value in said.items()}
        state = {key: said[key] for key in state}
        found.append(said["probabilities"])
    found = np.concatenate(found, axis=1)[:, size.delay_samples // size.hop_length :]
    assert found.shape[1] > 3
    np.testing.assert_allclose(found, whole[:, : found.shape[1]], atol=1e-5)
