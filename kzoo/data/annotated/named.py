"""Layouts of corpora whose recordings have names: tags of music, genres, speakers."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from kzoo.data.annotated.layout import NAMES, Annotated, Layout, said
from kzoo.data.recordings import find_audio

MAGNATAGATUNE_TAGS = 50
# Three clips that are empty in the published archive.
MAGNATAGATUNE_BROKEN = (
    "norine_braun-now_and_zen-08-gently-117-146.mp3",
    "jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "american_baroque-dances_and_suites_of_rameau_and_couperin-25-"
    "le_petit_rien_xiveme_ordre_couperin-88-117.mp3",
)
_MAGNATAGATUNE_TABLE = "annotations_final.csv"
# By the first letter of the path, its folder: 12, 1 and 3 of 16.
_MAGNATAGATUNE_SUBSETS = {
    **dict.fromkeys("0123456789ab", "train"), "c": "validation", **dict.fromkeys("def", "test"),
}  # fmt: skip
_GTZAN = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
_BALLROOM_LIST = "allBallroomFiles"
_LIBRISPEECH_SUBSETS = {"train": "train-", "validation": "dev-", "test": "test-"}


def magnatagatune(root: Path) -> list[Annotated]:
    """Clips of MagnaTagATune that have one of the 50 tags at least, but for the broken ones."""
    path = root / _MAGNATAGATUNE_TABLE
    try:
        rows = list(csv.DictReader(path.read_text("utf-8").splitlines(), delimiter="\t"))
        tags = [name for name in rows[0] if name not in ("clip_id", "mp3_path")]
        found = [
            (row["mp3_path"], row["mp3_path"][0], tuple(tag for tag in tags if row[tag] == "1"))
            for row in rows
        ]
    except (OSError, UnicodeDecodeError, IndexError, KeyError, TypeError):
        raise ValueError(
            f"{path}: must be the published table, with tabs between clip_id, the tags and mp3_path"
        ) from None
    frequent = set(_most_frequent(tags for *_, tags in found))
    return [
        Annotated(mp3.removesuffix(".mp3"), _MAGNATAGATUNE_SUBSETS[letter], root / mp3, said(tags))
        for mp3, letter, tags in found
        if letter in _MAGNATAGATUNE_SUBSETS and frequent.intersection(tags)
        and mp3.partition("/")[2] not in MAGNATAGATUNE_BROKEN
    ]  # fmt: skip


def _most_frequent(lists) -> list[str]:
    counts = Counter(tag for tags in lists for tag in tags)
    return [tag for tag, _ in counts.most_common(MAGNATAGATUNE_TAGS)]


_GTZAN_LISTS = {"train": "train", "validation": "valid", "test": "test"}


def gtzan(root: Path) -> list[Annotated]:
    """Excerpts of the ten genres; with lists of the fault-filtered split, what these name."""
    lists = {name: list(root.rglob(f"{file}_filtered.txt")) for name, file in _GTZAN_LISTS.items()}
    listed = {
        line.strip(): name
        for name, files in lists.items()
        for file in files
        for line in file.read_text("utf-8").splitlines()
    }
    found = []
    for genre in _GTZAN:
        for path in find_audio(_gtzan_root(root) / genre):
            name = f"{genre}/{path.name}"
            if not listed or name in listed:
                subset = listed.get(name, "test")
                found.append(Annotated(f"{genre}/{path.stem}", subset, path, said((genre,))))
    return found


def _gtzan_root(root: Path) -> Path | None:
    places = (root, root / "genres", root / "genres_original", root / "Data" / "genres_original")
    return next((p for p in places if all((p / genre).is_dir() for genre in _GTZAN)), None)


def ballroom(root: Path) -> list[Annotated]:
    """Excerpts of dances: those that the list names, or all, where it is missing."""
    place = _ballroom_root(root)
    listed = place / _BALLROOM_LIST
    if listed.is_file():
        lines = [line.strip().removeprefix("./") for line in listed.read_text().splitlines()]
        paths = [place / line for line in lines if line]
    else:
        paths = [path for path in find_audio(place) if path.parent.parent == place]
    return [
        Annotated(f"{p.parent.name}/{p.stem}", "test", p, said((p.parent.name,))) for p in paths
    ]


def _ballroom_root(root: Path) -> Path | None:
    places = (root / "BallroomData", root)
    return next((p for p in places if (p / "ChaChaCha").is_dir()), None)


def librispeech(root: Path) -> list[Annotated]:
    """Utterances of LibriSpeech, of which the names are those of the speakers, their numbers."""
    found = []
    for name, prefix in _LIBRISPEECH_SUBSETS.items():
        for folder in sorted(_librispeech_root(root).glob(f"{prefix}*")):
            for path in sorted(folder.glob("*/*/*.flac")):
                speaker = path.parent.parent.name
                found.append(Annotated(f"{folder.name}/{path.stem}", name, path, said((speaker,))))
    return found


def _librispeech_root(root: Path) -> Path | None:
    places = (root, root / "LibriSpeech")
    return next((p for p in places if (p / "SPEAKERS.TXT").is_file()), None)


def _there(place: Callable[[Path], Path | None]) -> Callable[[Path], bool]:
    return lambda root: place(root) is not None


def _top_50(found: Sequence[Annotated]) -> list[str]:
    return _most_frequent(one.read() for one in found)


LAYOUTS = {
    "magnatagatune": Layout(
        about="MagnaTagATune: annotations_final.csv, with tabs, and the clips of its column "
        "mp3_path in folders 0 to f. 0 to b are for training, c for validation, d to f for tests; "
        "the names are by default the 50 tags that most clips have. Clips with none of these are "
        "left out, and the three that are empty in the published archive.",
        is_at=lambda root: (root / _MAGNATAGATUNE_TABLE).is_file(),
        readers={NAMES: magnatagatune}, names=_top_50,
    ),
    "gtzan": Layout(
        about="GTZAN: <genre>/<genre>.00000.wav of ten genres, in PATH, genres or genres_original. "
        "With the lists train_filtered.txt, valid_filtered.txt and test_filtered.txt anywhere "
        "below PATH these are the subsets, and what is in none is left out; without them all is "
        "test.",
        is_at=_there(_gtzan_root), readers={NAMES: gtzan},
    ),
    "ballroom": Layout(
        about="Ballroom: BallroomData/<dance>/<excerpt>.wav, of which the list allBallroomFiles "
        "names those that belong to it. It has no subsets.",
        is_at=_there(_ballroom_root), readers={NAMES: ballroom},
    ),
    "librispeech": Layout(
        about="LibriSpeech: SPEAKERS.TXT and {train,dev,test}-*/<speaker>/<chapter>/<utterance>"
        ".flac, for recognising speakers: the names are their numbers. dev is validation; the "
        "speakers of each subset are others, so a model is tested on those that it learned from "
        "by exclude and include.",
        is_at=_there(_librispeech_root), readers={NAMES: librispeech},
    ),
}  # fmt: skip
