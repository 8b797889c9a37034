"""DDSP's checkpoints of 2021: a made one by the reference's own code, and its outputs."""

import numpy as np
import pytest

from kzoo.convert import ddsp as convert
from kzoo.models import ddsp


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "vectors" / "ddsp_checkpoint"


def test_the_reference_is_reproduced(folder):
    said = convert.said_in(folder)
    assert said == {
        "inputs": ["ld_scaled", "f0_scaled"], "harmonics": 7, "hop_length": 64,
        "sample_rate": 16000,
    }  # fmt: skip
    weights = convert.read(folder)
    model = convert.from_weights(weights, loudness_range_db=120.0, **said)
    decoder = model.get_layer("ddsp_decoder")
    with np.load(folder / "ddsp_checkpoint.npz") as recorded:
        scaled = [recorded["out/f0_scaled"], recorded["out/ld_scaled"]]
        heard = {name: recorded[f"in/{name}"][..., None] for name in ("f0_hz", "loudness_db")}
        size = ddsp.DDSP(loudness_range_db=120.0, rnn_units=6)
        found = [np.asarray(x) for x in ddsp._scaled(size, **heard)]
        for given, ours in zip(scaled, found, strict=True):
            np.testing.assert_allclose(ours, given, atol=1e-6)
        controls = decoder(scaled)
        for ours, theirs in (
            ("amplitude", "amps"), ("harmonic_distribution", "harmonic_distribution"),
            ("noise_magnitudes", "noise_magnitudes"),
        ):  # fmt: skip
            np.testing.assert_allclose(controls[ours], recorded[f"out/{theirs}"], atol=1e-5)
        room = recorded["var/model/processor_group/reverb/ir"]
    np.testing.assert_array_equal(model.get_layer("reverb").response, room)


def test_what_does_not_fit_is_named(folder):
    weights = convert.read(folder)
    said = {**convert.said_in(folder), "loudness_range_db": 120.0}
    spare = {**weights, "model/encoder/rnn/kernel": np.ones(2)}
    with pytest.raises(ValueError, match="unused: model/encoder/rnn/kernel"):
        convert.from_weights(spare, **said)
    del weights["model/decoder/dense_out/bias"]
    with pytest.raises(ValueError, match="missing: model/decoder/dense_out/bias"):
        convert.from_weights(weights, **said)
    with pytest.raises(ValueError, match="inputs must be f0_scaled and ld_scaled; got z"):
        convert.from_weights(weights, **{**said, "inputs": ["z"]})
