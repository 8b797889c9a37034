"""Log-mel spectra against librosa, constant-Q transforms against their definition and librosa."""

import re

import keras
import librosa
import numpy as np
import pytest

from kzoo.dsp.constant_q import HarmonicCQT, constant_q, context_samples, harmonic_cqt
from kzoo.dsp.mel import LogMel, LogMels, log_mel, log_mels, mel_filters, mel_levels


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("equal_area", [True, False])
def test_mel_filters_are_those_of_librosa(scale, equal_area):
    ours = mel_filters(16000, 512, 40, 30.0, 7600.0, scale, equal_area)
    theirs = librosa.filters.mel(
        sr=16000, n_fft=512, n_mels=40, fmin=30, fmax=7600, htk=scale == "htk",
        norm="slaney" if equal_area else None, dtype=np.float64,
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs.T, atol=1e-12)


def test_levels_of_a_vocoder_are_those_of_its_reference(rng):
    """By the equations of lws, which makes its windows, and of the program's audio.py."""
    n_fft, hop, signal = 1024, 256, 0.3 * rng.standard_normal(5000)
    hann = 0.5 * (1 - np.cos(2 * np.pi * np.arange(1, 2 * n_fft, 2) / (2 * n_fft)))
    analysis = np.sqrt(hann)
    sums = np.tile(hann.reshape(-1, hop).sum(axis=0), n_fft // hop)
    window = np.sqrt(analysis * analysis / sums)
    before = n_fft - hop  # zeros, which it puts before the sound
    whole = np.r_[np.zeros(before), signal, np.zeros(n_fft)]
    spectra = [np.abs(np.fft.rfft(whole[k : k + n_fft] * window)) for k in range(0, 5768, hop)]
    bank = librosa.filters.mel(
        sr=22050, n_fft=n_fft, n_mels=80, fmin=125, fmax=7600, dtype=np.float64
    )
    decibels = 20 * np.log10(np.maximum(1e-5, bank @ np.transpose(spectra))) - 20
    expected = np.clip((decibels + 100) / 100, 0, 1).T
    options = {"sample_rate": 22050, "n_fft": n_fft, "hop_length": hop, "bands": 80}
    found = mel_levels(signal, **options, low_hz=125, high_hz=7600)
    assert found.shape == (20, 80)
    np.testing.assert_allclose(found, expected[before // hop :], atol=1e-6)
    assert not mel_levels(np.zeros(300), **options, low_hz=125, high_hz=7600).any()


@pytest.mark.parametrize("power", [1, 2])
def test_log_mel_is_that_of_librosa(rng, power):
    signal = 0.1 * rng.standard_normal((2, 4000)).astype(np.float32)
    signal[1, 1500:] = 0
    theirs = librosa.feature.melspectrogram(
        y=signal, sr=16000, n_fft=512, hop_length=256, n_mels=40, power=power, pad_mode="reflect"
    ).swapaxes(1, 2)
    options = {"sample_rate": 16000, "n_fft": 512, "hop_length": 256, "bands": 40, "power": power,
               "pad_mode": "reflect"}  # fmt: skip
    for compression, expected in (
        ("db", librosa.power_to_db(theirs, top_db=None)),
        ("log", np.log10(1 + 10000 * theirs)),
        ("none", theirs),
    ):
        ours = log_mel(signal, **options, compression=compression)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=2e-3)


def test_a_longer_window_is_centred_in_a_longer_frame(rng):
    signal = 0.1 * rng.standard_normal((1, 4000)).astype(np.float32)
    theirs = librosa.feature.melspectrogram(
        y=signal, sr=16000, n_fft=1024, hop_length=160, win_length=736, n_mels=40
    )
    ours = log_mel(signal, sample_rate=16000, n_fft=1024, hop_length=160, win_length=736, bands=40)
    np.testing.assert_allclose(
        ours, librosa.power_to_db(theirs, top_db=None).swapaxes(1, 2), atol=2e-3
    )


def test_several_windows_have_one_centre_and_lie_behind_each_other(rng):
    signal = 0.1 * rng.standard_normal((2, 4000)).astype(np.float32)
    options = {"sample_rate": 16000, "hop_length": 150, "bands": 30, "scale": "htk"}
    ours = np.asarray(log_mels(signal, n_ffts=(400, 1024), **options))
    assert ours.shape == (2, 1 + 4000 // 150, 30, 2)
    for window, n_fft in enumerate((400, 1024)):
        theirs = librosa.feature.melspectrogram(
            y=signal, sr=16000, n_fft=n_fft, hop_length=150, n_mels=30, htk=True
        ).swapaxes(1, 2)
        expected = librosa.power_to_db(theirs, top_db=None)
        np.testing.assert_allclose(ours[..., window], expected, atol=2e-3)
    padded = np.pad(signal, ((0, 0), (512, 512)))[..., None]
    layer = LogMels(16000, (400, 1024), 150, 30, scale="htk", padding="valid")
    np.testing.assert_allclose(LogMels.from_config(layer.get_config())(padded), ours, atol=1e-4)


@pytest.mark.parametrize(("n_ffts", "padding", "message"), [
    ((), "center", "one or more even numbers; got ()"),
    ((512, 401), "center", "one or more even numbers; got (512, 401)"),
    ((512,), "full", "padding must be one of center, valid; got 'full'"),
])  # fmt: skip
def test_windows_that_have_no_centre_are_refused(n_ffts, padding, message):
    options = {"sample_rate": 16000, "hop_length": 150, "bands": 30, "padding": padding}
    with pytest.raises(ValueError, match=re.escape(message)):
        log_mels(np.zeros((1, 4000), np.float32), n_ffts=n_ffts, **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": "bark"}, "slaney, htk; got 'bark'"),
        ({"compression": "cube"}, "db, log, none; got 'cube'"),
        ({"power": 3}, "power must be 1 or 2; got 3"),
        ({"high_hz": 9000.0}, "8000 Hz; got 0 to 9000"),
        ({"bands": 200}, "bands=200, n_fft=512 at 16000 Hz"),
    ],
)
def test_what_makes_no_mel_spectrum_is_refused(changes, message):
    options = {"sample_rate": 16000, "n_fft": 512, "hop_length": 256, "bands": 40, **changes}
    with pytest.raises(ValueError, match=message):
        log_mel(np.zeros((1, 4000), np.float32), **options)


def directly(signal, sample_rate, hop_length, fmin_hz, bins, bins_per_octave):
    """Each bin by its own filter at the full rate: Brown's definition, scaled as librosa's."""
    ratio = 2 ** (2 / bins_per_octave)
    quality, around = (ratio + 1) / (ratio - 1), 20000
    padded = np.pad(signal.astype(np.float64), around)
    result = np.zeros((1 + len(signal) // hop_length, bins), complex)
    for b in range(bins):
        hertz = fmin_hz * 2 ** (b / bins_per_octave)
        length = quality * sample_rate / hertz
        n = np.arange(-int(length / 2), int(length / 2) + 1)
        weights = 0.5 + 0.5 * np.cos(2 * np.pi * n / length)
        wave = np.sqrt(length) * weights / weights.sum()
        wave = wave * np.exp(-2j * np.pi * hertz / sample_rate * n)
        for m in range(len(result)):
            result[m, b] = padded[around + m * hop_length + n] @ wave
    return result


@pytest.mark.parametrize(("hop_length", "bins"), [(256, 60), (160, 53), (75, 60)])
def test_constant_q_is_its_definition(rng, hop_length, bins):
    # Decimation loses what rings beyond the ends of a signal that breaks off: it fades.
    signal = (rng.standard_normal(8000) * np.hanning(8000)).astype(np.float32)
    expected = directly(signal, 8000, hop_length, 110.0, bins, 12)
    real, imag = constant_q(
        signal[None], sample_rate=8000, hop_length=hop_length, fmin_hz=110.0, bins=bins,
        bins_per_octave=12,
    )  # fmt: skip
    error = np.abs(np.asarray(real)[0] + 1j * np.asarray(imag)[0] - expected)
    assert error.shape == (1 + 8000 // hop_length, bins)
    assert error.max() < 1e-3 * np.abs(expected).max()


def test_a_harmonic_cqt_is_that_of_deep_salience(vectors):
    recorded = vectors("hcqt")
    options = {"sample_rate": 22050, "hop_length": 256, "fmin_hz": 32.7, "bins": 360,
               "bins_per_octave": 60, "harmonics": (0.5, 1, 2, 3, 4, 5)}  # fmt: skip
    ours = np.asarray(harmonic_cqt(recorded["y"][None], **options))[0]
    levels = 1 + np.maximum(20 * np.log10(np.maximum(ours, 1e-5) / ours.max()), -80) / 80
    expected = recorded["hcqt"].transpose(2, 1, 0)
    error = np.abs(levels - expected)
    # librosa's filters are cut at 1 % of their weight, which is heard where all is faint.
    assert np.mean(error) < 0.006
    assert np.max(error[expected > 0.7]) < 0.02
    assert levels[40, :, 1].argmax() == expected[40, :, 1].argmax() == 165  # 220 Hz


def test_one_cqt_of_a_harmonic_one_is_a_cqt_by_itself(rng):
    signal = rng.standard_normal((2, 3000)).astype(np.float32)
    options = {"sample_rate": 8000, "hop_length": 128, "bins": 30, "bins_per_octave": 12}
    stack = harmonic_cqt(signal, fmin_hz=110.0, harmonics=(0.5, 1, 3), **options)
    for place, harmonic in enumerate((0.5, 1, 3)):
        real, imag = constant_q(signal, fmin_hz=110.0 * harmonic, **options)
        np.testing.assert_allclose(stack[..., place], np.hypot(real, imag), atol=1e-5)


def test_a_frame_hears_no_further_than_its_context(rng):
    options = {"sample_rate": 8000, "hop_length": 128, "bins": 30, "bins_per_octave": 12}
    context = context_samples(8000, 110.0, 12)
    signal = rng.standard_normal(2 * context + 2).astype(np.float32)
    frame = context // 128
    changed = signal.copy()
    changed[frame * 128 + context + 1 :] += 1
    both = harmonic_cqt(np.stack([signal, changed]), fmin_hz=110.0, harmonics=(1,), **options)
    np.testing.assert_allclose(both[0, : frame + 1], both[1, : frame + 1], atol=1e-6)
    assert np.abs(both[0] - both[1]).max() > 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"bins": 72}, "4000 Hz; got bins=72 from 110 Hz"), ({"hop_length": 0}, "hop_length=0")],
)
def test_bins_beyond_nyquist_are_refused(changes, message):
    options = {"sample_rate": 8000, "hop_length": 128, "fmin_hz": 110.0, "bins": 30, **changes}
    with pytest.raises(ValueError, match=message):
        constant_q(np.zeros((1, 800), np.float32), **options)


@pytest.mark.parametrize(
    "layer",
    [
        LogMel(8000, 256, 128, 20, scale="htk", compression="log"),
        HarmonicCQT(8000, 128, 220.0, 30, 12, (0.5, 1, 2)),
    ],
)
def test_layers_come_back_from_their_configuration_and_take_any_length(layer, rng):
    waveform = rng.standard_normal((2, 1500, 1)).astype(np.float32)
    inputs = keras.Input((None, 1))
    model = keras.Model(inputs, type(layer).from_config(layer.get_config())(inputs))
    np.testing.assert_allclose(model(waveform), layer(waveform), atol=1e-5)
