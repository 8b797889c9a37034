"""The verbs `data check` and `data prepare`: what a corpus holds, and its shards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio, config, data, presets
from kzoo.data import shards
from kzoo.data.corpus import Corpus
from kzoo.data.tracks import Track, find_tracks, fit
from kzoo.terminal import bar, one_line, quiet_tensorflow, say


def check(path: str, *, subset: str | None, show: bool) -> None:
    """Decode every track of a corpus of stems, or every shard, and say what is there and wrong.

    SystemExit(1) where anything is.
    """
    if (Path(path) / shards.INDEX).is_file():
        corpus = data.open_corpus("shards", path=path)
        lines, problems = _describe(corpus), shards.verify(path)
    else:
        tracks = find_tracks(path, subset=subset or "all" if _is_tree(path) else subset)
        lines, problems = _check_tracks(tracks, show=show)
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
    kind: str,
    sources: Sequence[str],
    exclude: Sequence[str],
    sample_rate: int,
    channels: int,
    dtype: str,
    licence: str,
    teacher: str | None,
    show: bool,
) -> None:
    """Decode a corpus into shards; with a teacher, separate a folder of plain recordings first."""
    if teacher is not None:
        corpus: Corpus = Taught(Path(path), teacher, exclude=exclude)
    else:
        options: dict[str, Any] = {"path": path, "sources": list(sources) or None}
        options |= {"exclude": list(exclude), "sample_rate": sample_rate, "channels": channels}
        # Of speech the utterances are kept: they are mixed anew in every training.
        corpus = data.open_corpus("sources" if kind == "speech" else kind, **options)
    with bar(f"preparing {out}", unit="seconds", show=show) as progress:
        data.prepare(corpus, out, dtype=dtype, licence=licence, progress=progress)
    for line in _describe(data.open_corpus("shards", path=str(out))):
        print(line)


def mix(path: Path, settings: Sequence[str], out: Path, *, show: bool) -> None:
    """Write the corpora under `data.tests` of a configuration as OUT/<test>/<track>/<source>.wav.

    float32, so that the sources sum to the mixture as they did. Raises ConfigError where there are
    no tests, and AudioError where a file is there already.
    """
    values = config.override(config.load_yaml(path), settings)
    tests = values.get("data", {}).get("tests")
    if not tests:
        raise config.ConfigError(f"{path}: has no section data.tests with a corpus by each name")
    corpora = {}
    for name, options in tests.items():
        if not isinstance(options, dict) or "kind" not in options:
            raise config.ConfigError(f"data.tests.{name} needs a kind: {', '.join(data.KINDS)}")
        sources = values.get("model", {}).get("sources")
        corpora[name] = data.open_corpus(**{"sources": sources, **options})
    done, total = 0.0, sum(corpus.seconds for corpus in corpora.values())
    with bar(f"mixing {out}", unit="seconds", show=show) as progress:
        for name, corpus in corpora.items():
            for number, (track, samples) in enumerate(corpus.tracks):
                found = corpus.read(number, 0, samples)
                parts = dict(zip(corpus.sources, found["sources"], strict=True))
                for part, sound in {"mixture": found["mixture"], **parts}.items():
                    audio.write(
                        out / name / track / f"{part}.wav", sound, corpus.sample_rate,
                        bit_depth="float32",
                    )  # fmt: skip
                done += samples / corpus.sample_rate
                progress(done, total)
    for name, corpus in corpora.items():
        print(f"{out / name}: {_describe(corpus)[0]}")


class Taught(Corpus):
    """Recordings without stems, and for their sources what a preset makes of them."""

    def __init__(self, folder: Path, preset: str, *, exclude: Sequence[str] = ()):
        card = presets.load_card(preset)
        self.preset, self.sources = preset, tuple(card["sources"])
        self.sample_rate, self.channels = card["sample_rate"], card["channels"]
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such folder of recordings")
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in audio.READABLE)
        self._files = [p for p in files if p.stem not in exclude]
        if not self._files:
            raise ValueError(f"{folder}: holds no recordings to be taught on")
        lengths = [audio.info(p).duration_seconds or 0 for p in self._files]
        self.tracks = [
            (p.stem, round(seconds * self.sample_rate))
            for p, seconds in zip(self._files, lengths, strict=True)
        ]
        self._separator, self._at, self._stems = None, None, {}

    def whole(self, track: int, part: str) -> np.ndarray:
        """A source of a recording; all of them are made at the first that is asked for."""
        if self._at != track:
            mixture, _ = audio.read(self._files[track], sample_rate=self.sample_rate)
            mixture = fit(mixture, self.tracks[track][1], mixture.shape[1])
            stems = self._separate(mixture)
            wide = (len(mixture), self.channels)
            self._stems = {name: np.broadcast_to(stem, wide) for name, stem in stems.items()}
            self._at = track
        return self._stems[part]

    def identity(self, track: int) -> str:
        """Of the recording and of the teacher's weights."""
        weights = presets.weights_path(self.preset)
        sha256 = presets.file_sha256
        return sha256(self._files[track])[:32] + (sha256(weights)[:32] if weights else "")

    def _separate(self, mixture: np.ndarray) -> dict[str, np.ndarray]:
        if self._separator is None:
            quiet_tensorflow()
            from kzoo import api

            self._separator: Callable = api.Separator.from_preset(self.preset).separate
        return self._separator(mixture, self.sample_rate)


