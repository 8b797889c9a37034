"""How right it is what a network says of recordings: by scikit-learn, mir_eval and rapidfuzz.

Each function is one call of a kept library, with what that leaves open decided: what nothing can be
said of is NaN.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from kzoo.extras import package

ONSET_WINDOW_SECONDS = 0.05


def name_scores(true: np.ndarray, said: np.ndarray) -> dict[str, np.ndarray]:
    """{"ROC-AUC", "AP": float64 `[names]`} of `[recordings, names]` of 0 and 1, and how likely.

    By scikit-learn: the area under the curve of true and false positives, and average precision.
    NaN for a name that no recording has, or all have.
    """
    sklearn = _package("sklearn.metrics", "scores of names")
    measures = {"ROC-AUC": sklearn.roc_auc_score, "AP": sklearn.average_precision_score}
    told = true.min(axis=0) != true.max(axis=0)
    found = {name: np.full(true.shape[1], np.nan) for name in measures}
    for name, measure in measures.items():
        for k in np.flatnonzero(told):
            found[name][k] = measure(true[:, k], said[:, k])
    return found


def onset_scores(true_seconds: np.ndarray, found_seconds: np.ndarray) -> dict[str, float]:
    """{"F", "precision", "recall"} of sorted times, each found at most once, within 50 ms.

    By mir_eval. NaN where nothing is true; where nothing is found, 0.
    """
    mir_eval = _package("mir_eval", "scores of onsets")
    if not len(true_seconds):
        return dict.fromkeys(("F", "precision", "recall"), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of nothing found
        scores = mir_eval.onset.f_measure(
            np.asarray(true_seconds), np.asarray(found_seconds), window=ONSET_WINDOW_SECONDS
        )
    return dict(zip(("F", "precision", "recall"), map(float, scores), strict=True))


def melody_scores(
    true_seconds: np.ndarray,
    true_hz: np.ndarray,
    found_seconds: np.ndarray,
    found_hz: np.ndarray,
    voiced: np.ndarray,
) -> dict[str, float]:
    """{"OA", "RPA", "RCA", "VR", "VFA"} of two melodies, each of frames at times of its own.

    By mir_eval: overall accuracy, raw pitch and raw chroma accuracy within half a semitone, voicing
    recall and false alarm. true_hz: 0 where there is no melody. found_hz: a guess in every frame,
    of which `voiced` says whether it is a melody. RPA, RCA and VR are NaN where there is never a
    melody, VFA where there always is one.
    """
    mir_eval = _package("mir_eval", "scores of melodies")
    guesses = np.where(voiced, found_hz, -np.abs(found_hz))  # as mir_eval writes such guesses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what is never voiced
        scores = mir_eval.melody.evaluate(true_seconds, true_hz, found_seconds, guesses)
    names = {
        "OA": "Overall Accuracy", "RPA": "Raw Pitch Accuracy", "RCA": "Raw Chroma Accuracy",
        "VR": "Voicing Recall", "VFA": "Voicing False Alarm",
    }  # fmt: skip
    found = {name: float(scores[long]) for name, long in names.items()}
    undefined = []
    if not np.any(true_hz > 0):
        undefined += ["RPA", "RCA", "VR"]
    if np.all(true_hz > 0):
        undefined.append("VFA")
    return {**found, **dict.fromkeys(undefined, np.nan)}


def phone_errors(true: Sequence[str], found: Sequence[str]) -> int:
    """How many phones must be changed, put in or left out to make `true` of `found`.

    By rapidfuzz (Levenshtein's distance). The phone error rate is their sum over that of the true
    phones.
    """
    rapidfuzz = _package("rapidfuzz.distance", "phone error rates")
    return rapidfuzz.Levenshtein.distance(list(true), list(found))


def _package(name: str, what: str):
    return package(name, what, "listen")
