"""SEGAN+'s generator, by the outputs of its authors' network."""

import numpy as np
import pytest

from kzoo.convert import segan
from kzoo.models import segan as architecture

TOLD = {"stride": 4, "window": 256, "pre_emphasis": 0.95}


@pytest.fixture
def recorded(vectors):
    return vectors("segan_plus_small")


def weights(recorded):
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


def test_the_reference_is_reproduced_windows_mirrored_at_their_ends(recorded):
    core = segan.from_weights(weights(recorded), **TOLD)
    inputs = [np.swapaxes(recorded[name], 1, 2) for name in ("input", "z")]
    found = np.asarray(core(inputs))[:, 0]
    np.testing.assert_allclose(found, np.swapaxes(recorded["output"], 1, 2), atol=1e-6)


def test_a_weight_that_is_missing_or_spare_is_named(recorded):
    arrays = weights(recorded)
    del arrays["alpha_1.skip_k"]
    with pytest.raises(ValueError, match=r"missing: alpha_1\.skip_k; unused: more$"):
        segan.from_weights({**arrays, "more": np.ones(1)}, **TOLD)


def test_a_level_too_short_to_be_mirrored_is_refused():
    with pytest.raises(ValueError, match="a level of 4 frames has too few to mirror"):
        architecture.SEGAN(filters=(3, 4), window=16, kernel_size=9, edges="mirror")
