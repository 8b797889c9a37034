"""Wave-U-Net: the recorded reference, NumPy, the paper's counts and lengths, blocks, exports."""

import functools
import itertools

import keras
import numpy as np
import numpy_wave_u_net as witness
import pytest

from kzoo import models
from kzoo.convert import wave_u_net as convert
from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import export
from kzoo.deploy.formats import tflite
from kzoo.models import wave_u_net
from kzoo.separation import BlockSeparator, System

TWO = ("accompaniment", "vocals")
FOUR = ("bass", "drums", "other", "vocals")
SHAPE = {"levels": 3, "kernel_size": 5, "merge_kernel_size": 3}
TINY = {"variant": "tiny", **SHAPE}


def sizes(**options):
    return models.sizes("wave_u_net", **options)


@pytest.mark.parametrize(
    ("name", "context", "parameters"),
    [
        ("waveunet_m1_same_direct", False, 3790),
        ("waveunet_m3_valid_difference", True, 3785),
        ("waveunet_same_learned", False, 3832),
    ],
)
def test_the_authors_network_is_reproduced(vectors, name, context, parameters):
    recorded = vectors(name)
    weights = {
        key.removeprefix("param/"): value
        for key, value in recorded.items()
        if key.startswith("param/")
    }
    model = convert.from_weights(weights, context=context)
    assert model.count_params() == parameters
    found = np.asarray(model(recorded["input"]))
    for stem, source in zip(found[0], ("accompaniment", "vocals"), strict=True):
        np.testing.assert_allclose(stem, recorded[f"output/{source}"][0], atol=1e-6)


# With the activation half of all configurations, in which any three options have all combinations.
@pytest.mark.parametrize(
    ("context", "learned", "difference"), list(itertools.product(*[(False, True)] * 3))
)
def test_every_configuration_is_what_numpy_computes(rng, context, learned, difference):
    activation = "tanh" if context ^ learned ^ difference else "linear"
    shape = {"levels": 3, "filters": 2, "kernel": 5, "merge": 3, "output": 3, "channels": 2}
    weights = witness.random_weights(rng, **shape, learned=learned, estimated=4 - difference)
    model = convert.from_weights(weights, sources=FOUR, context=context, activation=activation)
    size = sizes(**SHAPE, filters=2, output_kernel_size=3, context=context,
                 upsampling="learned" if learned else "linear",
                 output="difference" if difference else "direct")  # fmt: skip
    assert model.count_params() == parameters(size, FOUR)
    samples, _ = sizes(**SHAPE, output_kernel_size=3, context=context).lengths(40)
    mixture = rng.standard_normal((2, samples, 2)).astype(np.float32)
    for training in (False, True):
        expected = witness.wave_u_net(mixture, weights, levels=3, sources=4, context=context,
                                      activation=activation, training=training)  # fmt: skip
        found = model(mixture, training=training)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=2e-5)
    over = np.abs(expected).max(axis=(0, 2, 3)) > 1  # in training nothing is clipped
    assert list(over) == [activation == "linear"] * 3 + [difference or activation == "linear"]


def parameters(size, sources):
    """The number of parameters by the paper's figure, which above is that of small networks."""

    def conv(width, inputs, outputs):
        return width * inputs * outputs + outputs

    maps = [size.filters * (level + 1) for level in range(size.levels + 1)]
    pairs = list(itertools.pairwise(maps))
    down = [conv(size.kernel_size, i, o) for i, o in [(size.channels, maps[0]), *pairs]]
    up = [conv(size.merge_kernel_size, fine + coarse, fine) for fine, coarse in pairs]
    learned = sum(maps[1:]) if size.upsampling == "learned" else 0
    estimated = len(sources) - (size.output == "difference")
    last = estimated * conv(size.output_kernel_size, size.filters + size.channels, size.channels)
    return sum(down) + sum(up) + learned + last


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ("m1", 10_263_028), ("m2", 10_263_002), ("m3", 10_263_002), ("m4", 10_263_390),
        ("m5", 10_265_550), ("m5_highsr", 10_265_550), ("m6", 10_263_498), ("m7", 20_594_652),
    ],
)  # fmt: skip
def test_parameters_are_as_many_as_the_papers(variant, count):
    assert parameters(wave_u_net.VARIANTS[variant], FOUR if variant == "m6" else TWO) == count


