"""Layers in the form that a phone's kernels run fastest compute what they computed."""

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.deploy.formats import half, tflite
from kzoo.deploy.forms import for_tflite
from kzoo.deploy.forms.convolutions import (
    ColumnsAtOnce,
    FourConvolutions,
    RowsAtOnce,
    StridesAtOnce,
    TwoConvolutions,
)
from kzoo.deploy.forms.half import HalfMagnitude, HalfRatioMasks
from kzoo.deploy.forms.transforms import ProductsSTFT
from kzoo.deploy.proof import Proof
from kzoo.dsp.stft import STFT, InverseSTFT
from kzoo.dsp.windows import window
from kzoo.layers.folded_conv import FoldedConv1DTranspose
from kzoo.layers.masks import ExtendMasks, RatioMasks
from kzoo.layers.spectra import BandMagnitude, FrameSpectrum, MaskedSpectrum

FORMS = {  # (height, width, channels) of the inputs, filters: the form
    ((8, 6, 5), 3): RowsAtOnce,
    ((3, 6, 5), 3): TwoConvolutions,  # rows that four do not divide
    ((1, 3, 2), 8): TwoConvolutions,
    ((4, 5, 3), 40): FourConvolutions,
}


def forms_of(model):
    """(`for_tflite` of a model of one layer, the kind of that layer in it)."""
    rewritten = for_tflite(model)
    return rewritten, type(rewritten.layers[-1])


def signals(shape):
    """Noise, silence, an impulse, a constant, and noise with an infinity, `[1, *shape]` each."""
    noise = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    impulse = np.zeros_like(noise)
    impulse[0, 0, 0] = 1
    infinite = noise.copy()
    infinite[0, 0, 0] = np.inf
    return {
        "noise": noise, "silence": 0 * noise, "impulse": impulse, "constant": 0 * noise + 1,
        "infinity": infinite,
    }  # fmt: skip


@pytest.mark.parametrize(("shape", "filters"), FORMS)
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_equals_its_form(shape, filters, bias):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    plain = layers.Conv2DTranspose(
        filters, 5, strides=2, padding="same", activation="relu", bias_initializer="normal",
        use_bias=bias,
    )  # fmt: skip
    model = keras.Model(inputs, plain(inputs))
    rewritten, kind = forms_of(model)
    assert kind is FORMS[shape, filters]
    for name, x in signals(shape).items():
        if name != "infinity":
            two = np.concatenate([x, x[:, ::-1]])
            np.testing.assert_allclose(model(two), rewritten(two), atol=2e-6, err_msg=name)


@pytest.mark.parametrize(("taps", "stride", "filters"), [(8, 4, 3), (6, 2, 1), (2, 2, 4)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [layers.Conv1DTranspose, FoldedConv1DTranspose])
def test_a_transposed_convolution_in_time_equals_its_strides(taps, stride, filters, bias, kind):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((7, 5))
    plain = kind(
        filters, taps, strides=stride, activation="relu", bias_initializer="normal", use_bias=bias
    )
    model = keras.Model(inputs, plain(inputs))
    rewritten, form = forms_of(model)
    assert form is StridesAtOnce
    for name, x in signals((7, 5)).items():
        if name != "infinity":
            two = np.concatenate([x, x[:, ::-1]])
            np.testing.assert_allclose(model(two), rewritten(two), atol=2e-6, err_msg=name)


@pytest.mark.parametrize(("taps", "channels", "filters"), [(4, 1, 2), (3, 4, 3)])
def test_a_dilated_convolution_equals_its_columns(taps, channels, filters):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 16, channels))
    plain = layers.Conv2D(
        filters, taps, dilation_rate=2, padding="same", bias_initializer="normal", activation="elu"
    )
    model = keras.Model(inputs, plain(inputs))
    rewritten, kind = forms_of(model)
    assert kind is ColumnsAtOnce
    x = np.random.default_rng(0).normal(size=(2, 5, 16, channels)).astype(np.float32)
    np.testing.assert_allclose(model(x), rewritten(x), atol=2e-6)


def masked(samples, n_fft, hop_length, bins, *, padding="full", mode="zeros", ratio=False):
    """A waveform of two channels through its spectrum, two masks that follow from it, and back.

    ratio: by `RatioMasks`.
    """
    options = {"n_fft": n_fft, "hop_length": hop_length, "padding": padding}
    waveform = keras.Input((samples, 2), name="waveform")
    spectrum = STFT(**options)(waveform)
    band = BandMagnitude(bins)(*spectrum)
    share = keras.ops.stack([band / (1 + band), 1 / (1 + band)], axis=1)
    if ratio:
        share = RatioMasks(name="ratio_masks")(keras.ops.stack([0.8 * band, 0.3 * band], axis=1))
    masks = ExtendMasks(n_fft // 2 + 1, mode)(share)
    return keras.Model(
        waveform, InverseSTFT(**options)(*MaskedSpectrum()(masks, *spectrum), waveform)
    )


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "bins"), [(64, 16, 32), (32, 8, 12), (128, 32, 64)]
)
@pytest.mark.parametrize("padding", ["full", "valid"])
def test_transforms_by_products_give_the_same_signal(n_fft, hop_length, bins, padding):
    samples = 13 * hop_length
    model = masked(samples, n_fft, hop_length, bins, padding=padding)
    rewritten = for_tflite(model)
    assert ProductsSTFT in map(type, rewritten.layers)
    for name, x in signals((samples, 2)).items():
        expected, found = np.asarray(model(x)), np.asarray(rewritten(x))
        if name == "infinity":  # frames that do not hold it are whole: the constants are 1 still
            assert np.isfinite(found[:, :, 2 * n_fft :]).all()
            assert not np.isfinite(found[:, :, 0]).all()
        else:
            inner = slice(None) if padding == "full" else slice(hop_length, -hop_length)
            np.testing.assert_allclose(
                found[:, :, inner], expected[:, :, inner], atol=3e-6, err_msg=name
            )
            # Samples at the ends of a block are faint in its frames, and so is the rounding loud.
            np.testing.assert_allclose(found, expected, atol=2e-4, err_msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {"hop_length": 24},  # that does not divide the frame
        {"bins": 33},  # the last of which has no bins beside it
        {"mode": "average"},
        {"samples": None},
        {"samples": 81},
        {"padding": "center"},
        {"samples": 128, "padding": "valid"},  # all of which are at an edge
    ],
)
def test_transforms_that_do_not_fit_stay_as_they_are(changes):
    model = masked(**{"samples": 80, "n_fft": 64, "hop_length": 16, "bins": 32, **changes})
    assert for_tflite(model) is model


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


