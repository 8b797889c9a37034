"""kzoo presets convert: files of Open-Unmix's authors become a preset that separates."""

import json
import struct

import numpy as np
import pytest

import kzoo
from kzoo import cli, presets
from kzoo.convert import open_unmix


def safetensors(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        raw = np.asarray(array, np.float32).tobytes()
        header[name] = {
            "dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data + raw)]
        }  # fmt: skip
        data += raw
    words = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(words)) + words + data)
    return path


@pytest.fixture
def weights(vectors, tmp_path):
    """(the file of a target, its arrays)."""
    recorded = vectors("openunmix_small")
    arrays = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    return safetensors(tmp_path / "vocals-0123abcd.pth", arrays), arrays


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `kzoo presets convert WORDS...`: (status, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["kzoo", "presets", "convert", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    return call


def test_options_of_the_conversion_come_to_the_preset(weights, tmp_path, rng, run):
    file, arrays = weights
    out = tmp_path / "converted"
    words = ("--sample-rate", 8000, "--hop-length", 16, "--residual", "--wiener-iterations", 2)
    assert run(file, "-o", out, *words, "--licence", "MIT")[:2] == (0, f"{out}\n")
    card = presets.load_card(out)
    assert card["sources"] == ["vocals", "residual"]
    assert card["licences"]["weights"] == "MIT"
    assert "vocals-0123abcd.pth (sha256 " in card["trained"]
    told = {"sample_rate": 8000, "hop_length": 16, "residual": True, "wiener_iterations": 2}
    assert {key: card["model"]["options"][key] for key in told} == told
    expected = open_unmix.from_weights({f"vocals.{k}": v for k, v in arrays.items()}, **told)
    mixture = (0.1 * rng.standard_normal((400, 2))).astype(np.float32)
    found = kzoo.from_preset(out)(mixture[None])
    np.testing.assert_allclose(found, expected(mixture[None]), atol=1e-6)


def test_files_that_do_not_fit_are_a_line(weights, tmp_path, run):
    file, arrays = weights
    words = ("--sample-rate", 8000, "--hop-length", 16, "-o", tmp_path / "out")
    del arrays["fc2.weight"]
    damaged = safetensors(tmp_path / "drums.pth", arrays)
    for files, message in (
        ((damaged,), "kzoo: these weights do not fit the model; missing: drums.fc2.weight\n"),
        (
            (file, f"vocals={file}"),
            f"kzoo: vocals={file}: expected TARGET=FILE, each target once\n",
        ),
    ):
        assert run(*files, *words) == (1, "", message)
    assert not (tmp_path / "out").exists()
