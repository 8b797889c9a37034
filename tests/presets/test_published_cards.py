"""The cards of published files: their sizes are those that the files' own names and shapes tell."""

import importlib
import inspect
import urllib.parse
from types import SimpleNamespace
from unittest import mock

import made_checkpoints
import made_layouts as made
import made_torch_files as torch_files
import numpy as np
import numpy_wave_u_net
import pytest

from kzoo import config, convert, presets
from kzoo.convert import ddsp, wave_u_net
from kzoo.presets import published
from kzoo.synthesis.transfer import check_request, target

CARDS = presets.list_presets()
OPEN_UNMIX = ["umx", "umxhq", "umxl", "umxse"]
DEMUCS = [
    name for name in presets.list_presets() if name.startswith("demucs") and "2stems" not in name
]
TASNETS = [name for name in CARDS if name.startswith("tasnet_v")]
ASTEROID = ["conv_tasnet_wham", "conv_tasnet_libri2mix_8khz", "conv_tasnet_libri2mix_16khz"]
SCNETS = ["scnet", "scnet_large", "scnet_xl"]
HTDEMUCS = [
    name
    for name in CARDS
    if name.startswith(("htdemucs", "hdemucs", "mdx_extra"))
    and "bag" not in presets.load_card(name)
]
BY_NAMES_AND_SHAPES = [
    *OPEN_UNMIX, *DEMUCS, *TASNETS, *ASTEROID, *SCNETS, *HTDEMUCS, "dprnn_wham",
    "dcunet_libri1mix", "segan_plus",
]  # fmt: skip


@pytest.mark.parametrize("name", BY_NAMES_AND_SHAPES)
def test_a_published_file_would_fit_its_card(name):
    card = presets.load_card(name)
    options = card["model"]["options"]
    converter = convert.converter(card["weights"].get("converter", card["model"]["name"]))
    wanted = inspect.signature(converter.options_of).parameters
    told = {key: options[key] for key in wanted if key in options}
    found = config.plain(converter.options_of(made.shapes_alone(card), **told))
    assert len(found) >= 4
    if "growth" in found:  # told a little too large, for widths that are rounded down
        found["growth"] = pytest.approx(found["growth"], abs=1e-5)
    assert {key: options[key] for key in found} == found
    assert all(len(file.get("sha256", "0" * 8)) in (8, 64) for file in card["weights"]["files"])


@pytest.mark.parametrize("name", ["wave_u_net_m4", "wave_u_net_m5_highsr", "wave_u_net_m6"])
def test_a_published_wave_u_net_would_fit_its_card(name):
    """Twelve levels of 24 filters more each, as the authors' Config.py has them."""
    options = presets.load_card(name)["model"]["options"]
    sources = options["sources"]
    arrays = numpy_wave_u_net.random_weights(
        SimpleNamespace(standard_normal=np.zeros),
        levels=12, filters=24, kernel=15, merge=5, output=1, channels=2,
        estimated=len(sources) - 1, learned=name == "wave_u_net_m5_highsr",
    )  # fmt: skip
    found = wave_u_net.options_of(arrays, sources=sources)
    assert {key: options[key] for key in found} == found
    assert options["context"]
    assert options["sample_rate"] == (44100 if "highsr" in name else 22050)


@pytest.mark.parametrize("size", ["small", "medium", "large"])
def test_a_published_crepe_would_fit_its_card(size):
    """Filters are those of marl/crepe's core.py: its multiplier is 8, 16 and 24."""
    multiplier = {"small": 8, "medium": 16, "large": 24}[size]
    card = presets.load_card(f"crepe_{size}")
    assert card["model"]["options"]["filters"] == [multiplier * n for n in (32, 4, 4, 4, 8, 16)]
    assert card["weights"]["files"][0]["url"].endswith(f"/model-{size}.h5.bz2")


@pytest.mark.parametrize("name", [name for name in CARDS if name.startswith("ddsp_solo")])
def test_a_published_instrument_would_fit_its_card(name):
    """Names and shapes are those that ddsp's code of 2021 gives its solo_instrument.gin."""
    at = "model/decoder"
    shapes = {
        f"{at}/rnn/rnn/cell/recurrent_kernel": (512, 1536),
        f"{at}/dense_out/bias": (126,),
        "model/processor_group/reverb/ir": (48000,),
    }
    shapes |= {
        f"{at}/out_stack/layer_with_weights-{n}/layer_with_weights-0/bias": (512,) for n in range(3)
    }
    arrays = {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}
    options = presets.load_card(name)["model"]["options"]
    found = ddsp.options_of(arrays)
    assert {key: options[key] for key in found} == found
    assert options["loudness_range_db"] == 120
    assert all(f"/solo_{name[10:]}_ckpt/" in f["url"] for f in files_of(name))


