"""Every loss against a value from a formula by hand and against its NumPy float64 twin."""

import keras
import librosa
import numpy as np
import pytest
import scipy.signal
from keras import ops

from kzoo import losses

# A twin in float64, written separately: target and estimate [batch, sources, ...] to [batch].
# Other shapes are in test_clustering_losses.py and test_next_sample.py.
OF_OTHER_SHAPES = (
    "chimera", "deep_clustering", "code_cross_entropy", "gaussian_mixture", "logistic_mixture",
)  # fmt: skip
SHAPES = {"magnitude": (3, 2, 6, 5, 2), "waveform": (3, 2, 400, 2)}


def pair(kind):
    target, estimate = np.random.default_rng(7).standard_normal((2, *SHAPES[kind]))
    if kind == "magnitude":
        target, estimate = np.abs(target), np.abs(estimate)
    return target, target + 0.5 * estimate


def numpy_l1(t, e):
    return np.array([np.abs(a - b).sum() / a.size for a, b in zip(t, e, strict=True)])


def numpy_l2(t, e):
    return np.array([((a - b) ** 2).sum() / a.size for a, b in zip(t, e, strict=True)])


def numpy_compressed_l2(t, e):
    return numpy_l2(np.exp(0.3 * np.log(t + 1e-3)), np.exp(0.3 * np.log(e + 1e-3)))


def numpy_discriminative(t, e):
    return numpy_l2(t, e) - 0.05 * numpy_l2(t[:, ::-1], e)


def numpy_binary_cross_entropy(t, e):
    """Of masks with tops cut off, as estimates above 1 are taken for 1 - 1e-7."""
    p = np.minimum(np.float32(e), np.float32(1 - 1e-7)).astype(float)
    return -(t * np.log(p) + (1 - t) * np.log1p(-p)).mean(axis=(1, 2, 3, 4))


def numpy_categorical_cross_entropy(t, e):
    return -(t * np.log(e)).sum(axis=-1).mean(axis=(1, 2, 3))


def numpy_weighted_cross_entropy(t, e):
    """Of magnitudes, none of which is 0 to the last bit."""
    p = np.minimum(np.float32(e), np.float32(1 - 1e-7)).astype(float)
    return -np.where(t > 0, t * np.log(p), np.log1p(-p)).mean(axis=(1, 2, 3, 4))


def numpy_l1_mask(t, e):
    return sum(numpy_l1(t[:, i], e[:, i]) for i in range(t.shape[1]))


def numpy_weighted_l1_mask(t, e):
    total = np.zeros(len(t))
    for i in range(t.shape[1]):
        weight = t[:, i].reshape(len(t), -1).mean(axis=1)
        total += weight * numpy_l1(t[:, i], e[:, i])
    return total


def numpy_si_sdr(t, e):
    out = np.zeros(t.shape[:2])
    for index in np.ndindex(*out.shape):
        s, x = t[index].ravel(), e[index].ravel()
        image = (x @ s) / (s @ s) * s
        out[index] = -10 * np.log10((image @ image) / ((x - image) @ (x - image)))
    return out.mean(axis=1)


def numpy_snr(t, e):
    out = np.zeros(t.shape[:2])
    for index in np.ndindex(*out.shape):
        s, n = t[index].ravel(), (e[index] - t[index]).ravel()
        out[index] = -10 * np.log10((s @ s) / (n @ n))
    return out.mean(axis=1)


def numpy_magnitudes(x, n_fft):
    """Tensorflow's framing with pad_end: a frame begins wherever a hop begins."""
    hop = n_fft // 4
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.concatenate([x, np.zeros(n_fft)])
    frames = [padded[m : m + n_fft] for m in range(0, len(x), hop)]
    return np.abs(np.fft.rfft(np.array(frames) * window))


def numpy_multi_resolution_stft(t, e, log=True):
    out = np.zeros(len(t))
    for b in range(len(t)):
        for n_fft in (2048, 1024, 512, 256, 128, 64):
            for i, c in np.ndindex(t.shape[1], t.shape[3]):
                a, x = (
                    numpy_magnitudes(t[b, i, :, c], n_fft),
                    numpy_magnitudes(e[b, i, :, c], n_fft),
                )
                difference = np.abs(a - x).mean()
                if log:
                    difference += np.abs(np.log(a) - np.log(x)).mean()
                out[b] += difference / (t.shape[1] * t.shape[3])
    return out


def numpy_loudness_l1(t, e):
    """Weights of curve A by librosa."""
    with np.errstate(divide="ignore"):
        gain = 10 ** (librosa.A_weighting(np.arange(257) * 16000 / 512, min_db=-80.0) / 10)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)

    def level(x):
        padded = np.pad(x, 256)
        frames = np.lib.stride_tricks.sliding_window_view(padded, 512)[::64]
        power = (np.abs(np.fft.rfft(frames * window)) ** 2 * gain).mean(axis=-1)
        return np.maximum(10 * np.log10(power), -80.0)

    channels = list(np.ndindex(t.shape[1], t.shape[3]))
    return [
        np.mean([np.abs(level(a[i, :, c]) - level(b[i, :, c])).mean() for i, c in channels])
        for a, b in zip(t, e, strict=True)
    ]


