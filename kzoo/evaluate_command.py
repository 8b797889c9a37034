"""The verb `evaluate`: presets, run folders and folders of estimates against a corpus."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo import presets
from kzoo.terminal import bar, one_line, quiet_tensorflow, say

if TYPE_CHECKING:
    from kzoo.evaluation import Speech

MEASURES = ("separation", "speech")


def systems(
    names: Sequence[str], options: dict[str, Any], *, interchangeable: bool = False
) -> list:
    """A system for each name: a preset's, a run folder's, a folder of estimates, or a baseline.

    interchangeable: the sources of all of them, not only where a card says so.
    Models are built when their first track is separated. Raises ValueError for what is neither.
    """
    from kzoo.evaluation import BASELINES, Baseline, EstimatesFolder, Separation

    found = []
    for name in names:
        folder = Path(name)
        if folder.is_dir() and not (folder / presets.CARD).is_file():
            found.append(
                EstimatesFolder(folder.resolve().name, folder, interchangeable=interchangeable)
            )
            continue
        try:
            card = presets.load_card(name)
        except presets.PresetError as error:
            if name not in BASELINES:
                raise ValueError(f"{error}; nor is it a folder of estimates") from None
            found.append(Baseline(name))
            continue
        found.append(
            Separation(
                card["name"], tuple(presets.sources(name, card)), _separator(name, options),
                {"preset": card["name"], "weights_sha256": _weights_sha256(name), **options},
                interchangeable=interchangeable or bool(card.get("interchangeable", False)),
            )
        )  # fmt: skip
    return found


def what_to_score(
    corpus: str | Path,
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
    only baselines. measures: "separation", "speech", or by default the latter where a source is
    called speech, or a corpus has nothing else, such as noisy and clean pairs; then that is the
    only one scored. Raises ValueError where neither says what the sources are.
    """
    from kzoo.data.tracks import components
    from kzoo.evaluation import Baseline, Speech, find_tracks

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
    if not named and chosen and all(isinstance(system, Baseline) for system in chosen):
        named = stems
    if not named:
        raise ValueError("name the sources of these estimates: --sources vocals,accompaniment")
    return named, None


def evaluate_systems(
    names: Sequence[str],
    *,
    corpus: Path,
    sources: Sequence[str],
    out: Path | None,
    subset: str | None,
    tracks: Sequence[str],
    start_seconds: float,
    duration_seconds: float | None,
    baselines: Sequence[str],
    processes: int,
    measures: str | None,
    dnsmos: Path | None,
    options: dict[str, Any],
    interchangeable: bool,
    show: bool,
) -> None:
    """Score and print the table; SystemExit(1) where a track could not be scored."""
    from kzoo.evaluation import BASELINES, evaluate

    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"a baseline is one of {', '.join(BASELINES)}; got {name!r}")
    chosen = systems(names, options, interchangeable=interchangeable)
    command = _command(
        names, corpus=corpus, sources=",".join(sources), out=out, subset=subset, track=tracks,
        start=start_seconds, duration=duration_seconds, baselines=",".join(baselines),
        interchangeable=interchangeable, measures=measures, dnsmos=dnsmos, jobs=processes,
        **options,
    )  # fmt: skip
    sources, speech = what_to_score(
        corpus, chosen, sources=sources, measures=measures, dnsmos=dnsmos, subset=subset,
        tracks=tracks,
    )  # fmt: skip
    with bar("scoring", unit="scores", show=show) as progress:
        report = evaluate(
            corpus, chosen, sources=sources, out=out, subset=subset, tracks=tracks,
            start_seconds=start_seconds, duration_seconds=duration_seconds, baselines=baselines,
            speech=speech, processes=processes, progress=progress, command=command,
        )  # fmt: skip
    print(report.text(), end="")
    if out is not None and show:
        say(f"scores of every track are in {out}/")
    if report.failures:
        raise SystemExit(1)


def _command(names: Sequence[str], **options: Any) -> str:
    """The words that make the table again: every option that is not as it would be unsaid."""
    unsaid = {
        "sources": "", "start": 0.0, "baselines": "mixture,irm", "overlap": 0.0, "jobs": 1,
    }  # fmt: skip
    words = ["kzoo", "evaluate", *names]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] * value
        elif isinstance(value, (list, tuple)):
            words += [word for item in value for word in (flag, item)]
        elif value != unsaid.get(name):
            words += [flag, str(value)]
    return shlex.join(words)


def _separator(preset: str, options: dict[str, Any]):
    made = []

    def separate(waveform, sample_rate):
        quiet_tensorflow()
        import tensorflow as tf

        from kzoo import api

        try:
            if not made:
                made.append(api.Separator.from_preset(preset, **options))
                for note in made[0].notes:
                    say(f"{preset}: {note}")
            return made[0].separate(waveform, sample_rate)
        except tf.errors.OpError as error:  # of a track that does not fit, for one
            exhausted = isinstance(error, tf.errors.ResourceExhaustedError)
            message = one_line(error.message)
            raise (MemoryError if exhausted else RuntimeError)(message) from None

    return separate


def _weights_sha256(preset: str) -> str:
    path = presets.weights_path(preset) or presets.download(preset)
    return presets.file_sha256(path)
