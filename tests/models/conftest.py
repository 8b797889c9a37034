"""What the tests of published enhancers share; `recorded` and `published` are their own."""

import numpy as np
import pytest
from made_streams import with_outputs


@pytest.fixture(scope="module")
def mixture(recorded):
    """What the authors' outputs were recorded from, `[1, samples, 1]`."""
    return recorded["audio_int16"].astype(np.float32)[None, :, None] / 32768


@pytest.fixture(scope="module")
def inside(published, mixture):
    """What every part of the published model says of the mixture: {layer: array or arrays}."""
    return with_outputs(published, mixture)
