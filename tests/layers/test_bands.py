"""Bands of bins: fine below, an octave in half as many above."""

import numpy as np
import pytest

from kzoo.layers.bands import FromBands, ToBands, band_count


def test_bands_are_means_of_their_bins_and_bins_are_as_their_bands(rng):
    bins = rng.standard_normal((2, 3, 32, 2)).astype(np.float32)
    bands = np.asarray(ToBands(8)(bins))
    assert bands.shape == (2, 3, band_count(32, 8), 2) == (2, 3, 16, 2)
    np.testing.assert_array_equal(bands[:, :, :8], bins[:, :, :8])
    np.testing.assert_allclose(bands[:, :, 8], bins[:, :, 8:10].mean(axis=2), atol=1e-6)
    np.testing.assert_allclose(bands[:, :, 11], bins[:, :, 14:16].mean(axis=2), atol=1e-6)
    np.testing.assert_allclose(bands[:, :, 15], bins[:, :, 28:32].mean(axis=2), atol=1e-6)
    back = np.asarray(FromBands(32, 8)(bands))
    np.testing.assert_array_equal(back[:, :, 14], bands[:, :, 11])
    np.testing.assert_allclose(np.asarray(ToBands(8)(back)), bands, atol=1e-6)


def test_the_lowest_bins_alone_are_no_bands(rng):
    bins = rng.standard_normal((1, 2, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(ToBands(8)(bins)), bins)


@pytest.mark.parametrize(("bins", "linear_bins"), [(24, 16), (32, 0), (32, 64), (28, 7)])
def test_bins_that_make_no_octaves_are_refused(bins, linear_bins):
    with pytest.raises(ValueError, match=f"bins={bins}, linear_bins={linear_bins}"):
        band_count(bins, linear_bins)
