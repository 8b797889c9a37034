"""MP3 frame by frame: files as they are found, joined, tagged and damaged.

A demuxer that believes the count in the first frame loses the end of files that were joined, and
takes tags of unknown kinds for missing sound. Here the frames themselves are followed: a header
says where the next one begins, tags between them are stepped over, and the count in the first
frame is believed only where nothing follows the bytes it counts. FFmpeg decodes; libsndfile would
give the same samples, but its mpg123 prints its complaints on stderr.
"""

import functools
import mmap
import os
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kzoo.audio.ffmpeg import PREROLL_SECONDS, changed, to_float

_DECODER_DELAY = 529
_KILOBITS = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_LANDMARK = re.compile(rb"\xff[\xe0-\xff]|ID3|APETAGEX|LYRICSBEGIN|TAG")


class Frame(NamedTuple):
    """What four bytes of header say; `length` in bytes, `samples` per channel."""

    sample_rate: int
    channels: int
    samples: int
    length: int

    @property
    def count_offset(self) -> int:
        """Where a first frame keeps its count: behind the side information."""
        if self.samples == 1152:
            return 4 + (17 if self.channels == 1 else 32)
        return 4 + (9 if self.channels == 1 else 17)


class Count(NamedTuple):
    """The first frame's word on the file: frames and bytes or None, and what to cut off."""

    frames: int | None
    bytes: int | None
    delay: int
    padding: int


class Mp3Source:
    """One MP3 file; `opened` gives None for what is none."""

    n_streams = 1
    is_without_tags = False
    format = codec = "mp3"

    @classmethod
    def opened(cls, path: str | os.PathLike) -> "Mp3Source | None":
        """The source of a file that begins, behind its tags, with frames of layer III."""
        if os.path.getsize(path) < 4:
            return None
        with open(path, "rb") as file, _mapped(file) as data:
            start = _past_tags(data, 0)
            return cls(path, data, start) if _is_frame(data, start) else None

    def __init__(self, path: str | os.PathLike, data: mmap.mmap, start: int):
        self.path, self.warnings = path, []
        first = header(data[start : start + 4])
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self.samples = None
        self.cut_short, self.promise = False, ""
        count = _count(data, start, first)
        self._start = start
        self._delay = count.delay if count else 0
        self._believed = self._met_damage = False
        if count and count.frames:
            self._compare(data, count, first)
        seconds = (len(data) - start) / first.length * first.samples / first.sample_rate
        self.approximate_seconds = seconds if self.samples is None else None

    def _compare(self, data: mmap.mmap, count: Count, first: Frame) -> None:
        """Set what depends on whether the count in the first frame is that of the file."""
        promised = count.frames * first.samples - count.delay - count.padding
        promise = f" of the {promised / first.sample_rate:.2f} s its header promises"
        end = self._start + count.bytes if count.bytes else None
        if end is not None and end <= len(data) and next(_frames(data, end), None) is None:
            self._believed, self.samples, self.promise = True, promised, promise
            return
        held = sum(1 for at, frame, _ in _frames(data, self._start) if not _count(data, at, frame))
        if held == count.frames:
            self._believed, self.samples, self.promise = True, promised, promise
            return
        self.samples = held * first.samples - count.delay
        if held < count.frames:
            self.cut_short, self.promise = True, promise
            return
        self.warnings.append(
            f"its header counts {promised / first.sample_rate:.2f} s, but it goes on to"
            f" {self.samples / first.sample_rate:.2f} s; all of it is read"
        )

    def pieces(self, start: int) -> Iterator[np.ndarray]:
        import av

        decoder = av.CodecContext.create("mp3float", "r")
        position, wanted = -self._delay, start - round(PREROLL_SECONDS * self.sample_rate)
        read = missing = 0
        with open(self.path, "rb") as file, _mapped(file) as data:
            for at, frame, gap in _frames(data, self._start):
                if _count(data, at, frame):
                    continue
                if (frame.sample_rate, frame.channels) != (self.sample_rate, self.channels):
                    raise changed(self, position, frame.sample_rate, frame.channels)
                pieces = []
                if gap and read:
                    self._damaged(position)
                    if self._believed:  # the count says that sound was there
                        lost = round(gap * read / (at - gap - self._start)) * frame.samples
                        pieces.append(np.zeros((lost, self.channels), np.float32))
                        missing += lost
                read += 1
                if position + frame.samples < wanted:
                    position += frame.samples + sum(map(len, pieces))
                    continue
                try:
                    decoded = decoder.decode(av.Packet(data[at : at + frame.length]))
                    pieces += [to_float(piece) for piece in decoded]
                except av.error.InvalidDataError:
                    self._damaged(position)
                    pieces.append(np.zeros((frame.samples, self.channels), np.float32))
                for piece in pieces:
                    position += len(piece)
                    if position > start:
                        yield piece[-(position - start) :]
        short = 0 if self.samples is None else self.samples - position
        if 0 < short <= missing:
            yield np.zeros((short, self.channels), np.float32)

    def _damaged(self, position: int) -> None:
        """Warn of the first damage that is met."""
        if not self._met_damage:
            self._met_damage = True
            seconds = max(0, position) / self.sample_rate
            self.warnings.append(
                f"damaged near {seconds:.2f} s; what cannot be decoded is silent or left out"
            )