def test_masks_and_magnitudes_hold_in_half_precision():
    estimates = np.abs(np.random.default_rng(0).normal(size=(1, 3, 4, 5, 2))).astype(np.float32)
    for loudness in (1.0, 500.0):
        expected = RatioMasks()(loudness * estimates)
        np.testing.assert_allclose(HalfRatioMasks()(loudness * estimates), expected, atol=1e-6)
        found = HalfRatioMasks(dtype="float16")((loudness * estimates).astype(np.float16))
        np.testing.assert_allclose(found, expected, atol=2e-3)
    assert not np.any(HalfRatioMasks(dtype="float16")(np.zeros_like(estimates, np.float16)))

    real, imag = 2000 * np.random.default_rng(1).normal(size=(2, 1, 4, 5, 2)).astype(np.float32)
    real[0, 0], imag[0, 0] = 0, 0
    expected = BandMagnitude(5)(real, imag)
    np.testing.assert_allclose(HalfMagnitude(5)(real, imag), expected, rtol=1e-6, atol=1e-9)
    found = HalfMagnitude(5, dtype="float16")(real.astype(np.float16), imag.astype(np.float16))
    np.testing.assert_allclose(found, expected, rtol=3e-3, atol=1e-9)


@pytest.fixture(scope="module")
def ratio_files():
    """({(fft, target): a file of a masked spectrum}, a tone in noise, what Keras says of it)."""
    model = masked(12 * 1024, 4096, 1024, 1024, ratio=True)
    noise = 0.05 * np.random.default_rng(0).normal(size=(1, 12 * 1024, 2))
    noise = (noise + 0.8 * np.sin(0.3 * np.arange(12 * 1024))[:, None]).astype(np.float32)
    proof = Proof(inputs={"waveform": noise}, outputs=["a", "b"], stacked=True, description="noise")
    forms = (("auto", "cpu"), ("rfft2d", "cpu"), ("matmul", "gpu"))
    files = {
        (fft, target): tflite.converted(model, proof, fft=fft, target=target)
        for fft, target in forms
    }
    return files, noise, np.asarray(model(noise))


def test_a_transform_is_computed_as_was_asked_for(ratio_files, tmp_path):
    files, noise, expected = ratio_files
    for (fft, target), content in files.items():
        assert ("RFFT2D" in tflite.description(content)["operators"]) == (fft == "rfft2d")
        path = tmp_path / f"{fft}.tflite"
        path.write_bytes(content)
        found = tflite.load(path)({"waveform": noise})
        for i, name in enumerate("ab"):
            error = np.linalg.norm(found[name] - expected[:, i])
            assert error < 1e-6 * np.linalg.norm(expected[:, i]), (fft, target)  # 120 dB


def test_a_transform_that_fits_no_form_is_products_all_the_same():
    model = masked(4 * 96, 96, 24, 48, mode="average")
    noise = np.zeros((1, 4 * 96, 2), np.float32)
    proof = Proof(inputs={"waveform": noise}, outputs=["a", "b"], stacked=True, description="")
    operators = tflite.description(tflite.converted(model, proof, fft="matmul"))["operators"]
    assert "RFFT2D" not in operators
    assert "BATCH_MATMUL" in operators or "FULLY_CONNECTED" in operators


def test_a_file_for_gpus_survives_half_precision(ratio_files, tmp_path):
    """The usual one does not: the magnitude of a loud bin and the squares of it are infinite."""
    files, noise, expected = ratio_files
    answers = {}
    for fft, target in (("auto", "cpu"), ("matmul", "gpu")):
        path = tmp_path / f"{target}.tflite"
        path.write_bytes(files[fft, target])
        run = half.load(path)
        if run is None:
            pytest.skip("this processor does not compute in half precision")
        answers[target] = [run({"waveform": sound}) for sound in (noise, 0 * noise)]
    assert not np.isfinite(answers["cpu"][0]["a"]).all()
    loud, silent = answers["gpu"]
    assert np.linalg.norm(loud["a"] - expected[:, 0]) < 1e-2 * np.linalg.norm(expected[:, 0])
    assert not silent["a"].any()
    assert not silent["b"].any()


def test_guards_that_half_precision_takes_for_nothing_are_told(ratio_files):
    files, *_ = ratio_files
    assert any(
        "ratio_masks" in guard["layer"] and guard["value"] == pytest.approx(1e-10)
        for guard in half.vanishing(files["auto", "cpu"])
    )
    assert half.vanishing(files["matmul", "gpu"]) == []
