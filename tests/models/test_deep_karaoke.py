"""Deep Karaoke: masks that are binary, targets that are ideal, and a size that no memory holds."""

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.models import deep_karaoke
from kzoo.models.base import memory
from kzoo.training import compiling, resolved

SOURCES = ["vocals", "accompaniment"]


def built(**options):
    return models.build("deep_karaoke", variant="tiny", sources=SOURCES, **options)


@pytest.fixture(scope="module")
def soft():
    """The tiny network, whose masks are averages."""
    return built()


def masks_of(model, mixture):
    """What multiplies the mixture's spectrum."""
    probe = keras.Model(model.input, model.get_layer("masked").input[0])
    return np.asarray(probe(mixture))


def test_a_threshold_gives_each_bin_to_one_source(soft, rng):
    mixture = rng.standard_normal((1, 900, 1)).astype(np.float32)
    averages = masks_of(soft, mixture)
    threshold = float(np.median(averages[:, 0]))
    hard = built(threshold=threshold)
    hard.set_weights(soft.get_weights())
    found = masks_of(hard, mixture)
    np.testing.assert_array_equal(found[:, 0], averages[:, 0] > threshold)
    np.testing.assert_array_equal(found[:, 0] + found[:, 1], np.ones_like(found[:, 0]))
    assert 0.3 < found[:, 0].mean() < 0.7


def test_the_two_estimates_are_the_mixture(soft, rng):
    mixture = rng.standard_normal((1, 555, 1)).astype(np.float32)
    np.testing.assert_allclose(np.sum(soft(mixture), axis=1), mixture, atol=1e-5)


def test_it_is_trained_on_ideal_binary_masks(rng):
    size, arguments = deep_karaoke.VARIANTS["tiny"].segment(240)
    graph, domain = size.training(built(**arguments))
    voice = rng.standard_normal((1, arguments["samples"], 1)).astype(np.float32)
    louder = np.stack([voice, 0.5 * voice], axis=1)
    np.testing.assert_array_equal(domain(louder)[:, 0], np.ones((1, 12, 33, 1)))
    np.testing.assert_array_equal(domain(louder[:, ::-1])[:, 0], np.zeros((1, 12, 33, 1)))
    assert graph([voice]).shape == domain(louder).shape == (1, 2, 12, 33, 1)


def test_other_than_two_sources_are_refused():
    with pytest.raises(ValueError, match="one mask is for two sources"):
        models.build("deep_karaoke", variant="tiny", sources=["vocals", "drums", "other"])


def test_weights_are_counted_before_they_are_made(soft):
    assert deep_karaoke.VARIANTS["tiny"].count_weights(2) == soft.count_params()
    assert models.sizes("deep_karaoke").count_weights(2) == 840_541_000


def test_what_does_not_fit_into_memory_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 3_000_000_000)
    rule = "840,541,000 weights take 3.4 GB, and 3.0 GB of memory are free: choose a smaller"
    with pytest.raises(ValueError, match=f"model deep_karaoke: {rule}"):
        models.build("deep_karaoke")
    monkeypatch.setattr(memory, "free_bytes", lambda: 4_000_000_000)
    values = resolved(
        {
            "name": "large",
            "model": {"name": "deep_karaoke", "sources": SOURCES},
            "data": {"train": {"kind": "synthetic"}},
        }
    )
    rule = "take 13.4 GB with their gradients and averages, and 4.0 GB"
    with pytest.raises(ValueError, match=rule):
        compiling.compiled(values)


def test_memory_is_what_the_system_says_or_unknown(monkeypatch, tmp_path):
    lines = tmp_path / "meminfo"
    lines.write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", str(lines))
    assert memory.free_bytes() == 2_048_000
    memory.refuse_too_large("x", 512_000)
    with pytest.raises(ValueError, match="x: 512,001 weights"):
        memory.refuse_too_large("x", 512_001)
    memory.refuse_too_large("x", None)
