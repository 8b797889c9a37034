"""What can be scored of recordings: their names, onsets, melody or phones, and by which measures.

An aspect turns what is true and what a system answers into figures. Those of onsets, melodies and
phones are of each recording, and averaged; those of names are of all recordings together, since a
curve needs many.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kzoo import metrics
from kzoo.data import annotated
from kzoo.data.events import Event
from kzoo.evaluation import statistics
from kzoo.evaluation.report import Row

ALL_NAMES = "all names"


class Aspect(ABC):
    """One thing that is true of recordings.

    truth: of `data.annotated`. what: the source that rows of a report name. measures: the columns.
    definition: what each of them is, without a full stop. packages: that make the figures.
    averaged: whether recordings have figures of their own, of which there are averages,
    intervals and comparisons.
    """

    truth: ClassVar[str]
    what: ClassVar[str]
    measures: tuple[str, ...]
    definition: ClassVar[tuple[str, ...]]
    aggregation: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    averaged: ClassVar[bool] = True

    @abstractmethod
    def marks(self, true: Any, answer: Any) -> dict[str, Any]:
        """What is kept, as JSON, of a recording's truth and a system's answer.

        Raises ValueError for an answer that says nothing.
        """

    def scores(self, marks: Mapping[str, Any]) -> dict[str, float]:
        """{measure: figure} of one recording."""
        return {name: np.nan if v is None else v for name, v in marks["measures"].items()}

    def average(self, system: str, marks: Sequence[Mapping[str, Any]]) -> Row:
        """The row of a system over recordings: means, and their intervals."""
        rows = [self.scores(one) for one in marks]
        found = {
            name: statistics.estimate([scores[name] for scores in rows]) for name in self.measures
        }
        return _row(system, self.what, found, len(marks))

    def tables(
        self, systems: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Further tables of a report, {name: rows}, of what systems have of the same recordings."""
        return {}

    def notes(self, marks: Sequence[Mapping[str, Any]]) -> list[str]:
        """What a reader should know of these recordings."""
        return []


def _row(system, what, found: Mapping[str, statistics.Estimate], tracks: int) -> Row:
    return Row(
        system, what, {name: estimate.value for name, estimate in found.items()}, tracks=tracks,
        intervals={name: (estimate.low, estimate.high) for name, estimate in found.items()},
    )  # fmt: skip


def _measured(scores: Mapping[str, float]) -> dict[str, Any]:
    rounded = {name: None if np.isnan(v) else round(v, 5) for name, v in scores.items()}
    return {"measures": rounded}


