"""Measures of speech: against their packages, against plain loops, and where they are undefined."""

import math
import sys

import numpy as np
import pytest
import scipy.linalg
from pystoi import stoi as package_stoi

from kzoo import metrics
from kzoo.metrics import opinion, segmental
from kzoo.metrics.segmental import _BANDWIDTHS_HZ, _CENTRES_HZ

RATE = 16000


@pytest.fixture
def speech(rng):
    """1.5 s of three voiced syllables with a moving formant, and the noise between them."""
    time = np.arange(int(1.5 * RATE)) / RATE
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 1.5 * time)) / RATE
    formant = 700 + 900 * np.sin(np.pi * time) ** 2
    voice = sum(
        np.sin(k * pitch) * np.exp(-(((k * 120 - formant) / 500) ** 2)) + np.sin(k * pitch) / k**2
        for k in range(1, 30)
    )
    syllables = np.clip(3 * np.sin(2 * np.pi * 2 * time), 0, 1)
    return 0.1 * voice * syllables + 1e-4 * rng.standard_normal(len(time))


@pytest.fixture
def noise(rng, speech):
    return rng.standard_normal(len(speech)) * speech.std()


def at_snr(speech, noise, snr_db):
    return speech + noise * 10 ** (-snr_db / 20)


def frames(signal, rate=RATE):
    length, hop = round(0.03 * rate), round(0.03 * rate) // 4
    k = np.arange(1, length + 1)
    window = 0.5 * (1 - np.cos(2 * np.pi * k / (length + 1)))
    signal = signal + np.finfo(float).eps
    count = math.floor(len(signal) / hop - length / hop)
    return [signal[m * hop : m * hop + length] * window for m in range(count)]


def best(values):
    return np.mean(sorted(values)[: round(0.95 * len(values))])


