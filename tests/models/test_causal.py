"""A causal network written once: block after block it says what it says of the whole signal."""

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.models.base.causal import Past, silent_state, step_model

HOP, WINDOW = 4, 12


def network(past, x):
    """Convolutions, an LSTM and a GRU over `[batch, frames, 3]`."""
    x = past.before(x, 4, "conv_past")
    x = layers.Conv1D(5, 3, dilation_rate=2, activation="tanh", name="conv")(x)
    x = past.recurrent(layers.LSTM(4, name="lstm", **past.recurrence), x, "lstm")
    return past.recurrent(layers.GRU(4, name="gru", **past.recurrence), x, "gru")


def models(frames):
    """The network of a whole signal, and that of blocks of `frames` with the same weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 3), name="x")
    whole = keras.Model(inputs, network(Past(), inputs))
    block, past = keras.Input((frames, 3), name="x"), Past(stream=frames)
    step = step_model({"x": block}, {"y": network(past, block)}, past, name="step")
    assert [w.path for w in step.weights] == [w.path for w in whole.weights]
    step.set_weights([w + 0.1 for w in whole.get_weights()])
    whole.set_weights(step.get_weights())
    return whole, step


def streamed(step, blocks, name):
    """Outputs `name` of block after block, joined."""
    state = {f"state_{key}": value for key, value in silent_state(step).items()}
    found = []
    for block in blocks:
        results = dict(step({"x": block, **state}))
        found.append(np.asarray(results[name]))
        state = {key: np.asarray(results[key]) for key in state}
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("frames", [1, 3])
def test_blocks_say_what_the_whole_says(rng, frames):
    whole, step = models(frames)
    x = rng.standard_normal((1, 12, 3)).astype(np.float32)
    found = streamed(step, np.split(x, 12 // frames, axis=1), "y")
    np.testing.assert_allclose(found, whole(x), atol=1e-6)


def cut_and_joined(past, samples, edge):
    """Frames of a signal, faded by a window that adds up to 1, and their sum."""
    x = keras.Input((samples, 1), name="x")
    frames = past.frames(x, WINDOW, HOP, "samples", edge=edge)
    faded = layers.Lambda(lambda y: y * FADE)(frames)
    return x, frames, past.overlap_add(faded, x, HOP, "sum")


FADE = np.float32(HOP / WINDOW * (1 - np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)))


@pytest.mark.parametrize("edge", ["zeros", "reflect"])
@pytest.mark.parametrize("hops", [1, 5])
def test_a_stream_has_the_frames_of_the_whole_and_their_sum(rng, edge, hops):
    signal = rng.standard_normal((1, 10 * HOP, 1)).astype(np.float32)
    x, frames, y = cut_and_joined(Past(), None, edge)
    whole_frames, whole = (np.asarray(z) for z in keras.Model(x, [frames, y])(signal))
    np.testing.assert_allclose(whole, signal, atol=1e-6)
    padded = np.pad(signal[0, :, 0], WINDOW - HOP, mode={"zeros": "constant"}.get(edge, edge))
    views = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    np.testing.assert_array_equal(whole_frames[0], views)
    past = Past(stream=hops)
    x, frames, y = cut_and_joined(past, hops * HOP, edge)
    step = step_model({"x": x}, {"frames": frames, "y": y}, past, name="step")
    blocks = np.split(signal, 10 // hops, axis=1)
    found = streamed(step, blocks, "frames")[0]
    if edge == "reflect" and hops == 1:  # a mirror image is no longer than what is there
        found, views = found[2:], views[2:]
    np.testing.assert_allclose(found[:, 1:], views[: len(found), 1:], atol=0)
    late = WINDOW - HOP
    np.testing.assert_allclose(
        streamed(step, blocks, "y")[:, 2 * late :], signal[:, late:-late], atol=1e-6
    )


@pytest.mark.parametrize("samples", [1, 3, HOP, 2 * HOP + 1, 41])
@pytest.mark.parametrize("edge", ["zeros", "reflect"])
def test_a_whole_signal_of_any_length_comes_back(rng, samples, edge):
    signal = rng.standard_normal((2, samples, 1)).astype(np.float32)
    x, _, y = cut_and_joined(Past(), None, edge)
    np.testing.assert_allclose(keras.Model(x, y)(signal), signal, atol=1e-6)


def test_states_of_one_name_or_without_an_end_are_refused():
    past = Past(stream=1)
    x = past.state("a", (2,))
    with pytest.raises(ValueError, match="two states are called 'state_a'"):
        past.state("a", (2,))
    with pytest.raises(ValueError, match="must go out: state_a"):
        step_model({}, {"y": x}, past, name="step")