@functools.lru_cache(maxsize=4096)
def header(word: bytes) -> Frame | None:
    """The header of a layer III frame, or None; free format, without a bit rate, is none."""
    if len(word) < 4 or word[0] != 0xFF or word[1] & 0xE6 != 0xE2:
        return None
    version, bitrate, rate = word[1] >> 3 & 3, word[2] >> 4, word[2] >> 2 & 3
    if version == 1 or not 0 < bitrate < 15 or rate == 3:
        return None
    sample_rate = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples, tables = (1152, 1) if version == 3 else (576, 2)
    bits = 1000 * _KILOBITS[tables][bitrate - 1]
    length = samples // 8 * bits // sample_rate + (word[2] >> 1 & 1)
    return Frame(sample_rate, 1 if word[3] >> 6 == 3 else 2, samples, length)


def _frames(data: mmap.mmap, at: int) -> Iterator[tuple[int, Frame, int]]:
    """(offset, header, bytes before it that are neither frame nor tag) of every whole frame."""
    previous = None
    while True:
        frame, gap = header(data[at : at + 4]), 0
        known = frame is not None and previous is not None
        if not (known and frame[:3] == previous[:3] and at + frame.length <= len(data)):
            at, gap = _next_frame(data, at)
            if at is None:
                return
            frame = header(data[at : at + 4])
        yield at, frame, gap
        previous = frame
        at += frame.length


def _next_frame(data: mmap.mmap, at: int) -> tuple[int | None, int]:
    """(the offset of the next frame, or None; the bytes on the way that belong to no tag)."""
    gap = 0
    while at < len(data):
        behind = _past_tags(data, at)
        if _is_frame(data, behind):
            return behind, gap
        landmark = _LANDMARK.search(data, behind + 1)
        if landmark is None:
            return None, gap
        at, gap = landmark.start(), gap + landmark.start() - behind
    return None, gap


def _is_frame(data: mmap.mmap, at: int) -> bool:
    """Whether a whole frame lies here, with another of its kind, a tag or the end behind it."""
    frame = header(data[at : at + 4])
    if frame is None or at + frame.length > len(data):
        return False
    behind = at + frame.length
    follower = header(data[behind : behind + 4])
    if follower is not None:
        return follower.sample_rate == frame.sample_rate
    return behind == len(data) or _past_tags(data, behind) != behind


def _past_tags(data: mmap.mmap, at: int) -> int:
    """The offset behind the tags that lie here: ID3, APE, Lyrics3."""
    while at < len(data):
        head = data[at : at + 32]
        if head[:3] == b"ID3" and len(head) > 10:
            sizes = zip(head[6:10], (21, 14, 7, 0), strict=True)  # four bytes of seven bits
            footer = 10 if head[5] & 16 else 0
            at += 10 + sum((byte & 127) << shift for byte, shift in sizes) + footer
        elif head[:8] == b"APETAGEX" and len(head) == 32:
            size, flags = struct.unpack("<I4xI", head[12:24])
            at += 32 + (size if flags & 1 << 29 else 0)  # the header's size counts the footer
        elif head[:3] == b"TAG":
            at += 128
        elif head[:11] == b"LYRICSBEGIN":
            end = re.compile(rb"LYRICS200|LYRICSEND").search(data, at)
            at = end.end() if end else len(data)
        else:
            break
    return min(at, len(data))


def _count(data: mmap.mmap, at: int, frame: Frame) -> Count | None:
    """The count in a frame that holds one instead of sound (Xing, Info, VBRI)."""
    place = at + frame.count_offset
    mark = data[place : place + 4]
    if mark in (b"Xing", b"Info"):
        body = data[place + 4 : place + 156].ljust(152, b"\0")
        flags, *numbers = struct.unpack(">III", body[:12])
        frames = numbers.pop(0) if flags & 1 else None
        size = numbers.pop(0) if flags & 2 else None
        at = 4 * (1 + (flags & 1) + (flags >> 1 & 1) + (flags >> 3 & 1)) + 100 * (flags >> 2 & 1)
        lame = body[at : at + 24]
        delay = padding = 0
        if lame[:4] in (b"LAME", b"Lavf", b"Lavc"):
            both = int.from_bytes(lame[21:24], "big")
            delay = (both >> 12) + _DECODER_DELAY
            padding = max(0, (both & 0xFFF) - _DECODER_DELAY)
        return Count(frames, size, delay, padding)
    if data[at + 36 : at + 40] == b"VBRI":
        size, frames = struct.unpack(">II", data[at + 46 : at + 54])
        return Count(frames, size, 0, 0)
    return None


def _mapped(file) -> mmap.mmap:
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
