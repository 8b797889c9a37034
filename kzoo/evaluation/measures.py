"""What is scored of a corpus, and by which measures, where nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kzoo import metrics
from kzoo.data.tracks import Corpora, components, find_tracks, source_of
from kzoo.evaluation.scoring import MEASURES as SEPARATION
from kzoo.evaluation.speech import MEASURES as SPEECH
from kzoo.evaluation.speech import Speech
from kzoo.evaluation.systems import Baseline, Separation, System
from kzoo.hints import nearest

MEASURES = ("separation", "speech")
_LESS_IS_BETTER = ("VFA", "PER")  # of `aspects`


def named_measures(names: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """(separation, speech or None, the columns or none for the default ones) of what a user names.

    names: of `kzoo.metrics.MEASURES`, in any case, and at most one of separation and speech, which
    with others stands for its default columns. Raises ValueError for what is neither.
    """
    known = {name.lower(): name for name in metrics.MEASURES}
    kinds = [name for name in names if name in MEASURES]
    columns = []
    for name in names:
        if name in MEASURES:
            continue
        if name.lower() not in known:
            listed = ", ".join((*MEASURES, *known.values()))
            hint = nearest(name, known.values(), f"there are {listed}")
            raise ValueError(f"no measure is called {name!r}; {hint}")
        columns.append(known[name.lower()])
    if len(kinds) > 1:
        raise ValueError("measures are those of separation or of speech, not of both")
    if kinds and columns:
        columns = [*(SPEECH if kinds[0] == "speech" else SEPARATION), *columns]
    return (kinds[0] if kinds else None), tuple(dict.fromkeys(columns))


def higher_is_better(name: str) -> bool:
    """Of a column; those that are not in `kzoo.metrics.MEASURES` are so but for some."""
    if name in metrics.MEASURES:
        return metrics.MEASURES[name].higher_is_better
    return name not in _LESS_IS_BETTER


def what_to_score(
    corpus: Corpora,
    chosen: Sequence,
    *,
    sources: Sequence[str] = (),
    measures: str | None = None,
    dnsmos: str | Path | None = None,
    subset: str | None = None,
    tracks: Sequence[str] = (),
) -> tuple[tuple[str, ...], Speech | None]:
    """The sources, and how speech is scored, or None where sources are scored as separated ones.

    sources: by default those of the first system that names some, or of the corpus where there are
    only baselines and blind methods. measures: "separation", "speech", or by default the latter
    where a source is called speech, or a corpus has nothing else, such as noisy and clean pairs;
    then that is the only one scored. Raises ValueError where neither says what the sources are.
    """
    if measures not in (None, *MEASURES):
        raise ValueError(f"measures are those of {' or '.join(MEASURES)}; got {measures!r}")
    if dnsmos and measures == "separation":
        raise ValueError("DNSMOS is a measure of speech; got measures 'separation'")
    found = find_tracks(corpus, subset=subset, tracks=tracks)
    stems = tuple(
        dict.fromkeys(source_of(stem) for track in found for stem in components(track.stems))
    )
    named = tuple(sources) or next((tuple(s.sources) for s in chosen if s.sources), ())
    is_speech = stems == ("speech",) or "speech" in (named or stems)
    if measures == "speech" or (measures is None and (is_speech or dnsmos)):
        if "speech" in named or (is_speech and not sources):
            named = ("speech",)
        if len(named) != 1:
            listed = f"got {', '.join(named or stems)}"
            raise ValueError(f"speech is scored as one source, {listed}: --sources NAME")
        return named, Speech(None if dnsmos is None else str(dnsmos))
    if not named and chosen and all(map(_takes_any, chosen)):
        named = stems
    if not named:
        raise ValueError("name the sources of these estimates: --sources vocals,accompaniment")
    return named, None


def _takes_any(system: System) -> bool:
    """Whether any sources will do: of a baseline, and where they have no names of their own."""
    return isinstance(system, Baseline) or (
        isinstance(system, Separation) and system.interchangeable
    )
