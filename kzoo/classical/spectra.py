"""The STFT of the methods without training, and the blocks on which it equals that of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from kzoo.dsp.blocks import BlockGrid

if TYPE_CHECKING:
    from scipy.signal import ShortTimeFFT


@dataclass(frozen=True)
class Transform:
    """Frames every `hop_length` samples, silence before the signal and behind it.

    window: "hann", or "sine", its square root. The inverse takes the dual window.
    """

    n_fft: int
    hop_length: int
    window: str = "hann"

    @classmethod
    def lasting(cls, seconds: float, sample_rate: int, *, hops: int = 4, window: str = "hann"):
        """The transform whose window is the power of two nearest to `seconds`, at least 16."""
        n_fft = max(16, 2 ** round(np.log2(seconds * sample_rate)))
        return cls(n_fft, n_fft // hops, window)

    def forward(self, waveform: np.ndarray) -> np.ndarray:
        """`[samples, channels]` to `[channels, bins, frames]`, complex64 of float32."""
        silence = max(0, self.n_fft - len(waveform))  # SciPy wants half a window of samples
        return self._frames.stft(np.pad(waveform, ((0, silence), (0, 0))).T)

    def inverse(self, spectra: np.ndarray, samples: int) -> np.ndarray:
        """`[..., channels, bins, frames]` to `[..., samples, channels]`."""
        return np.moveaxis(self._frames.istft(spectra)[..., :samples], -1, -2)

    def new(self, spectra: np.ndarray, grid: BlockGrid) -> np.ndarray:
        """Of a block of `block_grid`, the frames that no other block has in its middle."""
        first = -grid.start // self.hop_length - self._frames.p_min
        return spectra[..., first : first + grid.hop // self.hop_length]

    def block_grid(self, seconds: float, sample_rate: int, *, context_frames: int = 0) -> BlockGrid:
        """Blocks of `seconds` with a window and `context_frames` before and behind them.

        What treats frames on their own, or with so many neighbours, gives joined what it gives of
        the whole.
        """
        frames = -(-self.n_fft // self.hop_length) + context_frames
        hops = max(1, round(seconds * sample_rate / self.hop_length))
        context = frames * self.hop_length
        return BlockGrid.with_context(hops * self.hop_length, context, context)

    @cached_property
    def _frames(self) -> ShortTimeFFT:
        from scipy import signal  # takes a second

        window = signal.get_window("hann", self.n_fft)
        window = np.sqrt(window) if self.window == "sine" else window
        return signal.ShortTimeFFT(window.astype(np.float32), self.hop_length, fs=1)


def bins_below(frequency_hz: float, n_fft: int, sample_rate: int) -> int:
    """The number of bins below that which is nearest to a frequency."""
    return min(round(frequency_hz * n_fft / sample_rate), n_fft // 2 + 1)
