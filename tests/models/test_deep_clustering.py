"""Deep clustering against asteroid's numbers, the published sizes, and its way to stems."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import losses, models, presets, separation
from kzoo.convert import asteroid
from kzoo.deploy.examples import frames_proof
from kzoo.deploy.export import export
from kzoo.dsp.stft import istft, stft
from kzoo.dsp.windows import overlap_gain, window
from kzoo.engines import tensorflow as engine
from kzoo.models import deep_clustering

TINY = deep_clustering.VARIANTS["tiny"]
SHORT = dataclasses.replace(TINY, block_seconds=0.1, embedding=3)


@pytest.fixture(scope="module")
def recorded(vectors):
    return vectors("deep_clustering_chimera_small")


@pytest.fixture(scope="module")
def weights(recorded):
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


@pytest.fixture(scope="module")
def core(weights):
    return asteroid.from_weights(weights)


@pytest.fixture(scope="module")
def known(core, recorded):
    """What the core says of the recorded magnitudes, `[batch, frames, bins, 4 + 2]`."""
    return np.asarray(core(recorded["magnitude"].swapaxes(1, 2)[..., None]))


def magnitudes(waveform):
    """(asteroid's magnitudes `[..., frames, bins, 1]`, real, imag) by kzoo's transform."""
    real, imag = map(np.asarray, stft(waveform, 32, 8, window="sqrt_hann", padding="valid"))
    scaled = deep_clustering.ScaledMagnitude(32, 8)
    return np.asarray(scaled(real[..., None], imag[..., None])), real, imag


def test_asteroids_chimera_is_reproduced(known, recorded):
    embeddings = recorded["embeddings"].reshape(2, 17, -1, 4).swapaxes(1, 2)
    np.testing.assert_allclose(known[..., :4], embeddings, atol=3e-6)
    np.testing.assert_allclose(known[..., 4:], recorded["masks"].transpose(0, 3, 2, 1), atol=1e-6)


def test_asteroids_stems_by_masks_are_reproduced(known, recorded):
    found, real, imag = magnitudes(recorded["mixture"])
    np.testing.assert_allclose(found[..., 0].swapaxes(1, 2), recorded["magnitude"], atol=1e-6)
    masks = known[..., 4:].transpose(0, 3, 1, 2)
    stems = istft(
        masks * real[:, None], masks * imag[:, None], 32, 8, window="sqrt_hann", padding="valid",
        length=1600,
    )  # fmt: skip
    # The first and last windows, which nothing overlaps, are not made good there.
    gain = overlap_gain(window("sqrt_hann", 32) ** 2, 8, 197)
    expected = recorded["separated_waveforms"]
    np.testing.assert_allclose(stems * (gain / gain.max()), expected, atol=1e-6)


def test_asteroids_losses_are_reproduced(known, recorded):
    sources = np.stack([magnitudes(both)[0] for both in recorded["sources"]])
    mixture = recorded["magnitude"].swapaxes(1, 2)[..., None]
    for alpha in (1.0, 0.3, 0.0):
        found = losses.chimera(sources, known, mixture, alpha=alpha)
        np.testing.assert_allclose(np.mean(found), recorded[f"loss_alpha_{alpha}"], rtol=2e-6)
    embeddings = known[..., :4].reshape(2, -1, 4)
    for active_db, key in ((40.0, "dc_loss_per_example"), (None, "dc_loss_no_vad")):
        found = losses.deep_clustering(sources, embeddings, mixture, active_db=active_db)
        np.testing.assert_allclose(found, recorded[key], rtol=2e-6)


def test_asteroids_weights_are_all_used_or_named(weights):
    assert asteroid.from_weights(weights).count_params() == sum(
        value.size for name, value in weights.items()
        if "filterbank" not in name and "bias_hh" not in name
    )  # fmt: skip
    for name in ("masker.rnn.rnn.bias_hh_l1_reverse", "masker.embedding_layer.bias"):
        rest = {key: value for key, value in weights.items() if key != name}
        with pytest.raises(ValueError, match=f"missing: {re.escape(name)}"):
            asteroid.from_weights(rest)
    with pytest.raises(ValueError, match="unused: extra"):
        asteroid.from_weights({**weights, "extra": np.zeros(3)})
    plain = {key: value for key, value in weights.items() if "mask_layer" not in key}
    assert asteroid.from_weights(plain).output_shape[-1] == 4
    name = "decoder.filterbank._filters"
    with pytest.raises(ValueError, match=f"{name}: is no STFT"):
        asteroid.from_weights({**weights, name: weights[name] + 0.01})


@pytest.mark.parametrize(
    ("variant", "published", "second_biases"),
    [
        ("paper", 18_355_560, 2 * 2 * 4 * 600),
        ("asteroid", 35_654_760, 4 * 2 * 4 * 600),
        ("chimera", 35_964_618, 4 * 2 * 4 * 600),
    ],
)
def test_parameters_are_as_published_less_pytorchs_second_biases(
    unfilled, variant, published, second_biases
):
    network = deep_clustering.core(deep_clustering.VARIANTS[variant])
    assert network.count_params() + second_biases == published


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """The folder of a tiny preset that was not trained at all."""
    keras.utils.set_random_seed(1)
    model = deep_clustering.build(size=SHORT)
    card = {
        "sources": list(deep_clustering.SPEAKERS), "sample_rate": 8000, "interchangeable": True,
        "model": {"name": "deep_clustering", "options": dataclasses.asdict(SHORT)},
        "trained": "not at all",
    }  # fmt: skip
    return presets.save_to_preset(model, tmp_path_factory.mktemp("deep") / "preset", card)


def test_any_number_of_speakers_sums_to_the_recording_at_any_gain(preset, rng):
    opened = presets.open_preset(preset)
    sound = 0.1 * rng.standard_normal((2500, 2)).astype(np.float32)
    system = engine.system(opened.with_n_sources(3))
    separator = separation.BlockSeparator(system)
    stems = separator.separate(sound, 8000)
    assert list(stems) == ["speaker1", "speaker2", "speaker3"]
    np.testing.assert_allclose(sum(stems.values()), sound, atol=1e-6)
    assert all(np.abs(stem).max() > 1e-3 for stem in stems.values())
    quieter = separator.separate(sound / 128, 8000)
    for source, stem in stems.items():
        np.testing.assert_allclose(128 * quieter[source], stem, atol=1e-5)
    for silent in separator.separate(np.zeros((9, 1), np.float32), 8000).values():
        assert not silent.any()
    with pytest.raises(presets.PresetError, match="n_sources must be at least 2; got 1"):
        opened.with_n_sources(1)
    with pytest.raises(ValueError, match="embeddings of length 3 tell"):
        engine.system(opened.with_n_sources(4))


def test_the_embeddings_are_exported_under_their_name(preset, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    size, samples = SHORT.static()
    model = presets.from_preset(preset, samples=samples)
    proof = frames_proof(model, "embeddings", sample_rate=8000, hop_length=size.hop_length)
    card = export(model, "tflite", tmp_path, name="a", proof=proof, sample_rate=8000)
    assert card["parity"]["sources"]["embeddings"]["snr_db"] > 80
    assert card["frames"] == 1 + samples // size.hop_length


@pytest.mark.slow
def test_a_saved_model_gives_the_embeddings_of_any_length(preset, tmp_path):
    model = presets.from_preset(preset)
    proof = frames_proof(model, "embeddings", sample_rate=8000, hop_length=SHORT.hop_length)
    card = export(model, "saved_model", tmp_path, name="a", proof=proof, sample_rate=8000)
    assert card["parity"]["sources"]["embeddings"]["snr_db"] > 100
    loaded = tf.saved_model.load(card["path"]).signatures["serving_default"]
    shape = loaded(waveform=tf.zeros((2, 160, 1)))["embeddings"].shape
    assert shape == (2, 21, SHORT.bins, SHORT.embedding)


def test_a_chimera_gives_stems_by_its_masks():
    size = dataclasses.replace(SHORT, mask_head=2, stems="masks")
    model = deep_clustering.build(size=size, samples=160)
    assert model.output_shape == (None, 2, 160, 1)
    assert size.task == "separation"
    graph, domain = size.training(model)
    sources = np.zeros((1, 3, 160, 1), np.float32)
    assert graph.output_shape[1:] == (21, 17, SHORT.embedding + 2)
    assert domain(sources).shape == (1, 3, 21, 17, 1)
    with pytest.raises(ValueError, match="there are masks of 2 sources; got 3"):
        deep_clustering.build(["a", "b", "c"], size)
    with pytest.raises(ValueError, match="needs a mask_head of as many sources"):
        models.sizes("deep_clustering", variant="tiny", stems="masks")
    by_clusters = dataclasses.replace(size, stems="clusters")
    with pytest.raises(ValueError, match="trained with stems='masks'"):
        by_clusters.training(model)


def test_soft_masks_sum_to_one_and_lean_to_the_nearest_centre(rng):
    vectors = rng.standard_normal((1, 4, 3, 2)).astype(np.float32)
    centres = np.array([[[1, 0], [0, 1], [-1, 0]]], np.float32)
    hard, soft = (
        np.asarray(deep_clustering.ClusterMasks(way)(vectors, centres))
        for way in ("binary", "soft")
    )
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    squares = np.square(vectors[:, None] - centres[:, :, None, None]).sum(-1)  # [1, 3, 4, 3]
    expected = np.exp(-5 * squares) / np.exp(-5 * squares).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(soft[..., 0], expected, atol=1e-6)
    np.testing.assert_array_equal(hard.argmax(axis=1), soft.argmax(axis=1))
    assert set(np.unique(hard)) == {0, 1}