def test_parameters_are_as_many_where_the_network_is_built(unfilled):
    size = wave_u_net.VARIANTS["m7"]
    assert wave_u_net.core(TWO, size).count_params() == parameters(size, TWO)


def test_small_is_small():
    assert parameters(wave_u_net.VARIANTS["small"], TWO) < 1_000_000


@pytest.mark.parametrize(
    ("variant", "wanted", "lengths"),
    [
        ("m3", 16_384, (147_443, 16_389)),
        ("m6", 16_389, (147_443, 16_389)),
        ("m4", 16_390, (151_539, 20_485)),
        ("m7", 768 * 127 + 1024, (233_459, 102_405)),
        ("m1", 16_384, (16_384, 16_384)),
        ("m2", 16_385, (20_480, 20_480)),
    ],
)
def test_lengths_are_the_papers(variant, wanted, lengths):
    assert wave_u_net.VARIANTS[variant].lengths(wanted) == lengths
    before = (lengths[0] - lengths[1]) // 2
    assert before == (0 if variant in ("m1", "m2") else 65_527)


def test_the_recorded_length_is_found():
    size = sizes(levels=4, kernel_size=5, merge_kernel_size=3, context=True)
    assert size.lengths(64) == (221, 67)


@pytest.mark.parametrize("context", [False, True])
def test_a_core_gives_what_lengths_promise_and_takes_nothing_else(context):
    size = sizes(**TINY, context=context)
    promised = {size.lengths(n) for n in range(1, 28)}
    assert len(promised) in (3, 4)  # one every 8 samples
    for given, found in (min(promised), max(promised)):
        model = wave_u_net.core(size=size, samples=given)
        assert model.output_shape == (None, 2, found, 2)
    for given, _ in promised:
        for wrong in (given - 1, given + 1, given + 4):
            with pytest.raises(ValueError, match=rf"got {wrong}: the next is \d+"):
                wave_u_net.core(size=size, samples=wrong)


def roughened(model, rng):
    for weight in model.weights:
        weight.assign(weight + rng.uniform(-0.1, 0.1, weight.shape))
    return model


def built(rng, **options):
    options = {"sources": wave_u_net.SOURCES, **TINY, **options}
    return roughened(models.build("wave_u_net", **options), rng)


@functools.cache
def any_length(context, upsampling="learned"):
    """The system of any length, which no test changes."""
    return built(np.random.default_rng(5), context=context, upsampling=upsampling)


both = pytest.mark.parametrize("context", [False, True])


@both
@pytest.mark.parametrize("samples", [1, 8, 201])
def test_more_silence_around_the_signal_changes_nothing(rng, context, samples):
    whole = any_length(context)
    mixture = rng.standard_normal((1, samples, 2)).astype(np.float32)
    before, after = 96, 301  # on the grid of the coarsest level
    longer = np.pad(mixture, ((0, 0), (before, after), (0, 0)))
    found = np.asarray(whole(longer))[:, :, before : before + samples]
    np.testing.assert_allclose(whole(mixture), found, atol=1e-6)


@both
def test_an_estimate_looks_as_far_as_it_says_and_no_farther(rng, context):
    keras.utils.set_random_seed(0)
    model, step = built(rng, context=context, output="direct", activation="linear"), 8
    reach = sizes(**TINY).context_samples()
    mixture = np.zeros((step + 1, 4 * reach, 2), np.float32)
    for row in range(step):
        mixture[row, 2 * reach + row] = 1
    found = np.asarray(model(mixture, training=True))  # nothing saturates
    # Rows of a batch may be rounded otherwise: 2e-8; the outermost taps change 2e-6 and more.
    changed = np.abs(found[:-1] - found[-1]).max(axis=(1, 3)) > 2e-7  # [position, samples]
    far = [np.flatnonzero(row) - 2 * reach - at for at, row in enumerate(changed)]
    assert min(row.min() for row in far) == -reach
    assert max(row.max() for row in far) == reach


