"""The encoders behind `AudioWriter`: each is opened at once, takes blocks, and is closed.

Blocks are float32 `[samples, channels]`; integers are rounded to the nearest step and saturate at
full scale (libsndfile's own conversion truncates, and FFmpeg's would dither or not by version).
"""

import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kzoo.audio.layouts import speaker_mask

RIFF_LIMIT = 2**32 - 1  # a RIFF chunk's size is 32 bits; past it the file becomes RF64
_SLICE = 65536  # libsndfile's Vorbis encoder overflows its stack on long writes
_INFO_CHUNKS = {
    "title": b"INAM", "artist": b"IART", "album": b"IPRD", "date": b"ICRD", "tracknumber": b"ITRK",
    "genre": b"IGNR", "comment": b"ICMT", "composer": b"IMUS", "copyright": b"ICOP",
}  # fmt: skip
_ID3_FRAMES = {
    "title": b"TIT2", "artist": b"TPE1", "album": b"TALB", "date": b"TDRC", "tracknumber": b"TRCK",
    "genre": b"TCON", "comment": b"COMM", "composer": b"TCOM", "copyright": b"TCOP",
}  # fmt: skip


def open_encoder(
    temporary: Path,
    extension: str,
    sample_rate: int,
    channels: int,
    *,
    bit_depth: int | str,
    tags: Mapping[str, str],
    bitrate: int | None,
    quality: float | None,
) -> "WavEncoder | SoundfileEncoder | AacEncoder":
    """The encoder of an extension, writing to a file of any name."""
    if extension in (".wav", ".wave"):
        return WavEncoder(temporary, sample_rate, channels, bit_depth, tags)
    if extension == ".mp3":
        return Mp3Encoder(temporary, sample_rate, channels, tags, bitrate)
    if extension == ".m4a":
        return AacEncoder(temporary, sample_rate, channels, tags, bitrate)
    return SoundfileEncoder(temporary, extension, sample_rate, channels, bit_depth, tags, quality)


# The end of the GUIDs that stand for PCM and for float.
_SUBTYPE = bytes.fromhex("000000001000800000aa00389b71")


class WavEncoder:
    """WAV, which turns into RF64 on closing when it has passed 4 GB.

    A JUNK chunk keeps the place of RF64's ds64, as EBU Tech 3306 proposes; any RIFF reader skips
    it. Tags go into LIST INFO.
    """

    def __init__(
        self,
        temporary: Path,
        sample_rate: int,
        channels: int,
        bit_depth: int | str,
        tags: Mapping[str, str],
    ):
        self._bits = None if bit_depth == "float32" else int(bit_depth)
        sample_bytes = (self._bits or 32) // 8
        self._frame_bytes = sample_bytes * channels
        self._samples = 0
        tag, extra = (1, b"") if self._bits else (3, struct.pack("<H", 0))
        if channels > 2:  # which loudspeaker each is for stands in the extensible form alone
            mask = speaker_mask(channels)
            extra = struct.pack("<HHIH", 22, sample_bytes * 8, mask, tag) + _SUBTYPE
            tag = 0xFFFE
        form = struct.pack(
            "<HHIIHH",
            tag,
            channels,
            sample_rate,
            min(sample_rate * self._frame_bytes, 2**32 - 1),
            self._frame_bytes,
            sample_bytes * 8,
        )
        head = (
            b"RIFF"
            + bytes(4)
            + b"WAVE"
            + _chunk(b"JUNK", bytes(28))
            + _chunk(b"fmt ", form + extra)
        )
        self._fact = None
        if not self._bits:
            self._fact = len(head) + 8
            head += _chunk(b"fact", bytes(4))
        info = b"".join(
            _chunk(_INFO_CHUNKS[name], text.encode() + b"\0")
            for name, text in tags.items()
            if name in _INFO_CHUNKS
        )
        if info:
            head += _chunk(b"LIST", b"INFO" + info)
        self._data = len(head) + 8
        self._file = open(temporary, "wb")  # noqa: SIM115  (closed by close)
        self._file.write(head + b"data" + bytes(4))

    def write(self, block: np.ndarray) -> None:
        self._samples += len(block)
        if self._bits is None:
            raw = np.ascontiguousarray(block, dtype="<f4")
        elif self._bits == 16:
            raw = quantised(block, 16).astype("<i2")
        else:
            wide = quantised(block, 24).astype("<i4")
            raw = np.ascontiguousarray(wide.reshape(-1, 1).view(np.uint8)[:, :3])
        self._file.write(raw.data if raw.size else b"")

    def close(self) -> None:
        with self._file as file:
            size = self._samples * self._frame_bytes
            file.write(bytes(size % 2))
            whole = self._data + size + size % 2 - 8  # what RIFF counts: all after its own size
            small = whole <= RIFF_LIMIT
            if small:
                patches = {4: struct.pack("<I", whole), self._data - 4: struct.pack("<I", size)}
            else:
                unknown = struct.pack("<I", 2**32 - 1)
                sizes = struct.pack("<QQQI", whole, size, self._samples, 0)
                patches = {0: b"RF64" + unknown, 12: b"ds64", 20: sizes, self._data - 4: unknown}
            if self._fact:
                patches[self._fact] = struct.pack("<I", self._samples if small else 2**32 - 1)
            for offset, patch in patches.items():
                file.seek(offset)
                file.write(patch)


