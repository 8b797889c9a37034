"""Hybrid Demucs against the authors' numbers, with and without the transformer, and its rules."""

import re

import keras
import made_artefacts
import numpy as np
import pytest
import tensorflow as tf
from made_once import drawn_once
from made_torch_files import checkpoint, integer, mapping, text

import kzoo
from kzoo import models
from kzoo.convert import htdemucs as convert
from kzoo.layers.attention import LocalAttention
from kzoo.layers.dconv import DConv, LongBLSTM
from kzoo.models import htdemucs
from kzoo.separation import BlockSeparator, System

each_network_is_drawn_once = drawn_once((htdemucs, "build"))
RATE, BLOCK = 44100, 9000
INSIDE = {
    "transformer2": "layer1_first16",
    "wave_transformer2": "layer_t1_first16",
    "transformer3": "layer2_first16",
    "wave_transformer3": "layer_t2_first16",
}


@pytest.fixture(scope="module")
def recorded(vectors):
    return vectors("htdemucs_small")


@pytest.fixture(scope="module")
def without_transformer(vectors):
    return vectors("hdemucs_small")


@pytest.fixture(scope="module")
def published(recorded):
    return convert.from_weights(weights_of(recorded), heads=4)


@pytest.fixture(scope="module")
def said(recorded, published):
    """What the network says of a block, and of a shorter one filled up with silence."""
    inside = {name: published.get_layer(name).output for name in INSIDE}
    model = keras.Model(published.input, {**inside, "stems": published.output})
    block = sound_of(recorded)[:, :BLOCK]
    short = np.pad(block[:, :7000], ((0, 0), (0, BLOCK - 7000), (0, 0)))
    return model(np.concatenate([block, short]))


def weights_of(recorded):
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


def sound_of(recorded):
    return recorded["audio_int16"].T.astype(np.float32)[None] / 32768  # [1, samples, 2]


def test_the_authors_network_is_reproduced_inside_and_out(recorded, published, said):
    for name, key in INSIDE.items():
        np.testing.assert_allclose(said[name][0, :16], recorded[key], atol=2e-5)
    stems = np.asarray(said["stems"])[0].transpose(0, 2, 1)
    np.testing.assert_allclose(stems, recorded["output"], atol=2e-6)
    assert published.count_params() == 127_736


def test_a_shorter_recording_filled_up_with_silence_is_the_authors_forward(recorded, said):
    found = np.asarray(said["stems"])[1, 0, :7000].T
    np.testing.assert_allclose(found, recorded["output_short"][0], atol=2e-6)


def test_recordings_are_cut_filled_and_joined_as_the_authors_program_does(recorded, published):
    size = htdemucs.HTDemucs(block_seconds=BLOCK / RATE)
    separator = BlockSeparator(
        System(
            function=lambda block: np.asarray(published(block)),
            sources=htdemucs.SOURCES,
            sample_rate=RATE,
            channels=2,
            grid=size.grid(),
            standardised=size.standardised,
        )
    )
    found = separator.separate(sound_of(recorded)[0], RATE)["vocals"]
    np.testing.assert_allclose(found.T, recorded["applied_last_source"], atol=2e-6)


def test_an_exported_file_is_joined_as_its_preset_is(rng, tmp_path_factory):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    card, blocks = made_artefacts.joined(tmp_path_factory.getbasetemp())
    sound = (0.2 + 0.01 * rng.standard_normal((3300, 2))).astype(np.float32)
    found = kzoo.Separator.from_preset(card["path"]).separate(sound, card["sample_rate"])
    for source, stem in blocks.separate(sound, card["sample_rate"]).items():
        np.testing.assert_allclose(found[source], stem, atol=1e-6)


def test_the_authors_network_without_the_transformer_is_reproduced(without_transformer):
    weights = weights_of(without_transformer)
    model = convert.from_weights(weights)
    found = np.asarray(model(sound_of(without_transformer)))[0].transpose(0, 2, 1)
    # Norms before their edges are cut off: after it 8e-7 are between them.
    np.testing.assert_allclose(found, without_transformer["output"], atol=2e-7)
    seconds = sum(value.size for name, value in weights.items() if "lstm.bias_hh" in name)
    assert model.count_params() + seconds == 32_808

    branch = model.get_layer("encoder5_dconv").branches[0]
    for part, key in (("lstm", "blstm_long"), ("attention", "localstate")):
        sequence = without_transformer[f"{key}_in"].T[None]
        expected = without_transformer[f"{key}_out"].T
        found = tf.function(branch[part], autograph=False)(sequence)[0]
        np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.slow
