"""REPET-SIM: what is there in similar moments too is the accompaniment, the rest are the vocals.

Rafii and Pardo, 2012, https://doi.org/10.5281/zenodo.1417685. Two forms are in use: nussl's, which
is the paper's and the default here, and the recipe of librosa's gallery ("Vocal separation"), which
takes more neighbours and two masks with margins, between which something gets lost.

Similarity is between all pairs of frames, so a block bounds it: moments up to `block_seconds`
apart are compared, and the memory in use is that of a block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kzoo.classical.base import Method, package
from kzoo.classical.repet import SOURCES, block_system, soft_mask, two_masks
from kzoo.classical.spectra import Transform
from kzoo.separation import System


@dataclass(frozen=True, kw_only=True)
class RepetSim(Method):
    """REPET-SIM as its authors and nussl have it.

    similar_frames: with which a frame is compared, at most.
    distance_seconds: between any two of them, at least.
    threshold: of their similarity, of which 1 is a row's highest and 0 its lowest.
    block_seconds: heard at a time; with them memory and time grow squared. Blocks share a quarter.
    high_pass_hz: all below goes to the accompaniment.
    """

    summary: ClassVar[str] = "vocals over a background that comes again at any time"

    similar_frames: int = 100
    distance_seconds: float = 1.0
    threshold: float = 0.0
    block_seconds: float = 60.0
    high_pass_hz: float = 100.0

    @property
    def sources(self) -> tuple[str, ...]:
        """Vocals and accompaniment, which sum to the recording."""
        return SOURCES

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`."""
        transform = Transform.lasting(0.04, sample_rate, hops=2, window="sine")
        distance = self.distance_seconds * sample_rate / transform.hop_length

        def masks(magnitude: np.ndarray) -> np.ndarray:
            similar = similar_frames(
                similarity(magnitude), self.similar_frames, distance, threshold=self.threshold
            )
            background = background_mask(magnitude, similar)
            return two_masks(background, transform, sample_rate, self.high_pass_hz)

        return block_system(masks, transform, sample_rate, channels, self.block_seconds)


@dataclass(frozen=True, kw_only=True)
class RepetSimLibrosa(Method):
    """REPET-SIM as librosa's gallery has it; it needs librosa.

    distance_seconds: between a frame and those it is compared with, at least.
    vocals_margin, accompaniment_margin: how much louder each must be than the other.
    block_seconds: as of `RepetSim`.
    """

    summary: ClassVar[str] = "the same, by the recipe of librosa's gallery"

    distance_seconds: float = 2.0
    vocals_margin: float = 10.0
    accompaniment_margin: float = 2.0
    block_seconds: float = 60.0

    @property
    def sources(self) -> tuple[str, ...]:
        """Vocals and accompaniment; with margins above 1 they do not sum to the recording."""
        return SOURCES

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`; ImportError without librosa."""
        package("librosa", "repet_sim_librosa")
        transform = Transform.lasting(0.093, sample_rate, hops=4)
        width = int(self.distance_seconds * sample_rate / transform.hop_length)

        def masks(magnitude: np.ndarray) -> np.ndarray:
            return margin_masks(
                neighbours_median(magnitude, width),
                magnitude,
                vocals_margin=self.vocals_margin,
                accompaniment_margin=self.accompaniment_margin,
            )

        return block_system(masks, transform, sample_rate, channels, self.block_seconds)


def similarity(magnitude: np.ndarray) -> np.ndarray:
    """`[channels, bins, frames]` to the cosines between frames, `[frames, frames]`; silence has 0.

    Channels are averaged first.
    """
    mean = magnitude.mean(axis=0)
    length = np.linalg.norm(mean, axis=0)
    unit = mean / np.where(length > 0, length, 1)
    return unit.T @ unit


def similar_frames(
    similarity: np.ndarray, most: int, distance: float, *, threshold: float = 0.0
) -> np.ndarray:
    """The frames most similar to each, without itself: `[frames, n]`, n < `most`, -1 behind them.

    distance: the frames within so many of one that is taken are not taken, whole numbers or not.
    threshold: of a row's similarity, brought to the range from 0 to 1.
    """
    frames = len(similarity)
    rows = np.array(similarity)
    rows -= rows.min(axis=1, keepdims=True)
    highest = rows.max(axis=1, keepdims=True)
    rows /= np.where(highest > 0, highest, 1)
    rows[rows < threshold] = 0
    taken = []
    for _ in range(most):
        best = rows.argmax(axis=1)
        audible = rows[np.arange(frames), best] > 0
        if not audible.any():
            break
        taken.append(np.where(audible, best, -1))
        first = np.maximum(0, best - distance).astype(int)
        end = np.minimum(frames, best + distance + 1).astype(int)
        for row, begin, stop in zip(rows, first, end, strict=True):
            row[begin:stop] = 0
    # The first of all is the frame itself.
    return np.stack(taken[1:], axis=1) if len(taken) > 1 else np.full((frames, 0), -1)


def background_mask(magnitude: np.ndarray, similar: np.ndarray) -> np.ndarray:
    """Soft mask, shaped as `magnitude` `[channels, bins, frames]`, of what similar frames share.

    similar: of `similar_frames`. A frame without any is all background.
    """
    frames = np.ascontiguousarray(np.moveaxis(magnitude, -1, 0))
    model = frames.copy()
    for frame, others in enumerate(similar):
        others = others[others >= 0]
        if len(others):
            model[frame] = np.median(frames[others], axis=0)
    return soft_mask(np.moveaxis(model, 0, -1), magnitude)


def neighbours_median(magnitude: np.ndarray, width: int) -> np.ndarray:
    """The median over the frames nearest to each, shaped as `magnitude` `[channels, bins, frames]`.

    width: frames that are too near to be compared with; fewer in a recording that is too short for
    it, and one of less than five frames is its own median. Channels are compared by their mean.
    """
    librosa = package("librosa", "repet_sim_librosa")
    width = min(width, (magnitude.shape[2] - 1) // 2 - 1)
    if width < 1:
        return magnitude
    neighbours = librosa.segment.recurrence_matrix(
        magnitude.mean(axis=0), metric="cosine", width=width, sparse=True
    )
    medians = [
        librosa.decompose.nn_filter(channel, rec=neighbours, aggregate=np.median)
        for channel in magnitude
    ]
    return np.stack(medians)


def margin_masks(
    model: np.ndarray, magnitude: np.ndarray, *, vocals_margin: float, accompaniment_margin: float
) -> np.ndarray:
    """Masks of `SOURCES`, `[2, channels, bins, frames]`, of a background `model` of `magnitude`."""
    librosa = package("librosa", "repet_sim_librosa")
    model = np.minimum(magnitude, model)
    rest = magnitude - model
    return np.stack(
        [
            librosa.util.softmask(rest, vocals_margin * model, power=2),
            librosa.util.softmask(model, accompaniment_margin * rest, power=2),
        ]
    )
