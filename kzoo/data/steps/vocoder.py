"""Time, pitch and spectral envelope of a sound, changed one without the others, in NumPy.

Waveforms are float32 `[samples, channels]`. What turns phases or weighs magnitudes does so in all
channels alike, so that directions stay where they are.
"""

from __future__ import annotations

import numpy as np

from kzoo.data.mixing.signals import at_level, at_speed, level_db
from kzoo.data.steps.frames import analysed, frame_size, synthesised

_ONSET_RISE_DB, _ONSET_DEPTH_DB = 8.0, 45.0  # over what was before; under the loudest
_PITCHES_HZ = (70.0, 700.0)  # among which a frame's own is looked for
_ENVELOPE_ROUNDS, _ENVELOPE_CLOSE_DB = 8, 1.0
_ENVELOPE_DEPTH_DB = 60.0  # under a frame's strongest formant: what is softer is no formant


def stretched(waveform: np.ndarray, longer: float, sample_rate: int) -> np.ndarray:
    """The sound `longer` times as long, `[round(samples * longer), channels]`, at its own pitch.

    A phase vocoder (Laroche and Dolson, 1999) that hears each frame twice, one hop apart: by how
    much a bin's phase grows is measured and not unwrapped. Strong bins turn their neighbours. The
    frames about an onset are not stretched, and keep their phases, so that it stays sharp.
    """
    length = max(1, round(len(waveform) * longer))
    n_fft, hop = frame_size(sample_rate)
    made = np.arange(-(-length // hop) + 1) * hop  # middles of frames, in what comes out
    gap = 1.5 * n_fft / min(1.0, longer)
    onsets = _onsets(waveform, hop, gap)
    edges = np.array([-n_fft / 2, n_fft / 2])
    ends = np.array([-gap, len(waveform) + gap])
    heard = np.sort(np.concatenate([ends, np.add.outer(onsets, edges).ravel()]))
    places = np.sort(np.concatenate([ends * longer, np.add.outer(onsets * longer, edges).ravel()]))
    at = np.round(np.interp(made, places, heard)).astype(int) + hop + n_fft // 2
    padded = np.pad(waveform, ((hop + n_fft, n_fft), (0, 0)))
    here = analysed(padded, at, n_fft)  # [frames, channels, bins]
    turn = (here[:-1] * analysed(padded, at[1:] - hop, n_fft).conj()).sum(axis=1)
    turn[:, 1:-1] += turn[:, :-2] + turn[:, 2:]
    size = np.abs(turn)
    turn = np.where(size > 0, turn / np.maximum(size, np.finfo(np.float32).tiny), 1)
    phases = np.cumprod(np.concatenate([np.ones_like(turn[:1]), turn]), axis=0)  # [frames, bins]
    sharp = (np.abs(made - longer * onsets[:, None]) <= n_fft / 2).any(axis=0)
    first = sharp & ~np.roll(sharp, 1)
    begun = np.maximum.accumulate(np.where(first, np.arange(len(made)), 0))
    here *= (phases * phases[begun].conj())[:, None]
    return synthesised(here, n_fft, length)


def transposed(waveform: np.ndarray, semitones: float, sample_rate: int) -> np.ndarray:
    """The sound at another pitch, as long as before; formants move along.

    Exact to a thousandth of the pitch, 1.7 cents.
    """
    thousandths = round(1000 * 2 ** (semitones / 12))
    if thousandths == 1000:
        return waveform
    longer = stretched(waveform, thousandths / 1000, sample_rate)
    return fitted(at_speed(longer, thousandths), len(waveform))


def formants_moved(waveform: np.ndarray, factor: float, sample_rate: int) -> np.ndarray:
    """The sound with its spectral envelope along the frequencies `factor` times as wide.

    Above 1 formants are higher, as in a smaller head; pitch, time and level stay. The envelope is
    the true envelope (Röbel and Rodet, 2005) of each frame, of the channels together, as detailed
    as the frame's pitch lets it be.
    """
    n_fft, hop = frame_size(sample_rate)
    at = np.arange(-(-len(waveform) // hop) + 1) * hop
    spectra = analysed(np.pad(waveform, ((n_fft // 2, n_fft // 2 + hop), (0, 0))), at, n_fft)
    envelope = _true_envelope(spectra, sample_rate)  # [frames, bins], nepers
    place = np.minimum(np.arange(n_fft // 2 + 1) / factor, n_fft // 2)
    below = np.minimum(place.astype(int), n_fft // 2 - 1)
    share = (place - below).astype(np.float32)
    moved = envelope[:, below] * (1 - share) + envelope[:, below + 1] * share
    spectra *= np.exp(moved - envelope)[:, None]
    return at_level(synthesised(spectra, n_fft, len(waveform)), level_db(waveform))


def fitted(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Cut to `samples`, or followed by silence."""
    return np.pad(waveform[:samples], ((0, max(0, samples - len(waveform))), (0, 0)))


def _onsets(waveform: np.ndarray, hop: int, gap: float) -> np.ndarray:
    """Samples where it suddenly gets louder, the loudest first to be taken, `gap` apart."""
    steep = np.diff(waveform, axis=0, prepend=waveform[:1])
    steep = np.pad(steep, ((0, -len(steep) % hop), (0, 0)))
    energy = np.square(steep).sum(axis=1).reshape(-1, hop)
    level = 10 * np.log10(energy.sum(axis=1) + 1e-12)
    before = np.max([level[np.maximum(np.arange(len(level)) - k, 0)] for k in (1, 2, 3)], axis=0)
    loud = (level - before > _ONSET_RISE_DB) & (level > level.max() - _ONSET_DEPTH_DB)
    found: list[int] = []
    for block in sorted(np.flatnonzero(loud), key=lambda block: -level[block]):
        place = int(block * hop + energy[block].argmax())
        if all(abs(place - other) >= gap for other in found):
            found.append(place)
    return np.array(sorted(found), float)


def _true_envelope(spectra: np.ndarray, sample_rate: int) -> np.ndarray:
    """Logarithms of each frame's envelope, `[frames, bins]`: smooth, and no peak is above it."""
    from scipy import fft

    power = np.square(np.abs(spectra)).sum(axis=1)
    peaks = power.max(axis=1, keepdims=True)
    power = np.maximum(power, peaks * 10 ** (-_ENVELOPE_DEPTH_DB / 10))
    level = 0.5 * np.log(np.maximum(power, 1e-20)).astype(np.float32)
    cepstra = fft.dct(level, type=1, axis=1)
    # Harmonics of a pitch are a peak at its period; what varies half as fast is the envelope's.
    low, high = (round(sample_rate / f0) for f0 in reversed(_PITCHES_HZ))
    order = (low + cepstra[:, low : high + 1].argmax(axis=1)) // 2
    smooth = np.arange(cepstra.shape[1]) <= order[:, None]
    envelope = fft.idct(cepstra * smooth, type=1, axis=1)
    for _ in range(_ENVELOPE_ROUNDS):
        if (level - envelope).max() < _ENVELOPE_CLOSE_DB / 20 * np.log(10):
            break
        cepstra = fft.dct(np.maximum(level, envelope), type=1, axis=1)
        envelope = fft.idct(cepstra * smooth, type=1, axis=1)
    return envelope
