"""NMF: a spectrogram as the sum of a few spectra that come and go.

Multiplicative updates of Lee and Seung, 2001, https://papers.nips.cc/paper/1861, and for the
Itakura-Saito divergence of Févotte, Bertin and Durrieu, 2009,
https://doi.org/10.1162/neco.2008.04-08-771, by scikit-learn. Blind, the spectra are grouped to
sources by how they sound (Spiertz and Gnann, 2009, as nussl's NMFMFCC). With solo recordings those
of each source are learned first, and a mixture is written as a sum of them (Smaragdis, Raj and
Shashanka, 2007, https://doi.org/10.1007/978-3-540-74494-8_52).
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kzoo import audio
from kzoo.classical.base import BlindMethod, package
from kzoo.classical.components import (
    audible_frames,
    component_system,
    frames_in,
    grouped,
    loudest_first,
    transform_at,
)
from kzoo.separation import System
from kzoo.separation.surveys import Survey

# scikit-learn's name, and the power of a magnitude that it is of: Itakura-Saito's models powers.
DIVERGENCES = {
    "euclidean": ("frobenius", 1),
    "kullback_leibler": ("kullback-leibler", 1),
    "itakura_saito": ("itakura-saito", 2),
}
_PIECE_SAMPLES = 1 << 20  # so long that its edges count nothing
_LEAST = 1e-7  # of the mean; Itakura-Saito's divergence of silence is infinite


@dataclass(frozen=True, kw_only=True)
class Nmf(BlindMethod):
    """NMF of the mixture, or with templates of every source learned from solo recordings.

    components: spectra in all, or with templates of each source.
    divergence: "euclidean", "kullback_leibler" or "itakura_saito".
    templates: folder of solo recordings, FOLDER/<source>.wav or FOLDER/<track>/<source>.wav (any
        readable format); all of one name are one source. n_sources is then their number.
    iterations: of learning and of every block.
    learned_seconds: of a recording, or of each source's solos, spread evenly over all of it.
    seed: of the first guess.
    """

    summary: ClassVar[str] = "spectra that come and go; with --templates those of solo recordings"

    components: int = 32
    divergence: str = "kullback_leibler"
    templates: str | None = None
    iterations: int = 50
    learned_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            raise ValueError(
                f"divergence must be one of {', '.join(DIVERGENCES)}; got {self.divergence!r}"
            )
        least = 1 if self.templates else self.n_sources
        if self.components < least:
            raise ValueError(f"components must be at least {least}; got {self.components}")
        if self.templates and self.n_sources not in (2, len(self.sources)):
            raise ValueError(
                f"n_sources follows from templates, which have {len(self.sources)}; got "
                f"{self.n_sources}: leave it out"
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """Those of the templates, or numbered ones; they sum to the recording."""
        return tuple(solos(self.templates)) if self.templates else super().sources

    def identity(self) -> dict[str, Any]:
        """The bytes of the solo recordings."""
        if not self.templates:
            return {}
        digest = hashlib.sha256()
        for paths in solos(self.templates).values():
            for path in paths:
                digest.update(path.read_bytes())
        return {"templates_sha256": digest.hexdigest()}

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`; ImportError without scikit-learn and librosa."""
        package("sklearn.decomposition", "nmf")
        power = DIVERGENCES[self.divergence][1]

        def learn(frames: np.ndarray) -> list[np.ndarray]:
            if self.templates:
                times = tuple(
                    p.stat().st_mtime_ns for s in solos(self.templates).values() for p in s
                )
                return _templates(self, sample_rate, times)
            weights, spectra = factorised(frames**power, self)
            groups = grouped(spectra ** (1 / power), self.n_sources, sample_rate, seed=self.seed)
            parts = [weights[:, members] @ spectra[members] for members in groups]
            return loudest_first([spectra[members] for members in groups], parts)

        def modelled(frames: np.ndarray, groups: Sequence[np.ndarray]) -> list[np.ndarray]:
            return explained(frames**power, groups, self)

        return component_system(
            self.sources,
            sample_rate,
            channels,
            learn=learn,
            modelled=modelled,
            learned_seconds=self.learned_seconds,
        )


