"""What the verbs of `kzoo data` say of a corpus, and how they hand options on to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kzoo.data.corpus import Corpus
    from kzoo.data.solo import Solo


def describe(corpus: Corpus) -> list[str]:
    with_source = [f"{name} in {len(corpus.tracks_of(name))}" for name in corpus.sources]
    seconds = corpus.seconds * (len(corpus.tracks) if corpus.mixes else 1)  # of each, or of all
    return [
        f"{len(corpus.tracks)} tracks, {seconds / 60:.1f} minutes, {corpus.sample_rate} Hz, "
        f"{corpus.channels} channels; {', '.join(with_source)}"
    ]


def describe_solo(corpus: Solo) -> list[str]:
    """Lines about a prepared folder: how much, and where its pitch and loudness are."""
    found = corpus.statistics()
    lines = [
        f"{len(corpus.tracks)} recordings, {corpus.seconds / 60:.1f} minutes, "
        f"{corpus.sample_rate} Hz; {100 * found['voiced']:.0f} % of the frames have a pitch"
    ]
    for name, unit in (("midi", "notes"), ("loudness_db", "dB")):
        quantiles = found[name]["quantiles"]
        lines.append(
            f"{name}: mean {found[name]['mean']:.1f}, deviation {found[name]['std']:.1f} {unit}; "
            f"{quantiles[0.05]:.1f} to {quantiles[0.95]:.1f} in nine of ten frames"
        )
    return lines


def given_options(**options: Any) -> dict[str, Any]:
    """The options that are not None or empty."""
    return {name: value for name, value in options.items() if value}
