"""Musicnn and its VGG baseline: what the package says, what the torch reference says, and sizes."""

import dataclasses
import functools

import keras
import made_checkpoints
import made_musicnn
import numpy as np
import pytest

from kzoo import models, presets
from kzoo.convert import musicnn as musicnn_weights
from kzoo.convert import sota_tagging
from kzoo.convert import vgg as vgg_weights
from kzoo.dsp.mel import CONVENTIONS, log_mel

PRESETS = ("musicnn_mtt", "musicnn_msd", "vgg_mtt", "vgg_msd")
FETCHED = {name: presets.weights_path(name) for name in PRESETS}
FRAMES, HOP = 187, 256
SMALL = {
    "musicnn": {"timbral_filters": 4, "temporal_filters": 2, "middle_filters": 3, "dense": 6},
    "vgg": {"filters": [3] * 5},
}
CONVERTERS = {"musicnn": musicnn_weights, "vgg": vgg_weights}


@functools.cache
def small(name):
    """(checkpoint's weights, levels of two windows, what the package's steps make of them)."""
    levels = np.random.default_rng(1).normal(1, 1, (2, FRAMES, 96)).astype(np.float32)
    graph = made_musicnn.Graph()
    getattr(made_musicnn, name)(levels, graph)
    again = made_musicnn.Graph(graph.made)
    return graph.made, levels, getattr(made_musicnn, name)(levels, again)


def sizes(name):
    return models.sizes(name, names=["low", "high"], **SMALL[name])


@pytest.mark.parametrize("name", ["musicnn", "vgg"])
def test_a_checkpoint_gives_what_the_packages_steps_give(name, tmp_path):
    weights, levels, expected = small(name)
    folder = made_checkpoints.write_checkpoint(tmp_path, weights, "")
    assert sorted(p.name for p in folder.iterdir())[:2] == [".data-00000-of-00001", ".index"]
    core = CONVERTERS[name].from_weights(CONVERTERS[name].read(folder), sizes(name))
    np.testing.assert_allclose(core(levels[..., None]), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["musicnn", "vgg"])
def test_weights_that_do_not_fit_are_named(name):
    weights = dict(small(name)[0])
    weights["dense_7/bias"] = weights.pop("dense/bias")
    weights["batch_normalization/gamma"] = np.zeros(2)
    with pytest.raises(
        ValueError,
        match=r"missing: dense/bias; unused: dense_7/bias; "
        r"wrong shape: batch_normalization/gamma is \(2,\), not \(1,\)",
    ):
        CONVERTERS[name].from_weights(weights, sizes(name))


@pytest.mark.parametrize("name", PRESETS)
def test_the_released_weights_give_the_published_tags(name, vectors):
    if FETCHED[name] is None:
        pytest.skip(f"kzoo presets download {name}")
    reference = vectors("musicnn")
    network, corpus = name.split("_")
    theirs = f"{corpus.upper()}_{network}"
    preset = presets.open_preset(FETCHED[name].parent)
    assert preset.sizes()[0].names == tuple(reference[f"{theirs}/tags"])
    model = preset.model(samples=(FRAMES - 1) * HOP + 512)
    waveform = np.pad(np.float32(reference["audio_int16"] / 32768), HOP)
    starts = (0, FRAMES * HOP)
    windows = np.stack([waveform[k : k + model.input_shape[1]] for k in starts])[..., None]
    # The package's levels are in half precision.
    np.testing.assert_allclose(model(windows), reference[f"{theirs}/probabilities"], atol=3e-4)


