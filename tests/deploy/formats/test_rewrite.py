"""Layers in the form that a phone's kernels run fastest compute what they computed."""

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.deploy.formats import tflite
from kzoo.deploy.formats.rewrite import PhasedConv2DTranspose, for_tflite
from kzoo.deploy.proof import Proof
from kzoo.dsp.windows import window
from kzoo.layers.spectra import FrameSpectrum


@pytest.mark.parametrize("shape", [(8, 6, 5), (1, 3, 2)])
def test_phased_convolution_equals_the_transposed_one(shape):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    plain = layers.Conv2DTranspose(
        3, 5, strides=2, padding="same", activation="relu", bias_initializer="normal"
    )
    model = keras.Model(inputs, plain(inputs))
    rewritten = for_tflite(model)
    assert isinstance(rewritten.layers[-1], PhasedConv2DTranspose)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_allclose(model(x), rewritten(x), atol=2e-6)


def test_other_transposed_convolutions_are_left_alone():
    inputs = keras.Input((8, 8, 2))
    for options in ({"kernel_size": 4}, {"strides": 1}, {"padding": "valid"}):
        layer = layers.Conv2DTranspose(
            3, **{"kernel_size": 5, "strides": 2, "padding": "same", **options}
        )
        model = keras.Model(inputs, layer(inputs))
        assert for_tflite(model) is model


def test_an_exact_spectrum_is_as_exact_in_tflite(tmp_path):
    """A windowed tone has bins that are 140 dB fainter, which float32 fills with its rounding."""
    frames = keras.Input((5, 512), name="frames")
    model = keras.Model(frames, FrameSpectrum(exact=True, dtype="float32")(frames)[2])
    tone = np.sin(0.3 * np.arange(5 * 512)).reshape(1, 5, 512) * window("hann", 512)
    tone = tone.astype(np.float32)
    expected = 20 * np.log10(np.abs(np.fft.rfft(tone.astype(np.float64))))
    assert np.ptp(expected) > 120
    np.testing.assert_allclose(20 * np.log10(model(tone)), expected, atol=1e-4)
    proof = Proof(inputs={"frames": tone}, outputs=["magnitude"], description="a tone")
    path = tflite.write(model, tmp_path / "x.tflite", proof)
    found = tflite.load(path)({"frames": tone})["magnitude"]
    np.testing.assert_allclose(20 * np.log10(found), expected, atol=1e-4)
