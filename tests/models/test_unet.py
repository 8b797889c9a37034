"""The U-Nets against Deezer's own numbers and against NumPy; counts, bands, variants, mistakes."""

import keras
import made_checkpoints as made
import numpy as np
import numpy_unet
import pytest
from keras import ops

from kzoo import models
from kzoo.convert import spleeter
from kzoo.dsp.stft import STFT, magnitude, stft
from kzoo.layers.masks import Segments
from kzoo.models import unet

TINY = {"filters": made.FILTERS, "frames": 64, "bins": 64}
INSTRUMENTS = [
    pytest.param(2, "leaky_relu", "sigmoid", id="2stems"),
    pytest.param(4, "elu", "sigmoid", id="4stems", marks=pytest.mark.slow),
    pytest.param(5, "elu", "softmax", id="5stems"),
]


@keras.saving.register_keras_serializable("tests")
class Given(keras.layers.Layer):
    """A network whose answer was recorded: `[segments, sources, frames, bins, channels]`."""

    def __init__(self, answer, **kwargs):
        super().__init__(**kwargs)
        self.answer = answer

    def call(self, spectrum):
        return 0 * ops.expand_dims(spectrum, 1) + ops.convert_to_tensor(self.answer)


@pytest.fixture
def magnitudes(rng):
    return np.abs(rng.standard_normal((1, 64, 64, 2))).astype(np.float32)


def gentle_weights(instruments, **options):
    """Small enough kernels that float32 rounding is not blown up on the way through."""
    made_weights = made.weights(instruments, **options)
    return {k: 0.5 * v if k.endswith("kernel") else v for k, v in made_weights.items()}


def core(sources, **options):
    return unet.core(sources, models.sizes("unet", **options))


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_deezers_network_gives_deezers_outputs(vectors):
    recorded = vectors("spleeter_unet_small")
    weights = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    model = spleeter.from_weights(
        weights, frames=64, bins=128, activation="leaky_relu", masks="sigmoid"
    )
    found = np.asarray(model(recorded["input"]))[0]
    for stem, name in zip(found, ("vocals", "accompaniment"), strict=True):
        np.testing.assert_allclose(stem, recorded[f"output/{name}"][0], atol=1e-5)
    assert trainable(model) == 15128


def test_transform_and_segments_are_deezers(vectors):
    recorded = vectors("spleeter_pipeline")
    real, imag = STFT(64, 16, padding="full")(recorded["waveform"][None])
    np.testing.assert_allclose(real[0], recorded["stft"].real, atol=1e-5)
    np.testing.assert_allclose(imag[0], recorded["stft"].imag, atol=1e-5)
    band = magnitude(real[:, :, :24], imag[:, :, :24])
    np.testing.assert_allclose(Segments(16)(band), recorded["spectrogram"], atol=1e-5)


@pytest.mark.parametrize("extension", ["zeros", "average"])
def test_the_system_around_the_network_is_deezers(vectors, monkeypatch, extension):
    recorded = vectors("spleeter_pipeline")
    answer = np.stack([recorded["model_vocals"], recorded["model_acc"]], axis=1)

    def given(sources, size):
        spectrum = keras.Input((size.frames, size.bins, 2))
        return keras.Model(spectrum, Given(answer)(spectrum))

    monkeypatch.setattr(unet, "core", given)
    model = models.build(
        "unet",
        n_fft=64,
        hop_length=16,
        frames=16,
        bins=24,
        filters=[1, 1, 1],  # of the network that is not there
        mask_extension=extension,
    )
    found = np.asarray(model(recorded["waveform"][None]))[0]
    for stem, name in zip(found, ("vocals", "accompaniment"), strict=True):
        np.testing.assert_allclose(stem, recorded[f"{extension}/wav_{name}"], atol=1e-5)
    masks = keras.Model(model.input, model.get_layer("extend_masks").output)
    mask = np.asarray(masks(recorded["waveform"][None]))[0, 0]
    np.testing.assert_allclose(mask, recorded[f"{extension}/mask_vocals"], atol=1e-5)


