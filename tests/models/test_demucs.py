"""Demucs against its authors' outputs and against NumPy: lengths, counts, contexts, blocks."""

import functools
import time
from dataclasses import replace

import keras
import made_demucs as made
import numpy as np
import numpy_demucs
import pytest

from kzoo import models
from kzoo.convert import demucs as convert
from kzoo.dsp.resampling import resample
from kzoo.models import demucs
from kzoo.separation import BlockSeparator, System

TWO = ["vocals", "accompaniment"]
SMALL = {"filters": 3, "depth": 2, "lstm_layers": 0, "normalize": False, "resample": False}
FINITE = {"variant": "tiny", "lstm_layers": 0, "normalize": False}
# Each option by itself or beside others of which it is independent.
SHAPES = [
    {},
    {"lstm_layers": 2, "glu": False},
    {"rewrite": False, "context": 5, "growth": 1.5, "depth": 3},
    {"context": 2, "kernel_size": 5},
    {"upsample": True, "glu": False, "context": 1},
    {"upsample": True, "lstm_layers": 1, "depth": 3},
]
# Resampled and upsampled or not in all ways, with each kind of kernel and context somewhere.
FINITES = [
    {"resample": False, "context": 2},
    {"resample": False, "upsample": True, "depth": 2},
    {"resample": True, "upsample": True, "depth": 2, "context": 5},
    {"resample": True, "depth": 2, "kernel_size": 5, "stride": 3},
]


def named(options):
    if not isinstance(options, dict):
        return str(options)
    return "-".join(f"{key}={value}" for key, value in options.items()) or "plain"


every_shape = pytest.mark.parametrize("options", SHAPES, ids=named)


def reference_weights(recorded):
    return {
        key.removeprefix("param/"): value
        for key, value in recorded.items()
        if key.startswith("param/")
    }


def sizes(**options):
    return models.sizes("demucs", **options)


def built(**options):
    return models.build("demucs", sources=TWO, **options)


@functools.cache
def of_any_length(size):
    """The system of a size, which no test changes."""
    return demucs.build(TWO, size)


def noise(rng, samples, channels=2):
    return (0.3 * rng.standard_normal((1, samples, channels))).astype(np.float32)


