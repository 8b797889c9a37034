"""Open-Unmix against its authors' numbers, the published sizes, and the filter behind it."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import Separator, models, presets
from kzoo.convert import open_unmix as convert
from kzoo.dsp.stft import STFT, magnitude
from kzoo.models import open_unmix

TARGETS = ["vocals", "drums", "bass", "other"]
RESIDUAL = ["vocals", "residual"]


def tiny(**changes):
    return models.sizes("open_unmix", variant="tiny", **changes)


def noise(rng, samples, channels=2):
    return (0.3 * rng.standard_normal((1, samples, channels))).astype(np.float32)


def weights_of(recorded, prefix=""):
    return {
        prefix + name.removeprefix("param/").replace("/", "."): array
        for name, array in recorded.items()
        if name.startswith("param/")
    }


def small_model(recorded, **options):
    return convert.from_weights(
        weights_of(recorded, "vocals."), sample_rate=44100, hop_length=16, **options
    )


def test_the_authors_network_is_reproduced(vectors):
    recorded = vectors("openunmix_small")
    network = small_model(recorded).get_layer("open_unmix_core")
    magnitudes = recorded["input"].transpose(
        0, 3, 2, 1
    )  # theirs is [batch, channels, bins, frames]
    expected = recorded["output"].transpose(0, 3, 2, 1)
    np.testing.assert_allclose(np.asarray(network(magnitudes))[:, 0], expected, atol=2e-6)


FILTERED = {"wiener_iterations": 1, "wiener_frames": 25}
SOFT = {**FILTERED, "wiener_iterations": 2, "softmask": True}


@pytest.mark.parametrize(
    ("recording", "sources", "options"),
    [
        ("residual_niter1", ["vocals", "drums", "residual"],
         {"wiener_iterations": 1, "wiener_frames": None, "residual": True}),
        pytest.param("four_niter0", TARGETS, {}, marks=pytest.mark.slow),
        pytest.param("four_niter1", TARGETS, FILTERED, marks=pytest.mark.slow),
        pytest.param("softmask_niter2", TARGETS, SOFT, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_the_authors_separator_is_reproduced_from_waveform_to_stems(
    vectors, recording, sources, options
):
    recorded = vectors("umx_pipeline")
    weights = {
        f"target_models.{name}": array
        for name, array in weights_of(recorded).items()
        if name.partition(".")[0] in sources
    }
    model = convert.from_weights(
        weights, sample_rate=44100, hop_length=128, sources=sources, **options
    )
    mixture = recorded["audio_int16"].T[None].astype(np.float32) / 32768
    expected = recorded[recording]  # [sources, channels, samples]
    found = np.asarray(tf.function(model, autograph=False)(mixture))[0].transpose(0, 2, 1)
    found = found[..., : expected.shape[-1]]
    assert np.sum((found - expected) ** 2) < 1e-12 * np.sum(expected**2)  # 120 dB


@pytest.mark.parametrize(
    ("variant", "published", "second_biases"),
    [
        ("umxhq", 8_893_348, 3 * 2 * 4 * 256),
        ("umxl", 28_257_188, 3 * 2 * 4 * 512),
        ("umxse", 1_583_622, 3 * 2 * 4 * 128),
        ("unidirectional", 10_466_212, 3 * 4 * 512),
    ],
)
def test_trained_parameters_are_as_published_less_pytorchs_second_biases(
    unfilled, variant, published, second_biases
):
    network = open_unmix.core(["vocals"], open_unmix.VARIANTS[variant])
    trained = sum(np.prod(weight.shape) for weight in network.trainable_weights)
    assert trained + second_biases == published


def test_a_weight_that_is_missing_spare_or_of_another_shape_is_named(vectors):
    recorded = vectors("openunmix_small")
    for changes, message in (
        ({"param/bn2.bias": None}, r"missing: vocals\.bn2\.bias"),
        ({"param/fc4.weight": np.zeros(3)}, r"unused: vocals\.fc4\.weight"),
        ({"param/fc2.weight": np.zeros((8, 3))}, r"wrong shape: vocals\.fc2\.weight is \(8, 3\)"),
        ({"param/lstm.bias_hh_l1": None}, r"missing: vocals\.lstm\.bias_ih_l1 \+ bias_hh_l1"),
    ):
        given = {k: v for k, v in {**recorded, **changes}.items() if v is not None}
        with pytest.raises(ValueError, match=message):
            small_model(given)
    with pytest.raises(ValueError, match="weights must be those of Open-Unmix"):
        convert.from_weights({"a.b": np.zeros(1)}, sample_rate=44100, hop_length=16)


def test_the_residual_is_what_the_others_leave_of_the_mixture(rng):
    model = open_unmix.build(RESIDUAL, tiny(residual=True))
    assert [weight.path for weight in model.weights if "residual" in weight.path] == []
    mixture = noise(rng, 333)
    stems = np.asarray(model(mixture))
    np.testing.assert_allclose(stems.sum(axis=1), mixture, atol=1e-6)
    with pytest.raises(ValueError, match="residual needs two sources or more; got vocals"):
        open_unmix.build(["vocals"], tiny(residual=True))


def test_a_residual_is_not_trained_and_the_mixture_behind_it_stays(rng):
    size = tiny(residual=True)
    graph, domain = size.training(open_unmix.build(RESIDUAL, size, samples=256))
    sources = np.stack([noise(rng, 256) for _ in range(3)], axis=1)  # the last is the mixture
    targets = np.asarray(domain(sources))
    assert targets.shape[1:] == (2, *graph.output_shape[2:])
    _, every = tiny().training(open_unmix.build(RESIDUAL, tiny(), samples=256))
    np.testing.assert_array_equal(targets, np.asarray(every(sources))[:, [0, 2]])


def test_the_input_is_scaled_to_what_the_training_hears(rng):
    size, system = tiny(channels=1), open_unmix.build(["a", "b"], tiny(channels=1))
    mixtures = [noise(rng, 400, 1)[0] * (1 + np.arange(400)[:, None] % 9) for _ in range(3)]
    size.adapt(system, iter(mixtures))
    spectra = [STFT(64, 16, padding="valid")(mixture[None]) for mixture in mixtures]
    frames = np.concatenate([np.asarray(magnitude(*spectrum))[0] for spectrum in spectra])
    layer = system.get_layer("open_unmix_core").get_layer("b_input")
    scaled = np.asarray(layer(np.swapaxes(frames[None, :, : size.bins], 2, 3)))[0, :, 0]
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-5)
    mean = frames.mean(axis=0)[: size.bins, 0]
    np.testing.assert_allclose(-np.asarray(layer.mean), mean, rtol=1e-5)
    with pytest.raises(ValueError, match="the first 256 examples of the training are silent"):
        size.adapt(system, iter([np.zeros((400, 1), np.float32)]))


def test_windows_of_the_filter_are_filtered_by_themselves(rng):
    """The last one, too, which is shorter: each equals what it is of a filter of one window."""
    from kzoo.layers.wiener import WienerFilter

    first, mixture = rng.standard_normal((2, 1, 3, 7, 5, 2)), rng.standard_normal((2, 1, 7, 5, 2))
    spectra = [x.astype(np.float32) for x in (*first, *mixture)]
    found = WienerFilter(1, 3)(*spectra)
    for at in range(0, 7, 3):
        window = [x[..., at : at + 3, :, :] for x in spectra]
        for part, expected in zip(found, WienerFilter(1)(*window), strict=True):
            np.testing.assert_allclose(part[:, :, at : at + 3], expected, atol=1e-6)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A maker of presets of tiny networks, random ones: `preset(**options)`."""

    def make(**options):
        keras.utils.set_random_seed(0)
        system = models.build("open_unmix", sources=RESIDUAL, variant="tiny", **options)
        card = {
            "name": "tiny_open_unmix", "summary": "untrained, for tests", "sources": RESIDUAL,
            "sample_rate": 8000, "channels": 2, "licences": {"weights": "none"},
            "model": {
                "name": "open_unmix", "options": {"sources": RESIDUAL, "variant": "tiny", **options}
            },
            "trained": "not at all: random weights from a seed",
        }  # fmt: skip
        folder = tmp_path_factory.mktemp("preset")
        presets.save_to_preset(system, folder, card)
        return folder

    return make


