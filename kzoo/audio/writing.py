"""Writing: nothing half-written under the final name, and clipping that is said."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo.audio.arrays import checked_rate, checked_waveform
from kzoo.audio.encoders import open_encoder
from kzoo.audio.formats import WRITABLE, canonical_tags, error, foreign_errors, reason
from kzoo.hints import nearest

CLIP_MODES = ("rescale", "clamp", "none")
_FULL_SCALE = 1.0 + 1e-6  # what a gain of 1 / peak may leave in float32
_SPOOL_SAMPLES = 65536


@dataclass(frozen=True)
class Written:
    """What was done to the sound: its peak before, the gain applied, samples clamped after."""

    path: Path
    samples: int
    peak: float
    gain: float
    clipped_samples: int


def check_writable(
    path: str | os.PathLike,
    sample_rate: int,
    channels: int,
    *,
    bit_depth: int | str = 16,
    clip: str = "rescale",
    bitrate: int | None = None,
    quality: float | None = None,
) -> None:
    """Raise the AudioError that `AudioWriter` would for format and options; touches no file."""
    path = Path(path)
    form = WRITABLE.get(path.suffix.lower())
    if form is None:
        raise error(
            path,
            f"the extension {path.suffix!r} names no format that is written here; use one of"
            f" {' '.join(WRITABLE)}{_meant(path.suffix)}",
        )
    if clip not in CLIP_MODES:
        raise error(path, f"clip must be one of {', '.join(CLIP_MODES)}; got {clip!r}")
    depth = _plain_depth(bit_depth)
    if depth not in (16, 24, "float32"):
        raise error(path, f"bit_depth must be 16, 24 or 'float32'; got {bit_depth!r}")
    if form.bit_depths and depth not in form.bit_depths:
        raise error(
            path,
            f"{form.name} takes a bit depth of {_listed(form.bit_depths)}; got {bit_depth!r};"
            " .wav takes float32 too",
        )
    try:
        sample_rate = checked_rate(sample_rate)
    except ValueError as failure:
        raise error(path, str(failure)) from None
    if sample_rate not in form.sample_rates:
        raise error(
            path,
            f"{form.name} takes a sample rate of {_listed(form.sample_rates)} Hz; got"
            f" {sample_rate} Hz; resample to one of them, or write .wav or .flac",
        )
    if channels not in form.channels:
        raise error(
            path,
            f"{form.name} takes {_listed(form.channels)} channels; got {channels};"
            " mix down, or write .wav",
        )
    for name, value in (("bitrate", bitrate), ("quality", quality)):
        if value is not None and form.loss_option != name:
            others = [key for key, other in WRITABLE.items() if other.loss_option == name]
            raise error(path, f"{form.name} takes no {name}; {' and '.join(others)} do")
    if bitrate is not None and not 8_000 <= bitrate <= 1_000_000:
        raise error(path, f"the bitrate is in bits per second, say 256000; got {bitrate}")
    if quality is not None and not 0 <= quality <= 1:
        raise error(path, f"the quality goes from 0 to 1; got {quality}")


class AudioWriter:
    """Writes blocks into a hidden file beside the target, which `finish` moves into place.

    bit_depth: 16, 24 or "float32" (also "float"); means nothing to lossy formats.
    clip: what happens to samples beyond full scale. "rescale" turns the whole file down by its
    peak; since that is known only at the end, the sound waits in a float32 file beside the target.
    "clamp" cuts them off. "none" leaves them alone where the format can hold them: float32 and
    lossy; integers saturate. "rescale" leaves float32 alone as well. `gain` and `clipped_samples`
    tell what was done.
    tags: title, artist, album, date, tracknumber, genre, comment, composer, copyright; others are
    left out, and so is the composer in FLAC and Ogg.
    bitrate: bits per second, for MP3 and AAC; by default 256000 in stereo at 32 kHz and above.
    quality: 0 to 1, for Vorbis and Opus; libsndfile's default.

    WAV becomes RF64 by itself beyond 4 GB. Integers are rounded to nearest, without dither: what
    was read from 16 bits is written to 16 bits unchanged.

    Raises AudioError at once for an unknown extension, a rate, channel count or option that the
    format does not take, an existing target without `overwrite`, a folder that cannot be written;
    later for NaN or infinite samples and a disk that is full. On leaving the `with` block by any
    exception nothing is left behind.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        sample_rate: int,
        channels: int,
        *,
        bit_depth: int | str = 16,
        clip: str = "rescale",
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        bitrate: int | None = None,
        quality: float | None = None,
    ):
        self.path = Path(path)
        check_writable(
            path, sample_rate, channels,
            bit_depth=bit_depth, clip=clip, bitrate=bitrate, quality=quality,
        )  # fmt: skip
        self.sample_rate, self.channels = int(sample_rate), int(channels)
        self.overwrite = overwrite
        self._refuse_existing()
        form = WRITABLE[self.path.suffix.lower()]
        bit_depth = _plain_depth(bit_depth)
        self._clip = clip
        self._floats = bool(form.bit_depths) and bit_depth == "float32"
        self.peak, self.gain, self.clipped_samples, self.samples = 0.0, 1.0, 0, 0
        self._done = False
        self._encoder = self._spool = None
        stem = f".{self.path.name[:48]}.{os.urandom(4).hex()}"
        self._temporary = self.path.with_name(f"{stem}.part")
        self._spool_path = self.path.with_name(f"{stem}.spool")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The system's refusal is clearer than libsndfile's "System error".
            open(self._temporary, "xb").close()
            self._encoder = open_encoder(
                self._temporary, self.path.suffix.lower(), self.sample_rate, self.channels,
                bit_depth=bit_depth, tags=canonical_tags(tags or {}),
                bitrate=bitrate, quality=quality,
            )  # fmt: skip
            if clip == "rescale" and not self._floats:
                self._spool = open(self._spool_path, "w+b")  # noqa: SIM115  (closed by abort)
        except foreign_errors() as failure:
            self.abort()
            raise self._refused(failure) from failure
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> "AudioWriter":
        return self

    def __exit__(self, kind, *exception) -> None:
        if kind is None:
            self.finish()
        else:
            self.abort()

    def write(self, block: np.ndarray) -> None:
        """Append floats `[samples, channels]`, full scale 1.0; AudioError on NaN or infinity."""
        if self._encoder is None:
            raise ValueError(f"{self.path}: the writer is closed")
        block = np.asarray(block)
        if not np.issubdtype(block.dtype, np.floating):
            raise ValueError(
                f"blocks must be floating point with full scale 1.0; got {block.dtype}"
            )
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused below
            block = block.astype(np.float32, copy=False)
        if block.ndim != 2 or block.shape[1] != self.channels:
            raise ValueError(f"blocks must be [samples, {self.channels}]; got {block.shape}")
        if not len(block):
            return
        peak = float(max(block.max(), -block.min()))
        if not np.isfinite(peak):
            bad = np.argmin(np.isfinite(block).all(axis=1))
            seconds = (self.samples + int(bad)) / self.sample_rate
            raise error(
                self.path, f"not written: the sound has a NaN or infinity at {seconds:.3f} s"
            )
        self.peak = max(self.peak, peak)
        self.samples += len(block)
        try:
            if self._spool is not None:
                self._spool.write(np.ascontiguousarray(block).data)
            else:
                self._encode(block)
        except foreign_errors() as failure:
            self.abort()
            raise self._refused(failure) from failure

    def encode(self, gain: float | None = None) -> None:
        """Do all of `finish` but the move: of files that belong together the last may yet fail."""
        if self._encoder is not None:
            self._or_abort(self._close, gain)

    def finish(self, gain: float | None = None) -> Written:
        """Close the file and move it into place; calling it again does nothing.

        gain: with clip="rescale", the gain instead of this file's own, so that stems scaled alike
        still sum; by default 1 / peak when the peak passes full scale, else 1.
        """
        self.encode(gain)
        if not self._done:
            self._or_abort(self._move)
        return Written(self.path, self.samples, self.peak, self.gain, self.clipped_samples)

    def abort(self) -> None:
        """Give up: remove everything this writer made, save for folders; after `finish` a no-op."""
        if self._done:
            return
        self._done = True
        try:
            with contextlib.suppress(*foreign_errors(), ValueError):  # it is about to be removed
                if self._encoder is not None:
                    self._encoder.close()
        finally:
            self._encoder = None
            self._drop_spool()
            with contextlib.suppress(OSError):  # where it could not be made, nothing is to remove
                self._temporary.unlink()

    def _or_abort(self, step, *arguments) -> None:
        try:
            step(*arguments)
        except foreign_errors() as failure:
            self.abort()
            raise self._refused(failure) from failure
        except BaseException:
            self.abort()
            raise

    def _close(self, gain: float | None) -> None:
        if not self.samples:
            raise error(self.path, "not written: the sound has 0 samples")
        if gain is not None and not 0 < gain < float("inf"):
            raise ValueError(f"gain must be a positive factor; got {gain}")
        if gain is not None and self._clip != "rescale":
            raise ValueError(f'a gain belongs to clip="rescale"; got clip={self._clip!r}')
        if self._spool is not None:
            self.gain = float(gain if gain is not None else 1.0 / max(1.0, self.peak))
            self._spool.seek(0)
            count = _SPOOL_SAMPLES * self.channels
            while raw := self._spool.read(4 * count):
                block = np.frombuffer(raw, dtype=np.float32).reshape(-1, self.channels)
                self._encode(block * np.float32(self.gain) if self.gain != 1 else block)
        self._encoder.close()
        self._encoder = None
        self._drop_spool()

    def _move(self) -> None:
        self._refuse_existing()
        os.replace(self._temporary, self.path)
        self._done = True

    def _encode(self, block: np.ndarray) -> None:
        if self._clip != "none" or not self._keeps_overs:
            over = int(np.count_nonzero(np.abs(block) > _FULL_SCALE))
            if over and not (self._floats and self._clip == "rescale"):
                self.clipped_samples += over
                block = np.clip(block, -1.0, 1.0)
        self._encoder.write(block)

    @property
    def _keeps_overs(self) -> bool:
        return self._floats or not WRITABLE[self.path.suffix.lower()].bit_depths

    def _drop_spool(self) -> None:
        if self._spool is not None:
            spool, self._spool = self._spool, None
            with contextlib.suppress(OSError):  # its buffer may not fit on a full disk
                spool.close()
            self._spool_path.unlink(missing_ok=True)

    def _refuse_existing(self) -> None:
        if self.path.is_dir():
            raise error(self.path, "is a folder; give the name of a file in it")
        if not self.overwrite and os.path.lexists(self.path):
            raise error(self.path, "exists already; choose another name or ask to overwrite it")

    def _refused(self, failure: BaseException) -> Exception:
        return error(self.path, f"cannot be written: {reason(failure)}; choose another folder")


