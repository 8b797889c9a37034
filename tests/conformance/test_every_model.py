"""Every architecture that takes a waveform through the same gauntlet; a new one joins by existing.

Every input is fed by its shape. The waveform is the first input with three axes; the others are
conditions, and stay the same for a whole signal. Synthesisers, which play controls, have a
gauntlet of their own: test_every_synthesiser.py; what sizes say without a network is in
test_every_size.py. Among the models is plain/gain_net.py, which says no more than a model must.
"""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_models import (
    MODELS,
    SOURCES,
    alone,
    block_of,
    built,
    eager_outputs,
    examples,
    fed,
    fixed,
    graphed,
    length_for,
    made,
    noise,
    outputs,
    roughened,
    segment_of,
    smallest,
    tiny,
    waveform_index,
)

from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import export
from kzoo.deploy.formats import streaming as streaming_files
from kzoo.deploy.formats import tflite
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines import tensorflow
from kzoo.layers.masks import source_names
from kzoo.models import architecture
from kzoo.separation import BlockSeparator, System

SEEDS = (1, 2, 3)
# Each model is exported to one format in every run of the suite, and to the other in slow ones.
SAVED = ("cunet", "dtln", "open_unmix", "scnet", "ul_unas", "unet")
# What makes tiny sizes stream that do not by themselves.
CAUSAL = {
    "conv_tasnet": {"causal": True, "norm": "cumulative"},
    "open_unmix": {"bidirectional": False},
    "tasnet": {"bidirectional": False, "norm": "cumulative"},
}


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    """Every model; all tests of one after another, as they share what is built of it."""
    return request.param


def slow_for(*names):
    """A test of every model that is slow for some."""
    marks = {name: [pytest.mark.slow] for name in names}
    values = [pytest.param(name, marks=marks.get(name, ())) for name in MODELS]
    return pytest.mark.parametrize("name", values, indirect=True, scope="module")


def offers(name, *what):
    for attribute in what:
        if not hasattr(architecture(name), attribute):
            pytest.skip(f"{name} has no {attribute}")


def separates(name):
    """Skips a model that separates no sources: it has no estimates to test."""
    if tiny(name).task != "separation":
        pytest.skip(f"{name} separates no sources")


@functools.cache
def said(name):
    """(noise, what the model says of it)."""
    model = built(name)
    mixture = noise(model, length_for(model))
    return mixture, eager_outputs(model, fed(model, mixture))


def test_there_is_a_tiny_variant(name):
    assert {type(size) for size in architecture(name).VARIANTS.values()} == {type(tiny(name))}
    assert built(name).count_params() < 500_000


def test_smaller_blocks_are_those_of_the_same_weights(name):
    separates(name)
    block, whole = block_of(name), built(name)
    mixture = noise(block, 0)
    assert mixture.shape[1] == smallest(name).grid().samples
    (found,) = outputs(block, fed(block, mixture))
    assert np.isfinite(found).all()
    if smallest(name).block().get("padding", "full") == "full":  # others join into the whole
        (expected,) = outputs(whole, fed(whole, mixture))
        assert np.sum((found - expected) ** 2) < 1e-9 * np.sum(np.square(expected))  # 90 dB


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
    levels = (0.0, 1e-30, 1e-10)
    quiet = [noise(model, length_for(model), level=level) for level in levels]
    for found in outputs(model, fed(model, np.concatenate(quiet))):
        assert np.isfinite(found).all()


@functools.cache
def gradients(name, seed):
    """{path of a trainable weight: gradient of a loss on two examples, noise and silence}."""
    model = built(name) if seed == 1 else roughened(made(name, seed))
    sound, targets = noise(model, length_for(model), seed), np.random.default_rng(seed + 10)
    with tf.GradientTape() as tape:
        loss = sum(
            tf.reduce_mean(tf.square(y - targets.standard_normal(y.shape).astype(np.float32)))
            for y in eager_outputs(model, fed(model, np.concatenate([sound, 0 * sound])))
        )
    weights = model.trainable_weights
    found = tape.gradient(loss, [weight.value for weight in weights])
    return {weight.path: gradient for weight, gradient in zip(weights, found, strict=True)}


