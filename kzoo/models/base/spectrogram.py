"""What the networks on magnitude spectrograms share: their sizes, the way in and out again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import keras
from keras import ops

from kzoo.dsp.blocks import BlockGrid, stft_grid
from kzoo.dsp.stft import STFT, InverseSTFT
from kzoo.layers.bands import band_count
from kzoo.layers.masks import Estimates, ExtendMasks, JoinSegments, RatioMasks, Segments
from kzoo.layers.spectra import BandMagnitude, MaskedSpectrum
from kzoo.models.base.sizes import Signal, check_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectrogramSizes(Signal):
    """Sizes of a U-Net on magnitudes.

    frames, bins: size of a segment, multiples of 2 ** len(filters); bins count from 0 Hz.
    n_fft, hop_length: window and hop of the STFT, in samples.
    masking: with "ratio" the sources share the mixture by their power; with "direct" each has the
        network's mask as it is.
    mask_extension: what happens above the network's band, bins * sample_rate / n_fft hertz:
        "zeros" (Spleeter) or "average", the mean mask of the frame.
    linear_bins: the network sees so many bins as they are, and above them the bands of
        `layers.bands`, whose masks hold for all their bins; with None, as in the papers, it sees
        all bins.
    """

    filters: tuple[int, ...]
    frames: int
    bins: int
    n_fft: int
    hop_length: int
    masking: Literal["ratio", "direct"] = "ratio"
    mask_extension: Literal["zeros", "average"] = "zeros"
    linear_bins: int | None = None

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "frames", "bins", "n_fft", "hop_length")
        seen = self.bins
        if self.linear_bins is not None:
            seen = band_count(self.bins, self.linear_bins)
        for bins in (self.bins, seen):
            if self.frames % self.step or bins % self.step:
                raise ValueError(
                    f"frames and bins must be multiples of {self.step}, which {len(self.filters)} "
                    f"levels halve; got frames={self.frames}, bins={bins}"
                )

    @property
    def step(self) -> int:
        """The number that the levels halve down to 1."""
        return 2 ** len(self.filters)

    def grid(self) -> BlockGrid:
        """The grid on which blocks of `build(..., padding="valid")` equal the whole file."""
        return stft_grid(self.frames, self.n_fft, self.hop_length)

    def block(self) -> dict[str, Any]:
        return {"samples": self.grid().samples, "padding": "valid"}

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """One segment of as many frames as `samples` needs."""
        frames = max(1, -(-(samples - self.n_fft + self.hop_length) // self.hop_length))
        size = dataclasses.replace(self, frames=-(-frames // self.step) * self.step)
        return size, size.block()

    def static(self, samples: int | None = None) -> tuple[Self, int]:
        """One segment whose first frame lies before the signal, as padding="full" has it."""
        size = self
        if samples is not None:
            frames = -(-(samples + self.n_fft) // (self.hop_length * self.step)) * self.step
            size = dataclasses.replace(self, frames=frames)
        return size, size.frames * self.hop_length - self.n_fft

    def smaller(self) -> Self | None:
        """The same network on segments of half the frames."""
        half = self.frames // 2
        return None if half % self.step else dataclasses.replace(self, frames=half)

    def bandwidth_hz(self) -> int:
        return min(self.sample_rate // 2, self.bins * self.sample_rate // self.n_fft)


def waveform_model(
    separate: Callable,
    sources: Sequence[str],
    size: SpectrogramSizes,
    *,
    name: str,
    samples: int | None,
    padding: str,
    inputs: Sequence = (),
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    The spectrogram is cut into segments of `frames` frames, the last one filled with zeros;
    separate takes them, `[segments, frames, bins, channels]`, to estimates of the sources'
    magnitudes, `[segments, sources, frames, bins, channels]`, which mask the mixture.

    inputs: of the model, after the waveform.
    """
    n_bins = size.n_fft // 2 + 1

    def masks(band):
        estimates = separate(Segments(size.frames, dtype="float32", name="segments")(band))
        estimates = JoinSegments(dtype="float32", name="join_segments")(estimates, band)
        if size.masking == "ratio":
            mask = RatioMasks(dtype="float32", name="ratio_masks")(estimates)
        else:
            mask = shares_of(band, estimates)
        extended = ExtendMasks(n_bins, size.mask_extension, dtype="float32", name="extend_masks")
        return extended(mask)

    return masked_model(
        masks, sources, size, name=name, samples=samples, padding=padding, inputs=inputs
    )


def masked_model(
    masks: Callable,
    sources: Sequence[str],
    size: Signal,
    *,
    name: str,
    samples: int | None,
    padding: str,
    window: str = "hann",
    inputs: Sequence = (),
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    masks takes the mixture's magnitudes in the lowest `size.bins` bins,
    `[batch, frames, bins, channels]`, to masks on all bins,
    `[batch, sources, frames, all bins, channels]`. window: of the STFT, one of `dsp.windows`.
    inputs: of the model, after the waveform.
    """
    # float32 whatever the policy: spectra in half precision have 60 dB of range.
    transform = {"n_fft": size.n_fft, "hop_length": size.hop_length, "window": window,
                 "padding": padding, "dtype": "float32"}  # fmt: skip
    waveform = keras.Input((samples, size.channels), name="waveform")
    real, imag = STFT(**transform, name="stft")(waveform)  # [batch, frames, bins, channels] twice
    band = BandMagnitude(size.bins, dtype="float32", name="band")(real, imag)
    masked = MaskedSpectrum(dtype="float32", name="masked")(masks(band), real, imag)
    stems = InverseSTFT(**transform, name="inverse_stft")(*masked, waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model([waveform, *inputs] if inputs else waveform, stems, name=name)


def shares_of(mixture, estimates):
    """The masks that make `estimates` of the mixture's magnitudes `[batch, frames, bins, ...]`."""
    return estimates / ops.maximum(ops.expand_dims(mixture, 1), 1e-10)