def _is_tree(path: str) -> bool:
    return any((Path(path) / name).is_dir() for name in ("train", "test"))


def _describe(corpus: Corpus) -> list[str]:
    with_source = [f"{name} in {len(corpus.tracks_of(name))}" for name in corpus.sources]
    return [
        f"{len(corpus.tracks)} tracks, {corpus.seconds / 60:.1f} minutes, {corpus.sample_rate} Hz, "
        f"{corpus.channels} channels; {', '.join(with_source)}"
    ]


def _check_tracks(tracks: Sequence[Track], *, show: bool) -> tuple[list[str], list[str]]:
    lines, problems = [], []
    common = set.intersection(*(set(track.stems) for track in tracks))
    for name in sorted({name for track in tracks for name in track.stems} - common):
        having = sum(name in track.stems for track in tracks)
        lines.append(f"{name}: in {having} of {len(tracks)} tracks only")
    seconds = 0.0
    with bar("reading", unit="seconds", show=show) as progress:
        total = sum(track.seconds() for track in tracks)
        for track in tracks:
            found = {}
            for name, recording in track.stems.items():
                try:
                    sound, rate = audio.read(recording.path, stream=recording.stream)
                except audio.AudioError as error:
                    problems.append(f"{track.name}: {one_line(error)}")
                    continue
                found[name] = (len(sound), rate)
                if not np.isfinite(sound).all():
                    problems.append(f"{track.name}: {name} holds values that are no numbers")
                elif np.abs(sound).max(initial=0) < 1e-5:
                    lines.append(f"{track.name}: {name} is silent")
            rates = {rate for _, rate in found.values()}
            if len(rates) > 1:
                problems.append(f"{track.name}: its stems have different rates: {sorted(rates)} Hz")
            lengths = [length / rate for length, rate in found.values()]
            if lengths and max(lengths) - min(lengths) > 0.1:
                lines.append(f"{track.name}: stems end {max(lengths) - min(lengths):.1f} s apart")
            if found:
                stems = ", ".join(found)
                lines.append(f"{track.name}: {max(lengths):.1f} s, {min(rates)} Hz, {stems}")
            seconds += track.seconds()
            progress(seconds, total)
    lines.append(f"{len(tracks)} tracks, {seconds / 60:.1f} minutes; in all: "
                 f"{', '.join(sorted(common)) or 'no stem'}")  # fmt: skip
    return lines, problems
