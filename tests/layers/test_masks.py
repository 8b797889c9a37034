"""Segments that join again, masks that share everything, names that travel with a model."""

import keras
import numpy as np
import pytest

from kzoo.layers.masks import (
    Estimates,
    ExtendMasks,
    JoinSegments,
    RatioMasks,
    Segments,
    source_names,
)


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 16, 21])
def test_segments_are_consecutive_frames_and_zeros_after_the_last(rng, frames):
    spectrum = rng.standard_normal((2, frames, 3, 2)).astype(np.float32)
    found = np.asarray(Segments(8)(spectrum))
    count = -(-frames // 8)
    padded = np.pad(spectrum, ((0, 0), (0, 8 * count - frames), (0, 0), (0, 0)))
    expected = [padded[b, 8 * i : 8 * i + 8] for b in range(2) for i in range(count)]
    np.testing.assert_array_equal(found, np.stack(expected))


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 21])
def test_joined_segments_are_the_spectrum_of_each_source(rng, frames):
    spectrum = rng.standard_normal((2, frames, 3, 2)).astype(np.float32)
    segments = np.asarray(Segments(8)(spectrum))
    stems = np.stack([segments, -2 * segments], axis=1)  # [batch * segments, sources, ...]
    joined = JoinSegments()(stems, spectrum)
    np.testing.assert_array_equal(joined, np.stack([spectrum, -2 * spectrum], axis=1))


@pytest.mark.parametrize("exponent", [2.0, 1.0, 1.5])
def test_ratio_masks_are_each_sources_share_of_the_power(rng, exponent):
    estimates = rng.uniform(0, 3, (2, 3, 5, 7, 2)).astype(np.float32)
    power = estimates.astype(np.float64) ** exponent
    expected = (power + 1e-10 / 3) / (power.sum(axis=1, keepdims=True) + 1e-10)
    found = RatioMasks(exponent)(estimates)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-6, 1.0, 1e6])
def test_ratio_masks_sum_to_one_at_every_level(rng, level):
    estimates = (level * rng.uniform(0, 1, (1, 4, 5, 7, 2))).astype(np.float32)
    np.testing.assert_allclose(np.sum(RatioMasks()(estimates), axis=1), 1, atol=1e-6)


def test_where_nothing_is_claimed_all_share_equally():
    np.testing.assert_allclose(RatioMasks()(np.zeros((1, 5, 2, 3, 1), np.float32)), 0.2, rtol=1e-6)


def test_masks_end_where_the_band_ends(rng):
    masks = rng.uniform(0, 1, (1, 2, 4, 6, 2)).astype(np.float32)
    found = np.asarray(ExtendMasks(9)(masks))
    np.testing.assert_array_equal(found[..., :6, :], masks)
    np.testing.assert_array_equal(found[..., 6:, :], np.zeros((1, 2, 4, 3, 2)))


def test_an_average_mask_goes_on_above_the_band_and_still_shares_everything(rng):
    masks = rng.uniform(0, 1, (1, 2, 4, 6, 2)).astype(np.float32)
    masks /= masks.sum(axis=1, keepdims=True)
    found = np.asarray(ExtendMasks(9, "average")(masks))
    np.testing.assert_array_equal(found[..., :6, :], masks)
    for i in range(6, 9):
        np.testing.assert_allclose(found[..., i, :], masks.mean(axis=-2), rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("mode", ["zeros", "average"])
def test_masks_on_all_bins_stay_as_they_are(rng, mode):
    masks = rng.uniform(0, 1, (1, 2, 4, 6, 2)).astype(np.float32)
    np.testing.assert_array_equal(ExtendMasks(6, mode)(masks), masks)


def test_an_unknown_extension_is_refused_with_the_value():
    with pytest.raises(ValueError, match="zeros, average; got 'mean'"):
        ExtendMasks(9, "mean")


def test_options_and_names_survive_a_file(rng, tmp_path):
    spectrum = keras.Input((None, 6, 2))
    masks = RatioMasks(exponent=1.5, eps=1e-3)(Segments(8)(spectrum)[:, None] ** 2)
    joined = JoinSegments()(ExtendMasks(9, "average")(masks), spectrum)
    keras.Model(spectrum, Estimates(("hum", "hiss"))(joined)).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert source_names(loaded) == ("hum", "hiss")
    options = [layer.get_config() for layer in loaded.layers]
    for name, value in {
        "segment_frames": 8, "exponent": 1.5, "eps": 1e-3, "bins": 9, "mode": "average",
    }.items():  # fmt: skip
        assert [config[name] for config in options if name in config] == [value]
    found = loaded.predict_on_batch(rng.standard_normal((1, 11, 6, 2)).astype(np.float32))
    assert found.shape == (1, 1, 11, 9, 2)


def test_a_model_that_names_no_sources_says_how_to():
    waveform = keras.Input((10, 1))
    with pytest.raises(ValueError, match=r"'quiet' names no sources.*Estimates"):
        source_names(keras.Model(waveform, 0 * waveform, name="quiet"))
