"""The multichannel Wiener filter against complex matrices in NumPy, which know no closed form."""

import keras
import numpy as np
import pytest

from kzoo.dsp import wiener

EPS = np.finfo(np.float32).eps


@pytest.fixture(params=[1, 2], ids=["mono", "stereo"])
def spectra(request, rng):
    """First estimates `[batch, sources, frames, bins, channels]` and their mixture, complex."""
    shape = (2, 3, 11, 5, request.param)
    first = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    first *= rng.uniform(0.5, 2, (2, 3, 1, 5, request.param))  # each source has its place
    first[..., -1] += 0.5j * first[..., 0]
    first = first.astype(np.complex64)
    return first, first.sum(axis=1)


def split(spectrum):
    return spectrum.real.astype(np.float32), spectrum.imag.astype(np.float32)


def reference(first, mixture):
    """v_j R_j (sum_k v_k R_k + sqrt(eps) I)^-1 x, with v and R of the first estimates."""
    first, mixture = first.astype(np.complex128), mixture.astype(np.complex128)
    power = np.mean(np.abs(first) ** 2, axis=-1)  # [batch, sources, frames, bins]
    spatial = np.einsum("bjtfc,bjtfd->bjfcd", first, first.conj())
    spatial /= (power.sum(axis=2) + EPS)[..., None, None]
    weighted = power[..., None, None] * spatial[:, :, None]  # [..., channels, channels]
    total = weighted.sum(axis=1) + np.sqrt(EPS) * np.eye(first.shape[-1])
    inverse = np.linalg.inv(total)
    return np.einsum("bjtfcd,btfde,btfe->bjtfc", weighted, inverse, mixture)


def filtered(first, mixture):
    covariance = wiener.covariances(*wiener.spatial_sums(*split(first)))
    real, imag = wiener.wiener_filter(*split(first), *split(mixture), covariance)
    return np.asarray(real) + 1j * np.asarray(imag)


def test_filter_equals_complex_matrices(spectra):
    expected = reference(*spectra)
    np.testing.assert_allclose(filtered(*spectra), expected, atol=2e-5 * np.abs(expected).max())


def test_estimates_sum_to_the_mixture_but_for_the_regularisation(spectra):
    first, mixture = spectra
    error = np.abs(filtered(first, mixture).sum(axis=1) - mixture)
    # sqrt(eps) = 3.5e-4 against eigenvalues of the mixture's covariance that are around 1
    assert np.sqrt(np.mean(error**2) / np.mean(np.abs(mixture) ** 2)) < 1e-3


def test_sums_of_two_halves_are_the_sums_of_the_whole(spectra):
    first, _ = spectra
    whole = wiener.spatial_sums(*split(first))
    halves = zip(
        wiener.spatial_sums(*split(first[:, :, :4])),
        wiener.spatial_sums(*split(first[:, :, 4:])),
        strict=True,
    )
    for (a, b), total in zip(halves, whole, strict=True):
        np.testing.assert_allclose(a + b, total, rtol=1e-5, atol=1e-5)


def test_a_source_alone_in_the_mixture_is_left_as_it_is(spectra):
    first, _ = spectra
    first = first * np.array([1, 0, 0], np.float32)[:, None, None, None]
    found = filtered(first, first[:, 0])
    np.testing.assert_array_equal(found[:, 1:], 0)
    error = np.mean(np.abs(found[:, 0] - first[:, 0]) ** 2) / np.mean(np.abs(first[:, 0]) ** 2)
    assert error < 1e-5


def test_silence_stays_silent_and_finite(spectra):
    first, mixture = spectra
    np.testing.assert_array_equal(filtered(0 * first, 0 * mixture), 0)


@pytest.mark.parametrize(
    ("recording", "iterations"), [("out_iter1", 1), ("out_iter2", 2), ("out_iter1_residual", 1)]
)
def test_open_unmixs_iterations_are_reproduced(vectors, recording, iterations):
    recorded = vectors("umx_wiener")

    def ours(array):  # [frames, bins, channels, 2, sources] to [1, sources, frames, bins, channels]
        array = np.moveaxis(array, -1, 0)[None]
        return array[..., 0] + 1j * array[..., 1]

    first = ours(recorded["out_iter0"])  # magnitudes with the mixture's phase
    mixture = (recorded["mix_stft"][..., 0] + 1j * recorded["mix_stft"][..., 1])[None]
    if recording.endswith("residual"):
        first = np.concatenate([first, mixture[:, None] - first.sum(axis=1, keepdims=True)], axis=1)
    real, imag = wiener.refine(
        *split(first.astype(np.complex64)), *split(mixture), iterations=iterations, epsilon=1e-10
    )
    expected = ours(recorded[recording])
    found = np.asarray(real) + 1j * np.asarray(imag)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_filter_is_drawn_into_a_graph_of_unknown_length(spectra):
    first, mixture = spectra
    shapes = [(3, None, *first.shape[3:])] * 2 + [(None, *mixture.shape[2:])] * 2
    real, imag, mixture_real, mixture_imag = (keras.Input(shape) for shape in shapes)
    covariance = wiener.covariances(*wiener.spatial_sums(real, imag))
    outputs = wiener.wiener_filter(real, imag, mixture_real, mixture_imag, covariance)
    model = keras.Model([real, imag, mixture_real, mixture_imag], outputs)
    real, imag = model.predict_on_batch([*split(first), *split(mixture)])
    expected = filtered(first, mixture)
    np.testing.assert_allclose(real + 1j * imag, expected, atol=1e-5 * np.abs(expected).max())
