"""The STFT against librosa, SciPy and NumPy; its inverse to the edges; its layers through files."""

import keras
import librosa
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from kzoo.dsp import windows
from kzoo.dsp.stft import (
    PADDINGS,
    STFT,
    InverseSTFT,
    irfft,
    istft,
    magnitude,
    stft,
)

# Float32 transforms of signals around 1: relative to the largest value.
CLOSE = 2e-6


def complex_stft(*args, **options):
    real, imag = stft(*args, **options)
    return np.asarray(real, np.float64) + 1j * np.asarray(imag, np.float64)


def assert_close(found, expected, share=CLOSE):
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * np.abs(expected).max())


@pytest.fixture
def sound(rng):
    """`[2, 4001]`: an odd number of samples, noise and a chirp."""
    chirp = scipy.signal.chirp(np.arange(4001) / 8000, 50, 0.5, 3900)
    return np.stack([rng.standard_normal(4001), chirp]).astype(np.float32)


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "win_length", "window"),
    [
        (256, 64, None, "hann"),
        (256, 100, None, "hamming"),
        (512, 128, 400, "hann"),
        (512, 128, 401, "hann"),
        (255, 85, None, "hann"),
        (128, 128, None, "ones"),
    ],
)
def test_centred_spectrum_is_librosas(sound, n_fft, hop_length, win_length, window, pad_mode):
    options = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
    expected = librosa.stft(
        sound.astype(np.float64), **options, window=window, center=True, pad_mode=pad_mode
    )
    found = complex_stft(sound, **options, window=window, padding="center", pad_mode=pad_mode)
    assert_close(found, expected.swapaxes(-1, -2))


@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 64), (256, 200), (200, 30)])
def test_unpadded_spectrum_is_scipys(sound, n_fft, hop_length):
    _, _, expected = scipy.signal.stft(
        sound.astype(np.float64), nperseg=n_fft, noverlap=n_fft - hop_length, window="hann",
        boundary=None, padded=False,
    )  # fmt: skip
    expected *= scipy.signal.get_window("hann", n_fft).sum()  # SciPy divides by the window's sum
    found = complex_stft(sound, n_fft, hop_length, padding="valid")
    assert_close(found, expected.swapaxes(-1, -2))


@pytest.mark.parametrize("samples", [1, 63, 64, 65, 192, 193, 1000, 1001])
def test_full_padding_begins_a_frame_early_and_ends_with_the_last_sample_in_a_first_hop(samples):
    found = complex_stft(np.ones(samples, np.float32), 256, 64, window="ones", padding="full")
    held = found[:, 0].real  # how many samples lie in each frame
    starts = -256 + 64 * np.arange(len(held))
    expected = np.clip(np.minimum(starts + 256, samples) - np.maximum(starts, 0), 0, None)
    np.testing.assert_allclose(held, expected, atol=1e-4)
    assert starts[-1] <= samples - 1 < starts[-1] + 64


@pytest.mark.parametrize("padding", ["center", "full"])
@pytest.mark.parametrize("samples", [65, 129, 511, 1001, 4001])
@pytest.mark.parametrize(
    ("n_fft", "hop_length", "window"),
    [(256, 64, "hann"), (256, 85, "hann"), (128, 32, "sqrt_hann"), (129, 43, "hamming")],
)
def test_waveform_comes_back_to_its_first_and_last_sample(
    sound, padding, samples, n_fft, hop_length, window
):
    waveform = sound[:, :samples]
    options = {"n_fft": n_fft, "hop_length": hop_length, "window": window, "padding": padding}
    found = istft(*stft(waveform, **options), **options, length=samples)
    assert_close(found, waveform)


