"""The recording that an artefact of any length is compared on."""

import keras
import numpy as np
import pytest
from keras import ops

from kzoo.deploy import artefact


@pytest.mark.parametrize("shape", [(500, 1), (40 * 100, 6)])
def test_any_recording_is_fitted_to_a_saved_model_of_any_length(shape, tmp_path, monkeypatch, rng):
    waveform = keras.Input((None, 2))
    model = keras.Model(waveform, ops.expand_dims(0.5 * waveform, 1), name="half")
    heard = []
    compare = artefact.parity.compare

    def listen(reference, estimates, mixture):
        heard.append(np.shape(mixture))
        return compare(reference, estimates, mixture)

    monkeypatch.setattr(artefact.parity, "compare", listen)
    artefact.export(
        model, "saved_model", tmp_path, name="half", sources=["a"], sample_rate=100,
        sound=0.1 * rng.standard_normal(shape),
    )  # fmt: skip
    assert heard == [(min(shape[0], 30 * 100), 2)]  # half a minute is enough