def lengths_inside(length, *, depth, kernel_size=8, stride=4, context=3, upsample=False):
    """(samples left over anywhere, samples of the estimate), one layer after the other."""
    skips, over = [], 0
    for _ in range(depth):
        over += 0 if upsample else (length - kernel_size) % stride
        length = length - kernel_size + 1 if upsample else (length - kernel_size) // stride + 1
        skips.append(length)
        length = -(-length // stride) if upsample else length
    for _ in range(depth):
        length = (length - 1) * stride if upsample else length
        assert 0 < length <= skips.pop()
        length -= context - 1
        assert length > 0
        length = length - kernel_size + 1 if upsample else (length - 1) * stride + kernel_size
    return over, length


@pytest.mark.parametrize(("version", "v2"), [("v1", False), ("v2", True)])
def test_the_authors_networks_are_reproduced(vectors, version, v2):
    recorded = vectors(f"demucs_{version}_small")
    model = convert.from_weights(
        reference_weights(recorded), sources=TWO, resample=v2, normalize=v2
    )
    found = model(np.swapaxes(recorded["input"], 1, 2))
    np.testing.assert_allclose(np.swapaxes(found, 2, 3), recorded["output"], atol=1e-6)
    assert model.count_params() == 16_876 - 2 * 2 * 4 * 16  # theirs, less the second biases


@every_shape
def test_the_network_equals_numpy(rng, options):
    options = {**SMALL, **options}
    normal = {key: options[key] for key in options if key not in ("normalize", "resample")}
    weights = made.weights(sources=2, **normal)
    model = convert.from_weights(weights, sources=TWO, resample=False, normalize=False)
    assert model.count_params() == made.counts(sources=2, **normal)[1]
    mixture = noise(rng, sizes(**options).valid_length(150))
    expected = numpy_demucs.demucs(
        weights, mixture[0].T, lstm_layers=options["lstm_layers"], upsample=options.get("upsample")
    )
    found = np.asarray(model(mixture))[0]  # [sources, samples, channels]
    expected = np.moveaxis(expected.reshape(2, 2, -1), 1, 2)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_v2_is_the_network_at_twice_the_rate_on_a_normalised_mixture(rng):
    weights = made.weights(sources=2, filters=3, depth=2, lstm_layers=1)
    mixture = noise(rng, sizes(variant="v2", depth=2).valid_length(100)) + 0.1
    found = convert.from_weights(weights, sources=TWO, resample=True, normalize=True)(mixture)
    mono = mixture.mean(axis=2)
    mean, std = mono.mean(), mono.std(ddof=1)
    x = np.asarray(resample((mixture[0].T - mean) / (1e-5 + std), 1, 2))
    y = numpy_demucs.demucs(weights, x, lstm_layers=1)
    y = np.asarray(resample(y, 2, 1)) * std + mean
    np.testing.assert_allclose(found[0], np.moveaxis(y.reshape(2, 2, -1), 1, 2), atol=1e-5)


@pytest.mark.parametrize(
    ("length", "options", "valid"),
    [
        (44_100, {}, 58_708),
        (80_000, {}, 91_476),
        (441_000, {}, 451_924),
        (485_100, {}, 496_980),
        (441_000, {"variant": "v2"}, 447_146),
        (700, {"depth": 3}, 916),
        (700, {"depth": 3, "variant": "v2"}, 810),
    ],
)
def test_valid_lengths_are_the_authors(length, options, valid):
    assert sizes(**options).valid_length(length) == valid


@pytest.mark.parametrize(
    "options",
    [
        {"depth": 3},
        {"depth": 2, "context": 1},
        {"depth": 2, "kernel_size": 5, "stride": 2},
        {"depth": 2, "upsample": True},
        {"depth": 3, "upsample": True, "context": 5},
    ],
    ids=named,
)
def test_a_valid_length_leaves_nothing_over_and_is_enough(options):
    for length in [*range(1, 200), 1999]:
        over, found = lengths_inside(sizes(**options).valid_length(length), **options)
        assert over == 0
        assert found >= length


@pytest.mark.parametrize(
    ("options", "torch_count"),
    [
        ({"filters": 64}, 265_679_496),
        ({"filters": 100}, 648_548_208),
        ({"filters": 64, "lstm_layers": 0}, 89_451_144),
        ({"filters": 64, "glu": False}, 243_307_272),
        ({"filters": 64, "upsample": True}, 265_708_760),
    ],
    ids=named,
)
def test_weights_are_as_many_as_the_authors(options, torch_count):
    theirs, ours = made.counts(**options)
    assert theirs == torch_count
    # Two layers in two directions, of 4 gates each, keep one bias instead of PyTorch's two.
    deepest = 32 * options["filters"]
    assert theirs - ours == 4 * 4 * deepest * (options.get("lstm_layers") != 0)


def test_variants_have_the_sizes_of_the_papers():
    assert [demucs.VARIANTS[name].filters for name in ("v1", "v1_light", "v2")] == [100, 64, 64]
    for name in ("v1", "v1_light", "v2"):
        size = demucs.VARIANTS[name]
        assert [size.depth, size.lstm_layers, size.context] == [6, 2, 3]
        assert size.resample == size.normalize == (name == "v2")


@pytest.mark.parametrize(
    ("samples", "options"), [(1, {}), (333, {}), (334, {"resample": False})], ids=named
)
def test_the_system_centres_the_mixture_in_a_valid_length(rng, samples, options):
    size = sizes(variant="tiny", **options)
    system = of_any_length(size)
    network = system.get_layer("demucs_core")
    mixture = noise(rng, samples)
    valid = size.valid_length(samples)
    before = (valid - samples) // 2
    padded = np.pad(mixture, ((0, 0), (before, valid - samples - before), (0, 0)))
    longer = np.asarray(network(padded))
    start = (longer.shape[2] - samples) // 2
    expected = longer[:, :, start : start + samples]
    np.testing.assert_allclose(system(mixture), expected, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{}, {**FINITE, **FINITES[0]}, pytest.param({"upsample": True}, marks=pytest.mark.slow)],
    ids=named,
)
def test_a_fixed_length_gives_what_an_open_one_gives(rng, options):
    options = {"variant": "tiny", **options}
    opened, fixed = of_any_length(sizes(**options)), built(samples=277, **options)
    fixed.set_weights(opened.get_weights())
    mixture = noise(rng, 277)
    np.testing.assert_allclose(fixed(mixture), opened(mixture), atol=1e-6)
    assert fixed.output_shape == (None, 2, 277, 2)
    assert opened.output_shape == (None, 2, None, 2)


