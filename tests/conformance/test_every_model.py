"""Every architecture that takes a waveform through the same gauntlet; a new one joins by existing.

Every input is fed by its shape. The waveform is the first input with three axes; the others are
conditions, and stay the same for a whole signal. Synthesisers, which play controls, have a
gauntlet of their own: test_every_synthesiser.py. Among the models is plain/gain_net.py, which says
no more than a model must.
"""

import dataclasses
import functools
import inspect
import json
import typing
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import models, runtime
from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import export
from kzoo.deploy.formats import tflite
from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.masks import Estimates, source_names
from kzoo.models import architecture, list_models
from kzoo.separation import Separator, System

SOURCES = ["vocals", "accompaniment"]
SEEDS = (1, 2, 3)
SHORT = 200  # samples
GRAPHS = {}  # of recurrent models by their id
PLAIN = str(Path(__file__).parent / "plain")


def tiny(name):
    """The sizes of the smallest variant."""
    return architecture(name).VARIANTS["tiny"]


MODELS = [*(name for name in list_models() if tiny(name).task != "synthesis"), "gain_net"]
# Each model is exported to one format in every run of the suite, and to the other in slow ones.
SAVED = ("cunet", "dtln", "ul_unas", "unet")


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    """Every model; all tests of one after another, as they share what is built of it."""
    return request.param


def slow_for(*names):
    """A test of every model that is slow for some."""
    marks = {name: [pytest.mark.slow] for name in names}
    values = [pytest.param(name, marks=marks.get(name, ())) for name in MODELS]
    return pytest.mark.parametrize("name", values, indirect=True, scope="module")


@pytest.fixture(autouse=True)
def plain_model(monkeypatch):
    """The model of the folder `plain` is one of the zoo's."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, PLAIN])


def made(name, seed=1, size=None, **options):
    """`build` of a model's module, at its tiny size, from a seed."""
    keras.utils.set_random_seed(seed)
    function = architecture(name).build
    if "sources" in inspect.signature(function).parameters:
        options = {"sources": SOURCES, **options}
    return function(size=size or tiny(name), **options)


@functools.cache
def built(name):
    """The waveform model, any length; made once, and changed by no test.

    A recurrent one is drawn as a graph once, as each of its steps takes 1 ms in eager calls.
    """
    model = roughened(made(name))
    if recurs(model):
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]
        specs = specs if len(specs) > 1 else specs[0]
        GRAPHS[id(model)] = tf.function(model, input_signature=[specs], autograph=False)
    return model


@functools.cache
def segment_of(name):
    """(a short model that trains, from the seed of `built`; its weights; its sizes)."""
    size, arguments = tiny(name).segment(length_for(built(name)))
    model = roughened(made(name, size=size, **arguments))
    return model, model.get_weights(), size


@functools.cache
def block_of(name, size):
    """The model of one block of the grid of `size`, with the weights of `built`."""
    block = made(name, size=size, **size.block())
    block.set_weights(built(name).get_weights())
    return block


