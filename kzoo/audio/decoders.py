"""The two decoders behind `AudioReader`, and telling by content which one a file needs.

A source has sample_rate, channels, samples (exact count or None), n_streams, format, codec, and
`pieces(start)`, which decodes from that sample on in whatever lengths come naturally.

Why MP3 goes to FFmpeg though libsndfile decodes it to the same samples: libsndfile's mpg123 prints
its complaints on stderr and gives up half of a file that lacks a Xing header.
"""

import codecs
import os
import struct
from collections.abc import Iterator

import numpy as np

from kzoo.audio.formats import READABLE, canonical_tags, error, foreign_errors, reason

FRAME_SAMPLES = 4096  # no common lossy codec has longer frames
_READ_SAMPLES = 4096  # libsndfile loses the call in which it meets damage: keep that small
_PREROLL_SECONDS = 1.0  # lets overlap, bit reservoir and band replication settle after a jump
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"caff", b"riff", b".snd")
_UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)  # written by programs that cannot seek


def open_source(path: str | os.PathLike, stream: int) -> "SoundfileSource | AvSource":
    """The decoder for this file, after saying in one line why there is none."""
    head = _head(path)
    source = None
    if head.startswith(_SNDFILE_MAGIC):
        import soundfile

        try:
            source = SoundfileSource(path)
        except soundfile.SoundFileError:
            source = None  # AVI is RIFF, Ogg may hold Speex or video: FFmpeg has the last word
    if source is None:
        source = AvSource(path, stream)
    elif not 0 <= stream < source.n_streams:
        raise _no_such_stream(path, stream, source.n_streams)
    if source.samples == 0:
        raise error(path, "holds no sound: 0 samples; export it again")
    return source


def tags(path: str | os.PathLike) -> dict[str, str]:
    """The tags of any container FFmpeg knows; none from one that only libsndfile knows."""
    try:
        with _av_open(path) as container:
            streams = container.streams.audio[:1]
            return canonical_tags(container.metadata, *(stream.metadata for stream in streams))
    except foreign_errors():
        return {}


class SoundfileSource:
    """One file through libsndfile: WAV, RF64, FLAC, Ogg, AIFF, CAF, W64, AU."""

    n_streams = 1
    approximate_seconds = None

    def __init__(self, path: str | os.PathLike):
        import soundfile

        self.path = path
        with soundfile.SoundFile(os.fspath(path)) as file:
            self.sample_rate, self.channels = file.samplerate, file.channels
            self.samples = file.frames if file.frames < 2**60 else None  # FLAC from a pipe
            self.format, self.codec = file.format.lower(), file.subtype.lower()
        self.promise = ""
        self.cut_short = False
        if self.format == "ogg" and not _ogg_is_closed(path):
            self.cut_short = True
            self.promise = " without the mark that ends an Ogg stream"
        elif self.samples and (promised := _wav_promise(path, self.samples)):
            self.cut_short = True
            self.promise = f" of the {promised / self.sample_rate:.2f} s its header promises"
        elif self.samples:
            self.promise = f" of the {self.samples / self.sample_rate:.2f} s its header promises"

    def pieces(self, start: int) -> Iterator[np.ndarray]:
        import soundfile

        with soundfile.SoundFile(os.fspath(self.path)) as file:
            # libsndfile 1.2 seeks astray near the end of Vorbis: there the start is decoded too.
            position = 0 if self.format == "ogg" else file.seek(start)
            whole = True
            while len(piece := file.read(_READ_SAMPLES, dtype="float32", always_2d=True)):
                if not whole:  # libsndfile reads on behind a hole, with what follows moved ahead
                    raise OSError("a part is missing")
                whole = len(piece) == _READ_SAMPLES
                position += len(piece)
                if position > start:
                    yield piece[-(position - start) :]


