"""Kernels in 8 bits: as many as the limits leave, on loud sound and where an output is faint."""

from unittest import mock

import keras
import pytest
from made_artefacts import proof_of

from kzoo.deploy import parity
from kzoo.deploy.formats import search, tflite
from kzoo.deploy.formats.kernels import BYTE, HALF, NIBBLE, kernels, rounded, stored
from kzoo.deploy.formats.search import shrink


def convolutions(samples=400):
    """Two stems of a mixture, by kernels of which some matter less."""
    keras.utils.set_random_seed(0)
    waveform = keras.Input((samples, 2), name="waveform")
    x = keras.layers.Conv1D(16, 9, padding="same", activation="tanh")(waveform)
    small = keras.layers.Conv1D(16, 9, padding="same")(x)
    x = keras.layers.Conv1D(4, 9, padding="same")(x + 0.01 * small)
    return keras.Model(waveform, keras.ops.stack(keras.ops.split(x, 2, axis=-1), axis=1))


@pytest.fixture(scope="module")
def exported():
    """(the bytes of a file in fp32, its proof)."""
    model = convolutions()
    proof = proof_of(model, ["one", "other"])
    return tflite.converted(model, proof), proof


def said(content, folder, proof):
    path = folder / "m.tflite"
    path.write_bytes(content)
    return tflite.load(path)(proof.inputs), tflite.describe(path)["kernels"]


def test_each_filter_in_eight_bits_is_rounded_by_its_own_scale(exported, tmp_path):
    content, proof = exported
    plain, _ = said(content, tmp_path, proof)
    small = stored(content, dict.fromkeys(kernels(content), BYTE))
    found, kept = said(small, tmp_path, proof)
    assert kept == {"int8": len(kernels(content))}
    weights = sum(kernel.bytes(None) for kernel in kernels(content).values())
    assert 0.6 * weights < len(content) - len(small) < 0.75 * weights  # less the scales
    levels = [difference.snr_db for difference in parity.compare(plain, found).values()]
    assert 30 < min(levels) < 60


def test_the_limit_is_held_by_as_many_kernels_as_it_leaves(exported, tmp_path, monkeypatch):
    content, proof = exported
    plain, _ = said(content, tmp_path, proof)
    counts = []
    for limit_db in (30.0, 50.0, 60.0):
        monkeypatch.setitem(parity.LIMITS_DB, "int8", limit_db)
        found, kept = said(shrink(content, proof), tmp_path, proof)
        assert all(x.snr_db >= limit_db for x in parity.compare(plain, found).values())
        counts.append(kept.get("int8", 0))
    assert counts[0] == len(kernels(content))
    assert counts[0] > counts[1] >= counts[2]


def test_a_passage_where_an_output_is_faint_has_a_limit_of_its_own(exported, tmp_path, monkeypatch):
    content, proof = exported
    monkeypatch.setitem(parity.LIMITS_DB, "int8", 0.0)
    monkeypatch.setattr(parity, "FAINT_LIMIT_DB", 60.0)
    _, kept = said(shrink(content, proof), tmp_path, proof)
    assert kept.get("int8", 0) < len(kernels(content))


def test_where_sixteen_bits_are_too_few_it_says_so(exported, monkeypatch):
    content, proof = exported
    monkeypatch.setitem(parity.LIMITS_DB, "int8", 200.0)
    with pytest.raises(parity.ParityError, match=r"16 bits leave .* of 200 dB.*use fp32"):
        shrink(content, proof)


def test_an_export_in_int8_says_what_it_stores(exported, tmp_path):
    content, proof = exported
    sizes = {
        precision: tflite.write(
            None, tmp_path / precision, proof, precision=precision, content=content
        )
        .stat()
        .st_size
        for precision in ("fp16", "int8")
    }
    assert sizes["int8"] < sizes["fp16"]


def test_weights_rounded_where_they_lie_say_what_the_smaller_file_says(exported, tmp_path):
    content, proof = exported
    for kind, limit_db in ((HALF, 100.0), (BYTE, 100.0), (NIBBLE, 100.0)):
        kinds = dict.fromkeys(kernels(content), kind)
        small, kept = said(stored(content, kinds), tmp_path, proof)
        same, none = said(rounded(content, kernels(content), kinds), tmp_path, proof)
        assert all(x.snr_db > limit_db for x in parity.compare(small, same).values())
        assert (kept, none) == ({kind: len(kinds)}, {})


def test_four_bits_and_arithmetic_in_eight_hold_their_limits(exported, tmp_path, monkeypatch):
    content, proof = exported
    plain, _ = said(content, tmp_path, proof)
    for precision, limit_db in (("int4", 25.0), ("dynamic_int8", 35.0), ("full_int8", 25.0)):
        if precision == "full_int8":
            pytest.importorskip("ai_edge_quantizer", reason="pip install 'kzoo[quantize]'")
        monkeypatch.setitem(parity.LIMITS_DB, precision, limit_db)
        monkeypatch.setattr(parity, "FAINT_LIMIT_DB", limit_db)
        found, kept = said(shrink(content, proof, precision), tmp_path, proof)
        assert all(x.snr_db >= limit_db for x in parity.compare(plain, found).values())
        assert kept.get("int4" if precision == "int4" else "int8", 0) > 0


def test_a_file_is_not_named_after_what_no_kernel_of_it_has(exported, monkeypatch):
    content, proof = exported
    monkeypatch.setattr(search, "_MARGIN", 0.0)
    for precision, kind in (("int4", "int4"), ("dynamic_int8", "dynamic")):
        with pytest.raises(parity.ParityError, match=rf"no kernel of use holds .* as {kind}: use"):
            shrink(content, proof, precision)


def test_a_search_goes_on_where_it_was_interrupted(exported, tmp_path):
    content, proof = exported
    calls = []

    def interrupted(done, total):
        calls.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shrink(content, proof, progress=interrupted, memory=tmp_path)
    (place,) = tmp_path.iterdir()
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    small = shrink(content, proof, progress=lambda *_: None, memory=tmp_path)
    after = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    assert after.items() > before.items()
    assert calls[-1] == (2, len(kernels(content)))
    with mock.patch.object(search, "rounded", side_effect=AssertionError):
        assert shrink(content, proof, memory=tmp_path) == small
