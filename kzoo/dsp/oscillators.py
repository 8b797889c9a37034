"""A bank of harmonic oscillators that stays in tune for hours in 32 bits.

Engel et al., DDSP, 2020, https://arxiv.org/abs/2001.04643. The phase of a frame is the sum of all
frequencies before it, and a sum of a million float32 is out of tune. Here it is counted in whole
numbers, as hardware oscillators do: a turn is sample_rate / hop_length hertz (a tone of that
frequency turns once a hop, so a hop at f hertz advances by f), a hertz is 4096 coarse steps, and
a coarse step 2**20 fine ones. A float32 above 0.004 Hz is a whole number of fine steps, so a held
note is counted without any error, and only what lies within one hop is float32.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from kzoo.dsp.envelopes import fade_in, next_frames

COARSE, FINE = 4096, 1 << 20  # steps a hertz, and steps a coarse step
_CHUNK = 256  # frames that are summed in 31 bits before their sum is wrapped
_LEVELS = 3  # of sums of sums where the number of frames is open: 18 hours at 250 a second


def harmonic_bank(f0_hz, amplitudes, *, hop_length: int, sample_rate: int, fade: str = "hann"):
    """`f0_hz` `[batch, frames, 1]`, `amplitudes` `[batch, frames, harmonics]` to a signal.

    The signal is `[batch, frames * hop_length, 1]`: harmonic h (from 1) has the frequency h * f0,
    which moves along lines, and its amplitude, which moves along `fade`; at the Nyquist frequency
    and above it is silent. All harmonics start at phase 0, one sample before the first.
    Raises ValueError where `turn_steps` does.
    """
    signal, _ = oscillate(
        (f0_hz, next_frames(f0_hz)),
        (amplitudes, next_frames(amplitudes)),
        hop_length=hop_length,
        sample_rate=sample_rate,
        fade=fade,
    )
    return signal


def oscillate(f0_hz, amplitudes, *, hop_length: int, sample_rate: int, fade: str, phase=None):
    """(signal `[batch, frames * hop_length, 1]`, phase after it) of hops between given frames.

    f0_hz, amplitudes: each a pair (where a hop starts, where it ends) of `[batch, frames, ...]`.
    phase: whole numbers (coarse, fine) `[batch, 2]`, int32, as an earlier call left them.
    """
    start, end = f0_hz
    at, phase = _frame_phases(start, end, hop_length, sample_rate, phase)
    n = np.arange(hop_length)
    # A hop in closed form: the sum of a line is a parabola.
    linear = ops.convert_to_tensor((n + 1) / sample_rate, start.dtype)
    bent = ops.convert_to_tensor(n * (n + 1) / (2 * hop_length * sample_rate), start.dtype)
    turns = at + start * linear + (end - start) * bent  # [batch, frames, hop_length]
    turns = turns - ops.floor(turns)
    frequency = start + (end - start) * ops.convert_to_tensor(n / hop_length, start.dtype)
    harmonics = np.arange(1, amplitudes[0].shape[-1] + 1)
    order = ops.convert_to_tensor(harmonics, start.dtype)
    angle = ops.expand_dims(turns, -1) * order  # [batch, frames, hop_length, harmonics], in turns
    waves = ops.sin((angle - ops.round(angle)) * (2 * np.pi))
    audible = ops.expand_dims(frequency, -1) * order < sample_rate / 2
    waves = ops.where(audible, waves, 0.0)
    ends = ops.matmul(waves, ops.stack(amplitudes, axis=-1))  # [batch, frames, hop_length, 2]
    weight = fade_in(fade, hop_length)
    weights = ops.convert_to_tensor(np.stack([1 - weight, weight], axis=-1), start.dtype)
    signal = ops.sum(ends * weights, axis=-1)
    samples = ops.shape(start)[1] * hop_length
    return ops.reshape(signal, (-1, samples, 1)), phase


def audible_distribution(distribution, f0_hz, sample_rate: int):
    """Shares of the harmonics `[batch, frames, harmonics]`, 0 at Nyquist and above, that sum to 1.

    Where no harmonic is audible, or none has a share, all are 0.
    """
    harmonics = np.arange(1, distribution.shape[-1] + 1)
    frequencies = f0_hz * ops.convert_to_tensor(harmonics, f0_hz.dtype)
    audible = ops.where(frequencies < sample_rate / 2, distribution, 0.0)
    total = ops.sum(audible, axis=-1, keepdims=True)
    # Not "==", which of a symbolic tensor asks whether it is the same object.
    return audible / ops.where(ops.equal(total, 0), 1e-7, total)


def turn_steps(hop_length: int, sample_rate: int) -> int:
    """Coarse steps in a turn.

    Raises ValueError where they are no whole number, or too many for sums in 31 bits.
    """
    steps, rest = divmod(sample_rate * COARSE, hop_length)
    if rest or not 0 < steps * _CHUNK < 1 << 31:
        raise ValueError(
            "sample_rate / hop_length must be a multiple of 1/4096 Hz below 2048 Hz, for a phase "
            f"that does not drift; got sample_rate={sample_rate}, hop_length={hop_length}"
        )
    return steps


def _frame_phases(start, end, hop_length: int, sample_rate: int, phase):
    """Phase at the beginning of each hop in turns `[batch, frames, 1]`, and after the last one."""
    turn = turn_steps(hop_length, sample_rate)
    start, end = start[..., 0], end[..., 0]  # [batch, frames]
    bend = (end - start) * ((hop_length - 1) / (2 * hop_length))
    coarse, fine = _add(*_steps(start), *_steps(bend), turn)
    total = _wrapped_sums(coarse, fine, turn, _LEVELS)
    before = [ops.pad(sums[:, :-1], ((0, 0), (1, 0))) for sums in total]
    if phase is not None:
        total, before = (_add(*sums, phase[:, :1], phase[:, 1:], turn) for sums in (total, before))
    frame_rate = sample_rate / hop_length
    fraction = ops.cast(before[1], start.dtype) / FINE
    turns = (ops.cast(before[0], start.dtype) + fraction) / turn
    # Whole numbers have no gradient; what they count has one, whose value here is nothing.
    counted = ops.cumsum(start + bend, axis=1) / frame_rate - (start + bend) / frame_rate
    turns = turns + (counted - ops.stop_gradient(counted))
    after = ops.concatenate([sums[:, -1:] for sums in total], axis=1)
    return ops.expand_dims(turns, -1), after


def _steps(frequency_hz):
    """Hertz in whole (coarse, fine) steps, fine from 0 to FINE."""
    scaled = ops.stop_gradient(frequency_hz) * COARSE
    coarse = ops.floor(scaled)
    fine = ops.floor((scaled - coarse) * FINE)
    return ops.cast(coarse, "int32"), ops.cast(fine, "int32")


def _add(coarse, fine, more_coarse, more_fine, turn: int):
    return _wrapped(coarse + more_coarse, fine + more_fine, turn)


def _wrapped(coarse, fine, turn: int):
    carried = ops.floor_divide(fine, FINE)
    return ops.mod(coarse + carried, turn), fine - carried * FINE


def _wrapped_sums(coarse, fine, turn: int, levels: int):
    """Running sums `[batch, frames]`, the frame itself included, each within a turn."""
    frames = coarse.shape[1]
    if levels == 1 or (frames is not None and frames <= _CHUNK):
        return _wrapped(ops.cumsum(coarse, axis=1), ops.cumsum(fine, axis=1), turn)
    frames = ops.shape(coarse)[1]
    chunks = -(-frames // _CHUNK)
    within = [_chunks(steps, frames, chunks) for steps in (coarse, fine)]
    within = _wrapped(*(ops.cumsum(steps, axis=2) for steps in within), turn)
    ends = _wrapped_sums(*(steps[:, :, -1] for steps in within), turn, levels - 1)
    before = [ops.pad(steps[:, :-1], ((0, 0), (1, 0)))[:, :, None] for steps in ends]
    found = _add(*within, *before, turn)
    return [ops.reshape(steps, (-1, chunks * _CHUNK))[:, :frames] for steps in found]


def _chunks(steps, frames, chunks):
    """`[batch, frames]` to `[batch, chunks, _CHUNK]`, zeros after the end."""
    missing = ops.zeros((ops.shape(steps)[0], chunks * _CHUNK - frames), steps.dtype)
    return ops.reshape(ops.concatenate([steps, missing], axis=1), (-1, chunks, _CHUNK))
