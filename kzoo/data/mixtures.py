"""Mixtures of a configuration's test corpora as files, each whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kzoo import audio, config
from kzoo.data.corpora import KINDS, open_corpus
from kzoo.data.corpus import Corpus

SETTINGS = "settings.yaml"  # beside the tracks that were written with them


def write_mixtures(
    tests: Mapping[str, Mapping[str, Any]],
    out: Path,
    *,
    progress: Callable[[float, float | None], object] | None = None,
) -> dict[str, Corpus]:
    """Write OUT/<test>/<track>/<source>.wav and mixture.wav for {test: options of its corpus}.

    float32, so that the sources sum to the mixture as they did. A track is written whole or not at
    all, and kept by a run that goes on with the same settings, which lie beside the tracks in
    settings.yaml. progress: called with (seconds done, seconds in all). Returns the corpora.
    Raises ConfigError for a test without a kind, and where tracks of other settings are there
    already.
    """
    corpora = {}
    for name, options in tests.items():
        if not isinstance(options, Mapping) or "kind" not in options:
            raise config.ConfigError(f"data.tests.{name} needs a kind: {', '.join(KINDS)}")
        corpora[name] = open_corpus(**options)
        _refuse_other_mixtures(out / name, dict(options))
    done, total = 0.0, sum(corpus.seconds for corpus in corpora.values())
    for name, corpus in corpora.items():
        (out / name).mkdir(parents=True, exist_ok=True)
        config.dump_yaml(tests[name], out / name / SETTINGS)
        for number, (track, samples) in enumerate(corpus.tracks):
            if not (out / name / track).is_dir():
                _write_mixture(corpus, number, out / name / track)
            done += samples / corpus.sample_rate
            if progress:
                progress(done, total)
    return corpora


def _refuse_other_mixtures(folder: Path, options: dict[str, Any]) -> None:
    if not folder.is_dir() or not any(p.name[0] != "." for p in folder.iterdir()):
        return
    if not (folder / SETTINGS).is_file() or config.load_yaml(folder / SETTINGS) != options:
        raise config.ConfigError(
            f"{folder}: exists already, and is not of these settings; name another folder"
        )


def _write_mixture(corpus: Corpus, number: int, folder: Path) -> None:
    found = corpus.read(number, 0, corpus.tracks[number][1])
    parts = dict(zip(corpus.sources, found["sources"], strict=True))
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a kill left
    for part, sound in {"mixture": found["mixture"], **parts}.items():
        audio.write(unfinished / f"{part}.wav", sound, corpus.sample_rate, bit_depth="float32")
    os.replace(unfinished, folder)
