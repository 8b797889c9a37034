"""Published corpora: where the tracks of each lie on disk, and which file or channel is what.

One `Scheme` a corpus, in SCHEMES by the name of its kind. A stem that is one of several of its
source is called "<source>/<its own name>", as "guitar/S04", and the source is their sum.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kzoo import config
from kzoo.data.recordings import (
    Recording,
    Track,
    audio_file,
    is_hidden,
    stem_recordings,
)

# MedleyDB's instruments that make a source; any other is a source by its own name, as "violin".
MEDLEYDB_SOURCES = {
    "vocals": (
        "male singer", "female singer", "male rapper", "female rapper", "male speaker",
        "female speaker", "beatboxing", "vocalists", "male screamer", "female screamer", "choir",
    ),
    "drums": (
        "drum set", "drum machine", "kick drum", "snare drum", "toms", "high hat", "cymbal",
        "bass drum",
    ),
    "bass": ("electric bass", "double bass"),
    "guitar": (
        "acoustic guitar", "clean electric guitar", "distorted electric guitar", "slide guitar",
        "lap steel guitar",
    ),
    "piano": ("piano", "tack piano", "electric piano"),
}  # fmt: skip
# Slakh's classes of instruments that are no source by their own name, as "synth_pad" is.
SLAKH_SOURCES = {"strings": ("Strings (continued)",)}
# How the files of MASS and QUASI call what are sources here; any other keeps its name.
MULTITRACK_SOURCES = {
    "vocals": (
        "vocal", "voc", "vocs", "vox", "voice", "lead_vocal", "lead_vocals", "lead_voca",
        "lead_voice", "lead_vox", "backing_vocals", "speech",
    ),
    "drums": ("drum", "kick", "snare", "toms", "hihat", "overheads", "cymbals"),
    "guitar": ("gtr", "git", "guit"),
}  # fmt: skip
_MIXTURES = ("mix", "mixture")
_UUID = "-".join("?" * letters for letters in (8, 4, 4, 4, 12))
_SNIPS = ("*__snip_*__*.wav", "*/*__snip_*__*.wav")

Found = tuple[Mapping[str, Recording], Recording | None, bool]  # stems, mixture, bleed


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """How a corpus lies below its folder.

    about: what it is, and its layout. marks: patterns of what each track has, of which the first
    that fits is taken; {} is the folder of a subset. name: a track's, from its mark.
    read: the stems, the mixture where one is recorded, and whether stems bleed, from the marks of a
    track in their order. subsets: their folders, by their names here.
    extra: subsets that "all" leaves out. tells_bleed: whether it says which tracks have bleed.
    """

    about: str
    marks: Sequence[str]
    name: Callable[[Path], str]
    read: Callable[[Sequence[Path]], Found]
    subsets: Mapping[str, str] = field(default_factory=dict)
    extra: Sequence[str] = ()
    tells_bleed: bool = False

    def is_at(self, root: Path) -> bool:
        """Whether tracks of this layout lie there."""
        return any(self._found(root, folder) for folder in (*self.subsets.values(), ""))

    def tracks(self, root: Path, subset: str | None = None, *, default: str) -> list[Track]:
        """The tracks of a subset, or of "all", in the order of their names.

        default: the subset where none is named. Where there are no folders of subsets, every track
        is of the subset test. Raises ValueError where there are none, and for metadata that cannot
        be read.
        """
        parts = {name: self._found(root, folder) for name, folder in self.subsets.items()}
        parts = {name: found for name, found in parts.items() if found}
        subset = subset or (default if parts else "all")
        parts = parts or {"test": self._found(root, "")}
        if not any(parts.values()):
            folders = f"<{'|'.join(self.subsets.values())}>"
            looked = " or ".join(mark.format(folders) for mark in self.marks)
            raise ValueError(f"{root}: holds no tracks; expected {looked}")
        if subset not in (*parts, "all"):
            raise ValueError(
                f"{root}: has no tracks of the subset {subset!r}; there are {', '.join(parts)}, all"
            )
        return [
            Track(name, part, *self.read(marks))
            for part, found in parts.items()
            if part == subset or (subset == "all" and part not in self.extra)
            for name, marks in found.items()
        ]

    def _found(self, root: Path, folder: str) -> dict[str, list[Path]]:
        """{track: its marks} below the folder of a subset, or below `root` where that is ""."""
        for mark in self.marks:
            if ("{}" in mark) != bool(folder):
                continue
            tracks: dict[str, list[Path]] = {}
            for path in sorted(root.glob(mark.format(folder))):
                if not any(map(is_hidden, path.relative_to(root).parts)):
                    tracks.setdefault(self.name(path), []).append(path)
            if tracks:
                return tracks
        return {}


def recognised(root: Path) -> Scheme | None:
    """The scheme of the published corpus that lies there, as its folders and files tell."""
    return next((scheme for scheme in SCHEMES.values() if scheme.is_at(root)), None)


def _dsd100(marks: Sequence[Path]) -> Found:
    song = marks[0].parent
    sources = song.parents[2] / "Sources" / song.parent.name / song.name
    stems = stem_recordings(sources) if sources.is_dir() else {}
    return stems, Recording(marks[0]), False


def _left_and_right(marks: Sequence[Path]) -> Found:
    left, right = (Recording(marks[0], channel=channel) for channel in (0, 1))
    return {"accompaniment": left, "vocals": right}, None, False


def _ccmixter(marks: Sequence[Path]) -> Found:
    found = stem_recordings(marks[0].parent)
    names = {"accompaniment": "source-01", "vocals": "source-02"}
    stems = {source: found[name] for source, name in names.items() if name in found}
    return stems, found.get("mix"), False


def _multitrack(marks: Sequence[Path]) -> Found:
    """Files of one track, or the folder of them, called after what plays."""
    if marks[0].is_dir():
        found = stem_recordings(marks[0])
    else:
        found = {path.stem.rpartition("__")[2].lower(): Recording(path) for path in marks}
    mixture = next((found.pop(name) for name in _MIXTURES if name in found), None)
    sources = _inverse(MULTITRACK_SOURCES)
    stems = {}
    for name, recording in found.items():
        plain = re.sub(r"[\s_-]*\d+$", "", name)
        source = sources.get(plain, plain)
        stems[name if source == name else f"{source}/{name}"] = recording
    return stems, mixture, False


def _slakh(marks: Sequence[Path]) -> Found:
    folder = marks[0].parent
    sources = _inverse(SLAKH_SOURCES)
    stems = {}
    for name, facts in _stems_of(config.load_yaml(marks[0]), marks[0], "inst_class").items():
        if facts.get("audio_rendered", True):
            instrument = facts["inst_class"]
            source = sources.get(instrument, _plain(instrument))
            path = audio_file(folder / "stems", name) or folder / "stems" / f"{name}.flac"
            stems[f"{source}/{name}"] = Recording(path)
    mixture = audio_file(folder, "mix")
    return stems, mixture and Recording(mixture), False


def _medleydb(marks: Sequence[Path]) -> Found:
    stems_folder = marks[0]
    name = stems_folder.name.removesuffix("_STEMS")
    track = stems_folder.parent
    places = (track, *(p / "Metadata" for p in (track.parent, track.parent.parent)))
    paths = [place / f"{name}_METADATA.yaml" for place in places]
    path = next((p for p in paths if p.is_file()), paths[0])
    metadata = config.load_yaml(path)
    sources = _inverse(MEDLEYDB_SOURCES)
    stems = {}
    for stem, facts in _stems_of(metadata, path, "instrument", "filename").items():
        played = facts["instrument"]
        instrument = played[0] if isinstance(played, list) and played else str(played)
        source = sources.get(instrument, _plain(instrument))
        stems[f"{source}/{stem}"] = Recording(stems_folder / facts["filename"])
    return stems, None, str(metadata.get("has_bleed")).lower() in ("yes", "true")


def _moisesdb(marks: Sequence[Path]) -> Found:
    path = marks[0]
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))["stems"]
        files = [(stem["stemName"], part) for stem in parts for part in stem["tracks"]]
        stems = {
            f"{_plain(name)}/{part['id']}": Recording(
                path.parent / name / f"{part['id']}.{part['extension']}"
            )
            for name, part in files
        }
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{path}: is damaged, or does not list stems and their tracks") from None
    return stems, None, any(part.get("has_bleed") for _, part in files)


def _stems_of(metadata: Mapping[str, Any], path: Path, *needed: str) -> Mapping[str, Any]:
    """The mapping `stems` of a metadata file, each of them with what is needed of it."""
    stems = metadata.get("stems")
    for name, facts in stems.items() if isinstance(stems, dict) else [("stems", None)]:
        if not isinstance(facts, dict) or not all(facts.get(key) for key in needed):
            raise ValueError(f"{path}: {name} must say its {' and '.join(needed)}; got {facts!r}")
    return stems


def _inverse(sources: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {name: source for source, names in sources.items() for name in names}


def _plain(name: str) -> str:
    """The name of an instrument as sources are called: "Synth Pad" is synth_pad."""
    return re.sub(r"[^\w]+", "_", name.lower()).strip("_")


def _parent(mark: Path) -> str:
    return mark.parent.name


SCHEMES = {
    "dsd100": Scheme(
        about="DSD100 (and MSD100): Mixtures/{Dev,Test}/<song>/mixture.wav and, for the same song, "
        "Sources/{Dev,Test}/<song>/{bass,drums,other,vocals}.wav. Dev is the subset train.",
        marks=("Mixtures/{}/*/mixture.*",), name=_parent, read=_dsd100,
        subsets={"train": "Dev", "test": "Test"},
    ),
    "slakh": Scheme(
        about="Slakh2100, its redux and babyslakh: {train,validation,test}/Track00001/ with "
        "metadata.yaml, mix.flac and stems/S01.flac, also as WAV. A source is the class of its "
        "instruments, inst_class, in lower case: bass, drums, guitar, piano, synth_lead ...; "
        "there are no vocals. Stems that were not rendered are not there. The subset omitted, "
        "what the redux found to be duplicates, is read where it is asked for alone.",
        marks=("{}/Track*/metadata.yaml", "Track*/metadata.yaml"), name=_parent, read=_slakh,
        subsets={name: name for name in ("train", "validation", "test", "omitted")},
        extra=("omitted",),
    ),
    "medleydb": Scheme(
        about="MedleyDB: <song>/<song>_STEMS/ under PATH, Audio, V1 or V2, with "
        "<song>_METADATA.yaml beside it or in Metadata. Instruments make sources by the table "
        "kzoo.data.published.MEDLEYDB_SOURCES, and others are sources by their names, as violin. "
        "The mixture is the sum of the stems, since <song>_MIX.wav weighs each of them; <song>_RAW "
        "is what the stems were mixed from, and is not read.",
        marks=("*/*_STEMS", "*/*/*_STEMS"), name=_parent, read=_medleydb, tells_bleed=True,
    ),
    "moisesdb": Scheme(
        about="MoisesDB: <uuid>/data.json, which lists the stems and the files <stem>/<uuid>.wav "
        "whose sum each is: vocals, bass, drums, guitar, piano, percussion, bowed_strings, wind, "
        "other_keys, other_plucked, other. The mixture is the sum of all.",
        marks=(f"{_UUID}/data.json", f"*/{_UUID}/data.json"), name=_parent, read=_moisesdb,
        tells_bleed=True,
    ),
    "ccmixter": Scheme(
        about="ccMixter, the corpus of kernel additive modelling: <song>/mix.wav, source-01.wav "
        "(accompaniment) and source-02.wav (vocals).",
        marks=("*/source-01.*",), name=_parent, read=_ccmixter,
    ),
    "mir1k": Scheme(
        about="MIR-1K: Wavfile/<clip>.wav, the accompaniment on the left channel and the voice on "
        "the right one, which are sources of one channel. The mixture is their sum.",
        marks=("Wavfile/*.wav",), name=lambda mark: mark.stem, read=_left_and_right,
    ),
    "ikala": Scheme(
        about="iKala: Wavfile/<clip>.wav, the accompaniment on the left channel and the voice on "
        "the right one, as in MIR-1K.",
        marks=("Wavfile/*.wav",), name=lambda mark: mark.stem, read=_left_and_right,
    ),
    "mass": Scheme(
        about="MASS: <song>/<excerpt>/tracks_with_effects/<instrument>.wav, or where there are "
        "none tracks_without_effects; the mixture is their sum. Also the excerpts that SiSEC took "
        "of it, as of QUASI. Names such as vox and kick make sources by the table "
        "kzoo.data.published.MULTITRACK_SOURCES.",
        # Sorted, a track's folder with effects comes first.
        marks=("*/*/tracks_with*_effects", "*/tracks_with*_effects", *_SNIPS),
        name=lambda mark: mark.stem.rpartition("__")[0] or mark.parent.name, read=_multitrack,
    ),
    "quasi": Scheme(
        about="QUASI: <song>__snip_<start>_<end>__<instrument>.wav, in PATH or in folders under "
        "it. This is how SiSEC's archives and published programs call its files; the archive of "
        "its authors could not be compared. Names make sources as in "
        "mass, and a file called mix is the mixture.",
        marks=_SNIPS, name=lambda mark: mark.stem.rpartition("__")[0], read=_multitrack,
    ),
}  # fmt: skip
