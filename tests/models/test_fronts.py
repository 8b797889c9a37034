"""Front ends before one back end: images of one shape, what each hears, and refusals."""

import functools

import keras
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from kzoo import models
from kzoo.config import ConfigError
from kzoo.dsp.band_passes import gabor_filters, sinc_filters
from kzoo.models import fronts

COMPUTED = ["log_mel", "windows", "whitened", "constant_q", "harmonic_cqt", "harmonic"]
LEARNED = ["strided", "scales", "sinc", "gabor", "samples"]
SAMPLES = 40 * 48


@functools.cache
def model(front):
    """The tiny network behind a front end; no test changes it."""
    keras.utils.set_random_seed(0)
    return models.build("fronts", variant="tiny", front=front, n_fft=512)


@functools.cache
def listening(front):
    return keras.Model(model(front).input, model(front).get_layer("front").output)


def image(front, waveform):
    return np.asarray(listening(front)(np.asarray(waveform, np.float32)[None, :, None]))[0]


@pytest.mark.parametrize("front", COMPUTED + LEARNED)
def test_every_front_gives_an_image_of_as_many_frames_to_a_back_end_of_one_size(front, rng):
    depth = {"windows": 3, "harmonic_cqt": 6, "harmonic": 6, "scales": 3}.get(front, 1)
    bands = 52 if front == "harmonic" else 16
    assert image(front, rng.normal(0, 0.1, SAMPLES)).shape == (40, bands, depth)
    assert model(front).get_layer("conv2").count_params() == 3 * 3 * 8 * 8
    frames = fronts.build_frames(models.sizes("fronts", variant="tiny", front=front, n_fft=512))
    assert frames(rng.normal(0, 0.1, (2, SAMPLES, 1))).shape == (2, 40, 2)


@pytest.mark.parametrize(("front", "depth", "low_hz", "high_hz"), [
    ("log_mel", 0, 400, 1000), ("windows", 2, 400, 1000), ("constant_q", 0, 150, 240),
    ("harmonic_cqt", 1, 40, 70), ("harmonic", 0, 200, 400), ("gabor", 0, 400, 1000),
])  # fmt: skip
def test_a_higher_tone_is_in_a_higher_band(front, depth, low_hz, high_hz):
    seconds = np.arange(SAMPLES) / 8000
    tones = (0.5 * np.sin(2 * np.pi * hz * seconds) for hz in (low_hz, high_hz))
    low, high = (image(front, tone)[20, :, depth].argmax() for tone in tones)
    assert low < high


@pytest.mark.parametrize("front", ["strided", "sinc", "gabor"])
def test_filters_give_the_power_of_what_passes_averaged_over_a_frame(front, rng):
    waveform = rng.normal(0, 0.1, SAMPLES)
    layer = model(front).get_layer(front)
    if front == "strided":
        kernels = [np.asarray(layer.kernel, np.float64)[:, 0]]
    else:
        edges = [np.asarray(edge, np.float32) for edge in layer.edges()]
        made = (sinc_filters if front == "sinc" else gabor_filters)(
            *map(keras.ops.convert_to_tensor, edges), 31, 8000
        )
        kernels = [np.asarray(part, np.float64) for part in (made if front == "gabor" else [made])]
    before = (239 * 8 + 31 - SAMPLES) // 2  # of silence, as "same" has it for steps of 8
    windows = sliding_window_view(np.pad(waveform, (before, 31)), 31)[: 40 * 6 * 8 : 8]
    power = sum((windows @ kernel) ** 2 for kernel in kernels).reshape(40, 6, 16).mean(axis=1)
    expected = 10 * np.log10(power)
    np.testing.assert_allclose(image(front, waveform)[:, :, 0], expected, atol=0.02)


def test_whitened_spectra_have_a_variance_of_one_where_they_were_measured(rng):
    size = models.sizes("fronts", variant="tiny", front="whitened")
    network = fronts.build(size)
    sounds = [rng.normal(0, 0.1, (SAMPLES, 1)) * 10 ** rng.uniform(-2, 0) for _ in range(8)]
    size.adapt(network, iter(sounds))
    heard = keras.Model(network.input, network.get_layer("whitened").output)
    found = np.concatenate(
        [np.asarray(heard(sound[None].astype("float32")))[0] for sound in sounds]
    )
    np.testing.assert_allclose(found.std(axis=0, ddof=1), 1, atol=1e-3)


@pytest.mark.parametrize("front", ["harmonic", *LEARNED])
def test_what_is_learned_moves(front, rng):
    network = keras.models.clone_model(model(front))
    network.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", jit_compile=False)
    first = network.get_layer(
        {"harmonic": "harmonic", "scales": "scale1", "samples": "samples1"}.get(front, front)
    )
    before = [np.array(weight) for weight in first.trainable_weights]
    network.train_on_batch(rng.normal(0, 0.1, (4, SAMPLES, 1)), np.eye(2)[[0, 1, 1, 0]])
    assert before
    for old, new in zip(before, first.trainable_weights, strict=True):
        assert np.any(old != np.asarray(new))


def test_a_window_is_whole_frames_and_sizes_that_cannot_be_are_refused():
    size = models.sizes("fronts")
    assert size.whole(16000) == 99 * 162
    assert size.whole(1) == 8 * 162
    with pytest.raises(ConfigError, match=r"hop_length must be a multiple of 6; got 160"):
        models.sizes("fronts", front="sinc", hop_length=160)
    with pytest.raises(ConfigError, match=r"pools of 16 bands in all .* got bands=15"):
        models.sizes("fronts", bands=15)
    with pytest.raises(ConfigError, match=r"front must be one of log_mel, .* got 'mel'"):
        models.sizes("fronts", front="mel")