def test_an_lstm_hears_long_sequences_in_pieces_whether_their_length_is_known(rng):
    keras.utils.set_random_seed(0)
    layer, anything = LongBLSTM(), keras.Input((None, 4))
    unknown = tf.function(keras.Model(anything, layer(anything)), autograph=False)
    known = tf.function(layer, autograph=False)
    sequence = rng.standard_normal((1, 230, 4)).astype(np.float32)
    for frames in (200, 230):
        np.testing.assert_allclose(
            unknown(sequence[:, :frames]), known(sequence[:, :frames]), atol=1e-6
        )
    long, other = (
        known(sequence),
        known(np.concatenate([sequence[:, :229], 0 * sequence[:, :1]], 1)),
    )
    changed = np.any(np.asarray(long) != np.asarray(other), axis=(0, 2))
    assert not changed[:150].any()  # of the first piece, which ends at 200
    assert changed[-20:].all()


def test_branches_take_each_bin_by_itself(rng):
    keras.utils.set_random_seed(0)
    spectrum = rng.standard_normal((2, 9, 3, 8)).astype(np.float32)
    for kinds in ({}, {"attentive": True}):
        layer = DConv(depth=1, compress=2, scale=1.0, **kinds)
        whole = np.asarray(layer(spectrum))
        for number in (0, 2):
            alone = np.asarray(layer(spectrum[:, :, number : number + 1]))
            np.testing.assert_allclose(alone[:, :, 0], whole[:, :, number], atol=1e-5)


