"""The one check of sound that comes as an array: what is taken, and what is refused in words."""

import warnings

import numpy as np

MOST_CHANNELS = 64
PLAIN_CHANNELS = 8  # up to here a stretch may have fewer samples than channels
LOUD_DB = 20.0  # over full scale: no mix peaks there, integers that became floats do


def checked_rate(sample_rate: int) -> int:
    """Return the sample rate in Hz as an int; ValueError for no whole number of at least 1."""
    number = isinstance(sample_rate, (int, float, np.integer, np.floating))
    number = number and not isinstance(sample_rate, bool)
    if not number or not 1 <= sample_rate < 2**31 or sample_rate != int(sample_rate):
        kilohertz = number and 7 < sample_rate < 400  # as people say 44.1
        raise ValueError(
            f"a sample rate must be a whole number of Hz, say 44100; got {sample_rate!r}"
            + (f"; {sample_rate:g} kHz are {1000 * sample_rate:.0f} Hz" if kilohertz else "")
        )
    return int(sample_rate)


def checked_waveform(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return a waveform `[samples, channels]`, or `[samples]`, as float32 `[samples, channels]`.

    Full scale is 1.0; a peak of more than 20 dB above it is a UserWarning. What is float32 already
    is not copied. Raises ValueError for integers, another shape, no samples, more than 64 channels
    or more than 8 and more than there are samples (the axes are the other way round), NaN,
    infinity, numbers beyond float32, and a sample rate that is no whole number of Hz.
    """
    sample_rate = checked_rate(sample_rate)
    given = np.asarray(waveform)
    sound = given[:, None] if given.ndim == 1 else given
    if not np.issubdtype(sound.dtype, np.floating):
        way = ""
        if sound.dtype.kind == "i":
            way = f"; divide {sound.dtype} by {-int(np.iinfo(sound.dtype).min)}"
        raise ValueError(
            f"a waveform must be floating point with full scale 1.0; got {sound.dtype}{way}"
        )
    if sound.ndim != 2 or not sound.shape[1]:
        raise ValueError(
            f"a waveform must be [samples, channels] or [samples]; got shape {given.shape}"
        )
    samples, channels = sound.shape
    if not samples:
        raise ValueError(f"a waveform must have samples; got shape {given.shape}, 0 samples")
    if channels > MOST_CHANNELS or channels > max(samples, PLAIN_CHANNELS):
        raise ValueError(
            f"a waveform must be [samples, channels]; got shape {given.shape}, which would be"
            f" {channels} channels: transpose it, waveform.T"
        )
    with np.errstate(over="ignore"):  # what overflows is found below
        sound = sound.astype(np.float32, copy=False)
    peak = float(max(sound.max(), -sound.min()))
    if not np.isfinite(peak):
        place = int(np.argmin(np.isfinite(sound).all(axis=1)))
        beyond = np.isfinite(given[place]).all()
        what = "a number beyond float32" if beyond else "a NaN or infinity"
        raise ValueError(f"the waveform holds {what} at {place / sample_rate:.3f} s")
    if peak > 10 ** (LOUD_DB / 20):
        warnings.warn(
            f"the waveform peaks at {peak:.4g}, {20 * np.log10(peak):.0f} dB over full scale, which"
            " is 1.0: divide integers by theirs, 32768 for 16 bits",
            UserWarning,
            stacklevel=3,
        )
    return sound
