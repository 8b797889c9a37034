"""What all tests share: a quiet TensorFlow, seeded sound, the vectors, a cache of their own."""

import functools
import gc
import os
import re
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
if "PYTEST_XDIST_WORKER" in os.environ:  # workers share the processors: one thread for each
    for name in ("TF_NUM_INTRAOP", "TF_NUM_INTEROP", "OMP_NUM", "OPENBLAS_NUM"):
        os.environ.setdefault(f"{name}_THREADS", "1")

import made_quick
import numpy as np
import pytest

TESTS = Path(__file__).parent
SHARED = TESTS.resolve().parents[1] / "shared"
VECTORS = TESTS / "vectors"
STRICT = os.environ.get("KZOO_TESTS_STRICT") == "1"
# Where single files take longest: a worker that began one last would work alone at the end.
LONGEST = ("conformance", "training", "models", "cli", "test_wheel.py", "deploy", "export")
FIRST = {name: place for place, name in enumerate(LONGEST)}
# How the reasons of skips sound where a package or a program is missing; recordings and published
# weights, which no package brings, are another matter.
MISSING = re.compile(r"could not import|install")


def pytest_sessionstart():
    """Collect garbage less often: looking through graphs took a tenth of the time."""
    gc.set_threshold(20_000, 20, 50)


def pytest_collection_modifyitems(items):
    """A worker takes whole files, as the tests of one share what is built: the long ones first."""
    items.sort(key=lambda item: FIRST.get(item.path.relative_to(TESTS).parts[0], len(FIRST)))


def pytest_collection_finish(session):
    """What was imported is no garbage: a TFLite conversion looks through all else each time.

    The slow tests, and the fast ones beside them, run TensorFlow and Keras as they are.
    """
    gc.freeze()
    if "tensorflow" in sys.modules and session.config.option.markexpr == "not slow":
        made_quick.quicken()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """What a file's tests have freed goes back at its end: pieces of heap grew to 9 GB a worker."""
    if "tensorflow" in sys.modules and (nextitem is None or nextitem.path != item.path):
        made_quick.give_back()


def pytest_sessionfinish():
    """What is left goes with the process: pytest would look through it ten times, for seconds."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With KZOO_TESTS_STRICT=1 a test that is skipped for a missing tool has failed."""
    return failed_if_a_tool_is_missing((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """The same for a whole file."""
    return failed_if_a_tool_is_missing((yield))


def failed_if_a_tool_is_missing(report):
    """The report of a skip, turned round where the suite must be complete."""
    if STRICT and report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if MISSING.search(reason):
            report.outcome = "failed"
            report.longrepr = f"KZOO_TESTS_STRICT=1 and {reason}"
    return report


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
def vectors():
    """Load one file of reference outputs by name: {key: array}."""

    def load(name: str) -> dict[str, np.ndarray]:
        for folder in (VECTORS, SHARED / "vectors"):
            path = folder / f"{name}.npz"
            if path.is_file():
                with np.load(path) as arrays:
                    return {key: arrays[key] for key in arrays.files}
        pytest.skip(f"the reference outputs {name} (../shared) are not on this machine")

    return load


@pytest.fixture(scope="session")
def tiny_preset():
    """A maker of preset folders of the tiny U-Net: `tiny_preset(folder, seed=0)`."""
    import keras

    from kzoo import models, presets

    sources = ["vocals", "accompaniment"]

    @functools.cache
    def untrained(seed):
        keras.utils.set_random_seed(seed)
        return models.build("unet", sources=sources, variant="tiny")

    def make(folder: Path, *, seed: int = 0, **card) -> Path:
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
        return presets.save_to_preset(untrained(seed), folder, card)

    return make


@pytest.fixture
def unfilled(monkeypatch):
    """Full-size networks in a fraction of the time: no random numbers are drawn for them."""
    import keras

    zeros = keras.initializers.Zeros()
    for kind in ("GlorotUniform", "HeUniform", "Orthogonal", "RandomNormal", "RandomUniform"):
        drawn = getattr(keras.initializers, kind)
        monkeypatch.setattr(drawn, "__call__", lambda self, shape, dtype=None: zeros(shape, dtype))


@pytest.fixture
def eagerly():
    """`made_runs.without_graphs` for a test."""
    import made_runs

    with made_runs.without_graphs():
        yield


@pytest.fixture
def pesq_package():
    """Skips where PESQ, which comes as C alone, could not be built."""
    pytest.importorskip("pesq", reason="pip install pesq needs a C compiler", exc_type=ImportError)
