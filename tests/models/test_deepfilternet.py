"""DeepFilterNet3: the authors' outputs from the authors' files, whole and as a stream.

The published network is drawn with the post-filter; what goes into it is what there is without.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import models
from kzoo.convert import deepfilternet as convert
from kzoo.layers.deep_filtering import AttenuationLimit, WindowedFrames
from kzoo.models import deepfilternet
from kzoo.models.base.causal import STATE, SumFrames
from kzoo.models.deepfilternet import initial_state

FILE = "DeepFilterNet3_onnx.tar.gz"
TINY = deepfilternet.VARIANTS["tiny"]
PUBLISHED = dataclasses.replace(deepfilternet.VARIANTS["deepfilternet3"], post_filter=0.02)
FRAMES = [60, 120, 180, 201]
# Recorded array: (layer whose output it is, frames of it); channels come first in the convolutions.
INSIDE = {
    "erb_db": ("levels", ...),
    "feat_erb": ("level_mean", ...),
    "feat_spec_first24": ("magnitude_mean", slice(24)),
    "feat_spec_frames": ("magnitude_mean", FRAMES),
    "e0_first4": ("erb_conv0", slice(4)),
    "e1_first4": ("erb_conv1", slice(4)),
    "e2_first4": ("erb_conv2", slice(4)),
    "e3_first4": ("erb_conv3", slice(4)),
    "c0_first3": ("df_conv0", slice(3)),
    "c1_first3": ("df_conv1", slice(3)),
    "df_fc_emb_first6": ("df_fc_emb", slice(6)),
    "enc_gru_in_first6": ("enc_linear_in", slice(6)),
    "emb_first24": ("embedding", slice(24)),
    "emb_frames": ("embedding", FRAMES),
    "lsnr": ("local_snr_db", ...),
    "dec_emb_first6": ("gain_linear_out", slice(6)),
    "convt3_first4": ("convt3", slice(4)),
    "convt2_first4": ("convt2", slice(4)),
    "convt1_first3": ("convt1", slice(3)),
    "mask": ("gains", ...),
    "df_skip_first6": ("df_skip", slice(6)),
    "coefs_first24": ("coefficients", slice(24)),
    "coefs_frames": ("coefficients", [60, 120, 180, 200, 201]),
}


@pytest.fixture(scope="module")
def recorded(vectors):
    arrays = vectors("deepfilternet3")
    return {**arrays, "mixture": arrays["audio_int16"].astype(np.float32) / 32768}


@pytest.fixture(scope="module")
def weights(shared):
    return convert.read(shared / "data/weights/deepfilternet3" / FILE)


@pytest.fixture(scope="module")
def network(weights):
    """The published network, any length."""
    return convert.from_weights(weights, size=PUBLISHED)


@pytest.fixture(scope="module")
def whole(network, recorded):
    """What the published network says of the recorded mixture, and what its layers do."""
    names = {"spectrum"} | {layer for layer, _ in INSIDE.values()}
    layers = {name: network.get_layer(name).output for name in names}
    plain = network.get_layer("post_filter").input[:2]
    probe = keras.Model(network.input, {**layers, "plain": plain, "stems": network.output})
    found = tf.function(probe)(recorded["mixture"][None, :, None])
    return tf.nest.map_structure(lambda array: np.asarray(array)[0], found)


@pytest.fixture(scope="module")
def streamed(network, recorded):
    """The same of the first half second of the stream."""
    step = with_weights_of(network, deepfilternet.build_step(size=PUBLISHED, frames=25))
    plain = step.get_layer("post_filter").input[:2]
    outputs = {**step.output, "snr": deepfilternet.local_snr(step), "plain": plain}
    return stream(keras.Model(step.input, outputs), begun(step), recorded["mixture"][:24000])


def begun(step):
    """The state of silence of a step model, with the running means' beginnings."""
    bands, bins = (step.input[f"state_{of}_mean"].shape[1] for of in ("level", "magnitude"))
    return deepfilternet.silent_state(
        step,
        level_mean=np.linspace(-60, -90, bands)[None],
        magnitude_mean=np.linspace(1e-3, 1e-4, bins)[None],
    )


