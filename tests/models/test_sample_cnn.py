"""SampleCNN: what two programs give with the same weights, and their counts of weights."""

import re

import keras
import numpy as np
import pytest

from kzoo import models

SMALL = (4, 4, 4, 8, 8, 8, 8, 8, 8, 16)
PARTS = ("shortcut", "conv1", "conv2", "squeeze", "excite")  # in the order of the reference
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def sound(reference, shift):
    first = np.float32(reference["audio_int16"] / 32768)
    return np.stack([first, 0.5 * np.roll(first, shift)])[..., None]


def place(layer):
    """Where the authors' program makes a layer: the first convolution, blocks, the last layers."""
    block = re.match(r"block(\d+)_(shortcut|conv1|conv2|squeeze|excite)", layer.name)
    if block:
        return int(block[1]), PARTS.index(block[2])
    return (0, 0) if layer.name.startswith("first") else (99, layer.name == "logits")


def take_from_authors(model, reference):
    """Weights by their order among convolutions, batch norms and dense layers, all of them used."""
    used = set()
    for kind, name, weights in (
        (keras.layers.Conv1D, "conv1d", ("kernel", "bias")),
        (keras.layers.BatchNormalization, "batch_normalization", NORM),
        (keras.layers.Dense, "dense", ("kernel", "bias")),
    ):
        ours = sorted((layer for layer in model.layers if isinstance(layer, kind)), key=place)
        for number, layer in enumerate(ours):
            theirs = f"param/{name}{f'_{number}' if number else ''}"
            keys = [f"{theirs}/{weight}" for weight in weights]
            layer.set_weights([reference[key] for key in keys])
            used.update(keys)
    assert used == {key for key in reference if key.startswith("param/")}


@pytest.mark.parametrize(("name", "variant", "levels"), [
    ("samplecnn_basic", "basic", 1), ("samplecnn_se_multi", "se", 3),
    ("samplecnn_res_multi", "res", 3),
])  # fmt: skip
def test_the_authors_program_gives_the_same(vectors, name, variant, levels):
    reference = vectors(name)
    model = models.build("sample_cnn", variant=variant, filters=SMALL, excitation=3, samples=59049)
    take_from_authors(model, reference)
    outputs = {f"block{k}_first8": f"block{k}_pool" for k in (1, 2, 3, 6, 9)}
    outputs |= {"penultimate": "embedding", "output": "labels"}
    outputs["global_max"] = "levels" if levels > 1 else "largest9"
    parts = {key: model.get_layer(layer).output for key, layer in outputs.items()}
    for key, found in keras.Model(model.input, parts)(sound(reference, 12345)).items():
        found = np.asarray(found[0, :8] if key.startswith("block") else found)
        expected = reference[key]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def take_from_won(model, reference):
    """Weights by the names of its state dict, all of them used."""
    used = set()

    def take(layer, theirs, names=("weight", "bias")):
        keys = [f"param/{theirs}.{name}" for name in names]
        weights = model.get_layer(layer).weights
        model.get_layer(layer).set_weights([
            reference[key].T.reshape(weight.shape)
            for key, weight in zip(keys, weights, strict=True)
        ])  # fmt: skip
        used.update(keys)

    norm = ("weight", "bias", "running_mean", "running_var")
    if "param/layer1.conv.weight" in reference:
        blocks = {1: "first", **{k: f"block{k - 1}_conv1" for k in range(2, 11)}, 11: "dense"}
        for k, ours in blocks.items():
            take(ours, f"layer{k}.conv")
            take("norm" if k == 11 else f"{ours}_norm", f"layer{k}.bn", norm)
        take("logits", "dense")
    else:
        blocks = {1: "first", **{k: f"block{k - 1}" for k in range(2, 11)}, 11: "last"}
        for k, ours in blocks.items():
            for number, part in enumerate(("conv1", "conv2", "shortcut"), start=1):
                if f"param/layer{k}.conv_{number}.weight" in reference:
                    take(f"{ours}_{part}", f"layer{k}.conv_{number}")
                    take(f"{ours}_{part}_norm", f"layer{k}.bn_{number}", norm)
            take(f"{ours}_squeeze", f"layer{k}.dense1")
            take(f"{ours}_excite", f"layer{k}.dense2")
        for ours, theirs, names in (
            ("dense", "dense1", norm[:2]), ("norm", "bn", norm), ("logits", "dense2", norm[:2])
        ):  # fmt: skip
            take(ours, theirs, names)
    left = {key for key in reference if key.startswith("param/")} - used
    assert all(key.endswith("num_batches_tracked") for key in left)