def slope_distance(true, guess, rate=RATE):
    """Loizou's loops: peaks searched band by band."""
    n_fft = 1024 if rate == 16000 else 512
    filters = []
    for centre, width in zip(_CENTRES_HZ, _BANDWIDTHS_HZ, strict=True):
        middle, wide = (hz / (rate / 2) * n_fft / 2 for hz in (centre, width))
        shape = -11 * ((np.arange(n_fft // 2) - math.floor(middle)) / wide) ** 2
        row = np.exp(shape + np.log(70) - np.log(width))
        filters.append(np.where(row > np.exp(-30 / (2 * 2.303)), row, 0))
    weights, slopes = [], []
    for frame in (true, guess):
        power = np.abs(np.fft.fft(frame, n_fft))[: n_fft // 2] ** 2
        level = [10 * np.log10(max(1e-10, np.dot(row, power))) for row in filters]
        slope = [level[i + 1] - level[i] for i in range(24)]
        weight = []
        for i in range(24):
            n = i + 1  # bands are counted from 1, as in the original
            if slope[i] > 0:
                while n < 25 and slope[n - 1] > 0:
                    n += 1
                peak = level[n - 2]
            else:
                while n > 0 and slope[n - 1] <= 0:
                    n -= 1
                peak = level[n]
            weight.append(20 / (20 + max(level) - level[i]) / (1 + peak - level[i]))
        weights.append(np.array(weight))
        slopes.append(np.array(slope))
    weight = (weights[0] + weights[1]) / 2
    return np.sum(weight * (slopes[0] - slopes[1]) ** 2) / np.sum(weight)


def likelihood_ratio(true, guess, order):
    def lags(frame):
        return np.array([np.dot(frame[: len(frame) - k], frame[k:]) for k in range(order + 1)])

    def predictor(r):
        return np.concatenate([[1], -scipy.linalg.solve_toeplitz(r[:-1], r[1:])])

    matrix = scipy.linalg.toeplitz(lags(true))
    a, b = predictor(lags(guess)), predictor(lags(true))
    return np.log(a @ matrix @ a / (b @ matrix @ b))


def test_stoi_and_estoi_are_the_reference_vectors(vectors):
    v = vectors("stoi")
    found = [metrics.stoi(v["a"], v["b"], 10000, extended=extended) for extended in (False, True)]
    np.testing.assert_allclose(found, [v["stoi"], v["estoi"]], atol=1e-9)


@pytest.mark.usefixtures("pesq_package")
@pytest.mark.parametrize("band", ["wb", "nb"])
def test_pesq_of_noisy_speech_is_the_reference_vector(vectors, band):
    v = vectors("pesq")
    clean, noisy = v["clean_int16"] / 32768, v["noisy_int16"] / 32768
    assert metrics.pesq(clean, noisy, RATE, band=band) == pytest.approx(
        float(v[f"pesq_{band}_noisy_64"]), abs=1e-5
    )


@pytest.mark.usefixtures("pesq_package")
def test_adapters_give_what_the_packages_give(speech, noise):
    from pesq import pesq

    noisy = at_snr(speech, noise, 10)
    for band in ("wb", "nb"):
        expected = pesq(RATE, speech, noisy, band)
        assert metrics.pesq(speech[:, None], noisy[:, None], RATE, band=band) == expected
    assert metrics.pesq(speech[::2], noisy[::2], 8000, band="nb") == pesq(
        8000, speech[::2], noisy[::2], "nb"
    )
    assert metrics.stoi(speech, noisy, RATE) == package_stoi(speech, noisy, RATE)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_segmental_measures_are_those_of_plain_loops(speech, noise, rate):
    true, guess = speech, 0.8 * at_snr(speech, noise, 5)
    pairs = list(zip(frames(true, rate), frames(guess, rate), strict=True))
    expected = [slope_distance(*pair, rate) for pair in pairs]
    assert metrics.wss(true, guess, rate) == pytest.approx(best(expected), rel=1e-9)
    order = 16 if rate == 16000 else 10
    expected = [likelihood_ratio(*pair, order) for pair in pairs]
    assert metrics.llr(true, guess, rate) == pytest.approx(best(expected), rel=1e-6)
    ratios = [10 * np.log10(np.sum(t**2) / np.sum((t - g) ** 2)) for t, g in pairs]
    assert metrics.ssnr(true, guess, rate) == pytest.approx(np.clip(ratios, -10, 35).mean())


def test_frames_taken_a_few_at_a_time_give_the_same(speech, noise, monkeypatch):
    measures = (metrics.ssnr, metrics.llr, metrics.wss)
    whole = [measure(speech, speech + noise, RATE) for measure in measures]
    monkeypatch.setattr(segmental, "_FRAMES", 7)
    parts = [measure(speech, speech + noise, RATE) for measure in measures]
    np.testing.assert_allclose(parts, whole, rtol=1e-9)


@pytest.mark.usefixtures("pesq_package")
def test_composite_is_the_regression_on_its_parts(speech, noise):
    noisy = at_snr(speech, noise, 10)
    found = metrics.composite(speech, noisy, RATE)
    parts = [f(speech, noisy, RATE) for f in (metrics.pesq, metrics.llr, metrics.wss)]
    snr = metrics.ssnr(speech, noisy, RATE)
    columns = np.array([1, *parts, snr])
    expected = [
        columns @ [3.093, 0.603, -1.029, -0.009, 0],
        columns @ [1.634, 0.478, 0, -0.007, 0.063],
        columns @ [1.594, 0.805, -0.512, -0.007, 0],
    ]
    np.testing.assert_allclose(found, np.clip(expected, 1, 5), atol=1e-12)
    assert found == metrics.composite(speech, noisy, RATE, pesq_wb=parts[0])


@pytest.mark.usefixtures("pesq_package")
def test_an_exact_estimate_has_the_best_of_everything(speech):
    assert metrics.composite(speech, speech, RATE) == (5, 5, 5)
    assert metrics.ssnr(speech, speech, RATE) == pytest.approx(35)
    assert metrics.llr(speech, speech, RATE) == metrics.wss(speech, speech, RATE) == 0
    assert metrics.pesq(speech, speech, RATE) == pytest.approx(4.6439, abs=1e-4)
    assert metrics.pesq(speech, speech, RATE, band="nb") == pytest.approx(4.5486, abs=1e-4)
    assert metrics.stoi(speech, speech, RATE) == pytest.approx(1)


@pytest.mark.usefixtures("pesq_package")
def test_less_noise_is_better_by_every_measure(speech, noise):
    levels = [at_snr(speech, noise, snr_db) for snr_db in (20, 30, 40)]
    for measure, sign in [
        (metrics.pesq, 1), (metrics.stoi, 1), (metrics.ssnr, 1), (metrics.llr, -1),
        (metrics.wss, -1), (lambda *given: np.array(metrics.composite(*given)), 1),
    ]:  # fmt: skip
        steps = np.diff([measure(speech, noisy, RATE) for noisy in levels], axis=0)
        assert (sign * steps > 0).all(), measure


@pytest.mark.usefixtures("pesq_package")
def test_silence_is_undefined_or_worst_but_never_an_error(speech, noise):
    silence = np.zeros_like(speech)
    assert math.isnan(metrics.pesq(speech, silence, RATE))
    assert math.isnan(metrics.pesq(silence, speech, RATE))
    assert math.isnan(metrics.composite(speech, silence, RATE).covl)
    assert math.isnan(metrics.stoi(silence, speech, RATE))
    assert math.isnan(metrics.llr(silence, speech, RATE))
    assert metrics.stoi(speech, silence, RATE, extended=True) == 0
    assert metrics.ssnr(silence, noise, RATE) == -10
    white = metrics.llr(speech, noise, RATE)
    assert metrics.llr(speech, silence, RATE) == pytest.approx(white, rel=0.05)
    gap = np.where(np.arange(len(speech)) < 8000, 0, speech)
    assert metrics.llr(gap, gap + 0.01 * noise, RATE) == pytest.approx(
        metrics.llr(gap[8000:], (gap + 0.01 * noise)[8000:], RATE), rel=0.2
    )
    for measure in (metrics.pesq, metrics.stoi, metrics.ssnr, metrics.llr, metrics.wss):
        assert math.isnan(measure(speech[:500], speech[:500], RATE))


@pytest.mark.usefixtures("pesq_package")
def test_pesq_of_a_long_clip_is_the_mean_of_its_pieces(speech, noise, monkeypatch):
    noisy = at_snr(speech, noise, 10)
    half = len(speech) // 2
    pieces = [metrics.pesq(speech[at], noisy[at], RATE) for at in (slice(half), slice(half, None))]
    monkeypatch.setattr(opinion, "_PESQ_SECONDS", 1.0)
    assert metrics.pesq(speech, noisy, RATE) == pytest.approx(np.mean(pieces))


def test_a_missing_package_is_one_line_that_says_how_to_get_it(speech, monkeypatch):
    for package, call in [
        ("pesq", lambda: metrics.pesq(speech, speech, RATE)),
        ("pystoi", lambda: metrics.stoi(speech, speech, RATE)),
        ("onnxruntime", lambda: metrics.DNSMOS("sig_bak_ovr.onnx")),
    ]:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=r"pip install 'kzoo\[speech\]'"):
            call()


@pytest.mark.usefixtures("pesq_package")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: metrics.pesq(s, s, 8000), "16000 Hz; got 8000 Hz"),
        (lambda s: metrics.pesq(s, s, 16000, band="swb"), "got 'swb'"),
        (lambda s: metrics.composite(s, s, 8000), "got 8000 Hz"),
        (lambda s: metrics.wss(s, s, 4000), "got 4000 Hz"),
        (lambda s: metrics.ssnr(s, s[1:], 16000), "equally long"),
        (lambda s: metrics.llr(s, np.stack([s, s], axis=1), 16000), "one channel"),
        (lambda s: metrics.stoi(s, s * np.nan, 16000), "NaN"),
        (lambda s: metrics.DNSMOS("nowhere.onnx"), "no such file"),
    ],
)
def test_mistakes_are_named(speech, call, message):
    with pytest.raises(ValueError, match=message):
        call(speech)


