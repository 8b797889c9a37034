"""Published corpora with names, for the training of listeners, and with notes, of players."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kzoo.data.annotated.layout import NAMES, Annotated, Layout, said
from kzoo.data.annotated.layouts import LAYOUTS, of_subset
from kzoo.data.annotated.timed import rendered_tracks
from kzoo.data.labelled import Files, Labelled, of_names
from kzoo.data.midi import score, truth


class Rendered(Labelled):
    """Rendered mixtures; `read` says which stems have a note in the stretch that is read."""

    has_notes = True
    _roll_hop: int | None = None

    def __init__(self, files: Files, labels: Sequence[str], rate: int | None):
        super().__init__(files, labels, rate)
        truths = [truth.read(path.parent) for path in self.files]
        self._notes = [
            [
                np.array([note[:2] for note in told.notes(label)], np.float64).reshape(-1, 2)
                for label in labels
            ]
            for told in truths
        ]  # of each track and label `[notes, 2]`: from second to second
        self._played = [score.pitched(told.notes()) for told in truths]

    def in_rolls(self, hop_length: int) -> Rendered:
        """The corpus that reads "piano_roll" too, of whole frames of `hop_length` samples.

        `[samples // hop_length, PITCHES]` of the stretch, as `midi.score.piano_roll` has it.
        """
        corpus = copy.copy(self)
        corpus._roll_hop = hop_length
        return corpus

    def read(self, track: int, start: int, samples: int) -> dict[str, np.ndarray]:
        """Same as `Labelled.read`, with the labels of these samples, and of `in_rolls` the roll."""
        first, last = start / self.sample_rate, (start + samples) / self.sample_rate
        labels = [
            bool(np.any((notes[:, 0] < last) & (notes[:, 1] > first)))
            for notes in self._notes[track]
        ]
        found = {"mixture": self.sound(track, start, samples), "labels": np.float32(labels)}
        if self._roll_hop is not None:
            found["piano_roll"] = score.piano_roll(
                self._played[track], samples // self._roll_hop, start_seconds=first,
                frame_seconds=self._roll_hop / self.sample_rate,
            )  # fmt: skip
        return found

    def identity(self, track: int) -> str:
        """Return the sha256 of the file's bytes and of its notes."""
        notes = [*self._notes[track], self._played[track]]
        return self.identity_with(track, [own.tolist() for own in notes])


def _tracks(root: Path) -> list[Annotated]:
    """Whole rendered mixtures, with the stems that they have."""
    return [
        Annotated(name, subset, mixture, said(tuple(truth.read(folder).instruments)))
        for name, subset, mixture, folder in rendered_tracks(root)
    ]


def _opener(kind: str, layout: Layout) -> Callable[..., Labelled]:
    def opener(
        path: str | Path,
        *,
        subset: str = "train",
        names: Sequence[str] | None = None,
        sample_rate: int | None = None,
        channels: int = 1,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> Labelled:
        root = Path(path)
        if channels != 1:
            raise ValueError(f"{kind} has one channel, the mean; got channels={channels}")
        if not root.is_dir() or not layout.is_at(root):
            raise ValueError(f"{root}: is no {kind}; {layout.about}")
        everything = _tracks(root) if kind == "rendered" else layout.readers[NAMES](root)
        found = of_subset(everything, subset, default="train", where=root)
        known = {name for one in everything for name in one.read()}
        files = {one.name: (one.path, one.read()) for one in found}
        return of_names(
            files, layout.names(everything) if names is None else names, known, where=str(root),
            include=include, exclude=exclude, rate=sample_rate,
            kind=Rendered if kind == "rendered" else Labelled,
        )  # fmt: skip

    opener.__doc__ = f"""Open {layout.about}

    subset: train, validation, test or all. names: of the labels, in their order; by default those
    of the whole corpus. sample_rate: by default the lowest of the files. include, exclude:
    recordings by names, or patterns of them. Raises ValueError as `labelled.labelled`.
    """
    return opener


OPENERS = {
    kind: _opener(kind, layout) for kind, layout in LAYOUTS.items() if NAMES in layout.readers
}
