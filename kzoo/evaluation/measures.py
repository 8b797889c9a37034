"""What is scored of a corpus, and by which measures, where nobody says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kzoo.data.tracks import Corpora, components, find_tracks
from kzoo.evaluation.speech import Speech
from kzoo.evaluation.systems import Baseline, Separation, System

MEASURES = ("separation", "speech")


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
    stems = tuple(dict.fromkeys(stem for track in found for stem in components(track.stems)))
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
