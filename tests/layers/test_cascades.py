"""Cascades of affine map, non-linearity and pooling: at first exactly the feature, then learned."""

import keras
import librosa
import numpy as np
import pytest
import tensorflow as tf
from made_artefacts import proof_of
from sklearn.decomposition import NMF, PCA

from kzoo.deploy.formats import tflite
from kzoo.deploy.interpreter import open_litert
from kzoo.dsp.chroma import chroma_filters
from kzoo.dsp.mel import log_mel
from kzoo.layers import cascades

RATE, N_FFT, HOP = 8000, 256, 64


@pytest.fixture
def sound(rng):
    """Two waveforms with tones in noise, `[2, samples]`."""
    seconds = np.arange(2000) / RATE
    tones = np.sin(2 * np.pi * np.array([[440.0], [1318.5]]) * seconds)
    return (0.3 * tones + 0.02 * rng.standard_normal((2, 2000))).astype(np.float32)


@pytest.fixture
def spectra(rng):
    """Spectra that three templates and a little more make up, `[2, 60, 16]`."""
    heard = np.maximum(rng.random((2, 60, 3)) - 0.3, 0)
    parts = heard @ rng.random((3, 16)) ** 4
    return (parts + 0.01 * rng.random((2, 60, 16))).astype(np.float32)


def close(found, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("power", [1, 2])
def test_a_dft_is_the_magnitude_of_librosa(sound, power):
    expected = np.abs(librosa.stft(sound, n_fft=N_FFT, hop_length=HOP)) ** power
    found = cascades.dft(n_fft=N_FFT, hop_length=HOP, power=power)(sound[..., None])
    close(found, expected.swapaxes(1, 2))


def test_an_mfcc_is_that_of_librosa_and_of_log_mel(sound):
    mels = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=N_FFT, hop_length=HOP, n_mels=30)
    expected = librosa.feature.mfcc(S=librosa.power_to_db(mels, top_db=None), n_mfcc=13)
    cascade = cascades.mfcc(
        sample_rate=RATE, n_fft=N_FFT, hop_length=HOP, coefficients=13, bands=30
    )
    found = cascade(sound[..., None])
    close(found, expected.swapaxes(1, 2))
    levels = keras.Sequential(cascade.layers[:-1])(sound[..., None])
    ours = log_mel(sound, sample_rate=RATE, n_fft=N_FFT, hop_length=HOP, bands=30)
    close(levels, ours)


def test_a_chroma_is_that_of_librosa(sound):
    theirs = librosa.filters.chroma(sr=RATE, n_fft=N_FFT, dtype=np.float64)
    np.testing.assert_allclose(chroma_filters(RATE, N_FFT), theirs.T, atol=1e-12)
    expected = librosa.feature.chroma_stft(
        y=sound, sr=RATE, n_fft=N_FFT, hop_length=HOP, tuning=0.0, norm=None
    )
    found = cascades.chroma(sample_rate=RATE, n_fft=N_FFT, hop_length=HOP)(sound[..., None])
    close(found, expected.swapaxes(1, 2))
    assert list(np.argmax(np.mean(found, axis=1), axis=-1)) == [9, 4]  # A and E


@pytest.mark.parametrize("whiten", [False, True])
def test_a_pca_is_that_of_scikit_learn(spectra, whiten):
    rows = spectra.reshape(-1, 16).astype(np.float64)
    expected = PCA(4, whiten=whiten, svd_solver="full").fit_transform(rows)
    found = np.asarray(cascades.pca(spectra, 4, whiten=whiten)(spectra)).reshape(-1, 4)
    close(found * np.sign(np.sum(found * expected, axis=0)), expected)


def test_the_activations_of_an_nmf_are_those_of_scikit_learn(spectra):
    rows = spectra.reshape(-1, 16).astype(np.float64)
    model = NMF(3, init="nndsvda").fit(rows)
    expected = model.set_params(max_iter=20000, tol=1e-12).transform(rows)
    assert np.mean(expected < 1e-6) > 0.01  # some are at their bound
    found = cascades.nmf(model.components_, iterations=300)(spectra)
    close(np.reshape(found, (-1, 3)), expected)


def cascade(name, spectra):
    """(A small one, what it hears)."""
    if name in ("pca", "nmf"):
        templates = np.abs(np.random.default_rng(1).normal(size=(3, 16)))
        chain = (
            cascades.pca(spectra, 3) if name == "pca" else cascades.nmf(templates, iterations=20)
        )
        return chain, spectra
    sound = np.random.default_rng(2).normal(0, 0.1, (2, 400, 1)).astype(np.float32)
    options = {
        "dft": {},
        "mfcc": {"sample_rate": RATE, "coefficients": 5, "bands": 10},
        "chroma": {"sample_rate": RATE},
    }
    return getattr(cascades, name)(n_fft=64, hop_length=32, **options[name]), sound


