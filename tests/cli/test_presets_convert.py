"""kzoo presets convert: checkpoints of other frameworks become presets, and say what they lack."""

import json
import shutil
import struct

import h5py
import made_checkpoints
import made_crepe
import made_layouts
import made_torch_files as torch_files
import numpy as np
import pytest

import kzoo
from kzoo import cli, convert, models, presets
from kzoo.convert import asteroid, open_unmix, sota_tagging
from kzoo.synthesis import transfer


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


def parameters(recorded):
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


@pytest.fixture
def weights(vectors, tmp_path):
    """(the file of a target, its arrays)."""
    arrays = parameters(vectors("openunmix_small"))
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


def told(**options):
    return [word for key, value in options.items() for word in ("--option", f"{key}={value}")]


def test_options_of_the_conversion_come_to_the_preset(weights, tmp_path, rng, run):
    file, arrays = weights
    out = tmp_path / "converted"
    said = {"sample_rate": 8000, "hop_length": 16, "residual": True, "wiener_iterations": 2}
    words = ("--as", "open_unmix", *told(**said), "--licence", "MIT")
    assert run(file, "-o", out, *words)[:2] == (0, f"{out}\n")
    card = presets.load_card(out)
    assert card["sources"] == ["vocals", "residual"]
    assert card["licences"]["weights"] == "MIT"
    assert "vocals-0123abcd.pth (sha256 " in card["trained"]
    assert {key: card["model"]["options"][key] for key in said} == said
    expected = open_unmix.from_weights({f"vocals.{k}": v for k, v in arrays.items()}, **said)
    mixture = (0.1 * rng.standard_normal((400, 2))).astype(np.float32)
    found = kzoo.from_preset(out)(mixture[None])
    np.testing.assert_allclose(found, expected(mixture[None]), atol=1e-6)


def test_files_that_do_not_fit_are_a_line(weights, tmp_path, run):
    file, arrays = weights
    words = ("--as", "open_unmix", *told(sample_rate=8000, hop_length=16), "-o", tmp_path / "out")
    del arrays["fc2.weight"]
    damaged = safetensors(tmp_path / "drums.pth", arrays)
    for files, message in (
        ((damaged,), "kzoo: these weights do not fit the model; missing: drums.fc2.weight\n"),
        (
            (file, f"vocals={file}"),
            f"kzoo: vocals={file}: expected TARGET=FILE, each target once\n",
        ),
        ((tmp_path / "none.pth",), f"kzoo: {tmp_path}/none.pth: there is no such file or folder\n"),
    ):
        assert run(*files, *words) == (1, "", message)
    assert not (tmp_path / "out").exists()


def test_a_file_of_asteroid_says_what_its_arrays_do_not(vectors, tmp_path, rng, run):
    arrays = parameters(vectors("convtasnet_gln_skip_sigmoid"))
    program, storages = made_layouts.state_dict(arrays)
    said = {
        "sample_rate": torch_files.integer(8000), "n_blocks": torch_files.integer(3),
        "norm_type": torch_files.text("gLN"), "mask_act": torch_files.text("sigmoid"),
        "encoder_activation": b"N", "n_filters": torch_files.integer(12),
    }  # fmt: skip
    package = {"model_args": torch_files.mapping(said), "state_dict": program}
    file = torch_files.checkpoint(
        tmp_path / "pytorch_model.bin", torch_files.mapping(package), storages
    )
    out = tmp_path / "mine"
    assert run(file, "--as", "conv_tasnet", "-o", out)[:2] == (0, f"{out}\n")
    card = presets.load_card(out)
    assert card["sample_rate"] == 8000
    sound = rng.standard_normal((1, 320, 1)).astype(np.float32)
    known = {"norm": "gln", "mask": "sigmoid", "encoder_activation": "linear"}
    expected = asteroid.from_weights(arrays, blocks=3, **known)(sound)
    model = kzoo.from_preset(out).get_layer("conv_tasnet_core")
    np.testing.assert_allclose(model(sound), expected, atol=1e-6)


def test_what_nothing_tells_must_be_told(vectors, tmp_path, run):
    arrays = parameters(vectors("convtasnet_gln_skip_sigmoid"))
    file, out = safetensors(tmp_path / "weights.safetensors", arrays), tmp_path / "out"
    words = (file, "-o", out, "--as")
    status, _, err = run(*words, "conv_tasnet", *told(blocks=3, mask="relu"))
    assert status == 1
    assert err == (
        "kzoo: the weights of conv_tasnet do not tell norm, encoder_activation, sample_rate, and a "
        "wrong one loads and spoils every result; give --option norm=VALUE\n"
    )
    known = {"norm": "gln", "encoder_activation": "linear", "sample_rate": 8000, "mask": "relu"}
    for changes, message in (
        (
            {"blocks": 3, "masks": "relu"},
            "no option of conv_tasnet is called 'masks'; did you mean",
        ),
        ({"blocks": "three"}, "conv_tasnet: blocks: Input should be a valid integer; got 'three'"),
        ({"blocks": 5}, "blocks must divide the 6 blocks of these weights; got 5"),
    ):
        status, _, err = run(*words, "conv_tasnet", *told(**{**known, **changes}))
        assert (status, err.count("\n")) == (1, 1)
        assert message in err
    for network, message in (
        ("demucs", "missing: encoder.0.0.weight"),
        ("demux", "no converter is called 'demux'; did you mean 'demucs'?"),
        ("open_unmix", "weights must be those of Open-Unmix"),
    ):
        more = {"demucs": {"resample": True, "normalize": True, "sample_rate": 8000}}
        more["open_unmix"] = {"sample_rate": 8000, "hop_length": 8}
        status, _, err = run(*words, network, *told(**more.get(network, {})))
        assert status == 1
        assert message in err
    assert not out.exists()


