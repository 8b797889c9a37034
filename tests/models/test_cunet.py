"""The conditioned U-Net against its authors' program: numbers, counts, conditions."""

import functools

import keras
import numpy as np
import pytest
from made_once import once

from kzoo import data, models
from kzoo.convert import cunet as convert
from kzoo.layers.film import FiLM, FixedConditions
from kzoo.models import cunet

FOUR = ["vocals", "drums", "bass", "other"]


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def reference_weights(recorded):
    return {
        key.removeprefix("param/").split("_", 1)[1]: value
        for key, value in recorded.items()
        if key.startswith("param/")
    }


@pytest.mark.parametrize("film", ["simple", "complex"])
def test_the_authors_network_is_reproduced(vectors, film):
    recorded = vectors(f"cunet_{film}_dense_small")
    model = convert.from_weights(reference_weights(recorded), frames=64, bins=64)
    mixture = np.swapaxes(recorded["input"], 1, 2)  # theirs is [bins, frames]
    found = model([mixture, recorded["z"][:, 0]], training=False)
    np.testing.assert_allclose(np.swapaxes(found, 1, 2), recorded["output"], atol=1e-5)


@pytest.mark.parametrize(
    ("control", "film", "count"),
    [
        ("dense", "simple", 9_844_847),
        ("dense", "complex", 12_159_875),
        ("cnn", "simple", 9_834_703),
        ("cnn", "complex", 10_416_275),
    ],
)
def test_parameters_are_as_many_as_the_papers(unfilled, control, film, count):
    size = models.sizes("cunet", control=control, film=film)
    assert trainable(cunet.core(size=size)) == count


def given_weights(model, rng):
    """`model`'s weights under the reference's names: Keras's own, in the order of creation."""
    return {
        name: rng.standard_normal(variable.shape).astype(np.float32)
        for name, variable in model.items()
    }


@pytest.mark.parametrize("control", ["dense", "cnn"])
def test_a_missing_or_unused_weight_is_named(monkeypatch, control):
    monkeypatch.setattr(cunet, "core", once(cunet.core))  # what is refused has assigned nothing
    model = cunet.core(size=models.sizes("cunet", variant="tiny", control=control))
    kind = "conv1d" if control == "cnn" else "dense"
    names = convert._variables(model, kind, 3 if control == "dense" else 0, 3)
    weights = given_weights(names, np.random.default_rng(0))
    loaded = convert.from_weights(weights, frames=64, bins=64)
    assert loaded.count_params() == model.count_params()
    with pytest.raises(ValueError, match="missing: conv2d_2/bias"):
        convert.from_weights({k: v for k, v in weights.items() if k != "conv2d_2/bias"})
    with pytest.raises(ValueError, match="unused: extra"):
        convert.from_weights({**weights, "extra": np.zeros(3)})
    with pytest.raises(ValueError, match="missing: conv2d/kernel"):
        convert.from_weights({k: v for k, v in weights.items() if k != "conv2d/kernel"})


def test_film_scales_and_shifts_each_map_or_all():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 4, 3)).astype(np.float32)
    for width in (1, 3):
        gamma, beta = rng.standard_normal((2, 2, width)).astype(np.float32)
        expected = gamma[:, None, None] * x + beta[:, None, None]
        np.testing.assert_allclose(FiLM()(x, gamma, beta), expected, rtol=1e-6)


def test_fixed_conditions_go_example_by_example():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    repeated, conditions = FixedConditions([[1, 0], [0, 1]])(x)
    np.testing.assert_array_equal(repeated, [[0, 1, 2], [0, 1, 2], [3, 4, 5], [3, 4, 5]])
    np.testing.assert_array_equal(conditions, [[1, 0], [0, 1], [1, 0], [0, 1]])


def built(rng, **options):
    keras.utils.set_random_seed(1)
    model = models.build("cunet", sources=FOUR, variant="tiny", film="complex", **options)
    for weight in model.weights:
        weight.assign(weight + rng.uniform(0, 0.3, weight.shape))
    return model


@functools.cache
def fixed():
    """The system of fixed conditions, which no test changes."""
    return built(np.random.default_rng(5))


def test_the_condition_as_an_input_asks_for_what_the_fixed_model_gives(rng):
    asked = built(rng, condition="input")
    asked.set_weights(fixed().get_weights())
    mixture = rng.standard_normal((2, 9_000, 2)).astype(np.float32)
    stems = np.asarray(fixed()(mixture))
    for positions in ([0, 0], [1, 2], [3, 1]):  # one condition an example
        condition = np.eye(4, dtype=np.float32)[positions]
        found = np.asarray(asked([mixture, condition]))
        assert found.shape == (2, 1, 9_000, 2)
        np.testing.assert_allclose(found[:, 0], stems[[0, 1], positions], atol=1e-5)


def test_one_of_the_sources_can_be_extracted_alone(rng):
    one = models.build("cunet", sources=["bass"], conditions=FOUR, variant="tiny", film="complex")
    one.set_weights(fixed().get_weights())
    mixture = rng.standard_normal((1, 5_000, 2)).astype(np.float32)
    np.testing.assert_allclose(one(mixture)[:, 0], fixed()(mixture)[:, 2], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"film": "both"}, "film must be one of simple, complex; got 'both'"),
        ({"control": "rnn"}, "control must be one of dense, cnn; got 'rnn'"),
        ({"condition": "free"}, "condition must be one of fixed, input; got 'free'"),
        ({"conditions": ["vocals"]}, "sources must be among the conditions"),
        ({"frames": 100}, "multiples of 8"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("cunet", sources=FOUR, variant="tiny", **options)


@pytest.fixture(scope="module")
def examples():
    corpus = data.open_corpus("synthetic", tracks=2, seconds=3.0, sample_rate=8000)
    return data.Examples(corpus, samples=1024)


def test_the_target_is_what_the_condition_asks_for(examples):
    conditioned = data.Conditioned(examples, progressive=0.5, zero=True, all=True)
    kinds = {}
    for index in range(80):
        found = conditioned.example(index)
        expected = sum(c * s for c, s in zip(found["condition"], found["sources"], strict=True))
        np.testing.assert_allclose(found["target"][0], expected, atol=1e-6)
        np.testing.assert_array_equal(found["mixture"], examples.example(index)["mixture"])
        on = found["condition"] > 0
        assert len(set(found["condition"][on])) <= 1  # one scale for all that is asked for
        kinds.setdefault(int(on.sum()), []).append(found["condition"].max())
    assert set(kinds) == {0, 1, 4}
    assert 0.3 < np.mean(np.array(kinds[1]) < 1) < 0.7


def test_without_options_one_whole_source_or_a_part_of_it_is_asked_for(examples):
    conditions = [data.Conditioned(examples).example(k)["condition"] for k in range(60)]
    assert {int((c > 0).sum()) for c in conditions} == {1}
    assert 0.1 < np.mean([c.max() < 1 for c in conditions]) < 0.45


def test_validation_asks_for_every_source_of_every_window(examples):
    windows = data.Windows(examples.corpus, samples=8000)
    found = data.ConditionedWindows(windows)
    assert len(found) == 4 * len(windows)
    np.testing.assert_array_equal(found.example(6)["condition"], [0, 0, 1, 0])
    example = found.example(6)
    np.testing.assert_array_equal(example["target"][0], windows.example(1)["sources"][2])


def test_a_probability_beyond_one_is_refused(examples):
    with pytest.raises(ValueError, match="progressive"):
        data.Conditioned(examples, progressive=1.5)
