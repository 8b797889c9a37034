"""WAV, FLAC, Ogg and their like through libsndfile, and what it does not see in them.

It stops at the end of the first of several recordings joined in one file (chained Ogg, FLAC), and
at a size that a WAV's header has wrong, as from a program that could not seek back to write it.
"""

import contextlib
import io
import mmap
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kzoo.audio.ffmpeg import changed

_READ_SAMPLES = 4096  # libsndfile loses the call in which it meets damage: keep that small
_TECHNICAL = (b"fmt ", b"fact", b"ds64", b"PEAK", b"JUNK")  # chunks of a WAV without tags
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**64 - 1)  # left by who cannot seek
_FLAC_START = b"fLaC\0\0\0\x22"
_FLAC_READ_AHEAD = 2**18  # bytes that libFLAC may have read beyond the sample it gives


class Link(NamedTuple):
    """A recording in a file: the bytes from `start` to `end`, or to the file's, behind `head`."""

    start: int = 0
    end: int | None = None
    head: bytes = b""


class SoundfileSource:
    """One file through libsndfile: WAV, RF64, FLAC, Ogg, AIFF, CAF, W64, AU."""

    n_streams = 1
    approximate_seconds = None

    def __init__(self, path: str | os.PathLike):
        self.path, self.warnings = path, []
        with open(path, "rb") as file:
            magic = file.read(4)
        wav = _wav_data(path) if magic in (b"RIFF", b"RF64") else None
        self._links = [Link()]
        self.is_without_tags = wav is not None and wav.alone  # which FFmpeg need not be asked
        if wav is not None and wav.size_is_wrong:
            # FFmpeg would search the sound.
            self.is_without_tags = wav.size not in _UNKNOWN_SIZES
            self._links = [wav.mended()]
            if wav.size != 0xFFFFFFFF:  # which pipes leave by custom
                self.warnings.append(
                    f"its header says {wav.size} bytes of sound; {wav.held} are read"
                )
        elif magic == b"OggS":
            self._links = _ogg_links(path)
        elif magic == b"fLaC":
            self._links = _flac_links(path)
        self._kinds = []  # (sample_rate, channels, samples) of every link
        for link in self._links:
            with self._opened(link) as file:
                self._kinds.append((file.samplerate, file.channels, file.frames))
                if link is self._links[0]:
                    self.format, self.codec = file.format.lower(), file.subtype.lower()
        if self._links[0].head:
            self.format = "wav"
        self.sample_rate, self.channels, _ = self._kinds[0]
        self.samples = sum(samples for *_, samples in self._kinds)
        if self.samples >= 2**60:  # FLAC from a pipe
            self.samples = None
        self.promise = ""
        self.cut_short = False
        if self.format == "ogg" and not _ogg_is_closed(path):
            self.cut_short = True
            self.promise = " without the mark that ends an Ogg stream"
        elif wav is not None and self.samples and (promised := wav.promised(self.samples)):
            self.cut_short = True
            self.promise = f" of the {promised / self.sample_rate:.2f} s its header promises"
        elif self.samples:
            self.promise = f" of the {self.samples / self.sample_rate:.2f} s its header promises"

    @contextlib.contextmanager
    def _opened(self, link: Link):
        import soundfile

        if link == Link():
            with soundfile.SoundFile(os.fspath(self.path)) as file:
                yield file
            return
        with open(self.path, "rb") as whole, soundfile.SoundFile(_Stretch(whole, link)) as file:
            yield file

    def pieces(self, start: int) -> Iterator[np.ndarray]:
        position = 0
        for link, (sample_rate, channels, samples) in zip(self._links, self._kinds, strict=True):
            if (sample_rate, channels) != (self.sample_rate, self.channels):
                raise changed(self, position, sample_rate, channels)
            if position + samples <= start:
                position += samples
                continue
            with self._opened(link) as file:
                # libsndfile 1.2 seeks astray near the end of Vorbis: there the start is decoded
                # too, as in codecs that cannot be sought in.
                if self.format != "ogg" and file.seekable():
                    position += file.seek(max(0, start - position))
                whole = True
                while len(piece := file.read(_READ_SAMPLES, dtype="float32", always_2d=True)):
                    if not whole:  # libsndfile reads on behind a hole, what follows moved ahead
                        raise OSError("a part is missing")
                    whole = len(piece) == _READ_SAMPLES
                    position += len(piece)
                    if position > start:
                        yield piece[-(position - start) :]


