"""DTLN: the authors' outputs from the authors' files, whole and block by block."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo import models
from kzoo.convert import dtln as convert
from kzoo.models import dtln
from kzoo.models.base.causal import STATE

FILES = {"model": "model.h5", "norm_500h": "DTLN_norm_500h.h5"}


@pytest.fixture(scope="module", params=FILES)
def published(request, shared, vectors):
    """(model, its recorded outputs, the recorded mixture) of one of the authors' files."""
    path = shared / "data" / "weights" / "dtln" / FILES[request.param]
    recorded = vectors("dtln")
    outputs = {k.split("/")[1]: v for k, v in recorded.items() if k.startswith(request.param)}
    mixture = recorded["audio_int16"].astype(np.float32) / 32768
    return convert.from_weights(convert.read(path)), outputs, mixture


def snr_db(expected, found):
    error = np.sum((np.float64(expected) - found) ** 2)
    return 10 * np.log10(np.sum(np.float64(expected) ** 2) / error)


def test_the_whole_is_the_authors(published):
    model, outputs, mixture = published
    found = model.predict(mixture[None, :, None], verbose=0)[0, 0, :, 0]
    assert snr_db(outputs["whole"], found) > 90


def test_a_stream_is_the_authors(published):
    model, outputs, mixture = published
    normed = any(weight.path.startswith("magnitude_norm") for weight in model.weights)
    size = dtln.VARIANTS["norm" if normed else "paper"]
    step = dtln.build_step(size=size, frames=5)
    by_path = {weight.path: weight for weight in model.weights}
    for weight in step.weights:
        weight.assign(by_path[weight.path])
    graph = tf.function(step)
    state = {STATE + k: v for k, v in dtln.initial_state(step).items()}
    blocks = []
    for at in range(0, len(mixture), 5 * size.hop_length):
        results = dict(graph({"waveform": mixture[None, at : at + 640, None], **state}))
        state = {name: results.pop(name) for name in state}
        blocks.append(results["speech"][0, :, 0])
    found = np.concatenate(blocks)
    # What the authors' program has not written at its end are zeros.
    assert snr_db(outputs["blockwise"][: 247 * 128], found[: 247 * 128]) > 90


def test_there_are_as_many_parameters_as_published(unfilled):
    """The paper's are counted in tests/presets/test_presets.py."""
    assert models.build("dtln", variant="norm").count_params() == 987_267


def test_several_channels_are_refused():
    with pytest.raises(ValueError, match="channels must be 1: the network hears one; got 2"):
        models.build("dtln", channels=2)
