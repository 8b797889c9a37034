"""Recordings with the times of what happens in them, for listeners that tell of each frame.

A folder of recordings, beside each of which lies a text of the same name (.csv, .txt, .tsv, .lab,
.onsets, .beats); a folder that `kzoo data render` wrote, whose onsets bear the names of their
stems; or a table with the columns file and events, paths relative to it.

    0.512                 an event at so many seconds, such as an onset
    0.512 snare           the same with a name
    0.512 0.730 vowel     from one time to another, with a name or without
    # a comment           and nothing, and a line of columns' names at the top, are passed over

Commas, semicolons and tabs separate as spaces do.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo.data.corpus import Corpus, chosen
from kzoo.data.labelled import MonoRecordings
from kzoo.data.recordings import audio_file, find_audio

SUFFIXES = (".csv", ".txt", ".tsv", ".lab", ".onsets", ".beats")
RENDERED = "onsets.csv"  # beside a mixture
_SEPARATOR = re.compile(r"\s*[,;\t]\s*|\s+")
_LINES = "lines are seconds, or two of them, and a name"


class Event(NamedTuple):
    """What happens at `start_seconds`, or from there to `end_seconds`; None where it has no end.

    name: None where the file says none.
    """

    start_seconds: float
    end_seconds: float | None = None
    name: str | None = None


Files = Mapping[str, tuple[Path, Sequence[Event]]]  # a name: the recording, and what happens


class Events(MonoRecordings):
    """Recordings, and when each of `labels` happens in them.

    neighbours: the weight of the frames on both sides of one in which an event without an end
    falls, 0 to 1. events: of each track, {label: `[events, 2]` seconds}; the end is NaN where there
    is none. Events of other names are passed over.
    """

    frame_wise = True

    def __init__(
        self, files: Files, labels: Sequence[str], rate: int | None, *, neighbours: float = 0.0
    ):
        super().__init__({name: path for name, (path, _) in files.items()}, labels, rate)
        self.neighbours = neighbours
        self.events = [
            {
                label: np.array(
                    [
                        (event.start_seconds, np.nan if event.end_seconds is None
                         else event.end_seconds)
                        for event in found if event.name == label
                    ], np.float64,
                ).reshape(-1, 2)
                for label in labels
            }
            for _, found in files.values()
        ]  # fmt: skip

    def read(self, track: int, start: int, samples: int) -> dict[str, np.ndarray]:
        """Same as `Corpus.read`, without sources; labels come by `in_frames`."""
        return {"mixture": self.sound(track, start, samples)}

    def in_frames(self, hop_length: int, before: int, after: int) -> InFrames:
        """The same with labels of frames, see `InFrames`."""
        return InFrames(self, hop_length, before, after)

    def frames(self, track: int, start: int, hop_length: int, count: int) -> np.ndarray:
        """Labels float32 `[count, labels]` of frames, of which m tells of start + m * hop_length.

        An event without an end is 1 in the nearest frame, and one with an end in all frames that
        lie in it, or in the nearest to its middle where none does.
        """
        found = np.zeros((count + 2, len(self.labels)), np.float32)  # one more on both sides
        for k, label in enumerate(self.labels):
            seconds = self.events[track][label]
            # Rounded, so that an edge on a frame does not lie behind it by an error of arithmetic.
            places = np.round((seconds * self.sample_rate - start) / hop_length + 1, 6)
            for first, last in places:
                if np.isnan(last):
                    at = round(first)
                    for frame, value in (
                        (at - 1, self.neighbours),
                        (at, 1),
                        (at + 1, self.neighbours),
                    ):
                        if 0 <= frame < len(found):
                            found[frame, k] = max(found[frame, k], value)
                    continue
                low, high = int(np.ceil(first)), int(np.ceil(last))
                if low == high:
                    low = round((first + last) / 2)
                    high = low + 1
                found[max(low, 0) : max(high, 0), k] = 1
        return found[1:-1]

    def identity(self, track: int) -> str:
        """Return the sha256 of the file's bytes, of its events and of their neighbours' weight."""
        times = {label: times.tolist() for label, times in self.events[track].items()}
        return self.identity_with(track, [times, self.neighbours])


class InFrames(Corpus):
    """`Events` whose labels are those of frames, and whose sound is what these frames depend on.

    `read(track, start, samples)` gives {"mixture": `[before + (frames - 1) * hop_length + after,
    1]`, "labels": `[frames, labels]`}, float32, of samples // hop_length frames: the first one
    tells of sample `start`, which lies `before` samples behind the first of the mixture.
    """

    records_mixture, frame_wise, sources = True, True, ()

    def __init__(self, events: Events, hop_length: int, before: int, after: int):
        self._events, self._hop_length = events, hop_length
        self._before, self._after = before, after
        self.labels, self.tracks = events.labels, events.tracks
        self.sample_rate, self.channels, self.rates = events.sample_rate, 1, events.rates

    def read(self, track: int, start: int, samples: int) -> dict[str, np.ndarray]:
        """See the class."""
        frames = samples // self._hop_length
        length = self._before + (frames - 1) * self._hop_length + self._after
        return {
            "mixture": self._events.sound(track, start - self._before, length),
            "labels": self._events.frames(track, start, self._hop_length, frames),
        }

    def identity(self, track: int) -> str:
        """Same as that of the events."""
        return self._events.identity(track)


def events(
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    label: str | None = None,
    neighbours: float = 0.0,
    sample_rate: int | None = None,
    channels: int = 1,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Events:
    """Open a folder or a table of recordings with the times of what happens in them.

    names: of events, in the order of the labels; by default all that the files have, sorted.
    label: what all events are called, whatever their files say; without it events without a name
    are called by the only one of `names`. neighbours: weight of the frames on both sides of an
    event's, 0 to 1; 0.25 is that of Schlüter and Böck. sample_rate: by default the lowest of the
    files. include, exclude: recordings by their paths without suffix, or patterns of them.
    Raises ValueError for a path that is none of these, a recording without events, a line that is
    no event, an event without a name where there are several, and a name that no recording has.
    """
    path = Path(path)
    if channels != 1:
        raise ValueError(
            f"recordings with events have one channel, their mean; got channels={channels}"
        )
    if not 0 <= neighbours <= 1:
        raise ValueError(f"neighbours must be 0 to 1; got {neighbours}")
    if not path.exists():
        raise ValueError(
            f"{path}: is not there; a folder of recordings with their events, or a table"
        )
    places = places_of(path)
    places = {name: places[name] for name in chosen(list(places), include, exclude, str(path))}
    files = {
        name: (recording, [_named(event, label, names, text) for event in read_events(text)])
        for name, (recording, text) in places.items()
    }
    found = sorted({event.name for _, events in files.values() for event in events})
    names = found if names is None else list(names)
    if absent := [name for name in names if name not in found]:
        raise ValueError(
            f"{path}: no event is called {', '.join(absent[:3])}; there are "
            f"{', '.join(found[:8]) or 'none'}: give label to call all events by one name"
        )
    return Events(files, names, sample_rate, neighbours=neighbours)


def read_events(path: str | Path) -> list[Event]:
    """The events of a text, in its order; ValueError names the first line that is none."""
    path = Path(path)
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is no text; {_LINES}") from None
    found: list[Event] = []
    header = True  # may still come
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        event = _event(line)
        if event is None and not header:
            raise ValueError(f"{path}: line {number} is no event: {line[:60]!r}; {_LINES}")
        header = False
        if event is not None:
            found.append(event)
    return found


def _event(line: str) -> Event | None:
    first, *rest = _SEPARATOR.split(line, maxsplit=1)
    start, end, name = _seconds(first), None, rest[0] if rest else None
    if rest:
        second, *more = _SEPARATOR.split(rest[0], maxsplit=1)
        end = _seconds(second)
        if end is not None:
            name = more[0] if more else None
    if start is None or (end is not None and end < start):
        return None
    return Event(start, end, name or None)


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) and value >= 0 else None


def _named(event: Event, label: str | None, names: Sequence[str] | None, path: Path) -> Event:
    if label is not None:
        return event._replace(name=label)
    if event.name is None:
        if names is None or len(names) != 1:
            raise ValueError(f"{path}: has events without a name; give label, or one name in names")
        return event._replace(name=names[0])
    return event


def places_of(path: Path) -> dict[str, tuple[Path, Path]]:
    """{name: (recording, text of its events)} of a folder or table; ValueError as `events`."""
    return _folder(path) if path.is_dir() else _table(path)


def _folder(root: Path) -> dict[str, tuple[Path, Path]]:
    rendered = {
        text.parent.relative_to(root).as_posix(): (recording, text)
        for text in sorted(root.rglob(RENDERED))
        if (recording := audio_file(text.parent, "mixture"))
    }
    if rendered:
        return rendered
    found, without = {}, []
    for recording in find_audio(root):
        texts = (recording.with_suffix(suffix) for suffix in SUFFIXES)
        text = next((text for text in texts if text.is_file()), None)
        if text is None:
            without.append(recording)
        else:
            found[recording.relative_to(root).with_suffix("").as_posix()] = recording, text
    if without or not found:
        what = f"{len(without)} recordings, such as {without[0]}," if without else f"{root}:"
        raise ValueError(f"{what} need a text of events beside them ({', '.join(SUFFIXES)})")
    return found


def _table(path: Path) -> dict[str, tuple[Path, Path]]:
    try:
        rows = [
            (row["file"], row["events"])
            for row in csv.DictReader(path.read_text("utf-8-sig").splitlines())
        ]
        found = {
            Path(name).with_suffix("").as_posix(): (path.parent / name, path.parent / text)
            for name, text in rows
        }
    except (KeyError, TypeError, UnicodeDecodeError):
        rows = []
    if not rows:
        raise ValueError(f"{path}: a table needs the columns file and events")
    if absent := [file for pair in found.values() for file in pair if not file.is_file()]:
        raise ValueError(f"{path}: {len(absent)} files are not there, such as {absent[0]}")
    return found
