"""Systems compared: by scores on a corpus, or by ear on a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kzoo import comparison, evaluation


def evaluate(
    corpus: str | Path | Sequence[str | Path],
    systems: Sequence[str | Path] = (),
    *,
    sources: Sequence[str] | None = None,
    overlap: float = 0.0,
    mwf: bool = False,
    n_sources: int | None = None,
    interchangeable: bool = False,
    measures: str | None = None,
    dnsmos: str | Path | None = None,
    **options: Any,
) -> evaluation.Report:
    """Score presets, run folders, folders of estimates, and scores of museval, on `corpus`.

    Presets that hear are scored by what is true of recordings: names, onsets, a melody or phones.

    systems: a path, a name, or NAME=PATH.

    corpus: of several, the tracks are averaged together. sources: by default those of the first
    preset; of taggers the names that are scored. n_sources: of presets that separate by clusters.
    interchangeable: the order of sources means nothing, as that of speakers; presets whose card
    says so need no word. measures: names of `kzoo.metrics.MEASURES` with commas between, or all of
    "separation" or of "speech"; by default the latter where the corpus is speech in noise.
    dnsmos: the path of sig_bak_ovr.onnx.
    options: of `kzoo.evaluation.evaluate` (out, tracks, start_seconds, duration_seconds,
    baselines, against, processes, progress, ...), or where presets hear of `evaluate_hearing`.
    """
    from kzoo import evaluation
    from kzoo.api.hearing_systems import hearing_baselines, hears, refuse_for_hearing
    from kzoo.api.systems import evaluation_systems
    from kzoo.evaluation.measures import named_measures, what_to_score

    kind, columns = named_measures((measures or "").replace(",", " ").split())
    chosen = evaluation_systems(
        [str(name) for name in systems], {"overlap": overlap, "mwf": mwf},
        n_sources=n_sources, interchangeable=interchangeable,
    )  # fmt: skip
    if hears(chosen, options.get("baselines")):
        refuse_for_hearing(measures=measures, dnsmos=dnsmos, interchangeable=interchangeable)
        beside = hearing_baselines(chosen, options.pop("baselines", None))
        return evaluation.evaluate_hearing(
            corpus, chosen, names=sources or (), baselines=beside, **options
        )
    wanted, speech = what_to_score(
        corpus, chosen, sources=sources or (), measures=kind, dnsmos=dnsmos,
        subset=options.get("subset"), tracks=options.get("tracks", ()),
    )  # fmt: skip
    return evaluation.evaluate(
        corpus, chosen, sources=wanted, speech=speech, columns=columns, **options
    )


def compare(
    recording: str | Path,
    systems: Sequence[str | Path],
    path: str | Path = "compare.html",
    **options: Any,
) -> comparison.Written:
    """Write a page on which the stems of several systems are heard in turn, without a reference.

    systems: presets, run folders, methods without training and folders of stems, or NAME=PATH of
    one. options: of `kzoo.comparison.compare` (start_seconds, duration_seconds, format, ...).
    """
    from kzoo import comparison
    from kzoo.api.systems import comparison_systems

    opened = comparison_systems([str(name) for name in systems])
    return comparison.compare(recording, opened, path, **options)