class AvSource:
    """One audio stream through FFmpeg's libraries: MP3, MP4 and all the rest."""

    cut_short = False  # known only on reaching the end

    def __init__(self, path: str | os.PathLike, stream: int):
        self.path, self.stream = path, stream
        try:
            with _av_open(path) as container:
                self._describe(container)
            self.samples = self._exact_samples()
        except foreign_errors() as failure:
            raise error(
                path,
                f"no audio that can be read ({reason(failure)}), or its header is damaged; give"
                f" one of {' '.join(READABLE[:8])} ..., or export it again",
            ) from failure
        self.promise = ""
        if self.samples:
            self.promise = f" of the {self.samples / self.sample_rate:.2f} s its header promises"

    def _describe(self, container) -> None:
        streams = container.streams
        self.n_streams = len(streams.audio)
        if not self.n_streams:
            kinds = sorted({f"{s.type} ({s.codec_context.name})" for s in streams.video}) or [
                "data"
            ]
            raise error(
                self.path, f"has no audio stream, only {', '.join(kinds)}; give a file with sound"
            )
        if not 0 <= self.stream < self.n_streams:
            raise _no_such_stream(self.path, self.stream, self.n_streams)
        stream = streams.audio[self.stream]
        self._container = container.format.name.split(",")[0]
        self.format = {"mov": "mp4", "asf": "wma"}.get(self._container, self._container)
        self.codec = {"mp3float": "mp3"}.get(stream.codec_context.name, stream.codec_context.name)
        # The first frame knows what the header may not: HE-AAC doubles the rate and the channels.
        first = next(iter(container.decode(stream)), None)
        if first is None:
            raise error(self.path, "holds no sound: 0 samples; export it again")
        self.sample_rate = first.sample_rate
        self.channels = _to_float(first).shape[1]
        self._time_base = stream.time_base
        self._origin = first.pts
        self._stated = stream.duration
        self.approximate_seconds = None
        if stream.duration:
            self.approximate_seconds = float(stream.duration * self._time_base)
        elif container.duration:
            self.approximate_seconds = container.duration / 1e6

    @property
    def _samples_per_tick(self):  # a Fraction, as PyAV gives it
        return self._time_base * self.sample_rate

    def _exact_samples(self) -> int | None:
        """The exact count where the container holds one; bit rate estimates do not count."""
        if not self._stated or self._samples_per_tick > 2 or self._origin is None:
            return None
        ticks = None
        if self._container == "mov":
            ticks = self._mp4_end() - self._origin
        elif self._container in ("flac", "wav", "w64", "aiff", "caf", "au", "g722") or (
            self._container == "mp3" and _has_xing(self.path)
        ):
            ticks = self._stated
        return None if ticks is None else round(ticks * self._samples_per_tick)

    def _mp4_end(self) -> int:
        """The end of the last packet, in ticks.

        The edit list would say it too, but in FFmpeg's files only to a millisecond. It is obeyed
        where it removes more than that and less than a packet: padding that an encoder added.
        """
        with _av_open(self.path) as container:
            stream = container.streams.audio[self.stream]
            edited = (stream.start_time or 0) + stream.duration
            container.seek(max(0, edited - 1), stream=stream)
            end, length = edited, 0
            for packet in container.demux(stream):
                if packet.pts is not None and packet.duration:
                    end, length = packet.pts + packet.duration, packet.duration
        rounding = 1 / (1000 * self._time_base)
        return edited if rounding < end - edited < length else end

    def pieces(self, start: int) -> Iterator[np.ndarray]:
        import av

        with _av_open(self.path) as container:
            stream = container.streams.audio[self.stream]
            position, jumped, failure = 0, False, None
            for packet in container.demux(stream):
                if position and self._far_before(packet, start):
                    jumped = True
                    continue
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as found:
                    failure = found  # junk behind the last frame is common and harmless
                    continue
                for frame in frames:
                    if failure is not None:
                        raise failure
                    if jumped:
                        ticks = frame.pts - self._origin
                        position, jumped = round(ticks * self._samples_per_tick), False
                    piece = _to_float(frame)
                    self._expect(piece, frame.sample_rate, position)
                    position += len(piece)
                    if position > start:
                        yield piece[-(position - start) :]

    def _far_before(self, packet, start: int) -> bool:
        """Whether a packet may be left undecoded: its timestamps are exact to the sample."""
        if packet.pts is None or self._origin is None or self._samples_per_tick > 1:
            return False
        end = (packet.pts + (packet.duration or 0) - self._origin) * self._samples_per_tick
        return end < start - _PREROLL_SECONDS * self.sample_rate

    def _expect(self, piece: np.ndarray, sample_rate: int, position: int) -> None:
        if (sample_rate, piece.shape[1]) != (self.sample_rate, self.channels):
            raise error(
                self.path,
                f"changes from {self.sample_rate} Hz, {self.channels} channels to {sample_rate} Hz,"
                f" {piece.shape[1]} channels at {position / self.sample_rate:.2f} s; convert it"
                " to one of both first",
            )


