"""Ideal masks: the best that masking a spectrogram can do, given the true sources.

A separator that masks the mixture's magnitude and keeps its phase is to be read against these, as
it is against the untouched mixture. In the words of this field (others call the square root of the
Wiener-like mask a ratio mask):

    ibm  ideal binary mask    1 where a source is the loudest, else 0
    irm  ideal ratio mask     |s_j| / sum_k |s_k|
    wfm  Wiener-like mask     |s_j|^2 / sum_k |s_k|^2

A complex mask changes the phase as well: `cirm`, s_j / x of the mixture x (Williamson, Wang and
Wang, 2016, https://doi.org/10.1109/TASLP.2015.2512042). Unlimited it gives back the references
themselves; here its magnitude is at most 1, the bound of networks such as DCUNet (Choi et al.,
2019), so that it is what a mask that only attenuates and turns can do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kzoo.hints import nearest

KINDS = ("ibm", "irm", "wfm")  # of magnitudes alone
COMPLEX = "cirm"
# Frames that are in memory at a time: 128 stereo frames of 4096 are 8 MB a source in float64.
_FRAMES = 128


def ideal_masks(kind: str, magnitudes: np.ndarray) -> np.ndarray:
    """Magnitudes `[sources, ...]` to masks of that shape, which sum to one over the sources.

    Where all sources are silent each gets an equal share; in a binary mask the first of equally
    loud sources gets all. Raises ValueError for another kind.
    """
    _check_kind(kind, KINDS)
    magnitudes = np.asarray(magnitudes)
    n_sources = len(magnitudes)
    if kind == "ibm":
        loudest = np.argmax(magnitudes, axis=0)
        masks = loudest == np.arange(n_sources).reshape(-1, *[1] * loudest.ndim)
        return masks.astype(magnitudes.dtype)
    weights = magnitudes if kind == "irm" else np.square(magnitudes)
    total = weights.sum(axis=0)
    audible = total > 0
    return np.where(audible, weights / np.where(audible, total, 1), 1 / n_sources)


def ideal_complex_masks(
    spectra: np.ndarray, mixture: np.ndarray, *, limit: float = 1.0
) -> np.ndarray:
    """Spectra `[sources, ...]` and that of their mixture to complex masks of `spectra`'s shape.

    limit: the highest magnitude; what is above keeps its phase. Where the mixture is silent they
    are 0. Where no mask meets the limit they sum to what the references have of the mixture.
    """
    audible = mixture != 0
    masks = np.where(audible, spectra / np.where(audible, mixture, 1), 0)
    return masks / np.maximum(np.abs(masks) / limit, 1)


def oracle(
    kind: str,
    references: Mapping[str, np.ndarray],
    mixture: np.ndarray,
    *,
    n_fft: int = 4096,
    hop_length: int = 1024,
) -> dict[str, np.ndarray]:
    """What ideal masks make of `mixture`: {source: waveform}, each of the mixture's shape.

    references: {source: `[samples, channels]` or `[samples]`}, shaped as `mixture`. Each channel
    has masks of its own, on a Hann STFT; the default window is 93 ms at 44.1 kHz. Estimates by
    masks of magnitudes sum to the mixture, whatever the references sum to. Memory beyond the
    estimates is constant.
    Raises ValueError for another kind, for shapes that differ, or for a hop above half a window.
    """
    from scipy import signal  # takes a second

    _check_kind(kind, (*KINDS, COMPLEX))
    mixture = np.asarray(mixture)
    dtype = np.result_type(mixture.dtype, np.float32)
    waveforms = [mixture, *(np.asarray(waveform) for waveform in references.values())]
    for name, waveform in zip(references, waveforms[1:], strict=True):
        if waveform.shape != mixture.shape:
            raise ValueError(
                f"{name} must be shaped as the mixture; got {waveform.shape} and {mixture.shape}"
            )
    if mixture.ndim not in (1, 2) or not waveforms[1:]:
        raise ValueError(
            "oracle takes a mixture [samples, channels] and at least one reference; got shape "
            f"{mixture.shape}, {len(waveforms) - 1} references"
        )
    if not 0 < hop_length <= n_fft // 2:
        raise ValueError(
            "hop_length must be at least 1 and at most half of n_fft, or samples get lost; "
            f"got n_fft={n_fft}, hop_length={hop_length}"
        )
    window = signal.get_window("hann", n_fft).astype(dtype)
    transform = signal.ShortTimeFFT(window, hop_length, fs=1)
    waveforms = [waveform.reshape(len(mixture), -1) for waveform in waveforms]
    samples, channels = waveforms[0].shape
    estimates = np.empty((len(waveforms) - 1, samples, channels), dtype)
    stretch = _FRAMES * hop_length
    margin = -(-n_fft // hop_length) * hop_length  # all frames that reach into a stretch
    for begin in range(0, samples, stretch):
        first, end = max(begin - margin, 0), min(begin + stretch, samples)
        heard = np.stack([waveform[first : end + margin] for waveform in waveforms]).astype(dtype)
        heard = np.pad(heard, ((0, 0), (0, n_fft), (0, 0)))  # the transform wants half a window
        spectra = transform.stft(heard, axis=1)  # [signals, bins, channels, frames]
        if kind == COMPLEX:
            masks = ideal_complex_masks(spectra[1:], spectra[0])
        else:
            masks = ideal_masks(kind, np.abs(spectra[1:]))
        masked = masks * spectra[0]
        estimates[:, begin:end] = transform.istft(masked, f_axis=1)[:, begin - first : end - first]
    return {
        name: estimate.reshape(mixture.shape)
        for name, estimate in zip(references, estimates, strict=True)
    }


def _check_kind(kind: str, kinds: Sequence[str]) -> None:
    if kind not in kinds:
        hint = nearest(kind, kinds, f"there are {', '.join(kinds)}")
        raise ValueError(f"no ideal mask is called {kind!r}; {hint}")
