"""Learned band-passes against what their authors' programs gave, and against their definitions."""

import keras
import numpy as np
import pytest
from made_artefacts import proof_of
from scipy import stats

from kzoo.dsp.band_passes import (
    gabor_filters,
    harmonic_filters,
    mel_edges,
    semitone_centres,
    sinc_filters,
)
from kzoo.dsp.constant_q import HarmonicCQT
from kzoo.dsp.mel import LogMel
from kzoo.layers.band_passes import GaborBandPasses, HarmonicBands, SincBandPasses

EDGES = np.array([200.0, 900.0], np.float32), np.array([500.0, 1000.0], np.float32)


def test_sinc_filters_and_their_output_are_those_of_sincnet(vectors):
    recorded = vectors("sincnet_conv")
    layer = SincBandPasses(80, 251, 16000)
    waveform = recorded["input"].transpose(0, 2, 1)
    output = layer(waveform)
    assert layer.count_params() == 160
    np.testing.assert_allclose(layer.low_hz, recorded["low_hz"][:, 0], rtol=1e-5)
    np.testing.assert_allclose(layer.band_hz, recorded["band_hz"][:, 0], rtol=2e-4)
    np.testing.assert_allclose(layer.kernel().numpy().T, recorded["filters"][:, 0], atol=2e-4)
    expected = recorded["output"].transpose(0, 2, 1)
    np.testing.assert_allclose(output[:, :400], expected, atol=1e-3 * np.abs(expected).max())


def test_edges_are_bounded_and_a_negative_width_counts_as_its_size():
    layer = SincBandPasses(2, 31, 8000)
    layer.build((None, None, 1))
    layer.low_hz.assign([-100.0, 3000.0])
    layer.band_hz.assign([-200.0, 5000.0])
    low, high = layer.edges()
    np.testing.assert_allclose(low, [150, 3050])
    np.testing.assert_allclose(high, [400, 4000])


def test_a_gabor_filter_is_a_normal_density_times_an_exponential():
    low, high = EDGES
    real, imag = gabor_filters(*map(keras.ops.convert_to_tensor, EDGES), 401, 8000)
    seconds = np.arange(-200, 201)[:, None] / 8000
    sigma = np.sqrt(np.log(2)) / np.pi / (high - low)
    expected = stats.norm.pdf(seconds, scale=sigma) / 8000
    expected = expected * np.exp(2j * np.pi * (low + high) / 2 * seconds)
    np.testing.assert_allclose(np.asarray(real) + 1j * np.asarray(imag), expected, atol=1e-5)


def test_a_gabor_filter_has_half_its_power_at_its_edges_and_hears_no_negative_frequency():
    low, high = EDGES
    real, imag = gabor_filters(*map(keras.ops.convert_to_tensor, EDGES), 801, 8000)
    taps = np.asarray(real) + 1j * np.asarray(imag)
    n = np.arange(801)
    for k in range(2):
        middle = (low[k] + high[k]) / 2
        hertz = np.array([middle, low[k], high[k], -middle])
        gains = np.abs(np.exp(-2j * np.pi * hertz[:, None] / 8000 * n) @ taps[:, k])
        np.testing.assert_allclose(gains, [1, 0.5**0.5, 0.5**0.5, 0], atol=1e-3)


def test_gabor_band_passes_turn_a_tone_forwards_at_a_constant_magnitude():
    layer = GaborBandPasses(20, 401, 8000, padding="same")
    time = np.arange(4000) / 8000
    layer.build((None, None, 1))
    low, high = (float(edge[7]) for edge in layer.edges())
    hertz = (low + high) / 2
    output = np.asarray(layer(np.cos(2 * np.pi * hertz * time)[None, :, None].astype(np.float32)))
    assert output.shape == (1, 4000, 40)
    band = (output[0, :, 14] + 1j * output[0, :, 15])[1000:3000]
    np.testing.assert_allclose(np.abs(band), 0.5, rtol=0.02)
    np.testing.assert_allclose(np.angle(band[1:] / band[:-1]), 2 * np.pi * hertz / 8000, rtol=0.02)


def test_harmonic_triangles_are_those_of_the_reference(vectors):
    recorded = vectors("harmonic_filterbank")
    centres = semitone_centres(16000, 6, 2)
    assert len(centres) == recorded["level"] == 128
    multiples = (centres[:, None] * np.arange(1, 7)).T.ravel()  # as the reference has them
    np.testing.assert_allclose(multiples, recorded["f0"], rtol=1e-5)
    filters = harmonic_filters(
        keras.ops.convert_to_tensor(centres, "float32"), 1.0, sample_rate=16000, n_fft=512,
        harmonics=6,
    )  # fmt: skip
    filters = np.transpose(filters, (0, 2, 1)).reshape(257, -1)
    np.testing.assert_allclose(filters, recorded["fb"], atol=1e-4)


