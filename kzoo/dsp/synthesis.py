"""Harmonics plus noise: from controls to a signal, whole or block after block.

Serra and Smith, Spectral modeling synthesis, 1990; Engel et al., DDSP, 2020,
https://arxiv.org/abs/2001.04643. A stream and a file go through the same oscillators and filters:
a stream is the file, to the sample, one hop late.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from kzoo.dsp import filters, noise, oscillators

# Of a stream's pitch before its first frame: not yet sounding.
_NOT_YET = -1.0


def harmonics_plus_noise(
    f0_hz, amplitudes, noise_magnitudes, *, hop_length: int, sample_rate: int, noise_frames=None
):
    """Controls `[batch, frames, ...]` to a signal `[batch, frames * hop_length, 1]`.

    f0_hz: `[batch, frames, 1]`; amplitudes: of each harmonic; noise_magnitudes: of the noise's
    filter, from 0 Hz to Nyquist. Amplitudes fade along half Hann windows, as in DDSP.
    noise_frames: uniform noise `[batch, frames, hop_length]`; by default the same every time.
    """
    tone = oscillators.harmonic_bank(
        f0_hz, amplitudes, hop_length=hop_length, sample_rate=sample_rate
    )
    if noise_frames is None:
        frames = ops.shape(f0_hz)[1]
        seed = ops.convert_to_tensor([noise.SEED], "int32")
        noise_frames, _ = noise.uniform_noise(seed, frames, hop_length)
    taps = filters.impulse_responses(noise_magnitudes)
    return tone + filters.filtered(noise_frames, taps)


def continue_harmonics_plus_noise(
    f0_hz, amplitudes, noise_magnitudes, state, *, hop_length: int, sample_rate: int
):
    """(signal of a block, state after it); arguments as of `harmonics_plus_noise`.

    state: as `initial_state` or the call before gives it. Block after block, of any sizes, it is
    the whole signal one hop late, but for the whole signal's last hop, which no frame follows.
    """
    before = state["f0_hz"]
    starts = ops.concatenate([before, f0_hz[:, :-1]], axis=1)
    # The hop before the first frame has no pitch, so that the first frame begins at phase 0.
    sounding = before >= 0
    first = ops.where(sounding, f0_hz[:, :1], 0.0)
    ends = ops.concatenate([first, f0_hz[:, 1:]], axis=1)
    levels = ops.concatenate([state["amplitudes"], amplitudes[:, :-1]], axis=1)
    tone, phase = oscillators.oscillate(
        (ops.maximum(starts, 0.0), ends),
        (levels, amplitudes),
        hop_length=hop_length,
        sample_rate=sample_rate,
        fade="hann",
        phase=state["phase"],
    )
    frames, seed = noise.uniform_noise(state["noise_seed"], ops.shape(f0_hz)[1], hop_length)
    taps = filters.impulse_responses(noise_magnitudes)
    rest, tail = filters.continue_filtered(frames, taps, state["noise_tail"])
    # What the filter rings before the first frame is no part of the whole signal.
    later = ops.arange(ops.shape(rest)[1])[None, :, None] >= hop_length
    rest = ops.where(ops.logical_or(sounding, later), rest, 0.0)
    after = {
        "f0_hz": f0_hz[:, -1:],
        "amplitudes": amplitudes[:, -1:],
        "phase": phase,
        "noise_seed": seed,
        "noise_tail": tail,
    }
    return tone + rest, after


def initial_state(
    *, harmonics: int, noise_bands: int, hop_length: int, batch: int = 1
) -> dict[str, np.ndarray]:
    """What `continue_harmonics_plus_noise` starts from; ValueError for a filter beyond a hop."""
    tail = filters.tail_length(hop_length, 2 * (noise_bands - 1))
    return {
        "f0_hz": np.full((batch, 1, 1), _NOT_YET, np.float32),
        "amplitudes": np.zeros((batch, 1, harmonics), np.float32),
        "phase": np.zeros((batch, 2), np.int32),
        "noise_seed": np.tile(np.int32(noise.SEED), (batch, 1)),
        "noise_tail": np.zeros((batch, tail), np.float32),
    }
