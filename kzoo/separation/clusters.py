"""Clusters of the embeddings of a whole recording: one centre a source, found once.

Frames are kept evenly over all of the recording, in bounded memory, and k-means is run on their
active bins; so one source has one centre from the first block to the last, and blocks need no
order. Nothing is approximated until a recording has more frames than are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kzoo.separation.surveys import Learned

ACTIVE_DB = 40.0  # bins further below the loudest of the recording tell nothing of sources
_MOST_BINS = 1 << 17  # of all frames that are kept
_SILENCE = 1e-9  # magnitude; a transform of zeros has 1e-10 in float32
_SAME = 1e-6  # squared distance of two points that are one
_STARTS, _SEED = 10, 0


@dataclass(frozen=True)
class Clusters:
    """What k-means found in the frames that were kept, the loudest cluster first.

    centres: `[sources, embedding]`. embeddings: `[frames, bins, embedding]`, magnitudes and labels,
    the number of the nearest centre: `[frames, bins]`. active: the bins that were clustered.
    """

    centres: np.ndarray
    embeddings: np.ndarray
    magnitudes: np.ndarray
    labels: np.ndarray
    active: np.ndarray


def clusters_survey(
    sources: int, hop_frames: int, embed: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> Callable[[Learned | None, np.ndarray], Learned]:
    """`System.survey` that learns the `Clusters` of a recording.

    embed: a block `[1, samples, channels]` to embeddings `[1, frames, bins, embedding]` and
        magnitudes `[1, frames, bins]`. hop_frames: of a block, those that the next does not repeat.
    The model of what it returns is None where all was silent, and raises ValueError for fewer
    distinct embeddings than `sources`.
    """

    def survey(state: Learned | None, block: np.ndarray) -> Learned:
        embeddings, magnitudes = (array[0, :hop_frames] for array in embed(block))
        if state is None:
            bins = magnitudes.shape[1]
            state = Learned(max(1, _MOST_BINS // bins), lambda rows: clustered(rows, sources))
        rows = np.concatenate([embeddings, magnitudes[..., None]], axis=-1)
        state.add(rows[magnitudes.max(axis=1) > _SILENCE])
        return state

    return survey


def clustered(frames: np.ndarray, sources: int) -> Clusters:
    """K-means of frames `[frames, bins, embedding + 1]`, embeddings with their magnitudes behind.

    Raises ValueError for fewer distinct embeddings than sources, ImportError without scikit-learn.
    """
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise ImportError(
            "clusters need scikit-learn: pip install 'kzoo[librosa]' brings it along"
        ) from None
    embeddings, magnitudes = frames[..., :-1], frames[..., -1]
    active = magnitudes > magnitudes.max() * 10 ** (-ACTIVE_DB / 20)
    points = embeddings[active]  # [points, embedding]
    distinct = _distinct(points, sources)
    if distinct < sources:
        raise ValueError(
            f"its embeddings tell {distinct} source{'s' * (distinct > 1)} apart, and {sources} are "
            "asked for: it is too short, or too much alike"
        )
    means = KMeans(sources, n_init=_STARTS, random_state=_SEED)
    # By magnitude: on held-out voices 0.3 dB of SI-SDR better than with equal weights.
    found = means.fit(points, sample_weight=magnitudes[active])
    power = np.bincount(found.labels_, np.square(magnitudes[active]), minlength=sources)
    centres = found.cluster_centers_[np.argsort(-power, kind="stable")]
    nearness = 2 * embeddings @ centres.T - np.square(centres).sum(axis=1)
    return Clusters(centres, embeddings, magnitudes, nearness.argmax(axis=-1), active)


def _distinct(points: np.ndarray, most: int) -> int:
    """How many of `points` differ, counted up to `most`: each is the furthest from all before."""
    nearest = np.full(len(points), np.inf)
    for count in range(most):
        if nearest.max(initial=0) <= _SAME:
            return count
        one = points[nearest.argmax()]
        nearest = np.minimum(nearest, np.square(points - one).sum(axis=1))
    return most
