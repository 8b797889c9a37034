"""Components of a spectrogram: learned from a recording, grouped to sources, made into masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kzoo.classical.base import learning_system, package
from kzoo.classical.masks import ideal_masks
from kzoo.classical.spectra import Transform
from kzoo.separation import System

_COEFFICIENTS = slice(1, 14)  # the first is loudness
# A group's components, and the part `[frames, bins]` of frames that each of several explains.
Modelled = Callable[[np.ndarray, Sequence[Any]], Sequence[np.ndarray]]


def transform_at(sample_rate: int) -> Transform:
    """That of the methods with components: 93 ms, with 75 % overlap."""
    return Transform.lasting(0.093, sample_rate)


def frames_in(seconds: float, sample_rate: int) -> int:
    """The number of frames of `transform_at` in `seconds`."""
    return max(1, round(seconds * sample_rate / transform_at(sample_rate).hop_length))


def component_system(
    sources: Sequence[str],
    sample_rate: int,
    channels: int,
    *,
    learn: Callable[[np.ndarray], Sequence[Any]],
    modelled: Modelled,
    learned_seconds: float,
) -> System:
    """What learns a group of components for each source, and shares each bin by what they explain.

    learn: the magnitudes of frames `[frames, bins]`, spread over all of a recording, to groups.
    Channels have frames of their own. The sources sum to the recording.
    """
    transform = transform_at(sample_rate)
    grid = transform.block_grid(10.0, sample_rate)

    def rows(waveform: np.ndarray) -> np.ndarray:
        return audible_frames(transform.new(transform.forward(waveform), grid))

    def separate(waveform: np.ndarray, groups: Sequence[Any]) -> np.ndarray:
        spectra = transform.forward(waveform)
        frames = np.moveaxis(np.abs(spectra), 1, 2)  # [channels, frames, bins]
        parts = np.stack(modelled(frames.reshape(-1, frames.shape[2]), groups))
        parts = np.moveaxis(parts.reshape(-1, *frames.shape), 3, 2)
        return transform.inverse(ideal_masks("irm", parts) * spectra, len(waveform))

    return learning_system(
        sources,
        sample_rate,
        channels,
        grid,
        rows=rows,
        most=frames_in(learned_seconds, sample_rate),
        learn=learn,
        separate=separate,
    )


def audible_frames(spectra: np.ndarray) -> np.ndarray:
    """`[channels, bins, frames]` to the magnitudes of those that are not silent, `[n, bins]`."""
    frames = np.moveaxis(np.abs(spectra), 1, 2).reshape(-1, spectra.shape[1])
    return frames[frames.any(axis=1)]


def grouped(
    spectra: np.ndarray, n_sources: int, sample_rate: int, *, seed: int = 0
) -> list[np.ndarray]:
    """Magnitude spectra `[components, bins]` to the indices of each of `n_sources` groups.

    K-means over their mel-frequency cepstral coefficients 1 to 13 (librosa, scikit-learn), as
    Spiertz and Gnann, 2009, do it. Raises ValueError for fewer components than groups.
    """
    if len(spectra) < n_sources:
        raise ValueError(f"{len(spectra)} components cannot be grouped to {n_sources} sources")
    if len(spectra) == n_sources:
        return list(np.arange(n_sources)[:, None])
    librosa = package("librosa", "grouping components")
    cluster = package("sklearn.cluster", "grouping components")
    n_fft = 2 * (spectra.shape[1] - 1)
    mel = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=40)
    # Only a component's shape counts: each to the same level.
    power = (spectra / np.maximum(spectra.max(axis=1, keepdims=True), 1e-30)) ** 2 @ mel.T
    cepstra = librosa.feature.mfcc(S=librosa.power_to_db(power.T), n_mfcc=_COEFFICIENTS.stop)
    means = cluster.KMeans(n_sources, n_init=10, random_state=seed)
    labels = means.fit_predict(cepstra[_COEFFICIENTS].T)
    return [np.flatnonzero(labels == k) for k in range(n_sources)]


def loudest_first(groups: Sequence[Any], parts: Sequence[np.ndarray]) -> list[Any]:
    """`groups` in the order of the energies of what each explains, `parts`."""
    energies = [float(np.sum(part**2)) for part in parts]
    return [groups[k] for k in np.argsort(energies)[::-1]]
