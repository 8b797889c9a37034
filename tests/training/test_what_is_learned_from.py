"""A run says what it is doing while it reads a large corpus for the card."""

import hashlib
import threading
from types import SimpleNamespace

from kzoo.training import corpora


def test_reading_a_large_corpus_is_said(monkeypatch):
    lines, told, timer = [], threading.Event(), threading.Timer
    monkeypatch.setattr(corpora.threading, "Timer", lambda after, *rest: timer(0.01, *rest))

    def say(line):
        lines.append(line)
        told.set()

    def identity(track):
        assert told.wait(10)
        return str(track)

    corpus = SimpleNamespace(tracks=["a", "b"], identity=identity)
    assert corpora._sha256(corpus, say) == hashlib.sha256(b"01").hexdigest()
    assert len(lines) == 1
    assert "2 tracks" in lines[0]
