"""Telling by content which decoder a file needs.

A source has sample_rate, channels, samples (exact count or None), n_streams, format, codec,
`warnings` (sentences about the file, more of them once it was read), and `pieces(start)`, which
decodes from that sample on in whatever lengths come naturally.
"""

import codecs
import os
import stat

from kzoo.audio.ffmpeg import AvSource, av_open, no_such_stream
from kzoo.audio.formats import canonical_tags, error, foreign_errors, reason
from kzoo.audio.libsndfile import SoundfileSource
from kzoo.audio.mp3 import Mp3Source

FRAME_SAMPLES = 4096  # no common lossy codec has longer frames
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b"riff", b".snd")


def open_source(path: str | os.PathLike, stream: int) -> SoundfileSource | Mp3Source | AvSource:
    """The decoder for this file, after saying in one line why there is none."""
    head = _head(path)
    source = None
    if head.startswith(_SNDFILE_MAGIC):
        import soundfile

        try:
            source = SoundfileSource(path)
        except soundfile.SoundFileError:
            source = None  # AVI is RIFF, Ogg may hold Speex or video: FFmpeg has the last word
    else:
        source = Mp3Source.opened(path)
    if source is None:
        source = AvSource(path, stream)
    elif not 0 <= stream < source.n_streams:
        raise no_such_stream(path, stream, source.n_streams)
    if source.samples == 0:
        raise error(path, "holds no sound: 0 samples; export it again")
    return source


def tags(source: SoundfileSource | Mp3Source | AvSource) -> dict[str, str]:
    """The tags of any container FFmpeg knows; none from one that only libsndfile knows."""
    if source.is_without_tags:
        return {}
    try:
        with av_open(source.path) as container:
            streams = container.streams.audio[:1]
            return canonical_tags(container.metadata, *(stream.metadata for stream in streams))
    except foreign_errors():
        return {}


def _head(path: str | os.PathLike) -> bytes:
    """The first bytes, once it is clear that there are any and that they are no text."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        mode = stat.S_IFREG  # opening it says why
    if stat.S_ISDIR(mode):
        raise error(path, "is a folder; give the name of a file in it")
    if not stat.S_ISREG(mode):  # opening it could wait for ever
        what = "a pipe" if stat.S_ISFIFO(mode) else "no regular file"
        raise error(
            path,
            f"is {what}, but containers are read back and forth; give - to read standard input, or"
            " write it to a file first",
        )
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except FileNotFoundError:
        raise error(path, "no such file; check the path") from None
    except (OSError, ValueError) as failure:
        raise error(path, f"cannot be opened: {reason(failure)}") from failure
    if not head:
        raise error(path, "is empty (0 bytes); copy or export it again")
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return head
    if all(letter.isprintable() or letter.isspace() for letter in text):
        start = " ".join(text[:40].split())
        raise error(path, f"is text, not audio (it starts {start!r}); give a sound file")
    return head