@pytest.mark.parametrize("options", FINITES, ids=named)
def test_nothing_is_heard_beyond_the_context(rng, options):
    options = {**FINITE, **options}
    reach = sizes(**options).context_samples()
    step = options.get("stride", 4) ** options.get("depth", 3)
    model = built(**options, glu=False)
    model.set_weights([np.abs(weight) + 0.01 for weight in model.get_weights()])  # no dead unit
    mixture = np.abs(noise(rng, 4 * reach + step))
    plain = np.asarray(model(mixture))
    heard = []
    for at in range(2 * reach, 2 * reach + step, max(5, step // 5)):
        changed = mixture.copy()
        changed[:, at] += 1
        found = np.flatnonzero(np.abs(np.asarray(model(changed)) - plain).max((0, 1, 3)) > 0)
        heard.append(np.abs(found - at).max())
    assert max(heard) <= reach
    assert max(heard) > 0.65 * reach  # a bound, and no empty one


@pytest.mark.parametrize("options", FINITES[:3], ids=named)
def test_the_mixture_has_silence_around_it_where_the_context_is_finite(rng, options):
    options = {**FINITE, **options}
    model = of_any_length(sizes(**options))
    # Frames of all levels must lie the same: silence comes in multiples of the whole stride.
    step = options.get("stride", 4) ** options.get("depth", 3)
    mixture = noise(rng, 501)
    found = np.asarray(model(np.pad(mixture, ((0, 0), (3 * step, 2 * step + 5), (0, 0)))))
    np.testing.assert_allclose(model(mixture), found[:, :, 3 * step : 3 * step + 501], atol=1e-6)


@pytest.mark.parametrize("options", FINITES, ids=named)
def test_blocks_that_carry_their_context_join_into_the_whole(rng, options):
    size = sizes(**{**FINITE, **options})
    whole, size = of_any_length(size), replace(size, block_seconds=0.1)
    block = demucs.build(TWO, size, **size.block())
    block.set_weights(whole.get_weights())
    system = System(
        function=lambda mixture: np.asarray(block(mixture)),
        sources=TWO,
        sample_rate=8000,
        channels=2,
        grid=size.grid(),
    )
    mixture = noise(rng, 2_003)  # three blocks
    expected = np.asarray(whole(mixture))[0]
    found = BlockSeparator(system).separate(mixture[0], 8000)
    for stem, source in zip(expected, TWO, strict=True):
        np.testing.assert_allclose(found[source], stem, atol=1e-5 * np.abs(stem).max())


def test_recordings_are_standardised_whole_where_the_authors_program_does(rng):
    size = sizes(**FINITE, standardise=True)
    assert size.standardised
    assert not replace(size, standardise=False).standardised
    whole, size = of_any_length(size), replace(size, block_seconds=0.1)
    block = demucs.build(TWO, size, **size.block())
    block.set_weights(whole.get_weights())
    system = System(
        function=lambda mixture: np.asarray(block(mixture)), sources=TWO, sample_rate=8000,
        channels=2, grid=size.grid(), standardised=size.standardised,
    )  # fmt: skip
    sound = 0.01 * noise(rng, 2_003)[0] + 0.002
    mean, deviation = sound.mean(), sound.mean(axis=1).std(ddof=1)
    expected = np.asarray(whole((sound - mean)[None] / deviation))[0] * deviation + mean
    found = BlockSeparator(system).separate(sound, 8000)
    for stem, source in zip(expected, TWO, strict=True):
        np.testing.assert_allclose(found[source], stem, atol=1e-5 * np.abs(stem).max())


@pytest.mark.parametrize("options", [{"lstm_layers": 1}, {"normalize": True}], ids=named)
def test_what_hears_everything_says_so(options):
    size = sizes(**{**FINITE, **options})
    assert size.context_samples() is None
    with pytest.raises(ValueError, match=r"padding must be 'full'.*got 'valid'") as told:
        demucs.build(TWO, size, padding="valid")
    assert size.block()["padding"] == "full"
    advised = {"lstm_layers": 0, "normalize": False, "norm_starts": None, "residual": "none"}
    assert ", ".join(f"{key}={value!r}" for key, value in advised.items()) in str(told.value)
    assert not replace(demucs.VARIANTS["v3"], padded=False, **advised).whole_signal


def test_blocks_share_a_quarter_and_halve_until_the_network_fills_them():
    small = demucs.VARIANTS["small"]
    grid = small.grid()
    assert grid.samples == 6 * 44_100
    assert grid.overlap == grid.samples // 4
    assert small.smaller() == replace(small, block_seconds=3.0)
    for options in ({"variant": "small"}, FINITE):
        size, lengths = sizes(**options, block_seconds=8.0), []
        while size := size.smaller():
            lengths.append(size.grid().samples)
        assert lengths == sorted(lengths, reverse=True)
        assert 3 < len(lengths) < 15
        assert lengths[-1] < 20_000


def test_a_normalised_network_follows_the_level_and_ignores_an_offset(rng):
    size = demucs.VARIANTS["tiny"]
    samples = size.valid_length(1)
    core = of_any_length(size).get_layer("demucs_core")
    mixture = noise(rng, samples + 64)
    found, offset = np.asarray(core(mixture)), 0.5
    np.testing.assert_allclose(core(8 * mixture), 8 * found, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(core(mixture + offset), found + offset, atol=1e-4)


def test_convolutions_start_rescaled_and_the_lstm_does_not():
    keras.utils.set_random_seed(0)
    model = demucs.core(TWO, sizes(variant="tiny", filters=24, depth=3))
    plain = demucs.core(TWO, sizes(variant="tiny", filters=24, depth=3, rescale=0))
    for ours, theirs in zip(model.layers, plain.layers, strict=True):
        if not isinstance(ours, keras.layers.Conv1D | keras.layers.Conv1DTranspose):
            continue
        before, after = np.std(theirs.kernel, ddof=1), np.std(ours.kernel, ddof=1)
        np.testing.assert_allclose(after, np.sqrt(0.1 * before), rtol=0.05)
        # PyTorch counts the second axis of its layout: inputs, or outputs if transposed.
        width, second, _ = theirs.kernel.shape
        bound = (width * second) ** -0.5
        assert 0.95 * bound < np.abs(theirs.kernel).max() <= bound
        scale = np.abs(theirs.kernel).max() / np.abs(ours.kernel).max()
        assert np.abs(ours.bias).max() <= 1.05 * np.abs(theirs.kernel).max() / scale
    for layer in (model, plain):
        bound = 96**-0.5
        kernel = np.asarray(layer.get_layer("lstm1").forward_layer.cell.kernel)
        assert 0.99 * bound < np.abs(kernel).max() <= bound


@pytest.mark.parametrize("options", [{}, pytest.param(FINITE, marks=pytest.mark.slow)], ids=named)
def test_half_precision_stays_finite_and_comes_out_in_float32(rng, options):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = built(**{"variant": "tiny", **options})
    finally:
        keras.config.set_dtype_policy("float32")
    exact = of_any_length(sizes(**{"variant": "tiny", **options}))
    model.set_weights(exact.get_weights())
    mixtures = np.concatenate([level * noise(rng, 300) for level in (0, 30)])
    found, expected = np.asarray(model(mixtures)), np.asarray(exact(mixtures))
    assert found.dtype == np.float32
    for one, whole in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, whole, atol=0.02 * np.abs(whole).max() + 1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 0}, "depth must be above 0; got 0"),
        ({"context": -1}, "context must be above 0; got -1"),
        ({"block_seconds": 0}, "block_seconds must be above 0; got 0"),
        ({"kernel_size": 3}, "at least the stride, .*got kernel_size=3, stride=4"),
        ({"padding": "same"}, "padding must be one of full, valid; got 'same'"),
        ({"sources": "vocals"}, "sources: .* not allowed as a Sequence value; got 'vocals'"),
        ({"sources": ["a", "a"]}, "sources must be a sequence of different names"),
    ],
    ids=["depth", "context", "seconds", "kernel", "padding", "string", "twice"],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("demucs", **{"sources": TWO, "variant": "tiny", **options})


