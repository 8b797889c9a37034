"""The harmonic CNN: what the reference gives, counts of weights, and lengths."""

import functools

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.convert import sota_tagging as conversion


@functools.cache
def tiny(**options):
    """The tiny model, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("harmonic_cnn", variant="tiny", **options)


def test_the_references_weights_give_what_it_gives(vectors):
    recorded = vectors("tag_harmonic_cnn")
    weights = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    filters = [3, 3, 3, 3, 6, 6, 6]
    model = conversion.from_weights(weights, models.sizes("harmonic_cnn", filters=filters, dense=6))
    first = np.float32(recorded["audio_int16"] / 32768)
    both = np.stack([first, 0.5 * np.roll(first, 5000)])[..., None]
    names = ("bands", "pool1", "pool7", "embedding", "logits", "labels")
    parts = [model.get_layer(name).output for name in names]
    bands, pool1, pool7, hidden, logits, said = keras.Model(model.inputs[0], parts)(both)
    np.testing.assert_allclose(
        np.transpose(bands[0, :8], (2, 1, 0)), recorded["db_first8"], atol=1e-2
    )
    pooled = np.transpose(pool1[0, :4], (2, 1, 0))  # [filters, bands, frames]
    np.testing.assert_allclose(pooled, recorded["layer1_first4"], atol=2e-3)
    np.testing.assert_allclose(pool7[0, 0, 0], recorded["layer7"][:, 0, 0], atol=1e-3)
    np.testing.assert_allclose(hidden, recorded["penultimate"], atol=1e-3)
    np.testing.assert_allclose(logits, recorded["logits"], atol=1e-3)
    np.testing.assert_allclose(said, recorded["output"], atol=1e-4)


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(("variant", "count"), [
    ("mtat", 3_631_551), ("dcase", 3_623_070), ("keyword", 3_627_696),
])  # fmt: skip
def test_weights_are_as_many_as_published(variant, count):
    model = models.build("harmonic_cnn", variant=variant)
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == count


@pytest.mark.usefixtures("unfilled")
def test_an_image_becomes_one_place_as_in_the_reference():
    model = models.build("harmonic_cnn", samples=80_000)
    shapes = [model.get_layer("bands").output.shape[1:3]]
    shapes += [model.get_layer(f"pool{k}").output.shape[1:3] for k in range(1, 8)]
    assert shapes == [
        (313, 128), (156, 64), (78, 32), (39, 16), (19, 8), (9, 4), (3, 2), (1, 1),
    ]  # fmt: skip


def test_centres_are_learned_where_asked():
    moving = tiny(learn_centres=True)
    assert len(moving.trainable_weights) == len(tiny().trainable_weights) + 1
    assert moving.get_layer("bands").shift.shape == (71,)


def test_a_window_of_any_length_is_heard_and_a_shorter_one_refused(rng):
    sound = rng.normal(0, 0.1, (2, 3000, 1)).astype(np.float32)
    np.testing.assert_allclose(tiny(samples=3000)(sound), tiny()(sound), atol=1e-6)
    with pytest.raises(ValueError, match="samples must be 960 at least, as the pools need"):
        models.build("harmonic_cnn", variant="tiny", samples=900)


@pytest.mark.parametrize(("options", "message"), [
    ({"filters": [4]}, "pools must be as many as filters; got 2 and 1"),
    ({"harmonics": 60}, "pools of 16 bands in all need as many; .*harmonics=60"),
    ({"per_semitone": 0}, "per_semitone must be above 0; got 0"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("harmonic_cnn", variant="tiny", **options)
