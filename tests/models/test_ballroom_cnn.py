"""Pons's filters of one shape: what each of them cannot tell apart, and the paper's counts."""

import keras
import numpy as np
import pytest

from kzoo import models

TIME = {"shapes": [[1, 6]], "pools": [[16, 1]]}
FREQUENCY = {"shapes": [[8, 1]], "pools": [[1, 24]]}
BLACK_BOX = {"shapes": [[4, 3]], "pools": [[2, 1]]}


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(("variant", "count"), [
    ("black_box", 3_275_312), ("time", 7_336), ("frequency", 3_368), ("time_frequency", 196_816),
])  # fmt: skip
def test_weights_are_as_many_as_published(variant, count):
    model = models.build("ballroom_cnn", variant=variant)
    assert model.count_params() == count
    assert model.get_layer("mel").output.shape[1:] == (80, 40, 1)
    assert model.output_shape == (None, 8)


@pytest.mark.parametrize(("options", "deaf_to"), [
    (TIME, {2}), (FREQUENCY, {1}), (BLACK_BOX, set()),
])  # fmt: skip
def test_filters_are_deaf_to_the_order_of_what_they_do_not_follow(options, deaf_to, rng):
    """Of bands for filters along time, of frames for those along frequency."""
    keras.utils.set_random_seed(0)
    model = models.build("ballroom_cnn", variant="tiny", dense=0, **options)
    inside = keras.Model(model.get_layer("mel").output, model.output)
    levels = rng.normal(1, 1, (2, *model.get_layer("mel").output.shape[1:])).astype(np.float32)
    said = np.asarray(inside(levels))
    for axis in (1, 2):
        turned = np.take(levels, rng.permutation(levels.shape[axis]), axis=axis)
        moved = np.abs(np.asarray(inside(turned)) - said).max()
        assert (moved < 1e-6) == (axis in deaf_to)


@pytest.mark.parametrize(("options", "message"), [
    ({"pools": [[2, 2]]}, "pools must be as many as shapes; got 1 and 2"),
    ({"bands": 12}, "filters of 1 bands and pools of 16 need 16; got bands=12"),
    ({"dense": -1}, "dense must not be negative; got -1"),
    ({"samples": 5000}, "samples must be 1600, a window; got 5000"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("ballroom_cnn", variant="tiny", **options)
