import numpy as np
import pytest
from audio_signals import tones

from kzoo.audio import checked_rate, checked_waveform


def test_one_channel_may_come_without_an_axis():
    sound = tones(100, 1)
    np.testing.assert_array_equal(checked_waveform(sound[:, 0], 44100), sound)
    assert checked_waveform(sound, 44100.0) is sound


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 44100)), "44100 channels: transpose it"),
        (np.zeros((1, 221)), "221 channels: transpose it"),
        (np.zeros((40, 41)), "41 channels: transpose it"),
        (np.zeros((1000, 65)), "65 channels: transpose it"),
        (np.zeros((0, 2)), "0 samples"),
        (np.zeros(0), "0 samples"),
        (np.zeros((100, 0)), r"got shape \(100, 0\)"),
        (np.zeros((1, 100, 2)), r"got shape \(1, 100, 2\)"),
        (np.float32(0.5), r"got shape \(\)"),
        (np.zeros((100, 2), np.int16), "got int16; divide int16 by 32768"),
        (np.zeros((100, 2), np.uint8), "got uint8"),
        (np.zeros((100, 2), complex), "got complex128"),
        (["a.wav"], "got <U5"),
        (np.r_[np.zeros(50), np.nan, np.zeros(50)], r"NaN or infinity at 0\.050 s"),
        (np.r_[np.zeros(50), -np.inf, np.zeros(50)], r"NaN or infinity at 0\.050 s"),
        (np.r_[np.zeros(50), 1e300, np.zeros(50)], r"beyond float32 at 0\.050 s"),
    ],
)
def test_arrays_that_are_no_sound_are_refused_in_words(waveform, message):
    with pytest.raises(ValueError, match=message):
        checked_waveform(waveform, 1000)


def test_a_few_samples_of_common_layouts_are_taken():
    for channels in (1, 2, 6, 8):
        assert checked_waveform(np.zeros((1, channels)), 48000).shape == (1, channels)
    assert checked_waveform(np.zeros((100, 64)), 48000).shape == (100, 64)


def test_floats_on_the_scale_of_integers_are_warned_of_and_loud_music_is_not():
    with pytest.warns(UserWarning, match="dB over full scale") as caught:
        checked_waveform(tones(1000) * 32768, 44100)
    assert len(caught) == 1
    checked_waveform(tones(1000) * 10, 44100)


@pytest.mark.parametrize("rate", [44.1, 0, -8000, "44100", None, True, np.nan, np.inf, 2**40])
def test_rates_that_are_no_whole_number_of_hz_are_refused(rate):
    with pytest.raises(ValueError, match="a sample rate must be a whole number of Hz"):
        checked_rate(rate)
    with pytest.raises(ValueError, match="a sample rate must be a whole number of Hz"):
        checked_waveform(tones(100), rate)


def test_rates_of_numpy_are_plain_integers():
    assert type(checked_rate(np.int64(44100))) is int
    assert checked_rate(44100.0) == 44100


def test_kilohertz_are_answered_in_hz():
    with pytest.raises(ValueError, match=r"44\.1 kHz are 44100 Hz"):
        checked_rate(44.1)