class SoundfileEncoder:
    """FLAC, Ogg Vorbis and Opus through libsndfile."""

    def __init__(
        self,
        temporary: Path,
        extension: str,
        sample_rate: int,
        channels: int,
        bit_depth: int | str,
        tags: Mapping[str, str],
        quality: float | None,
    ):
        import soundfile

        self._bits = int(bit_depth) if extension == ".flac" else None
        container, subtype = {
            ".flac": ("FLAC", f"PCM_{bit_depth}"),
            ".ogg": ("OGG", "VORBIS"),
            ".opus": ("OGG", "OPUS"),
            ".mp3": ("MP3", "MPEG_LAYER_III"),
        }[extension]
        options = {} if quality is None else {"compression_level": 1.0 - quality}
        if options and extension == ".mp3":
            options["bitrate_mode"] = "CONSTANT"
        self._path, self._samples = temporary, 0
        self._file = soundfile.SoundFile(
            os.fspath(temporary),
            "w",
            sample_rate,
            channels,
            format=container,
            subtype=subtype,
            **options,
        )
        for name, text in tags.items():
            if name != "composer":  # libsndfile has no word for it
                setattr(self._file, name, text)

    def write(self, block: np.ndarray) -> None:
        self._samples += len(block)
        for start in range(0, len(block), _SLICE):
            piece = block[start : start + _SLICE]
            if self._bits == 16:
                piece = quantised(piece, 16).astype(np.int16)
            elif self._bits == 24:
                piece = quantised(piece, 24) << 8  # libsndfile takes the upper 24 of 32 bits
            self._file.write(piece)

    def close(self) -> None:
        import soundfile

        self._file.close()
        # libsndfile does not report a failure while it closes, such as a full disk.
        held = soundfile.info(os.fspath(self._path)).frames
        if held != self._samples:
            raise OSError(f"only {held} of {self._samples} samples reached the disk")


class Mp3Encoder(SoundfileEncoder):
    """MP3 by the LAME inside libsndfile, under ID3v2.4 tags of our own.

    FFmpeg's LAME forgets to state part of the padding for one length in 25, and such files come
    back up to 46 samples longer; libsndfile's tags are UTF-8 declared as Latin-1.
    """

    def __init__(
        self,
        temporary: Path,
        sample_rate: int,
        channels: int,
        tags: Mapping[str, str],
        bitrate: int | None,
    ):
        most, least = _mp3_kilobits(sample_rate)
        kilobits = (bitrate or min(256_000, 1000 * most)) / 1000
        quality = min(1.0, max(0.0, (kilobits - least) / (most - least)))
        self._tags = tags
        super().__init__(temporary, ".mp3", sample_rate, channels, 16, {}, quality)

    def close(self) -> None:
        super().close()
        if self._samples and (tag := _id3(self._tags)):
            tagged = self._path.with_suffix(".tagged")
            try:
                with open(self._path, "rb") as sound, open(tagged, "xb") as file:
                    file.write(tag)
                    shutil.copyfileobj(sound, file)
                os.replace(tagged, self._path)
            finally:
                tagged.unlink(missing_ok=True)


class AacEncoder:
    """AAC in an .m4a through PyAV, with the edit list that states the encoder's delay."""

    def __init__(
        self,
        temporary: Path,
        sample_rate: int,
        channels: int,
        tags: Mapping[str, str],
        bitrate: int | None,
    ):
        import av

        self._layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[channels]
        self._sample_rate, self._position = sample_rate, 0
        # The edit list counts in this; FFmpeg's usual milliseconds would blur the length.
        options = {"movie_timescale": str(sample_rate)}
        self._container = av.open(f"file:{temporary}", "w", format="ipod", options=options)
        names = {"tracknumber": "track"}
        self._container.metadata.update({names.get(key, key): tags[key] for key in tags})
        self._stream = self._container.add_stream("aac", rate=sample_rate, layout=self._layout)
        self._stream.bit_rate = bitrate or min(128_000, 3 * sample_rate) * channels

    def write(self, block: np.ndarray) -> None:
        import av

        for start in range(0, len(block), _SLICE):
            packed = np.ascontiguousarray(block[start : start + _SLICE], np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
            frame.sample_rate, frame.pts = self._sample_rate, self._position
            self._position += frame.samples
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        try:
            if self._position:
                self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


def quantised(block: np.ndarray, bits: int) -> np.ndarray:
    """Float to int32 steps of `bits`, rounded to nearest, saturating; k / 2**(bits-1) gives k."""
    full = np.float32(2 ** (bits - 1))
    return np.clip(np.rint(block * full), -full, full - 1).astype(np.int32)


def _mp3_kilobits(sample_rate: int) -> tuple[int, int]:
    """The highest and lowest bit rate of MPEG-1, 2 and 2.5 layer III."""
    if sample_rate >= 32000:
        return 320, 32
    return (160, 8) if sample_rate >= 16000 else (64, 8)


def _id3(tags: Mapping[str, str]) -> bytes:
    """An ID3v2.4 tag with its text frames in UTF-8, or nothing for no tags."""
    frames = b""
    for name, text in tags.items():
        content = b"\x03" + (b"und\0" if name == "comment" else b"") + text.encode()
        frames += _ID3_FRAMES[name] + _seven_bit(len(content)) + b"\0\0" + content
    return b"ID3\4\0\0" + _seven_bit(len(frames)) + frames if frames else b""


def _seven_bit(size: int) -> bytes:
    return bytes(size >> shift & 127 for shift in (21, 14, 7, 0))


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