class _Stretch(io.RawIOBase):
    """One link of a file as a file of its own."""

    def __init__(self, file, link: Link):
        self._file, self._head = file, link.head
        self._offset = link.start - len(link.head)  # of this file's position in that one
        end = os.fstat(file.fileno()).st_size if link.end is None else link.end
        self._size, self._at = end - self._offset, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer) -> int:
        view = memoryview(buffer).cast("B")
        if self._at < len(self._head):
            piece = self._head[self._at : self._at + len(view)]
        else:
            self._file.seek(self._offset + self._at)
            piece = self._file.read(max(0, min(len(view), self._size - self._at)))
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _WavData(NamedTuple):
    """The chunk of samples: its place, the size its header states, the bytes behind that place."""

    place: int
    size: int
    held: int
    form: bytes  # the content of the fmt chunk
    followed: bool  # by other chunks to the end of the file
    alone: bool  # in the file, but for chunks that tell how to read it

    @property
    def size_is_wrong(self) -> bool:
        """Whether there is sound behind the end that is stated."""
        wrapped = self.held - self.size >= 2**32  # the size was written without its upper bits
        unknown = self.size in _UNKNOWN_SIZES and self.held > self.size
        return len(self.form) >= 16 and (wrapped or unknown) and not self.followed

    def mended(self) -> Link:
        """The file behind an RF64 header that states the true size."""
        frame_bytes = max(1, struct.unpack("<H", self.form[12:14])[0])
        size = self.held - self.held % frame_bytes
        form = b"fmt " + struct.pack("<I", len(self.form)) + self.form + bytes(len(self.form) % 2)
        sizes = struct.pack("<IQQQI", 28, size + len(form) + 48, size, size // frame_bytes, 0)
        head = b"RF64\xff\xff\xff\xffWAVEds64" + sizes + form + b"data\xff\xff\xff\xff"
        return Link(self.place, self.place + size, head)

    def promised(self, samples: int) -> int | None:
        """How many samples the header promises where the file, with `samples`, ends before."""
        if self.size in _UNKNOWN_SIZES or self.held >= self.size or self.held <= 0:
            return None
        promised = round(samples * self.size / self.held)
        return promised if promised > samples else None


def _wav_data(path: str | os.PathLike) -> _WavData | None:
    with open(path, "rb") as file:
        if file.read(12)[8:] != b"WAVE":
            return None
        length = os.fstat(file.fileno()).st_size
        size64, form, alone = None, b"", True
        while len(chunk := file.read(8)) == 8:
            name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
            place = file.tell()
            if name == b"ds64":
                size64 = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
            elif name == b"fmt ":
                form = file.read(min(size, 4096))
            elif name == b"data":
                size = size64 if size64 is not None and size == 0xFFFFFFFF else size
                followed = _ends_in_chunks(file, place + size + size % 2, length)
                alone = alone and length - place - size in (0, size % 2)
                return _WavData(place, size, length - place, form, followed, alone)
            alone = alone and name in _TECHNICAL
            file.seek(place + size + size % 2)
    return None


def _ends_in_chunks(file, place: int, length: int) -> bool:
    """Whether whole RIFF chunks, and nothing else, lie between `place` and the file's end."""
    while place + 8 <= length:
        file.seek(place)
        name, size = struct.unpack("<4sI", file.read(8))
        if not (name.isascii() and name.decode("ascii").isprintable()):
            return False
        place += 8 + size + size % 2
    return place in (length, length + 1)


def _ogg_links(path: str | os.PathLike) -> list[Link]:
    """A link from every group of pages that begin streams."""
    starts, at, beginning = [], 0, False
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while 0 <= at <= len(data) - 27:
            if data[at : at + 4] != b"OggS":
                at = data.find(b"OggS", at)
                continue
            if data[at + 5] & 2 and not beginning:
                starts.append(at)
            beginning = bool(data[at + 5] & 2)
            segments = data[at + 26]
            at += 27 + segments + sum(data[at + 27 : at + 27 + segments])
        ends = [*starts[1:], len(data)]
    if len(starts) < 2:
        return [Link()]
    return [Link(start, end) for start, end in zip(starts, ends, strict=True)]


def _flac_links(path: str | os.PathLike) -> list[Link]:
    """A link from every header that lies behind the last sample which the one before counts."""
    import soundfile

    starts = [0]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while True:
            try:
                stretch = _Stretch(file, Link(starts[-1]))
                with soundfile.SoundFile(stretch) as sound:
                    if 0 < sound.frames < 2**60:  # else from a pipe: all of it is searched
                        sound.seek(sound.frames - 1)
                        sound.read(1)
                    behind = max(1, stretch.tell() - _FLAC_READ_AHEAD)
            except soundfile.SoundFileError:  # damaged or cut short, as reading will tell
                break
            following = data.find(_FLAC_START, starts[-1] + behind)
            if following < 0:
                break
            starts.append(following)
        ends = [*starts[1:], len(data)]
    if len(starts) < 2:
        return [Link()]
    return [Link(start, end) for start, end in zip(starts, ends, strict=True)]


def _ogg_is_closed(path: str | os.PathLike) -> bool:
    """Whether the last page of an Ogg file bears the mark of a stream's end."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 65536 - 27))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return 0 <= page < len(tail) - 5 and bool(tail[page + 5] & 4)