def with_weights_of(model, step):
    by_path = {weight.path: weight for weight in model.weights}
    for weight in step.weights:
        weight.assign(by_path[weight.path])
    return step


def stream(step, state, signal):
    """All outputs of block after block of `signal`, joined."""
    graph, size = tf.function(step), step.input["waveform"].shape[1]
    state, found = {STATE + k: v for k, v in state.items()}, []
    for at in range(0, len(signal) - size + 1, size):
        results = dict(graph({"waveform": signal[None, at : at + size, None], **state}))
        state = {name: results.pop(name) for name in state}
        found.append(results)
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts, axis=1)[0], *found)


def snr_db(expected, found):
    error = np.sum(np.abs(np.complex128(expected) - found) ** 2)
    return 10 * np.log10(np.sum(np.abs(np.complex128(expected)) ** 2) / error)


def synthesised(real, imag, samples):
    """The waveform of a spectrum `[frames, bins]`, which begins a hop before it."""
    frames = WindowedFrames(PUBLISHED.n_fft)(np.asarray(real)[None], np.asarray(imag)[None])
    join = SumFrames(PUBLISHED.hop_length)
    return np.asarray(join(frames, np.zeros((1, samples, 1), np.float32)))[0, :, 0]


@pytest.mark.parametrize("name", INSIDE)
def test_the_network_says_inside_what_the_authors_does(whole, recorded, name):
    layer, frames = INSIDE[name]
    expected, found = recorded[name], whole[layer][frames]
    if np.iscomplexobj(expected):
        found = found[..., 0::2] + 1j * found[..., 1::2]
    elif expected.ndim == 3:
        found = found.transpose(2, 0, 1)
    assert snr_db(expected, found.reshape(expected.shape)) > 100


def test_the_whole_is_the_authors(whole, recorded):
    found = synthesised(*whole["plain"], len(recorded["enhanced"]))
    assert snr_db(recorded["enhanced"], found) > 110
    filtered = recorded["enhanced_postfilter_first9600"]
    assert snr_db(filtered, whole["stems"][0, :9600, 0]) > 110


def test_the_stream_is_the_authors_library(streamed, recorded):
    hop = PUBLISHED.hop_length
    found = synthesised(*streamed["plain"], 24000 - hop)
    assert snr_db(recorded["stream_first24000"][hop:], found) > 110
    filtered = recorded["stream_postfilter_first9600"]
    assert snr_db(filtered, streamed["speech"][:9600, 0]) > 110
    assert snr_db(recorded["stream_lsnr"][:50], streamed["snr"][:, 0]) > 100


def test_the_limit_of_the_attenuation_is_the_authors(whole, recorded):
    limit = AttenuationLimit(12.0)
    limited = [limit(y, x) for y, x in zip(whole["plain"], whole["spectrum"], strict=True)]
    found = synthesised(*limited, 9600)
    assert snr_db(recorded["enhanced_atten12_first9600"], found) > 110


def test_bands_are_the_authors_and_make_up_all_bins(recorded):
    assert PUBLISHED.band_widths() == tuple(recorded["erb_widths"])
    assert sum(TINY.band_widths()) == 81


def test_a_recording_of_any_length_is_heard_to_its_last_sample():
    """The authors' program appends a frame of silence, and hears every whole hop of that."""
    layer = deepfilternet.HopAfter(480)
    for samples, hops in ((1, 1), (479, 1), (480, 2), (960, 3), (961, 3)):
        assert layer(np.ones((1, samples, 1), np.float32)).shape == (1, 480 * hops, 1)


