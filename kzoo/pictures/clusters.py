"""The clusters by which a recording was separated: embeddings in two dimensions, and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kzoo.pictures.images import figure

if TYPE_CHECKING:
    from kzoo.separation.clusters import Clusters

_POINTS = 4000  # of the scatter
_RANGE_DB = 60.0
_COLOURS = ("#e6704b", "#4b9be6", "#5ec45e", "#c46bd9", "#d9b93f", "#4fc9c0")


def draw_clusters(clusters: Clusters, sources: Sequence[str], sample_rate: int, path: Path) -> None:
    """Draw the embeddings' first two principal components beside the masks, in the same colours.

    The masks are of the frames that were clustered, brighter where the recording is louder; bins
    that were too faint to be clustered are in the masks alone.
    Raises ValueError without matplotlib.
    """
    colours = np.array([_rgb(_COLOURS[k % len(_COLOURS)]) for k in range(len(sources))])
    made = figure(11, 4.6)
    left, right = made.subplots(1, 2, width_ratios=(1, 1.7))
    points, labels = clusters.embeddings[clusters.active], clusters.labels[clusters.active]
    axes, shares = _principal(points)
    some = np.random.default_rng(0).permutation(len(points))[:_POINTS]
    mean = points.mean(axis=0)
    left.scatter(*((points[some] - mean) @ axes.T).T, s=3, c=colours[labels[some]], linewidths=0)
    for source, centre, colour in zip(sources, clusters.centres, colours, strict=True):
        at = (centre - mean) @ axes.T
        left.scatter(*at, s=90, marker="X", color=colour, edgecolors="black", label=source)
    left.legend(loc="best", fontsize=8)
    left.set_xlabel(f"first component ({shares[0]:.0%} of the variance)")
    left.set_ylabel(f"second component ({shares[1]:.0%})")
    left.set_title("embeddings", loc="left", fontsize=10)

    level_db = 20 * np.log10(clusters.magnitudes / clusters.magnitudes.max())
    brightness = np.clip(1 + level_db / _RANGE_DB, 0, 1) ** 0.7
    image = colours[clusters.labels] * brightness[..., None]  # [frames, bins, 3]
    extent = (0, len(image), 0, sample_rate / 2000)
    right.imshow(image.swapaxes(0, 1), origin="lower", aspect="auto", extent=extent)
    right.set_xlabel("frames that were clustered")
    right.set_ylabel("kHz")
    right.set_title("masks", loc="left", fontsize=10)
    made.savefig(path, dpi=100, format="png")


def _principal(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(The two directions of most variance `[2, embedding]`, the share of each)."""
    values, vectors = np.linalg.eigh(np.cov(points.T))
    return vectors[:, [-1, -2]].T, values[[-1, -2]] / max(values.sum(), 1e-30)


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
