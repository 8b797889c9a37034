"""Layouts of corpora that know when: onsets, melodies, phones, and all that MIDI files say."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kzoo import audio
from kzoo.data import events, timit
from kzoo.data.annotated.layout import MELODY, NAMES, ONSETS, PHONES, Annotated, Layout, said
from kzoo.data.midi import truth
from kzoo.data.recordings import audio_file, find_audio
from kzoo.data.tracks import SUBSETS

STRETCH_SECONDS = 10.0  # of what is said to have an instrument or not
_MEDLEYDB_USUAL = "MELODY2"
_MELODIES = (".csv", ".txt", ".f0")  # beside a recording


def onsets_of(root: Path) -> list[Annotated]:
    """Recordings of a folder or table of events, whose starts are onsets, whatever their names."""
    return [
        Annotated(name, "test", sound, functools.partial(_starts, text), [text])
        for name, (sound, text) in events.places_of(root).items()
    ]


def _starts(path: Path) -> np.ndarray:
    return np.unique([event.start_seconds for event in events.read_events(path)])


def melodies_of(root: Path) -> list[Annotated]:
    """Recordings beside each of which lies a table of seconds and hertz (.csv, .txt, .f0)."""
    found = []
    for sound in find_audio(root):
        texts = (sound.with_suffix(suffix) for suffix in _MELODIES)
        if text := next((text for text in texts if text.is_file()), None):
            name = sound.relative_to(root).with_suffix("").as_posix()
            found.append(_melody(name, sound, text))
    if not found:
        raise ValueError(
            f"{root}: no recording has seconds and hertz beside it ({', '.join(_MELODIES)})"
        )
    return found


def _melody(name: str, sound: Path, text: Path, subset: str = "test") -> Annotated:
    return Annotated(name, subset, sound, functools.partial(read_melody, text), [text])


def read_melody(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(seconds, hertz) of the first two columns of a table; 0 Hz and less are no melody.

    Commas, tabs or spaces lie between, and a line of names may be at the top. Raises ValueError
    naming the first line that is none.
    """
    rows = []
    for number, line in enumerate(path.read_text("utf-8-sig").splitlines(), start=1):
        cells = line.replace(",", " ").split()
        try:
            if cells:
                rows.append((float(cells[0]), float(cells[1])))
        except (ValueError, IndexError):
            if rows or number > 1:
                raise ValueError(
                    f"{path}: line {number} is not seconds and hertz: {line[:60]!r}"
                ) from None
    if not rows:
        raise ValueError(f"{path}: has no seconds and hertz")
    seconds, hertz = np.array(rows, np.float64).T
    return seconds, np.maximum(hertz, 0.0)


def mdb_melody_synth(root: Path) -> list[Annotated]:
    """Mixtures of MDB-melody-synth, and the f0 of the melody that was played anew in each."""
    found = []
    for sound in sorted((root / "audio_mix").glob("*_MIX_melsynth.*")):
        name = sound.name.partition("_MIX_melsynth")[0]
        # With _STEM_, as MusicDelta_Rock begins like MusicDelta_Rockabilly.
        texts = sorted((root / "annotation_melody").glob(f"{name}_STEM_*.csv"))
        if len(texts) != 1:
            raise ValueError(
                f"{sound}: needs annotation_melody/{name}_STEM_<number>.RESYN.csv, one of them; "
                f"there are {len(texts)}"
            )
        found.append(_melody(name, sound, texts[0]))
    return found


def medleydb_melody(root: Path, definition: str = _MEDLEYDB_USUAL) -> list[Annotated]:
    """Mixtures of MedleyDB that have a melody, by one of its definitions.

    definition: MELODY1, the one source that plays it; MELODY2, which goes from source to source.
    """
    places = _medleydb_places(root, definition).items()
    return [_melody(name, sound, text) for name, (sound, text) in places]


def _medleydb_places(root: Path, definition: str) -> dict[str, tuple[Path, Path]]:
    found, ending = {}, f"_{definition}.csv"
    for text in sorted(root.rglob(f"*{ending}")):
        name = text.name.removesuffix(ending)
        mixes = (p / name for p in (root / "Audio", root / "V1", root / "V2", root))
        sound = next((s for p in mixes if (s := audio_file(p, f"{name}_MIX"))), None)
        if sound := sound or audio_file(root / "audio", f"{name}_MIX"):
            found[name] = sound, text
    return found


def _is_medleydb(root: Path, definition: str = _MEDLEYDB_USUAL) -> bool:
    folders = ("Audio", "V1", "V2", "audio")  # first, as looking through all may take long
    return any((root / name).is_dir() for name in folders) and bool(
        _medleydb_places(root, definition)
    )


def phones_of(root: Path) -> list[Annotated]:
    """Sentences of TIMIT's layout with their phones, folded to 39."""
    found = []
    for subset in ("train", "test"):
        if any(path.name.lower() == subset for path in root.iterdir()):
            for name, (sound, text) in timit.sentences(root, subset).items():
                read = functools.partial(_phones, sound, text)
                found.append(Annotated(name, subset, sound, read, [text]))
    return found