@both
@pytest.mark.parametrize("upsampling", [pytest.param("linear", marks=pytest.mark.slow), "learned"])
@pytest.mark.parametrize("seconds", [0.001, 0.1])
def test_blocks_join_into_the_whole(rng, context, upsampling, seconds):
    size = sizes(**TINY, context=context, upsampling=upsampling, block_seconds=seconds)
    whole = any_length(context, upsampling)
    block = wave_u_net.build(size=size, **size.block())
    block.set_weights(whole.get_weights())
    grid = size.grid()
    assert grid.hop % 8 == 0
    system = System(
        function=lambda mixture: np.asarray(block(mixture)),
        sources=wave_u_net.SOURCES,
        sample_rate=8000,
        channels=2,
        grid=grid,
    )
    separator = BlockSeparator(system)
    samples = 5 * grid.hop + 61 if seconds < 0.01 else 2501
    mixture = 0.3 * rng.standard_normal((1, samples, 2)).astype(np.float32)
    expected = np.asarray(whole(mixture))[0]
    assert np.mean(np.abs(expected) > 0.99) < 0.05  # saturated, anything would be equal
    found = separator.separate(mixture[0], 8000)
    for stem, source in zip(expected, wave_u_net.SOURCES, strict=True):
        np.testing.assert_allclose(found[source], stem, atol=1e-5)


@both
def test_a_static_block_wastes_nothing_and_gives_what_any_length_does(rng, context):
    size, whole = sizes(**TINY, context=context), any_length(context)
    inside = []
    for wanted in (100, 101, 1):
        same, samples = size.static(wanted)
        assert same == size
        assert wanted <= samples < wanted + 8
    for given in (samples, samples + 1):
        static = wave_u_net.build(size=size, samples=given)
        static.set_weights(whole.get_weights())
        mixture = rng.standard_normal((2, given, 2)).astype(np.float32)
        np.testing.assert_allclose(static(mixture), whole(mixture), atol=1e-6)
        inside.append(static.get_layer("wave_u_net_core").input_shape[1])
    assert inside[1] == inside[0] + 8


def test_blocks_halve_until_they_are_all_context():
    # At a low rate, so that the context is long in seconds.
    size, lengths = sizes(**TINY, sample_rate=500, block_seconds=4.0), []
    while size:
        lengths.append(size.grid().samples)
        size = size.smaller()
    assert lengths == sorted(set(lengths), reverse=True)
    assert lengths[0] > 1900
    assert lengths[-1] < 300


@pytest.mark.usefixtures("eagerly")
@both
def test_a_segment_of_any_length_is_trained(rng, context):
    size = sizes(**TINY, context=context)
    for wanted in (1001, 1):
        same, arguments = size.segment(wanted)
        assert same == size
        given = arguments["samples"]
        assert max(wanted, size.lengths(1)[0]) <= given < max(wanted, size.lengths(1)[0]) + 8
    graph, domain = size.training(wave_u_net.build(size=size, **arguments))
    assert graph.input_shape == (None, given, 2)
    sources = 0.3 * rng.standard_normal((2, 2, given, 2)).astype(np.float32)
    graph.compile("adam", "mae", jit_compile=False)
    mixture, middle = sources.sum(axis=1), np.asarray(domain(sources))
    assert middle.shape == (2, *graph.output_shape[1:])
    losses = [graph.train_on_batch(mixture, middle) for _ in range(2)]
    assert losses[-1] < losses[0]