def explained(frames: np.ndarray, groups: Sequence[np.ndarray], options: Nmf) -> list[np.ndarray]:
    """The part of `frames`, `[frames, bins]`, that is written by each group of fixed spectra."""
    weights, spectra = factorised(frames, options, spectra=np.concatenate(groups))
    ends = np.cumsum([len(group) for group in groups])[:-1]
    parts = zip(np.split(weights, ends, axis=1), np.split(spectra, ends), strict=True)
    return [part @ group for part, group in parts]


def factorised(
    frames: np.ndarray,
    options: Nmf,
    *,
    spectra: np.ndarray | None = None,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative `[frames, bins]` to weights `[frames, components]` and the spectra they take.

    spectra: `[components, bins]` that stay as they are; by default `options.components` are
    learned. start: weights and spectra to begin with, by default random ones. The divergence does
    not grow from one iteration to the next.
    """
    decomposition = package("sklearn.decomposition", "nmf")
    level = frames.mean() or 1.0  # scikit-learn's smallest number is 1e-7, however faint the sound
    scaled = frames / level
    if options.divergence == "itakura_saito":
        scaled = np.maximum(scaled, _LEAST)
    given = {"n_components": options.components, "init": "random"}
    if spectra is not None:
        given = {"H": spectra.astype(scaled.dtype), "update_H": False}
    elif start is not None:
        given = {"W": start[0] / level, "H": start[1].copy(), "init": "custom"}
    weights, spectra, _ = decomposition.non_negative_factorization(
        scaled, solver="mu", beta_loss=DIVERGENCES[options.divergence][0], tol=0,
        max_iter=options.iterations, random_state=options.seed, **given,
    )  # fmt: skip
    return weights * level, spectra


@functools.lru_cache(maxsize=4)
def _templates(options: Nmf, sample_rate: int, times: tuple[int, ...]) -> list[np.ndarray]:
    return learned_templates(options, sample_rate)  # once for many recordings


def learned_templates(options: Nmf, sample_rate: int) -> list[np.ndarray]:
    """The spectra of each source of `options.templates`, `[components, bins]`, of norm 1.

    Solos at another rate are resampled. Raises ValueError for a source whose solos are silent.
    """
    transform = transform_at(sample_rate)
    power = DIVERGENCES[options.divergence][1]
    groups = []
    for source, paths in solos(options.templates).items():
        survey = Survey(frames_in(options.learned_seconds, sample_rate))
        for path in paths:
            for piece in _pieces(path, sample_rate):
                survey.add(audible_frames(transform.forward(piece)))
        frames = survey.rows
        if not len(frames):
            raise ValueError(f"{options.templates}: the solos of {source} are silent")
        _, spectra = factorised(frames**power, options)
        groups.append(spectra / np.maximum(np.linalg.norm(spectra, axis=1, keepdims=True), 1e-30))
    return groups


def _pieces(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    with audio.AudioReader(path, block_samples=_PIECE_SAMPLES) as reader:
        resampler = audio.StreamResampler(reader.sample_rate, sample_rate, 1)
        for block in reader.blocks():
            yield resampler.push(block.mean(axis=1, keepdims=True))
        yield resampler.flush()


def solos(folder: str) -> dict[str, list[Path]]:
    """{source: its solo recordings}, mixtures left out; ValueError where two are not named."""
    if not Path(folder).is_dir():
        raise ValueError(f"{folder}: is no folder of solo recordings")
    recordings: dict[str, list[Path]] = {}
    found = os.walk(folder, followlinks=True)
    for path in sorted(Path(place, name) for place, _, names in found for name in names):
        if path.suffix.lower() in audio.READABLE and path.stem != "mixture":
            recordings.setdefault(path.stem, []).append(path)
    if len(recordings) < 2:
        raise ValueError(
            f"{folder}: holds solo recordings of {', '.join(recordings) or 'nothing'}; templates "
            "take two sources or more, as <source>.wav or <track>/<source>.wav"
        )
    return dict(sorted(recordings.items()))
