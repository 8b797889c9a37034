"""LSTM and GRU in training: Keras's numbers, gradients and weights, by loops of kzoo's own."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.engines import tensorflow as engine
from kzoo.layers import recurrent, recurrent_loops

UNITS, FEATURES = 5, 3
KINDS = ("LSTM", "GRU")


class Trained:
    """Layers of a kind, by Keras or by kzoo, with the same weights in both."""

    def __init__(self, package, kind, forms=("states", "both")):
        layer = getattr(package, kind)
        forms = {name: self.made(layer, name) for name in forms}
        for one in forms.values():
            rng = np.random.default_rng(7)
            one.build((None, None, FEATURES))
            one.set_weights([rng.normal(0, 0.5, w.shape) for w in one.weights])
        self.forms = forms

    @staticmethod
    def made(layer, form):
        if form == "states":
            return layer(UNITS, return_state=True)
        return keras.layers.Bidirectional(
            layer(UNITS, return_sequences=True, dropout=0.5, seed=3), merge_mode="sum"
        )

    @tf.function(autograph=False)
    def __call__(self, x, states):
        """{form: outputs and gradients, for the input, the states and the weights}."""
        results = {}
        for name, layer in self.forms.items():
            inputs = {"initial_state": list(states)} if name == "states" else {}
            with tf.GradientTape() as tape:
                tape.watch([x, states])
                outputs = keras.tree.flatten(layer(x, training=True, **inputs))
                loss = sum(tf.reduce_sum(tf.sin(tf.cast(y, "float32"))) for y in outputs)
            weights = [weight.value for weight in layer.trainable_weights]
            gradients = tape.gradient(loss, [x, *inputs.get("initial_state", []), *weights])
            results[name] = [tf.cast(v, "float32") for v in (*outputs, *gradients)]
        return results


def inputs(kind):
    """A sequence and the states before it."""
    rng = np.random.default_rng(0)
    shapes = [(2, 6, FEATURES), *[(2, UNITS)] * (1 + (kind == "LSTM"))]
    x, *states = [tf.constant(rng.normal(size=shape), "float32") for shape in shapes]
    return x, states


def furthest(expected, found):
    """The greatest distance of an output or a gradient, in units of its peak if that is above 1."""
    return max(
        np.max(np.abs(got - wanted)) / max(1.0, np.max(np.abs(wanted)))
        for form in found
        for wanted, got in zip(expected[form], found[form], strict=True)
    )


@functools.cache
def by_keras(kind):
    return Trained(keras.layers, kind)(*inputs(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_those_of_keras(kind):
    assert furthest(by_keras(kind), Trained(recurrent, kind)(*inputs(kind))) < 1e-6


@pytest.fixture
def policy():
    """Sets the policy, for as long as the test lasts."""
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("kind", "name", "tolerance"),
    [
        pytest.param("LSTM", "mixed_float16", 3e-3, marks=pytest.mark.slow),
        ("GRU", "mixed_bfloat16", 2e-2),
    ],
)
def test_half_precision_is_near_to_single(kind, name, tolerance, policy):
    expected = by_keras(kind)
    policy(name)
    half = keras.config.dtype_policy().compute_dtype
    x, states = tf.nest.map_structure(lambda value: tf.cast(value, half), inputs(kind))
    layer = Trained(recurrent, kind, ["states"])
    assert 1e-5 < furthest(expected, layer(x, states)) < tolerance


def test_one_graph_takes_every_length_and_batch():
    specs = [tf.TensorSpec((None, None, FEATURES)), [tf.TensorSpec((None, UNITS))] * 2]
    both = [Trained(package, "LSTM", ["states"]) for package in (keras.layers, recurrent)]
    theirs, ours = [one.__call__.get_concrete_function(*specs) for one in both]
    rng = np.random.default_rng(1)
    for batch, steps in [(1, 3), (3, 1)]:
        x, *states = [
            tf.constant(rng.normal(size=(batch, *shape)), "float32")
            for shape in [(steps, FEATURES), (UNITS,), (UNITS,)]
        ]
        assert furthest(theirs(x, states), ours(x, states)) < 1e-6


def test_second_derivatives_are_refused():
    layer = recurrent.GRU(UNITS)
    x = tf.ones((1, 2, FEATURES))
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = layer(x, training=True)
        gradient = inner.gradient(y, x)
    with pytest.raises(NotImplementedError, match="no second derivatives in training"):
        outer.gradient(gradient, x)


def network(package):
    x = sound = keras.Input((4, FEATURES))
    one = package.LSTM(UNITS, return_sequences=True, name="lstm")
    x = keras.layers.Bidirectional(one, name="both")(x)
    return keras.Model(sound, package.GRU(UNITS, name="gru")(x))


def test_weights_have_the_paths_of_keras():
    paths = [weight.path for weight in network(recurrent).weights]
    assert paths == [weight.path for weight in network(keras.layers).weights]
    assert paths[0] == "both/forward_lstm/lstm_cell/kernel"


def test_a_saved_model_is_read_as_it_was(tmp_path):
    model = network(recurrent)
    model.save(tmp_path / "model.keras")
    read = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(read.layers[1].backward_layer, recurrent.LSTM)
    assert isinstance(read.layers[2], recurrent.GRU)
    for saved, weight in zip(model.get_weights(), read.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, weight)


def test_without_training_the_graph_is_that_of_keras():
    graphs = []
    for package in (keras.layers, recurrent):
        concrete = tf.function(network(package)).get_concrete_function(
            tf.TensorSpec((1, 4, FEATURES))
        )
        library = concrete.graph.as_graph_def().library.function
        nodes = [node.op for function in library for node in function.node_def]
        graphs.append(sorted([op.type for op in concrete.graph.get_operations()] + nodes))
    assert graphs[0] == graphs[1]


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_go_through_long_layers_by_the_compiled_loop(kind, monkeypatch):
    name, traced = kind.lower(), []
    loop = getattr(recurrent_loops, name)
    monkeypatch.setattr(recurrent_loops, name, lambda *x: [traced.append(x[0].shape), loop(*x)][1])
    monkeypatch.setattr(recurrent, "_WORTH_COMPILING", 40 * UNITS)
    one, two = (getattr(recurrent, kind)(UNITS, return_sequences=True) for _ in range(2))
    whole = keras.Input((None, FEATURES))
    network = keras.Model(whole, two(keras.layers.Bidirectional(one)(whole)))
    x = np.random.default_rng(0).normal(size=(1, 40, FEATURES)).astype(np.float32)
    wanted = np.asarray(network(x))
    for steps in (40, 39):
        sequence = keras.Input((steps, FEATURES))
        run = engine.compiled(keras.Model(sequence, network(sequence)), None)
        if steps == 40:
            np.testing.assert_allclose(run(x), wanted, atol=1e-6)
    tf.function(network).get_concrete_function(tf.TensorSpec(x.shape))
    assert traced == [(40, 1, FEATURES)] * 2 + [(40, 1, 2 * UNITS)]


OTHERS = {
    "mask": {},
    "recurrent_dropout": {"recurrent_dropout": 0.5},
    "activation": {"activation": "relu"},
    "recurrent_activation": {"recurrent_activation": "hard_sigmoid"},
    "bias": {"use_bias": False},
    "unroll": {"unroll": True},
    "float64": {"dtype": "float64"},
    "implementation": {"implementation": 1, "dropout": 0.5},
    "gpu": {},
    "backend": {},
}


@pytest.mark.parametrize("why", [*OTHERS, "reset_after", "nothing"])
def test_keras_trains_what_the_loops_do_not_know(why, monkeypatch):
    taken = []
    monkeypatch.setattr(keras.layers.GRU, "inner_loop", lambda *_, **more: taken.append("Keras"))
    monkeypatch.setattr(recurrent_loops, "gru", lambda *_: taken.append("kzoo") or x)
    if why == "gpu":
        devices = [tf.config.LogicalDevice("/device:GPU:0", "GPU")]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda *_: devices)
    if why == "backend":
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    x = tf.zeros((1, 2, FEATURES))
    layer = recurrent.GRU(
        UNITS, return_sequences=True, reset_after=why != "reset_after", **OTHERS.get(why, {})
    )
    layer.build(x.shape)
    layer.inner_loop(x, [x[:, 0]], x[..., 0] > 0 if why == "mask" else None, training=True)
    assert taken == ["kzoo" if why == "nothing" else "Keras"]


PROGRAM = """
import sys
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.config.experimental.enable_op_determinism()
from kzoo.layers import recurrent