def test_a_core_of_a_length_that_leaves_frames_over_is_refused():
    size = sizes(**{**SMALL, "depth": 3})
    valid = size.valid_length(500)
    assert demucs.core(TWO, size, samples=valid).input_shape == (None, valid, 2)
    for wrong in (valid + 1, 7):
        with pytest.raises(ValueError, match=f"got {wrong}$"):
            demucs.core(TWO, size, samples=wrong)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, 100),
        pytest.param({"resample": True, "depth": 2}, 1, marks=pytest.mark.slow),
        pytest.param(FINITES[1], 1000, marks=pytest.mark.slow),
    ],
    ids=named,
)
def test_a_segment_of_any_length_is_trained(rng, options, wanted):
    size = sizes(**{**(FINITE if options else {"variant": "tiny"}), **options})
    same, arguments = size.segment(wanted)
    assert same == size
    graph, domain = size.training(demucs.build(TWO, size, **arguments))
    samples = graph.input_shape[1]
    assert samples >= wanted
    assert (
        lengths_inside(
            samples * (2 if size.resample else 1), depth=size.depth, upsample=size.upsample
        )[0]
        == 0
    )
    if size.whole_signal:
        assert samples == size.valid_length(wanted)
    else:
        assert samples < max(wanted, size.valid_length(1)) + size.step
    sources = 0.3 * rng.standard_normal((2, 2, samples, 2)).astype(np.float32)
    graph.compile("adam", "mae", jit_compile=False)
    mixture, middle = sources.sum(axis=1), np.asarray(domain(sources))
    assert middle.shape == (2, *graph.output_shape[1:])
    losses = [graph.train_on_batch(mixture, middle) for _ in range(2)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_light_network_takes_a_step_of_training(rng):
    """265,646,728 weights: 3.5 GB with their gradients, under SGD, and half a minute."""
    started = time.perf_counter()
    size = demucs.VARIANTS["v1_light"]
    network = demucs.core(size=size, samples=size.valid_length(1))
    assert network.count_params() == made.counts(filters=64)[1] == 265_646_728
    network.compile(optimizer=keras.optimizers.SGD(1e-3), loss="mae", jit_compile=False)
    mixture = noise(rng, network.input_shape[1])
    target = np.zeros((1, *network.output_shape[1:]), np.float32)
    before = np.array(network.get_layer("encoder1_conv").kernel)
    losses = [network.train_on_batch(mixture, target) for _ in range(2)]
    assert np.isfinite(losses).all()
    assert np.any(before != np.asarray(network.get_layer("encoder1_conv").kernel))
    print(f"built and two steps in {time.perf_counter() - started:.0f} s")
