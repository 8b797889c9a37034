"""The Conv-TasNet of Demucs's authors, by the outputs of their own program."""

import numpy as np
import pytest

from kzoo.convert import demucs_tasnet

SOURCES = ["drums", "bass", "vocals"]


@pytest.fixture
def recorded(vectors):
    return vectors("demucs_tasnet_small")


def weights(recorded):
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


def test_the_reference_is_reproduced(recorded):
    model = demucs_tasnet.from_weights(weights(recorded), sources=SOURCES)
    found = np.asarray(model(recorded["input"].swapaxes(1, 2)))
    np.testing.assert_allclose(found.swapaxes(2, 3), recorded["output"], atol=1e-5)


def test_a_weight_that_is_missing_or_spare_is_named(recorded):
    arrays = weights(recorded)
    del arrays["separator.network.1.weight"]
    with pytest.raises(ValueError, match=r"missing: separator\.network\.1\.weight; unused: more$"):
        demucs_tasnet.from_weights({**arrays, "more": np.ones(1)}, sources=SOURCES)
    with pytest.raises(ValueError, match=r"missing: encoder\.conv1d_U\.weight"):
        demucs_tasnet.from_weights({"a": np.ones(1)}, sources=SOURCES)
