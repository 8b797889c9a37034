"""Short-time Fourier transform and its inverse, on real tensors, exact to the edges.

One definition serves training, SavedModel and TFLite, so nothing here is complex: the spectrum is
a pair of real tensors, and the inverse is one more forward FFT. With the Hartley transform
h = re - im over the whole circle, H(h) / N gives the signal back, and H(x) = re(X) - im(X) again
comes from a forward real FFT (Bracewell, 1984). TFLite has that one (RFFT2D) and no inverse.

Where frames begin (`padding`):
    center  n_fft // 2 samples before and after (librosa's center=True): frame m is centred on
            sample m * hop_length; frames = 1 + samples // hop_length
    full    n_fft zeros before, and zeros after until the last sample is in a frame's first hop
            (Spleeter): frames = ceil((samples + n_fft) / hop_length)
    valid   nothing added: frames = 1 + (samples - n_fft) // hop_length
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from kzoo.dsp import dft, windows
from kzoo.dsp.framing import frame, frame_count, overlap_add, pad_last

PADDINGS = ("center", "full", "valid")
GAINS = ("covered", "repeated")
# Under this share of the steady overlap gain a sample is too faint in its frames to be restored.
_FAINTEST_GAIN = 1e-6


def stft(
    waveform,
    n_fft: int,
    hop_length: int,
    *,
    win_length: int | None = None,
    window: str = "hann",
    padding: str = "center",
    pad_mode: str = "constant",
):
    """Transform `[..., samples]` to (real, imag), each `[..., frames, n_fft // 2 + 1]`.

    `win_length` (default n_fft) centres a shorter window in the frame. `pad_mode` is "constant"
    (zeros) or "reflect", for padding="center". Equal to librosa.stft with the same arguments.
    Raises ValueError for a window longer than the frame, or an unknown padding.
    """
    analysis = _frame_window(n_fft, win_length, window)
    waveform = _padded(waveform, n_fft, hop_length, padding, pad_mode)
    frames = frame(waveform, n_fft, hop_length) * ops.convert_to_tensor(analysis, waveform.dtype)
    return dft.rfft(frames)


def istft(
    real,
    imag,
    n_fft: int,
    hop_length: int,
    *,
    win_length: int | None = None,
    window: str = "hann",
    padding: str = "center",
    length=None,
    gain: str = "covered",
):
    """Invert `stft` by least squares: (real, imag) `[..., frames, bins]` to `[..., length]`.

    Frames are windowed again, overlap-added and divided by the overlap-added squared window, so
    an unchanged spectrum gives the waveform back, the first and last samples included.
    `length` in samples (integer or scalar tensor) cuts the result; by default everything that the
    frames cover is returned, less the padding before. With padding="valid" the outermost samples
    are faint in the one frame that holds them: under 1e-6 of the steady gain they fade out.
    gain: "covered" divides by the windows that there are; "repeated" as if frames went on before
    and after, so that blocks of one long signal add up where they meet.
    """
    if gain not in GAINS:
        raise ValueError(f"gain must be one of {', '.join(GAINS)}; got {gain!r}")
    synthesis = _frame_window(n_fft, win_length, window)
    if gain == "repeated":
        synthesis = synthesis / windows.repeated_gain(synthesis**2, hop_length)
    frames = irfft(real, imag, n_fft) * ops.convert_to_tensor(synthesis, real.dtype)
    signal = overlap_add(frames, hop_length)
    if gain == "covered":
        signal = _normalised(signal, synthesis**2, hop_length, frames)
    before = {"center": n_fft // 2, "full": n_fft, "valid": 0}[_known(padding)]
    if length is None:
        return (
            signal[..., before : -before or None] if padding == "center" else signal[..., before:]
        )
    covered = ops.shape(signal)[-1] - before
    if not isinstance(length, int) or not isinstance(covered, int) or length > covered:
        # The caller's last samples may lie in no frame (hop remainder): they come back as zeros.
        signal = pad_last(signal, 0, ops.maximum(length - covered, 0))
    return signal[..., before : before + length]


def irfft(real, imag, n_fft: int):
    """Invert half spectra `[..., n_fft // 2 + 1]` to signals `[..., n_fft]` by a forward FFT.

    As in numpy.fft.irfft, the imaginary parts of bin 0 and of the Nyquist bin count for nothing.
    """
    if dft.are_products():
        return dft.irdft(real, imag, n_fft)
    inner = slice(1, -1 if n_fft % 2 == 0 else None)
    re, im = real[..., inner], imag[..., inner]
    nyquist = [real[..., -1:]] if n_fft % 2 == 0 else []
    hartley = [real[..., :1], re - im, *nyquist, ops.flip(re + im, axis=-1)]
    re, im = dft.rfft(ops.concatenate(hartley, axis=-1))
    mirrored = ops.flip((re + im)[..., inner], axis=-1)
    return ops.concatenate([re - im, mirrored], axis=-1) / n_fft


def magnitude(real, imag):
    """Magnitude of a spectrum; its gradient is finite (zero) where the spectrum vanishes."""
    return ops.sqrt(ops.maximum(real * real + imag * imag, 1e-20))


def _frame_window(n_fft: int, win_length: int | None, window: str) -> np.ndarray:
    win_length = n_fft if win_length is None else win_length
    if not 0 < win_length <= n_fft:
        raise ValueError(
            f"win_length must be at least 1 and at most n_fft; got win_length={win_length}, "
            f"n_fft={n_fft}"
        )
    before = (n_fft - win_length) // 2
    return np.pad(windows.window(window, win_length), (before, n_fft - win_length - before))


def _known(padding: str) -> str:
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}")
    return padding


def _padded(waveform, n_fft: int, hop_length: int, padding: str, pad_mode: str):
    if _known(padding) == "valid":
        return waveform
    if padding == "full":
        samples = ops.shape(waveform)[-1]
        frames = -(-(samples + n_fft) // hop_length)
        after = (frames - 1) * hop_length + n_fft - (samples + n_fft)
        return pad_last(waveform, n_fft, after)
    half = n_fft // 2
    if pad_mode == "constant":
        return pad_last(waveform, half, half)
    if pad_mode == "reflect":  # a signal shorter than its mirror image goes on in silence
        missing = half + 1 - ops.shape(waveform)[-1]
        missing = max(missing, 0) if isinstance(missing, int) else ops.maximum(missing, 0)
        waveform = pad_last(waveform, 0, missing)
    return ops.pad(waveform, [(0, 0)] * (len(waveform.shape) - 1) + [(half, half)], pad_mode)


def _normalised(signal, squared_window: np.ndarray, hop_length: int, frames):
    """Divide by the overlap-added squared window; only the first and last frames are special."""
    edge = len(squared_window) - hop_length  # samples that not all overlapping frames reach
    parts = -(-len(squared_window) // hop_length)
    count = frames.shape[-2]
    if count is None:
        ones = ops.ones_like(frames[..., :1]) * ops.convert_to_tensor(squared_window, signal.dtype)
        gain = overlap_add(ones, hop_length)
        return signal / ops.maximum(gain, _FAINTEST_GAIN * _steady_gain(squared_window, hop_length))
    if count < 2 * parts or edge <= 0:
        gain = windows.overlap_gain(squared_window, hop_length, count)
        return signal / _floored(gain, signal)
    gain = windows.overlap_gain(squared_window, hop_length, 2 * parts)
    floored = _floored(gain, signal)
    # The steady gain repeats every hop: one hop of constants instead of the whole signal's.
    steady = _floored(windows.overlap_gain(squared_window, hop_length, 4 * parts), signal)
    steady = steady[parts * hop_length : (parts + 1) * hop_length]
    head = parts * hop_length
    tail_at = (count - parts) * hop_length
    lead = ops.shape(signal)[:-1]
    middle = ops.reshape(signal[..., head:tail_at], (*lead, count - 2 * parts, hop_length)) / steady
    return ops.concatenate(
        [
            signal[..., :head] / floored[:head],
            ops.reshape(middle, (*lead, tail_at - head)),
            signal[..., tail_at:] / floored[head:],
        ],
        axis=-1,
    )


def _steady_gain(squared_window: np.ndarray, hop_length: int) -> float:
    parts = -(-len(squared_window) // hop_length)
    return float(windows.overlap_gain(squared_window, hop_length, 2 * parts).max())


def floored_gain(gain: np.ndarray) -> np.ndarray:
    """The overlap-added squared window, nowhere under 1e-6 of its largest value."""
    return np.maximum(gain, _FAINTEST_GAIN * gain.max())


def _floored(gain: np.ndarray, signal):
    return ops.convert_to_tensor(floored_gain(gain), signal.dtype)


@keras.saving.register_keras_serializable("kzoo")
class STFT(keras.layers.Layer):
    """Waveform `[batch, samples, channels]` to (real, imag) `[batch, frames, bins, channels]`."""

    def __init__(
        self, n_fft, hop_length, *, window="hann", padding="full", pad_mode="constant", **kwargs
    ):
        super().__init__(**kwargs)
        self.n_fft, self.hop_length = n_fft, hop_length
        self.window, self.padding, self.pad_mode = window, padding, pad_mode

    def call(self, waveform):
        signal = ops.swapaxes(waveform, 1, 2)  # [batch, channels, samples]
        real, imag = stft(
            signal, self.n_fft, self.hop_length, window=self.window, padding=self.padding,
            pad_mode=self.pad_mode,
        )  # fmt: skip
        return ops.transpose(real, (0, 2, 3, 1)), ops.transpose(imag, (0, 2, 3, 1))

    def compute_output_shape(self, waveform_shape):
        batch, samples, channels = waveform_shape
        shape = (batch, self._frames(samples), self.n_fft // 2 + 1, channels)
        return shape, shape

    def _frames(self, samples: int | None) -> int | None:
        if samples is None:
            return None
        if self.padding == "full":
            return -(-(samples + self.n_fft) // self.hop_length)
        around = 2 * (self.n_fft // 2) if self.padding == "center" else 0
        if around and self.pad_mode == "reflect":
            samples = max(samples, self.n_fft // 2 + 1)
        return frame_count(samples + around, self.n_fft, self.hop_length)

    def get_config(self):
        return {**super().get_config(), **_config(self), "pad_mode": self.pad_mode}


@keras.saving.register_keras_serializable("kzoo")
class InverseSTFT(keras.layers.Layer):
    """Spectra `[batch, sources, frames, bins, channels]` to `[batch, sources, samples, channels]`.

    Called with (real, imag, waveform): the result is as long as `waveform`, the STFT's input.
    """

    def __init__(
        self, n_fft, hop_length, *, window="hann", padding="full", gain="covered", **kwargs
    ):
        super().__init__(**kwargs)
        self.n_fft, self.hop_length = n_fft, hop_length
        self.window, self.padding, self.gain = window, padding, gain

    def call(self, real, imag, waveform):
        signal = istft(
            ops.transpose(real, (0, 1, 4, 2, 3)),  # [batch, sources, channels, frames, bins]
            ops.transpose(imag, (0, 1, 4, 2, 3)),
            self.n_fft,
            self.hop_length,
            window=self.window,
            padding=self.padding,
            length=ops.shape(waveform)[1],
            gain=self.gain,
        )
        return ops.swapaxes(signal, 2, 3)

    def compute_output_shape(self, real_shape, imag_shape, waveform_shape):
        return (*real_shape[:2], waveform_shape[1], real_shape[4])

    def get_config(self):
        return {**super().get_config(), **_config(self), "gain": self.gain}


def _config(layer) -> dict:
    return {name: getattr(layer, name) for name in ("n_fft", "hop_length", "window", "padding")}
