"""What all tests share: a quiet TensorFlow, seeded sound, the vectors, a cache of their own."""

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache, or fetches anything."""
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    monkeypatch.delenv("KZOO_MIRROR", raising=False)


@pytest.fixture
def rng():
    """Seeded random numbers."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of vectors and recordings beside the project; skips where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the reference vectors and recordings (../shared) are not on this machine")
    return SHARED


@pytest.fixture(scope="session")
def vectors(shared):
    """Load one file of reference outputs by name: {key: array}."""

    def load(name: str) -> dict[str, np.ndarray]:
        path = shared / "vectors" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"the reference outputs {name} are not on this machine")
        with np.load(path) as arrays:
            return {key: arrays[key] for key in arrays.files}

    return load


@pytest.fixture
def tiny_preset():
    """A maker of preset folders of the tiny U-Net: `tiny_preset(folder, seed=0)`."""
    import keras

    from kzoo import models, presets

    def make(folder: Path, *, seed: int = 0, **card) -> Path:
        keras.utils.set_random_seed(seed)
        sources = ["vocals", "accompaniment"]
        model = models.build("unet", sources=sources, variant="tiny")
        card = {
            "name": "tiny",
            "summary": "untrained, for tests",
            "model": {"name": "unet", "options": {"sources": sources, "variant": "tiny"}},
            "sources": sources,
            "sample_rate": 8000,
            "channels": 2,
            "trained": "not at all: random weights from a seed",
            "licences": {"code": "Apache-2.0", "weights": "none", "data": "none"},
            **card,
        }
        return presets.save_to_preset(model, folder, card)

    return make


@pytest.fixture
def pesq_package():
    """Skips where PESQ, which comes as C alone, could not be built."""
    pytest.importorskip("pesq", reason="pip install pesq needs a C compiler", exc_type=ImportError)