@pytest.mark.parametrize(("instruments", "activation", "masks"), INSTRUMENTS)
def test_network_equals_numpy(magnitudes, instruments, activation, masks):
    weights = gentle_weights(instruments)
    model = spleeter.from_weights(weights, frames=64, bins=64, activation=activation, masks=masks)
    expected = numpy_unet.spleeter(
        weights, magnitudes, instruments, elu=activation == "elu", softmax=masks == "softmax"
    )
    np.testing.assert_allclose(model(magnitudes), expected, atol=1e-5)
    if instruments > 2:
        return
    # The outputs tell activations and masks apart, so that the line above means something.
    elu, softmax = activation == "elu", masks == "softmax"
    for options in ({"elu": not elu, "softmax": softmax}, {"elu": elu, "softmax": not softmax}):
        other = numpy_unet.spleeter(weights, magnitudes, instruments, **options)
        assert np.abs(other - expected).max() > 1e-2


def test_layers_have_the_sizes_of_the_table(unfilled):
    model = core(["vocals"], variant="spleeter")
    assert model.input_shape == (None, 512, 1024, 2)
    assert model.output_shape == (None, 1, 512, 1024, 2)
    table = {
        "down1_conv": (256, 512, 16, 816),
        "down2_conv": (128, 256, 32, 12_832),
        "down3_conv": (64, 128, 64, 51_264),
        "down4_conv": (32, 64, 128, 204_928),
        "down5_conv": (16, 32, 256, 819_456),
        "down6_conv": (8, 16, 512, 3_277_312),
        "up1_conv": (16, 32, 256, 3_277_056),
        "up2_conv": (32, 64, 128, 1_638_528),
        "up3_conv": (64, 128, 64, 409_664),
        "up4_conv": (128, 256, 32, 102_432),
        "up5_conv": (256, 512, 16, 25_616),
        "up6_conv": (512, 1024, 1, 801),
        "mask_conv": (512, 1024, 2, 34),
    }
    for name, (*shape, count) in table.items():
        layer = model.get_layer(f"vocals_{name}")
        assert (*layer.output.shape[1:], layer.count_params()) == (*shape, count), name
    dropped = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropped == [f"vocals_up{level}_dropout" for level in (1, 2, 3)]
    assert {layer.rate for layer in model.layers if layer.name in dropped} == {0.5}


def test_the_16_khz_band_has_1536_bins_and_nothing_above(rng):
    model = models.build("unet", variant="spleeter", filters=(2, 3), frames=64, bins=1536)
    network = model.get_layer("unet_core")
    assert network.input_shape == (None, 64, 1536, 2)
    assert network.output_shape == (None, 2, 64, 1536, 2)
    noise = (0.1 * rng.standard_normal((1, 22050, 2))).astype(np.float32)
    stems = np.asarray(model(noise))[0]
    real, imag = stft(stems.sum(axis=0).T, 4096, 1024, padding="valid")
    power = np.mean(np.asarray(real) ** 2 + np.asarray(imag) ** 2, axis=(0, 1))
    assert power[1560:].max() < 1e-8 * power[1:1530].mean()  # from 16.8 kHz on
    # Ratio masks share the whole band: its bins above Spleeter's 1024 are all there.
    real, imag = stft(noise[0].T, 4096, 1024, padding="valid")
    whole = np.mean(np.asarray(real) ** 2 + np.asarray(imag) ** 2, axis=(0, 1))
    np.testing.assert_allclose(power[1:1530], whole[1:1530], rtol=1e-3)


def test_an_average_extension_makes_the_stems_sum_to_the_mixture(rng):
    keras.utils.set_random_seed(0)
    noise = rng.standard_normal((1, 4001, 2)).astype(np.float32)

    def summed(extension):
        model = models.build("unet", variant="tiny", filters=(2,), mask_extension=extension)
        return np.asarray(model(noise)).sum(axis=1)

    np.testing.assert_allclose(summed("average"), noise, atol=1e-5)
    zeros = summed("zeros")
    # 64 of 129 bins: half of white noise is missing.
    assert np.sum(zeros**2) / np.sum(noise**2) == pytest.approx(64 / 129, abs=0.03)


