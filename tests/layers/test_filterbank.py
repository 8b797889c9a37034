"""Learned filterbanks: whole frames, the transposed convolution, and lengths."""

import keras
import numpy as np
import pytest

from kzoo.layers.filterbank import FilterbankDecoder, FitToWaveform, FrameLevels, PadToFrames


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("length", "hop"), [(8, 4), (6, 2), (5, 2), (4, 4)])
def test_the_decoder_is_a_transposed_convolution(rng, channels, length, hop):
    decoder = FilterbankDecoder(length, hop, channels)
    weights = rng.standard_normal((2, 9, 3, 5)).astype(np.float32)  # [batch, frames, sources, ...]
    found = np.asarray(decoder(weights))
    kernel = np.asarray(decoder.kernel).reshape(5, length, channels)
    expected = np.zeros((2, 3, 8 * hop + length, channels))
    for frame in range(9):
        part = np.einsum("bsn,nlc->bslc", weights[:, frame], kernel)
        expected[:, :, frame * hop : frame * hop + length] += part
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 7, 8, 9, 12, 13, 100])
@pytest.mark.parametrize("around", [(0, 0), (12, 8)])
def test_padding_makes_whole_frames_and_loses_nothing(rng, samples, around):
    x = rng.standard_normal((2, samples, 2)).astype(np.float32)
    pad, fit = PadToFrames(8, 4, *around), FitToWaveform(around[0])
    for length in (samples, None):
        waveform = keras.Input((length, 2))
        padded = pad(waveform)
        model = keras.Model(waveform, [padded, fit(keras.ops.expand_dims(padded, 1), waveform)])
        found, back = map(np.asarray, model(x))
        assert (found.shape[1] - 8) % 4 == 0
        assert found.shape[1] >= samples + sum(around)
        assert found.shape[1] < max(8, samples + sum(around)) + 4
        assert length is None or padded.shape == (None, *found.shape[1:])
        np.testing.assert_array_equal(found[:, around[0] : around[0] + samples], x)
        assert not found[:, : around[0]].any()
        assert not found[:, around[0] + samples :].any()
        np.testing.assert_array_equal(back[:, 0], x)


def test_estimates_that_end_early_are_followed_by_silence(rng):
    estimates = rng.standard_normal((1, 2, 6, 1)).astype(np.float32)
    found = np.asarray(FitToWaveform()(estimates, np.zeros((1, 9, 1), np.float32)))
    np.testing.assert_array_equal(found[:, :, :6], estimates)
    assert found.shape == (1, 2, 9, 1)
    assert not found[:, :, 6:].any()


def test_levels_are_the_norms_of_frames(rng):
    x = rng.standard_normal((2, 21, 2)).astype(np.float32)
    found = np.asarray(FrameLevels(8, 4)(x))
    assert found.shape == (2, 4, 1)
    for frame in range(4):
        part = x[:, 4 * frame : 4 * frame + 8].reshape(2, -1)
        np.testing.assert_allclose(found[:, frame, 0], np.linalg.norm(part, axis=1), rtol=1e-6)
    np.testing.assert_allclose(FrameLevels(8, 4)(0 * x), 1e-8, rtol=1e-6)
