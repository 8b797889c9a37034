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
    made = {"return_sequences": True, "return_state": past.stream}
    x = past.recurrent(layers.LSTM(4, name="lstm", **made), x, "lstm")
    return past.recurrent(layers.GRU(4, name="gru", **made), x, "gru")


def models(frames):
    """The network of a whole signal, and that of blocks of `frames` with the same weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 3), name="x")
    whole = keras.Model(inputs, network(Past(), inputs))
    block, past = keras.Input((frames, 3), name="x"), Past(stream=True)
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
        found.append(np.asarray(results.pop(name)))
        state = {key: np.asarray(value) for key, value in results.items()}
    return np.concatenate(found, axis=1)


@pytest.mark.parametrize("frames", [1, 3])
def test_blocks_say_what_the_whole_says(rng, frames):
    whole, step = models(frames)
    x = rng.standard_normal((1, 12, 3)).astype(np.float32)
    found = streamed(step, np.split(x, 12 // frames, axis=1), "y")
    np.testing.assert_allclose(found, whole(x), atol=1e-6)


def test_frames_of_a_stream_add_up_to_it_when_they_are_complete(rng):
    block, past = keras.Input((2 * HOP, 1), name="x"), Past(stream=True)
    frames = past.frames(block, WINDOW, HOP, "samples")
    assert frames.shape[1:] == (2, WINDOW, 1)
    y = past.overlap_add(layers.Rescaling(HOP / WINDOW)(frames), HOP, "frames")
    step = step_model({"x": block}, {"y": y}, past, name="step")
    x = rng.standard_normal((1, 10 * HOP, 1)).astype(np.float32)
    found = streamed(step, np.split(x, 5, axis=1), "y")
    late = WINDOW - HOP
    np.testing.assert_allclose(found[:, :late], 0, atol=0)
    np.testing.assert_allclose(found[:, late:], x[:, :-late], atol=1e-6)


def test_states_of_one_name_or_without_an_end_are_refused():
    past = Past(stream=True)
    x = past.state("a", (2,))
    with pytest.raises(ValueError, match="two states are called 'state_a'"):
        past.state("a", (2,))
    with pytest.raises(ValueError, match="must go out: state_a"):
        step_model({}, {"y": x}, past, name="step")
