"""The enhancers that their authors publish: fetched from a mirror, their own bytes alone."""

import os
import urllib.parse

import made_checkpoints
import numpy as np
import pytest

from kzoo import config, presets
from kzoo.presets import PresetError

# Where the bytes of each are beside the project, and how many numbers are in them.
FILES = {
    "dtln": ("dtln/model.h5", 986_753),
    "gtcrn_dns3": ("gtcrn/model_trained_on_dns3.tar", None),
    "gtcrn_dns3_stream": ("gtcrn/stream_model_trained_on_dns3.tar", None),
    "gtcrn_vctk": ("gtcrn/model_trained_on_vctk.tar", None),
    "ul_unas_dns3": ("ulunas/model_trained_on_dns3.tar", None),
    "deepfilternet3": ("deepfilternet3/DeepFilterNet3_onnx.tar.gz", None),
}


@pytest.fixture
def mirror(monkeypatch, shared, tmp_path):
    """A server of the published files at the paths of their addresses; its log of requests."""
    for name, (file, _) in FILES.items():
        path = urllib.parse.urlsplit(presets.load_card(name)["weights"]["url"]).path
        place = tmp_path / "www" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(shared / "data" / "weights" / file, place)
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    with made_checkpoints.served(tmp_path / "www") as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        yield log


@pytest.mark.parametrize(
    "name",
    [
        "dtln",
        "gtcrn_vctk",
        pytest.param("gtcrn_dns3", marks=pytest.mark.slow),
        pytest.param("gtcrn_dns3_stream", marks=pytest.mark.slow),
        pytest.param("ul_unas_dns3", marks=pytest.mark.slow),
        pytest.param("deepfilternet3", marks=pytest.mark.slow),
    ],
)
def test_a_published_file_becomes_a_preset(name, mirror):
    assert presets.download(name).is_file()
    card = presets.load_card(name)
    assert [path for path, _ in mirror] == [urllib.parse.urlsplit(card["weights"]["url"]).path]
    arrays = presets.verified_weights(name)
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert FILES[name][1] in (None, sum(array.size for array in arrays.values()))
    fetched = config.load_yaml(presets.weights_path(name).with_name("card.yaml"))
    assert fetched["weights"]["fetched_sha256"] == card["weights"]["url_sha256"]


def test_other_bytes_are_refused_and_not_kept(mirror, tmp_path):
    path = urllib.parse.urlsplit(presets.load_card("dtln")["weights"]["url"]).path
    place = tmp_path / "www" / path.lstrip("/")
    place.unlink()
    place.write_bytes(b"something else")
    with pytest.raises(PresetError, match=r"sha256 is .*, not b6e9ecb8140f"):
        presets.from_preset("dtln")
    assert presets.weights_path("dtln") is None


def test_offline_each_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    with pytest.raises(PresetError, match="'deepfilternet3' is not on this machine"):
        presets.download("deepfilternet3")
