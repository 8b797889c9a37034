"""Every form of a model: proven or told as unfit, kept from one call to the next."""

import json
import shutil
from unittest import mock

import made_artefacts
import numpy as np
import pytest
from made_artefacts import BLOCK, RATE, SOURCES

from kzoo.deploy import matrix, measuring, parity, tables, truth
from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import Original
from kzoo.deploy.matrix import Form
from kzoo.pictures import exports

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
WANTED = [Form("tflite", "fp32"), Form("tflite", "fp16"), Form("tflite", "int8", whole=True)]
COST = {"load_ms": 5.0, "call_ms": 3.0, "cpu_ms": 2.0, "peak_mb": 40.0}


@pytest.fixture(scope="module")
def original():
    """What is made of the tiny U-Net, converted once."""
    model, sound = made_artefacts.tiny_unet(), made_artefacts.song()
    return Original(model, sound_proof(model, sample_rate=RATE, sound=sound, description="notes"))


@pytest.fixture(scope="module")
def true():
    sound = made_artefacts.song()
    return truth.Truth(
        "notes", RATE, sound, dict(zip(SOURCES, (0.7 * sound, 0.3 * sound), strict=True))
    )


@pytest.fixture(scope="module")
def called(original, true):
    """`matrix` of the tiny U-Net into a folder: (the table, the names of what was made)."""

    def call(folder, say=None, **options):
        lines = []
        options = {"key": "a", "prepare": lambda *_: original, **options}
        with mock.patch.object(
            matrix, "measure", lambda *_, threads: {**COST, "call_ms": 3.0 / threads}
        ):
            table = matrix.matrix(
                folder, name="tiny", wanted=WANTED, true=true, sample_rate=RATE, base_card={},
                say=say or lines.append, **options,
            )  # fmt: skip
        made = [line.split(", ")[1].split(":")[0] for line in lines if "is there" not in line]
        return table, made

    return call