def test_without_a_look_ahead_the_stream_is_the_whole(rng):
    """Every path is open here, also the one that the published weights shut.

    The limit lets nothing be attenuated, so sound comes back as it is; what is compared lies
    before the limit.
    """
    size = dataclasses.replace(TINY, lookahead=0, attenuation_limit_db=0.0, pathway_frames=3)
    keras.utils.set_random_seed(0)
    model = deepfilternet.build(size=size)
    for weight in model.weights:
        weight.assign(weight + rng.uniform(0, 0.2, weight.shape))
    step = with_weights_of(model, deepfilternet.build_step(size=size, frames=8))
    signal = rng.standard_normal(24 * 80).astype(np.float32)
    real, imag = (model.get_layer(f"limited_{part}").input[0] for part in ("real", "imag"))
    probe = keras.Model(model.input, [model.output, real, imag])
    stems, *plain = (np.asarray(x)[0] for x in probe(signal[None, :, None]))
    real, imag = (step.get_layer(f"limited_{part}").input[0] for part in ("real", "imag"))
    outputs = {**step.output, "real": real, "imag": imag}
    found = stream(keras.Model(step.input, outputs), initial_state(step), signal)
    for part, whole in zip(("real", "imag"), plain, strict=True):
        assert np.abs(whole).max() > 0.05
        np.testing.assert_allclose(found[part], whole[:24], atol=1e-5)
    late = size.delay_samples
    np.testing.assert_allclose(stems[0, :, 0], signal, atol=2e-6)
    np.testing.assert_allclose(found["speech"][late:, 0], signal[:-late], atol=2e-6)


def test_there_are_as_many_parameters_as_published(network):
    """2,134,641 numbers are published; 257 of them make an output that no program asks for."""
    assert network.count_params() == 2_134_641 - 257
    assert PUBLISHED.delay_samples == 1440


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"channels": 2}, "channels must be 1: the network hears one; got 2"),
        ({"hop_length": 240}, "n_fft must be twice hop_length"),
        ({"lookahead": 5}, "lookahead must be at least 0 and below filter_order"),
        ({"filter_bins": 95}, "filter_bins must be even and at most .* 480; got 95"),
        ({"bands": 30}, "bands must be a multiple of 4"),
        ({"groups": 24}, "groups must divide the features .* 512, 256, 256, 960; got 24"),
        ({"least_band_bins": 20}, "32 bands of 20 bins or more do not fit in the 481 bins"),
        ({"attenuation_limit_db": -3.0}, "must not be below 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_value(options, reason):
    with pytest.raises(ValueError, match=reason):
        models.sizes("deepfilternet", **options)


def test_every_published_number_is_read_and_has_its_place(network, weights, shared):
    """The branch df_convp is dead in the published network: no output says that it is right."""
    with np.load(shared / "data/weights/deepfilternet3/deepfilternet3_onnx_tensors.npz") as known:
        assert set(known.files) == set(weights)
        assert all(np.array_equal(known[name], weights[name]) for name in known.files)
    kernels = {"df_convp_taps": "df_convp.1.weight", "df_convp": "onnx::Conv_268"}
    for layer, name in kernels.items():
        expected = weights[f"df_dec/{name}"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(network.get_layer(layer).kernel, expected)
    bias = network.get_layer("df_convp").bias
    np.testing.assert_array_equal(bias, weights["df_dec/onnx::Conv_269"])


def test_other_weights_are_refused_by_their_names(network, weights, monkeypatch):
    monkeypatch.setattr(convert.models, "build", lambda *_, **__: network)  # assigned is nothing
    with pytest.raises(ValueError, match="has one source; got speech, noise"):
        convert.from_weights(weights, sources=["speech", "noise"])
    others = {**weights, "enc/erb_conv1.0.weight": np.zeros((3, 3)), "enc/more": np.zeros(1)}
    del others["df_dec/onnx::Conv_269"]
    with pytest.raises(
        ValueError,
        match=r"missing: df_dec/onnx::Conv_269; unused: enc/more; wrong shape: "
        r"enc/erb_conv1.0.weight is \(3, 3\), not \(3, 64\)",
    ):
        convert.from_weights(others)
