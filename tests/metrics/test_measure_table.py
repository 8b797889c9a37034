"""Energy ratios, spectral errors, orders of sources, and the table that names every measure."""

import math

import numpy as np
import pytest
import soxr

from kzoo import metrics

RATE = 16000


def db(ratio):
    return 10 * np.log10(ratio)


@pytest.fixture
def track(rng):
    """Two sources of 1.2 s in mono, with a pause in one of them, and their mixture."""
    sources = 0.1 * rng.standard_normal((2, int(1.2 * RATE), 1))
    sources[0, :3000] = 0
    return sources, sources.sum(axis=0)


def test_scale_invariant_ratios_are_those_of_nussl(vectors):
    data = vectors("bss_eval")
    found = metrics.scale_invariant(data["ref"], data["est"], zero_mean=True)
    mixture = data["ref"].sum(axis=0)
    mixture = mixture - mixture.mean()
    for j in range(2):
        true, guess = data["ref"][j], data["est"][j]
        theirs = data[f"nussl_scale/{j}"]
        ratios = (found.sdr[j], found.sir[j], found.sar[j])
        np.testing.assert_allclose(ratios, theirs[:3], atol=1e-6, rtol=0)
        assert metrics.si_sdr(true, guess, zero_mean=True) == pytest.approx(theirs[0], abs=1e-6)
        assert metrics.sd_sdr(true, guess, zero_mean=True) == pytest.approx(theirs[3], abs=1e-6)
        centred = [x - x.mean() for x in (true, guess)]
        assert metrics.snr(*centred) == pytest.approx(theirs[4], abs=1e-6)
        gain = metrics.improvement(metrics.si_sdr, *centred, mixture)
        assert gain == pytest.approx(theirs[6], abs=1e-6)


def test_scale_invariant_ratios_are_those_of_fast_bss_eval(vectors):
    data = vectors("bss_eval")
    found = metrics.scale_invariant(data["ref"], data["est"])
    np.testing.assert_allclose(found.sdr, data["fast_si/sdr"].ravel(), atol=1e-6, rtol=0)
    np.testing.assert_allclose(found.sir, data["fast_si/sir"].ravel(), atol=1e-6, rtol=0)


def test_interference_and_artefacts_add_up_to_the_distortion(track, rng):
    sources, mixture = track
    estimates = sources + 0.2 * mixture + 0.03 * rng.standard_normal(sources.shape)
    sdr, sir, sar = (10 ** (-ratio / 10) for ratio in metrics.scale_invariant(sources, estimates))
    np.testing.assert_allclose(sdr, sir + sar, rtol=1e-9)


def test_silent_and_doubled_references_do_not_hinder_the_other_ratios(track, rng):
    sources, mixture = track
    estimates = sources + 0.2 * mixture + 0.03 * rng.standard_normal(sources.shape)
    alone = metrics.scale_invariant(sources, estimates)
    more = np.concatenate([sources, np.zeros_like(sources[:1]), sources[1:]])
    found = metrics.scale_invariant(more, np.concatenate([estimates, estimates]))
    np.testing.assert_allclose(np.stack(found)[:, :2], np.stack(alone), atol=1e-6)
    assert np.isnan(np.stack(found)[:, 2]).all()


def test_one_source_has_no_interference(track):
    sources, _ = track
    found = metrics.scale_invariant(sources[:1], sources[:1] + 0.1 * sources[1:])
    assert found.sir[0] == math.inf
    assert found.sar[0] == found.sdr[0]


def test_usdr_is_the_challenge_s_formula_and_finite_for_silence(track):
    sources, mixture = track
    true, error = np.sum(sources[0] ** 2), np.sum((mixture - sources[0]) ** 2)
    expected = db((true + 1e-7) / (error + 1e-7))
    assert metrics.usdr(sources[0], mixture) == pytest.approx(expected, abs=1e-12)
    silence = np.zeros_like(mixture)
    assert metrics.usdr(silence, silence) == 0
    assert metrics.usdr(silence, mixture) == pytest.approx(db(1e-7 / np.sum(mixture**2)), abs=1e-6)
    assert metrics.snr(silence, mixture) == -math.inf