class Names(Aspect):
    """Which of `names` a recording has, by a probability of each; `exclusive`: it has one."""

    truth = annotated.NAMES
    what = ALL_NAMES
    definition = (
        "ROC-AUC: area under the curve of true and false positives of a name (scikit-learn); 0.5 "
        "by chance",
        "AP: average precision of a name (scikit-learn); by chance its share of the recordings",
    )
    aggregation = "each name over all recordings, then the mean over names"
    packages = ("scikit-learn",)
    averaged = False

    def __init__(self, names: Sequence[str], *, exclusive: bool):
        self.names, self.exclusive = tuple(names), exclusive
        self.measures = (*(("accuracy",) if exclusive else ()), "ROC-AUC", "AP")
        if exclusive:
            self.definition = (
                "accuracy: share of the recordings whose likeliest name is the true one",
                *Names.definition,
            )

    def marks(self, true: Sequence[str], answer: Mapping[str, float]) -> dict[str, Any]:
        """Numbers in the order of `names`; answer: {name: probability}."""
        said = [float(answer[name]) for name in self.names]
        if not np.isfinite(said).all():
            raise ValueError("its probabilities are not numbers")
        return {"true": [int(name in true) for name in self.names], "said": said}

    def scores(self, marks: Mapping[str, Any]) -> dict[str, float]:
        """Whether the likeliest name is the true one, where names are exclusive."""
        if not self.exclusive:
            return {}
        return {"accuracy": float(np.argmax(marks["said"]) == np.argmax(marks["true"]))}

    def average(self, system: str, marks: Sequence[Mapping[str, Any]]) -> Row:
        """Means over names of what can be told of them; of accuracy with its interval."""
        found = {
            name: statistics.Estimate(_mean(values), np.nan, np.nan)
            for name, values in self._of_names(marks).items()
        }
        if self.exclusive:
            right = [self.scores(one)["accuracy"] for one in marks]
            found = {"accuracy": statistics.estimate(right), **found}
        return _row(system, self.what, found, len(marks))

    def tables(
        self, systems: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> dict[str, list[dict[str, Any]]]:
        """names: a row a system and name, with the recordings that have it."""
        rows = []
        for system, marks in systems.items():
            found, positive = self._of_names(marks), _matrix(marks, "true").sum(axis=0)
            for k, name in enumerate(self.names):
                figures = {measure: _plain(values[k]) for measure, values in found.items()}
                of = {"system": system, "name": name, "positive": int(positive[k])}
                rows.append({**of, "recordings": len(marks), **figures})
        return {"names": rows}

    def notes(self, marks: Sequence[Mapping[str, Any]]) -> list[str]:
        true = _matrix(marks, "true")
        untold = np.flatnonzero(true.min(axis=0) == true.max(axis=0))
        if not len(untold):
            return []
        listed = ", ".join(self.names[k] for k in untold[:8])
        more = f" and {len(untold) - 8} more" if len(untold) > 8 else ""
        return [f"left out of the means, as no recording or every one has it: {listed}{more}"]

    @staticmethod
    def _of_names(marks: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        return metrics.name_scores(_matrix(marks, "true"), _matrix(marks, "said"))


def _matrix(marks: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    return np.array([one[key] for one in marks])


def _mean(values: np.ndarray) -> float:
    told = values[~np.isnan(values)]
    return float(told.mean()) if len(told) else np.nan


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)


class Onsets(Aspect):
    """When notes or drums begin: an answer is times in seconds."""

    truth = annotated.ONSETS
    what = "onsets"
    measures = ("F", "precision", "recall")
    definition = ("F, precision, recall: of onsets within 50 ms, each counted once (mir_eval)",)
    aggregation = "mean over the recordings that have onsets"
    packages = ("mir_eval",)

    def marks(self, true: np.ndarray, answer: np.ndarray) -> dict[str, Any]:
        return _measured(metrics.onset_scores(true, np.sort(answer)))


class Melody(Aspect):
    """Where a melody is: an answer is (seconds, hertz, whether voiced) of frames."""

    truth = annotated.MELODY
    what = "melody"
    measures = ("OA", "RPA", "RCA", "VR", "VFA")
    definition = (
        "OA: overall accuracy; RPA, RCA: raw pitch and raw chroma accuracy, within half a semitone "
        "(mir_eval)",
        "VR, VFA: voicing recall, and voicing false alarm, of which less is better (mir_eval)",
    )
    aggregation = "mean over recordings"
    packages = ("mir_eval",)

    def marks(
        self, true: tuple[np.ndarray, np.ndarray], answer: tuple[np.ndarray, ...]
    ) -> dict[str, Any]:
        return _measured(metrics.melody_scores(*true, *answer))


class Phones(Aspect):
    """What is spoken: an answer is the phones in their order."""

    truth = annotated.PHONES
    what = "phones"
    measures = ("PER",)
    definition = (
        "PER: phones that are wrong, missing or too many, by those that are true (Levenshtein's "
        "distance, rapidfuzz); less is better",
    )
    aggregation = "all errors over all true phones"
    packages = ("rapidfuzz",)

    def marks(self, true: Sequence[Event], answer: Sequence[str]) -> dict[str, Any]:
        phones = [phone.name for phone in true]
        if not phones:
            raise ValueError("has no phones")
        errors = metrics.phone_errors(phones, answer)
        return {**_measured({"PER": errors / len(phones)}), "errors": errors, "phones": len(phones)}

    def average(self, system: str, marks: Sequence[Mapping[str, Any]]) -> Row:
        """The errors of all recordings by all of their phones."""
        errors, phones = _matrix(marks, "errors"), _matrix(marks, "phones")

        def rate(which, axis=None):
            which = which.astype(int)
            return errors[which].sum(axis=axis) / phones[which].sum(axis=axis)

        found = statistics.estimate(np.arange(len(marks)), rate)
        return _row(system, self.what, {"PER": found}, len(marks))
