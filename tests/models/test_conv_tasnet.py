"""Conv-TasNet against asteroid's numbers, the published sizes, and what its options promise."""

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.convert import asteroid
from kzoo.engines import tensorflow
from kzoo.models import conv_tasnet
from kzoo.separation import BlockSeparator, System

UNTOLD = {"norm": "gln", "mask": "sigmoid", "encoder_activation": "linear"}


def sizes(**options):
    return models.sizes("conv_tasnet", **options)


def tiny(**changes):
    return sizes(variant="tiny", **changes)


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def reference_weights(recorded):
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


def roughened(model, rng):
    """Biases and slopes that are not those of a newborn network."""
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta", "gamma", "alpha")):
            weight.assign(weight + rng.uniform(0.05, 0.3, weight.shape))
    return model


def noise(rng, samples, channels=1):
    return (0.3 * rng.standard_normal((1, samples, channels))).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("convtasnet_gln_skip_sigmoid", {}),
        ("convtasnet_cln_causal_noskip_relu",
         {"norm": "cln", "mask": "relu", "encoder_activation": "relu"}),
    ],
)  # fmt: skip
def test_asteroids_network_is_reproduced(vectors, name, options):
    recorded = vectors(name)
    model = asteroid.from_weights(reference_weights(recorded), blocks=3, **{**UNTOLD, **options})
    parts = ["encoder", "masks", "estimates"]
    inside = keras.Model(model.input, [model.get_layer(part).output for part in parts])
    encoded, masks, estimates = map(np.asarray, inside(recorded["input"].swapaxes(1, 2)))
    np.testing.assert_allclose(encoded.swapaxes(1, 2), recorded["encoder_out"], atol=1e-6)
    # theirs is [batch, sources, filters, frames]
    np.testing.assert_allclose(masks.transpose(0, 2, 3, 1), recorded["mask"], atol=2e-5)
    np.testing.assert_allclose(estimates[..., 0], recorded["output"], atol=1e-5)


# filters, filter_length, bottleneck, hidden, skip, blocks, repeats: parameters in asteroid
TABLE = [
    (128, 40, 128, 256, 128, 7, 2, 1_472_157),
    (256, 40, 128, 256, 128, 7, 2, 1_532_061),
    (512, 40, 128, 256, 128, 7, 2, 1_651_869),
    (512, 40, 128, 256, 256, 7, 2, 2_243_485),
    (512, 40, 128, 512, 128, 7, 2, 3_060_381),
    (512, 40, 128, 512, 512, 7, 2, 6_211_485),
    (512, 40, 256, 256, 256, 7, 2, 3_228_445),
    (512, 40, 256, 512, 256, 7, 2, 6_013_213),
    (512, 40, 256, 512, 512, 7, 2, 8_113_949),
    (512, 40, 128, 512, 128, 6, 4, 5_075_121),
    (512, 40, 128, 512, 128, 4, 6, 5_075_121),
    (512, 40, 128, 512, 128, 8, 3, 5_075_121),
    (512, 32, 128, 512, 128, 8, 3, 5_066_929),
    (512, 16, 128, 512, 128, 8, 3, 5_050_545),
]


def parameters(size, n_sources=2):
    """The number of trained parameters by the paper's figure, without a last residual of no use."""
    bottleneck, hidden, side = size.bottleneck, size.hidden, size.skip
    bias = int(size.biases)

    def pointwise(inputs, outputs):
        return inputs * outputs + bias * outputs

    norms_and_slopes = 2 * (2 * hidden) + 2
    depthwise = size.kernel_size * hidden + bias * hidden
    block = pointwise(bottleneck, hidden) + depthwise + norms_and_slopes
    count = size.blocks * size.repeats
    residuals = count - 1 if side else count
    return (
        2 * size.channels * size.filters * size.filter_length  # there and back
        + 2 * size.filters
        + pointwise(size.filters, bottleneck)
        + count * (block + (pointwise(hidden, side) if side else 0))
        + residuals * pointwise(hidden, bottleneck)
        + int(size.mask_prelu)
        + pointwise(side or bottleneck, n_sources * size.filters)
    )