def _phones(sound: Path, text: Path) -> list[events.Event]:
    return timit.read_phones(text, audio.info(sound).sample_rate)


def _is_timit(root: Path) -> bool:
    places = (root / name / "DR1" for name in ("TRAIN", "TEST", "train", "test"))
    return any(p.is_dir() or p.with_name("dr1").is_dir() for p in places)


def rendered_tracks(root: Path) -> Iterator[tuple[str, str, Path, Path]]:
    """(name, subset, mixture, folder) of the tracks that `kzoo data render` wrote."""
    for subset in SUBSETS:
        for path in sorted((root / subset).glob(f"*/{truth.TRACK}")):
            if mixture := audio_file(path.parent, "mixture"):
                yield path.parent.name, subset, mixture, path.parent


def _of_rendered(read: Callable[[truth.Truth], object], *files: str) -> Callable:
    def reader(root: Path) -> list[Annotated]:
        return [
            Annotated(
                name, subset, mixture, lambda folder=folder: read(truth.read(folder)),
                [folder / file for file in files],
            )
            for name, subset, mixture, folder in rendered_tracks(root)
        ]  # fmt: skip

    return reader


def rendered_stems(root: Path) -> list[Annotated]:
    """Stretches of 10 s of rendered mixtures, with the stems that have a note in each.

    What is left at the end is a stretch where it is 5 s or the whole mixture.
    """
    found = []
    for name, subset, mixture, folder in rendered_tracks(root):
        told = truth.read(folder)
        seconds = audio.info(mixture).duration_seconds
        count = max(1, int(seconds / STRETCH_SECONDS + 0.5))
        for start in STRETCH_SECONDS * np.arange(count):
            end = min(start + STRETCH_SECONDS, seconds)
            stems = sorted(s for s in told.instruments if sounds(told, s, start, end))
            found.append(Annotated(
                f"{name}@{start:g}", subset, mixture, said(tuple(stems)),
                stretch=(float(start), float(end - start)),
            ))  # fmt: skip
    return found


def sounds(told: truth.Truth, stem: str, start: float, end: float) -> bool:
    """Whether a stem has a note between two seconds."""
    return any(
        note.onset_seconds < end and note.offset_seconds > start for note in told.notes(stem)
    )


def rendered_melody(found: truth.Truth) -> tuple[np.ndarray, np.ndarray]:
    """The highest of the parts that play one note at a time, but for the bass: (seconds, hertz)."""
    parts = [f0_hz for part, f0_hz in found.f0_hz.items() if found.stems[part] != "bass"]
    frames = len(found.frames_seconds)
    padded = [np.pad(f0_hz, (0, frames - len(f0_hz))) for f0_hz in parts]
    return found.frames_seconds, np.max([np.zeros(frames), *padded], axis=0)


def rendered_melodies(root: Path) -> list[Annotated]:
    """Rendered mixtures that have a melody; of others nothing could be said right."""
    tracks = _of_rendered(rendered_melody, truth.TRACK, truth.NOTES)(root)
    return [track for track in tracks if np.any(track.read()[1])]


LAYOUTS: dict[str, Layout] = {
    "mdb_melody_synth": Layout(
        about="MDB-melody-synth: audio_mix/<song>_MIX_melsynth.wav and "
        "annotation_melody/<song>_STEM_<number>.RESYN.csv, seconds and hertz every 2.9 ms.",
        is_at=lambda root: (root / "annotation_melody").is_dir(),
        readers={MELODY: mdb_melody_synth},
    ),
    "medleydb_melody": Layout(
        about="MedleyDB's melodies: Audio/<song>/<song>_MIX.wav and <song>_MELODY2.csv anywhere "
        "below PATH, seconds and hertz every 5.8 ms: the melody that goes from source to source. "
        "MELODY3, of several at once, is not read.",
        is_at=_is_medleydb,
        readers={MELODY: medleydb_melody},
    ),
    "medleydb_melody1": Layout(
        about="The same by MedleyDB's first definition, <song>_MELODY1.csv: the melody of the one "
        "source that has it most.",
        is_at=functools.partial(_is_medleydb, definition="MELODY1"),
        readers={MELODY: functools.partial(medleydb_melody, definition="MELODY1")},
    ),
    "timit": Layout(
        about="TIMIT: {TRAIN,TEST}/DR1/<speaker>/<sentence>.WAV, NIST SPHERE or RIFF, and .PHN; "
        "phones are folded to 39, and the sentences SA1 and SA2, which all speakers read, left "
        "out.",
        is_at=_is_timit, readers={PHONES: phones_of},
    ),
    "rendered": Layout(
        about="What kzoo data render wrote: the names are the classes of instruments, as the stems "
        "are called, that sound in each 10 s; onsets are those of all stems; the melody is the "
        "highest of the parts that play one note at a time, but for the bass.",
        is_at=lambda root: next(rendered_tracks(root), None) is not None,
        readers={
            NAMES: rendered_stems,
            ONSETS: _of_rendered(truth.Truth.onsets_seconds, truth.TRACK, truth.NOTES),
            MELODY: rendered_melodies,
        },
    ),
}  # fmt: skip
