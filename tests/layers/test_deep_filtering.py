"""The parts of DeepFilterNet, each against its plain definition."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.signal
import tensorflow as tf

from kzoo.layers import deep_filtering as parts


def noise(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def random_weights(layer, rng, *inputs):
    """`layer` built on `inputs`, with a kernel of random numbers; the kernel."""
    layer(*inputs)
    layer.kernel.assign(noise(rng, *layer.kernel.shape))
    return np.asarray(layer.kernel)


@pytest.mark.parametrize(
    ("frames", "known"), [(1, True), (5, False), (parts.BLOCK, False), (391, True), (391, False)]
)
def test_a_running_mean_is_the_recurrence(rng, frames, known):
    x, before = noise(rng, 2, frames, 3), noise(rng, 2, 3)
    expected = scipy.signal.lfilter([0.03], [1, -0.97], x, axis=1, zi=0.97 * before[:, None])[0]
    spec = tf.TensorSpec((2, frames if known else None, 3))
    graph = tf.function(
        lambda x: parts.running_mean(x, before, 0.97), input_signature=[spec], autograph=False
    )
    np.testing.assert_allclose(graph(x), expected, atol=1e-6)


def test_levels_are_of_mean_powers_and_gains_those_of_their_bands(rng):
    widths = (2, 3, 6)
    real, imag = noise(rng, 2, 1, 4, 11)
    power = np.split(real**2 + imag**2, np.cumsum(widths)[:-1], axis=-1)
    expected = 10 * np.log10(np.stack([band.mean(-1) for band in power], axis=-1))
    np.testing.assert_allclose(parts.BandLevels(widths)(real, imag), expected, atol=1e-4)
    zeros = np.zeros((1, 1, 11), np.float32)
    np.testing.assert_allclose(parts.BandLevels(widths)(zeros, zeros), -100, atol=1e-4)
    gains = noise(rng, 1, 4, 3)
    np.testing.assert_array_equal(
        parts.BandGains(widths, first=3)(gains), gains[..., np.repeat(range(3), widths)[3:]]
    )


def test_features_are_stationary_whatever_the_level(rng):
    """After the running means' seconds, ten times the sound is one more step of the same size."""
    real, imag = noise(rng, 2, 1, 1000, 4)
    plain, loud = (parts.RunningUnitNorm(0.99)(a * real, a * imag) for a in (1, 100))
    np.testing.assert_allclose(loud[:, -1], 10 * plain[:, -1], rtol=1e-3)
    levels = 5 * noise(rng, 1, 1500, 3)
    plain, loud = (parts.RunningMeanNorm(0.99)(levels + step) for step in (-80, 0))
    np.testing.assert_allclose(loud[:, -1], plain[:, -1], atol=1e-4)


def test_a_spectrum_comes_back_from_its_frames(rng):
    signal = noise(rng, 1, 10 * 30)
    frames = np.lib.stride_tricks.sliding_window_view(signal, 60, axis=1)[:, ::30]
    spectrum = parts.WindowedSpectrum()(np.ascontiguousarray(frames))
    windowed = np.asarray(parts.WindowedFrames(60)(*spectrum))
    found = windowed[:, 1:, :30] + windowed[:, :-1, 30:]
    np.testing.assert_allclose(found.reshape(1, -1), signal[:, 30:-30], atol=2e-6)


@pytest.mark.parametrize("frames", [1, 4, 9])
def test_a_deep_filter_is_a_sum_over_frames(rng, frames):
    before, after, bins = 3, 1, 6
    x = noise(rng, 2, frames, bins) + 1j * noise(rng, 2, frames, bins)
    taps = noise(rng, 2, frames, bins, 10)
    filters = taps[..., 0::2] + 1j * taps[..., 1::2]
    padded = np.pad(x, ((0, 0), (before, after), (0, 0)))
    expected = sum(filters[..., o] * padded[:, o : o + frames] for o in range(5))
    layer = parts.DeepFilter(before, after)
    real, imag = layer(x.real.astype("f4"), x.imag.astype("f4"), taps)
    np.testing.assert_allclose(np.stack([real, imag]), [expected.real, expected.imag], atol=1e-5)
    layer = parts.DeepFilter(before, after, surrounded=True)
    real, imag = layer(padded.real.astype("f4"), padded.imag.astype("f4"), taps)
    np.testing.assert_allclose(np.stack([real, imag]), [expected.real, expected.imag], atol=1e-5)