def test_a_network_of_published_sizes_needs_no_words(tmp_path, run):
    file = tmp_path / "nano.pth"
    file.write_bytes(made_crepe.torch_file(made_crepe.weights((4, 2, 2, 2, 2, 3))))
    assert run(file, "--as", "crepe", "-o", tmp_path / "nano")[0] == 0
    card = presets.load_card(tmp_path / "nano")
    assert card["task"] == "pitch"
    assert card["model"]["options"]["filters"] == [4, 2, 2, 2, 2, 3]
    assert "sources" not in card
    two = (file, file, "--as", "crepe", "-o", tmp_path / "more")
    assert run(*two)[2].startswith("kzoo: crepe is read from one file or folder; got ")


def test_what_all_networks_of_a_kind_have_comes_to_the_preset_unsaid(vectors, tmp_path, run):
    arrays = parameters(vectors("demucs_tasnet_small"))
    file = safetensors(tmp_path / "tasnet.safetensors", arrays)
    words = told(sample_rate=44100, sources="[drums, bass, vocals]")
    assert run(file, "--as", "demucs_tasnet", "-o", tmp_path / "mine", *words)[0] == 0
    card = presets.load_card(tmp_path / "mine")
    assert card["sources"] == ["drums", "bass", "vocals"]
    assert card["model"]["name"] == "conv_tasnet"
    kept = {key: card["model"]["options"][key] for key in ("mask", "skip", "input_norm", "biases")}
    assert kept == {"mask": "relu", "skip": 0, "input_norm": "cln", "biases": False}


def test_a_folder_of_tensorflow_becomes_a_preset(vectors, tmp_path, run):
    arrays = parameters(vectors("waveunet_m3_valid_difference"))
    folder = made_checkpoints.write_checkpoint(tmp_path / "theirs", arrays, "model-7")
    words = (folder, "--as", "wave_u_net", "-o", tmp_path / "mine")
    status, _, err = run(*words, *told(sample_rate=22050))
    assert (status, "do not tell context, and" in err) == (1, True)
    assert run(*words, *told(sample_rate=22050, context=True))[0] == 0
    card = presets.load_card(tmp_path / "mine")
    assert card["model"]["options"]["output"] == "difference"
    assert card["trained"] == "elsewhere; converted from theirs"


def test_an_instrument_keeps_the_statistics_of_its_training(shared, tmp_path, run):
    theirs = shutil.copytree(shared / "vectors" / "ddsp_checkpoint", tmp_path / "theirs")
    words = (theirs, "--as", "ddsp", *told(loudness_range_db=120), "-o")
    assert run(*words, tmp_path / "whole")[0] == 0
    preset = transfer.check_request(tmp_path / "whole", method="pyin")
    assert transfer.target(preset).loudness_db[3] == -50.563
    (theirs / "dataset_statistics.pkl").write_bytes(b"none")
    status, _, err = run(*words, tmp_path / "damaged")
    assert (status, err.count("\n")) == (1, 1)
    assert "dataset_statistics.pkl: cannot be read" in err
    (theirs / "dataset_statistics.pkl").unlink()
    assert run(*words, tmp_path / "bare")[0] == 0
    assert "statistics" not in presets.load_card(tmp_path / "bare")


def test_a_tagger_of_another_size_than_its_variant_becomes_a_preset(vectors, tmp_path, run):
    arrays = parameters(vectors("tag_fcn"))
    file, out = safetensors(tmp_path / "best_model.pth", arrays), tmp_path / "mine"
    words = told(filters="[4, 6, 6, 6, 5]")
    assert run(file, "--as", "sota_fcn", "-o", out, *words)[:2] == (0, f"{out}\n")
    model = presets.load_card(out)["model"]
    assert (model["name"], model["variant"]) == ("choi", "fcn5")
    size = models.sizes("choi", variant="fcn5", filters=(4, 6, 6, 6, 5))
    expected = sota_tagging.from_weights(arrays, size)
    for found, wanted in zip(kzoo.from_preset(out).weights, expected.weights, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", sota_tagging.SIZES)
def test_taggers_are_called_after_the_folders_of_their_files(name):
    converter = convert.converter(f"sota_{name}")
    assert models.sizes(converter.model, variant=converter.variant) == sota_tagging.SIZES[name]


def test_a_file_of_keras_becomes_a_conditioned_u_net(vectors, tmp_path, run):
    recorded, file, out = vectors("cunet_simple_dense_small"), tmp_path / "a.h5", tmp_path / "mine"
    with h5py.File(file, "w") as written:
        for key, value in parameters(recorded).items():
            name = key.split("_", 1)[1]  # behind a number
            written[f"{name.split('/')[0]}/{name}:0"] = value
    words = (file, "--as", "cunet", "-o", out, *told(sample_rate=8192, frames=64, bins=64))
    status, _, err = run(*words)
    assert (status, err) == (0, "")
    core = kzoo.from_preset(out).get_layer("cunet_core")
    mixture = np.swapaxes(recorded["input"], 1, 2)  # theirs is [bins, frames]
    found = core([mixture, recorded["z"][:, 0]], training=False)
    np.testing.assert_allclose(np.swapaxes(found, 1, 2), recorded["output"], atol=1e-5)
    file.write_bytes(b"none")
    status, _, err = run(*words)
    assert (status, err.count("\n")) == (1, 1)
    assert "a.h5: is no HDF5 file" in err


def test_every_converter_can_be_asked_what_it_must_be_told():
    names = convert.list_converters()
    assert {"conv_tasnet", "crepe", "demucs", "open_unmix", "spleeter", "wave_u_net"} <= set(names)
    for name in names:
        converter = convert.converter(name)
        assert callable(converter.read)
        assert not {"size", "samples"} & set(converter.told)
