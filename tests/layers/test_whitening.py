"""Whitening by principal components against scikit-learn's."""

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA

from kzoo.dsp.mel import LogMel
from kzoo.layers.whitening import PCAWhitening


@pytest.fixture
def spectra(rng):
    """Spectra that are correlated and far from 0, as levels in dB are."""
    mixed = rng.normal(0, 1, (400, 12)) @ rng.normal(0, 1, (12, 12))
    return (mixed - 3000).astype(np.float32)


def test_components_are_those_of_scikit_learn_however_the_spectra_are_cut(spectra):
    theirs = PCA(5, whiten=True, svd_solver="full").fit(spectra.astype(np.float64))
    expected = theirs.transform(spectra.astype(np.float64))
    for parts in ([spectra], np.split(spectra.reshape(4, 100, 12), 2)):
        layer = PCAWhitening(5)
        layer.adapt(parts)
        found = np.asarray(layer(spectra))
        signs = np.sign(np.sum(found * expected, axis=0))
        np.testing.assert_allclose(found * signs, expected, atol=2e-3)
        np.testing.assert_allclose(np.cov(found.T), np.eye(5), atol=1e-3)
        np.testing.assert_allclose(layer.mean, spectra.mean(axis=0, dtype=np.float64), rtol=1e-6)


def test_it_measures_what_reaches_it_in_a_network_and_is_no_weight_that_learns(rng):
    waveform = keras.Input((4000, 1))
    mels = keras.layers.Reshape((-1, 20))(LogMel(8000, 256, 128, 20)(waveform))
    layer = PCAWhitening(8)
    system = keras.Model(waveform, keras.layers.Dense(2)(layer(mels)))
    mixtures = [rng.normal(0, 0.1, (4000, 1)).astype(np.float32) for _ in range(6)]
    layer.adapt_in(system, iter(mixtures))
    heard = np.asarray(keras.Model(waveform, layer.output)(np.stack(mixtures)))
    np.testing.assert_allclose(np.cov(heard.reshape(-1, 8).T), np.eye(8), atol=1e-3)
    system.trainable = True  # as whoever thaws a network says of all of it
    assert [weight.path.split("/")[-1] for weight in system.trainable_weights] == ["kernel", "bias"]
    learned = PCAWhitening.from_config(layer.get_config() | {"learned": True})
    learned.build((None, 20))
    assert len(learned.trainable_weights) == 2
    assert PCAWhitening.from_config(learned.get_config()).learned


def test_before_it_is_adapted_the_first_bands_pass(spectra):
    np.testing.assert_array_equal(PCAWhitening(3)(spectra), spectra[:, :3])


def test_a_component_that_is_rounding_is_not_made_loud(rng):
    plane = rng.normal(0, 1, (300, 2)) @ rng.normal(0, 1, (2, 6))
    layer = PCAWhitening(4)
    layer.adapt([plane])
    found = np.asarray(layer(plane.astype(np.float32)))
    np.testing.assert_allclose(found.std(axis=0, ddof=1), [1, 1, 0, 0], atol=1e-3)


@pytest.mark.parametrize(("components", "parts", "message"), [
    (7, [np.eye(6)], "components must be 1 to 6, the bands; got 7"),
    (0, [np.eye(6)], "components must be 1 to 6, the bands; got 0"),
    (2, [np.ones((5, 6))], "spectra that change; got the same throughout"),
    (2, [np.ones((1, 6))], "two spectra at least; got 1"),
    (2, [], "two spectra at least; got 0"),
])  # fmt: skip
def test_what_has_no_components_is_refused(components, parts, message):
    with pytest.raises(ValueError, match=message):
        PCAWhitening(components).adapt(parts)