def test_an_improvement_is_not_a_number_where_nothing_can_be_compared(track):
    sources, mixture = track
    silence = np.zeros_like(mixture)
    assert math.isnan(metrics.improvement(metrics.si_sdr, silence, mixture, mixture))
    assert math.isnan(metrics.improvement(metrics.snr, silence, mixture, mixture))
    assert metrics.improvement(metrics.snr, sources[0], sources[0], mixture) == math.inf
    assert metrics.improvement(metrics.snr, mixture, 0.5 * mixture, mixture) == -math.inf


def test_the_log_spectral_distance_of_a_gain_is_that_gain(rng):
    # The window is Hann's, and noise has no bins 70 dB under its loudest.
    signal = rng.standard_normal((9000, 2))
    found = metrics.log_spectral_distance(signal, signal / 2, range_db=200)
    assert found == pytest.approx(20 * np.log10(2), abs=1e-9)
    assert metrics.log_spectral_distance(signal, signal) == 0


def test_the_log_spectral_distance_is_that_of_plain_loops(rng):
    true, guess = rng.standard_normal((2, 700, 1))
    guess[300:500] = 0
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
    powers = [
        [np.abs(np.fft.rfft(x[s : s + 128, 0] * window)) ** 2 for s in range(0, 573, 64)]
        for x in (true, guess)
    ]
    floor = np.max(powers[0]) * 1e-6
    frames = [
        np.sqrt(np.mean((db(np.maximum(t, floor)) - db(np.maximum(g, floor))) ** 2))
        for t, g in zip(*powers, strict=True)
    ]
    found = metrics.log_spectral_distance(true, guess, n_fft=128, hop_length=64, range_db=60)
    assert found == pytest.approx(np.mean(frames), abs=1e-9)


def test_the_log_spectral_distance_of_silence_is_bounded_or_undefined(rng):
    signal = rng.standard_normal((500, 1))  # shorter than one frame
    assert 0 < metrics.log_spectral_distance(signal, np.zeros_like(signal)) <= 80
    assert math.isnan(metrics.log_spectral_distance(np.zeros_like(signal), signal))


def test_log_wmse_is_that_of_torch_log_wmse():
    # torch-log-wmse 1.1.0 in float64 gave these, for a reference of noise and a silent one.
    rng = np.random.default_rng(0)
    for level, expected in ((0.1, 15.652032), (0.0, 12.737753)):
        reference = level * rng.standard_normal((8000, 2))
        mixture = reference + 0.1 * rng.standard_normal((8000, 2))
        estimate = reference + 0.02 * rng.standard_normal((8000, 2))
        found = metrics.log_wmse(reference, estimate, mixture, 44100)
        assert found == pytest.approx(expected, abs=1e-4)


def hearing(hertz):
    """The weighting in dB as its analogue filters have it, warped as digital ones at 44.1 kHz."""
    shelf, peak, high, low = (
        1j * math.tan(math.pi * hertz / 44100) / math.tan(math.pi * centre / 44100)
        for centre in (1500, 500, 120, 10_000)
    )
    a, q = 10 ** (5 / 40), 2**-0.5
    response = a * (a * shelf**2 + a**0.5 / q * shelf + 1) / (shelf**2 + a**0.5 / q * shelf + a)
    a, q = 10 ** (2.5 / 40), 1.5 * 2**-0.5
    response *= (peak**2 + a / q * peak + 1) / (peak**2 + peak / (a * q) + 1)
    response *= high**2 / (high**2 + 2**0.5 * high + 1) / (1 + low) ** 2
    return 20 * np.log10(np.abs(response))


