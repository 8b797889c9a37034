"""Signals and files that the audio tests share."""

import av
import numpy as np


def tones(samples: int, channels: int = 2, sample_rate: int = 44100) -> np.ndarray:
    """Chirps, another in each channel, faded in and out for the codecs: `[n, channels]`."""
    seconds = np.arange(samples)[:, None] / sample_rate
    start_hz = 200.0 + 90.0 * np.arange(channels)
    sound = 0.4 * np.sin(2 * np.pi * (start_hz + 150.0 * seconds) * seconds)
    fade = np.minimum(1.0, np.minimum(np.arange(samples), np.arange(samples)[::-1]) / 512)
    return (sound * fade[:, None]).astype(np.float32)


def by_pyav(path, waveforms, sample_rate, codec, container, layout="stereo"):
    """Encode one or several waveforms as the streams of one file, without kzoo."""
    if not isinstance(waveforms, list):
        waveforms = [waveforms]
    with av.open(str(path), "w", format=container) as output:
        streams = [output.add_stream(codec, rate=sample_rate, layout=layout) for _ in waveforms]
        for stream, waveform in zip(streams, waveforms, strict=True):
            packed = np.ascontiguousarray(waveform).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts = sample_rate, 0
            output.mux(stream.encode(frame))
        for stream in streams:
            output.mux(stream.encode(None))


def lag(reference: np.ndarray, signal: np.ndarray) -> int:
    """By how many samples `signal` comes late, from the peak of the cross-correlation."""
    size = 2 ** int(np.ceil(np.log2(len(reference) + len(signal))))
    spectrum = np.fft.rfft(signal, size) * np.conj(np.fft.rfft(reference, size))
    peak = int(np.argmax(np.fft.irfft(spectrum)))
    return peak if peak < size // 2 else peak - size
