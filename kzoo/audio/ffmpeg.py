"""Everything that libsndfile does not read, through FFmpeg's libraries inside PyAV's wheel."""

import os
from collections.abc import Iterator

import numpy as np

from kzoo.audio.formats import READABLE, error, foreign_errors, reason

PREROLL_SECONDS = 1.0  # lets overlap, bit reservoir and band replication settle after a jump


class AvSource:
    """One audio stream through FFmpeg's libraries: MP4, Matroska and all the rest."""

    is_without_tags = False
    cut_short = False  # known only on reaching the end

    def __init__(self, path: str | os.PathLike, stream: int):
        self.path, self.stream, self.warnings = path, stream, []
        try:
            with av_open(path) as container:
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
            raise no_such_stream(self.path, self.stream, self.n_streams)
        stream = streams.audio[self.stream]
        self._container = container.format.name.split(",")[0]
        self.format = {"mov": "mp4", "asf": "wma"}.get(self._container, self._container)
        self.codec = {"mp3float": "mp3"}.get(stream.codec_context.name, stream.codec_context.name)
        # The first frame knows what the header may not: HE-AAC doubles the rate and the channels.
        first = next(iter(container.decode(stream)), None)
        if first is None:
            raise error(self.path, "holds no sound: 0 samples; export it again")
        self.sample_rate = first.sample_rate
        self.channels = to_float(first).shape[1]
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
        elif self._container in ("flac", "wav", "w64", "aiff", "caf", "au", "g722"):
            ticks = self._stated
        return None if ticks is None else round(ticks * self._samples_per_tick)

    def _mp4_end(self) -> int:
        """The end of the last packet, in ticks.

        The edit list would say it too, but in FFmpeg's files only to a millisecond. It is obeyed
        where it removes more than that and less than a packet: padding that an encoder added.
        """
        with av_open(self.path) as container:
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

        with av_open(self.path) as container:
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
                    piece = to_float(frame)
                    self._expect(piece, frame.sample_rate, position)
                    position += len(piece)
                    if position > start:
                        yield piece[-(position - start) :]

    def _far_before(self, packet, start: int) -> bool:
        """Whether a packet may be left undecoded: its timestamps are exact to the sample.

        They are where a sample lasts whole ticks; others are rounded, and in raw AC-3 the
        roundings add up.
        """
        if packet.pts is None or self._origin is None or self._samples_per_tick.numerator != 1:
            return False
        end = (packet.pts + (packet.duration or 0) - self._origin) * self._samples_per_tick
        return end < start - PREROLL_SECONDS * self.sample_rate

    def _expect(self, piece: np.ndarray, sample_rate: int, position: int) -> None:
        if (sample_rate, piece.shape[1]) != (self.sample_rate, self.channels):
            raise changed(self, position, sample_rate, piece.shape[1])


def av_open(path: str | os.PathLike):
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


def to_float(frame) -> np.ndarray:
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


def changed(source, position: int, sample_rate: int, channels: int) -> Exception:
    """The error for a recording that goes on in another rate or number of channels."""
    return error(
        source.path,
        f"changes from {source.sample_rate} Hz, {source.channels} channels to {sample_rate} Hz,"
        f" {channels} channels at {position / source.sample_rate:.2f} s; convert it to one of both"
        " first",
    )


def no_such_stream(path: str | os.PathLike, stream: int, n_streams: int) -> Exception:
    """The error for a stream that the file does not have."""
    streams = "1 audio stream, stream 0" if n_streams == 1 else f"{n_streams} audio streams"
    counted = "" if n_streams == 1 else f", 0 to {n_streams - 1}"
    return error(path, f"there is no stream {stream}: it has {streams}{counted}")
