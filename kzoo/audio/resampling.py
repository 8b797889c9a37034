"""Resampling with soxr, whole or in blocks, to the same samples either way.

soxr's VHQ is a linear-phase filter, so nothing is delayed; both ways give exactly
round(samples * to_rate / from_rate) samples.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from kzoo.audio.arrays import checked_rate

QUALITY = "VHQ"


def resample(waveform: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample `[samples, channels]` to float32 `[round(samples * ratio), channels]`."""
    resampler = StreamResampler(from_rate, to_rate, _channels(waveform))
    return np.concatenate([resampler.push(waveform), resampler.flush()])


class StreamResampler:
    """Resamples blocks as they come; what `push` and `flush` return, joined, is `resample`.

    A block given is not a block returned: the filter looks ahead, so early pushes return fewer
    samples (perhaps none) and `flush` the rest. Equal rates pass through untouched.
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int):
        self.from_rate, self.to_rate = checked_rate(from_rate), checked_rate(to_rate)
        self.channels = channels
        self._taken = self._given = 0
        self._stream = None
        if self.from_rate != self.to_rate:
            import soxr

            self._stream = soxr.ResampleStream(
                self.from_rate, self.to_rate, channels, dtype="float32", quality=QUALITY
            )

    def push(self, block: np.ndarray) -> np.ndarray:
        """Take `[n, channels]`; give what is ready, `[m, channels]`, m possibly 0."""
        if _channels(block) != self.channels:
            raise ValueError(f"blocks must be [samples, {self.channels}]; got {block.shape}")
        block = np.ascontiguousarray(block, dtype=np.float32)
        self._taken += len(block)
        if self._stream is None or not len(block):
            return block
        return self._counted(self._stream.resample_chunk(block))

    def flush(self) -> np.ndarray:
        """Give the end of the signal, `[m, channels]`; afterwards a new signal may begin."""
        rest = np.zeros((0, self.channels), np.float32)
        if self._stream is not None and self._taken:
            due = (2 * self._taken * self.to_rate + self.from_rate) // (2 * self.from_rate)
            rest = self._counted(self._stream.resample_chunk(rest, last=True))
            # soxr ends on the same count but for a rounding tie; this makes it a promise.
            excess = max(0, self._given - due)
            rest = np.pad(rest[: len(rest) - excess], ((0, max(0, due - self._given)), (0, 0)))
            self._stream.clear()
        self._taken = self._given = 0
        return rest

    def _counted(self, block: np.ndarray) -> np.ndarray:
        self._given += len(block)
        return block.reshape(-1, self.channels)


def mono(blocks: Iterable[np.ndarray], sample_rate: int, new_rate: int) -> Iterator[np.ndarray]:
    """Blocks `[samples, channels]` to `[samples]` at `new_rate`, the channels' mean."""
    resampler = StreamResampler(sample_rate, new_rate, 1)
    for block in blocks:
        yield resampler.push(block.mean(axis=1, keepdims=True))[:, 0]
    yield resampler.flush()[:, 0]


def pieces(
    signal: Iterable[np.ndarray], hop_length: int, frames: int, before: int, after: int
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield (the samples that `frames` frames see, how many of these frames count).

    signal: blocks `[samples]` of any length, float32. Frame m tells of sample m * hop_length, and
    sees `before` samples before it and `after` from it on; outside of the signal is silence. Of a
    signal there are 1 + samples // hop_length frames, and all pieces are of one length.
    """
    size, step = (frames - 1) * hop_length + before + after, frames * hop_length
    kept = np.zeros(before, np.float32)
    samples = done = 0
    for block in signal:
        samples += len(block)
        kept = np.concatenate([kept, block])
        while len(kept) >= max(size, step):
            yield kept[:size], frames
            kept, done = kept[step:], done + frames
    while (rest := 1 + samples // hop_length - done) > 0:
        yield np.pad(kept[:size], (0, max(0, size - len(kept)))), min(frames, rest)
        kept, done = kept[step:], done + frames


def _channels(waveform: np.ndarray) -> int:
    if waveform.ndim != 2:
        raise ValueError(f"a waveform must be [samples, channels]; got shape {waveform.shape}")
    return waveform.shape[1]
