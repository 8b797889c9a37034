"""Grids: fades that sum to one, blocks that reach every sample, joins of one long transform."""

import numpy as np
import pytest
import scipy.signal

from kzoo.dsp.blocks import BlockGrid, sine_fade, stft_grid
from kzoo.dsp.stft import istft, stft


def joined(blocks, grid, samples):
    """`[blocks, grid.samples]` cross-faded on the grid, from sample 0 on; in plain NumPy."""
    total = np.zeros(grid.hop * len(blocks) + grid.overlap)
    for i, block in enumerate(np.asarray(blocks, np.float64)):
        weight = np.ones(grid.samples)
        weight[grid.hop :] *= 1 - grid.fade
        if i:
            weight[: grid.overlap] *= grid.fade
        total[i * grid.hop : i * grid.hop + grid.samples] += weight * block
    return total[-grid.start :][:samples]


@pytest.mark.parametrize("samples", [0, 1, 2, 7, 500])
def test_a_sine_fade_and_its_mirror_image_sum_to_one(samples):
    fade = sine_fade(samples)
    assert fade.shape == (samples,)
    np.testing.assert_allclose(fade + fade[::-1], 1, atol=1e-15)
    assert np.all(np.diff(fade) > 0)


@pytest.mark.parametrize(("samples", "hop", "start"), [(100, 100, 0), (100, 50, -30), (7, 5, -7)])
@pytest.mark.parametrize("length", [0, 1, 49, 50, 51, 1000])
def test_the_counted_blocks_reach_the_last_sample_and_one_fewer_does_not(
    samples, hop, start, length
):
    count = BlockGrid(samples=samples, hop=hop, start=start).count(length)
    # A block gives out its first hop; the rest is shared with its successor.
    assert start + count * hop >= length
    assert count == 0 or start + (count - 1) * hop < length


@pytest.mark.parametrize("fraction", [0, 0.1, 0.25, 0.5])
def test_a_wider_overlap_keeps_the_blocks_and_still_joins_without_a_trace(rng, fraction):
    grid = BlockGrid(samples=100, hop=90, start=-40).with_overlap(fraction)
    assert grid.samples == 100
    assert grid.overlap == max(10, round(100 * fraction))
    signal = rng.standard_normal(777)
    count = grid.count(777)
    padded = np.pad(signal, (-grid.start, count * grid.hop + grid.samples))
    blocks = [padded[i * grid.hop :][: grid.samples] for i in range(count)]
    np.testing.assert_allclose(joined(blocks, grid, 777), signal, atol=1e-12)


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "frames"), [(256, 64, 8), (256, 64, 5), (200, 50, 16), (128, 64, 3)]
)
def test_blocks_of_frames_join_into_the_inverse_transform_over_all_frames(
    rng, n_fft, hop_length, frames
):
    blocks = 4
    grid = stft_grid(frames, n_fft, hop_length)
    assert (grid.samples, grid.hop, grid.start) == (
        (frames - 1) * hop_length + n_fft, frames * hop_length, -n_fft,
    )  # fmt: skip
    # A spectrum that no waveform has: every block was changed on its own.
    real, imag = rng.standard_normal((2, blocks * frames, n_fft // 2 + 1)).astype(np.float32)
    whole = whole_inverse(real + 1j * imag, n_fft, hop_length)[n_fft:]
    cut = [
        istft(real[at : at + frames], imag[at : at + frames], n_fft, hop_length, padding="valid")
        for at in range(0, blocks * frames, frames)
    ]
    error = np.abs(joined(cut, grid, len(whole) - n_fft) - whole[:-n_fft])
    # A block's outermost samples, where its only window is under 1e-3, are left to its neighbour.
    window = scipy.signal.get_window("hann", n_fft)
    hidden = np.flatnonzero(window[:hop_length] < 1.3e-3)
    hidden = np.concatenate([hidden, grid.overlap - hidden])
    seams = np.arange(1, blocks) * grid.hop + grid.start
    hidden = (seams[:, None] + hidden).ravel()
    assert error[hidden].max() < 1.3e-3 * np.abs(whole).max()
    assert np.delete(error, hidden).max() < 2e-6


def whole_inverse(spectrum, n_fft, hop_length):
    """Least-squares inverse of all frames, by NumPy's inverse FFT and one window at a time."""
    window = scipy.signal.get_window("hann", n_fft)
    signal = np.zeros((len(spectrum) - 1) * hop_length + n_fft)
    gain = np.full_like(signal, 1e-12)
    for m, frame in enumerate(np.fft.irfft(spectrum, n_fft) * window):
        signal[m * hop_length : m * hop_length + n_fft] += frame
        gain[m * hop_length : m * hop_length + n_fft] += window**2
    return signal / gain


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 100, "hop": 101}, "hop=101"),
        ({"samples": 100, "hop": 49}, "samples=100, hop=49"),
        ({"samples": 100, "hop": 0}, "hop=0"),
        ({"samples": 100, "hop": 100, "start": 1}, "start=1"),
    ],
)
def test_impossible_grids_are_refused_with_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        BlockGrid(**options)


@pytest.mark.parametrize("fraction", [-0.1, 0.51])
def test_an_overlap_outside_of_half_a_block_is_refused(fraction):
    with pytest.raises(ValueError, match=f"got {fraction}"):
        BlockGrid(samples=100, hop=100).with_overlap(fraction)


def test_blocks_that_carry_their_context_need_no_overlap():
    grid = BlockGrid.with_context(32, 3, 5)
    assert (grid.samples, grid.hop, grid.start) == (40, 32, -3)
    np.testing.assert_array_equal(grid.fade, [0, 0, 0, 1, 1, 1, 1, 1])
    assert grid.with_overlap(0.5) is grid


def test_half_of_an_odd_block_may_be_shared():
    assert BlockGrid(samples=7, hop=7).with_overlap(0.5).overlap == 3


@pytest.mark.parametrize("fraction", [0.25, 0.5])
def test_wider_overlaps_keep_the_frames_of_one_long_transform(rng, fraction):
    n_fft, hop_length, frames = 256, 64, 64
    grid = stft_grid(frames, n_fft, hop_length)
    wider = grid.with_overlap(fraction)
    assert wider.hop < grid.hop
    assert wider.hop % hop_length == 0
    assert 0 <= fraction * grid.samples - wider.overlap < hop_length
    signal = rng.standard_normal(30_000)

    def gated(block):  # every frame on its own, so that blocks differ by their frames' places alone
        real, imag = stft(block.astype(np.float32), n_fft, hop_length, padding="valid")
        power = np.square(real) + np.square(imag)
        gate = power / (power + 100)
        return istft(real * gate, imag * gate, n_fft, hop_length, padding="valid")

    def through(grid):
        padded = np.pad(signal, (-grid.start, 2 * grid.samples))
        count = grid.count(len(signal))
        blocks = [gated(padded[i * grid.hop :][: grid.samples]) for i in range(count)]
        return joined(blocks, grid, len(signal))

    whole = through(grid)
    error = through(wider) - whole
    assert np.sum(error**2) < 1e-6 * np.sum(whole**2)  # off the frames it is 1e-4