def test_local_attention_that_fades_at_once_hears_its_neighbours(rng):
    layer = LocalAttention()
    layer.build((None, None, 4))
    for name in ("query", "query_decay"):
        layer.parts[name].kernel.assign(0 * layer.parts[name].kernel)
        layer.parts[name].bias.assign(0 * layer.parts[name].bias)
    layer.parts["query_decay"].bias.assign(np.full(16, 50.0))  # as fast as can be
    for name in ("content", "proj"):
        layer.parts[name].kernel.assign(np.eye(4))
        layer.parts[name].bias.assign(np.zeros(4))
    sequence = rng.standard_normal((1, 9, 4)).astype(np.float32)
    found = np.asarray(layer(sequence))[0]
    near = np.exp(-0.5 * 10 / 2 * np.abs(np.subtract.outer(range(9), range(9))))
    np.fill_diagonal(near, 0)
    heard = near / near.sum(axis=1, keepdims=True) @ sequence[0]
    np.testing.assert_allclose(found, sequence[0] + heard, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_fft": 100}, "n_fft must be a multiple of 8; got 100"),
        ({"stride": 3}, "stride must be even, 2 or more; got 3"),
        ({"depth": 4}, "several bins at the bottom; got one, of n_fft=256, stride=4, depth=4"),
        ({"heads": 3}, "heads=3 and 4 must divide the transformer's channels; got 8"),
        ({"transformer_layers": 0}, "the branches must join, where one bin is left; got 8"),
        ({"transformer_layers": 0, "n_fft": 512, "depth": 4}, "n_fft must be 1024 .* got 512"),
        ({"n_fft": 264, "depth": 2}, "stride must divide the bins of every level; .* 33 bins"),
        (
            {"residual_compress": 8.0},
            "must leave a channel of the first level's; got .*8, filters=4",
        ),
        ({"residual": "up"}, "residual must be one of none, encoder, decoder, both; got 'up'"),
        ({"sources": ["a", "a"]}, "sources must be a sequence of different names"),
    ],
    ids=[
        "n_fft",
        "stride",
        "depth",
        "heads",
        "join",
        "frames",
        "bins",
        "compress",
        "residual",
        "twice",
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("htdemucs", **{"sources": ["a", "b"], "variant": "tiny", **options})


def test_the_embedding_begins_smooth_and_small():
    keras.utils.set_random_seed(0)
    model = htdemucs.build(("a",), htdemucs.VARIANTS["tiny"])
    embedding = np.asarray(model.get_layer("embedding").embedding)
    assert 0.05 < embedding.std() < 0.2  # 1 / embedding_scale
    assert np.abs(np.diff(embedding, axis=0)).mean() < 0.5 * np.abs(embedding).mean()


def test_weights_that_do_not_fit_are_named(recorded, without_transformer):
    weights = weights_of(recorded)
    for name in ("decoder.3.conv_tr.bias", "crosstransformer.layers.1.cross_attn.in_proj_weight"):
        rest = {key: value for key, value in weights.items() if key != name}
        with pytest.raises(ValueError, match=f"missing: {re.escape(name)}"):
            convert.from_weights(rest, heads=4)
    with pytest.raises(ValueError, match=r"missing: encoder\.0\.conv\.weight"):
        convert.from_weights({})
    with pytest.raises(ValueError, match="unused: extra"):
        convert.from_weights({**weights, "extra": np.zeros(3)}, heads=4)
    with pytest.raises(ValueError, match=r"wrong shape: tencoder\.0\.conv\.bias is \(5,\)"):
        convert.from_weights({**weights, "tencoder.0.conv.bias": np.zeros(5)}, heads=4)
    with pytest.raises(ValueError, match=r"wrong shape: decoder\.3\.conv_tr\.weight"):
        convert.from_weights(weights, heads=4, sources=["a", "b"])


def test_a_published_package_is_read_with_what_it_says_of_the_model(vectors, shared, recorded):
    package = convert.read(shared / "vectors" / "htdemucs_package.th")
    assert package.sources == list(htdemucs.SOURCES)
    model = convert.from_weights(package)
    assert model.get_layer("transformer1").heads == 4
    found = np.asarray(model(sound_of(recorded)[:, :BLOCK]))[0, 0].T
    expected = vectors("htdemucs_package")["output_first_source"]
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize(
    ("arguments", "state", "message"),
    [
        ({"hybrid": b"\x89"}, {}, "hybrid must be True; got False"),
        (
            {"cac": b"\x89", "wiener_iters": integer(2)},
            {},
            "wiener_iters must be 0 without cac; got 2",
        ),
        ({"t_emb": text("cape")}, {}, "t_emb must be sin; got 'cape'"),
        ({}, {"__quantized": b"N"}, "its weights are packed by DiffQ, which is not read here"),
        ({}, {"steps": integer(3)}, "these entries are no tensors: steps"),
    ],
    ids=["hybrid", "wiener", "cape", "quantised", "number"],
)
def test_a_package_of_another_kind_is_refused(tmp_path, arguments, state, message):
    program = mapping({"kwargs": mapping(arguments), "state": mapping(state)})
    path = checkpoint(tmp_path / "model.th", program)
    with pytest.raises(ValueError, match=f"model.th: {message}"):
        convert.read(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "sources", "published"),
    [
        ("htdemucs", htdemucs.SOURCES, 41_984_456),
        ("htdemucs_6s", htdemucs.SIX_SOURCES, 27_414_996),
        # PyTorch's LSTMs have second biases: 32 * 192 and 32 * 384 numbers.
        ("hdemucs", htdemucs.SOURCES, 83_637_832 - 32 * (192 + 384)),
    ],
)
def test_parameters_are_as_published(unfilled, variant, sources, published):
    model = htdemucs.build(sources, htdemucs.VARIANTS[variant])
    assert model.count_params() == published


def test_blocks_are_those_of_the_authors_program():
    grid = htdemucs.VARIANTS["htdemucs"].grid()
    assert (grid.samples, grid.hop) == (343_980, 257_985)
    weight = np.minimum(np.arange(1, grid.samples + 1), np.arange(grid.samples, 0, -1))
    entering, leaving = weight[: grid.overlap], weight[grid.hop :]
    np.testing.assert_allclose(grid.fade, entering / (entering + leaving))
    wider = grid.with_overlap(0.5)
    np.testing.assert_allclose(wider.fade[[0, -1]], [1, 171_990] / np.float64(171_991))


@pytest.mark.slow
def test_half_precision_stays_finite_and_comes_out_in_float32(rng):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = htdemucs.build(("x", "y"), htdemucs.VARIANTS["tiny"])
    finally:
        keras.config.set_dtype_policy("float32")
    found = np.asarray(model(0.1 * rng.standard_normal((1, 900, 2)).astype(np.float32)))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
