"""What a TFLite file tells of itself, found again without TensorFlow and by LiteRT's C library."""

import ctypes
import json
from pathlib import Path

import numpy as np
import pytest
from made_artefacts import BLOCK, RATE, SOURCES

from kzoo.deploy.formats.metadata import NAME, finished, read_metadata


@pytest.fixture(scope="module")
def path(bundle):
    folder, _ = bundle
    return folder / "tiny_fp16.tflite"


def test_a_file_tells_what_an_app_must_know(path, bundle):
    _, cards = bundle
    told = read_metadata(path)
    shapes = told.pop("signatures")["serving_default"]
    assert shapes["inputs"] == {"waveform": [BLOCK, 2]}
    assert shapes["outputs"] == {source: [BLOCK, 2] for source in SOURCES}
    assert told.items() <= cards["fp16"].items()
    assert (told["sample_rate"], told["block_samples"], told["channels"]) == (RATE, BLOCK, 2)
    assert told["sources"] == list(SOURCES)
    assert told["latency_ms"] == pytest.approx(1000 * BLOCK / RATE)
    assert told["overlap_samples"] == min(RATE, BLOCK // 4)
    assert told["licences"] == {"weights": "none"}


def test_litert_finds_the_same(path):
    """By the C library of LiteRT's own wheel, which apps in C and C++ link."""
    litert = pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    library = ctypes.CDLL(str(Path(litert.__file__).parent / "libLiteRt.so"))
    environment, model, text, size = (ctypes.c_void_p() for _ in range(4))
    assert not library.LiteRtCreateEnvironment(0, None, ctypes.byref(environment))
    assert not library.LiteRtCreateModelFromFile(
        environment, str(path).encode(), ctypes.byref(model)
    )
    found = library.LiteRtGetModelMetadata(
        model, NAME.encode(), ctypes.byref(text), ctypes.byref(size)
    )
    assert not found
    assert json.loads(ctypes.string_at(text, size.value)) == read_metadata(path)


def test_what_is_told_again_takes_the_place_of_what_was_told(path, tmp_path):
    changed = finished(path.read_bytes(), {"name": "größer"})
    (tmp_path / "x.tflite").write_bytes(changed)
    told = read_metadata(tmp_path / "x.tflite")
    assert (told["name"], set(told)) == ("größer", {"name", "signatures"})


def test_a_file_that_is_cut_short_or_foreign_is_refused(path, tmp_path):
    content, cut = path.read_bytes(), tmp_path / "x.tflite"
    for size in np.linspace(8, len(content) // 2, 50, dtype=int):
        cut.write_bytes(content[:size])
        with pytest.raises(ValueError, match="cut short"):
            read_metadata(cut)
    cut.write_bytes(b"RIFF    WAVE")
    with pytest.raises(ValueError, match="is not a TFLite file"):
        read_metadata(cut)