def test_a_folder_of_tensorflow_becomes_an_instrument(shared, tmp_path, monkeypatch):
    """A checkpoint that ddsp's code of 2021 wrote, of small sizes, at the published addresses."""
    theirs = shared / "vectors" / "ddsp_checkpoint"
    card = presets.load_card("ddsp_solo_violin")
    small = {"rnn_units": 6, "units": 8, "harmonics": 7, "noise_bands": 5, "reverb_seconds": 0.025}
    card["model"]["options"] |= small
    for file in card["weights"]["files"]:
        path = tmp_path / "www" / urllib.parse.urlsplit(file["url"]).path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((theirs / path.name).read_bytes())
    served_cards(tmp_path, monkeypatch, card)
    assert presets.open_preset("ddsp_solo_violin").statistics == {}  # not yet
    assert check_request("ddsp_solo_violin", method="pyin").name == "ddsp_solo_violin"
    with made_checkpoints.served(tmp_path / "www") as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        found = presets.verified_weights("ddsp_solo_violin")
    assert [path.rpartition("/")[2] for path, _ in log] == [
        "ckpt-40000.index", "ckpt-40000.data-00000-of-00001", "operative_config-0.gin",
        "dataset_statistics.pkl",
    ]  # fmt: skip
    with pytest.raises(presets.PresetError, match="its files hold no statistics"):
        published.completed(card, tmp_path)
    told = presets.open_preset("ddsp_solo_violin").statistics
    assert told["midi"]["mean"] == pytest.approx(60.0434, abs=1e-3)
    assert target(presets.open_preset("ddsp_solo_violin")).loudness_db[3] == -50.563
    assert sum(map(np.size, found.values())) == sum(map(np.size, ddsp.read(theirs).values()))
    cached = tmp_path / "cache" / "presets" / "ddsp_solo_violin" / "card.yaml"
    older = config.load_yaml(cached)  # as it was kept before kzoo read the statistics
    del older["statistics"], older["weights"]["file_tells"]
    config.dump_yaml(older, cached)
    with pytest.raises(ValueError, match=f"no statistics .*; remove {cached.parent} and fetch it"):
        check_request("ddsp_solo_violin", method="pyin")
    check_request("ddsp_solo_violin", method="pyin", octaves=0, match=False)


@pytest.mark.parametrize(
    ("name", "case", "options"),
    [
        pytest.param(
            "mdx_7d865c68",
            "bands",
            {"bands": [0.2, 0.55], "filters": 4, "residual": "both"},
            marks=pytest.mark.slow,
        ),
        ("mdx_c511e2ab", "magnitude", {"late": True, "spectrum": "magnitude", "n_fft": 256}),
        ("mdx_0d19c1c6", "time", {"depth": 3, "norm_groups": 2, "recurrent_starts": 2}),
    ],
)
def test_what_a_file_alone_tells_of_its_sizes_counts(
    name, case, options, vectors, tmp_path, monkeypatch
):
    """Files of other sizes than the card's, which are those of the authors' classes."""
    card = presets.load_card(name)
    (file,) = card["weights"]["files"]
    del file["sha256"]
    path = tmp_path / "www" / urllib.parse.urlsplit(file["url"]).path.lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_bytes((made.LAYOUTS.parent / f"demucs_v3_{case}.th.gz").read_bytes())
    served_cards(tmp_path, monkeypatch, card)
    reading = importlib.import_module(f"kzoo.convert.{card['model']['name']}")
    read = mock.Mock(wraps=reading.read)
    monkeypatch.setattr(reading, "read", read)
    with made_checkpoints.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        preset = presets.open_preset(name)
        preset.download(accept_licence=True)
    read.assert_called_once()
    model = preset.model()
    assert {key: preset.options[key] for key in options} == options
    assert preset.options["block_seconds"] == 44  # the bag's, not that of the training
    recorded = vectors("demucs_v3")
    found = np.asarray(model(recorded[f"{case}_in"].T[None]))[0, [0, -1]]
    np.testing.assert_allclose(found.transpose(0, 2, 1), recorded[f"{case}_out"], atol=1e-5)


def served_cards(tmp_path, monkeypatch, card):
    """A place for the card and a cache of its own, with the network allowed (to this machine)."""
    (tmp_path / "cards").mkdir()
    config.dump_yaml(card, tmp_path / "cards" / f"{card['name']}.yaml")
    monkeypatch.setattr("kzoo.presets.card.CARDS", tmp_path / "cards")
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")


def files_of(name):
    return presets.load_card(name)["weights"]["files"]


