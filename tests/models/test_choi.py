"""Choi's taggers: the published outputs of two, and their counts of weights."""

import dataclasses
import functools

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.convert import choi as conversion
from kzoo.convert import sota_tagging

WEIGHTS = "data/weights/choi_crnn/music_tagger_crnn_weights_tensorflow.h5"


@functools.cache
def tiny(**options):
    """The tiny model, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("choi", variant="tiny", **options)


def test_the_released_weights_give_the_published_tags(vectors, shared):
    reference = vectors("choi_crnn")
    model = conversion.from_weights(conversion.read(shared / WEIGHTS))
    waveform = np.float32(reference["audio_int16"] / 32768)[None, :, None]
    np.testing.assert_allclose(model(waveform)[0], reference["probabilities"], atol=1e-6)
    levels = np.float32(reference["log_mel_f16"]).T[None, ..., None]
    inner = [model.get_layer(name).output for name in ("pool1", "pool4", "embedding")]
    pool1, pool4, gru = keras.Model(model.get_layer("levels").output, inner)(levels)
    np.testing.assert_allclose(gru[0], reference["gru2"], atol=1e-5)
    first = np.transpose(pool1[0, :5], (2, 1, 0))  # [filters, bands, frames]
    np.testing.assert_allclose(first, reference["pool1_first5"], rtol=1e-4, atol=1e-3)
    last = np.transpose(pool4[0], (2, 1, 0))
    np.testing.assert_allclose(last, reference["pool4"], rtol=1e-4, atol=1e-3)
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 396_786


def test_weights_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"missing: .*conv1_W"):
        conversion.from_weights({"conv1_b": np.zeros(64)})
    (tmp_path / "page.h5").write_text("<html>")
    with pytest.raises(ValueError, match=r"page\.h5: is no HDF5 file"):
        conversion.read(tmp_path / "page.h5")


@pytest.mark.parametrize(("network", "widths", "times"), [
    ("fcn", {"filters": (4, 6, 6, 6, 5)}, 7), ("crnn", {"filters": (4, 6, 6, 7), "gru": 5}, 3),
])  # fmt: skip
def test_the_torch_references_output_is_reproduced(network, widths, times, vectors):
    reference = vectors(f"tag_{network}")
    weights = {k.removeprefix("param/"): v for k, v in reference.items() if k.startswith("param/")}
    size = dataclasses.replace(sota_tagging.SIZES[network], **widths)
    model = sota_tagging.from_weights(weights, size)
    first = np.tile(np.float32(reference["audio_int16"] / 32768), times)
    both = np.stack([first, 0.5 * np.roll(first, 5000)])[..., None]
    np.testing.assert_allclose(model(both), reference["output"], atol=1e-4)


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(("variant", "norms", "count"), [
    ("fcn4", True, 17_359_282), ("fcn5", False, 447_732), ("crnn_torch", False, 394_100),
])  # fmt: skip
def test_weights_are_as_many_as_published(variant, norms, count):
    model = models.build("choi", variant=variant)
    left_out = [
        weight
        for layer in model.layers
        if norms and isinstance(layer, keras.layers.BatchNormalization)
        for weight in layer.trainable_weights
    ]
    numbers = [sum(int(np.prod(w.shape)) for w in ws) for ws in (model.trainable_weights, left_out)]
    assert numbers[0] - numbers[1] == count


def test_each_paper_depth_leaves_one_number_a_filter(unfilled):
    for variant in ("fcn3", "fcn4"):
        size = models.sizes("choi", variant=variant)
        model = models.build("choi", size, samples=size.whole(None))
        last = model.get_layer(f"pool{len(size.filters)}")
        assert last.output.shape[1:] == (1, 1, 2048)


def test_a_window_of_any_length_is_heard_and_a_recurrent_one_of_its_own(rng):
    fixed = tiny(samples=4000)
    sound = rng.normal(0, 0.1, (2, 4000, 1)).astype(np.float32)
    np.testing.assert_allclose(fixed(sound), tiny()(sound), atol=1e-6)
    with pytest.raises(ValueError, match=r"samples must be 960, as the pools need; got 100"):
        models.build("choi", variant="tiny", samples=100)
    with pytest.raises(ValueError, match=r"samples must be 349440, a window; got 8000"):
        models.build("choi", variant="crnn", samples=8000)


@pytest.mark.parametrize(("options", "message"), [
    ({"names": ["a", "a"]}, "names must be different"),
    ({"bands": 8}, "pools of 16 bands in all need as many; got bands=8"),
    ({"filters": [4]}, "pools must be as many as filters; got 2 and 1"),
    ({"gru": -1}, "gru and pad_frames must not be negative"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("choi", variant="tiny", **options)
