"""Interchangeable sources keep their order along a file and across its channels."""

import numpy as np
import pytest

from kzoo.dsp.blocks import BlockGrid
from kzoo.engines import tensorflow
from kzoo.separation import BlockSeparator, System

RATE = 8000
SHARES = (0.6, 0.3, 0.1)


class Shuffling:
    """Shares of the mixture, in an order that is drawn anew for every block."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.orders = []

    def __call__(self, block):
        order = self.rng.permutation(len(SHARES))
        self.orders.append(tuple(order))
        return np.stack([SHARES[k] * block for k in order], axis=1)


def separator(function, *, hop=300, fade=None, channels=1, interchangeable=True, overlap=0.0):
    return BlockSeparator(
        System(
            function=function, sources=("a", "b", "c"), sample_rate=RATE, channels=channels,
            grid=BlockGrid(400, hop, 0, fade), interchangeable=interchangeable,
        ),
        overlap=overlap,
    )  # fmt: skip


def shares(stems, waveform):
    """The share of each stem at each sample; one row a stem."""
    return np.stack([stem / waveform for stem in stems.values()])


@pytest.mark.parametrize("hop", [400, 300, 200])
@pytest.mark.parametrize("channels", [1, 2])
def test_sources_that_change_places_from_block_to_block_come_out_in_one_order(rng, hop, channels):
    waveform = rng.uniform(0.1, 1, (5000, channels)).astype(np.float32)
    shuffling = Shuffling()
    stems = separator(shuffling, hop=hop, channels=channels).separate(waveform, RATE)
    assert len(set(shuffling.orders)) == 6
    found = shares(stems, waveform)
    expected = np.array([SHARES[k] for k in shuffling.orders[0]])[:, None, None]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-5)


def test_without_the_word_interchangeable_the_order_is_the_models(rng):
    waveform = rng.uniform(0.1, 1, (5000, 1)).astype(np.float32)
    found = shares(separator(Shuffling(), interchangeable=False).separate(waveform, RATE), waveform)
    assert found[0].min() < 0.2 < 0.5 < found[0].max()


def test_every_channel_has_the_order_of_the_first(rng):
    waveform = rng.uniform(0.1, 1, (5000, 1)) * [1, 0.2, 0.5]
    stems = separator(Shuffling(3)).separate(waveform.astype(np.float32), RATE)
    found = shares(stems, waveform)
    np.testing.assert_allclose(found, np.broadcast_to(found[:, :1, :1], found.shape), atol=1e-5)


def test_the_order_does_not_depend_on_how_the_reader_cut_the_signal(rng):
    waveform = rng.standard_normal((6000, 2)).astype(np.float32)

    def by_content(block):  # an order that is a function of the block
        order = np.random.default_rng(abs(int(1e4 * block.sum()))).permutation(len(SHARES))
        return np.stack([SHARES[k] * block for k in order], axis=1)

    whole = separator(by_content).separate(waveform, RATE)

    def crumbs():
        at = 0
        while at < len(waveform):
            n = int(rng.integers(1, 900))
            yield waveform[at : at + n]
            at += n

    parts = [stems for _, stems in separator(by_content).stream(crumbs, RATE, 2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), np.stack(list(whole.values())))


def test_a_grid_without_overlap_gets_a_quarter_and_others_stay():
    assert separator(Shuffling(), hop=400).grid.overlap == 100
    assert separator(Shuffling(), hop=300, overlap=0.0).grid.hop == 300
    assert separator(Shuffling(), hop=400, overlap=0.1).grid.overlap == 40
    assert separator(Shuffling(), hop=400, interchangeable=False).grid.overlap == 0


def test_silence_and_joins_without_a_fade_leave_the_order_alone(rng):
    # Where a block is a context's width of nothing, what is there is not compared.
    hard = np.repeat([0.0, 1.0], 50)
    waveform = rng.uniform(0.1, 1, (2000, 1)).astype(np.float32)

    def steady(block):
        return np.stack([share * block for share in SHARES], axis=1)

    def garbled(block):
        found = steady(block)
        found[:, :, :50] = found[:, [1, 2, 0], :50]
        return found

    stems = separator(garbled, fade=hard).separate(waveform, RATE)
    found = shares(stems, waveform)[:, 50:]
    expected = np.array(SHARES)[:, None, None]
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=1e-5)
    silent = separator(steady).separate(np.zeros((2000, 1), np.float32), RATE)
    assert not np.stack(list(silent.values())).any()


@pytest.mark.parametrize("garbled", [slice(0, 30), slice(370, 400)], ids=["begins", "ends"])
def test_the_order_is_told_where_both_blocks_count(rng, garbled):
    def wrong_at_one_edge(block):  # where its own weight is small
        found = np.stack([share * block for share in SHARES], axis=1)
        found[:, :, garbled] = found[:, [1, 2, 0], garbled]
        return found

    waveform = rng.uniform(0.9, 1, (2000, 1)).astype(np.float32)
    found = shares(separator(wrong_at_one_edge).separate(waveform, RATE), waveform)
    alone = np.arange(2000) % 300 >= 100  # blocks of 400, every 300
    expected = np.broadcast_to(np.array(SHARES)[:, None, None], found[:, alone].shape)
    np.testing.assert_allclose(found[:, alone], expected, atol=1e-5)


def test_the_card_says_whether_sources_are_interchangeable(tiny_preset, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorflow, "compiled", lambda model, place: None)
    assert tensorflow.system(tiny_preset(tmp_path / "a", interchangeable=True)).interchangeable
    assert not tensorflow.system(tiny_preset(tmp_path / "b")).interchangeable
