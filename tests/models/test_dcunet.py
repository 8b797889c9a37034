"""DCUNet: asteroid's outputs from asteroid's weights, sizes that its papers have, other masks."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from made_once import drawn_once

from kzoo.convert import asteroid
from kzoo.dsp.framing import overlap_add
from kzoo.dsp.stft import irfft, stft
from kzoo.dsp.windows import window
from kzoo.layers.complex import split, times
from kzoo.models import dcunet

MINI = [(2, 2)] * 3  # strides of asteroid's architecture of this name
TINY = dcunet.VARIANTS["tiny"]
each_network_is_drawn_once = drawn_once((dcunet, "core"))


@pytest.fixture(scope="module")
def recorded(vectors):
    """Outputs and weights of asteroid."""
    return vectors("dcunet_mini")


@pytest.fixture(scope="module")
def weights(recorded):
    """The state dict of asteroid."""
    prefix = "param/"
    return {k.removeprefix(prefix): v for k, v in recorded.items() if k.startswith(prefix)}


@pytest.fixture
def converted(weights):
    """The model with asteroid's weights; built in each test, and drawn once."""
    return asteroid.from_weights(weights, mask="polar", strides=MINI)


def test_spectrum_mask_and_output_are_asteroids(recorded, converted):
    real, imag = (
        x[..., None] for x in stft(recorded["input"], 64, 16, window="sqrt_hann", padding="valid")
    )
    spectrum = converted.get_layer("spectrum")(real, imag)
    theirs = np.moveaxis(recorded["stft"], 1, 2)
    np.testing.assert_allclose(spectrum, np.stack([theirs.real, theirs.imag], -1), atol=1e-6)
    masks = converted.get_layer("dcunet_core")(spectrum, training=False)  # 29 frames: 4 are added
    theirs = np.moveaxis(recorded["mask"][:, 0], 1, 2)
    np.testing.assert_allclose(masks, np.stack([theirs.real, theirs.imag], -1), atol=3e-6)
    masked = times(split(masks), (real, imag))
    frames = irfft(*(x[..., 0] for x in masked), 64) * window("sqrt_hann", 64)
    # Overlapping windows sum to 2, and the transform there is not divided by them.
    np.testing.assert_allclose(overlap_add(frames, 16) / 2, recorded["output"][:, 0], atol=1e-6)


@pytest.mark.parametrize("samples", [1, 777])
def test_masks_of_one_give_the_mixture_back_to_its_edges(samples):
    model = dcunet.build(["speech"], dataclasses.replace(TINY, mask="unbounded"))
    last = model.get_layer("dcunet_core").get_layer("up3_conv")
    last.kernel.assign(0 * last.kernel)
    last.bias.assign([1, 0])
    mixture = np.random.default_rng(0).standard_normal((1, samples, 1)).astype(np.float32)
    np.testing.assert_allclose(model(mixture)[:, 0], mixture, atol=1e-5)


def test_a_weight_that_is_missing_or_left_over_is_named(weights):
    for name in [name for name in weights if name.startswith("masker")][::7]:
        rest = {key: value for key, value in weights.items() if key != name}
        with pytest.raises(ValueError, match=f"missing: {re.escape(name)}"):
            asteroid.from_weights(rest, mask="polar", strides=MINI)
    with pytest.raises(ValueError, match=r"unused: masker\.extra"):
        asteroid.from_weights({**weights, "masker.extra": np.zeros(3)}, mask="polar", strides=MINI)
    with pytest.raises(ValueError, match=r"output_layer\.0\.re_module\.weight is .*, not"):
        asteroid.from_weights(weights, mask="polar", strides=MINI, sources=["a", "b"])


def test_what_is_no_published_architecture_or_no_stft_is_refused(weights):
    with pytest.raises(ValueError, match=r"no published DCUNet has encoders of .*: give strides"):
        asteroid.from_weights(weights, mask="polar")
    with pytest.raises(ValueError, match="strides must be 3 pairs, one an encoder"):
        asteroid.from_weights(weights, mask="polar", strides=MINI[1:])
    name = "decoder.filterbank._filters"
    with pytest.raises(ValueError, match=f"{name}: is no STFT.*a hop of 16"):
        asteroid.from_weights({**weights, name: 2 * weights[name]}, mask="polar", strides=MINI)


COUNTS = {"dcunet10": 1_421_890, "dcunet16": 2_375_490, "dcunet20": 3_527_850, "large": 7_662_304}


@pytest.mark.parametrize(
    "variant", [pytest.param(x, marks=[pytest.mark.slow] * (x != "dcunet10")) for x in COUNTS]
)
def test_networks_have_as_many_weights_as_the_published_ones(unfilled, variant):
    network = dcunet.core(size=dcunet.VARIANTS[variant])
    assert sum(int(np.prod(w.shape)) for w in network.trainable_weights) == COUNTS[variant]


@pytest.mark.parametrize("mask", ["tanh", "unbounded"])
def test_stereo_whitening_and_other_masks_are_finite_in_silence(mask):
    """And the loss reaches every weight, through masks of two channels for each source."""
    import tensorflow as tf

    size = dataclasses.replace(TINY, channels=2, norm="whitening", mask=mask)
    keras.utils.set_random_seed(3)
    model = dcunet.build(["speech", "noise"], size, samples=1024)
    mixture = np.random.default_rng(0).standard_normal((2, 1024, 2)).astype(np.float32)
    mixture[1] = 0
    with tf.GradientTape() as tape:
        estimates = model(mixture, training=True)
        loss = tf.reduce_mean(tf.square(estimates - 0.1))
    slopes = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
    assert estimates.shape == (2, 2, 1024, 2)
    assert not np.any(estimates[1])
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert np.isfinite(model(mixture, training=False)).all()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"encoders": ((3, 5, 3, 2),)}, "levels of five numbers above 0"),
        ({"encoders": ()}, "levels of five numbers above 0"),
        ({"encoders": ((3, 4, 3, 2, 2),)}, "odd bins and frames"),
        ({"n_fft": 72}, "multiple of the product of all strides in bins, 8"),
        ({"hop_length": 33}, "no less than hop_length; got n_fft=64, hop_length=33"),
        ({"decoder_filters": (4,)}, "2 numbers above 0, one less than encoders"),
        ({"mask": "round"}, "mask must be one of polar"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, refusal):
    with pytest.raises(ValueError, match=refusal):
        dataclasses.replace(TINY, **changes)


def test_a_block_is_as_long_as_the_strides_divide():
    assert TINY.frame_step == 4
    assert TINY.grid().samples % (4 * 16) == 0
    assert TINY.whole(100) == 128
    assert TINY.whole(1) == 64
