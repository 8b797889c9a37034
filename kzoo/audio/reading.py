"""Reading: any container, any part of it, in blocks of constant memory."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo.audio import decoders
from kzoo.audio.arrays import checked_rate
from kzoo.audio.formats import PastTheEnd, error, foreign_errors, reason, refuse_undecodable

BLOCK_SAMPLES = 65536


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of itself; `samples` is per channel, None where it gives no exact count."""

    path: str
    sample_rate: int
    channels: int
    samples: int | None
    format: str
    codec: str
    n_streams: int
    tags: dict[str, str]
    approximate_seconds: float | None = None

    @property
    def duration_seconds(self) -> float | None:
        """Length by the exact count, else by the container's estimate, else None."""
        if self.samples is not None:
            return self.samples / self.sample_rate
        return self.approximate_seconds


def info(path: str | os.PathLike) -> AudioInfo:
    """Describe the first audio stream of a file; raises AudioError where `AudioReader` would.

    A file that was cut short is described as it is; only reading past its end is refused.
    """
    refuse_undecodable(path)
    source = decoders.open_source(path, stream=0)
    return AudioInfo(
        path=os.fspath(path),
        sample_rate=source.sample_rate,
        channels=source.channels,
        samples=source.samples,
        format=source.format,
        codec=source.codec,
        n_streams=source.n_streams,
        tags=decoders.tags(source),
        approximate_seconds=source.approximate_seconds,
    )


def read(
    path: str | os.PathLike,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    stream: int = 0,
    sample_rate: int | None = None,
) -> tuple[np.ndarray, int]:
    """Read a file whole: float32 `[samples, channels]` and its rate in Hz.

    sample_rate: resample to this rate. The rest, and what is raised, is `AudioReader`'s; what that
    warns of is a UserWarning here.
    """
    if sample_rate is not None:
        sample_rate = checked_rate(sample_rate)
    with AudioReader(
        path, start_seconds=start_seconds, duration_seconds=duration_seconds, stream=stream
    ) as reader:
        waveform = np.concatenate(list(reader.blocks()))
    for text in reader.warnings:
        warnings.warn(f"{reader.path}: {text}", UserWarning, stacklevel=2)
    if sample_rate is None or sample_rate == reader.sample_rate:
        return waveform, reader.sample_rate
    from kzoo.audio.resampling import resample

    return resample(waveform, reader.sample_rate, sample_rate), sample_rate