def set_by_layer(model, weights):
    """The arrays by checkpoint name into Jansson's network, whose layers kzoo names by level."""
    places = {"mask_conv_conv": "conv2d_transpose_5", "mask_norm": "batch_normalization_11"}
    for level in range(6):
        suffix = f"_{level}" if level else ""
        places[f"down{level + 1}_conv"] = f"conv2d{suffix}"
        places[f"down{level + 1}_norm"] = f"batch_normalization{suffix}"
        places[f"up{level + 1}_conv"] = f"conv2d_transpose{suffix}"
        places[f"up{level + 1}_norm"] = f"batch_normalization_{6 + level}"
    for layer in model.layers:
        for weight in layer.weights:
            if weight.name in ("kernel", "bias", "gamma", "beta", *spleeter.NORM_PARTS):
                weight.assign(weights[f"{places[layer.name.split('_', 1)[1]]}/{weight.name}"])


@pytest.mark.parametrize(("log_input", "output_norm"), [(False, True), (True, False)])
def test_janssons_network_equals_numpy(rng, log_input, output_norm):
    weights = gentle_weights(1, channels=1)
    # Its last transposed convolution has one output, the mask, as Spleeter's sixth has.
    model = core(
        ["vocals"], variant="jansson", **TINY, log_input=log_input, output_norm=output_norm
    )
    set_by_layer(model, weights)
    x = 3 * np.abs(rng.standard_normal((2, 64, 64, 1))).astype(np.float32)
    logits = numpy_unet.jansson_logits(weights, x, log_input=log_input, output_norm=output_norm)
    np.testing.assert_allclose(model(x)[:, 0], numpy_unet.sigmoid(logits) * x, atol=1e-5)


def test_janssons_weights_are_as_many_as_the_papers_layers_have(unfilled):
    model = core(["vocals"], variant="jansson")
    assert model.input_shape == (None, 128, 512, 1)
    down = list(zip((1, 16, 32, 64, 128, 256), (16, 32, 64, 128, 256, 512), strict=True))
    up = list(zip((512, 512, 256, 128, 64, 32), (256, 128, 64, 32, 16, 1), strict=True))
    kernels = sum(25 * i * o for i, o in down + up)
    outputs = sum(o for _, o in down + up)
    assert trainable(model) == kernels + 3 * outputs  # bias, gamma and beta of every output
    assert kernels + 3 * outputs == 9_823_315
    plain = core(["vocals"], variant="jansson", output_norm=False)
    assert trainable(plain) == trainable(model) - 2


@pytest.mark.parametrize("levels", [(0, 1, 2), (1, 2, 3), ()])
def test_dropout_sits_on_the_levels_that_were_named(levels):
    small = {"filters": (2,) * 5, "frames": 32, "bins": 32}
    model = core(["vocals"], variant="jansson", **small, dropout_levels=levels)
    dropped = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert dropped == [f"vocals_up{level + 1}_dropout" for level in levels]


def test_direct_masks_are_taken_as_they_are():
    model = models.build("unet", sources=["vocals", "other"], variant="jansson", filters=(2, 3))
    network = model.get_layer("unet_core")
    for source, beta in (("vocals", 0.0), ("other", np.log(3.0))):
        network.get_layer(f"{source}_mask_norm").gamma.assign([0.0])
        network.get_layer(f"{source}_mask_norm").beta.assign([beta])
    tone = np.sin(2 * np.pi * 1000 * np.arange(4001) / 8192)[None, :, None].astype(np.float32)
    found = np.asarray(model(tone))
    # sigmoid(0) and sigmoid(log 3); a tone in the band does not miss the bin above it.
    np.testing.assert_allclose(found[:, 0], 0.5 * tone, atol=2e-3)
    np.testing.assert_allclose(found[:, 1], 0.75 * tone, atol=2e-3)
    np.testing.assert_allclose(found[:, 1], 1.5 * found[:, 0], atol=1e-5)


def test_a_shared_trunk_costs_one_network_and_gives_every_source_a_mask_of_its_own(magnitudes):
    keras.utils.set_random_seed(0)
    sources = ["vocals", "drums", "bass"]
    small = {**TINY, "filters": (2, 3, 4)}
    one = core(["vocals"], **small)
    shared = core(sources, **small, trunk="shared")
    # The last transposed convolution and its norm are as wide as the masks: three, in stereo.
    assert trainable(shared) - trainable(one) == 5 * (25 * 4 + 3) + (16 * 6 * 6 + 6 - 16 * 2 - 2)
    found = np.asarray(shared(magnitudes))[0]
    assert found.shape == (3, 64, 64, 2)
    assert min(np.abs(found[i] - found[i - 1]).max() for i in range(3)) > 1e-3


