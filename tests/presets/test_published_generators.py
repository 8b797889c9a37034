"""Generators of others, from files of their own layout to what they draw."""

import zipfile
from pathlib import Path

import made_checkpoints
import made_torch_files as torch_files
import numpy as np
import pytest

from kzoo import config, presets
from kzoo.convert import music_translation, wavenet
from kzoo.generation.composing import Composer

LICENCES = {"code": "MIT", "weights": "MIT", "data": "none"}


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Write a card of a file that a server of this machine has, with a cache of its own."""
    monkeypatch.setattr("kzoo.presets.card.CARDS", tmp_path)
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")

    def write(name, file, **card):
        url = f"https://weights.test/{file['url']}"
        weights = {"files": [{**file, "url": url}]}
        common = {"summary": "made", "channels": 1, "licences": LICENCES, "trained": "by others"}
        config.dump_yaml(
            {"name": name, **common, **card, "weights": weights}, tmp_path / f"{name}.yaml"
        )

    return write


@pytest.fixture
def server(tmp_path, monkeypatch):
    (tmp_path / "www").mkdir()
    with made_checkpoints.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        yield tmp_path / "www"


def test_a_checkpoint_of_r9y9_becomes_a_vocoder(publish, server, vectors):
    file = Path(__file__).parents[1] / "vectors/wavenet_r9y9_0_1.pth"
    (server / file.name).write_bytes(file.read_bytes())
    told = {"depth": 3, "speakers": ("a", "b", "c")}
    found = wavenet.options_of(wavenet.read(file), **told)
    options = config.plain({**found, "sample_rate": 8000, "output": "logistics", "levels": 65536})
    publish(
        "voices", {"url": f"{file.name}?dl=1"}, task="generation", sample_rate=8000,
        model={"name": "wavenet", "options": options},
    )  # fmt: skip
    assert presets.open_preset("voices").state == "to fetch, not yet verified"
    composer = Composer("voices")
    vector = vectors("wavenet_r9y9_0_1")
    given = {name: vector[name][None] for name in ("past", "mel")} | {"speaker": vector["speaker"]}
    model = presets.from_preset("voices")
    np.testing.assert_allclose(model(given)[0], vector["parameters"], atol=2e-6)
    assert composer.size.speakers == ("a", "b", "c")


@pytest.mark.parametrize("name", ["wavenet_ljspeech", "wavenet_cmu_arctic"])
def test_a_published_wavenet_would_fit_its_card(name):
    """Names and shapes are those of version 0.1.1 for the hyper-parameters of its author."""
    options = presets.load_card(name)["model"]["options"]
    speakers = len(options["speakers"])
    shapes = {"first_conv": (512, 1, 1), "last_conv_layers.1": (256, 256, 1)}
    shapes["last_conv_layers.3"] = (30, 256, 1)
    for block in range(24):
        inputs = {"conv": 512, "conv1x1c": 80, "conv1x1_out": 256, "conv1x1_skip": 256}
        inputs |= {"conv1x1g": 16} if speakers else {}
        for part, width in inputs.items():
            out = {"conv1x1_skip": 256}.get(part, 512)
            shapes[f"conv_layers.{block}.{part}"] = (out, width, 3 if part == "conv" else 1)
    for number in (0, 2, 4, 6):
        shapes[f"upsample_conv.{number}"] = (1, 1, 3, 4)
    arrays = {f"{part}.weight_v": np.broadcast_to(0.0, shape) for part, shape in shapes.items()}
    if speakers:
        arrays["embed_speakers.weight"] = np.zeros((speakers, 16))
    told = {key: options[key] for key in ("depth", "speakers")}
    found = config.plain(wavenet.options_of(arrays, **told))
    assert {key: options[key] for key in found} == found
    assert len(found) == 16 + 2 * bool(speakers)


def test_the_files_of_six_domains_are_one_translator(publish, server, vectors):
    vector = vectors("umt_small")
    states = {
        kind: {k.partition(".")[2]: x for k, x in vector.items() if k.startswith(f"param/{kind}.")}
        for kind in ("encoder", "decoder")
    }
    with zipfile.ZipFile(server / "all.zip", "w") as archive:
        for number in range(3):
            scaled = {name: np.float32(1 + number) * x for name, x in states["decoder"].items()}
            parts = {"encoder_state": states["encoder"], "decoder_state": scaled}
            path = nested(server / "one.pth", parts)
            archive.write(path, f"musicnet/lastmodel_{number}.pth")
        archive.writestr("musicnet/args.pth", b"what it was trained by")
    options = {
        "encoder_stacks": 2, "encoder_depth": 3, "encoder_channels": 6, "latent": 5, "pool": 12,
        "sample_rate": 16000, "stacks": 2, "depth": 4, "residual": 6, "skip": 7,
        "domains": ["cello", "winds", "piano"],
    }  # fmt: skip
    publish(
        "three", {"url": "all.zip", "inside": "musicnet"}, task="translation", sample_rate=16000,
        model={"name": "music_translation", "options": options}, domains=options["domains"],
    )  # fmt: skip
    model = presets.from_preset("three")
    x = vector["x"][..., None]
    past = np.concatenate([np.full_like(x[:, :1], -1), x[:, :-1]], axis=1)
    found = model({"heard": vector["x_aug"][..., None], "past": past, "domain": np.zeros((2, 1))})
    np.testing.assert_allclose(found, vector["logits"].transpose(0, 2, 1), atol=1e-5)


def nested(path, parts):
    """A checkpoint of mappings of tensors, as PyTorch 1.0 wrote it."""
    storages, program = {}, {}
    for part, arrays in parts.items():
        entries = {}
        for name, array in arrays.items():
            array = np.ascontiguousarray(array, np.float32)
            key = f"{part}.{name}"
            storages[key] = array
            strides = [stride // 4 for stride in array.strides]
            entries[name] = torch_files.tensor(
                key, "FloatStorage", array.size, array.shape, strides
            )
        program[part] = torch_files.mapping(entries)
    return torch_files.legacy(path, torch_files.mapping(program), storages)


def test_a_folder_without_the_files_of_a_training_is_refused(tmp_path):
    (tmp_path / "bestmodel_0.pth").write_bytes(b"")
    with pytest.raises(ValueError, match=r"holds no lastmodel_0\.pth and others"):
        music_translation.read(tmp_path)