@pytest.mark.parametrize(("name", "variant"), [
    ("tag_samplecnn", "won"), ("tag_samplecnn_se", "won_rese"),
])  # fmt: skip
def test_the_other_program_gives_the_same(vectors, name, variant):
    reference = vectors(name)
    filters = (4, 4, 4, 6, 6, 6, 6, 6, 6, 8)
    model = models.build("sample_cnn", variant=variant, filters=filters, samples=59049)
    take_from_won(model, reference)
    parts = [model.get_layer(layer).output for layer in ("embedding", "logits", "labels")]
    found = keras.Model(model.input, parts)(sound(reference, 5000))
    for key, values in zip(("penultimate", "logits", "output"), found, strict=True):
        np.testing.assert_allclose(values, reference[key], rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(("variant", "count"), [
    ("basic", 1_869_874), ("rese", 26_980_146), ("won_rese", 6_951_858),
    pytest.param("se", 24_742_706, marks=pytest.mark.slow),
    pytest.param("res", 4_920_882, marks=pytest.mark.slow),
    pytest.param("won", 1_869_874, marks=pytest.mark.slow),
])  # fmt: skip
def test_weights_are_as_many_as_published(variant, count):
    model = models.build("sample_cnn", variant=variant)
    counts = {
        kind: sum(
            int(np.prod(weight.shape))
            for layer in model.layers
            if isinstance(layer, keras.layers.BatchNormalization) == kind
            for weight in layer.trainable_weights
        )
        for kind in (False, True)
    }
    assert sum(counts.values()) == count
    if variant == "basic":
        assert counts[False] == 1_863_986


def test_a_window_of_the_paper_leaves_one_frame_and_a_longer_one_its_largest(rng):
    model = models.build("sample_cnn", filters=(2,) * 10)
    assert models.sizes("sample_cnn").whole(None) == 59049
    frames = keras.Model(model.input, model.get_layer("block9_pool").output)
    two = rng.normal(0, 0.1, (1, 2 * 59049, 1)).astype(np.float32)
    assert frames(two[:, :59049]).shape == (1, 1, 2)
    at_once = np.max(frames(two), axis=1)
    assert frames(two).shape == (1, 2, 2)
    np.testing.assert_allclose(model(two), top(model)(at_once), atol=1e-6)
    with pytest.raises(ValueError, match="samples must be 59049 at least, 3 a level of 10; got 9"):
        models.build("sample_cnn", samples=9)


def test_filters_strides_and_poolings_have_the_width_that_is_asked_for():
    model = models.build("sample_cnn", variant="tiny", width=2, samples=33)
    widths = {x.kernel.shape[0] for x in model.layers if isinstance(x, keras.layers.Conv1D)}
    assert widths == {2}
    assert [model.get_layer(f"block{k}_pool").output.shape[1] for k in (1, 2, 3)] == [8, 4, 2]


def test_what_blocks_and_last_layers_drop_is_asked_for():
    model = models.build("sample_cnn", variant="tiny", blocks="res", block_dropout=0.1, dropout=0.4)
    rates = {x.name: x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)}
    assert rates == {**{f"block{k}_dropout": 0.1 for k in (1, 2, 3)}, "embedding": 0.4}


def top(model):
    """The last layers, from the largest values of the last block."""
    return keras.Model(model.get_layer("largest9").output, model.output)


@pytest.mark.parametrize(("options", "message"), [
    ({"levels": 4}, "filters must be one more than levels, or longer.*got 4 and levels=4"),
    ({"width": 1}, "width must be 2 or more; got 1"),
    ({"excitation": 0}, "excitation must be above 0; got 0"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("sample_cnn", variant="tiny", **options)
