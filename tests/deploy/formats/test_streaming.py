"""Streams in LiteRT: ten minutes of a note in tune, without a click, and the model's own sound."""

import keras
import numpy as np
import pytest

from kzoo.deploy.formats.streaming import Stream, write_stream
from kzoo.deploy.formats.tflite import operators
from kzoo.dsp import synthesis
from kzoo.layers.synthesis import ContinueHarmonicsPlusNoise
from kzoo.models import ddsp

TINY = ddsp.VARIANTS["tiny"]

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
RATE, HOP, HARMONICS = 4000, 16, 4  # as many hops a second as at 16 kHz


def instrument(frames):
    """The oscillators and the noise alone, whose controls are the inputs."""
    state = synthesis.initial_state(harmonics=HARMONICS, noise_bands=9, hop_length=HOP)
    widths = {"f0_hz": 1, "amplitudes": HARMONICS, "noise_magnitudes": 9}
    controls = {name: keras.Input((frames, width), name=name) for name, width in widths.items()}
    states = {
        name: keras.Input(value.shape[1:], dtype=value.dtype.name, name=f"state_{name}")
        for name, value in state.items()
    }
    names = sorted(states)
    audio, *after = ContinueHarmonicsPlusNoise(HOP, RATE, dtype="float32")(
        *controls.values(), *(states[name] for name in names)
    )
    results = {f"state_{name}": x for name, x in zip(names, after, strict=True)}
    inputs = {**controls, **{f"state_{name}": x for name, x in states.items()}}
    return keras.Model(inputs, {"audio": audio, **results}, name="instrument"), state


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    frames = 500
    step, state = instrument(frames)
    path = write_stream(step, tmp_path_factory.mktemp("stream") / "x.tflite", state=state)
    return Stream(path), frames


@pytest.mark.parametrize("f0_hz", [100.1, 441.3])
def test_a_note_held_for_ten_minutes_does_not_drift_or_click(stream, f0_hz):
    stream, frames = stream
    stream.reset()
    f0_hz, levels = np.float32(f0_hz), np.float32([0.3, 0.2, 0.1, 0.05])
    block = {
        "f0_hz": np.full((1, frames, 1), f0_hz),
        "amplitudes": np.tile(levels, (1, frames, 1)),
        "noise_magnitudes": np.zeros((1, frames, 9), np.float32),
    }
    blocks = 600 * 250 // frames
    heard = [stream.step(**block)["audio"][0, :, 0] for _ in range(blocks)][-4:]
    found = np.concatenate(heard).astype(np.float64)
    at = np.arange(len(found)) + (blocks - 4) * frames * HOP - HOP + 1  # one hop late
    turns = at * (np.float64(f0_hz) / RATE)
    expected = sum(a * np.sin(2 * np.pi * k * turns) for k, a in enumerate(levels, 1))
    loudest = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-4 * loudest  # -80 dB, joins and all
    partner = np.sum(found * np.exp(-2j * np.pi * turns))  # the fundamental against float64's
    ahead = np.angle(partner * 1j) / (2 * np.pi)
    cents = 1200 * np.log2(1 + ahead / turns[-1])
    assert abs(cents) < 1e-6


def test_a_reset_brings_the_beginning_back(stream):
    stream, frames = stream
    rng = np.random.default_rng(0)
    block = {
        "f0_hz": rng.uniform(100, 200, (1, frames, 1)).astype(np.float32),
        "amplitudes": rng.uniform(0, 0.1, (1, frames, HARMONICS)).astype(np.float32),
        "noise_magnitudes": rng.uniform(0, 0.1, (1, frames, 9)).astype(np.float32),
    }
    stream.reset()
    first, second = (stream.step(**block)["audio"] for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    stream.reset()
    np.testing.assert_array_equal(stream.step(**block)["audio"], first)
    whole = synthesis.harmonics_plus_noise(**block, hop_length=HOP, sample_rate=RATE)
    np.testing.assert_allclose(first[:, HOP:], np.asarray(whole)[:, :-HOP], atol=2e-5)


def test_a_streamed_network_says_what_keras_says_with_built_in_operators(tmp_path):
    frames = 1  # the exports of conformance have several
    keras.utils.set_random_seed(0)
    model = ddsp.build(TINY)
    step = ddsp.build_step(TINY, frames=frames)
    step.set_weights([weight.value for weight in model.weights])
    path = write_stream(step, tmp_path / "x.tflite", state=ddsp.initial_state(TINY))
    assert [name for name in operators(path) if not name.isupper()] == []
    stream, rng = Stream(path), np.random.default_rng(1)
    notes = {
        "f0_hz": rng.uniform(100, 900, (1, 20, 1)).astype(np.float32),
        "loudness_db": rng.uniform(-40, 0, (1, 20, 1)).astype(np.float32),
    }
    heard = [
        stream.step(**{name: x[:, k : k + frames] for name, x in notes.items()})["audio"]
        for k in range(0, 20, frames)
    ]
    found, whole = np.concatenate(heard, axis=1), np.asarray(model(notes))
    hop = TINY.hop_length
    np.testing.assert_allclose(found[:, hop:], whole[:, :-hop], atol=2e-5 * np.abs(whole).max())


def test_a_state_that_is_not_the_models_is_refused(tmp_path):
    step, state = instrument(2)
    state.pop("phase")
    with pytest.raises(ValueError, match="phase"):
        write_stream(step, tmp_path / "x.tflite", state=state)
