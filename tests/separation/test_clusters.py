"""Clusters of a whole recording: found once, in bounded memory, in one order, or refused."""

import sys

import numpy as np
import pytest

from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import BlockSeparator, System
from kzoo.separation import clusters as module
from kzoo.separation.clusters import clustered, clusters_survey

RATE, HOP, BINS = 8000, 100, 4
DIRECTIONS = np.eye(3, dtype=np.float32)


def frames_of(block):
    """Embeddings by which of three levels a hop is at, in all of its bins, and magnitudes."""
    levels = np.abs(block[0, :, 0]).reshape(-1, HOP).max(axis=1)  # [frames]
    nearest = np.searchsorted([0.15, 0.4], levels)
    embeddings = np.repeat(DIRECTIONS[nearest][:, None], BINS, axis=1)
    return embeddings[None], np.repeat(levels[:, None], BINS, axis=1)[None].astype(np.float32)


def recording(rng, seconds, levels=(0.1, 0.3, 0.8)):
    """One level a hop, drawn by chance, `[samples, 1]`."""
    drawn = rng.choice(levels, size=seconds * RATE // HOP)
    return np.repeat(drawn, HOP)[:, None].astype(np.float32)


def separator(sources=3):
    """Gives each hop to the centre that is nearest to its embedding."""

    def function(block, state):
        if state is None or state.model is None:
            return np.zeros((1, sources, *block.shape[1:]), np.float32)
        embeddings, _ = frames_of(block)
        nearest = (embeddings[0, :, 0] @ state.model.centres.T).argmax(axis=1)
        chosen = np.repeat(nearest, HOP)[:, None] == np.arange(sources)[:, None, None]
        return (chosen * block[0])[None]

    grid = BlockGrid(40 * HOP, 30 * HOP, step=HOP)
    return BlockSeparator(
        System(
            function=function, sources=[f"speaker{k}" for k in range(sources)], sample_rate=RATE,
            channels=1, grid=grid, survey=clusters_survey(sources, 30, frames_of),
            joint_survey=True,
        )
    )  # fmt: skip


def test_a_source_stays_one_stem_over_a_long_recording_the_loudest_first(rng, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BINS", 1000)  # of 3200 * 4
    sound = recording(rng, 40)
    states = []
    found = [part for _, part in separator().stream(
        lambda: np.split(sound, 8), RATE, 1, samples=len(sound), surveyed=states.extend
    )]  # fmt: skip
    stems = np.concatenate(found, axis=1)
    for stem, level in zip(stems, (0.8, 0.3, 0.1), strict=True):
        np.testing.assert_allclose(stem, np.where(np.isclose(sound, level), sound, 0))
    (state,) = states
    assert len(state.rows) <= 1000 // BINS
    np.testing.assert_allclose(state.model.centres, DIRECTIONS[::-1], atol=1e-5)
    assert len(np.unique(state.model.labels)) == 3


def test_channels_are_clustered_together(rng):
    left, right = recording(rng, 2, (0.1, 0.8)), recording(rng, 2, (0.3, 0.8))
    stems = separator().separate(np.hstack([left, right]), RATE)
    np.testing.assert_allclose(stems["speaker0"], np.hstack([left, right]) * (
        np.hstack([left, right]) > 0.5
    ))  # fmt: skip
    assert not stems["speaker1"][:, 0].any()
    assert not stems["speaker2"][:, 1].any()


def test_silence_and_a_single_sample_of_it_are_silent_stems():
    for samples in (1, 12345):
        stems = separator().separate(np.zeros((samples, 1), np.float32), RATE)
        assert all(stem.shape == (samples, 1) and not stem.any() for stem in stems.values())


def test_more_sources_than_embeddings_differ_are_refused_in_words(rng):
    with pytest.raises(ValueError, match="its embeddings tell 2 sources apart, and 3 are asked"):
        separator().separate(recording(rng, 1, (0.3, 0.8)), RATE)
    with pytest.raises(ValueError, match="tell 1 source apart, and 3 are asked for"):
        separator().separate(np.full((HOP, 1), 0.8, np.float32), RATE)


def test_bins_far_below_the_loudest_make_no_cluster(rng):
    frames = np.zeros((50, BINS, 4), np.float32)
    frames[:25, :, 0] = frames[25:, :, 1] = 1
    frames[..., 3] = 1
    frames[::2, 0] = [0, 0, 1, 0.009]  # 41 dB below
    found = clustered(frames, 2)
    np.testing.assert_allclose(np.abs(found.centres[:, 2]), 0, atol=1e-7)
    assert found.active.sum() == 50 * BINS - 25
    with pytest.raises(ValueError, match="tell 2 sources apart"):
        clustered(frames, 3)


def test_without_scikit_learn_the_way_to_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(ImportError, match="pip install 'kzoo"):
        clustered(np.ones((2, BINS, 4), np.float32), 2)