def write(
    path: str | os.PathLike,
    waveform: np.ndarray,
    sample_rate: int,
    *,
    bit_depth: int | str = 16,
    clip: str = "rescale",
    tags: Mapping[str, str] | None = None,
    overwrite: bool = False,
    bitrate: int | None = None,
    quality: float | None = None,
) -> Written:
    """Write `[samples, channels]` or `[samples]`, floats with full scale 1.0, whole.

    The array is checked as by `checked_waveform`; options and errors are `AudioWriter`'s.
    """
    try:
        waveform = checked_waveform(waveform, sample_rate)
    except ValueError as failure:
        raise error(path, f"not written: {failure}") from failure
    with AudioWriter(
        path, sample_rate, waveform.shape[1], bit_depth=bit_depth, clip=clip, tags=tags,
        overwrite=overwrite, bitrate=bitrate, quality=quality,
    ) as writer:  # fmt: skip
        for start in range(0, len(waveform), _SPOOL_SAMPLES):
            writer.write(waveform[start : start + _SPOOL_SAMPLES])
        return writer.finish()


def _plain_depth(bit_depth: int | str) -> int | str:
    return {"16": 16, "24": 24, "float": "float32"}.get(bit_depth, bit_depth)


def _meant(suffix: str) -> str:
    hint = nearest(suffix, WRITABLE, "")
    return f"; {hint}" if hint else ""


def _listed(values) -> str:
    if isinstance(values, range):
        return f"{values.start} to {values.stop - 1}"
    *most, last = map(str, values)
    return f"{', '.join(most)} or {last}"