@pytest.mark.parametrize(
    ("options", "sources"),
    [
        ({}, ["a"]),
        ({"norm": "gln", "causal": True}, ["a", "b"]),
        ({"norm": "batch", "blocks": 3, "repeats": 1, "kernel_size": 5}, ["a", "b", "c"]),
        ({"norm": "cumulative", "skip": 0, "input_norm": "cln", "channels": 2}, ["a", "b"]),
        ({"skip": 0, "biases": False, "mask_prelu": False, "norm": "gln"}, ["a", "b"]),
    ],
    ids=["cln", "gln", "batch", "cumulative", "music"],
)
def test_parameters_follow_from_the_sizes(options, sources):
    size = tiny(filters=11, filter_length=7, stride=3, bottleneck=5, hidden=13, **{"skip": 3,
                **options})  # fmt: skip
    assert trainable(conv_tasnet.core(sources, size)) == parameters(size, len(sources))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "-".join(map(str, row[:-1])))
def test_parameters_are_those_of_the_papers_table(row):
    filters, filter_length, bottleneck, hidden, skip, blocks, repeats, published = row
    size = sizes(
        filters=filters,
        filter_length=filter_length,
        bottleneck=bottleneck,
        hidden=hidden,
        skip=skip,
        blocks=blocks,
        repeats=repeats,
    )
    unused = bottleneck * hidden + bottleneck  # asteroid's last residual convolution
    assert parameters(size) + unused == published


@pytest.mark.parametrize(
    ("count", "n_sources", "options"),
    [
        (5_050_545 - 65_664, 2, {}),
        (5_050_545 - 65_664, 2, {"variant": "causal"}),
        (5_050_545 - 65_664, 2, {"norm": "batch"}),
        (4_984_497 - 65_664, 1, {}),
        (5_116_593 - 65_664, 3, {}),
        (3_474_609, 2, {"skip": 0}),  # here the last residual convolution is used
        (10_977_872, 4, {"variant": "music"}),
        (8_852_032, 4, {"variant": "music", "blocks": 8}),
        (10_967_632, 4, {"variant": "music", "channels": 1}),
        (8_841_792, 4, {"variant": "music", "channels": 1, "blocks": 8}),
    ],
)
def test_parameters_of_the_other_versions_are_as_published(count, n_sources, options):
    assert parameters(sizes(**options), n_sources) == count


def test_the_small_variant_is_small():
    assert parameters(conv_tasnet.VARIANTS["small"]) < 800_000


def test_softmax_masks_share_what_the_filterbank_holds(rng):
    model = roughened(conv_tasnet.core(["a", "b", "c"], tiny(mask="softmax")), rng)
    mixture = noise(rng, 408)
    inside = keras.Model(model.input, [model.get_layer(n).output for n in ("encoder", "masks")])
    encoded, masks = map(np.asarray, inside(mixture))
    np.testing.assert_allclose(masks.sum(axis=2), 1, atol=1e-6)
    whole = encoded @ np.asarray(model.get_layer("decoder").kernel)  # [1, frames, 8]
    expected = np.zeros(408)
    for number, frame in enumerate(whole[0]):
        expected[4 * number : 4 * number + 8] += frame
    np.testing.assert_allclose(np.asarray(model(mixture))[0, ..., 0].sum(0), expected, atol=1e-5)


@pytest.mark.parametrize("norm", ["gln", "cln", "cumulative", "batch"])
def test_a_causal_network_ignores_the_future_as_far_as_its_norms_do(rng, norm):
    model = roughened(conv_tasnet.core(size=tiny(norm=norm, causal=True)), rng)
    mixture = noise(rng, 808)
    later = mixture.copy()
    later[:, 400:] = noise(rng, 408)
    same = np.asarray(model(mixture))[:, :, :392] == np.asarray(model(later))[:, :, :392]
    assert same.all() == (norm != "gln")  # up to the first frame that holds sample 400


@pytest.mark.parametrize(
    ("causal", "options"), [(False, {"skip": 0, "filter_length": 6, "stride": 2}), (True, {})]
)
def test_no_sample_hears_beyond_the_context_and_some_hear_as_far(rng, causal, options):
    size = tiny(norm="batch", causal=causal, **options)
    context = size.context_samples()
    model = roughened(conv_tasnet.build(size=size, samples=8 * context), rng)
    mixture = noise(rng, 8 * context)
    base, at, stride = np.asarray(model(mixture)), 4 * context, 4
    reached = set()
    for shift in range(stride):
        struck = mixture.copy()
        struck[:, at + shift] += 1
        changed = np.flatnonzero(np.any(np.asarray(model(struck)) != base, axis=(0, 1, 3)))
        reached |= set(changed - (at + shift))
    assert max(map(abs, reached)) <= context
    assert max(map(abs, reached)) > context - 2 * stride
    assert (min(reached) < -2 * stride) == (not causal)


