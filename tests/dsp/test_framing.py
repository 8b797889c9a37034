"""Frames against NumPy's sliding windows; adding them back as the transpose of cutting them."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo.dsp.framing import frame, overlap_add, pad_last

# frame_length, hop_length, samples: dividing hops, others, hops as long as a frame and longer
CUTS = [(8, 2, 40), (8, 2, 41), (8, 3, 37), (7, 7, 21), (5, 8, 50), (8, 1, 8), (9, 4, 30)]


@pytest.mark.parametrize(("frame_length", "hop_length", "samples"), CUTS)
def test_frames_are_numpys_sliding_windows(rng, frame_length, hop_length, samples):
    signal = rng.standard_normal((2, 3, samples)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(signal, frame_length, axis=-1)
    np.testing.assert_array_equal(
        frame(signal, frame_length, hop_length), windows[..., ::hop_length, :]
    )


@pytest.mark.parametrize(("frame_length", "hop_length", "samples"), CUTS)
def test_frames_are_added_where_they_were_cut(rng, frame_length, hop_length, samples):
    count = 1 + (samples - frame_length) // hop_length
    frames = rng.standard_normal((2, count, frame_length)).astype(np.float32)
    expected = np.zeros((2, (count - 1) * hop_length + frame_length))
    for m in range(count):
        expected[:, m * hop_length : m * hop_length + frame_length] += frames[:, m]
    found = np.asarray(overlap_add(frames, hop_length))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(("frame_length", "hop_length", "samples"), CUTS)
def test_adding_is_the_transpose_of_cutting(rng, frame_length, hop_length, samples):
    signal = rng.standard_normal(samples).astype(np.float32)
    frames = np.asarray(frame(signal, frame_length, hop_length), np.float64)
    others = rng.standard_normal(frames.shape).astype(np.float32)
    added = np.asarray(overlap_add(others, hop_length), np.float64)
    assert np.sum(frames * others) == pytest.approx(np.sum(signal[: len(added)] * added), rel=1e-5)


@pytest.mark.parametrize(("frame_length", "hop_length", "samples"), CUTS)
def test_a_graph_of_unknown_length_gives_the_same_frames(rng, frame_length, hop_length, samples):
    signal = rng.standard_normal((1, samples)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32)], autograph=False)
    def graph(waveform):
        frames = frame(waveform, frame_length, hop_length)
        return frames, overlap_add(frames, hop_length)

    found, added = graph(signal)
    expected = np.asarray(frame(signal, frame_length, hop_length))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(added, overlap_add(expected, hop_length))


def test_a_signal_shorter_than_a_frame_is_refused():
    with pytest.raises(ValueError, match="samples=7, frame_length=8"):
        frame(np.zeros(7, np.float32), 8, 2)


def test_zeros_go_before_and_after_the_last_axis(rng):
    signal = rng.standard_normal((2, 5)).astype(np.float32)
    np.testing.assert_array_equal(pad_last(signal, 3, 1), np.pad(signal, ((0, 0), (3, 1))))
    np.testing.assert_array_equal(pad_last(signal, 0, 0), signal)