@pytest.fixture(scope="module")
def written(called, tmp_path_factory):
    """(folder, table, names) of a matrix that was interrupted after its first row, and went on."""
    folder = tmp_path_factory.mktemp("matrix")

    def interrupted(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        called(folder, say=interrupted)
    return folder, *called(folder)


def test_an_interrupted_one_goes_on(written):
    folder, table, made = written
    assert made == ["fp16", "int8 everywhere"]
    assert [row["name"] for row in table["rows"]] == ["fp32", *made]
    assert json.loads((folder / matrix.TABLE).read_text()) == table


def test_what_is_there_is_kept_and_what_is_missing_made_again(
    called, written, tmp_path, monkeypatch
):
    folder, table, _ = written
    there = shutil.copytree(folder, tmp_path / "there")
    never = mock.Mock(side_effect=AssertionError("nothing is to be made"))
    assert called(there, prepare=never) == (table, [])
    with pytest.raises(AssertionError, match="nothing is to be made"):
        called(there, key="other weights", prepare=never)
    (there / "tiny_fp16.tflite").write_bytes(b"cut short")
    monkeypatch.setitem(parity.LIMITS_DB, "fp16", 200.0)
    again, made = called(there)
    assert made == ["fp16"]
    fp32, fp16, whole = again["rows"]
    assert (fp32, whole) == (table["rows"][0], table["rows"][2])
    assert "its limit of 200 dB" in fp16["reason"]
    assert not (there / "tiny_fp16.tflite").exists()
    assert f"- fp16: {fp16['reason']}" in tables.markdown(again)


def test_times_are_left_for_another_call(called, written, tmp_path):
    there = shutil.copytree(written[0], tmp_path / "there")
    (there / "tiny_fp16.tflite").unlink()
    timed, made = called(there, make=False, prepare=mock.Mock(), times="again")
    assert made == []
    assert ["load_ms" in row for row in timed["rows"]] == [True, False]  # fp32, int8 everywhere
    (there / matrix.TABLE).unlink()
    left, made = called(there, times="none")
    assert made == [form.name for form in WANTED]
    assert not any("load_ms" in row for row in left["rows"])
    timed, made = called(there, make=False, prepare=mock.Mock())
    assert made == []
    assert ["load_ms" in row for row in timed["rows"]] == [True, True, False]
    assert "at most 1.50 of the processor's time" in tables.markdown(timed)


def test_a_row_says_what_a_form_costs(written, original, true):
    folder, table, _ = written
    fp32, fp16, whole = table["rows"]
    seconds = BLOCK / RATE
    assert fp32["cpu_ms_1_thread"] == pytest.approx(2 / seconds)
    assert fp32["ms_1_thread"] == pytest.approx(3 / seconds)
    assert fp32["ms_2_threads"] == pytest.approx(1.5 / seconds)
    assert fp32["bytes"] == (folder / fp32["file"]).stat().st_size
    assert 40 < fp16["snr_db"] < fp32["snr_db"]
    assert all(abs(value) < 1e-3 for value in fp32["change"].values())
    assert whole["file"] is None
    assert whole["bytes"] < 0.5 * fp32["bytes"]
    estimates = truth.estimates(
        lambda inputs: {name: inputs["waveform"] for name in SOURCES}, original.proof.inputs, true
    )
    np.testing.assert_array_equal(estimates["vocals"], true.mixture)
    found = truth.scores(true, estimates)["vocals"]["sdr"]
    assert found == pytest.approx(20 * np.log10(0.7 / 0.3), abs=1e-3)


def test_a_call_is_as_long_as_its_sound():
    sound, frames = np.zeros((1, 640, 1)), np.zeros((1, 4, 1))
    assert matrix._samples({"waveform": sound}, {"activations": frames}) == 640
    assert matrix._samples({"f0_hz": frames}, {"audio": sound}) == 640


def test_a_picture_shows_what_fits_and_what_does_not(written, tmp_path):
    path = exports.draw_exports(written[1], tmp_path / "matrix.png")
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_file_is_measured_in_a_process_of_its_own(bundle):
    inputs = {"waveform": made_artefacts.song()[None, :BLOCK]}
    found = measuring.measure(bundle[0] / "tiny_fp32.tflite", inputs, threads=1)
    assert set(found) == set(COST)
    assert found["peak_mb"] < 250  # this process, which has TensorFlow, is far above
    with pytest.raises(ValueError, match=r"gone.tflite could not be measured"):
        measuring.measure(bundle[0] / "gone.tflite", inputs, threads=1)


def test_a_change_is_that_of_the_source_which_loses_most():
    before = {"vocals": {"sdr": 5.0, "pesq": 2.0}, "noise": {"sdr": 3.0}}
    after = {"vocals": {"sdr": 5.5, "pesq": 1.9}, "noise": {"sdr": 2.0}}
    assert truth.change(before, after) == {"sdr": -1.0, "pesq": pytest.approx(-0.1)}


def test_speakers_are_scored_in_the_order_that_fits():
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, (2, 800, 1))
    true = truth.Truth("two", 8000, one + other, {"speaker1": one, "speaker2": other})
    ordered = truth.in_order(true, {"speaker1": other + 0.1 * one, "speaker2": one})
    assert ordered.references["speaker1"] is other


def test_pairs_are_brought_to_the_level_of_the_card(tmp_path):
    from kzoo import audio

    rng = np.random.default_rng(0)
    clean = (0.1 * rng.normal(size=(1600, 1))).astype(np.float32)
    for kind, sound in (("clean", clean), ("noisy", 1.5 * clean)):
        (tmp_path / kind).mkdir()
        audio.write(tmp_path / kind / "a.wav", sound, 16000, bit_depth="float32")
    true = truth.of_pair(tmp_path, ["speech", "noise"], 16000, 1, -26.0)
    assert 10 * np.log10(np.mean(true.mixture**2)) == pytest.approx(-26, abs=1e-3)
    np.testing.assert_allclose(true.references["speech"], true.mixture / 1.5, rtol=1e-4)
    assert truth.of_pair(tmp_path, ["vocals"], 16000, 1, None) is None
    (tmp_path / "noisy" / "a.wav").unlink()
    with pytest.raises(ValueError, match=r"a\.wav"):
        truth.of_pair(tmp_path, ["speech"], 16000, 1, None)