def test_what_is_heard_ahead_ends_in_zeros(rng):
    x = noise(rng, 1, 5, 2, 3)
    expected = np.pad(x[:, 2:], ((0, 0), (0, 2), (0, 0), (0, 0)))
    np.testing.assert_array_equal(parts.FramesAhead(2)(x), expected)
    np.testing.assert_array_equal(parts.FramesAhead(2)(x[:, :1]), 0 * x[:, :1])


def test_a_grouped_dense_layer_is_one_of_blocks(rng):
    x, layer = noise(rng, 2, 5, 12), parts.GroupedDense(6, 3)
    kernel = random_weights(layer, rng, x)
    assert kernel.shape == (3, 4, 2)
    np.testing.assert_allclose(layer(x), x @ scipy.linalg.block_diag(*kernel), atol=1e-5)
    with pytest.raises(ValueError, match="multiples of groups=5; got 12 features, 10 units"):
        parts.GroupedDense(10, 5)(x)


def test_a_grouped_convolution_is_one_of_parts_whole_and_block_by_block(rng):
    x, layer = noise(rng, 2, 6, 3, 8), parts.GroupedFrameConv(4, 3, groups=2)
    kernel = random_weights(layer, rng, x)
    padded = np.pad(x, ((0, 0), (2, 0), (0, 0), (0, 0)))
    expected = np.concatenate(
        [
            sum(padded[:, k : k + 6, :, part] @ kernel[k, 0][:, out] for k in range(3))
            for part, out in ((slice(4), slice(2)), (slice(4, 8), slice(2, 4)))
        ],
        axis=-1,
    )
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)
    sums = np.zeros((2, 2 * 3 * 4), np.float32)
    for block in (slice(0, 1), slice(1, 2), slice(2, 6)):
        found, sums = layer(x[:, block], before=sums)
        np.testing.assert_allclose(found, expected[:, block], atol=1e-5)


def test_bins_are_halved_by_three_taps_on_the_even_ones_and_doubled_by_the_transpose(rng):
    x, y = noise(rng, 2, 3, 8, 5), noise(rng, 2, 3, 4, 5)
    halve, double = parts.HalveBins(), parts.DoubleBins()
    kernel = random_weights(halve, rng, x)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0)))
    expected = sum(kernel[k] * padded[:, :, k : k + 8 : 2][:, :, :4] for k in range(3))
    halved = np.asarray(halve(x))
    np.testing.assert_allclose(halved, expected, atol=1e-5)
    random_weights(double, rng, y)
    double.kernel.assign(kernel)
    np.testing.assert_allclose(np.sum(halved * y), np.sum(x * double(y)), rtol=1e-4)


def test_a_post_filter_leaves_what_was_not_attenuated():
    noisy = np.ones((1, 1, 5), np.float32)
    clean = np.array([[[1, 0.5, 0.1, 0.001, 0.1]]], np.float32)
    real, imag = parts.PostFilter(0.02)(clean, 0 * clean, noisy, 0 * noisy)
    expected = 1.02 * clean / (1 + 0.02 / np.sin(np.pi / 2 * clean) ** 2)
    np.testing.assert_allclose(real, expected, rtol=1e-5)
    np.testing.assert_array_equal(imag, 0)
    kept, _ = parts.PostFilter(0.02, last=False)(clean, 0 * clean, noisy, 0 * noisy)
    np.testing.assert_allclose(kept[..., -1], clean[..., -1])
    np.testing.assert_allclose(kept[..., :-1], expected[..., :-1], rtol=1e-5)


def test_a_graph_of_both_can_be_drawn_beside_an_output(rng):
    x = keras.Input((3,))
    y = parts.Beside(name="beside")(x, keras.layers.Dense(2, name="other")(x))
    model = keras.Model(x, y)
    assert len(model.weights) == 2
    both = keras.Model(x, [model.output, model.get_layer("other").output])
    signal = noise(rng, 4, 3)
    np.testing.assert_array_equal(both(signal)[0], signal)
    assert both(signal)[1].shape == (4, 2)