def roughened(model):
    """Weights as after some training: statistics that are not 0 and 1, biases that are not 0."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta", "gamma", "moving_mean", "moving_variance")):
            weight.assign(weight + rng.uniform(0.01, 0.2, weight.shape))
    return model


def offers(name, *what):
    for attribute in what:
        if not hasattr(architecture(name), attribute):
            pytest.skip(f"{name} has no {attribute}")


def separates(name):
    """Skips a model that separates no sources: it has no estimates to test."""
    if tiny(name).task != "separation":
        pytest.skip(f"{name} separates no sources")


def waveform_index(model):
    return next(i for i, x in enumerate(model.inputs) if len(x.shape) == 3)


def condition_for(x, rng):
    """One example for an input that is no waveform, `[1, ...]`."""
    if None in x.shape[1:]:
        raise ValueError(f"input {x.name!r} {x.shape} is open in more than its batch")
    if "int" in x.dtype:
        return np.zeros((1, *x.shape[1:]), x.dtype)
    return rng.uniform(0, 1, (1, *x.shape[1:])).astype(x.dtype)


def fed(model, waveform):
    """What to call `model` with, for `waveform` `[batch, samples, channels]`."""
    rng, at = np.random.default_rng(7), waveform_index(model)
    arrays = [
        waveform if i == at else np.repeat(condition_for(x, rng), len(waveform), axis=0)
        for i, x in enumerate(model.inputs)
    ]
    return arrays[0] if len(arrays) == 1 else arrays


def noise(model, samples, seed=0, level=0.1):
    """White noise that `model` takes: of its own length where it has one."""
    _, own, channels = model.inputs[waveform_index(model)].shape
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal((1, own or samples, channels))).astype(np.float32)


def examples(model, seed):
    """Positive numbers for every input by its shape, for a network on its own domain."""
    rng = np.random.default_rng(seed)
    length = 160 if recurs(model) else 512
    shapes = [[1, *(length if n is None else n for n in x.shape[1:])] for x in model.inputs]
    arrays = [
        np.zeros(shape, x.dtype) if "int" in x.dtype else rng.uniform(0, 2, shape).astype(x.dtype)
        for shape, x in zip(shapes, model.inputs, strict=True)
    ]
    return arrays[0] if len(arrays) == 1 else arrays


@keras.saving.register_keras_serializable("tests")
class Always(keras.layers.Layer):
    """A condition that is the same for every example, as long as the batch of the waveform."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, waveform):
        return tf.repeat(tf.constant(self.value), tf.shape(waveform)[0], axis=0)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *np.shape(self.value)[1:])


def alone(model):
    """`model` of the waveform alone: its conditions fixed to those that `fed` gives."""
    if len(model.inputs) == 1:
        return model
    at, rng = waveform_index(model), np.random.default_rng(7)
    waveform = keras.Input(model.inputs[at].shape[1:], name="waveform")
    arguments = [
        waveform if i == at else Always(condition_for(x, rng), name=f"fixed_{i}")(waveform)
        for i, x in enumerate(model.inputs)
    ]
    return keras.Model(waveform, Estimates(source_names(model))(model(arguments)), name=model.name)


def recurs(model):
    return any(weight.path.endswith("recurrent_kernel") for weight in model.weights)


def length_for(model):
    """Samples to call a model with; each step of a recurrent layer takes 1 ms, unless drawn."""
    return SHORT if recurs(model) else 1999


def outputs(model, arguments):
    """All outputs of a call as a flat list."""
    return tf.nest.flatten(GRAPHS.get(id(model), model)(arguments))


def eager_outputs(model, arguments):
    """The same of a call that draws nothing: for gradients, and for models that must be equal."""
    return tf.nest.flatten(model(arguments, training=False))


@functools.cache
def said(name):
    """(noise, what the model says of it)."""
    model = built(name)
    mixture = noise(model, length_for(model))
    return mixture, eager_outputs(model, fed(model, mixture))


def test_there_is_a_tiny_variant(name):
    assert {type(size) for size in architecture(name).VARIANTS.values()} == {type(tiny(name))}
    assert built(name).count_params() < 500_000


def test_an_unknown_variant_or_option_is_refused_with_its_name(name):
    with pytest.raises(ValueError, match=f"no variant of {name} is called 'gigantic'"):
        models.build(name, variant="gigantic")
    with pytest.raises(ValueError, match=f"model {name} has no option 'chanels'.*'channels'"):
        models.build(name, variant="tiny", chanels=1)


def test_the_whole_of_the_sizes_builds_the_variant_again(name):
    for variant, size in architecture(name).VARIANTS.items():
        written = json.loads(json.dumps(dataclasses.asdict(size)))
        assert models.sizes(name, **written) == models.sizes(name, variant=variant) == size