def _av_open(path: str | os.PathLike):
    import av

    # "file:" keeps a colon in a name from being a protocol; the list keeps a playlist that poses
    # as music from fetching anything.
    def opened(container: str | None):
        return av.open(
            f"file:{os.fspath(path)}",
            format=container,
            options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )

    try:
        return opened(None)
    except av.error.InvalidDataError:
        with open(path, "rb") as file:
            head = file.read(3)
        if head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0"):
            return opened("mp3")  # too few frames for FFmpeg to be sure of what it sees
        raise


def _to_float(frame) -> np.ndarray:
    """Float32 `[samples, channels]`, integers scaled so that full scale is 1.0."""
    if frame.format.is_planar and len(frame.layout.channels) >= 8:
        import av

        # PyAV 18 reads past its list of planes from the eighth on, and the process is gone.
        packed = av.AudioResampler(format=frame.format.packed.name)
        (frame,) = packed.resample(frame)
    array = frame.to_ndarray()  # planar [channels, samples], packed [1, samples * channels]
    array = array.T if frame.format.is_planar else array.reshape(frame.samples, -1)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / 128
    if array.dtype.kind == "i":
        scale = 1.0 / -float(np.iinfo(array.dtype).min)
        return (array * scale).astype(np.float32)
    return np.ascontiguousarray(array, dtype=np.float32)


def _no_such_stream(path: str | os.PathLike, stream: int, n_streams: int) -> Exception:
    streams = "1 audio stream, stream 0" if n_streams == 1 else f"{n_streams} audio streams"
    counted = "" if n_streams == 1 else f", 0 to {n_streams - 1}"
    return error(path, f"there is no stream {stream}: it has {streams}{counted}")


def _head(path: str | os.PathLike) -> bytes:
    """The first bytes, once it is clear that there are any and that they are no text."""
    if os.path.isdir(path):
        raise error(path, "is a folder; give the name of a file in it")
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


def _wav_promise(path: str | os.PathLike, samples: int) -> int | None:
    """How many samples a WAV or RF64 header promises, if the file ends before; else None."""
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            return None
        size64 = None
        while len(chunk := file.read(8)) == 8:
            name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
            if name == b"ds64":
                size64 = struct.unpack("<8xQ", file.read(16))[0]
                size -= 16
            if name == b"data":
                size = size64 if size64 is not None and size == 0xFFFFFFFF else size
                held = os.fstat(file.fileno()).st_size - file.tell()
                if size in _UNKNOWN_SIZES or held >= size or held <= 0:
                    return None
                promised = round(samples * size / held)
                return promised if promised > samples else None
            file.seek(size + size % 2, os.SEEK_CUR)
    return None


def _ogg_is_closed(path: str | os.PathLike) -> bool:
    """Whether the last page of an Ogg file bears the mark of a stream's end."""
    with open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 65536 - 27))
        tail = file.read()
    page = tail.rfind(b"OggS")
    return 0 <= page < len(tail) - 5 and bool(tail[page + 5] & 4)


def _has_xing(path: str | os.PathLike) -> bool:
    """Whether an MP3 opens with a header frame that counts its frames."""
    with open(path, "rb") as file:
        head = file.read(10)
        skip = 0
        if head[:3] == b"ID3":  # its size: four bytes of seven bits
            skip = 10 + sum(
                byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
            )
        file.seek(skip)
        first = file.read(4096)
    return any(mark in first for mark in (b"Xing", b"Info", b"VBRI"))
