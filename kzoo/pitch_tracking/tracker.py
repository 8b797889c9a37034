"""The pitch of a recording of any length, rate and number of channels, in constant memory.

    tracker = PitchTracker("crepe_tiny")              # the model is built once
    f0_hz, confidence = tracker.estimate(waveform, sample_rate)

Sound is averaged to one channel and resampled to 16 kHz; frame m is centred on time m * hop. There
are 1 + samples // hop frames, so that a signal of whole hops has one more than hops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import presets
from kzoo.audio import checked_waveform, mono, pieces
from kzoo.engines import litert
from kzoo.extras import package
from kzoo.pitch_tracking import decoding

SAMPLE_RATE = 16000
DECODERS = ("viterbi", "local_average")
PYIN = "pyin"
DEFAULT_METHOD = "crepe_tiny"
SILENCE_DB = -70.0
_FRAME_LENGTH = 1024
_FRAMES_AT_ONCE = 128
_PYIN_FRAMES_AT_ONCE, _PYIN_CONTEXT_SECONDS = 2048, 0.5
_PYIN_RANGE_HZ = (65.4, 2093.0)


class Pitch(NamedTuple):
    """Of each frame: its centre, its pitch, how periodic it is (0 to 1), and its level.

    f0_hz is a guess even where nothing has a pitch: look at `confidence`. level_db: of the sound
    around the frame's centre, in dB of full scale.
    """

    times_seconds: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray
    level_db: np.ndarray


class PitchTracker:
    """Follows the pitch of one voice or instrument.

    method: a preset of the model crepe by name or folder, or "pyin" (librosa), which needs no
        weights. confidence is the activation at the pitch, or pYIN's probability of voicing.
    hop_ms: from frame to frame; 4 ms are DDSP's 250 a second.
    fmin_hz, fmax_hz: where the pitch may lie, within the method's own range (31.7 to 2005.5 Hz
        for CREPE, by default 65.4 to 2093 for pYIN).
    decoder: of CREPE's activations: "viterbi" follows a path over time, "local_average" takes the
        strongest in each frame.
    silence_db: frames of a lower level have no confidence, and the path runs straight on.
    engine: what runs CREPE, as in `Separator.from_preset`; a file for LiteRT is of one hop.
    progress: bytes fetched, bytes in all, where a preset must come.
    """

    def __init__(
        self,
        method: str | Path = DEFAULT_METHOD,
        *,
        hop_ms: float = 4.0,
        fmin_hz: float | None = None,
        fmax_hz: float | None = None,
        decoder: str = "viterbi",
        silence_db: float = SILENCE_DB,
        device: str | None = None,
        engine: str = "auto",
        progress: presets.Progress | None = None,
    ):
        self.hop_length = check_request(
            method, hop_ms=hop_ms, fmin_hz=fmin_hz, fmax_hz=fmax_hz, decoder=decoder
        )
        self.method = str(method)
        self.silence_db = silence_db
        by_litert = uses_litert(method, self.hop_length, engine=engine, device=device)
        if self.method == PYIN:
            self._estimates = _pyin(self.hop_length, fmin_hz, fmax_hz)
            return
        allowed = decoding.bin_range(fmin_hz, fmax_hz)
        network = _network(method, self.hop_length, device, progress, by_litert)
        self._estimates = _crepe(network, self.hop_length, allowed, decoder)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return SAMPLE_RATE / self.hop_length

    def track(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Pitch]:
        """Yield the pitch of `[samples, channels]` blocks of any length, a stretch at a time."""
        frames = 0
        for f0_hz, confidence, level_db in self._estimates(
            mono(blocks, sample_rate, SAMPLE_RATE), self.silence_db
        ):
            seconds = (frames + np.arange(len(f0_hz))) * self.hop_length / SAMPLE_RATE
            frames += len(f0_hz)
            yield Pitch(seconds, f0_hz, confidence, level_db)

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> Pitch:
        """The pitch of `[samples]` or `[samples, channels]`, full scale 1.0."""
        signal = checked_waveform(waveform, sample_rate)
        parts = zip(*self.track([signal], sample_rate), strict=True)
        return Pitch(*(np.concatenate(part) for part in parts))

    def estimate(self, waveform: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
        """Estimate (f0_hz, confidence) of a waveform, float32 `[frames]` each."""
        found = self(waveform, sample_rate)
        return found.f0_hz.astype(np.float32), found.confidence.astype(np.float32)


def check_request(
    method: str | Path,
    *,
    hop_ms: float,
    fmin_hz: float | None = None,
    fmax_hz: float | None = None,
    decoder: str = "viterbi",
) -> int:
    """The hop in samples at 16 kHz; ValueError for what no tracker can do. Loads no backend."""
    hop_length = round(hop_ms * SAMPLE_RATE / 1000)
    if hop_length < 1 or abs(hop_length - hop_ms * SAMPLE_RATE / 1000) > 1e-6:
        raise ValueError(
            f"a hop must be whole samples at 16 kHz, multiples of 0.0625 ms; got {hop_ms} ms"
        )
    if decoder not in DECODERS:
        raise ValueError(f"decoder must be one of {', '.join(DECODERS)}; got {decoder!r}")
    if str(method) == PYIN:
        _pyin_range(fmin_hz, fmax_hz)
        return hop_length
    decoding.bin_range(fmin_hz, fmax_hz)
    card = presets.load_card(method)
    if card["model"]["name"] != "crepe":
        others = [name for name in presets.list_presets() if name.startswith("crepe")]
        raise ValueError(
            f"preset {method!s} is no pitch tracker; there are {', '.join([*others, PYIN])}"
        )
    presets.refuse_untrained(method, card)
    return hop_length


def _levels_db(piece: np.ndarray, frame_length: int, hop_length: int) -> np.ndarray:
    """Standard deviation of each frame in dB of full scale."""
    frames = np.lib.stride_tricks.sliding_window_view(piece, frame_length)[::hop_length]
    return 20 * np.log10(np.maximum(np.std(frames, axis=1, dtype=np.float64), 1e-10))


def uses_litert(
    method: str | Path, hop_length: int, *, engine: str = "auto", device: str | None = None
) -> bool:
    """Whether LiteRT runs `method`; ValueError as `litert.chosen`, and for pyin by an engine."""
    if str(method) != PYIN:
        opened = presets.open_preset(method)
        return litert.chosen(engine, opened, device=device, hop_length=hop_length)
    if engine != "auto":
        raise ValueError(f"pyin is no network, so no engine runs it; got engine={engine!r}")
    return False


def _network(method, hop_length: int, device: str | None, progress, by_litert: bool) -> Callable:
    """A waveform of _FRAMES_AT_ONCE frames to their activations."""
    samples = _FRAME_LENGTH + (_FRAMES_AT_ONCE - 1) * hop_length
    if by_litert:
        return litert.pitch_network(
            presets.open_preset(method), samples=samples, hop_length=hop_length, progress=progress
        )
    from kzoo.engines import tensorflow

    place = tensorflow.prepare_devices(device)
    model = presets.from_preset(
        method, samples=samples, padding="valid", hop_length=hop_length, progress=progress
    )
    function = tensorflow.compiled(model, place)
    return lambda piece: function(piece[None, :, None])[0]


def _crepe(network: Callable, hop_length: int, allowed: slice, decoder: str) -> Callable:
    outside = np.ones(decoding.BINS, bool)
    outside[allowed] = False

    def estimates(signal, silence_db):
        half = _FRAME_LENGTH // 2
        path = _Path(allowed) if decoder == "viterbi" else _FrameByFrame(allowed)
        for piece, count in pieces(signal, hop_length, _FRAMES_AT_ONCE, half, half):
            level_db = _levels_db(piece, _FRAME_LENGTH, hop_length)[:count]
            activations = np.array(network(piece)[:count])
            activations[:, outside] = 0
            activations[level_db < silence_db] = 0
            yield path.push(activations, level_db)
        yield path.flush()

    return estimates


class _FrameByFrame:
    def __init__(self, allowed: slice):
        self._allowed = allowed

    def push(self, activations, level_db):
        return *_at(activations, decoding.strongest(activations, self._allowed)), level_db

    def flush(self):
        nothing = np.zeros(0)
        return nothing, nothing, nothing


class _Path:
    """Holds back what the likeliest path has not settled yet."""

    def __init__(self, allowed: slice):
        self._allowed, self._viterbi = allowed, decoding.Viterbi()
        self._activations = np.zeros((0, decoding.BINS), np.float32)
        self._levels = np.zeros(0)

    def push(self, activations, level_db):
        self._activations = np.concatenate([self._activations, activations])
        self._levels = np.concatenate([self._levels, level_db])
        return self._take(self._viterbi.push(decoding.log_emissions(activations, self._allowed)))

    def flush(self):
        return self._take(self._viterbi.flush())

    def _take(self, bins):
        count = len(bins)
        found = *_at(self._activations[:count], bins), self._levels[:count]
        self._activations, self._levels = self._activations[count:], self._levels[count:]
        return found


def _at(activations: np.ndarray, bins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Hertz, confidence) of frames by their bins."""
    confidence = np.take_along_axis(activations, bins[:, None], axis=1)[:, 0]
    return decoding.local_average_hz(activations, bins), confidence.astype(np.float64)