def others(size):
    """The same sizes with one field changed, for each field for which another value is known."""
    hints = typing.get_type_hints(type(size))
    for field in dataclasses.fields(size):
        value, choices = getattr(size, field.name), typing.get_args(hints[field.name])
        if isinstance(value, bool):
            value = not value
        elif isinstance(value, int | float):
            value *= 2
        elif isinstance(value, str):
            value = next((x for x in choices if isinstance(x, str) and x != value), value)
        elif isinstance(value, tuple) and value and isinstance(value[0], int):
            value = tuple(n + 1 for n in value)
        try:
            yield dataclasses.replace(size, **{field.name: value})
        except ValueError:  # another field would have to follow
            continue


def test_sizes_of_any_options_lay_blocks_and_lengths(name):
    changed = list(others(tiny(name)))
    assert len(changed) > 2
    for size in changed:
        grid, samples = size.grid(), size.block()["samples"]
        assert samples == grid.samples
        static, length = size.static(5000)
        assert isinstance(static, type(size))
        assert length > 0
        less = size.smaller()
        assert less is None or less.grid().samples < grid.samples
        assert 0 < size.bandwidth_hz() <= size.sample_rate // 2
        segment, arguments = size.segment(5000)
        assert isinstance(segment, type(size))
        assert arguments["samples"] > 0


def test_smaller_blocks_are_those_of_the_same_weights(name):
    separates(name)
    size = tiny(name)
    while (less := size.smaller()) is not None:
        size = less
    if recurs(built(name)):  # each of its steps takes 1 ms
        size = dataclasses.replace(size, block_seconds=0.05)
    block = block_of(name, size)
    mixture = noise(block, 0)
    assert mixture.shape[1] == size.grid().samples
    (found,) = outputs(block, fed(block, mixture))
    assert np.isfinite(found).all()


def test_a_segment_of_any_length_is_trained(name):
    separates(name)
    system, _, size = segment_of(name)
    graph, domain = size.training(system)
    count = graph.outputs[0].shape[1]  # one where the graph is told which
    sources = np.zeros((1, count, *graph.inputs[0].shape[1:]), np.float32)
    assert tuple(domain(sources).shape) == (1, *graph.outputs[0].shape[1:])


def test_estimates_are_exactly_as_long_as_the_mixture(name):
    separates(name)
    model = built(name)
    short = (noise(model, samples) for samples in (1, 255))
    calls = [(mixture, outputs(model, fed(model, mixture))) for mixture in short]
    for mixture, (found,) in [*calls, said(name)]:
        assert found.shape == (1, len(source_names(model)), *mixture.shape[1:])
        assert np.isfinite(found).all()


def test_examples_of_a_batch_do_not_meet(name):
    model = built(name)
    both = np.concatenate([noise(model, length_for(model), seed) for seed in (0, 1)])
    (found,) = outputs(model, fed(model, both))
    (first,) = outputs(model, fed(model, both[:1]))
    (second,) = outputs(model, fed(model, both[1:]))
    np.testing.assert_allclose(found, np.concatenate([first, second]), atol=1e-6)


def test_silence_stays_finite(name):
    model = built(name)
    for quiet in (0.0, 1e-30, 1e-10):
        for found in outputs(model, fed(model, noise(model, length_for(model), level=quiet))):
            assert np.isfinite(found).all()


def test_gradients_of_silence_are_finite(name):
    model = built(name)
    silence = noise(model, length_for(model), level=0.0)
    with tf.GradientTape() as tape:
        found = eager_outputs(model, fed(model, silence))
        loss = sum(tf.reduce_mean(tf.abs(y - 0.1)) for y in found)
    for weight, gradient in zip(
        model.trainable_weights,
        tape.gradient(loss, [w.value for w in model.trainable_weights]),
        strict=True,
    ):
        assert gradient is None or np.isfinite(gradient).all(), weight.path