def test_harmonic_levels_are_those_of_the_harmonic_cnn(vectors):
    recorded = vectors("tag_harmonic_cnn")
    signal = (recorded["audio_int16"][:4000] / 32768).astype(np.float32)
    layer = HarmonicBands(16000)
    layer.build((None, None, 1))
    layer.quality.assign(recorded["param/hstft.bw_Q"][0])
    levels = layer(signal[None, :, None])[0]
    np.testing.assert_allclose(
        np.transpose(levels[:8], (2, 1, 0)), recorded["db_first8"], atol=1e-2
    )


def test_a_note_moves_by_semitones_and_its_harmonics_with_it():
    time = np.arange(4096) / 8000
    moved = HarmonicBands(8000, 1024, 256, harmonics=3, learn_centres=True)
    moved.build((None, None, 1))
    k = 60  # half semitones above C1: 185 Hz
    moved.shift.assign(12.0 * np.eye(len(moved.centres_hz))[k])
    for harmonic in range(3):
        tone = np.sin(2 * np.pi * 2 * moved.centres_hz[k] * (harmonic + 1) * time)
        levels = np.asarray(moved(tone[None, :, None].astype(np.float32)))[0, 8]
        still = HarmonicBands(8000, 1024, 256, harmonics=3)
        before = np.asarray(still(tone[None, :, None].astype(np.float32)))[0, 8]
        np.testing.assert_allclose(levels[k, harmonic], before[k + 24, harmonic], atol=0.01)
        np.testing.assert_array_equal(np.delete(levels, k, axis=0), np.delete(before, k, axis=0))


@pytest.mark.parametrize(
    "layer",
    [
        SincBandPasses(5, 31, 8000, strides=2),
        GaborBandPasses(5, 31, 8000),
        HarmonicBands(8000, 256),
        HarmonicBands(8000, 256, learn_centres=True),
    ],
    ids=lambda layer: layer.name,
)
def test_edges_and_qualities_are_learned_and_layers_come_back(layer, rng):
    waveform = rng.standard_normal((2, 800, 1)).astype(np.float32)
    inputs = keras.Input((None, 1))
    again = type(layer).from_config(layer.get_config())
    model = keras.Model(inputs, again(inputs))
    output = layer(waveform)
    np.testing.assert_allclose(model(waveform), output, atol=1e-5)
    model.compile(keras.optimizers.Adam(0.5), "mse")
    before = [w.numpy() for w in model.trainable_weights]
    model.train_on_batch(waveform, np.asarray(output) + 0.3)
    for old, new in zip(before, model.trainable_weights, strict=True):
        assert np.all(np.isfinite(new.numpy()))
        assert np.any(old != new.numpy())


@pytest.mark.parametrize("filters", [sinc_filters, gabor_filters])
def test_an_even_kernel_is_refused(filters):
    with pytest.raises(ValueError, match="odd, and 3 at least; got 30"):
        filters(*EDGES, 30, 8000)


def test_several_channels_and_bands_beyond_nyquist_are_refused():
    with pytest.raises(ValueError, match="one channel; got 2 channels"):
        SincBandPasses(4, 31, 8000).build((None, None, 2))
    with pytest.raises(ValueError, match="4000 Hz; got 0 to 5000"):
        mel_edges(4, 8000, 0.0, 5000.0)


def test_front_ends_run_alike_in_tflite(rng):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    from kzoo.deploy.formats import tflite
    from kzoo.deploy.interpreter import open_litert

    waveform = keras.Input((800, 1), name="waveform")
    fronts = [
        LogMel(8000, 256, 128, 20),
        HarmonicCQT(8000, 128, 220.0, 24, 12, (1, 2)),
        SincBandPasses(5, 31, 8000),
        GaborBandPasses(5, 31, 8000),
        HarmonicBands(8000, 256),
    ]
    flat = [keras.layers.Flatten()(front(waveform)) for front in fronts]
    outputs = keras.layers.Concatenate()(flat)
    model = keras.Model(waveform, outputs[:, None, :, None], name="fronts")
    content = tflite.converted(model, proof_of(model))
    signal = 0.1 * rng.standard_normal((800, 1)).astype(np.float32)
    answer = open_litert(content, threads=1).get_signature_runner()(waveform=signal)["a"]
    expected = model(signal[None])[0, 0]
    np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-3)
