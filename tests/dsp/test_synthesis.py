"""Oscillators, envelopes, filters, loudness: against DDSP's own numbers and float64."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf
from keras import ops

from kzoo.dsp import envelopes, filters, mel, noise, oscillators, units
from kzoo.dsp.loudness import loudness_db
from kzoo.dsp.notes import hz_to_midi, midi_to_hz

RATE, HOP = 16000, 64


@pytest.fixture(scope="module")
def core(vectors):
    return vectors("ddsp_core")


def close(found, expected, atol=1e-6):
    np.testing.assert_allclose(np.asarray(found), expected, atol=atol, rtol=1e-5)


def test_exp_sigmoid_and_scalings_equal_ddsp(core):
    close(units.exp_sigmoid(core["x"]), core["exp_sigmoid"])
    close(units.hz_to_midi(core["f0"]) / 127, core["f0_scaled"])


def test_midi_and_hertz_are_inverse_and_silence_has_no_gradient_that_is_not_finite():
    notes = np.array([21.0, 60.0, 69.0, 108.5], np.float32)
    close(units.hz_to_midi(midi_to_hz(notes)), notes, 1e-4)
    close(hz_to_midi(midi_to_hz(notes)), notes, 1e-4)
    close(midi_to_hz(69.0), 440.0)
    silent = tf.constant([0.0, 440.0])
    with tf.GradientTape() as tape:
        tape.watch(silent)
        note = units.hz_to_midi(silent)
    np.testing.assert_allclose(note, [0, 69], atol=1e-4)
    assert np.isfinite(tape.gradient(note, silent)).all()


def test_decibels_of_a_power_stop_at_their_range():
    close(units.power_to_db(np.array([1.0, 0.01, 0.0], np.float32)), [0, -20, -80], 1e-4)


@pytest.mark.parametrize("fade", ["linear", "hann"])
def test_envelopes_equal_ddsp(core, fade):
    recorded = core["resample_window" if fade == "hann" else "resample_linear"]
    close(envelopes.upsample(core["amp"], HOP, fade=fade), recorded)


def test_an_unknown_fade_is_refused():
    with pytest.raises(ValueError, match="'cubic'"):
        envelopes.upsample(np.ones((1, 2, 1), np.float32), 8, fade="cubic")


def test_harmonics_equal_ddsp(core):
    shares = oscillators.audible_distribution(core["hd"], core["f0"], RATE)
    close(shares, core["hd_norm"])
    for fade, key in (("hann", "harmonic"), ("linear", "harmonic_linamp")):
        found = oscillators.harmonic_bank(
            core["f0"], core["amp"] * shares, hop_length=HOP, sample_rate=RATE, fade=fade
        )
        # Where they part is its phase, a float32 sum: float64 sides with this one.
        close(found[0, :150, 0], core[key][0, :150], 5e-5)
        assert np.abs(np.asarray(found)[..., 0] - core[key]).max() < 2e-3
        if fade == "hann":
            expected = float64_bank(
                core["f0"][0, :, 0], np.asarray(core["amp"] * shares)[0], HOP, RATE
            )
            close(np.asarray(found)[0, :, 0], expected, 2e-5)
            assert np.abs(core[key][0] - expected).max() > 1e-3


def float64_bank(f0_hz, amplitudes, hop_length, rate):
    """The same bank by plain sums, one harmonic at a time."""
    frames = len(f0_hz)
    at = np.arange(frames * hop_length)
    k, part = at // hop_length, (at % hop_length) / hop_length
    after = np.minimum(k + 1, frames - 1)
    f0 = f0_hz.astype(np.float64)
    frequency = f0[k] + part * (f0[after] - f0[k])
    phase = 2 * np.pi * np.cumsum(frequency) / rate
    weight = 0.5 - 0.5 * np.cos(np.pi * part)
    signal = np.zeros(len(at))
    for h in range(amplitudes.shape[1]):
        a = amplitudes[:, h].astype(np.float64)
        level = a[k] + weight * (a[after] - a[k])
        signal += np.where((h + 1) * frequency < rate / 2, level, 0) * np.sin((h + 1) * phase)
    return signal


@pytest.mark.parametrize("frames", [3, 256, 257, 1500])
def test_a_gliding_chord_equals_float64_sums(rng, frames):
    f0 = (440 + 300 * np.sin(np.arange(frames) / 40)).astype(np.float32)
    amplitudes = rng.uniform(0, 0.1, (frames, 20)).astype(np.float32)
    expected = float64_bank(f0, amplitudes, HOP, RATE)
    found = oscillators.harmonic_bank(
        f0[None, :, None], amplitudes[None], hop_length=HOP, sample_rate=RATE
    )
    error = np.asarray(found)[0, :, 0] - expected
    assert np.abs(error).max() < 1e-4 * np.abs(expected).max()  # -80 dB


@pytest.mark.parametrize("f0", [27.5, 100.1, 440.0, 441.3, 3999.9])
def test_a_note_held_for_ten_minutes_is_in_tune_to_the_last_sample(f0):
    # Amplitudes are 0 until the last frames, so that only the phase costs time.
    frames, f0 = 150_000, np.float32(f0)
    pair = np.full((1, frames, 1), f0), np.full((1, frames, 1), f0)
    at, _ = oscillators._frame_phases(*map(ops.convert_to_tensor, pair), HOP, RATE, None)
    turns = np.arange(frames) * (np.float64(f0) * HOP / RATE)
    error = np.asarray(at)[0, :, 0] - turns
    error -= np.round(error)
    assert np.abs(error).max() < 2e-7  # turns: -118 dB of the note's level
    plain = np.cumsum(np.full(frames * HOP, f0 / RATE, np.float32), dtype=np.float32)
    assert abs(plain[-1] - frames * HOP * np.float64(f0) / RATE) > 0.1  # a float32 sum is lost


def test_frames_of_an_open_number_are_counted_as_those_of_a_known_one(rng):
    f0 = rng.uniform(50, 900, (2, 700, 1)).astype(np.float32)

    def bank(f0):
        return oscillators.harmonic_bank(f0, f0 / 1000, hop_length=8, sample_rate=2000)

    shape = tf.TensorSpec((None, None, 1))
    drawn = tf.function(bank, input_signature=[shape], autograph=False)
    np.testing.assert_allclose(drawn(f0), bank(f0), atol=1e-5)


def test_phase_has_the_gradient_of_its_frequencies():
    def last(f0):
        f0 = ops.convert_to_tensor(f0, "float32")
        return oscillators.harmonic_bank(
            f0, ops.ones_like(f0), hop_length=16, sample_rate=4000
        )[0, -5, 0]  # fmt: skip

    f0 = np.full((1, 6, 1), 301.0)
    with tf.GradientTape() as tape:
        at = tf.constant(f0, tf.float32)
        tape.watch(at)
        found = last(at)
    gradient = tape.gradient(found, at).numpy()[0, :, 0]
    for k in (0, 3, 5):
        step = np.zeros_like(f0)
        step[0, k] = 0.05
        slope = float(last(f0 + step) - last(f0 - step)) / 0.1
        assert gradient[k] == pytest.approx(slope, rel=0.02, abs=1e-4)


def test_a_hop_that_makes_no_whole_steps_is_refused():
    with pytest.raises(ValueError, match="hop_length=100"):
        oscillators.turn_steps(100, 44123)


def test_nothing_is_heard_at_the_nyquist_frequency_and_above():
    f0 = np.full((1, 8, 1), 3000.0, np.float32)
    tone = oscillators.harmonic_bank(
        f0, np.ones((1, 8, 9), np.float32), hop_length=HOP, sample_rate=RATE
    )
    two = oscillators.harmonic_bank(
        f0, np.ones((1, 8, 2), np.float32), hop_length=HOP, sample_rate=RATE
    )
    close(tone, np.asarray(two), 1e-5)


@pytest.mark.parametrize(("window", "key"), [(0, "win0"), (9, "win9"), (257, "win257")])
def test_filtered_noise_equals_ddsp(core, window, key):
    taps = filters.impulse_responses(core["mags"], window)
    close(taps, core[f"ir_{key}"])
    frames = core["noise"].reshape(1, 10, 64)
    close(filters.filtered(frames, taps)[..., 0], core[f"filt_{key}"])


def test_a_filter_has_the_magnitudes_that_it_was_given():
    magnitudes = np.exp(-np.arange(65) / 20).astype(np.float32)
    taps = np.asarray(filters.impulse_responses(magnitudes[None]))[0]
    _, response = scipy.signal.freqz(taps, worN=np.pi * np.arange(65) / 64)
    np.testing.assert_allclose(np.abs(response), magnitudes, atol=0.03)


@pytest.mark.parametrize("block", [1, 3, 10])
def test_filtered_blocks_are_the_whole_one_hop_late(rng, block):
    frames = rng.uniform(-1, 1, (2, 30, 32)).astype(np.float32)
    taps = rng.uniform(-1, 1, (2, 30, 16)).astype(np.float32)
    tail = np.zeros((2, filters.tail_length(32, 16)), np.float32)
    found = []
    for start in range(0, 30, block):
        part = slice(start, start + block)
        signal, tail = filters.continue_filtered(frames[:, part], taps[:, part], tail)
        found.append(signal)
    whole = np.asarray(filters.filtered(frames, taps))
    close(np.concatenate(found, axis=1)[:, 32:], whole[:, :-32], 1e-5)


def test_reverb_equals_ddsp_and_a_plain_convolution_of_any_length(core, rng):
    close(filters.reverberate(core["noise"][..., None], core["ir"][0])[..., 0], core["reverb_out"])
    room = rng.standard_normal(37).astype(np.float32)
    for samples in (1, 63, 64, 200):
        dry = rng.standard_normal((1, samples, 1)).astype(np.float32)
        wet = np.convolve(dry[0, :, 0], np.r_[1, room[1:]])[:samples]
        close(filters.reverberate(dry, room)[0, :, 0], wet, 1e-4)


@pytest.mark.parametrize("block", [32, 160, 960])  # a room of parts of blocks, of one, of a part
def test_blocks_in_a_room_are_the_whole_in_it(rng, block):
    dry, room = rng.standard_normal((2, 960, 1)).astype(np.float32), rng.standard_normal(160)
    room, found = room.astype(np.float32), []
    state = filters.silent_room(160, block, batch=2)
    for start in range(0, 960, block):
        wet, state = filters.continue_reverberate(dry[:, start : start + block], room, state)
        found.append(wet)
    close(np.concatenate(found, axis=1), np.asarray(filters.reverberate(dry, room)), 1e-4)


def test_loudness_equals_ddsp(vectors):
    recorded = vectors("ddsp_spectral")
    for sound in ("target", "audio"):
        found = loudness_db(recorded[sound], sample_rate=RATE, hop_length=HOP)
        np.testing.assert_allclose(found[0], recorded[f"loudness_{sound}"], atol=1e-3)


def test_a_sine_of_full_scale_has_its_hann_window_s_level():
    # Power over the bins is n_fft / 4 times the sum of the squared window, 3 / 8 n_fft.
    sine = np.sin(2 * np.pi * 1000 / RATE * np.arange(4096)).astype(np.float32)[None]
    found = loudness_db(sine, sample_rate=RATE, hop_length=HOP)[0, 8:-8]
    close(found, 10 * np.log10(512 / 4 * 3 / 8 * 512 / 257), 0.05)


def test_silence_is_as_faint_as_can_be():
    found = loudness_db(np.zeros((1, 640), np.float32), sample_rate=RATE, hop_length=HOP)
    close(found, -80.0)


def test_mfcc_equals_ddsp(vectors):
    recorded = vectors("ddsp_spectral")
    found = mel.mfcc(
        recorded["audio"], sample_rate=RATE, n_fft=1024, hop_length=512, coefficients=30
    )
    np.testing.assert_allclose(found, recorded["mfcc"], atol=2e-3)


def test_noise_is_white_even_and_not_constant():
    sound, _ = noise.uniform_noise(np.array([noise.SEED], np.int32), 1000, HOP)
    sound = np.asarray(sound).ravel().astype(np.float64)
    assert abs(sound.mean()) < 0.01
    assert np.abs(sound).max() < 1
    assert sound.std() == pytest.approx(1 / np.sqrt(3), rel=0.01)
    assert np.histogram(sound, 10, (-1, 1))[0] == pytest.approx(6400, rel=0.05)
    _, power = scipy.signal.welch(sound, nperseg=128)
    assert power[2:-1] == pytest.approx(power.mean(), rel=0.2)
    lags = scipy.signal.correlate(sound, sound, "full")[len(sound) : len(sound) + 500]
    assert np.abs(lags).max() < 0.03 * np.sum(sound**2)


def test_noise_goes_on_where_it_was_left_and_does_not_depend_on_open_shapes():
    seed = np.array([noise.SEED, (1, 2, 3)], np.int32)
    whole, after = noise.uniform_noise(seed, 600, 16)
    first, middle = noise.uniform_noise(seed, 77, 16)
    rest, end = noise.uniform_noise(middle, 523, 16)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), whole)
    np.testing.assert_array_equal(end, after)

    @tf.function(input_signature=[tf.TensorSpec((), tf.int32)], autograph=False)
    def opened(frames):
        return noise.uniform_noise(ops.convert_to_tensor(seed), frames, 16)

    for found, expected in zip(opened(600), (whole, after), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_noise_equals_the_generator_of_the_paper():
    state, expected = list(noise.SEED), []
    for _ in range(50):
        z = (state[0] - state[1] + state[2]) % (noise.MODULI[0] - 1)
        expected.append((z + 0.5) * 2 / (noise.MODULI[0] - 1) - 1)
        state = [a * x % m for a, x, m in zip(noise.MULTIPLIERS, state, noise.MODULI, strict=True)]
    found, _ = noise.uniform_noise(np.array([noise.SEED], np.int32), 5, 10)
    np.testing.assert_allclose(np.asarray(found).ravel(), expected, atol=1e-6)