@pytest.mark.parametrize("trunk", ["each", "shared"])
def test_a_residual_is_what_the_other_sources_leave(magnitudes, trunk):
    size = {**TINY, "filters": (2, 3), "trunk": trunk}
    separate = core(["vocals", "drums", "rest"], **size, residual=True)
    assert trainable(separate) == trainable(core(["vocals", "drums"], **size))
    drawn = np.asarray(separate(magnitudes))[0]
    for source in ("vocals", "drums") if trunk == "each" else ("shared",):
        last = separate.get_layer(f"{source}_mask_conv")
        last.set_weights([0 * weight - 3 * (weight.ndim == 1) for weight in last.get_weights()])
    found = np.asarray(separate(magnitudes))[0]
    mask = 1 / (1 + np.exp(3.0))
    np.testing.assert_allclose(found[0], mask * magnitudes[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], (1 - 2 * mask) * magnitudes[0], rtol=1e-5)
    rest = np.maximum(magnitudes[0] - drawn[0] - drawn[1], 0)
    np.testing.assert_allclose(drawn[2], rest, atol=1e-6)
    assert (rest == 0).any()
    assert (rest > 0.1).any()


@pytest.mark.parametrize("network", ["spleeter", "jansson"])
def test_without_skips_all_that_goes_up_has_passed_the_bottom(magnitudes, network):
    masks = []
    for skips in (True, False):
        separate = core(["vocals"], **{**TINY, "filters": (2, 3)}, network=network, skips=skips)
        bottom = separate.get_layer("vocals_down2_conv")
        bottom.set_weights([np.zeros_like(weight) for weight in bottom.get_weights()])
        found = [np.asarray(separate(scale * magnitudes))[0, 0] / scale for scale in (1.0, 3.0)]
        masks.append(np.abs(found[1] - found[0]).max())
    assert masks[0] > 1e-3
    assert masks[1] < 1e-5 * np.abs(magnitudes).max()


@pytest.mark.parametrize(("log_input", "expected"), [(False, np.log(3.0)), (True, 2.0)])
def test_a_network_without_masks_gives_magnitudes(magnitudes, log_input, expected):
    size = {**TINY, "filters": (2, 3), "masks": "none", "log_input": log_input}
    separate = core(["vocals"], **size)
    last = separate.get_layer("vocals_mask_conv")
    kernel, bias = last.get_weights()
    last.set_weights([0 * kernel, np.log(3.0) + 0 * bias])
    np.testing.assert_allclose(np.asarray(separate(magnitudes)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "huge"}, "no variant of unet is called 'huge'; there are: spleeter, "),
        ({"network": "unet"}, "network must be one of spleeter, jansson; got 'unet'"),
        ({"activation": "gelu"}, "activation must be one of leaky_relu, elu; got 'gelu'"),
        ({"masks": "relu"}, "masks must be one of sigmoid, softmax, none; got 'relu'"),
        ({"masking": "hard"}, "masking must be one of ratio, direct; got 'hard'"),
        ({"trunk": "none"}, "trunk must be one of each, shared; got 'none'"),
        ({"sources": ["vocals"], "residual": True}, "at least one of them.*got sources vocals"),
        ({"masks": "softmax", "residual": True}, "got sources vocals, .* with masks='softmax'"),
        ({"mask_extension": "mean"}, "got 'mean'"),
        ({"padding": "same"}, "got 'same'"),
        ({"frames": 65}, "multiples of 8.*frames=65, bins=64"),
        ({"bins": 90}, "multiples of 8.*frames=64, bins=90"),
        ({"sources": "vocals"}, "got 'vocals'"),
        ({"sources": []}, r"got \[\]"),
        ({"sources": ["vocals", "vocals"]}, r"got \['vocals', 'vocals'\]"),
    ],
)
def test_impossible_options_are_refused_with_the_value(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("unet", **{"variant": "tiny", **options})