def test_gradients_of_silence_are_finite(name):
    for path, gradient in gradients(name, SEEDS[0]).items():
        assert gradient is None or np.isfinite(gradient).all(), path


def test_a_loss_reaches_every_trainable_weight(name):
    unreached = set(gradients(name, SEEDS[0]))
    for seed in SEEDS:  # a tiny network may be born with dead units
        found = gradients(name, seed)
        assert all(
            np.isfinite(gradient).all() for gradient in found.values() if gradient is not None
        )
        unreached &= {path for path, x in found.items() if x is None or not np.any(x)}
        if not unreached:
            break
    assert unreached == set()


def test_keras_takes_a_step_of_training_and_stays_finite(name, eagerly):
    model, before, _ = segment_of(name)
    mixture = noise(model, 0)
    shapes = [[1, *(n or 1 for n in y.shape[1:])] for y in model.outputs]  # open ones fit any
    targets = [np.full(shape, 0.1, np.float32) for shape in shapes]
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
    mixture = noise(model, 2 * length_for(model), level=0.2)[0]
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
    size, samples = smallest(name).static()
    model, _ = fixed(name, size, samples=samples)
    card = exported(name, "tflite", tmp_path, alone(model))
    operators = tflite.describe(card["path"])["operators"]
    assert [name for name in operators if not name.isupper()] == []  # Flex and custom ones are not
    assert card["parity"]["not_compared"] is None
    assert set(json.loads(json.dumps(card["parity"]["sources"]))) == set(source_names(model))


@functools.cache
def streaming(name):
    """(sizes that stream, the model of a whole signal of them)."""
    size = dataclasses.replace(tiny(name), **CAUSAL.get(name, {}))
    assert size.streams
    return size, graphed(roughened(made(name, size=size))) if name in CAUSAL else built(name)


@pytest.mark.slow
def test_an_onnx_file_says_what_keras_says(name, tmp_path):
    for package in ("tf2onnx", "onnx", "onnxruntime"):
        pytest.importorskip(package, reason="pip install 'kzoo[onnx]'")
    separates(name)
    model = alone(built(name))
    card = exported(name, "onnx", tmp_path, model)
    levels = [found["snr_db"] for found in card["parity"]["sources"].values()]
    assert len(levels) == len(source_names(model))
    assert all(level is None or level > 100 for level in levels)


@functools.cache
def streamed(name, frames):
    """(noise, what a stream of blocks says of it `[sources, samples, channels]`)."""
    module, (size, whole) = architecture(name), streaming(name)
    mixture = noise(whole, 60 * size.hop_length + 1)
    by_path = {weight.path: weight for weight in whole.weights}
    step = module.build_step(SOURCES, size, frames=frames)
    assert {weight.path for weight in step.weights} == set(by_path)
    for weight in step.weights:
        weight.assign(by_path[weight.path])
    silence = {f"state_{part}": array for part, array in module.initial_state(step).items()}
    assert set(silence) == set(step.input) - {"waveform"}
    samples = frames * size.hop_length
    system = System(
        function=None,
        begin=tensorflow.beginnings(step, silence, SOURCES),
        delay=size.delay_samples,
        sources=SOURCES,
        sample_rate=size.sample_rate,
        channels=size.channels,
        grid=BlockGrid(samples, samples, context=True),
    )
    stems, again = (BlockSeparator(system).separate(mixture[0], size.sample_rate) for _ in range(2))
    for source in SOURCES:  # each signal begins in silence
        np.testing.assert_array_equal(stems[source], again[source])
    return mixture, np.stack([stems[source] for source in SOURCES])