def test_three_seconds_of_the_small_network_are_the_next_length_that_it_takes():
    """As in configs/separation/wave_u_net_2stems_small.yaml."""
    size, arguments = sizes(variant="small", block_seconds=3.0).segment(3 * 44_100)
    assert arguments == {"samples": 133_107, "padding": "valid"}
    graph, _ = size.training(wave_u_net.build(size=size, **arguments))
    assert graph.input_shape == (None, 133_107, 2)
    with pytest.raises(ValueError, match="got 132300: the next is 133107"):
        wave_u_net.build(size=size, samples=132_300, padding="valid")


def test_without_skips_all_that_goes_up_has_passed_the_bottom(rng):
    mixture = rng.standard_normal((1, 256, 2)).astype(np.float32)
    estimates = []
    for skips in (True, False):
        separate = models.build("wave_u_net", sources=TWO, **TINY, output="direct", skips=skips)
        bottom = separate.get_layer("wave_u_net_core").get_layer("bottleneck_conv")
        bottom.set_weights([np.zeros_like(weight) for weight in bottom.get_weights()])
        estimates.append(np.asarray(separate(mixture)))
    assert np.ptp(estimates[0]) > 1e-3
    assert np.ptp(estimates[1]) == 0


def test_the_middle_of_the_mixture_less_the_others_is_the_last_source(rng):
    size = sizes(**TINY, context=True)
    core = roughened(wave_u_net.core(FOUR, size), rng)
    given, out = size.lengths(100)
    mixture = rng.standard_normal((2, given, 2)).astype(np.float32)
    found = np.asarray(core(mixture, training=True))
    before = (given - out) // 2
    np.testing.assert_allclose(found.sum(axis=1), mixture[:, before:-before], atol=1e-5)


@both
def test_half_precision_keeps_the_sum_exact(rng, context):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = built(rng, context=context)
    finally:
        keras.config.set_dtype_policy("float32")
    mixture = 1e-3 * rng.standard_normal((1, 300, 2)).astype(np.float32)
    found = np.asarray(model(mixture, training=True))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(axis=1), mixture, atol=1e-6)


def test_tflite_says_what_keras_says_with_context(rng, tmp_path):
    """Without context, and with the learned upsampling, the tiny network is exported elsewhere."""
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    _, samples = sizes(**{**TINY, "levels": 2}, context=True).static(500)
    model = built(rng, levels=2, context=True, upsampling="linear", samples=samples)
    sound = 0.2 * rng.standard_normal((1400, 2)).astype(np.float32)
    proof = sound_proof(model, sample_rate=8000, sound=sound)
    card = export(model, "tflite", tmp_path, name="wave_u_net", proof=proof, sample_rate=8000)
    assert all(found["snr_db"] > 100 for found in card["parity"]["sources"].values())
    found = tflite.describe(card["path"])
    assert found["dynamic_tensors"] == 0
    assert all(name.isupper() for name in found["operators"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "m8"}, "no variant of wave_u_net is called 'm8'"),
        ({"upsampling": "cubic"}, "upsampling must be one of linear, learned; got 'cubic'"),
        ({"output": "mask"}, "output must be one of direct, difference; got 'mask'"),
        ({"activation": "relu"}, "activation must be one of tanh, linear; got 'relu'"),
        ({"padding": "same"}, "padding must be one of full, valid; got 'same'"),
        ({"kernel_size": 4}, "kernel_size must be odd.*got 4"),
        ({"merge_kernel_size": 2}, "merge_kernel_size must be odd.*got 2"),
        ({"levels": 0}, "levels must be above 0; got 0"),
        ({"sources": ["vocals"]}, r"needs a second source.*got \['vocals'\]"),
        ({"sources": "vocals"}, "got 'vocals'"),
        ({"padding": "valid", "samples": 1001}, "plus a multiple of 8 .*1001: the next is 1008"),
    ],
)
def test_impossible_options_are_refused_with_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("wave_u_net", **{"sources": wave_u_net.SOURCES, **TINY, **options})
