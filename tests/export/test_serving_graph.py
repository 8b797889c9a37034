"""A served graph does to a batch of recordings what a Separator does to each of them."""

import made_serving
import numpy as np
import pytest
import tensorflow as tf
from made_serving import HALVES, RATE

from export import serving_graph
from kzoo.dsp.blocks import BlockGrid, stft_grid
from kzoo.separation import BlockSeparator


def halves_swapped(block, where):
    """The positive and the negative part, in an order that changes from block to block."""
    parts = where.stack([where.maximum(block, 0.0), where.minimum(block, 0.0)], axis=1)
    swap = np.sum(np.asarray(block), axis=(1, 2)) > 0 if where is np else None
    if where is np:
        return np.where(swap[:, None, None, None], parts[:, ::-1], parts)
    swap = tf.reduce_sum(block, axis=[1, 2]) > 0
    return tf.where(swap[:, None, None, None], parts[:, ::-1], parts)


def streamed():
    """(ServedBlocks, System) that add the last sample of the block before, 7 samples late."""
    grid = BlockGrid(50, 50, context=True)

    def step(block, states):
        estimate = tf.stack([block + states["state_last"], block], axis=1)
        return tf.roll(estimate, 7, axis=2), {"state_last": block[:, -1:]}

    def begin():
        last = [np.zeros((1, 1, 2), np.float32)]

        def function(block):
            estimate = np.stack([block + last[0], block], axis=1)
            last[0] = block[:, -1:]
            return np.roll(estimate, 7, axis=2)

        return function

    silence = {"state_last": np.zeros((1, 1, 2), np.float32)}
    blocks = made_serving.served(grid, step=step, silence=silence, delay=7)
    return blocks, made_serving.system(grid, function=None, begin=begin, delay=7)


def at_level(blocks, system, level_db=-26.0):
    from dataclasses import replace

    from kzoo.separation import at_level

    return replace(blocks, level_db=level_db), at_level(system, level_db)


def speakers():
    blocks = made_serving.served(
        step=lambda block, states: (halves_swapped(block, tf), states), interchangeable=True
    )
    own = made_serving.system(function=lambda x: halves_swapped(x, np), interchangeable=True)
    return blocks, own


def plain(grid):
    return made_serving.served(grid), made_serving.system(grid)


CASES = {
    "fades": lambda: plain(HALVES),
    "no overlap": lambda: plain(BlockGrid(64, 64)),
    "context": lambda: plain(BlockGrid.with_context(40, 9, 15)),
    "stft": lambda: plain(stft_grid(6, 32, 8)),
    "level": lambda: at_level(*plain(BlockGrid(120, 100))),
    "stream": streamed,
    "joined": made_serving.joined,
    "level of a stream": lambda: at_level(*streamed()),
    "speakers": speakers,
}


@pytest.mark.parametrize("case", CASES)
def test_a_batch_is_separated_as_kzoo_separates_each_recording(case, rng):
    blocks, system = CASES[case]()
    separate = tf.function(
        lambda x: serving_graph.separate(blocks, x), autograph=False,
        input_signature=[tf.TensorSpec((None, None, 2))],
    )  # fmt: skip
    for batch, samples in ((3, 500), (1, 1), (2, 48), (1, 64)):
        waveform = (0.1 * rng.standard_normal((batch, samples, 2))).astype(np.float32)
        waveform[0, samples // 3 : samples // 2] = 0
        waveform[-1] *= 0.01
        stems = separate(tf.constant(waveform))
        for recording, *found in zip(waveform, *stems, strict=True):
            expected = BlockSeparator(system).separate(recording, RATE)
            for own, stem in zip(expected.values(), found, strict=True):
                np.testing.assert_allclose(stem, own, rtol=2e-5, atol=1e-7)


def test_recordings_that_a_server_has_filled_up_are_standardised_and_centred_by_themselves(rng):
    blocks, system = made_serving.joined()
    waveform = (0.3 + 0.1 * rng.standard_normal((3, 250, 2))).astype(np.float32)
    lengths = [250, 100, 1]
    stems = serving_graph.separate(blocks, tf.constant(waveform), tf.constant(lengths))
    for recording, samples, *found in zip(waveform, lengths, *stems, strict=True):
        expected = BlockSeparator(system).separate(recording[:samples], RATE)
        for own, stem in zip(expected.values(), found, strict=True):
            np.testing.assert_allclose(stem[:samples], own, rtol=2e-5, atol=1e-7)


def test_silence_stays_silent_where_recordings_are_levelled():
    blocks, _ = CASES["level"]()
    quiet = tf.zeros((1, 300, 2))
    assert not np.any(serving_graph.separate(blocks, quiet))


def test_sixteen_bits_are_rounded_and_clipped(rng):
    blocks = made_serving.served(
        step=lambda block, states: (tf.stack([block * 1.5, block], axis=1), states)
    )
    waveform = rng.integers(-32768, 32768, (1, 200, 2), dtype=np.int16)
    louder, same = serving_graph.separate(blocks, tf.constant(waveform))
    np.testing.assert_array_equal(same, waveform)
    expected = np.clip(np.rint(1.5 * waveform.astype(np.float64)), -32768, 32767)
    assert np.max(np.abs(louder.numpy() - expected)) <= 1