def test_a_stream_of_single_frames_says_what_the_whole_says(name):
    offers(name, "build_step")
    separates(name)
    size, whole = streaming(name)
    if size.stream_differs:
        pytest.skip(f"the stream of {name} says something else than the whole, by intent")
    mixture, found = streamed(name, 1)
    (expected,) = outputs(whole, fed(whole, mixture))
    until = (
        mixture.shape[1] - size.delay_samples - size.hop_length
    )  # the last windows of a whole may see its mirror image
    expected = np.asarray(expected)[0, :, :until]
    error = found[:, :until] - expected
    assert np.sum(error**2) < 1e-9 * np.sum(expected**2)  # 90 dB


@slow_for("deepfilternet", "gtcrn", "open_unmix", "ul_unas")
def test_a_stream_of_longer_blocks_is_that_of_single_frames(name):
    offers(name, "build_step")
    separates(name)
    (_, expected), (_, found) = streamed(name, 1), streamed(name, 7)
    size, _ = streaming(name)
    until = expected.shape[1] - size.delay_samples - size.hop_length  # silence follows it
    error = (found - expected)[:, :until]
    assert np.sum(error**2) < 1e-9 * np.sum(expected[:, :until] ** 2)  # 90 dB


# tests/export has another one of dtln
@slow_for("conv_tasnet", "deepfilternet", "dtln", "gtcrn", "open_unmix", "ul_unas")
def test_a_stream_in_tflite_says_what_the_whole_says(name, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    offers(name, "build_step")
    separates(name)
    size, whole = streaming(name)
    if size.stream_differs:
        pytest.skip(f"the stream of {name} says something else than the whole, by intent")
    step = architecture(name).build_step(SOURCES, size, frames=size.live_frames)
    by_path = {weight.path: weight for weight in whole.weights}
    for weight in step.weights:
        weight.assign(by_path[weight.path])
    state, twin = architecture(name).initial_state(step), tmp_path / "step.tflite"
    path = streaming_files.write_stream(step, tmp_path / "x.tflite", state=state, twin=twin)
    mixture = noise(whole, 40 * size.live_frames * size.hop_length)
    (expected,) = outputs(whole, fed(whole, mixture))
    late = size.delay_samples
    for file in (streaming_files.Stream(path), streaming_files.StateTwin(twin, state)):
        blocks = [file.step(waveform=block) for block in np.split(mixture, 40, axis=1)]
        for source, stem in zip(SOURCES, np.asarray(expected)[0], strict=True):
            found = np.concatenate([block[source] for block in blocks], axis=1)[0, late:]
            error = found - stem[: len(found)]
            assert np.sum(error**2) < 1e-9 * np.sum(stem**2)  # 90 dB


@pytest.mark.parametrize("hops", [0, 3])  # less than a block; a first, others and a last
def test_blocks_of_the_grid_join_into_the_whole(name, hops):
    separates(name)
    if smallest(name).context_samples() is None:
        pytest.skip(f"{name} needs the whole signal: its context is None")
    whole, block = built(name), block_of(name)
    grid = smallest(name).grid()
    assert block.inputs[waveform_index(block)].shape[1] == grid.samples
    system = System(
        function=lambda mixture: np.asarray(block(fed(block, mixture), training=False)),
        sources=source_names(whole),
        sample_rate=8000,
        channels=block.inputs[waveform_index(block)].shape[2],
        grid=grid,
    )
    mixture = noise(whole, hops * grid.hop + 1)
    (expected,) = outputs(whole, fed(whole, mixture))
    found = BlockSeparator(system).separate(mixture[0], 8000)
    for stem, source in zip(np.asarray(expected)[0], source_names(whole), strict=True):
        error = found[source] - stem
        # Single samples at a seam may differ, where a block's only window all but hides them.
        assert np.abs(error).max() < 1e-4 * np.abs(stem).max()
        assert np.sum(error**2) < 1e-9 * np.sum(stem**2)  # 90 dB
