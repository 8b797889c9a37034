"""Presets: fetched once, verified, strict; nothing half-done is ever taken for a preset."""

import contextlib
import functools
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import made_checkpoints as made
import numpy as np
import pytest

from kzoo import config, models, presets
from kzoo.convert import spleeter
from kzoo.presets import PresetError
from kzoo.presets.fetching import fetch


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A place for cards and a cache of its own, with the network allowed (to this machine)."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setattr("kzoo.presets.card.CARDS", folder)
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    monkeypatch.delenv("KZOO_MIRROR", raising=False)
    return folder


def publish(cards, folder, instruments, *, options=None, **weights):
    """A card in the package, and its archive in `folder`, which a server may hand out."""
    name = f"made_{instruments}stems"
    card = made.small_card(name, instruments)
    card["model"]["options"].update(options or {})
    card["weights"].update(weights)
    config.dump_yaml(card, cards / f"{name}.yaml")
    folder.mkdir(exist_ok=True)
    arrays = made.weights(instruments)
    checkpoint = made.write_checkpoint(folder / f"{name}.ckpt", arrays)
    archive = made.write_archive(folder / f"{name}.tar.gz", checkpoint)
    return name, archive, arrays


def test_an_archive_becomes_a_preset_that_equals_its_checkpoint(cards, tmp_path, monkeypatch, rng):
    options = {"activation": "elu", "masks": "softmax"}  # of which neither is that of 2 instruments
    name, _, arrays = publish(cards, tmp_path / "www", 2, options=options)
    with made.served(tmp_path / "www") as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        model = presets.from_preset(name)
        presets.verified_weights(name)
    assert [path for path, _ in log] == [f"/{name}.tar.gz"]  # once, then from the cache
    magnitude = np.abs(rng.standard_normal((1, 64, 64, 2))).astype(np.float32)
    expected = spleeter.from_weights(arrays, **options, frames=64, bins=64)(magnitude)
    np.testing.assert_allclose(model.get_layer("unet_core")(magnitude), expected, atol=1e-6)
    kept = config.load_yaml(tmp_path / "cache" / "presets" / name / "card.yaml")
    assert kept["weights"]["fetched"].startswith(url)
    assert len(kept["weights"]["fetched_sha256"]) == 64


def test_a_wrong_archive_is_refused_and_not_kept(cards, tmp_path, monkeypatch):
    name, _, _ = publish(cards, tmp_path / "www", 2, archive_sha256="0" * 64)
    with made.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError, match="sha256"):
            presets.from_preset(name)
    assert presets.weights_path(name) is None
    assert list((tmp_path / "cache" / "downloads").iterdir()) == []


def test_a_checkpoint_of_another_model_is_refused(cards, tmp_path, monkeypatch):
    name, archive, _ = publish(cards, tmp_path / "www", 2)
    other = made.write_checkpoint(tmp_path / "other", made.weights(4))
    made.write_archive(archive, other)
    with made.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError, match="unused: batch_normalization_24"):
            presets.from_preset(name)
    assert presets.weights_path(name) is None


def test_an_archive_without_a_checkpoint_is_refused(cards, tmp_path, monkeypatch):
    name, archive, _ = publish(cards, tmp_path / "www", 2)
    archive.write_bytes(b"not an archive at all")
    with made.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError, match="cannot be unpacked"):
            presets.from_preset(name)


def test_a_broken_download_resumes_where_it_stopped(cards, tmp_path):
    data = np.random.default_rng(0).bytes(1_000_000)
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    with made.served(tmp_path / "www", drop_after=400_000) as (url, log):
        with pytest.raises(PresetError, match="try again to resume"):
            fetch(f"{url}/file", tmp_path / "got", sha256=digest)
        assert not (tmp_path / "got").exists()
        seen = []
        fetch(f"{url}/file", tmp_path / "got", sha256=digest, progress=lambda *a: seen.append(a))
    assert (tmp_path / "got").read_bytes() == data
    assert log[1][1] == "bytes=400000-"
    assert seen[-1] == (1_000_000, 1_000_000)


def test_a_part_that_is_the_whole_file_is_accepted(cards, tmp_path):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"abc")
    (tmp_path / "got.part").write_bytes(b"abc")
    with made.served(tmp_path / "www") as (url, _):
        fetch(f"{url}/file", tmp_path / "got", sha256=hashlib.sha256(b"abc").hexdigest())
    assert (tmp_path / "got").read_bytes() == b"abc"


def test_a_server_that_refuses_is_quoted(cards, tmp_path):
    with (
        made.served(tmp_path, status=403) as (url, _),
        pytest.raises(PresetError, match="answered 403"),
    ):
        fetch(f"{url}/file", tmp_path / "got")