def test_a_finite_context_hears_silence_around_the_signal(rng):
    size = tiny(norm="cln")
    model = roughened(conv_tasnet.build(size=size), rng)
    core, mixture = model.get_layer("conv_tasnet_core"), noise(rng, 333)
    context = size.context_samples()
    silence = ((0, 0), (20 * context, 20 * context + 3), (0, 0))
    expected = np.asarray(core(np.pad(mixture, silence)))[:, :, 20 * context :][:, :, :333]
    np.testing.assert_allclose(model(mixture), expected, atol=1e-6)


def test_the_last_frame_is_filled_up_where_the_reference_leaves_silence(rng):
    model = roughened(conv_tasnet.build(size=tiny(norm="gln")), rng)
    core, mixture = model.get_layer("conv_tasnet_core"), noise(rng, 401)
    assert not np.any(np.asarray(core(mixture))[:, :, 400:])
    found = np.asarray(model(mixture))
    expected = np.asarray(core(np.pad(mixture, ((0, 0), (0, 3), (0, 0)))))
    np.testing.assert_allclose(found, expected[:, :, :401], atol=1e-6)
    assert np.all(found[:, :, 400:])


@pytest.mark.parametrize("norm", ["gln", "cumulative"])
def test_half_precision_survives_more_loud_frames_than_it_counts(rng, norm):
    loud = np.sign(noise(rng, 4 * 66_000 + 1, 2))  # at full scale; float16 ends at 65504
    size = tiny(norm=norm, channels=2, blocks=1, repeats=1)
    exact = roughened(conv_tasnet.build(size=size), rng)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = conv_tasnet.build(size=size)
    finally:
        keras.config.set_dtype_policy(policy)
    half.set_weights(exact.get_weights())
    found, expected = np.asarray(half(loud)), np.asarray(exact(loud))
    assert found.dtype == np.float32
    assert np.sum((found - expected) ** 2) < 1e-4 * np.sum(expected**2)


@pytest.mark.parametrize(("norm", "hop"), [("gln", 1500), ("cln", 2000)])
def test_blocks_are_of_the_length_that_was_asked_for(rng, norm, hop):
    size = tiny(norm=norm, block_seconds=0.25)
    grid = size.grid()
    assert grid.hop == hop
    block = conv_tasnet.build(size=size, **size.block())
    assert block.input_shape[1] == grid.samples
    system = System(
        function=lambda x: np.asarray(block(x)),
        sources=conv_tasnet.SPEAKERS,
        sample_rate=8000,
        channels=1,
        grid=grid,
    )
    stems = BlockSeparator(system).separate(noise(rng, 9001)[0], 8000)
    assert all(len(stem) == 9001 and np.isfinite(stem).all() for stem in stems.values())
    assert sizes(block_seconds=4.0).smaller() == sizes(block_seconds=2.0)
    assert sizes(block_seconds=0.4).smaller() is None
    assert tiny().static(1000) == (tiny(), 1000)


def silence(step):
    return {f"state_{name}": array for name, array in conv_tasnet.initial_state(step).items()}


@pytest.mark.parametrize(
    "options", [{"norm": "cln", "channels": 2, "skip": 0, "stride": 3}, {"norm": "batch"}]
)
def test_a_stream_says_what_the_whole_says(rng, options):
    size = tiny(causal=True, **options)
    whole = roughened(conv_tasnet.build(size=size), rng)
    step = conv_tasnet.build_step(size=size, frames=size.live_frames)
    weights = {weight.path: weight for weight in whole.weights}
    for weight in step.weights:
        weight.assign(weights[weight.path])
    begin = tensorflow.beginnings(step, silence(step), conv_tasnet.SPEAKERS)
    mixture = noise(rng, 100 * size.live_frames * size.hop_length, size.channels)
    separate = begin()
    found = np.concatenate([separate(block) for block in np.split(mixture, 100, axis=1)], axis=2)
    expected, late = np.asarray(whole(mixture)), size.delay_samples
    np.testing.assert_allclose(found[:, :, late:], expected[:, :, :-late], atol=2e-6)
    assert np.abs(expected).max() > 0.1


