"""The verbs of `kzoo data`: what a corpus holds, its shards, and mixtures to be judged by."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kzoo import audio, config, data, presets
from kzoo.cli.terminal import bar, quiet_tensorflow, say
from kzoo.data import checking, shards, solo
from kzoo.data.corpus import Corpus
from kzoo.data.pseudolabelled import Pseudolabelled

FRAMES_A_SECOND = 250  # of controls that `prepare_solo` writes
SETTINGS = "settings.yaml"  # beside the tracks that `mix` has written with them


def check(
    path: str,
    *,
    subset: str | None,
    show: bool,
    kind: str | None = None,
    sources: Sequence[str] = (),
    mixture: str | None = None,
) -> None:
    """Decode every track of a corpus, or every shard, and say what is there and what is wrong.

    kind: one that is recorded; by default what was prepared where there is an index, else stems.
    SystemExit(1) where anything is wrong.
    """
    given = _given(subset=subset, sources=list(sources), mixture=mixture)
    if kind == "shards" or (kind is None and (Path(path) / shards.INDEX).is_file()):
        corpus = data.open_corpus("shards", path=path, **given)
        lines, problems = _describe(corpus), shards.verify(path)
    elif kind in (None, "solo") and (Path(path) / solo.INDEX).is_file():
        problems = solo.verify(path)
        corpus = None if problems else data.open_corpus("solo", path=path, **given)
        lines = describe_solo(corpus) if corpus else []
    else:
        tracks, lines = checking.list_tracks(path, kind, given)
        with bar("reading", unit="seconds", show=show) as progress:
            found, problems = checking.check_tracks(
                tracks, progress=progress, aligned=kind not in ("sources", "speech", "solo"),
                sources=sources if kind in (None, "stems", "musdb") else (),
            )  # fmt: skip
        lines += found
    for line in lines:
        print(line)
    for problem in problems:
        say(f"kzoo: {problem}")
    if problems:
        raise SystemExit(1)


def prepare(
    path: str,
    out: Path,
    *,
    kind: str | None,
    sources: Sequence[str],
    exclude: Sequence[str],
    sample_rate: int | None,
    channels: int | None,
    dtype: str,
    licence: str,
    teacher: str | None,
    show: bool,
    mixture: str | None = None,
) -> None:
    """Decode a corpus into shards; with a teacher, separate a folder of plain recordings first.

    What is None or empty is the kind's own choice, "stems" being the kind. Raises ValueError for
    what a teacher decides by itself.
    """
    given = _given(
        sources=list(sources), mixture=mixture, sample_rate=sample_rate, channels=channels
    )
    if teacher is not None:
        corpus: Corpus = pseudolabelled(path, teacher, exclude=exclude)
        for name, value in _given(kind=kind, **given).items():
            own = getattr(corpus, name, None)
            if value != (list(own) if isinstance(own, tuple) else own):
                raise ValueError(
                    f"--{name.replace('_', '-')} does not go with --teacher, which gives "
                    f"{', '.join(corpus.sources)} at {corpus.sample_rate} Hz in {corpus.channels} "
                    "channels: leave it out"
                )
    else:
        # Of speech the utterances are kept: they are mixed anew in every training.
        kind = {None: "stems", "speech": "sources"}.get(kind, kind)
        corpus = data.open_corpus(kind, path=path, **given, **_given(exclude=list(exclude)))
        if sample_rate is None and len(corpus.rates) > 1:
            counts = ", ".join(f"{n} at {rate} Hz" for rate, n in sorted(corpus.rates.items()))
            say(
                f"kzoo: the recordings have different rates ({counts}); {corpus.sample_rate} Hz, "
                "the lowest, is taken: give --sample-rate for another"
            )
    with bar(f"preparing {out}", unit="seconds", show=show) as progress:
        data.prepare(corpus, out, dtype=dtype, licence=licence, progress=progress)
    for line in _describe(data.open_corpus("shards", path=str(out))):
        print(line)


def prepare_solo(
    path: str, out: Path, *, pitch: str, exclude: Sequence[str], sample_rate: int, licence: str,
    show: bool,
) -> None:  # fmt: skip
    """Follow every recording under `path` into `out`, and print what was found.

    pitch: a method of `kzoo pitch`. Raises ValueError for a rate without 250 hops a second, and
    where nothing can be followed.
    """
    hop_length, rest = divmod(sample_rate, FRAMES_A_SECOND)
    if rest or not hop_length:
        raise ValueError(
            f"sample_rate must be a multiple of {FRAMES_A_SECOND} Hz, for as many frames a second; "
            f"got {sample_rate}"
        )
    quiet_tensorflow()
    from kzoo.pitch_tracking import PitchTracker

    tracker = PitchTracker(pitch, hop_ms=1000 / FRAMES_A_SECOND)
    with bar(f"preparing {out}", unit="seconds", show=show) as progress:
        solo.prepare(
            path, out, estimate=tracker.estimate, method=pitch, sample_rate=sample_rate,
            hop_length=hop_length, exclude=exclude, licence=licence, progress=progress, say=say,
        )  # fmt: skip
    for line in describe_solo(solo.solo(str(out))):
        print(line)


def describe_solo(corpus: solo.Solo) -> list[str]:
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


def mix(path: Path, settings: Sequence[str], out: Path, *, show: bool) -> None:
    """Write the corpora under `data.tests` of a configuration as OUT/<test>/<track>/<source>.wav.

    float32, so that the sources sum to the mixture as they did. A track is written whole or not at
    all, and kept by a run that goes on with the same settings, which lie beside the tracks in
    settings.yaml. Raises ConfigError where there are no tests, and where tracks of other settings
    are there already.
    """
    values = config.override(config.load_yaml(path), settings)
    tests = values.get("data", {}).get("tests")
    if not tests:
        raise config.ConfigError(f"{path}: has no section data.tests with a corpus by each name")
    corpora = {}
    for name, options in tests.items():
        if not isinstance(options, dict) or "kind" not in options:
            raise config.ConfigError(f"data.tests.{name} needs a kind: {', '.join(data.KINDS)}")
        tests[name] = {"sources": values.get("model", {}).get("sources"), **options}
        corpora[name] = data.open_corpus(**tests[name])
        _refuse_other_mixtures(out / name, tests[name])
    done, total = 0.0, sum(corpus.seconds for corpus in corpora.values())
    with bar(f"mixing {out}", unit="seconds", show=show) as progress:
        for name, corpus in corpora.items():
            _write_settings(tests[name], out / name)
            for number, (track, samples) in enumerate(corpus.tracks):
                if not (out / name / track).is_dir():
                    _write_mixture(corpus, number, out / name / track)
                done += samples / corpus.sample_rate
                progress(done, total)
    for name, corpus in corpora.items():
        print(f"{out / name}: {_describe(corpus)[0]}")


def pseudolabelled(path: str | Path, preset: str, *, exclude: Sequence[str] = ()) -> Pseudolabelled:
    """Plain recordings with the sources that `preset` makes of them, built when first needed."""
    card = presets.load_card(preset)
    weights = presets.weights_path(preset)

    @functools.cache
    def separator() -> Callable:
        quiet_tensorflow()
        from kzoo import api

        return api.Separator.from_preset(preset).separate

    return Pseudolabelled(
        path, lambda waveform, rate: separator()(waveform, rate),
        sources=presets.sources(preset, card), sample_rate=card["sample_rate"],
        channels=card["channels"], teacher=presets.file_sha256(weights) if weights else "",
        exclude=exclude,
    )  # fmt: skip


def _given(**options: Any) -> dict[str, Any]:
    """Those that were said."""
    return {name: value for name, value in options.items() if value}


def _refuse_other_mixtures(folder: Path, options: dict[str, Any]) -> None:
    if not folder.is_dir() or not any(p.name[0] != "." for p in folder.iterdir()):
        return
    if not (folder / SETTINGS).is_file() or config.load_yaml(folder / SETTINGS) != options:
        raise config.ConfigError(
            f"{folder}: exists already, and is not of these settings; name another folder"
        )


def _write_settings(options: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    config.dump_yaml(options, folder / f".{SETTINGS}")
    os.replace(folder / f".{SETTINGS}", folder / SETTINGS)


def _write_mixture(corpus: Corpus, number: int, folder: Path) -> None:
    found = corpus.read(number, 0, corpus.tracks[number][1])
    parts = dict(zip(corpus.sources, found["sources"], strict=True))
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a kill left
    for part, sound in {"mixture": found["mixture"], **parts}.items():
        audio.write(unfinished / f"{part}.wav", sound, corpus.sample_rate, bit_depth="float32")
    os.replace(unfinished, folder)


def _describe(corpus: Corpus) -> list[str]:
    with_source = [f"{name} in {len(corpus.tracks_of(name))}" for name in corpus.sources]
    return [
        f"{len(corpus.tracks)} tracks, {corpus.seconds / 60:.1f} minutes, {corpus.sample_rate} Hz, "
        f"{corpus.channels} channels; {', '.join(with_source)}"
    ]
