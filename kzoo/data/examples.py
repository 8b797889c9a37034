"""Examples as a pure function of a seed and a number, whatever thread asks for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from kzoo.data.corpus import Corpus

Example = dict[str, np.ndarray]
Step = Callable[[Example, np.random.Generator, "Examples"], Example]  # see `kzoo.data.steps`


class Examples:
    """Random segments of a corpus, without end: `example(index)` is the same each time.

    samples: length of a segment. steps: of `kzoo.data.steps`, applied in their order; after them
    the mixture is the sum of the sources again. What a recorded mixture holds beside its sources,
    such as the noise of clean speech, stays in it as it was. For a step that has a `reach` above 1,
    as it takes more sound than it gives, longer segments are drawn, `drawn_samples`, and cut after.
    Tracks are drawn in proportion to their length. tracks: numbers of those that are; None for all.
    """

    def __init__(
        self, corpus: Corpus, *, samples: int, seed: int = 0, steps: Sequence[Step] = (),
        tracks: Sequence[int] | None = None,
    ):  # fmt: skip
        self.corpus, self.samples, self.seed, self.steps = corpus, samples, seed, tuple(steps)
        reach = math.prod(getattr(step, "reach", 1.0) for step in steps)
        self.drawn_samples = math.ceil(samples * reach)
        lengths = np.array([length for _, length in corpus.tracks], float)
        if tracks is not None:
            lengths[np.setdiff1d(np.arange(len(lengths)), tracks)] = 0
        self._chances = {None: lengths / lengths.sum()}
        for source in corpus.sources:
            own = np.zeros_like(lengths)
            own[corpus.tracks_of(source)] = lengths[corpus.tracks_of(source)]
            if not own.any():
                raise ValueError(f"no track of the corpus has the source {source!r}")
            self._chances[source] = own / own.sum()

    def example(self, index: int) -> Example:
        """Draw {"mixture": `[samples, channels]`, "sources": `[sources, samples, channels]`}."""
        rng = np.random.default_rng((self.seed, index))
        example = self.draw(rng) if self.corpus.aligned else self.draw_each(rng)
        rest = None
        if self.corpus.records_mixture:
            if not self.steps:
                return example
            rest = example["mixture"] - example["sources"].sum(axis=0)
        for step in self.steps:
            example = step(example, rng, self)
        mixture = example["sources"].sum(axis=0)
        mixture = mixture if rest is None else mixture + rest
        sources = example["sources"][:, : self.samples]
        return {**example, "sources": sources, "mixture": mixture[: self.samples]}

    def draw(self, rng: np.random.Generator) -> Example:
        """A segment of one track, or a mixture of the corpus's own making."""
        if self.corpus.mixes:
            return self.corpus.mixed(rng, self.drawn_samples)
        return self.corpus.read(*self._place(rng, None), self.drawn_samples)

    def draw_each(self, rng: np.random.Generator) -> Example:
        """A segment for each source by itself."""
        sources = np.stack([self.draw_source(rng, source) for source in self.corpus.sources])
        return {"sources": sources, "mixture": sources.sum(axis=0)}

    def draw_source(self, rng: np.random.Generator, source: str) -> np.ndarray:
        """A segment of one source, `[samples, channels]`."""
        track, start = self._place(rng, source)
        return self.corpus.read_part(track, source, start, self.drawn_samples)

    def _place(self, rng, source):
        track = int(rng.choice(len(self.corpus.tracks), p=self._chances[source]))
        length = self.corpus.tracks[track][1]
        return track, int(rng.integers(0, max(length - self.drawn_samples, 0) + 1))


class Windows:
    """The tracks of a corpus from end to end in windows, for validation: no chance in it.

    Every sample is in a window (of a `hop` no longer than `samples`, as it is by default): the last
    one of a track goes on in silence after its end.
    """

    def __init__(self, corpus: Corpus, *, samples: int, hop: int | None = None):
        self.corpus, self.samples = corpus, samples
        hop = hop or samples
        self._places = [
            (track, start)
            for track, (_, length) in enumerate(corpus.tracks)
            for start in range(0, max(length - samples, 0) + hop, hop)
        ]

    def __len__(self) -> int:
        return len(self._places)

    def example(self, index: int) -> Example:
        """Same as `Examples.example`."""
        return self.corpus.read(*self._places[index], self.samples)
