"""DDSP: the reference's decoder by its own weights, its sizes, and streams that are the file."""

import functools

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.models import ddsp

RATE, HOP = 8000, 32


def parameters(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@functools.cache
def full(variant):
    return ddsp.build(ddsp.VARIANTS[variant])


@pytest.mark.parametrize(
    ("variant", "counts"),
    [
        (
            "autoencoder",
            {None: 7_251_186, "ddsp_encoder": 843_852, "ddsp_decoder": 6_407_334},
        ),
        ("solo", {None: 4_801_150 + 48_000, "ddsp_decoder": 4_801_150}),
        ("vst", {None: 1_873_278}),
    ],
)
def test_there_are_as_many_parameters_as_in_the_reference(unfilled, variant, counts):
    model = full(variant)
    for part, count in counts.items():
        assert parameters(model if part is None else model.get_layer(part)) == count, part


def test_a_small_decoder_equals_the_reference(vectors):
    recorded = vectors("ddsp_decoder_small")
    size = ddsp.DDSP(rnn_units=6, units=7, layers_per_stack=2, harmonics=6, noise_bands=5)
    decoder = ddsp.decoder(size, [("loudness", 1), ("f0", 1), ("z", 3)])
    arrays = [recorded[key] for key in sorted(recorded) if key.startswith("param/")]
    names = []
    for stack in ("loudness", "f0", "z"):
        names += _stack_names(f"{stack}_stack", 2)
    names += ["rnn/gru_cell/kernel", "rnn/gru_cell/recurrent_kernel", "rnn/gru_cell/bias"]
    names += [*_stack_names("out_stack", 2), "controls/kernel", "controls/bias"]
    weights = {weight.path: weight for weight in decoder.weights}
    assert set(names) == set(weights)
    for name, array in zip(names, arrays, strict=True):
        weights[name].assign(array)
    found = decoder([recorded[f"input/{name}"] for name in ("ld_scaled", "f0_scaled", "z")])
    for ours, theirs in (
        ("amplitude", "amps"), ("harmonic_distribution", "harmonic_distribution"),
        ("noise_magnitudes", "noise_magnitudes"),
    ):  # fmt: skip
        np.testing.assert_allclose(found[ours], recorded[f"output/{theirs}"], atol=1e-5)


def _stack_names(stack, depth):
    return [
        f"{stack}_{part}"
        for level in range(1, depth + 1)
        for part in (f"dense{level}/kernel", f"dense{level}/bias",
                     f"norm{level}/gamma", f"norm{level}/beta")
    ]  # fmt: skip


def tiny(**changes):
    return models.sizes("ddsp", variant="tiny", **changes)


def made(**changes):
    keras.utils.set_random_seed(1)
    model = ddsp.build(tiny(**changes))
    rng = np.random.default_rng(2)
    for weight in model.weights:  # loud enough to be heard in every part
        if weight.path.endswith(("bias", "beta")) and "seed" not in weight.path:
            weight.assign(weight + rng.normal(0, 0.5, weight.shape))
    return model


def played(frames, batch=1, seed=0):
    """Controls of a melody."""
    rng = np.random.default_rng(seed)
    steps = np.cumsum(rng.normal(0, 0.02, (batch, frames, 1)), axis=1)
    loudness = -30 + 10 * np.sin(np.arange(frames) / 9)[None, :, None] + 0 * steps
    return {"f0_hz": (300 * np.exp(steps)).astype(np.float32),
            "loudness_db": loudness.astype(np.float32)}  # fmt: skip


@functools.cache
def whole_of(room):
    """(a model, what it plays of `played(15, batch=2)`)."""
    model = made(reverb_seconds=room)
    if room:
        echo = np.random.default_rng(3).normal(0, 0.1, 160).astype(np.float32)
        model.get_layer("reverb").response.assign(echo)
    return model, np.asarray(model(played(15, batch=2)))


# A room of several blocks (of others: tests/dsp), and none, whose state is missing.
@pytest.mark.parametrize(("block", "room"), [(1, 0.02), (5, 0.0)])
def test_a_stream_is_the_file_one_hop_late(block, room):
    frames = 15
    model, whole = whole_of(room)
    step = ddsp.build_step(tiny(reverb_seconds=room), frames=block)
    assert [w.path for w in step.weights] == [w.path for w in model.weights if "seed" not in w.path]
    step.set_weights([w.value for w in model.weights if "seed" not in w.path])
    notes = played(frames, batch=2)
    state = {
        f"state_{name}": value
        for name, value in ddsp.initial_state(
            tiny(reverb_seconds=room), frames=block, batch=2
        ).items()
    }
    sound = []
    for start in range(0, frames, block):
        part = {name: value[:, start : start + block] for name, value in notes.items()}
        result = {name: np.asarray(x) for name, x in step({**part, **state}).items()}
        sound.append(result.pop("audio"))
        assert set(result) == set(state)
        state = result
    found = np.concatenate(sound, axis=1)
    assert found.shape == whole.shape
    assert np.abs(found[:, :HOP]).max() < 1e-6 * np.abs(whole).max()
    np.testing.assert_allclose(found[:, HOP:], whole[:, :-HOP], atol=2e-5 * np.abs(whole).max())


def test_a_stream_that_would_have_to_hear_the_whole_recording_is_refused():
    with pytest.raises(ValueError, match="z_dims=16"):
        ddsp.build_step(ddsp.VARIANTS["autoencoder"])


def test_the_room_echoes_and_its_first_tap_is_silent():
    model = made(reverb_seconds=0.01)
    notes = played(8)
    dry = np.asarray(model(notes))
    response = model.get_layer("reverb").response
    response.assign(np.eye(1, 80, 40)[0])
    wet = np.asarray(model(notes))
    expected = dry + np.pad(dry, ((0, 0), (40, 0), (0, 0)))[:, :-40]
    np.testing.assert_allclose(wet, expected, atol=2e-5)
    response.assign(np.eye(1, 80, 0)[0])
    np.testing.assert_allclose(model(notes), dry, atol=1e-5)


def test_the_autoencoder_hears_more_than_pitch_and_loudness():
    model = made(z_dims=3)
    notes = played(16)
    rng = np.random.default_rng(0)
    one, other = (rng.normal(0, 0.1, (1, 16 * HOP, 1)).astype(np.float32) for _ in range(2))
    first, second = (np.asarray(model({**notes, "waveform": sound})) for sound in (one, other))
    assert first.shape == (1, 16 * HOP, 1)
    assert np.abs(first - second).max() > 1e-3


def test_no_energy_is_at_harmonics_above_the_nyquist_frequency():
    found = ddsp.controls(
        {"amplitude": np.zeros((1, 1, 1), np.float32),
         "harmonic_distribution": np.zeros((1, 1, 4), np.float32),
         "noise_magnitudes": np.zeros((1, 1, 5), np.float32)},
        np.float32([[[1500.0]]]), RATE,
    )  # fmt: skip
    np.testing.assert_allclose(found["harmonic_distribution"], [[[0.5, 0.5, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(found["amplitude"], 0.4054, atol=1e-4)
    assert np.max(found["noise_magnitudes"]) < 0.01


def test_training_hears_another_noise_each_time_and_use_the_same():
    (model, _), notes = whole_of(0.0), played(8)
    same = [np.asarray(model(notes)) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    first, second = (np.asarray(model(notes, training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-4


@pytest.mark.parametrize("samples", [0, 33])
def test_samples_that_are_no_whole_frames_are_refused(samples):
    with pytest.raises(ValueError, match=f"got {samples}"):
        ddsp.build(tiny(), samples=samples)


@pytest.mark.parametrize(
    ("samples", "changes", "static", "segment"),
    [(1, {}, 32, 32), (1000, {}, 992, 1024), (1024, {}, 1024, 1024),
     (1100, {"z_dims": 2}, 1024, 1280)],
)  # fmt: skip
def test_lengths_are_whole_frames_of_the_controls_and_of_the_encoding(
    samples, changes, static, segment
):
    size = tiny(**changes)
    assert size.static(samples) == (size, static)
    assert size.segment(samples) == (size, {"samples": segment})
    assert size.grid().count(3 * size.grid().samples) == 3  # one after another


def test_a_stream_of_no_named_variant_is_that_of_the_file(unfilled):
    paths = [w.path for w in ddsp.build_step().weights]
    assert ddsp.VARIANTS["solo"] == next(iter(ddsp.VARIANTS.values()))
    assert paths == [w.path for w in full("solo").weights if "seed" not in w.path]
    assert ddsp.initial_state()["rnn"].shape == (1, ddsp.VARIANTS["solo"].rnn_units)
