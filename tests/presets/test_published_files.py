"""Weights at addresses of their own: fetched once and whole, allowed, converted, or none of it."""

import hashlib
import zipfile

import keras
import made_checkpoints
import made_layouts
import made_torch_files as torch_files
import numpy as np
import pytest

from kzoo import cli, config, presets
from kzoo.convert import open_unmix, wave_u_net
from kzoo.presets import PresetError, fetching

TARGETS = ("vocals", "drums")
SIZES = {"sample_rate": 8000, "hop_length": 16, "wiener_iterations": 1}


def legacy_file(path, arrays):
    """A state dict as PyTorch wrote it before 1.6, which Open-Unmix's files are of."""
    return torch_files.legacy(path, *made_layouts.state_dict(arrays))


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """A place for cards and a cache of its own, with the network allowed (to this machine)."""
    (tmp_path / "cards").mkdir()
    monkeypatch.setattr("kzoo.presets.card.CARDS", tmp_path / "cards")
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    return tmp_path / "cards"


@pytest.fixture
def published(cards, vectors, tmp_path):
    """A card of two files, by the reference's own names and shapes, and their arrays."""
    recorded = vectors("openunmix_small")
    of_one = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    arrays, files = {}, []
    (tmp_path / "www").mkdir()
    for number, target in enumerate(TARGETS, 1):
        mine = {name: array * array.dtype.type(number) for name, array in of_one.items()}
        # Networks of the authors' first version also had their transform.
        mine |= {"sample_rate": np.int64(8000), "stft.window": np.ones(64, np.float32)}
        path = legacy_file(tmp_path / "www" / f"{target}.pth", mine)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append({
            "url": f"https://models.test/{target}.pth", "target": target,
            "sha256": sha256[:8] if number == 1 else sha256, "size": path.stat().st_size,
        })  # fmt: skip
        arrays |= {f"{target}.{name}": array for name, array in mine.items()}
    options = {"sources": list(TARGETS), **open_unmix.options_of(arrays), **SIZES}
    card = {
        "name": "made_umx", "task": "music separation", "summary": "made for a test",
        "model": {"name": "open_unmix", "options": options}, "sources": list(TARGETS),
        "sample_rate": 8000, "channels": 2, "weights": {"files": files}, "trained": "not at all",
        "licences": {"code": "MIT", "weights": "CC BY-NC-SA 4.0", "data": "none"},
    }  # fmt: skip
    config.dump_yaml(card, cards / "made_umx.yaml")
    return card, arrays


@pytest.fixture
def rewrite(cards, published):
    """Change the card."""

    def change(**more):
        config.dump_yaml({**published[0], **more}, cards / "made_umx.yaml")

    return change


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """A server of the files; its log of requests."""

    def serve(**options):
        return made_checkpoints.served(tmp_path / "www", **options)

    return serve


