"""Filters that change with every frame, given as magnitudes, and one long fixed one: a room.

Engel et al., DDSP, 2020, https://arxiv.org/abs/2001.04643: frequency sampling. Magnitudes become
the taps of a linear-phase filter by the inverse real DFT and a window, one matrix for both. All of
it is matrix products on real numbers, but for the room, whose transforms are forward FFTs.
"""

from __future__ import annotations

import functools

import numpy as np
from keras import ops

from kzoo.dsp import dft, windows
from kzoo.dsp.framing import frame, overlap_add, pad_last
from kzoo.dsp.stft import irfft


def impulse_responses(magnitudes, window_length: int = 0):
    """Magnitudes `[..., bins]`, evenly from 0 Hz to Nyquist, to causal taps `[..., taps]`.

    window_length: of the Hann window around the middle tap, and of the result (one less if even);
    0, or more than there are taps, is all 2 * (bins - 1) of them. A short one smooths the response.
    """
    basis = _frequency_sampling(magnitudes.shape[-1], window_length)
    return ops.matmul(magnitudes, ops.convert_to_tensor(basis, magnitudes.dtype))


def filter_delay(taps: int) -> int:
    """Samples by which `filtered` is ahead of plain causal filtering (the reference's count)."""
    return max((taps - 1) // 2 - 1, 0)


def filter_frames(frames, taps):
    """Each frame `[batch, frames, hop_length]` through its own `taps` `[batch, frames, taps]`.

    The result is `[batch, frames, hop_length + taps - 1]`, to be overlap-added.
    """
    hop_length, count = frames.shape[-1], taps.shape[-1]
    size = hop_length + count - 1
    forward, inverse = _linear_convolution(hop_length, count)
    bins = size // 2 + 1

    def spectrum(x, length):
        both = ops.matmul(x, ops.convert_to_tensor(forward[:length], x.dtype))
        return both[..., :bins], both[..., bins:]

    (a, b), (c, d) = spectrum(frames, hop_length), spectrum(taps, count)
    product = ops.concatenate([a * c - b * d, a * d + b * c], axis=-1)
    return ops.matmul(product, ops.convert_to_tensor(inverse, frames.dtype))


def filtered(frames, taps):
    """Noise `[batch, frames, hop_length]` through `taps` of each frame, as `[batch, samples, 1]`.

    As long as the noise, and without the delay of a symmetric filter.
    """
    samples = ops.shape(frames)[1] * frames.shape[-1]
    signal = overlap_add(filter_frames(frames, taps), frames.shape[-1])
    start = filter_delay(taps.shape[-1])
    return ops.expand_dims(signal[:, start : start + samples], -1)


def continue_filtered(frames, taps, tail):
    """`filtered` from where `tail` was left, one hop late: (signal, tail) to go on with.

    tail: `[batch, tail_length(...)]`, zeros at the start. Block after block it gives what
    `filtered` gives for all frames at once.
    """
    hop_length = frames.shape[-1]
    start = filter_delay(taps.shape[-1])
    samples = ops.shape(frames)[1] * hop_length
    fresh = overlap_add(filter_frames(frames, taps), hop_length)
    fresh = pad_last(fresh, hop_length - start, 0)
    kept = tail.shape[-1]
    signal = fresh + pad_last(tail, 0, ops.shape(fresh)[-1] - kept)
    return ops.expand_dims(signal[:, :samples], -1), signal[:, samples:]


def tail_length(hop_length: int, taps: int) -> int:
    """Samples that `continue_filtered` keeps; ValueError where one hop of delay is too little."""
    start = filter_delay(taps)
    if start > hop_length:
        raise ValueError(
            "a stream is one hop late, so half of its filter must fit a hop; "
            f"got hop_length={hop_length}, taps={taps}"
        )
    return hop_length + taps - 1 - start


def reverberate(signal, response):
    """`signal` `[batch, samples, 1]` with the room `response` `[taps]` added; any length.

    The response's first tap counts for nothing: it would be the signal itself.
    """
    taps = response.shape[-1]
    hop_length = 1 << (max(taps - 1, 1) - 1).bit_length()
    samples = ops.shape(signal)[1]
    dry = signal[..., 0]
    blocks = pad_last(dry, 0, -samples % hop_length)
    blocks = frame(blocks, hop_length, hop_length)  # [batch, blocks, hop_length]
    room = ops.concatenate([ops.zeros_like(response[:1]), response[1:]])
    (a, b), (c, d) = (_rfft(x, 2 * hop_length) for x in (blocks, room[None, None]))
    wet = overlap_add(irfft(a * c - b * d, a * d + b * c, 2 * hop_length), hop_length)
    return ops.expand_dims(dry + wet[:, :samples], -1)


def continue_reverberate(signal, response, state):
    """`reverberate` from where `state` was left: (a block with the room added, state after it).

    signal: `[batch, block, 1]`, every call the same block. state: as `silent_room` or the call
    before gives it. Partitioned convolution: of the room, parts as long as a block are multiplied
    with the spectra of as many blocks before, so that nothing is late and little is computed.
    """
    block, count = signal.shape[1], response.shape[-1]
    bins = block + 1
    room = ops.concatenate([ops.zeros_like(response[:1]), response[1:]])
    room = frame(pad_last(room, 0, -count % block), block, block)  # [parts, block]
    heard = ops.concatenate([state["room_block"], signal[..., 0]], axis=-1)
    newest = ops.concatenate(_rfft(heard, 2 * block), axis=-1)[:, None]
    spectra = ops.concatenate([newest, state["room_spectra"][:, :-1]], axis=1)
    (a, b), (c, d) = (spectra[..., :bins], spectra[..., bins:]), _rfft(room, 2 * block)
    re, im = ops.sum(a * c - b * d, axis=1), ops.sum(a * d + b * c, axis=1)
    wet = irfft(re, im, 2 * block)[:, block:]
    return signal + wet[..., None], {"room_block": signal[..., 0], "room_spectra": spectra}


def silent_room(taps: int, block: int, batch: int = 1) -> dict[str, np.ndarray]:
    """What `continue_reverberate` starts from, for a room of `taps` and blocks of `block`."""
    return {
        "room_block": np.zeros((batch, block), np.float32),
        "room_spectra": np.zeros((batch, -(-taps // block), 2 * (block + 1)), np.float32),
    }


def _rfft(x, size: int):
    return dft.rfft(pad_last(x, 0, size - x.shape[-1]))


@functools.cache
def _frequency_sampling(bins: int, window_length: int) -> np.ndarray:
    """`[bins, taps]`, float64."""
    if bins < 2:
        raise ValueError(f"a response needs magnitudes at 2 frequencies at least; got {bins}")
    size = 2 * (bins - 1)
    centred = np.fft.fftshift(np.fft.irfft(np.eye(bins), size, axis=-1), axes=-1)
    if not 0 < window_length < size:
        return centred * windows.window("hann", size)
    # The reference's short windows: their middle is a sample late, and their last taps are zero.
    middle = (window_length + 1) // 2
    lags = np.arange(2 - middle, middle + 1)
    window = np.pad(windows.window("hann", window_length - window_length % 2), (0, 2 * middle))
    return centred[:, size // 2 + lags] * window[middle + lags]


@functools.cache
def _linear_convolution(hop_length: int, taps: int) -> tuple[np.ndarray, np.ndarray]:
    """The real DFT `[longer input, 2 * bins]` of the whole convolution, and its inverse."""
    size = hop_length + taps - 1
    spectra = np.fft.rfft(np.eye(max(hop_length, taps), size), axis=-1)
    unit = np.eye(size // 2 + 1)
    inverse = [np.fft.irfft(unit, size, axis=-1), np.fft.irfft(1j * unit, size, axis=-1)]
    return np.concatenate([spectra.real, spectra.imag], axis=-1), np.concatenate(inverse)