def test_source_gains_are_levels_and_signs_of_the_sources(rng):
    plain, gained = (conv_tasnet.build(size=tiny(source_gains=given)) for given in (False, True))
    gained.set_weights([*plain.get_weights(), np.array([[[2.0]], [[-0.5]]], np.float32)])
    mixture = noise(rng, 400)
    expected = np.asarray(plain(mixture)) * np.array([2.0, -0.5])[:, None, None]
    np.testing.assert_allclose(gained(mixture), expected, atol=1e-6)


@pytest.mark.slow  # 80 s; shorter streams are in tests/conformance
def test_ten_minutes_of_a_stream_do_not_drift(rng):
    size = tiny(causal=True, norm="cumulative")
    whole = roughened(conv_tasnet.build(size=size), rng)
    weights = {weight.path: weight for weight in whole.weights}
    level = 10 ** rng.uniform(-3, -0.3, (1, 600, 1, 1))  # of each second
    sound = (level * rng.standard_normal((1, 600, 8000, 1))).astype(np.float32)
    said = []
    for seconds in (0.02, 4.0):
        step = conv_tasnet.build_step(size=size, frames=round(seconds * 8000 / size.hop_length))
        for weight in step.weights:
            weight.assign(weights[weight.path])
        begin = tensorflow.beginnings(step, silence(step), conv_tasnet.SPEAKERS)
        blocks, separate = np.split(sound.reshape(1, -1, 1), round(600 / seconds), axis=1), begin()
        said.append(np.concatenate([separate(block) for block in blocks], axis=2))
    for first, last in ((0, 60), (540, 600)):
        one, other = (x[:, :, 8000 * first : 8000 * last] for x in said)
        assert np.sum((one - other) ** 2) < 1e-10 * np.sum(other**2)  # 118 dB were measured


@pytest.mark.parametrize("changes", [{"causal": False}, {"norm": "gln"}, {"input_norm": "gln"}])
def test_a_network_that_hears_the_future_has_no_stream(changes):
    size = tiny(**{"causal": True, **changes})
    assert not size.streams
    with pytest.raises(ValueError, match="conv_tasnet hears what is to come with these sizes"):
        conv_tasnet.build_step(size=size)


def test_the_live_variant_is_late_by_a_block_and_the_overlap_of_frames():
    live = sizes(variant="live")
    assert (live.delay_samples, live.live_frames, live.latency_ms) == (10, 4, 6.25)
    assert not sizes(variant="small").streams


def test_blocks_that_are_all_context_are_not_halved():
    assert tiny(norm="cln", blocks=12, block_seconds=4.0).smaller() is None
    assert tiny(norm="cln", block_seconds=4.0).smaller() == tiny(norm="cln", block_seconds=2.0)


def test_a_segment_is_the_next_one_of_whole_frames():
    for samples, expected in ((1, 8), (8, 8), (9, 12), (997, 1000), (1000, 1000)):
        assert tiny().segment(samples) == (tiny(), {"samples": expected, "padding": "valid"})


def test_an_option_of_none_is_not_the_variants():
    assert sizes(variant="music").input_norm == "cln"
    assert sizes(variant="music", input_norm=None).input_norm is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"norm": "layer"},
            "norm must be one of gln, cln, cumulative, batch; got 'layer'",
        ),
        ({"mask": "tanh"}, "mask must be one of sigmoid, relu, softmax; got 'tanh'"),
        (
            {"encoder_activation": "elu"},
            "encoder_activation must be one of linear, relu; got 'elu'",
        ),
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"stride": 9}, "stride must be from 1 to filter_length"),
        ({"sources": ["vocals", "vocals"]}, "sources must be a sequence of different names"),
        ({"padding": "same"}, "padding must be one of full, valid; got 'same'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        models.build("conv_tasnet", variant="tiny", **options)


def test_a_single_name_is_no_sequence_of_sources():
    with pytest.raises(ValueError, match="sources must be a sequence of different names"):
        conv_tasnet.build("vocals", tiny())