@pytest.fixture
def unconverted(monkeypatch):
    """Whatever was fetched becomes a model of one number."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    monkeypatch.setattr("kzoo.presets.published.convert", lambda card, files: model)


def left(tmp_path):
    """What lies in the cache and is no lock."""
    files = (p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.parent.name != "locks")
    return sorted(path.name for path in files)


def test_files_of_several_targets_become_a_preset(published, mirror, tmp_path, monkeypatch, capfd):
    _, arrays = published
    assert presets.open_preset("made_umx").state == "to fetch, not yet verified"
    with mirror() as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        presets.download("made_umx")
        found = presets.verified_weights("made_umx")
    assert [path for path, _ in log] == ["/vocals.pth", "/drums.pth"]  # once, then from the cache
    model = open_unmix.from_weights(arrays, **SIZES)
    assert found.keys() == {weight.path for weight in model.weights}
    for weight in model.weights:
        np.testing.assert_array_equal(found[weight.path], weight)
    assert left(tmp_path) == ["card.yaml", "weights.npz"]
    assert presets.open_preset("made_umx").state == "here"
    line = "kzoo: fetching made_umx; licence of its weights: CC BY-NC-SA 4.0; of the code: MIT\n"
    assert line in capfd.readouterr().err


def test_a_file_that_is_whole_waits_for_the_one_that_broke_off(
    published, unconverted, mirror, tmp_path, monkeypatch
):
    with mirror() as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        (tmp_path / "www" / "drums.pth").rename(tmp_path / "www" / "away")
        with pytest.raises(PresetError, match=r"drums\.pth: the server answered 404"):
            presets.download("made_umx")
    assert left(tmp_path) == ["vocals.pth"]
    (tmp_path / "www" / "away").rename(tmp_path / "www" / "drums.pth")
    with mirror(drop_after=100) as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError, match="connection closed after 100 of"):
            presets.download("made_umx")
        assert presets.download("made_umx").is_file()
    assert log == [("/drums.pth", None), ("/drums.pth", "bytes=100-")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), r"sha256 is .*, not .*; not kept"),
        (lambda data: data + b"more", r"has [\d,]+ bytes, not the [\d,]+ that were published"),
        (lambda data: data[:-9], r"has [\d,]+ bytes, not the [\d,]+ that were published"),
        (lambda data: b" <!DOCTYPE HTML>".ljust(len(data)), "answered with a web page"),
    ],
    ids=["replaced", "longer", "shorter", "a proxy's page"],
)
@pytest.mark.parametrize("target", TARGETS)
def test_other_bytes_are_refused_and_not_kept(
    published, unconverted, mirror, tmp_path, monkeypatch, target, change, message
):
    path = tmp_path / "www" / f"{target}.pth"
    path.write_bytes(change(path.read_bytes()))
    with mirror() as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError, match=message):
            presets.download("made_umx")
    assert not [name for name in left(tmp_path) if name.startswith(target)]
    assert presets.weights_path("made_umx") is None


def test_a_stream_without_end_is_left_at_the_published_size(tmp_path, monkeypatch):
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "file").write_bytes(b"0" * 10_000)
    with made_checkpoints.served(tmp_path / "www", length=False) as (url, _):
        with pytest.raises(PresetError, match="is longer than the 1,000 bytes of the file"):
            fetching.fetch(f"{url}/file", tmp_path / "got", size=1000)
        assert fetching.fetch(f"{url}/file", tmp_path / "got").read_bytes() == b"0" * 10_000
    assert [path.name for path in tmp_path.glob("got*")] == ["got"]


def test_a_full_disk_is_one_line_and_the_download_goes_on_later(
    published, unconverted, mirror, tmp_path, monkeypatch
):
    small = type("Usage", (), {"free": 10})
    with mirror() as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with monkeypatch.context() as patch:
            patch.setattr("shutil.disk_usage", lambda folder: small)
            with pytest.raises(PresetError, match=r"0 MB free, .* MB needed; point KZOO_CACHE"):
                presets.download("made_umx")
        assert left(tmp_path) == []
        with monkeypatch.context() as patch:
            patch.setattr("numpy.savez", full)
            with pytest.raises(OSError, match="No space left"):
                presets.download("made_umx")
        assert left(tmp_path) == ["drums.pth", "vocals.pth"]
    assert presets.download("made_umx").is_file()  # the server is gone


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_file_of_another_model_is_named_by_its_weights(
    published, rewrite, mirror, tmp_path, monkeypatch
):
    card, arrays = published
    of_one = {k.partition(".")[2]: v for k, v in arrays.items() if k.startswith("vocals.")}
    del of_one["fc2.weight"]
    legacy_file(tmp_path / "www" / "vocals.pth", {**of_one, "fc9.weight": np.ones(2, np.float32)})
    files = [{key: file[key] for key in ("url", "target")} for file in card["weights"]["files"]]
    rewrite(weights={"files": files})
    with mirror() as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(
            PresetError, match=r"missing: vocals\.fc2\.weight; unused: vocals\.fc9\.weight"
        ):
            presets.download("made_umx")
    assert left(tmp_path) == []  # of no known sha256: the next try fetches them again


def test_restricted_weights_are_asked_for_once(
    published, unconverted, rewrite, mirror, monkeypatch
):
    rewrite(restricted="non-commercial use")
    with mirror() as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError) as caught:
            presets.download("made_umx")
        assert str(caught.value) == (
            "preset 'made_umx': its weights are for non-commercial use (CC BY-NC-SA 4.0); to "
            "accept that: kzoo presets download made_umx --accept-licence, or "
            "KZOO_ACCEPT_LICENCE=made_umx"
        )
        assert log == []
        presets.download("made_umx", accept_licence=True)
        presets.weights_path("made_umx").unlink()
        presets.download("made_umx")  # it is remembered
        rewrite(
            restricted="non-commercial use", licences={**published[0]["licences"], "weights": "?"}
        )
        presets.weights_path("made_umx").unlink()
        with pytest.raises(PresetError, match="are for non-commercial use"):
            presets.download("made_umx")  # of another licence than was accepted
        for names in ("other, made_umx", "all"):
            monkeypatch.setenv("KZOO_ACCEPT_LICENCE", names)
            assert presets.download("made_umx").is_file()
            presets.weights_path("made_umx").unlink()


def test_a_bag_is_accepted_in_its_own_name(
    published, rewrite, cards, unconverted, mirror, monkeypatch
):
    rewrite(restricted="scientific use")
    bag = {**published[0], "name": "both", "bag": [{"preset": "made_umx"}]}
    del bag["weights"]
    config.dump_yaml({**bag, "restricted": "scientific use"}, cards / "both.yaml")
    with mirror() as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        with pytest.raises(PresetError, match="presets download both --accept-licence"):
            presets.download("both")
        assert log == []
        monkeypatch.setenv("KZOO_ACCEPT_LICENCE", "both")
        assert presets.download("both") == presets.weights_path("made_umx")


def test_a_verb_refuses_before_tensorflow_is_imported_and_names_a_preset_that_is_here(
    published, rewrite, cards, monkeypatch, capsys, tmp_path
):
    rewrite(restricted="non-commercial use")
    config.dump_yaml({**published[0], "name": "ours"}, cards / "ours.yaml")
    (cards / "ours.npz").write_bytes(b"of kzoo")
    monkeypatch.setattr("kzoo.cli.presets.quiet_tensorflow", lambda: pytest.fail("imported"))
    monkeypatch.setattr("sys.argv", ["kzoo", "presets", "download", "made_umx"])
    for address, message in (
        (None, "to accept that: kzoo presets download made_umx --accept-licence"),
        ("http://127.0.0.1:9", "download failed"),
    ):
        if address:
            monkeypatch.setenv("KZOO_MIRROR", address)
            monkeypatch.setattr(
                "sys.argv", ["kzoo", "presets", "download", "made_umx", "--accept-licence"]
            )
        with pytest.raises(SystemExit) as caught:
            cli.main()
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert caught.value.code == 1
        assert message in line
        assert line.endswith("; ours is here")


def test_a_folder_of_an_archive_becomes_a_preset(cards, vectors, tmp_path, monkeypatch):
    """As Wave-U-Net's, whose models lie in one zip; names and shapes are the reference's own."""
    recorded = vectors("waveunet_m3_valid_difference")
    arrays = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    folder = made_checkpoints.write_checkpoint(tmp_path / "ours", arrays, "full_44KHz-236118")
    (tmp_path / "www").mkdir()
    with zipfile.ZipFile(tmp_path / "www" / "models.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"models/full_44KHz/{path.name}")
            archive.writestr(f"__MACOSX/models/full_44KHz/._{path.name}", "of a file manager")
        archive.writestr("models/baseline_stereo/baseline_stereo-186093.index", "of another")
    sources = ["accompaniment", "vocals"]
    options = {**wave_u_net.options_of(arrays, sources=sources), "context": True}
    file = {"url": "https://models.test/models.zip?dl=1", "inside": "full_44KHz"}
    card = {
        "name": "made_wave", "task": "music separation", "summary": "made for a test",
        "model": {"name": "wave_u_net", "options": {"sources": sources, **options}},
        "sources": sources, "sample_rate": 22050, "channels": options["channels"],
        "weights": {"files": [file]}, "trained": "not at all",
        "licences": {"code": "MIT", "weights": "?", "data": "none"},
    }  # fmt: skip
    config.dump_yaml(card, cards / "made_wave.yaml")
    with made_checkpoints.served(tmp_path / "www") as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        found = presets.verified_weights("made_wave")
    assert log == [("/models.zip", None)]
    assert sum(map(np.size, found.values())) == sum(map(np.size, arrays.values()))
    np.testing.assert_array_equal(found["down1_conv/kernel"], arrays["separator/conv1d/kernel"])
    assert left(tmp_path) == ["card.yaml", "weights.npz"]