@pytest.mark.parametrize(("status", "kept"), [(503, True), (429, True), (404, False)])
def test_a_part_outlives_a_server_that_is_busy_but_not_a_file_that_is_gone(
    cards, tmp_path, status, kept
):
    (tmp_path / "got.part").write_bytes(b"the first half")
    with (
        made.served(tmp_path, status=status) as (url, _),
        pytest.raises(PresetError, match=f"answered {status}"),
    ):
        fetch(f"{url}/file", tmp_path / "got")
    assert (tmp_path / "got.part").exists() == kept


@pytest.mark.parametrize(("now", "asked"), [('"one"', "bytes=400-"), ('"two"', "bytes=400-")])
def test_two_versions_of_a_file_are_never_mixed(cards, tmp_path, now, asked):
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"1" * 1000)
    with (
        made.served(tmp_path / "www", drop_after=400, etag='"one"') as (url, _),
        pytest.raises(PresetError, match="try again"),
    ):
        fetch(f"{url}/file", tmp_path / "got")
    (tmp_path / "www" / "file").write_bytes(b"2" * 1000)
    with made.served(tmp_path / "www", etag=now) as (url, log):
        fetch(f"{url}/file", tmp_path / "got")
    assert log[0][1] == asked
    first = 400 if now == '"one"' else 0  # the server's word for it that nothing has changed
    assert (tmp_path / "got").read_bytes() == b"1" * first + b"2" * (1000 - first)
    assert sorted(path.name for path in tmp_path.glob("got*")) == ["got"]


def test_of_two_that_fetch_at_once_one_waits_for_the_other(cards, tmp_path, monkeypatch, capsys):
    name, _, _ = publish(cards, tmp_path / "www", 2)
    both = threading.Barrier(2)
    here = presets.Preset.weights_path

    def weights_path(preset):
        found = here(preset)
        if found is None and not both.broken:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(timeout=5)  # neither goes on before both have found nothing
            both.abort()
        return found

    monkeypatch.setattr(presets.Preset, "weights_path", weights_path)
    with made.served(tmp_path / "www") as (url, log), ThreadPoolExecutor(2) as pool:
        monkeypatch.setenv("KZOO_MIRROR", url)
        first, second = pool.map(presets.download, [name, name])
    assert first == second == here(presets.open_preset(name))
    assert [path for path, _ in log] == [f"/{name}.tar.gz"]
    assert "is being fetched already; waiting" in capsys.readouterr().err
    assert presets.verified_weights(name)


def test_no_server_is_one_line(cards, tmp_path):
    with pytest.raises(PresetError, match="download failed"):
        fetch("http://127.0.0.1:9/file", tmp_path / "got")


def test_offline_mode_names_what_is_missing_and_the_way_out(cards, tmp_path, monkeypatch):
    name, _, _ = publish(cards, tmp_path / "www", 2)
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    with pytest.raises(PresetError, match=r"KZOO_OFFLINE is set.*KZOO_CACHE"):
        presets.from_preset(name)


def test_damaged_weights_are_never_loaded(tmp_path, tiny_preset):
    folder = tiny_preset(tmp_path / "mine")
    data = bytearray((folder / "weights.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "weights.npz").write_bytes(data)
    with pytest.raises(PresetError, match="damaged or replaced"):
        presets.from_preset(folder)


def test_a_card_without_a_sha256_is_not_trusted(tmp_path, tiny_preset):
    folder = tiny_preset(tmp_path / "mine")
    card = config.load_yaml(folder / "card.yaml")
    del card["weights"]["sha256"]
    config.dump_yaml(card, folder / "card.yaml")
    with pytest.raises(PresetError, match="no sha256"):
        presets.from_preset(folder)


@pytest.mark.parametrize("trained", [None, {"steps": 0}])
def test_weights_of_which_nobody_says_how_they_were_trained_are_refused(
    tmp_path, tiny_preset, trained
):
    folder = tiny_preset(tmp_path / "mine")
    card = config.load_yaml(folder / "card.yaml")
    config.dump_yaml({**card, "trained": trained}, folder / "card.yaml")
    with pytest.raises(PresetError, match=r"mine: its .* trained"):
        presets.from_preset(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trained": None}, "must have 'trained', a line that says how"),
        ({"trained": {"epochs": 3}}, r"'trained' must be .*steps; got \{'epochs': 3\}"),
        ({"sources": "vocals"}, "'sources' must be a list of different names; got 'vocals'"),
    ],
)
def test_a_card_that_lacks_a_part_is_not_written(tmp_path, tiny_preset, change, message):
    with pytest.raises(PresetError, match=message):
        tiny_preset(tmp_path / "mine", **change)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sources", None, r"card\.yaml: 'sources' must be a list of different names; got only"),
        ("model", {"options": {}}, "'model' must be a mapping of an architecture's name"),
        ("sample_rate", "44.1k", "'sample_rate' must be a whole number of Hz; got '44.1k'"),
        ("weights", None, "no sha256"),
    ],
)
def test_a_card_that_lacks_a_part_is_refused_when_read(tmp_path, tiny_preset, key, value, message):
    folder = tiny_preset(tmp_path / "mine")
    card = config.load_yaml(folder / "card.yaml")
    del card[key]
    config.dump_yaml(card if value is None else {**card, key: value}, folder / "card.yaml")
    with pytest.raises(PresetError, match=message):
        presets.from_preset(folder)


