import numpy as np
import pytest
import soxr
from audio_signals import tones

from kzoo.audio import StreamResampler, resample

RATES = [(44100, 16000), (16000, 44100), (48000, 44100), (8000, 11025), (192000, 8000)]


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
def test_blocks_joined_equal_the_whole(from_rate, to_rate):
    sound = tones(30_011, 2, from_rate)
    stream = StreamResampler(from_rate, to_rate, 2)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(sound), 9))
    parts = [stream.push(part) for part in np.split(sound, cuts)] + [stream.flush()]
    whole = resample(sound, from_rate, to_rate)
    assert whole.shape == (round(len(sound) * to_rate / from_rate), 2)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    np.testing.assert_allclose(whole, soxr.resample(sound, from_rate, to_rate, "VHQ"), atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 2, 100, 441])
def test_length_is_the_rounded_ratio_even_for_a_few_samples(samples):
    for from_rate, to_rate in RATES:
        length = len(resample(np.ones((samples, 1), np.float32), from_rate, to_rate))
        assert length == int(np.floor(samples * to_rate / from_rate + 0.5))


def test_a_tone_comes_back_at_the_same_time():
    sound = tones(44100)
    back = resample(resample(sound, 44100, 96000), 96000, 44100)
    np.testing.assert_allclose(back, sound, atol=1e-3)


def test_equal_rates_change_nothing():
    sound = tones(100)
    np.testing.assert_array_equal(resample(sound, 44100, 44100), sound)


def test_a_flushed_resampler_starts_anew():
    sound = tones(5000)
    stream = StreamResampler(44100, 16000, 2)
    first = np.concatenate([stream.push(sound), stream.flush()])
    second = np.concatenate([stream.push(sound), stream.flush()])
    np.testing.assert_allclose(first, second, atol=1e-7)


def test_wrong_shapes_and_rates_are_refused():
    with pytest.raises(ValueError, match=r"\[samples, channels\]"):
        resample(np.zeros(10), 44100, 16000)
    for rates in ((44100, 0), (44.1, 44100), ("44100", 16000)):
        with pytest.raises(ValueError, match="a sample rate must be a whole number of Hz"):
            StreamResampler(*rates, 1)
