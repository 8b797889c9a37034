"""Corpora: what is on disk, as tracks that can be read anywhere.

stems      ROOT/<track>/<source>.wav, any format; also ROOT/{train,test}/<track>/...
musdb      MUSDB18: ROOT/{train,test}/<track>.stem.mp4, or the same tree in wav
pairs      ROOT/<mixture>/<name>.wav and ROOT/<source>/<name>.wav: aligned recordings, as those of
           VoiceBank-DEMAND are: {noisy,clean}, or {noisy,clean}_trainset_28spk_wav and the like
sources    ROOT/<source>/.../<name>.wav: one folder a source, mixed freely
speech     PATH/<speaker>/.../<utterance>: speakers mixed on the fly, see `kzoo.data.mixing.speech`
noisy_speech  the same, one speaker in noise each time, see `kzoo.data.mixing.noisy_speech`
librimix   LibriMix: PATH/wav8k/min/train-100/{mix_clean,s1,s2}/<name>.wav
wsj0mix    wsj0-mix: PATH/2speakers/wav8k/min/tr/{mix,s1,s2}/<name>.wav
dsd100, slakh, medleydb, moisesdb, ccmixter, mir1k, ikala, mass, quasi  published corpora, see
           `kzoo.data.published`; stems and musdb know them by their folders
csv        a table with a column a source (and mixture, track), each cell a path
magnatagatune, gtzan, ballroom, librispeech, rendered  recordings with names, see
           `kzoo.data.annotated`
labelled   ROOT/<name>/.../<file>.wav, or a table of files and tags, see `kzoo.data.labelled`
events     recordings with the times of what happens in them, see `kzoo.data.events`
timit      TIMIT: PATH/{TRAIN,TEST}/DR1/<speaker>/<sentence>.WAV and .PHN, see `kzoo.data.timit`
solo       what `kzoo data prepare --kind solo` wrote: pitch, loudness and sound of an instrument
synthetic  made on the fly, see `kzoo.data.synthetic`; needs no path
shards     what `kzoo data prepare` wrote, see `kzoo.data.shards`
"""

from __future__ import annotations

from typing import Any

from kzoo import config
from kzoo.data.annotated.training import OPENERS
from kzoo.data.corpus import Corpus
from kzoo.data.events import events
from kzoo.data.labelled import labelled
from kzoo.data.mixing.noisy_speech import NoisySpeech
from kzoo.data.mixing.speech import Speech
from kzoo.data.recorded import LAYOUTS, Layout
from kzoo.data.recordings import Track
from kzoo.data.shards import shards
from kzoo.data.solo import solo
from kzoo.data.synthetic import synthetic
from kzoo.data.timit import timit

KINDS = {
    **LAYOUTS, "speech": Speech, "noisy_speech": NoisySpeech, "synthetic": synthetic, "solo": solo,
    "labelled": labelled, "events": events, "timit": timit, "shards": shards, **OPENERS,
}  # fmt: skip


def open_corpus(kind: str, **options: Any) -> Corpus:
    """Open a corpus by its kind; options are those of the kind, `path` first among them.

    Every kind takes sources (their names and order; "accompaniment" is the sum of whatever no other
    source claims), include and exclude (tracks by names, or by patterns such as "p226_*"),
    sample_rate, channels.
    Raises config.ConfigError for an unknown kind or option, ValueError for what is not there.
    """
    return _opened(kind, options)


def open_readable(kind: str, **options: Any) -> tuple[Corpus, list[Track]]:
    """(`open_corpus` of the recordings that can be opened, the tracks of the others)."""
    damaged: list[Track] = []
    return _opened(kind, options, damaged), damaged


def _opened(kind: str, options: dict[str, Any], damaged: list[Track] | None = None) -> Corpus:
    opener = config.named(KINDS, kind, "kind of corpus")
    corpus = config.call(opener, options, where=f"corpus {kind}")
    if isinstance(corpus, Layout):
        corpus = corpus.open(damaged)
    corpus.excluded = tuple(options.get("exclude", ()))
    return corpus
