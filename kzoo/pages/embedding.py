"""Sound and pictures of sound as data URIs, to be written into a page."""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path

import numpy as np

from kzoo import audio

# Of what `spectrogram` shows: from the bottom of the picture to its top.
SPECTROGRAM_HZ = (50.0, 16000.0)
_RANGE_DB = 80.0
_FAINTEST_DB = -60.0  # the brightest colour is never less, so that silence is dark
_COLUMNS, _ROWS = 1200, 192
_TYPES = {"ogg": "audio/ogg", "flac": "audio/flac", "wav": "audio/wav", "mp3": "audio/mpeg"}


def data_uri(content: bytes, mime: str) -> str:
    """`content` as a data URI of the type `mime`."""
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def embedded_audio(signal: np.ndarray, sample_rate: int, *, format: str = "ogg") -> str:
    """`[samples, channels]` or `[samples]` as a data URI of an audio file.

    format: ogg (Vorbis, about 12 kB for a second of stereo), flac (16 bits, which lose nothing but
    their rounding), wav or mp3, whose decoders may put silence before the sound.
    Beyond full scale Vorbis keeps its peaks, and the others are cut off. Raises audio.AudioError
    for a rate that the format does not have.
    """
    with tempfile.TemporaryDirectory(prefix="kzoo.") as folder:
        path = Path(folder, f"sound.{format}")
        audio.write(path, signal, sample_rate, clip="clamp")
        return data_uri(path.read_bytes(), _TYPES[format])


def spectrogram(
    signal: np.ndarray,
    sample_rate: int,
    *,
    top_db: float | None = None,
    seconds: float | None = None,
) -> str:
    """A picture without axes of `[samples, channels]` or `[samples]`, as a data URI of WebP.

    It is as wide as the sound is long, so that a cursor moves over it evenly, and logarithmic in
    frequency over SPECTROGRAM_HZ; above half the sample rate it is black.
    top_db: the level of the brightest colour, as `spectrum_db` has it, 80 dB above the darkest; by
        default that of the loudest point, and one for all pictures that are to be compared.
    seconds: what the whole width stands for, where the sound is shorter than others.
    Raises ValueError with the pip line without matplotlib.
    """
    try:
        from matplotlib import colormaps
        from PIL import Image
    except ImportError:
        raise ValueError("the pictures need matplotlib: pip install 'kzoo[plot]'") from None
    level_db = spectrum_db(signal, sample_rate, seconds=seconds)
    top_db = max(_FAINTEST_DB, float(level_db.max()) if top_db is None else top_db)
    shade = np.clip((level_db - top_db) / _RANGE_DB + 1, 0, 1)
    pixels = np.uint8(255 * colormaps["magma"](shade[::-1])[..., :3])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "webp", quality=70, method=2)
    return data_uri(file.getvalue(), "image/webp")


def spectrum_db(
    signal: np.ndarray, sample_rate: int, *, seconds: float | None = None
) -> np.ndarray:
    """Levels in dB `[rows, columns]` of what `spectrogram` shows, the lowest frequency first.

    A sine of full scale has 0 dB; silence, and what is above half the sample rate, has -140 dB.
    The loudest frame of each column is shown.
    """
    mono = np.asarray(signal, np.float32)
    mono = mono.mean(axis=1) if mono.ndim == 2 else mono
    samples = max(1, len(mono) if seconds is None else round(seconds * sample_rate))
    n_fft = 2 ** round(np.log2(0.046 * sample_rate))  # 2048 at 44.1 kHz
    frames_of = max(1, round(samples / _COLUMNS / (n_fft / 4)))  # of a column
    starts = np.linspace(0, samples, _COLUMNS * frames_of, endpoint=False).astype(int)
    padded = np.pad(mono[:samples], (n_fft // 2, n_fft // 2 + samples - len(mono[:samples])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)
    hann = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    places = np.geomspace(*SPECTROGRAM_HZ, _ROWS) * n_fft / sample_rate
    inside = places < n_fft // 2
    low = places[inside].astype(int)
    share = np.float32(places[inside] - low)[:, None]
    level_db = np.full((_ROWS, _COLUMNS), -140.0, np.float32)
    for first in range(0, _COLUMNS, 64):  # in parts, to bound the memory
        part = starts[first * frames_of : (first + 64) * frames_of]
        magnitude = np.abs(np.fft.rfft(windows[part] * hann, axis=1)).T / (n_fft / 4)
        loudest = magnitude.reshape(len(magnitude), -1, frames_of).max(axis=2)  # [bins, columns]
        rows = loudest[low] * (1 - share) + loudest[low + 1] * share
        level_db[inside, first : first + 64] = 20 * np.log10(np.maximum(rows, 1e-7))
    return level_db