def numpy_compressed_stft(t, e):
    window, hop_length, floor = scipy.signal.get_window("hann", 512), 128, 1e-3

    def compressed(signal):
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(signal, 256), 512)[::hop_length]
        spectra = np.fft.rfft(frames * window)
        magnitude = np.sqrt(np.abs(spectra) ** 2 + floor**2)
        return magnitude**0.3, spectra * magnitude**-0.7

    def of_one(t, e):
        (heard, wanted), (loudness, spectra) = compressed(t), compressed(e)
        complex_part = np.mean(np.abs(spectra - wanted) ** 2)
        return 0.7 * np.mean((loudness - heard) ** 2) + 0.3 * complex_part

    places = list(np.ndindex(t.shape[1], t.shape[3]))
    pairs = zip(t, e, strict=True)
    return [np.mean([of_one(a[i, :, c], b[i, :, c]) for i, c in places]) for a, b in pairs]


def numpy_spectrum_rmse(t, e):
    def of_one(difference):  # [samples, channels]
        padded = np.pad(difference, ((32, 32), (0, 0)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, 64, axis=0)[::16]
        return np.sqrt(np.mean(np.abs(np.fft.rfft(frames)) ** 2) / 2 / 64)

    return [np.mean([of_one(source) for source in sources]) for sources in e - t]


TWINS = [
    ("l1", "magnitude", numpy_l1),
    ("l1", "waveform", numpy_l1),
    ("l2", "magnitude", numpy_l2),
    ("l2", "waveform", numpy_l2),
    ("compressed_l2", "magnitude", numpy_compressed_l2),
    ("discriminative", "magnitude", numpy_discriminative),
    ("binary_cross_entropy", "magnitude", numpy_binary_cross_entropy),
    ("categorical_cross_entropy", "magnitude", numpy_categorical_cross_entropy),
    ("weighted_cross_entropy", "magnitude", numpy_weighted_cross_entropy),
    ("l1_mask", "magnitude", numpy_l1_mask),
    ("weighted_l1_mask", "magnitude", numpy_weighted_l1_mask),
    ("si_sdr", "waveform", numpy_si_sdr),
    ("snr", "waveform", numpy_snr),
    ("multi_resolution_stft", "waveform", numpy_multi_resolution_stft),
    ("compressed_stft", "waveform", numpy_compressed_stft),
    ("spectrum_rmse", "waveform", numpy_spectrum_rmse),
    ("loudness_l1", "waveform", numpy_loudness_l1),
]


OPTIONS = {
    "loudness_l1": {"sample_rate": 16000},
    "spectrum_rmse": {"n_fft": 64, "hop_length": 16},
}


@pytest.mark.parametrize(("name", "kind", "twin"), TWINS, ids=lambda value: str(value)[:24])
def test_a_loss_equals_its_float64_twin_example_by_example(name, kind, twin):
    target, estimate = pair(kind)
    options = OPTIONS.get(name, {})
    found = losses.get(name, **options)(target.astype("float32"), estimate.astype("float32"))
    assert found.shape == (3,)
    np.testing.assert_allclose(found, twin(target, estimate), rtol=2e-5)


def test_the_mean_differences_are_those_found_by_hand():
    target = np.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [1.0, 1.0]]])  # [batch, sources, n]
    estimate = np.array([[[1.0, 4.0], [2.0, 4.0]], [[0.0, 1.0], [1.0, 1.0]]])
    np.testing.assert_allclose(losses.l1(target, estimate), [0.75, 0.25])
    np.testing.assert_allclose(losses.l2(target, estimate), [1.25, 0.25])
    np.testing.assert_allclose(losses.l1_mask(target, estimate), [1.5, 0.5])
    # Differences of the roots: 0, 2 - sqrt(2), sqrt(2) - sqrt(3), 0; and of one of them 1.
    roots = losses.compressed_l2(target, estimate, power=0.5, floor=0.0)
    np.testing.assert_allclose(roots, [((2 - 2**0.5) ** 2 + (3**0.5 - 2**0.5) ** 2) / 4, 0.25])
    # Weights 1.5 and 3.5, then 0 (a silent source) and 1.
    np.testing.assert_allclose(losses.weighted_l1_mask(target, estimate), [1.5 + 1.75, 0.0])


def test_the_distances_to_other_sources_are_those_found_by_hand():
    target = np.array([[[1.0], [2.0], [4.0]]])  # [batch, sources, n]
    estimate = np.array([[[1.0], [2.0], [3.0]]])
    # 1 / 3 from its own, and half of what is between 1, 2, 3 and the two others of 1, 2, 4.
    others = (1 + 9 + 1 + 4 + 4 + 1) / 3 / 2
    found = losses.discriminative(target, estimate, gamma=0.5)
    np.testing.assert_allclose(found, [1 / 3 - 0.5 * others])
    with pytest.raises(ValueError, match="two sources or more"):
        losses.discriminative(target[:, :1], estimate[:, :1])