NAMES = ("dft", "mfcc", "chroma", "pca", "nmf")


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_elsewhere_changes_nothing(name, spectra):
    chain, sound = cascade(name, spectra)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        mixed, _ = cascade(name, spectra)
    finally:
        keras.config.set_dtype_policy(policy)
    assert mixed.dtype_policy.name == "mixed_float16"
    np.testing.assert_array_equal(mixed(sound), chain(sound))


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_training_moves_all_weights_and_lowers_the_loss(name, spectra, rng):
    chain, sound = cascade(name, spectra)
    weights = chain.trainable_weights
    assert len(weights) == len(chain.weights) > 0
    target = np.asarray(chain(sound))
    target = target + np.std(target) * rng.random(target.shape)

    def loss():
        return tf.reduce_mean(tf.square(chain(sound) - target))

    with tf.GradientTape() as tape:
        first = loss()
    gradients = [np.asarray(gradient) for gradient in tape.gradient(first, weights)]
    assert all(np.any(gradient) for gradient in gradients)
    # As far down the slope as would take off 1 % of the loss if the slope went on.
    step = 0.01 * float(first) / sum(np.sum(gradient**2) for gradient in gradients)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.assign_sub(step * gradient)
    assert 0.98 < loss() / first < 0.995


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's Variable and NumPy 2
def test_a_file_keeps_what_was_learned_and_tflite_runs_it(spectra, tmp_path):
    chain, sound = cascade("mfcc", spectra)
    chain.layers[-1].bias.assign([1.0, 2, 3, 4, 5])
    waveform = keras.Input((400, 1), batch_size=1, name="waveform")
    codes = cascades.nmf(np.eye(5), iterations=3)(chain(waveform))
    model = keras.Model(waveform, codes[:, None])
    model.save(tmp_path / "chain.keras")
    loaded = keras.models.load_model(tmp_path / "chain.keras")
    np.testing.assert_array_equal(loaded(sound[:1]), model(sound[:1]))
    content = tflite.converted(model, proof_of(model))
    answer = open_litert(content, threads=1).get_signature_runner()(waveform=sound[0])["a"]
    np.testing.assert_allclose(answer, model(sound[:1])[0, 0], rtol=1e-4, atol=1e-3)


def test_a_stage_pools_as_it_says(rng):
    x = rng.normal(size=(1, 7, 2)).astype(np.float32)
    for nonlinearity, pooling, expected in (
        ("relu", "max", lambda y: np.maximum(y, 0).max(axis=-1)),
        ("abs", "sum", lambda y: np.abs(y).sum(axis=-1)),
        ("none", "l2", lambda y: np.linalg.norm(y, axis=-1)),
    ):
        stage = cascades.Stage(6, 3, 2, nonlinearity=nonlinearity, pooling=pooling, pool=3)
        found = stage(x)
        kernel, bias = stage.get_weights()
        steps = np.stack([x[0, k : k + 3].ravel() for k in (0, 2, 4)])
        affine = steps @ kernel.reshape(6, 6) + bias
        np.testing.assert_allclose(found[0], expected(affine.reshape(3, 2, 3)), atol=1e-5)
    alone = cascades.Stage(2, pooling="l2")
    np.testing.assert_allclose(alone(x), np.abs(x @ alone.kernel[0]), atol=1e-6)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: cascades.Stage(4, nonlinearity="log"), "none, square, abs, relu, db; got 'log'"),
    (lambda: cascades.Stage(4, pooling="mean"), "sum, l2, max; got 'mean'"),
    (lambda: cascades.Stage(4, pool=3), "units must be a multiple of pool; got 4 and 3"),
    (lambda: cascades.dft(n_fft=8, hop_length=4, power=3), "power must be 1 or 2; got 3"),
    (lambda: cascades.mfcc(sample_rate=8000, n_fft=64, hop_length=32, coefficients=9, bands=8),
     "coefficients must be 1 to bands=8; got 9"),
    (lambda: cascades.pca(np.eye(4), 5), "components must be 1 to 4, the bands; got 5"),
    (lambda: cascades.nmf(-np.eye(2)), r"0 or more, not all 0; got \(2, 2\) with 2 below 0"),
    (lambda: cascades.nmf(np.zeros((2, 3))), r"not all 0; got \(2, 3\) with 0 below 0"),
    (lambda: cascades.nmf([]), r"got \(0,\) with 0 below 0"),
])  # fmt: skip
def test_what_is_no_cascade_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
