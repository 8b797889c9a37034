"""DDSP's checkpoints of 2021: a made one by the reference's own code, and its outputs."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from kzoo.convert import ddsp as convert
from kzoo.data import solo
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


def test_the_statistics_of_the_training_are_read(folder):
    found = convert.statistics_in(folder)
    with np.load(folder / "dataset_statistics.npz") as recorded:
        for ours, theirs in (("midi", "pitch"), ("loudness_db", "loudness")):
            for kind in ("mean", "std"):
                assert found[ours][kind] == pytest.approx(float(recorded[f"{kind}_{theirs}"]))
        middle = recorded["inverse_in"].ravel().tolist().index(0.5)
        expected = recorded["inverse_out"].ravel()[middle]
    assert found["loudness_db"]["quantiles"][0.5] == pytest.approx(expected, abs=1e-3)
    assert convert.QUANTILES == solo.QUANTILES


class Hostile:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Hostile(os.mkdir, "made"), "it wants posix.mkdir, which is not known to be harmless"),
        (Hostile(eval, "1"), "it wants builtins.eval, which is not known"),
        (np.array([Hostile(os.mkdir, "made")], object), "it wants posix.mkdir"),
        ({"mean_pitch": 1.0}, "holds no statistics of DDSP .'quantile_transform'"),
        ([1, 2], "holds no statistics of DDSP"),
    ],
    ids=["call", "eval", "inside", "less", "list"],
)
def test_other_statistics_are_a_line_and_nothing_of_them_is_run(
    content, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "dataset_statistics.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=message) as error:
        convert.statistics_in(tmp_path)
    assert len(str(error.value).splitlines()) == 1
    assert not Path("made").exists()
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"dataset_statistics\.pkl: cannot be read"):
        convert.statistics_in(tmp_path)