def test_cross_entropy_is_that_found_by_hand():
    found = losses.binary_cross_entropy(np.array([[1.0, 0.0]]), np.array([[0.25, 0.5]]))
    np.testing.assert_allclose(found, [(np.log(4) + np.log(2)) / 2], rtol=1e-6)
    found = losses.categorical_cross_entropy(np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]]))
    np.testing.assert_allclose(found, [np.log(4)], rtol=1e-6)
    targets, estimates = np.array([[1.0, 0.25, 0.0]]), np.array([[0.5, 0.25, 0.75]])
    found = losses.weighted_cross_entropy(targets, estimates)
    expected = (np.log(2) + np.log(4) / 4 + np.log(4)) / 3
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def test_ratios_are_those_found_by_hand():
    target = np.array([2.0, 0.0, 0.0, 0.0]).reshape(1, 1, 4, 1)
    estimate = np.array([1.0, 0.1, 0.0, 0.0]).reshape(1, 1, 4, 1)
    np.testing.assert_allclose(losses.si_sdr(target, estimate), [-20.0], rtol=1e-6)
    np.testing.assert_allclose(losses.snr(target, estimate), [-10 * np.log10(4 / 1.01)], rtol=1e-6)


def test_si_sdr_and_snr_equal_asteroid(vectors):
    recorded = vectors("sisdr_pit")
    sources, estimates = recorded["sources"], recorded["estimates"]
    for estimate, source in np.ndindex(3, 3):
        pair = sources[:, source, :, None], estimates[:, estimate, :, None]
        found = losses.si_sdr(*pair, zero_mean=True)
        np.testing.assert_allclose(
            found, recorded["neg_sisdr/pairwise"][:, estimate, source], atol=1e-4
        )
        centred = [x - x.mean(axis=1, keepdims=True) for x in pair]
        np.testing.assert_allclose(
            losses.snr(*centred), recorded["neg_snr/pairwise"][:, estimate, source], atol=1e-4
        )


def test_multi_resolution_stft_equals_ddsp(vectors):
    recorded = vectors("ddsp_spectral")
    target, audio = recorded["target"][..., None], recorded["audio"][..., None]
    plain = losses.multi_resolution_stft(target, audio, log_magnitude_weight=0.0)
    np.testing.assert_allclose(plain, [recorded["loss_mag"]], rtol=1e-6)
    # The target is a pure sine: between its partials lies the FFT's rounding noise, whose
    # logarithm is no two implementations' the same.
    both = losses.multi_resolution_stft(target, audio)
    np.testing.assert_allclose(both, [recorded["loss_mag_logmag"]], rtol=1e-3)


def test_spectral_convergence_is_the_share_of_the_norm_that_is_missing(rng):
    target = rng.standard_normal((2, 1, 300, 1)).astype("float32")
    loss = losses.get(
        "multi_resolution_stft", fft_sizes=[64, 32], magnitude_weight=0.0,
        log_magnitude_weight=0.0, convergence_weight=1.0,
    )  # fmt: skip
    np.testing.assert_allclose(loss(target, 0.75 * target), [0.5, 0.5], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_si_sdr_does_not_hear_the_level_of_the_estimate_nor_of_the_target(scale):
    target, estimate = pair("waveform")
    at_one = losses.si_sdr(target, estimate)
    np.testing.assert_allclose(losses.si_sdr(target, scale * estimate), at_one, rtol=1e-4)
    np.testing.assert_allclose(losses.si_sdr(scale * target, estimate), at_one, rtol=1e-4)


def test_si_sdr_is_bounded_at_80_db():
    target, _ = pair("waveform")
    np.testing.assert_allclose(losses.si_sdr(target, 3 * target), [-80] * 3, atol=0.1)
    np.testing.assert_allclose(losses.si_sdr(target, 0 * target), [80] * 3, atol=0.1)


def test_si_sdr_hears_a_lost_stereo_image(rng):
    left = rng.standard_normal((1, 1, 500, 1))
    target = np.concatenate([left, 0 * left], axis=-1)
    mono = np.concatenate([left, left], axis=-1)
    np.testing.assert_allclose(losses.si_sdr(target, mono), [0.0], atol=1e-5)


def test_a_waveform_without_a_sources_axis_is_one_source():
    target, estimate = pair("waveform")
    for name in ("si_sdr", "snr", "multi_resolution_stft"):
        loss = losses.get(name)
        alone = loss(target[:, 0], estimate[:, 0])
        np.testing.assert_allclose(alone, loss(target[:, :1], estimate[:, :1]), rtol=1e-6)


@pytest.mark.parametrize("name", [n for n in losses.list_losses() if n not in OF_OTHER_SHAPES])
def test_half_precision_input_gives_float32_without_overflow(name):
    target = np.full((1, 2, 4096, 2), 60.0, "float16")
    estimate = np.where(np.arange(4096)[:, None] % 2, target, 0).astype("float16")
    options = OPTIONS.get(name, {})
    found = losses.get(name, **options)(target, estimate)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    assert np.isfinite(ops.convert_to_numpy(found)).all()