def test_levels_are_the_packages_where_half_precision_reaches_them(vectors):
    reference = vectors("musicnn")
    waveform = np.pad(np.float32(reference["audio_int16"] / 32768), HOP)[None]
    options = {"sample_rate": 16000, "n_fft": 512, "hop_length": HOP, "bands": 96}
    levels = np.asarray(log_mel(waveform, **options, **CONVENTIONS["musicnn"]))[0]
    np.testing.assert_allclose(levels, reference["log_mel_f16"][: len(levels)], atol=2.5e-3)
    np.testing.assert_allclose(levels[:20], reference["log_mel_f32_first20"], atol=2e-5)
    loud = np.asarray(log_mel(8 * waveform, **options, **CONVENTIONS["musicnn"]))
    assert np.isfinite(loud).all()
    assert loud.max() > np.log10(65504)  # where half precision ends


WIDTHS = {"timbral_filters": 6, "temporal_filters": 3, "middle_filters": 5, "dense": 8}


@pytest.mark.parametrize(("network", "widths", "tolerance"), [
    ("musicnn", WIDTHS, 2e-4),
    # Its triangles are float32: of the highest band, 69 dB down, the level differs by 0.01 dB.
    ("short", {"filters": (3, 3, 6, 6, 6, 6, 12), "dense": 12}, 5e-4),
])  # fmt: skip
def test_the_torch_references_output_is_reproduced(network, widths, tolerance, vectors):
    reference = vectors({"short": "tag_shortchunk"}.get(network, f"tag_{network}"))
    weights = {k.removeprefix("param/"): v for k, v in reference.items() if k.startswith("param/")}
    size = dataclasses.replace(sota_tagging.SIZES[network], **widths)
    model = sota_tagging.from_weights(weights, size)
    np.testing.assert_allclose(model(both(reference)), reference["output"], atol=tolerance)


def both(reference):
    first = np.float32(reference["audio_int16"] / 32768)
    return np.stack([first, 0.5 * np.roll(first, 5000)])[..., None]


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(("name", "variant", "trained", "statistics"), [
    ("musicnn", "mtt", 787_159, 4_920), ("musicnn", "torch", 784_300, 1_908),
    ("vgg", "mtt", 605_748, 1_282), ("vgg", "short_chunk", 3_687_348, 4_610),
])  # fmt: skip
def test_weights_are_as_many_as_published(name, variant, trained, statistics):
    model = models.build(name, variant=variant)
    counts = [
        sum(int(np.prod(weight.shape)) for weight in weights)
        for weights in (model.trainable_weights, model.non_trainable_weights)
    ]
    assert counts == [trained, statistics]


def test_the_large_network_of_the_million_song_dataset_has_its_widths(unfilled):
    model = models.build("musicnn", variant="msd_large")
    assert model.get_layer("found").output.shape[-1] == 561 + 3 * 512
    assert model.get_layer("embedding").output.shape[-1] == 500


def test_windows_of_any_length_are_heard_and_flat_ones_of_their_own(rng):
    keras.utils.set_random_seed(0)
    sound = rng.normal(0, 0.1, (2, 5000, 1)).astype(np.float32)
    model = models.build("musicnn", variant="tiny")
    fixed = models.build("musicnn", variant="tiny", samples=5000)
    fixed.set_weights(model.get_weights())
    np.testing.assert_allclose(fixed(sound), model(sound), atol=1e-6)
    with pytest.raises(ValueError, match=r"samples must be 4000, a window; got 5000"):
        models.build("vgg", variant="tiny", samples=5000)
    with pytest.raises(ValueError, match=r"samples must be 704, as the pools need; got 100"):
        models.build("vgg", variant="tiny", flat=False, samples=100)


@pytest.mark.parametrize(("name", "options", "message"), [
    ("musicnn", {"timbral_bands": [20]}, "timbral_bands must be one or more of at most 16 bands"),
    ("musicnn", {"timbral_frames": 4}, "timbral_frames must be odd; got 4"),
    ("vgg", {"bands": 3}, "pools leave nothing of fewer than 7 bands; got bands=3"),
    ("vgg", {"filters": [4]}, "pools and strides must be as many as filters; got 2, 2 and 1"),
    ("vgg", {"dense": -1}, "dense must not be negative; got -1"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.build(name, variant="tiny", **options)