@pytest.mark.parametrize("name", CARDS)
def test_what_is_fetched_has_an_address_and_its_restrictions_have_words(name):
    card = presets.load_card(name)
    assert set(card["licences"]) == {"code", "weights", "data"}
    size, _ = presets.open_preset(name).sizes()
    assert size.channels == card["channels"]
    for file in card.get("weights", {}).get("files", ()):
        assert file["url"].startswith(("https://", "http://veu.talp.cat/"))  # which has no other
        assert set(file) <= {"url", "sha256", "size", "target", "inside"}
    assert isinstance(card.get("restricted", "nothing"), str)
    if "published" in card:
        assert set(card["published"]) == {"by", "definition", "scores"}


def demucs_package(card, arrays, path):
    """(class, args, kwargs, state), as Demucs v1 packed its networks, in PyTorch's old format."""
    program, storages = made.state_dict(arrays)
    module = b"(" + torch_files.text("module") + torch_files.name("demucs.model", "Demucs")
    module += torch_files.text("demucs/model.py") + torch_files.text("class Demucs: pass") + b"tQ"
    sources = b"(](" + b"".join(map(torch_files.text, card["sources"])) + b"et"
    torch_files.legacy(path, b"(" + module + sources + b"}" + program + b"t", storages)


def asteroid_package(card, arrays, path):
    """The mapping that asteroid's `serialize` makes."""
    program, storages = made.state_dict(arrays)
    others = {"model_name": torch_files.text("?"), "model_args": b"}", "infos": b"}"}
    torch_files.checkpoint(path, torch_files.mapping({"state_dict": program, **others}), storages)


def htdemucs_package(card, arrays, path):
    """The mapping that Demucs's authors pack their later networks in, in half precision."""
    program, storages = made.state_dict({name: np.float16(x) for name, x in arrays.items()})
    sources = b"](" + b"".join(map(torch_files.text, card["sources"])) + b"e"
    kwargs = torch_files.mapping({"sources": sources, "samplerate": torch_files.integer(44100)})
    parts = {"klass": torch_files.name("demucs.htdemucs", "HTDemucs"), "args": b")"}
    parts |= {"kwargs": kwargs, "state": program, "training_args": b"}", "metrics": b")"}
    torch_files.checkpoint(path, torch_files.mapping(parts), storages)


def scnet_package(card, arrays, path):
    program, storages = made.state_dict(arrays)
    torch_files.checkpoint(path, torch_files.mapping({"best_state": program}), storages)


def state_dict(card, arrays, path):
    torch_files.legacy(path, *made.state_dict(arrays))


@pytest.mark.parametrize("name", ["demucs_v1", "demucs_v2", "mdx_0d19c1c6", "htdemucs"])
def test_recordings_are_standardised_for_demucs_as_its_programs_do(name):
    assert presets.open_preset(name).sizes()[0].standardised


def test_a_package_of_demucs_v1_tells_so(tmp_path):
    demucs_package(presets.load_card("demucs_v1"), {}, tmp_path / "demucs.th")
    assert convert.converter("demucs").said_in(tmp_path / "demucs.th")["standardise"] is True


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("umxse", state_dict),
        ("umxhq", state_dict),
        ("demucs_unittest", state_dict),
        ("demucs_v1_light", demucs_package),
        ("demucs48_hq", state_dict),
        ("tasnet_v1", demucs_package),
        ("tasnet_v2", state_dict),
        ("conv_tasnet_wham", asteroid_package),
        ("conv_tasnet_libri2mix_16khz", asteroid_package),
        ("dprnn_wham", asteroid_package),
        ("dcunet_libri1mix", asteroid_package),
        ("segan_plus", state_dict),
        ("scnet", scnet_package),
        ("htdemucs", htdemucs_package),
        ("htdemucs_6s", htdemucs_package),
        ("hdemucs_mmi", htdemucs_package),
        ("mdx_extra_a1d90b5c", htdemucs_package),
        ("scnet", state_dict),
    ],
)
def test_a_made_file_of_the_whole_size_becomes_a_preset(
    name, packed, unfilled, tmp_path, monkeypatch, rng
):
    """Of the reference's names and shapes; its numbers are random, so its hash is another one."""
    card = presets.load_card(name)
    for file in card["weights"]["files"]:
        path = tmp_path / "www" / urllib.parse.urlsplit(file["url"]).path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        packed(card, made.arrays(name, rng), path)
        file.pop("sha256", None)
    served_cards(tmp_path, monkeypatch, card)
    with made_checkpoints.served(tmp_path / "www") as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        presets.download(name, accept_licence=True)
        model = presets.from_preset(name)
    assert len(log) == len(card["weights"]["files"])
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trained == card["parameters"]