@pytest.mark.parametrize("samples", [257, 1001, 4001])
def test_unpadded_frames_give_back_all_that_they_cover_and_zeros_after(sound, samples):
    waveform = sound[:, :samples]
    options = {"n_fft": 256, "hop_length": 64, "window": "hamming", "padding": "valid"}
    found = np.asarray(istft(*stft(waveform, **options), **options, length=samples))
    covered = 256 + 64 * ((samples - 256) // 64)
    assert_close(found[:, :covered], waveform[:, :covered], 1e-5)
    np.testing.assert_array_equal(found[:, covered:], 0)


def test_rounding_is_not_blown_up_where_the_only_frame_hides_a_sample(sound, rng):
    options = {"n_fft": 256, "hop_length": 64, "padding": "valid"}
    real, imag = (np.asarray(part) for part in stft(sound[0], **options))
    noise = rng.standard_normal(real.shape).astype(np.float32)
    error = np.asarray(istft(real + noise, imag, **options) - istft(real, imag, **options))
    # A sample of the first frame comes back with 1 / window: 6639 for sample 1. The floor of
    # 1e-6 of the steady gain, 1.5, keeps that under 1 / sqrt(1.5e-6) = 816.
    assert error[0] == 0
    assert np.abs(error).max() < 817 * np.abs(np.fft.irfft(noise)).max()


@pytest.mark.parametrize("frames", [3, 7, 8, 9, 40])
@pytest.mark.parametrize(("n_fft", "hop_length"), [(256, 64), (250, 90)])
def test_inverse_of_a_spectrum_that_no_waveform_has_is_librosas(rng, n_fft, hop_length, frames):
    real, imag = rng.standard_normal((2, frames, n_fft // 2 + 1)).astype(np.float32)
    expected = librosa.istft(
        (real + 1j * imag).T.astype(np.complex128), n_fft=n_fft, hop_length=hop_length
    )
    found = istft(real, imag, n_fft, hop_length, padding="center")
    assert_close(found, expected, 1e-5)


@pytest.mark.parametrize("padding", ["center", "full"])
def test_a_graph_of_unknown_length_inverts_like_one_of_known_length(rng, padding):
    unknown = tf.TensorSpec((1, None, 65), tf.float32)

    @tf.function(input_signature=[unknown, unknown, tf.TensorSpec((), tf.int32)], autograph=False)
    def graph(real, imag, length):
        return istft(real, imag, 128, 48, padding=padding, length=length)

    for samples in (300, 301, 2001):
        frames = len(stft(np.zeros(samples, np.float32), 128, 48, padding=padding)[0])
        spectra = rng.standard_normal((2, 1, frames, 65)).astype(np.float32)
        static = istft(*spectra, 128, 48, padding=padding, length=samples)
        assert_close(graph(*spectra, samples), np.asarray(static))


@pytest.mark.parametrize("n_fft", [2, 3, 4, 16, 31, 256, 1001])
def test_inverse_fft_by_a_forward_one_is_numpys(rng, n_fft):
    real, imag = rng.standard_normal((2, 3, n_fft // 2 + 1)).astype(np.float32)
    # The imaginary parts of bin 0 and of Nyquist are random too: they count for nothing.
    expected = np.fft.irfft(real.astype(np.float64) + 1j * imag, n_fft)
    assert_close(irfft(real, imag, n_fft), expected)


@pytest.mark.parametrize(("window", "hop_length"), [("hann", 64), ("hamming", 64), ("ones", 256)])
def test_power_of_a_spectrum_is_that_of_its_waveform_times_the_windows(sound, window, hop_length):
    spectrum = complex_stft(sound, 256, hop_length, window=window, padding="full")
    power = np.abs(spectrum) ** 2
    circle = 2 * power.sum(axis=(-2, -1)) - power[..., 0].sum(-1) - power[..., -1].sum(-1)
    gain = 256 * np.sum(windows.window(window, 256) ** 2) / hop_length
    np.testing.assert_allclose(circle, gain * np.sum(sound.astype(np.float64) ** 2, -1), rtol=1e-5)


def test_white_noise_has_the_same_gain_in_every_bin():
    noise = np.random.default_rng(3).standard_normal(1 << 19).astype(np.float32)
    power = np.mean(np.abs(complex_stft(noise, 64, 64, padding="valid")) ** 2, axis=0)
    gain = np.sum(windows.window("hann", 64) ** 2)
    # 8192 frames: the mean of an exponential is known to 1 / sqrt(8192), four times that is 0.2 dB.
    np.testing.assert_allclose(power[1:-1] / gain, 1, atol=0.045)


def test_noise_on_a_spectrum_loses_what_no_waveform_can_have(rng):
    # Of the noise on frames that overlap four times, only a quarter belongs to any waveform.
    real, imag = rng.standard_normal((2, 400, 129)).astype(np.float32)
    options = {"n_fft": 256, "hop_length": 64, "padding": "valid"}
    kept = istft(real, imag, **options)
    again = complex_stft(kept, **options)[8:-8]
    before = (real + 1j * imag)[8:-8, 1:-1]
    share = np.sum(np.abs(again[:, 1:-1]) ** 2) / np.sum(np.abs(before) ** 2)
    assert share == pytest.approx(0.25, abs=0.01)


def test_magnitude_is_the_absolute_value_with_a_gradient_even_at_zero(rng):
    real, imag = rng.standard_normal((2, 50)).astype(np.float32)
    np.testing.assert_allclose(magnitude(real, imag), np.abs(real + 1j * imag), rtol=1e-6)
    zero = tf.constant([0.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(zero)
        value = magnitude(zero, tf.constant([0.0, 4.0]))
    np.testing.assert_allclose(tape.gradient(value, zero), [0, 0.6], rtol=1e-6)


def test_layers_come_back_from_a_file_with_their_options(sound, tmp_path):
    waveform, outputs = keras.Input((None, 2)), {}
    options = {"n_fft": 128, "hop_length": 48, "window": "hamming"}
    for padding in PADDINGS:
        real, imag = STFT(**options, padding=padding)(waveform)
        inverse = InverseSTFT(**options, padding=padding)
        outputs[padding] = [real, inverse(real[:, None], imag[:, None], waveform)]
    keras.Model(waveform, outputs).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    paddings = [layer.padding for layer in loaded.layers if hasattr(layer, "padding")]
    assert sorted(paddings) == sorted(2 * list(PADDINGS))
    for padding, (found, stems) in loaded(sound.T[None]).items():
        expected, _ = stft(sound, **options, padding=padding)
        np.testing.assert_allclose(found[0], np.transpose(expected, (1, 2, 0)), atol=1e-5)
        covered = 128 + 48 * ((4001 - 128) // 48) if padding == "valid" else 4001
        assert stems.shape == (1, 1, 4001, 2)
        np.testing.assert_allclose(stems[0, 0, :covered], sound.T[:covered], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "same"}, "padding must be one of center, full, valid; got 'same'"),
        ({"win_length": 257}, "win_length=257, n_fft=256"),
        ({"win_length": 0}, "win_length=0"),
        ({"window": "kaiser"}, "got 'kaiser'"),
    ],
)
def test_impossible_transforms_are_refused_with_the_value(sound, options, message):
    with pytest.raises(ValueError, match=message):
        stft(sound, 256, 64, **options)


def test_an_inverse_of_unknown_padding_is_refused_with_the_value(sound):
    with pytest.raises(ValueError, match=r"padding must be one of .*; got 'same'"):
        istft(*stft(sound, 256, 64), 256, 64, padding="same")


@pytest.mark.parametrize("length", [7, 8, 400])
def test_windows_are_scipys_periodic_ones(length):
    for name in ("hann", "hamming"):
        expected = scipy.signal.get_window(name, length, fftbins=True)
        np.testing.assert_allclose(windows.window(name, length), expected, atol=1e-15)
    hann = scipy.signal.get_window("hann", length, fftbins=True)
    np.testing.assert_allclose(windows.window("sqrt_hann", length), np.sqrt(hann), atol=1e-15)
    assert windows.window("ones", length).tolist() == [1.0] * length


def test_the_vorbis_window_and_its_squares_half_a_window_apart_add_up_to_one():
    shape = windows.window("vorbis", 960)
    np.testing.assert_allclose(shape[:480] ** 2 + shape[480:] ** 2, 1, atol=1e-14)
    np.testing.assert_allclose(shape, shape[::-1], atol=1e-14)
    assert shape[0] == pytest.approx(np.sin(np.pi / 2 * np.sin(np.pi / 1920) ** 2))