def test_a_loss_reaches_every_trainable_weight(name):
    unreached = None
    for seed in SEEDS:  # a tiny network may be born with dead units
        model = built(name) if seed == 1 else roughened(made(name, seed))
        targets = np.random.default_rng(seed + 10)
        with tf.GradientTape() as tape:
            loss = sum(
                tf.reduce_mean(tf.square(y - targets.standard_normal(y.shape).astype(np.float32)))
                for y in eager_outputs(model, fed(model, noise(model, length_for(model), seed)))
            )
        found = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        still = {
            weight.path
            for weight, gradient in zip(model.trainable_weights, found, strict=True)
            if gradient is None or not np.any(gradient)
        }
        assert all(np.isfinite(gradient).all() for gradient in found if gradient is not None)
        unreached = still if unreached is None else unreached & still
        if not unreached:
            break
    assert unreached == set()


def test_keras_takes_a_step_of_training_and_stays_finite(name, eagerly):
    model, before, _ = segment_of(name)
    mixture = noise(model, 0)
    targets = [0.5 * y.numpy() for y in eager_outputs(model, fed(model, mixture))]
    # Drawing or compiling a part of the step takes longer than the step.
    model.compile(optimizer=keras.optimizers.SGD(1e-2), loss="mae", run_eagerly=True)
    assert np.isfinite(model.train_on_batch(fed(model, mixture), targets))
    after = model.get_weights()
    assert all(np.isfinite(weight).all() for weight in after)
    assert any(np.any(a != b) for a, b in zip(after, before, strict=True))


def test_the_core_is_what_the_system_is_built_from(name):
    """With all of its weights, so that what reaches those of one reaches the other's."""
    offers(name, "core")
    system = built(name)
    (core,) = (layer for layer in system.layers if isinstance(layer, keras.Model))
    paths = [sorted(weight.path for weight in model.weights) for model in (core, system)]
    assert paths[0] == paths[1]
    for found in eager_outputs(core, examples(core, 0)):
        assert np.isfinite(found).all()


def test_weights_have_paths_of_their_own_that_do_not_depend_on_what_was_built_before(name):
    first, (second, _, _) = built(name), segment_of(name)
    paths = [weight.path for weight in first.weights]
    assert len(set(paths)) == len(paths)
    assert paths == [weight.path for weight in second.weights]