def test_mwf_is_one_iteration_of_the_filter_in_each_block(preset, rng):
    mixture, folder = noise(rng, 3000)[0], preset(residual=True)
    found = Separator.from_preset(folder, mwf=True).separate(mixture, 8000)
    opened = presets.open_preset(folder)
    size, _ = opened.sizes(wiener_iterations=1)
    block = np.pad(mixture, ((0, 1000), (0, 0)))[None]  # as long as the first one, and alone
    # Drawn, as each step of a recurrent layer takes 1 ms in eager calls.
    expected, plain = (
        np.asarray(tf.function(model, autograph=False)(block))[0, :, :3000]
        for model in (opened.model(size), opened.model())
    )
    for source, stem, unfiltered in zip(RESIDUAL, expected, plain, strict=True):
        np.testing.assert_allclose(found[source], stem, atol=1e-6)
        assert np.abs(stem - unfiltered).max() > 1e-3


def test_a_stream_has_no_filter(preset):
    folder = preset(bidirectional=False)
    with pytest.raises(presets.PresetError, match=r"streams, and has no .* Wiener filter"):
        Separator.from_preset(folder, mwf=True)
    with pytest.raises(ValueError, match="wiener_iterations must be 0 for a network that streams"):
        tiny(bidirectional=False, wiener_iterations=1)


def test_one_direction_ignores_the_future(rng):
    network = open_unmix.core(["vocals"], tiny(bidirectional=False))
    frames = rng.uniform(0, 1, (1, 12, 33, 2)).astype(np.float32)
    later = frames.copy()
    later[:, 6:] = 0
    expected = np.asarray(network(frames))[:, :, :6]
    np.testing.assert_array_equal(np.asarray(network(later))[:, :, :6], expected)


def test_delay_and_latency_of_the_unidirectional_network():
    size = open_unmix.VARIANTS["unidirectional"]
    assert size.streams
    assert size.delay_samples == 3072
    assert size.latency_ms == pytest.approx(92.9, abs=0.1)
    with pytest.raises(ValueError, match="open_unmix hears what is to come with these sizes"):
        open_unmix.build_step(size=tiny())


def test_options_that_mean_nothing_are_refused():
    for changes, message in (
        ({"bins": 34}, r"bins must be at most n_fft // 2 \+ 1 = 33; got 34"),
        ({"hop_length": 33}, "hop_length must be from 1 to n_fft // 2"),
        ({"hidden": 7}, "hidden must be even: each direction has half; got 7"),
        ({"wiener_frames": 0}, "wiener_iterations must be at least 0, and wiener_frames 1"),
        ({"channels": 3, "wiener_iterations": 1}, "and above 2 channels; got 1"),
    ):
        with pytest.raises(ValueError, match=message):
            tiny(**changes)
    assert dataclasses.replace(tiny(), hidden=7, bidirectional=False).hidden == 7