def _pyin_range(fmin_hz: float | None, fmax_hz: float | None) -> tuple[float, float]:
    low = _PYIN_RANGE_HZ[0] if fmin_hz is None else fmin_hz
    high = _PYIN_RANGE_HZ[1] if fmax_hz is None else fmax_hz
    if not 20 <= low < high <= SAMPLE_RATE / 4:
        raise ValueError(
            f"pyin takes pitches from 20 to {SAMPLE_RATE // 4} Hz, fmin below fmax; got fmin {low} "
            f"and fmax {high}"
        )
    return low, high


def _pyin(hop_length: int, fmin_hz: float | None, fmax_hz: float | None) -> Callable:
    """PYIN on stretches that overlap by half a second, each with a path of its own."""
    low, high = _pyin_range(fmin_hz, fmax_hz)
    librosa = package("librosa", "pyin", "librosa")
    frame_length = 2 ** int(np.ceil(np.log2(4 * SAMPLE_RATE / low)))
    context = int(np.ceil(_PYIN_CONTEXT_SECONDS * SAMPLE_RATE / hop_length))

    def estimates(signal, silence_db):
        around = frame_length // 2 + context * hop_length
        for piece, count in pieces(signal, hop_length, _PYIN_FRAMES_AT_ONCE, around, around):
            piece = piece[: frame_length + (count + 2 * context - 1) * hop_length]
            f0_hz, _, voiced = librosa.pyin(
                piece,
                fmin=low,
                fmax=high,
                sr=SAMPLE_RATE,
                frame_length=frame_length,
                hop_length=hop_length,
                center=False,
                fill_na=None,
            )
            level_db = _levels_db(piece, frame_length, hop_length)
            voiced = np.where(level_db < silence_db, 0.0, voiced)
            kept = slice(context, context + count)
            yield f0_hz[kept], voiced[kept], level_db[kept]

    return estimates