class AudioReader:
    """A stretch of one audio stream, read in blocks.

    start_seconds, duration_seconds: rounded to the nearest sample; a duration that passes the end
    of the file stops there. Both hold to the sample in every container: where seeking is not
    exact (Ogg, Matroska, WebM, WMA, FLV, MPEG-TS, AC-3), the sound before the start is decoded
    too. Noise that AAC's decoder makes up itself is other noise after a jump: tones differ by less
    than -80 dB, noise of which little was coded by up to -11 dB. Read from the start where a
    stretch must equal the whole.
    stream: which audio stream, counted from 0; a Native Instruments stem.mp4 holds mix, drums,
    bass, other, vocals.
    samples: per channel of the stretch; None where the container gives no exact count. Lossy
    containers may promise a codec frame more than they hold.

    Raises AudioError when the file is missing, a folder, empty, text, without sound or in no known
    format, when there is no such stream, PastTheEnd when the start lies there, and, here or while
    reading, when it is damaged, ends before the length it promises (the message says how much can
    be read by asking for that duration), or carries a NaN or an infinity.
    What is wrong with a file but loses no sound, or only the damaged frames of an MP3, stands in
    `warnings`, complete once the blocks were read.
    Encoder delay is removed where the container states it (MP3, MP4, Ogg, Matroska); raw ADTS
    .aac, .ac3, .mp2, FLV and MPEG-TS cannot state it.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        *,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
        stream: int = 0,
        block_samples: int = BLOCK_SAMPLES,
    ):
        if block_samples < 1:
            raise ValueError(f"block_samples must be at least 1; got {block_samples}")
        if not 0 <= start_seconds < float("inf"):
            raise error(path, f"the start must be 0 s or later; got {start_seconds} s")
        if duration_seconds is not None and not 0 < duration_seconds < float("inf"):
            raise error(path, f"the duration must be above 0 s; got {duration_seconds} s")
        refuse_undecodable(path)
        self.path = Path(path)
        self._source = source = decoders.open_source(path, stream)
        self.sample_rate, self.channels = source.sample_rate, source.channels
        self.n_streams = source.n_streams
        self.block_samples = block_samples
        self._start = round(start_seconds * self.sample_rate)
        self._wanted = None
        if duration_seconds is not None:
            self._wanted = max(1, round(duration_seconds * self.sample_rate))
        if source.samples is not None and self._start >= source.samples:
            if source.cut_short:
                raise self._cut_short(source.samples)
            raise self._past_the_end(source.samples)
        self.samples = None
        if source.samples is not None:
            rest = source.samples - self._start
            self.samples = rest if self._wanted is None else min(rest, self._wanted)
            if source.cut_short and (self._wanted is None or self._wanted > rest):
                raise self._cut_short(source.samples)
        self._tags: dict[str, str] | None = None
        self._running: list[Iterator[np.ndarray]] = []

    @property
    def warnings(self) -> list[str]:
        """Sentences for the listener on what is wrong with the file; more may come in reading."""
        return list(self._source.warnings)

    @property
    def tags(self) -> dict[str, str]:
        """Title, artist, album, date, tracknumber, genre, comment, composer, copyright, if any."""
        if self._tags is None:
            self._tags = decoders.tags(self._source)
        return self._tags

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """End any unfinished `blocks`, and with it close the file."""
        while self._running:
            self._running.pop().close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Float32 `[block_samples, channels]`, the last one shorter; each call starts anew."""
        iterator = self._blocks()
        self._running.append(iterator)
        return iterator

    def _blocks(self) -> Iterator[np.ndarray]:
        kept: list[np.ndarray] = []
        n_kept = 0
        for piece in self._pieces():
            while n_kept + len(piece) >= self.block_samples:
                head = self.block_samples - n_kept
                yield np.concatenate([*kept, piece[:head]])
                kept, n_kept, piece = [], 0, piece[head:]
            if len(piece):
                kept.append(piece)
                n_kept += len(piece)
        if kept:
            yield np.concatenate(kept)

    def _pieces(self) -> Iterator[np.ndarray]:
        """The stretch as the decoder cuts it, checked."""
        position = self._start
        end = None if self._wanted is None else self._start + self._wanted
        if self._source.samples is not None:
            end = min(end or self._source.samples, self._source.samples)
        pieces = self._source.pieces(self._start)
        try:
            for piece in pieces:
                piece = piece if end is None else piece[: end - position]
                finite = np.isfinite(piece).all(axis=1)
                if not finite.all():
                    seconds = (position + int(np.argmin(finite))) / self.sample_rate
                    raise error(
                        self.path,
                        f"the sample at {seconds:.3f} s is not a number (NaN or infinite); export"
                        " the file again, or choose a stretch without it by start and duration",
                    )
                yield piece
                position += len(piece)
                if end is not None and position >= end:
                    return
        except foreign_errors() as failure:
            raise self._damaged(position, failure) from failure
        finally:
            pieces.close()
        if position == self._start:
            if self._start:
                raise self._past_the_end(None)
            raise error(self.path, "no sound can be decoded from it; export it again")
        # Codecs may end a frame early without loss; more missing than that is a cut.
        if self._source.samples is not None and end - position > decoders.FRAME_SAMPLES:
            raise self._cut_short(position)

    def _damaged(self, position: int, failure: BaseException) -> Exception:
        return error(
            self.path,
            f"damaged or cut short near {position / self.sample_rate:.2f} s ({reason(failure)});"
            f" copy or download it again{self._or_less(position)}",
        )

    def _cut_short(self, available: int) -> Exception:
        return error(
            self.path,
            f"cut short: it ends at {available / self.sample_rate:.2f} s{self._source.promise};"
            f" copy or download it again{self._or_less(available)}",
        )

    def _or_less(self, available: int) -> str:
        """The duration that can be read, in whole milliseconds, as a way out."""
        milliseconds = (available - self._start) * 1000 // self.sample_rate
        return f", or ask for a duration of {milliseconds / 1000} s" if milliseconds else ""

    def _past_the_end(self, samples: int | None) -> Exception:
        length = "" if samples is None else f" at {samples / self.sample_rate:.2f} s"
        return error(
            self.path,
            f"the start, {self._start / self.sample_rate:.2f} s, lies past its end{length};"
            " choose an earlier start",
            PastTheEnd,
        )
