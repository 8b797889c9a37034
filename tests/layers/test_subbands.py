"""ERB bands, grouped GRUs and the small layers between them, against plain NumPy and Keras."""

import numpy as np
import pytest
from keras import layers

from kzoo.layers.erb import FromErb, ToErb, erb_filters
from kzoo.layers.grouped_gru import BothWaysGRU, GroupedGRU
from kzoo.layers.spectra import FrameWindow
from kzoo.layers.subbands import AffinePReLU, ChannelShuffle, SubbandFeatures, ZerosBetween

ERB = {"n_fft": 64, "sample_rate": 8000, "low_bins": 9, "bands": 8}


def test_triangles_share_every_bin_and_meet_at_bins():
    filters = erb_filters(512, 16000, 65, 64)
    assert filters.shape == (192, 64)
    np.testing.assert_allclose(filters.sum(axis=1), 1, atol=1e-6)
    assert (filters >= 0).all()
    np.testing.assert_array_equal(filters.max(axis=0), 1)
    assert filters[0, 0] == filters[-1, -1] == 1


def test_bins_of_constant_bands_are_constant(rng):
    low = rng.standard_normal((1, 2, 9, 3)).astype(np.float32)
    bands = np.concatenate([low, np.full((1, 2, 8, 3), 0.5, np.float32)], axis=2)
    bins = np.asarray(FromErb(**ERB)(bands))
    np.testing.assert_array_equal(bins[:, :, :9], low)
    np.testing.assert_allclose(bins[:, :, 9:], 0.5, atol=1e-6)
    sums = erb_filters(**ERB).sum(axis=0)
    back = np.asarray(ToErb(**ERB)(bins))
    np.testing.assert_allclose(back[0, 0, 9:, 0], 0.5 * sums, atol=1e-6)


def test_bands_that_share_a_bin_are_refused():
    with pytest.raises(ValueError, match="bands=30 above bin 9 with n_fft=64"):
        erb_filters(64, 8000, 9, 30)


@pytest.mark.parametrize("unroll", [False, True])
def test_groups_are_grus_of_their_own(rng, unroll):
    x = rng.standard_normal((2, 5, 6)).astype(np.float32)
    grouped = GroupedGRU(4, 2, return_sequences=True, unroll=unroll)
    grouped.build(x.shape)
    for weight in grouped.weights:
        weight.assign(rng.standard_normal(weight.shape))
    kernel, recurrent, bias = (np.asarray(w) for w in grouped.get_weights())
    expected = []
    for group in range(2):
        part = x[..., 3 * group : 3 * group + 3]
        gru = layers.GRU(2, return_sequences=True)
        gru.build(part.shape)
        gru.set_weights([kernel[group], recurrent[group], bias[:, group]])
        expected.append(gru(part))
    np.testing.assert_allclose(grouped(x), np.concatenate(expected, axis=-1), atol=1e-6)


def test_both_ways_of_a_group_stand_side_by_side(rng):
    x = rng.standard_normal((2, 5, 6)).astype(np.float32)
    both = BothWaysGRU(8, 2)
    found = np.asarray(both(x))
    kernels = both.gru.get_weights()
    for at in range(4):
        group, backwards = divmod(at, 2)
        gru = layers.GRU(2, return_sequences=True, go_backwards=bool(backwards))
        part = x[..., 3 * group : 3 * group + 3]
        gru.build(part.shape)
        gru.set_weights([kernels[0][at], kernels[1][at], kernels[2][:, at]])
        expected = np.asarray(gru(part))
        expected = expected[:, ::-1] if backwards else expected
        np.testing.assert_allclose(found[..., 2 * at : 2 * at + 2], expected, atol=1e-6)


@pytest.mark.parametrize(("features", "units"), [(6, 3), (5, 4)])
def test_what_groups_do_not_divide_is_refused(features, units):
    with pytest.raises(ValueError, match="must be a multiple of groups=2; got"):
        GroupedGRU(units, 2).build((1, 3, features))


def test_each_channel_brings_its_neighbours():
    x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 4, 2)
    found = np.asarray(SubbandFeatures()(x))[0, 0]
    np.testing.assert_array_equal(found[0], [0, 1, 3, 0, 2, 4])
    np.testing.assert_array_equal(found[2], [3, 5, 7, 4, 6, 8])
    np.testing.assert_array_equal(found[3], [5, 7, 0, 6, 8, 0])


def test_parts_of_channels_take_turns():
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 1, 6)
    np.testing.assert_array_equal(np.ravel(ChannelShuffle(2)(x)), [0, 3, 1, 4, 2, 5])
    np.testing.assert_array_equal(np.ravel(ChannelShuffle(3)(x)), [0, 2, 4, 1, 3, 5])


def test_zeros_stand_between_bands():
    x = np.arange(1, 7, dtype=np.float32).reshape(1, 1, 3, 2)
    found = np.asarray(ZerosBetween()(x))[0, 0]
    np.testing.assert_array_equal(found, [[1, 2], [0, 0], [3, 4], [0, 0], [5, 6]])


def test_slopes_are_added_to_an_affine_map():
    layer = AffinePReLU()
    layer.build((None, None, 2, 1))
    layer.set_weights([np.full((2, 1), 2.0), np.full((2, 1), 3.0), np.full((1,), 0.5)])
    x = np.asarray([[-1.0, 4.0]], np.float32).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(np.ravel(layer(x)), [-2 + 3 - 0.5, 8 + 3 + 4])


@pytest.mark.parametrize("name", ["hann", "sqrt_hann"])
def test_windows_of_analysis_and_synthesis_add_up_to_one(name):
    ones = np.ones((1, 1, 16), np.float32)
    both = np.asarray(FrameWindow(name, 16, 8)(FrameWindow(name, 16)(ones)))[0, 0]
    np.testing.assert_allclose(both[:8] + both[8:], 1, atol=1e-6)


def test_windows_that_do_not_overlap_are_refused():
    with pytest.raises(ValueError, match="windows must overlap: with hop_length=16"):
        FrameWindow("hann", 16, 16)