def test_dnsmos_repeats_short_clips_and_calibrates_what_the_network_says(shared, speech):
    import onnxruntime

    path = shared / "data" / "weights" / "dnsmos" / "sig_bak_ovr.onnx"
    if not path.is_file():
        pytest.skip("the network of DNSMOS is not on this machine")
    dnsmos = metrics.DNSMOS(path)
    clip = np.resize(speech, 5 * RATE)
    found = dnsmos(clip, RATE)
    filled = np.tile(clip, 2)[:144160].astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    sig, _, overall = session.run(None, {"input_1": filled[None]})[0][0]
    assert found.sig == pytest.approx(-0.08397278 * sig**2 + 1.22083953 * sig + 0.0052439, abs=1e-4)
    raw = -0.06766283 * overall**2 + 1.11546468 * overall + 0.04602535
    assert found.ovrl == pytest.approx(raw, abs=1e-4)
    with pytest.raises(ValueError, match="got 8000 Hz"):
        dnsmos(speech, 8000)


def test_dnsmos_hears_a_segment_a_second(monkeypatch):
    heard = []

    class Network:
        def get_inputs(self):
            return [type("Input", (), {"name": "waveform"})]

        def run(self, _, feed):
            heard.append(int(feed["waveform"][0, 0]))
            return [np.full((1, 3), 3.0 + heard[-1] / 10)]

    dnsmos = object.__new__(metrics.DNSMOS)
    dnsmos._session, dnsmos._samples = Network(), 144160
    dnsmos(np.repeat(np.arange(12), RATE), RATE)
    assert heard == [0, 1, 2]
    heard.clear()
    dnsmos(np.repeat(np.arange(18), RATE), RATE)
    assert heard == [0, 1, 2, 3, 4, 5, 6]  # the published program loses 7 and 8 to rounding
    alone = [dnsmos(np.full(10 * RATE, value), RATE).sig for value in range(4)]
    heard.clear()
    repeated = dnsmos(np.repeat(np.arange(4), RATE), RATE).sig
    assert heard == [0, 1, 2, 3]  # and three of them again, as the clip is there four times
    assert repeated == pytest.approx(np.mean([*alone, *alone[:3]]))