@pytest.mark.parametrize("rate", [44100, 48000, 16000])
@pytest.mark.parametrize("hertz", [60, 500, 3000])
def test_log_wmse_weighs_a_tone_as_it_is_heard_at_any_rate(rate, hertz):
    time = np.arange(rate) / rate
    error, mixture = (0.1 * np.sin(2 * np.pi * f * time) * np.hanning(rate) for f in (hertz, 1000))
    expected = -0.4 * math.log(10) * (hearing(hertz) - hearing(1000))
    assert metrics.log_wmse(0 * error, error, mixture, rate) == pytest.approx(expected, abs=0.01)


def test_log_wmse_does_not_depend_on_a_gain_of_everything_and_is_bounded(track):
    sources, mixture = track
    estimate = 0.8 * sources[0] + 0.1 * mixture
    found = [
        metrics.log_wmse(gain * sources[0], gain * estimate, gain * mixture, RATE)
        for gain in (1.0, 1e-3)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    silence = np.zeros_like(mixture)
    best = -4 * math.log(1e-8)
    assert metrics.log_wmse(silence, silence, mixture, RATE) == pytest.approx(best)
    assert metrics.log_wmse(silence, silence, silence, RATE) == pytest.approx(best)
    assert metrics.log_wmse(silence, mixture, silence, RATE) < -50


def test_orders_are_those_of_asteroid(vectors):
    data = vectors("sisdr_pit")
    for name, score in (
        ("neg_sisdr", metrics.si_sdr),
        ("neg_sdsdr", metrics.sd_sdr),
        ("neg_snr", None),
    ):

        def centred(true, guess, score=score):
            if score is None:
                return metrics.snr(true - true.mean(), guess - guess.mean())
            return score(true, guess, zero_mean=True)

        for b, (sources, estimates) in enumerate(
            zip(data["sources"], data["estimates"], strict=True)
        ):
            scores = metrics.pairwise(sources, estimates, centred)
            np.testing.assert_allclose(scores, -data[f"{name}/pairwise"][b].T, atol=0.01)
            order = metrics.best_order(scores)
            np.testing.assert_array_equal(order, data[f"{name}/best_perm"][b])


def test_an_order_may_leave_estimates_out_but_no_reference(track, rng):
    sources, mixture = track
    scores = metrics.pairwise(sources, [mixture, sources[1], 0 * mixture, 0.5 * sources[0]])
    np.testing.assert_array_equal(metrics.best_order(scores), [3, 1])
    with pytest.raises(ValueError, match=r"an estimate for each reference; got shape \(4, 2\)"):
        metrics.best_order(scores.T)


SCORED = [name for name, measure in metrics.MEASURES.items() if measure.extra != "peass"]
DIRECT = {
    "uSDR": lambda true, guess, mixture: metrics.usdr(true, guess),
    "SNR": lambda true, guess, mixture: metrics.snr(true, guess),
    "SI-SDR": lambda true, guess, mixture: metrics.si_sdr(true, guess),
    "SI-SDRi": lambda true, guess, mixture: (
        metrics.si_sdr(true, guess) - metrics.si_sdr(true, mixture)
    ),
    "uSDRi": lambda true, guess, mixture: metrics.usdr(true, guess) - metrics.usdr(true, mixture),
    "LSD": lambda true, guess, mixture: metrics.log_spectral_distance(true, guess),
    "logWMSE": lambda *signals: metrics.log_wmse(*signals, RATE),
    "PESQ-NB": lambda true, guess, mixture: metrics.pesq(true, guess, RATE, band="nb"),
    "PESQ-WB": lambda true, guess, mixture: metrics.pesq(true, guess, RATE),
    "COVL": lambda true, guess, mixture: metrics.composite(true, guess, RATE).covl,
    "STOI": lambda true, guess, mixture: metrics.stoi(true, guess, RATE),
    "ESTOI": lambda true, guess, mixture: metrics.stoi(true, guess, RATE, extended=True),
    "SSNR": lambda true, guess, mixture: metrics.ssnr(true, guess, RATE),
    "LLR": lambda true, guess, mixture: metrics.llr(true, guess, RATE),
    "WSS": lambda true, guess, mixture: metrics.wss(true, guess, RATE),
}


@pytest.mark.usefixtures("pesq_package")
def test_a_worse_estimate_is_worse_in_every_measure_s_own_direction(track, rng):
    sources, mixture = track
    noise = 0.01 * rng.standard_normal(sources.shape)
    scores = [
        metrics.score_track(
            SCORED, sources, sources + share * sources[::-1] + noise * share, mixture, RATE
        )
        for share in (0.1, 0.8)
    ]
    assert list(scores[0]) == SCORED
    for name in SCORED:
        better, worse = (found[name] for found in scores)
        if metrics.MEASURES[name].higher_is_better:
            assert (better > worse).all(), name
        else:
            assert (better < worse).all(), name
    estimates = sources + 0.8 * sources[::-1] + noise * 0.8
    for name, score in DIRECT.items():
        expected = [score(*pair, mixture) for pair in zip(sources, estimates, strict=True)]
        np.testing.assert_allclose(scores[1][name], expected, atol=1e-9, err_msg=name)


def test_only_what_is_asked_for_is_computed_and_in_that_order(track, monkeypatch):
    sources, mixture = track
    monkeypatch.setattr("kzoo.metrics.table.pesq", None)
    monkeypatch.setattr("kzoo.metrics.table.bss_eval", None)
    names = ["SI-SAR", "LSD", "SI-SDR", "LSD"]
    found = metrics.score_track(names, sources, sources + 0.1 * mixture, None, RATE)
    assert list(found) == ["SI-SAR", "LSD", "SI-SDR"]


def test_speech_in_stereo_at_another_rate_is_heard_as_one_channel_at_16_khz(track):
    sources, _ = track
    stereo = np.concatenate([sources, 0.5 * sources], axis=2)
    estimates = stereo + 0.3 * stereo[::-1]
    found = metrics.score_track(["SSNR"], stereo, estimates, None, 44100)
    pair = [soxr.resample(x[0].mean(axis=1), 44100, RATE) for x in (stereo, estimates)]
    assert found["SSNR"][0] == pytest.approx(metrics.ssnr(*pair, RATE))
    low = metrics.score_track(["COVL"], stereo, estimates, None, 8000)
    assert np.isnan(low["COVL"]).all()  # there is no wideband PESQ at 8 kHz


@pytest.mark.parametrize(
    ("names", "spoil", "message"),
    [
        (["SDR", "Quality"], lambda s, e, m: (s, e, m, RATE), "measures are SDR, .*got 'Quality'"),
        (["SI-SDRi", "LSD"], lambda s, e, m: (s, e, None, RATE), "SI-SDRi: needs the mixture"),
        (["LSD"], lambda s, e, m: (s, e[:, :9], m, RATE), r"one shape \[sources, samples, ch"),
        (["SNR"], lambda s, e, m: (s, e, m[:9], RATE), r"mixture must be .*got \(9, 1\)"),
        (["STOI"], lambda s, e, m: (s, e, m, 4000), "scored from 8000 Hz on; got 4000 Hz"),
    ],
)
def test_what_cannot_be_scored_is_named(track, names, spoil, message):
    sources, mixture = track
    with pytest.raises(ValueError, match=message):
        metrics.score_track(names, *spoil(sources, sources + 0.1 * mixture, mixture))


@pytest.mark.parametrize("measure", metrics.MEASURES.values(), ids=lambda measure: measure.name)
def test_every_measure_says_what_it_is(measure):
    assert not measure.definition.endswith(".")
    assert 10 < len(measure.definition) < 200
    assert measure.extra in (None, "speech", "peass")