def test_a_card_without_a_name_has_that_of_its_folder(tmp_path, tiny_preset):
    folder = tiny_preset(tmp_path / "mine")
    card = config.load_yaml(folder / "card.yaml")
    del card["name"]
    config.dump_yaml(card, folder / "card.yaml")
    assert presets.load_card(folder)["name"] == "mine"


def test_a_saved_preset_gives_the_same_model_back(tmp_path, tiny_preset, rng):
    preset = presets.open_preset(tiny_preset(tmp_path / "mine"))
    waveform = rng.standard_normal((1, 3000, 2)).astype(np.float32)
    saved = preset.untrained_model()
    first = np.asarray(saved(waveform))
    presets.save_to_preset(saved, tmp_path / "again", preset.card)
    second = presets.from_preset(tmp_path / "again")
    np.testing.assert_array_equal(second(waveform), first)
    preset.assign(second)
    assert np.abs(np.asarray(second(waveform)) - first).max() > 1e-3


def test_weights_of_another_size_are_named(tmp_path, tiny_preset):
    folder = tiny_preset(tmp_path / "mine")
    with pytest.raises(PresetError, match="vocals_down1_conv/kernel is"):
        presets.from_preset(folder, filters=(3,))


def test_a_folder_with_other_files_is_not_written_into(tmp_path, tiny_preset):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(PresetError, match=r"thesis\.txt"):
        tiny_preset(tmp_path)


def test_an_unknown_preset_is_answered_with_the_nearest():
    with pytest.raises(PresetError, match="did you mean 'spleeter_2stems'"):
        presets.load_card("spleter_2stem")


def test_a_folder_that_is_no_preset_says_so(tmp_path):
    with pytest.raises(PresetError, match=r"without card\.yaml"):
        presets.from_preset(tmp_path)


# What is trained, and for Deezer's networks what is not, by their authors.
PARAMETERS = {
    "spleeter_2stems": (19_645_450, 2 * 1_986),
    "spleeter_vocals": (19_645_450 // 2, 1_986),
    "spleeter_4stems": (39_290_900, 4 * 1_986),
    "spleeter_5stems": (49_113_625, 5 * 1_986),
    "crepe_tiny": (486_552, None),
    "crepe_full": (22_239_976, None),
    "gtcrn_dns3": (23_669, None),
    "ul_unas_dns3": (146_752, None),
    "choi_crnn": (396_786, None),
    "musicnn_mtt": (787_159, None),
    "vgg_mtt": (605_748, None),
    "dtln": (986_753, None),
    "onset_cnn": (289_693, 480),
}


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@functools.cache
def network(name):
    """What the card's model is built of: no layer and no weight depends on the number of bins."""
    section = presets.load_card(name)["model"]
    return section["name"], {**section["options"], "bins": None}


def slow_if_by_names(name):
    """Cards that `test_published_cards.py` compares with the names and shapes of their files."""
    by_names = "files" in presets.load_card(name).get("weights", {})
    return pytest.param(name, marks=pytest.mark.slow) if by_names else name


@pytest.mark.parametrize("name", list(map(slow_if_by_names, presets.list_presets())))
def test_every_card_builds_a_model_and_names_its_licences(unfilled, name):
    preset = presets.open_preset(name)
    card, (size, _) = preset.card, preset.sizes()
    assert card["name"] == name
    assert set(card["licences"]) == {"code", "weights", "data"}
    assert size.channels == card["channels"]
    assert ("sources" in card) == models.takes_sources(card["model"]["name"])
    assert card.get("sources") == card["model"]["options"].get("sources")
    if "bandwidth_hz" in card:
        assert size.bandwidth_hz() == card["bandwidth_hz"]
    names = presets.list_presets()
    if any(network(name) == network(other) for other in names[: names.index(name)]):
        return  # it has been built
    sources, changes, share = card.get("sources"), {}, 1.0
    if getattr(size, "trunk", None) == "each":  # as many networks as sources, all alike: two do
        share = 2 / len(sources)
        sources = changes["sources"] = sources[:2]
    model = preset.untrained_model(**changes)
    assert all(x.shape[-1] == size.channels for x in model.inputs if x.name != "mel")
    if sources:
        assert model.output_shape[1] == len(sources)
    if name in PARAMETERS:
        trained, still = PARAMETERS[name]
        assert count(model.trainable_weights) == share * trained
        assert still is None or count(model.non_trainable_weights) == share * still
