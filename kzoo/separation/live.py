"""Sound as it comes: one hop in, one hop out, from a microphone or a pipe of raw PCM.

A system that remembers (`System.begin`) is given hop after hop; what it says is late by its delay.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from kzoo.separation.separator import System, kept_share

_WAITING = 8  # hops that a microphone may be ahead of the model before some are dropped


@dataclass
class LiveReport:
    """What a live run took: seconds of sound and of work, and the slowest hop.

    dropped: hops that were heard and never reached the model. late: hops for which the loudspeaker
    had nothing to play.
    """

    hop_seconds: float
    sound_seconds: float = 0.0
    work_seconds: float = 0.0
    worst_seconds: float = 0.0
    dropped: int = 0
    late: int = 0

    def add(self, seconds: float) -> None:
        """Count in one hop that took `seconds`."""
        self.sound_seconds += self.hop_seconds
        self.work_seconds += seconds
        self.worst_seconds = max(self.worst_seconds, seconds)

    def __str__(self) -> str:
        factor = self.work_seconds / self.sound_seconds if self.sound_seconds else 0.0
        return (
            f"{self.sound_seconds:.1f} s of sound, real-time factor {factor:.2f}, worst block "
            f"{1000 * self.worst_seconds:.1f} ms of {1000 * self.hop_seconds:.1f}, "
            f"{self.dropped} blocks dropped, {self.late} late"
        )


class Live:
    """Sources of a remembering, one-channel system, hop by hop: `live(hop)` is their estimate.

    sources: of the system, each a channel of what comes out. attenuation_limit_db: as of
    `BlockSeparator`. report: what it has taken so far.
    Raises ValueError for a system that does not remember, or has several channels.
    """

    def __init__(self, system: System, *sources: str, attenuation_limit_db: float | None = None):
        if system.begin is None:
            raise ValueError("a model that hears whole blocks cannot run live: choose another")
        if system.channels != 1:
            raise ValueError(f"live sound has one channel; the model takes {system.channels}")
        self.sample_rate, self.hop, self.delay = (
            system.sample_rate, system.grid.samples, system.delay,
        )  # fmt: skip
        self.sources = sources
        self._step, self._numbers = system.begin(), [system.sources.index(x) for x in sources]
        self._kept = kept_share(attenuation_limit_db)
        self._heard = np.zeros(self.delay, np.float32)
        self._step(np.zeros((1, self.hop, 1), np.float32))  # what is slow only once
        self._step = system.begin()
        self.report = LiveReport(self.hop / self.sample_rate)

    def __call__(self, hop: np.ndarray) -> np.ndarray:
        """Samples, full scale 1.0, to as many that were heard `delay` samples before.

        `[hop]` to `[hop, sources]`.
        """
        started = time.perf_counter()
        estimate = np.asarray(self._step(hop[None, :, None]))[0, self._numbers, :, 0].T
        self._heard = np.concatenate([self._heard, hop])
        heard, self._heard = np.split(self._heard, [self.hop])
        estimate = (1 - self._kept) * estimate + self._kept * heard[:, None]
        self.report.add(time.perf_counter() - started)
        return estimate


def through_pipe(
    live: Live,
    source: BinaryIO,
    sink: BinaryIO,
    *,
    told: Callable[[float], object] = lambda _: None,
) -> LiveReport:
    """Raw PCM, 16 bit little-endian, one channel, from `source` to `sink`, as many samples.

    Several sources are as many channels of the sink, sample by sample.
    The estimate of a hop is written as soon as the delay allows; the delay itself is cut off, and
    the end is followed by silence until all is out. told: called with the seconds that were heard.
    """
    late, samples, written = live.delay, 0, 0
    for hop, held in _hops(source, live.hop, live.delay):
        samples += held
        estimate = live(hop)[max(0, late) :]
        late -= live.hop
        estimate = estimate[: samples - written]
        written += len(estimate)
        sink.write(_pcm(estimate))
        sink.flush()
        told(samples / live.sample_rate)
    return live.report


def from_microphone(
    live: Live,
    *,
    device: str | int | None = None,
    told: Callable[[float], object] = lambda _: None,
    seconds: float | None = None,
) -> LiveReport:
    """From a microphone to loudspeakers, one a source, until interrupted, or for `seconds`.

    device: of the package sounddevice, by name or number. Hops that come while the model is busy
    with others wait; beyond that they are dropped. Where an estimate is late, silence is played.
    The report counts both, and what the device says of itself, but not the silence at the start.
    Raises ImportError where sounddevice is missing, OSError for a device that cannot be opened.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise ImportError("live sound needs pip install 'kzoo[live]'") from error
    heard: queue.Queue = queue.Queue(_WAITING)
    spoken: queue.Queue = queue.Queue()
    channels = len(live.sources)
    spoken.put(np.zeros((live.hop, channels), np.float32))  # the first hop has no estimate yet

    def callback(entering, leaving, frames, when, status) -> None:
        live.report.dropped += bool(status.input_overflow)
        live.report.late += bool(status.output_underflow)
        try:
            heard.put_nowait(entering[:, 0].copy())
        except queue.Full:
            live.report.dropped += 1
        try:
            leaving[:] = spoken.get_nowait()
        except queue.Empty:
            live.report.late += 1
            leaving.fill(0)

    try:
        stream = sounddevice.Stream(
            samplerate=live.sample_rate, blocksize=live.hop, channels=(1, channels),
            dtype="float32", device=device, callback=callback,
        )  # fmt: skip
    except (sounddevice.PortAudioError, ValueError) as error:
        raise OSError(
            f"the sound device {device or 'by default'} cannot be opened: {error}"
        ) from None
    with stream:
        while seconds is None or live.report.sound_seconds < seconds:
            spoken.put(live(heard.get()))
            told(live.report.sound_seconds)
    return live.report


def _hops(source: BinaryIO, hop: int, delay: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (hop of samples, how many of them are the source's), then silence for `delay`."""
    rest = b""
    while True:
        data = rest + source.read(2 * hop - len(rest))
        if len(data) == 2 * hop:
            yield _samples(data), hop
            rest = b""
        elif more := source.read(1):  # a pipe may give less than was asked for
            rest = data + more
        else:
            break
    held = len(data) // 2
    ending = np.concatenate([_samples(data[: 2 * held]), np.zeros(delay + hop, np.float32)])
    for at in range(0, held + delay, hop):
        yield ending[at : at + hop], max(0, min(hop, held - at))


def _samples(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<i2").astype(np.float32) / 32768


def _pcm(samples: np.ndarray) -> bytes:
    return np.clip(np.rint(32768 * samples), -32768, 32767).astype("<i2").tobytes()