def test_the_same_seed_draws_the_same_weights(name):
    _, weights, _ = segment_of(name)
    for one, other in zip(built(name).get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's Variable and NumPy 2
def test_a_keras_file_gives_the_same_model_back_and_the_names_of_its_sources(name, tmp_path):
    model = built(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")  # in safe mode: no Lambda
    if tiny(name).task == "separation":
        assert source_names(loaded) == source_names(model) == tuple(SOURCES)
    mixture, expected = said(name)
    for a, b in zip(expected, eager_outputs(loaded, fed(loaded, mixture)), strict=True):
        np.testing.assert_array_equal(a, b)


def exported(name, to, folder, model):
    mixture = noise(model, 2 * 1999, level=0.2)[0]
    proof = sound_proof(model, sample_rate=8000, sound=mixture)
    return export(model, to, folder, name=name, proof=proof, sample_rate=8000)


@slow_for(*set(MODELS) - {*SAVED, "gain_net"})
def test_a_saved_model_says_what_keras_says(name, tmp_path):
    separates(name)
    model = alone(built(name))
    card = exported(name, "saved_model", tmp_path, model)
    levels = [found["snr_db"] for found in card["parity"]["sources"].values()]
    assert len(levels) == len(source_names(model))
    assert all(level is None or level > 100 for level in levels)


@slow_for(*SAVED)
def test_a_tflite_file_has_built_in_operators_and_says_what_keras_says(name, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    separates(name)
    size, samples = tiny(name).static()
    model = alone(roughened(made(name, size=size, samples=samples)))
    card = exported(name, "tflite", tmp_path, model)
    operators = tflite.describe(card["path"])["operators"]
    assert [name for name in operators if not name.isupper()] == []  # Flex and custom ones are not
    assert card["parity"]["not_compared"] is None
    assert set(json.loads(json.dumps(card["parity"]["sources"]))) == set(source_names(model))


@functools.cache
def streamed(name, frames):
    """(noise, what a stream of blocks says of it `[sources, samples, channels]`) of `built`."""
    module, size, whole = architecture(name), tiny(name), built(name)
    mixture = noise(whole, 3001)
    by_path = {weight.path: weight for weight in whole.weights}
    step = module.build_step(SOURCES, size, frames=frames)
    assert {weight.path for weight in step.weights} == set(by_path)
    for weight in step.weights:
        weight.assign(by_path[weight.path])
    silence = module.initial_state(step)
    assert {f"state_{part}" for part in silence} == set(step.input) - {"waveform"}
    samples = frames * size.hop_length
    system = System(
        function=None,
        begin=runtime.beginnings(step, silence, SOURCES),
        delay=size.delay_samples,
        sources=SOURCES,
        sample_rate=size.sample_rate,
        channels=size.channels,
        grid=BlockGrid(samples, samples, context=True),
    )
    stems, again = (Separator(system).separate(mixture[0], size.sample_rate) for _ in range(2))
    for source in SOURCES:  # each signal begins in silence
        np.testing.assert_array_equal(stems[source], again[source])
    return mixture, np.stack([stems[source] for source in SOURCES])


def test_a_stream_of_single_frames_says_what_the_whole_says(name):
    offers(name, "build_step")
    separates(name)
    size, whole = tiny(name), built(name)
    if size.stream_differs:
        pytest.skip(f"the stream of {name} says something else than the whole, by intent")
    mixture, found = streamed(name, 1)
    (expected,) = outputs(whole, fed(whole, mixture))
    until = mixture.shape[1] - size.n_fft  # the last windows of a whole may see its mirror image
    expected = np.asarray(expected)[0, :, :until]
    error = found[:, :until] - expected
    assert np.sum(error**2) < 1e-9 * np.sum(expected**2)  # 90 dB


@slow_for("deepfilternet", "gtcrn", "ul_unas")
def test_a_stream_of_longer_blocks_is_that_of_single_frames(name):
    offers(name, "build_step")
    separates(name)
    (_, expected), (_, found) = streamed(name, 1), streamed(name, 7)
    until = expected.shape[1] - tiny(name).n_fft  # more silence follows a longer block
    error = (found - expected)[:, :until]
    assert np.sum(error**2) < 1e-9 * np.sum(expected[:, :until] ** 2)  # 90 dB


@pytest.mark.parametrize("samples", [1, 9_999])  # less than a block; a first, others and a last
def test_blocks_of_the_grid_join_into_the_whole(name, samples):
    separates(name)
    size = tiny(name)
    if size.context_samples() is None:
        pytest.skip(f"{name} needs the whole signal: its context is None")
    whole, block = built(name), block_of(name, size)
    grid = size.grid()
    assert block.inputs[waveform_index(block)].shape[1] == grid.samples
    system = System(
        function=lambda mixture: np.asarray(block(fed(block, mixture), training=False)),
        sources=source_names(whole),
        sample_rate=8000,
        channels=block.inputs[waveform_index(block)].shape[2],
        grid=grid,
    )
    mixture = noise(whole, samples)
    (expected,) = outputs(whole, fed(whole, mixture))
    found = Separator(system).separate(mixture[0], 8000)
    for stem, source in zip(np.asarray(expected)[0], source_names(whole), strict=True):
        error = found[source] - stem
        # Single samples at a seam may differ, where a block's only window all but hides them.
        assert np.abs(error).max() < 1e-4 * np.abs(stem).max()
        assert np.sum(error**2) < 1e-9 * np.sum(stem**2)  # 90 dB