sounds, targets = np.random.default_rng(0).normal(size=(4, 4, 9, 8)), np.ones((4, 6))

def weights_after(steps, devices, begun=None):
    keras.utils.set_random_seed(1)
    with tf.distribute.MirroredStrategy(devices).scope():
        sound = keras.Input((9, 8))
        x = recurrent.LSTM(32, return_sequences=True)(sound)
        model = keras.Model(sound, recurrent.GRU(6)(x))
        model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=False)
    if begun:
        model.set_weights(begun)
    kept = []
    for step in steps:
        model.train_on_batch(sounds[step], targets)
        kept.append(model.get_weights())
    return kept

straight = weights_after(range(4), ["CPU:0"])
resumed = weights_after([2, 3], ["CPU:0"], straight[1])
both = weights_after(range(4), ["CPU:0", "CPU:1"])
np.savez(sys.argv[1], straight=np.concatenate([w.ravel() for w in straight[-1]]),
         resumed=np.concatenate([w.ravel() for w in resumed[-1]]),
         both=np.concatenate([w.ravel() for w in both[-1]]))
"""


@pytest.mark.slow
def test_a_run_resumes_bit_by_bit_and_on_two_devices_as_on_one(tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path / "weights.npz"]
    subprocess.run(command, check=True, capture_output=True)
    weights = np.load(tmp_path / "weights.npz")
    np.testing.assert_array_equal(weights["resumed"], weights["straight"])
    np.testing.assert_allclose(weights["both"], weights["straight"], atol=1e-6)
