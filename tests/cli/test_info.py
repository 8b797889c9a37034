"""`kzoo info`: what a file tells of itself, and a reason where it tells nothing."""

import json

import made_artefacts
import pytest

from kzoo.cli.info import info, told_by


def test_a_file_is_described_as_json(tmp_path_factory, capsys):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    folder, cards = made_artefacts.bundle(tmp_path_factory.getbasetemp())
    info(folder / "tiny_fp16.tflite")
    told = json.loads(capsys.readouterr().out)
    assert told["name"] == cards["fp16"]["name"]
    assert told["sources"] == list(made_artefacts.SOURCES)


@pytest.mark.parametrize(
    ("name", "reason"), [("x.tflite", "is not a TFLite"), ("x.onnx", "is no ONNX")]
)
def test_a_foreign_file_is_refused(name, reason, tmp_path):
    pytest.importorskip("onnx", reason="pip install 'kzoo[onnx]'")
    (tmp_path / name).write_bytes(b"RIFF    WAVEfmt ")
    with pytest.raises(ValueError, match=reason):
        told_by(tmp_path / name)
