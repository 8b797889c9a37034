"""Corpora: what is on disk, as tracks that can be read anywhere.

stems      ROOT/<track>/<source>.wav, any format; also ROOT/{train,test}/<track>/...
musdb      MUSDB18: ROOT/{train,test}/<track>.stem.mp4, or the same tree in wav
pairs      ROOT/<mixture>/<name>.wav and ROOT/<source>/<name>.wav: aligned recordings, as those of
           VoiceBank-DEMAND are: {noisy,clean}, or {noisy,clean}_trainset_28spk_wav and the like
sources    ROOT/<source>/.../<name>.wav: one folder a source, mixed freely
speech     PATH/<speaker>/.../<utterance>: speakers mixed on the fly, see `kzoo.data.speech`
noisy_speech  the same, one speaker in noise each time, see `kzoo.data.noisy_speech`
librimix   LibriMix: PATH/wav8k/min/train-100/{mix_clean,s1,s2}/<name>.wav
wsj0mix    wsj0-mix: PATH/2speakers/wav8k/min/tr/{mix,s1,s2}/<name>.wav
csv        a table with a column a source (and mixture, track), each cell a path
solo       what `kzoo data prepare --kind solo` wrote: pitch, loudness and sound of an instrument
synthetic  made on the fly, see `kzoo.data.synthetic`; needs no path
shards     what `kzoo data prepare` wrote, see `kzoo.data.shards`
"""

from __future__ import annotations

import difflib
from typing import Any

from kzoo import config
from kzoo.data.corpus import Corpus
from kzoo.data.noisy_speech import noisy_speech
from kzoo.data.recorded import folders, librimix, pairs, stems, table, wsj0mix
from kzoo.data.shards import shards
from kzoo.data.solo import solo
from kzoo.data.speech import speech
from kzoo.data.synthetic import synthetic

KINDS = {
    "stems": stems, "musdb": stems, "pairs": pairs, "sources": folders, "csv": table,
    "speech": speech, "noisy_speech": noisy_speech, "librimix": librimix, "wsj0mix": wsj0mix,
    "synthetic": synthetic, "solo": solo, "shards": shards,
}  # fmt: skip


def open_corpus(kind: str, **options: Any) -> Corpus:
    """A corpus by its kind; options are those of the kind, `path` first among them.

    Of every kind: sources (their names and order; "accompaniment" is the sum of whatever no other
    source claims), include and exclude (tracks by names, or by patterns such as "p226_*"),
    sample_rate, channels.
    Raises config.ConfigError for an unknown kind or option, ValueError for what is not there.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise config.ConfigError(f"no kind of corpus is called {kind!r}; {hint}")
    corpus = config.call(KINDS[kind], options, where=f"corpus {kind}")
    corpus.excluded = tuple(options.get("exclude", ()))
    return corpus
