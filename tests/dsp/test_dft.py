"""The transform by matrix products against NumPy's."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo.dsp.dft import factors, irdft, rdft


def test_960_is_30_times_32():
    assert factors(960) == (30, 32)
    assert factors(31) == (1, 31)
    with pytest.raises(ValueError, match="length of 1 or more; got 0"):
        factors(0)


@pytest.mark.parametrize("length", [1, 2, 6, 15, 31, 160, 512, 960])
def test_it_is_the_transform_of_numpy_and_comes_back(rng, length):
    signal = rng.standard_normal((2, 3, length)).astype(np.float32)
    expected = np.fft.rfft(signal)
    real, imag = rdft(signal)
    close = 1e-6 * np.abs(expected).max() * np.sqrt(length)
    np.testing.assert_allclose(np.asarray(real) + 1j * np.asarray(imag), expected, atol=close)
    np.testing.assert_allclose(irdft(real, imag, length), signal, atol=3e-6)


@pytest.mark.parametrize("length", [15, 160])
def test_the_inverse_of_any_numbers_is_that_of_numpy(rng, length):
    """Imaginary parts where no real signal has them count for nothing."""
    real, imag = rng.standard_normal((2, 4, length // 2 + 1)).astype(np.float32)
    expected = np.fft.irfft(real + 1j * imag, length)
    np.testing.assert_allclose(irdft(real, imag, length), expected, atol=1e-6)


def test_frames_of_unknown_number_are_transformed(rng):
    frames = rng.standard_normal((2, 5, 96)).astype(np.float32)
    spec = tf.TensorSpec((None, None, 96))
    graph = tf.function(rdft, input_signature=[spec], autograph=False)
    np.testing.assert_allclose(graph(frames)[1], np.fft.rfft(frames).imag, atol=2e-5)
