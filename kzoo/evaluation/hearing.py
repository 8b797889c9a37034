"""Systems that say something of recordings, against a corpus where it is known.

As `running` does for separators: a track that fails is reported, what is scored already stays, and
the table says what it is. A system hears whole recordings, one after another, in this process.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio
from kzoo.data import annotated
from kzoo.data.tracks import Corpora, corpora_of
from kzoo.evaluation import aspects
from kzoo.evaluation.averages import comparison, data_header, interval_header, versions
from kzoo.evaluation.report import Failure, Report, Row
from kzoo.evaluation.running import TRACK_ERRORS
from kzoo.evaluation.scoring import read_json, write_json
from kzoo.extras import package
from kzoo.files import replacing

# By what is true. Of names the first needs the corpus, and is each name's share of it.
BASELINES = {
    annotated.NAMES: ("majority", "random"),
    annotated.ONSETS: ("librosa",),
    annotated.MELODY: ("pyin",),
    annotated.PHONES: (),
}
_LIBROSA_RATE = 22050  # that its defaults are made for
_ASPECTS = {
    annotated.ONSETS: aspects.Onsets, annotated.MELODY: aspects.Melody,
    annotated.PHONES: aspects.Phones,
}  # fmt: skip


@dataclass(frozen=True)
class Hearing:
    """A system: `answer(waveform [samples, channels], sample_rate)` to what `aspects` calls one.

    truth: of `data.annotated`, what it says of a recording. names: that it knows, where these are
    fixed; of phones those that count. known_by, parameters: as of `systems.Separation`.
    """

    name: str
    truth: str
    answer: Callable[[np.ndarray, int], Any]
    known_by: Mapping[str, Any] | None = None
    names: tuple[str, ...] = ()
    parameters: int | None = None


def evaluate_hearing(
    corpus: Corpora,
    systems: Sequence[Hearing],
    *,
    names: Sequence[str] = (),
    baselines: Sequence[str | Hearing] = (),
    out: str | Path | None = None,
    subset: str | None = None,
    tracks: Sequence[str] = (),
    against: Sequence[str] | None = None,
    progress: Callable[[float, float], None] | None = None,
    scored: Callable[[str, Mapping[str, Mapping[str, float]]], None] | None = None,
    command: str | None = None,
    page: bool = False,
) -> Report:
    """Scores of `systems`, which all answer one question, on the recordings of `corpus`.

    names: that are scored; by default those that every system and the corpus have.
    baselines: of BASELINES, or systems, that are shown beside.
    out, subset, tracks, against, progress, scored, command: as in `running.evaluate`; by
        default all are compared with the first of `baselines`, and of several systems.
    page: also write OUT/report.html.
    Raises ValueError where nothing can be scored: systems of several questions, or of one name, a
    corpus that does not know, names that none has; ImportError for a package that is missing.
    """
    truth = _question([*systems, *baselines])
    found = annotated.find(corpus, truth, subset=subset, tracks=tracks)
    beside = [baseline(b, truth, found) if isinstance(b, str) else b for b in baselines]
    systems = [*systems, *beside]
    called = [system.name for system in systems]
    if len(set(called)) < len(called):
        raise ValueError(
            f"systems must have different names; got {', '.join(called)}: name them yourself, as "
            "in before=FOLDER after=FOLDER"
        )
    if against is None:
        first = called[:1] if len(called) - len(beside) > 1 or not beside else []
        against = [*(one.name for one in beside[:1]), *first]
    if unknown := [name for name in against if name not in called]:
        raise ValueError(
            f"systems are compared with one that is scored, {', '.join(called)}; got {unknown[0]!r}"
        )
    where = ", ".join(map(str, corpora_of(corpus)))
    if truth == annotated.NAMES:
        aspect = _named(found, systems, names, where)
    elif names:
        raise ValueError(f"names are of systems that tag, and not of {truth}")
    else:
        aspect = _ASPECTS[truth]()
    _versions_of(aspect)  # that a package is missing is said before anything is heard
    documents, failures, done = [], [], 0
    for track in found:
        for system in systems:
            path = None if out is None else _place(Path(out), system, track)
            outcome = _outcome(track, system, aspect, path)
            failed = isinstance(outcome, Failure)
            (failures if failed else documents).append(outcome)
            done += 1
            if scored:
                own = {} if failed else {aspect.what: aspect.scores(outcome["marks"])}
                scored(system.name, own)
            if progress:
                progress(done, len(found) * len(systems))
    report = _report(documents, failures, aspect, called, against, where, command)
    report.parameters = {s.name: s.parameters for s in systems if s.parameters}
    if out is not None:
        report.write(Path(out))
        if page:
            from kzoo.evaluation.page import page as page_of  # with its style and scripts

            with replacing(Path(out, "report.html")) as temporary:
                temporary.write_text(page_of(report), encoding="utf-8")
    return report


def _question(systems: Sequence[str | Hearing]) -> str:
    """What all of these say of a recording; ValueError where it is not one thing."""
    of = {name: truth for truth, names in BASELINES.items() for name in names}
    truths = {of.get(s) if isinstance(s, str) else s.truth: s for s in systems}
    if len(truths) != 1 or None in truths:
        got = ", ".join(f"{getattr(s, 'name', s)} ({truth})" for truth, s in truths.items())
        raise ValueError(
            f"the systems of one table say the same of a recording; got {got or 'no system'}"
        )
    return next(iter(truths))


def baseline(name: str, truth: str, found: Sequence[annotated.Annotated]) -> Hearing:
    """A baseline of BASELINES that needs no network; found: the recordings that are scored.

    majority: each name's share of the recordings. random: drawn anew for each sound. librosa: its
    onset detector with its defaults, at 22050 Hz. Raises ValueError for another name.
    """
    if truth == annotated.NAMES and name in BASELINES[truth]:
        lists = [one.read() for one in found]
        every = sorted({label for labels in lists for label in labels})
        shares = {label: sum(label in labels for labels in lists) / len(lists) for label in every}
        answer = _drawn(every) if name == "random" else lambda waveform, rate: shares
        return Hearing(name, truth, answer, {"baseline": name, "shares": shares})
    if truth == annotated.ONSETS and name == "librosa":
        return Hearing(name, truth, _librosa_onsets, {"baseline": name})
    listed = ", ".join(BASELINES[truth]) or "none"
    raise ValueError(f"baselines of {truth} are {listed}; got {name!r}")


def _drawn(names: Sequence[str]) -> Callable:
    def answer(waveform, rate):
        seed = hashlib.sha256(np.ascontiguousarray(waveform)).digest()
        drawn = np.random.default_rng(list(seed)).random(len(names))
        return dict(zip(names, drawn, strict=True))

    return answer


def _librosa_onsets(waveform: np.ndarray, rate: int) -> np.ndarray:
    librosa = package("librosa", "the system librosa", "librosa")
    sound = np.concatenate(list(audio.mono([waveform], rate, _LIBROSA_RATE)))
    return librosa.onset.onset_detect(y=sound, sr=_LIBROSA_RATE, units="time")


def _named(
    found: list[annotated.Annotated], systems: Sequence[Hearing], names: Sequence[str], where: str
) -> aspects.Names:
    """The names that are scored: asked for, or those that all systems and the corpus have."""
    there = {name for one in found for name in one.read()}
    own = [system.names for system in systems if system.names]
    known = [name for name in (own[0] if own else sorted(there)) if name in there]
    known = [name for name in known if all(name in others for others in own)]
    if absent := [name for name in names if name not in known]:
        raise ValueError(
            f"{absent[0]!r} is no name that the corpus and every system have; they share "
            f"{', '.join(known[:8]) or 'none'}"
        )
    if not known:
        raise ValueError(
            f"{where}: has {', '.join(sorted(there)[:8]) or 'no names'}, and the systems know "
            f"{', '.join(own[0][:8])}: no name is in both"
        )
    names = tuple(names or known)
    counts = {len(set(names).intersection(one.read())) for one in found}
    return aspects.Names(names, exclusive=counts == {1})


def _place(out: Path, system: Hearing, track: annotated.Annotated) -> Path:
    return out / system.name / track.subset / f"{track.name}.json"


def _outcome(
    track: annotated.Annotated, system: Hearing, aspect: aspects.Aspect, path: Path | None
) -> dict[str, Any] | Failure:
    """What a system is worth on a track: from `path` where it is there, or else made anew."""
    try:
        known = _identity(track, system, aspect)
        before = path and read_json(path)
        if before and known is not None and before["kzoo"].get("identity") == known:
            return before
        waveform, rate = track.sound()
        document = {
            "marks": aspect.marks(track.read(), system.answer(waveform, rate)),
            "kzoo": {
                "track": track.name, "subset": track.subset, "system": system.name,
                "seconds": len(waveform) / rate, "data_sha256": track.sha256(), "identity": known,
            },
        }  # fmt: skip
        if path is not None:
            write_json(path, document)
        return document
    except TRACK_ERRORS as error:
        return Failure(track.name, (system.name,), " ".join(str(error).split()))


def _versions_of(aspect: aspects.Aspect) -> dict[str, str]:
    """Versions of the packages that make its figures; ImportError where one is missing."""
    try:
        return {name: importlib.metadata.version(name) for name in aspect.packages}
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(
            f"scores of {aspect.what} need a package: pip install 'kzoo[listen]' ({error.name} is "
            "missing)"
        ) from None


def _identity(track, system: Hearing, aspect: aspects.Aspect) -> dict[str, Any] | None:
    if system.known_by is None:
        return None
    everything = {
        "system": system.known_by, "data_sha256": track.sha256(), "definition": aspect.definition,
        "names": getattr(aspect, "names", ()), "versions": _versions_of(aspect),
    }  # fmt: skip
    return json.loads(json.dumps(everything))


def _report(documents, failures, aspect, systems, against, corpus, command) -> Report:
    marks: dict[str, dict] = {system: {} for system in systems}
    for document in documents:
        about = document["kzoo"]
        marks[about["system"]][about["subset"], about["track"]] = document["marks"]
    scored = [table for table in marks.values() if table]
    common = [key for key in scored[0] if all(key in table for table in scored)] if scored else []
    shared = {
        name: [table[key] for key in common] or list(table.values())
        for name, table in marks.items() if table
    }  # fmt: skip
    rows = [
        Row(d["kzoo"]["system"], aspect.what,
            {**dict.fromkeys(aspect.measures, math.nan), **scores},
            track=d["kzoo"]["track"], subset=d["kzoo"]["subset"])
        for d in documents
        if (scores := aspect.scores(d["marks"]))
    ]  # fmt: skip
    rows.sort(key=lambda row: systems.index(row.system))
    compared = tuple(aspect.scores(documents[0]["marks"])) if documents else ()
    tables = {
        (aspect.what, name): {key: aspect.scores(one) for key, one in table.items()}
        for name, table in marks.items()
    }
    averages = dict.fromkeys(compared, np.mean)
    comparisons = [
        comparison((system, other), aspect.what, tables, compared, averages)
        for k, other in enumerate(against)
        for system in systems
        if compared and system not in against[: k + 1] and marks[system] and marks[other]
    ]
    notes = aspect.notes(next(iter(shared.values()))) if shared else []
    if {len(table) for table in scored} - {len(common)}:
        each = ", ".join(f"{name} {len(table)}" for name, table in marks.items())
        notes.append(
            f"averages are over the {len(common)} recordings that were scored with every system; "
            f"scored were {each}"
        )
    header = _header(documents, aspect, corpus, command, bool(compared))
    return Report(
        header, aspect.measures, "mean",
        [aspect.average(name, own) for name, own in shared.items()], rows, comparisons,
        failures, notes, tables=aspect.tables(shared),
    )  # fmt: skip


def _header(documents, aspect: aspects.Aspect, corpus, command, compared) -> dict[str, Any]:
    header = {
        **data_header(documents, corpus, command),
        "definition": list(aspect.definition),
        "aggregation": aspect.aggregation,
        **(interval_header("mean", "recording") if compared else {}),
        "versions": versions(aspect.packages),
    }
    if isinstance(aspect, aspects.Names):
        header["names"] = f"{len(aspect.names)}: {', '.join(aspect.names)}"
    return header
