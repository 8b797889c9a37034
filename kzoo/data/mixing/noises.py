"""Noises made up: seeded, `[samples]` float32 at no level in particular.

They stand in for recordings where those are scarce. Each has the one trait by which its kind
troubles speech (a spectrum, a beat, a pitch, an onset) and no more of reality than that: a network
that has heard only these has heard no street and no kitchen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Noise = Callable[[np.random.Generator, int, int], np.ndarray]


def white(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Gaussian, flat: hiss of an amplifier."""
    return rng.standard_normal(samples).astype(np.float32)


def pink(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Gaussian, -3 dB an octave above 20 Hz: the long-term slope of much that surrounds people."""
    return _sloped(rng, samples, sample_rate, -3.0)


def brown(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Gaussian, -6 dB an octave above 20 Hz: rumble of a car's cabin, without its engine."""
    return _sloped(rng, samples, sample_rate, -6.0)


def filtered(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Gaussian and steady, with a smooth spectrum of its own: up to 20 dB up or down an octave."""
    return equalized(rng, white(rng, samples, sample_rate), sample_rate, 20.0)


def modulated(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """`filtered`, swelling 0.5 to 8 times a second: a sine, or steps of another level each."""
    rate = rng.uniform(0.5, 8.0)
    if rng.random() < 0.5:
        t = np.arange(samples) / sample_rate
        depth = rng.uniform(0.5, 1.0)
        envelope = 1 + depth * np.sin(2 * np.pi * (rate * t + rng.random()))
    else:
        envelope = 10 ** (_wandering(rng, samples, sample_rate, rate, -25.0, 0.0) / 20)
    return (filtered(rng, samples, sample_rate) * envelope).astype(np.float32)


def hum(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Mains of 50 or 60 Hz, within 0.2 Hz: up to 40 harmonics, the odd ones or the even stronger.

    Steady tones and nothing else, as a ground loop or a transformer gives them.
    """
    frequency = rng.choice([50.0, 60.0]) + rng.uniform(-0.2, 0.2)
    count = min(int(rng.integers(3, 41)), int(sample_rate / 2 / frequency))
    order = np.arange(1, count + 1)
    level = order ** -rng.uniform(0.3, 1.5) * 10 ** (rng.uniform(-12, 6, count) / 20)
    level[int(rng.integers(2)) :: 2] *= rng.uniform(0.1, 1.0)
    return _harmonics(2 * np.pi * frequency * np.arange(samples) / sample_rate, level, rng)


def engine(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """A pitch of 20 to 150 Hz that wanders by a tenth, and noise that beats with it: a motor."""
    base = rng.uniform(20.0, 150.0)
    speed = base * (1 + 0.1 * _wandering(rng, samples, sample_rate, 1.0, -1.0, 1.0))
    phase = 2 * np.pi * np.cumsum(speed) / sample_rate
    level = np.arange(1, 13) ** -rng.uniform(0.3, 1.2) * rng.uniform(0.2, 1.0, 12)
    level[np.arange(1, 13) * base * 1.1 > sample_rate / 2] = 0.0
    beat = 1 + rng.uniform(0.0, 0.9) * np.cos(phase)
    air = equalized(rng, pink(rng, samples, sample_rate), sample_rate, 10.0) * beat
    share = rng.uniform(0.1, 0.9)
    tones = _harmonics(phase, level, rng)
    return (share * tones / _rms(tones) + (1 - share) * air / _rms(air)).astype(np.float32)


def clicks(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Impulses, 2 to 60 a second, in time or at random, ringing for 1 to 40 ms: taps, crackle."""
    rate, regular = np.exp(rng.uniform(np.log(2), np.log(60))), rng.random() < 0.4
    spacing = sample_rate / rate
    count = max(int(samples / spacing), 1)
    places = (np.arange(count) + rng.random()) * spacing if regular else rng.random(count) * samples
    impulses = np.zeros(samples)
    levels = 10 ** (rng.uniform(-20, 0, count) / 20) * rng.choice([-1, 1], count)
    np.add.at(impulses, np.minimum(places.astype(int), samples - 1), levels)
    decay = np.exp(rng.uniform(np.log(0.001), np.log(0.04))) * sample_rate
    t = np.arange(max(round(7 * decay), 1))
    tone = np.sin(2 * np.pi * t * rng.uniform(300, 0.45 * sample_rate) / sample_rate)
    ringing = np.exp(-t / decay) * (tone + rng.uniform(0, 1) * rng.standard_normal(len(t)))
    return _convolved(impulses, ringing).astype(np.float32)


def beeps(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """One or two tones of 300 to 3500 Hz, on and off 1 to 6 times a second: alarms, telephones."""
    t = np.arange(samples) / sample_rate
    rate, share = rng.uniform(1, 6), rng.uniform(0.2, 0.8)
    place = (t * rate + rng.random()) % 1.0
    ramp = 0.005 * rate
    on = np.clip(np.minimum(place, share - place) / ramp, 0, 1)
    high = min(3500.0, 0.45 * sample_rate)
    tones = [np.sin(2 * np.pi * rng.uniform(300, high) * t) for _ in range(rng.integers(1, 3))]
    other = (t * rate / 2 + rng.random()) % 1.0 < 0.5
    both = np.where(other, tones[0], tones[-1])
    return (on * np.tanh(rng.uniform(0.5, 3) * both)).astype(np.float32)


def wind(rng: np.random.Generator, samples: int, sample_rate: int) -> np.ndarray:
    """Low noise in gusts that open it upwards as they swell; no flutter of a real microphone."""
    gusts = _wandering(rng, samples, sample_rate, rng.uniform(0.5, 2.0), 0.0, 1.0)
    low = _sloped(rng, samples, sample_rate, -9.0)
    high = _sloped(rng, samples, sample_rate, -5.0)
    strength = 10 ** (-30 * (1 - gusts) / 20)
    return (strength * (low / _rms(low) + gusts * high / _rms(high))).astype(np.float32)


NOISES: dict[str, Noise] = {
    function.__name__: function
    for function in (
        white, pink, brown, filtered, modulated, hum, engine, clicks, beeps, wind,
    )
}  # fmt: skip


def equalized(
    rng: np.random.Generator, signal: np.ndarray, sample_rate: int, most_db: float
) -> np.ndarray:
    """A signal whose octaves are each louder or softer by up to `most_db`, smoothly in between.

    Along the first axis, by its whole spectrum: what rings past the end comes in at the beginning.
    """
    octaves = np.arange(np.log2(31.25), np.log2(sample_rate))
    gains = rng.uniform(-most_db, most_db, len(octaves))
    spectrum = np.fft.rfft(signal, axis=0)
    pitch = np.log2(np.maximum(np.fft.rfftfreq(len(signal), 1 / sample_rate), 31.25))
    curve = 10 ** (np.interp(pitch, octaves, gains) / 20)
    shaped = spectrum * curve.reshape(-1, *[1] * (signal.ndim - 1))
    return np.fft.irfft(shaped, len(signal), axis=0).astype(np.float32)


def _sloped(rng, samples: int, sample_rate: int, octave_db: float) -> np.ndarray:
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(samples, 1 / sample_rate), 20.0) / 20.0)
    return np.fft.irfft(spectrum * 10 ** (octave_db * octaves / 20), samples).astype(np.float32)


def _wandering(rng, samples: int, sample_rate: int, rate_hz: float, low: float, high: float):
    """Values drawn `rate_hz` times a second and joined smoothly."""
    count = int(samples / sample_rate * rate_hz) + 3
    at = np.arange(samples) / sample_rate * rate_hz + rng.random()
    number = at.astype(int)
    values = rng.uniform(low, high, count)
    share = 0.5 - 0.5 * np.cos(np.pi * (at - number))
    return values[number] * (1 - share) + values[number + 1] * share


def _harmonics(phase: np.ndarray, levels: np.ndarray, rng) -> np.ndarray:
    """Sum of the multiples of `phase` at `levels`, their phases drawn."""
    total = np.zeros(len(phase))
    for number, level in enumerate(levels, start=1):
        total += level * np.sin(number * phase + rng.uniform(0, 2 * np.pi))
    return total.astype(np.float32)


def _convolved(impulses: np.ndarray, response: np.ndarray) -> np.ndarray:
    from scipy.signal import fftconvolve

    return fftconvolve(impulses, response)[: len(impulses)]


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal)) + 1e-20))
