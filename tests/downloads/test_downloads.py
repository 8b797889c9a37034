"""Corpora are fetched: licence first, resumed, checked, unpacked safely, whole or not at all."""

import contextlib
import hashlib
import io
import os
import re
import stat
import tarfile
import zipfile

import made_checkpoints as made
import numpy as np
import pytest
import soundfile

from kzoo import cli, downloads
from kzoo.downloads import CATALOGUE, Archive, Entry, obtaining

SONG = "055 - Angels In Amplifiers - I'm Alright"


def wav(rng, channels=2):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * rng.standard_normal((800, channels)), 8000, format="WAV")
    return file.getvalue()


def zipped(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def dsd100(rng):
    parts = ("Mixtures/Dev", "mixture"), *(("Sources/Dev", s) for s in ("bass", "vocals"))
    return {f"DSD100/{place}/{SONG}/{name}.wav": wav(rng) for place, name in parts}


@pytest.fixture
def corpus(tmp_path, monkeypatch, rng):
    """The corpus dsd100 in the catalogue, small, its archive under www/; call it to describe it."""
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    monkeypatch.chdir(tmp_path)
    path = zipped(tmp_path / "www" / "made" / "DSD100.zip", dsd100(rng))

    def describe(path=path, **changes):
        content = path.read_bytes()
        known = {"size": len(content), "md5": hashlib.md5(content).hexdigest(), **changes}
        archive = Archive(url=f"http://nowhere.invalid/made/{path.name}", **known)
        entry = Entry(what="songs", kind="dsd100", hours=0.1, licence="CC0", page="http://x.invalid",
                      archives=[archive])  # fmt: skip
        monkeypatch.setitem(CATALOGUE, "dsd100", entry)
        return path

    describe()
    return describe


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """`kzoo data download WORDS` beside a server of www/: (status, stdout, stderr, its log)."""

    def call(*words, accept=True, **serving):
        flag = ["--accept-licence"] if accept else []
        monkeypatch.setattr("sys.argv", ["kzoo", "data", "download", *words, *flag])
        with made.served(tmp_path / "www", **serving) as (url, log):
            monkeypatch.setenv("KZOO_MIRROR", url)
            with pytest.raises(SystemExit) as caught:
                cli.main()
        return caught.value.code, *capsys.readouterr(), log

    return call


def left(folder):
    """All that lies in a folder, by relative paths, without the cache and the server's files."""
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in paths if path.parts[0] not in ("www", "cache")]


def refused(outcome, message):
    status, out, err, _ = outcome
    assert (status, out) == (1, "")
    assert re.search(message, err.splitlines()[-1]), err


def test_a_corpus_is_fetched_and_read(corpus, run, tmp_path, capsys, monkeypatch):
    status, out, err, log = run("dsd100", "-o", "music/dsd")
    assert status == 0, err
    assert out == f"{os.path.join('music', 'dsd')}\n"
    assert err.splitlines()[:2] == ["dsd100: songs; 0.0 GB", "licence: CC0 (http://x.invalid)"]
    assert [path for path, _ in log] == ["/made/DSD100.zip"]
    # The one folder around everything is left out, and nothing else remains.
    assert all(
        path.startswith(("music/dsd/Mixtures", "music/dsd/Sources")) for path in left(tmp_path)
    )
    monkeypatch.setattr("sys.argv", ["kzoo", "data", "check", "music/dsd", "--kind", "dsd100"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert f"{SONG}: 0.1 s, 8000 Hz, bass, vocals, mixture" in capsys.readouterr().out


def test_its_folder_is_called_as_it_is_by_default(corpus, run, tmp_path):
    status, out, err, _ = run("dsd100", "--quiet")
    assert (status, out) == (0, "dsd100\n")
    assert len(err.splitlines()) == 2  # the licence is shown all the same
    assert len(run("dsd100", "-o", "loud")[2].splitlines()) == 3
    assert (tmp_path / "dsd100" / "Sources").is_dir()


def test_the_licence_is_accepted_first(corpus, run, tmp_path, monkeypatch):
    outcome = run("dsd100", accept=False)
    refused(outcome, "licence to accept: read it, and give --accept-licence")
    assert "licence: CC0" in outcome[2]
    for answer, status in (("n\n", 1), ("y\n", 0)):
        terminal = io.StringIO(answer)
        terminal.isatty = lambda: True
        monkeypatch.setattr("sys.stdin", terminal)
        outcome = run("dsd100", accept=False)
        assert outcome[0] == status
        assert bool(outcome[3]) == (status == 0)  # before that nothing is asked of the server


def test_it_goes_on_where_it_was_cut(corpus, run, tmp_path):
    path = corpus()
    half = path.stat().st_size // 2
    refused(run("dsd100", drop_after=half), "connection closed after .* try again to resume")
    assert not (tmp_path / "dsd100").exists()
    status, _, err, log = run("dsd100")
    assert status == 0, err
    assert log == [("/made/DSD100.zip", f"bytes={half}-")]


def test_what_was_fetched_whole_is_not_fetched_again(corpus, run, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(obtaining, "_unpack_members", killed)
        assert run("dsd100")[0] == 130
    assert not (tmp_path / "dsd100").exists()
    status, _, _, log = run("dsd100")
    assert (status, log) == (0, [])
    assert left(tmp_path)


@pytest.mark.parametrize(
    ("changes", "serving", "message"),
    [
        ({"md5": "0" * 32}, {}, r"md5 is [0-9a-f]{32}, not 0+; not kept"),
        ({"size": 7}, {}, "bytes, not the 7 that were published"),
        ({}, {"content_type": "text/html; charset=utf-8"}, "answered with a web page, not with"),
        ({}, {"status": 503}, "the server answered 503"),
        ({}, {"status": 404}, "the server answered 404"),
        ({"size": 1 << 60, "md5": None}, {}, "MB needed; make room, or name a folder"),
    ],
    ids=["md5", "size", "html", "busy", "gone", "room"],
)
def test_what_is_not_the_published_file_is_one_line(
    corpus, run, tmp_path, changes, serving, message
):
    corpus(**changes)
    refused(run("dsd100", **serving), message)
    assert not left(tmp_path)


def test_a_file_that_grew_on_the_server_is_not_fetched_into(corpus, run, tmp_path):
    path = corpus()
    refused(run("dsd100", drop_after=300), "connection closed")
    path.write_bytes(path.read_bytes() + b"more")
    refused(run("dsd100"), "bytes, not the")
    assert not left(tmp_path)


def test_a_full_disk_is_seen_before_the_first_byte(corpus, run, tmp_path, monkeypatch):
    corpus(size=None)
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("kzoo.presets.fetching.shutil.disk_usage", lambda _: usage)
    refused(run("dsd100"), "0 MB free")
    assert not left(tmp_path)


def test_room_for_what_an_archive_holds_is_looked_for_before_it_is_unpacked(
    corpus, run, tmp_path, monkeypatch
):
    corpus(size=None)
    archive = tmp_path / ".dsd100.download" / "DSD100.zip"

    def usage(_):
        return type("Usage", (), {"free": 100 if archive.exists() else 1 << 40})

    monkeypatch.setattr("kzoo.presets.fetching.shutil.disk_usage", usage)
    refused(run("dsd100"), "MB needed; make room, or name a folder")
    assert left(tmp_path) == [".dsd100.download/DSD100.zip"]


def test_a_sum_that_is_not_published_is_computed(corpus, run):
    path = corpus(md5=None, size=None)
    status, _, err, _ = run("dsd100")
    assert status == 0
    assert f"its sha256 is {hashlib.sha256(path.read_bytes()).hexdigest()}" in err
    assert "size not known" in err


def test_a_folder_that_is_there_is_left_alone(corpus, run, tmp_path):
    (tmp_path / "dsd100").mkdir()
    (tmp_path / "dsd100" / "mine.wav").write_text("mine")
    outcome = run("dsd100")
    refused(outcome, "dsd100: is there already; remove it, or name another folder")
    assert outcome[3] == []
    assert left(tmp_path) == ["dsd100/mine.wav"]


def linked():
    link = zipfile.ZipInfo("DSD100/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return link


@pytest.mark.parametrize("name", ["../out.wav", "/tmp/out.wav", "a/../../out.wav", "..\\out.wav",
                                  "C:/out.wav", linked()], ids=str)  # fmt: skip
def test_archives_that_lead_out_of_their_folder_are_refused(corpus, run, tmp_path, name):
    path = corpus(zipped(tmp_path / "www" / "made" / "DSD100.zip", {"a.wav": b"a", name: b"/etc"}))
    refused(run("dsd100"), "not unpacked")
    assert not (tmp_path / "dsd100").exists()
    assert [p for p in left(tmp_path) if "out" in p] == []
    assert path.exists()


def tarred(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in members:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, 3 * (kind == tarfile.REGTYPE), "/etc"
            archive.addfile(entry, io.BytesIO(b"abc"))
    return path


@pytest.mark.parametrize(
    "member",
    [("../out", tarfile.REGTYPE), ("link", tarfile.SYMTYPE), ("hard", tarfile.LNKTYPE),
     ("device", tarfile.CHRTYPE)],
)  # fmt: skip
def test_so_are_such_tars(corpus, run, tmp_path, member):
    corpus(tarred(tmp_path / "www" / "made" / "slakh.tar.gz", [("a/b", tarfile.REGTYPE), member]))
    refused(run("dsd100"), "not unpacked")
    assert not (tmp_path / "dsd100").exists()


def test_tars_are_unpacked(corpus, run, tmp_path):
    members = [("top", tarfile.DIRTYPE), ("top/train/a", tarfile.REGTYPE)]
    corpus(tarred(tmp_path / "www" / "made" / "slakh.tar.gz", members))
    assert run("dsd100")[0] == 0
    assert left(tmp_path) == ["dsd100/train/a"]


@pytest.mark.parametrize("file", ["DSD100.zip", "slakh.tar.gz"])
def test_what_cannot_be_unpacked_is_named(corpus, run, tmp_path, file):
    path = tmp_path / "www" / "made" / file
    tarred(path, [("a", tarfile.REGTYPE)])
    path.write_bytes(path.read_bytes()[:40])
    corpus(path)
    refused(run("dsd100"), rf"{file}: cannot be unpacked \(.*; remove it to fetch it anew")


def test_several_archives_make_one_corpus(corpus, run, tmp_path, monkeypatch, rng):
    archives = []
    for name in ("clean_testset_wav", "noisy_testset_wav"):
        path = zipped(tmp_path / "www" / f"{name}.zip", {f"{name}/p232_001.wav": wav(rng, 1)})
        archives.append(Archive(url=f"http://nowhere.invalid/{path.name}"))
    entry = Entry(
        what="speech", kind="pairs", hours=None, licence="CC0", page="x", archives=archives
    )
    monkeypatch.setitem(CATALOGUE, "voicebank", entry)
    assert run("voicebank")[0] == 0
    assert left(tmp_path) == [
        "voicebank/clean_testset_wav/p232_001.wav", "voicebank/noisy_testset_wav/p232_001.wav",
    ]  # fmt: skip


def test_rar_is_unpacked_by_bsdtar_or_told_how(corpus, run, tmp_path, monkeypatch):
    path = tmp_path / "www" / "made" / "MIR-1K.rar"
    path.write_bytes(b"Rar!")
    corpus(path)
    programs = tmp_path / "cache" / "bin"
    programs.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(programs))
    refused(run("dsd100"), "is fetched, and bsdtar is wanted .* libarchive-tools.* same command")
    stand_in = programs / "bsdtar"
    for script, message in (("exit 1", "cannot be unpacked"), ("/bin/ln -s /etc $4/link", "link")):
        stand_in.write_text(f"#!/bin/sh\n{script}\n")
        stand_in.chmod(0o755)
        refused(run("dsd100"), message)
    stand_in.write_text(
        '#!/bin/sh\n/bin/mkdir -p "$4/MIR-1K/Wavfile"; echo a > "$4/MIR-1K/Wavfile/a"\n'
    )
    status, _, err, log = run("dsd100")
    assert (status, log) == (0, []), err
    assert left(tmp_path) == ["dsd100/Wavfile/a"]


def test_what_wants_a_form_or_is_not_there_says_so(run):
    refused(run("moisesdb"), r"moisesdb is not fetched by kzoo: .*https://music\.ai/research/")
    refused(run("musdb"), "no corpus is called 'musdb'; did you mean 'musdb18'")


def test_the_list_has_every_corpus_with_its_licence(run):
    status, out, _, log = run(accept=False)
    assert (status, log) == (0, [])
    for name, entry in CATALOGUE.items():
        assert re.search(rf"^ *{name} ", out, re.MULTILINE)
        assert entry.page[:30] in out
    assert "4.7 GB" in out


def test_offline_nothing_is_fetched(corpus, run, monkeypatch):
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    outcome = run("dsd100")
    refused(outcome, "KZOO_OFFLINE is set")
    assert outcome[3] == []


def test_every_entry_can_be_read_and_says_how_it_is_had():
    from kzoo.data import KINDS, annotated

    for name, entry in CATALOGUE.items():
        assert entry.kind in {*KINDS, *annotated.LAYOUTS}, name
        assert bool(entry.archives) != bool(entry.otherwise), name
        assert entry.licence, name
        for archive in entry.archives:
            assert archive.md5 is None or re.fullmatch("[0-9a-f]{32}", archive.md5), name
    # As Zenodo states of record 1117372.
    assert CATALOGUE["musdb18"].size == 4_684_228_845
    assert CATALOGUE["musdb18"].archives[0].md5 == "af06762477334799bfc5abf237648207"


def test_two_at_a_time_fetch_once(corpus, tmp_path, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    def bar(_):
        return contextlib.nullcontext(lambda done, total: None)

    def fetched(_):
        try:
            return downloads.obtain("dsd100", CATALOGUE["dsd100"], "out", bar=bar, say=print)
        except ValueError as error:
            return str(error)

    with made.served(tmp_path / "www") as (url, log), ThreadPoolExecutor(2) as pool:
        monkeypatch.setenv("KZOO_MIRROR", url)
        outcomes = sorted(map(str, pool.map(fetched, range(2))))
    assert len(log) == 1
    assert outcomes == ["out", "out: is there already; remove it, or name another folder"]


def test_progress_is_in_bytes_and_reaches_the_end(corpus, tmp_path, monkeypatch):
    seen = {}

    def bar(title):
        calls = seen.setdefault(title, [])
        return contextlib.nullcontext(lambda done, total: calls.append((done, total)))

    with made.served(tmp_path / "www") as (url, _):
        monkeypatch.setenv("KZOO_MIRROR", url)
        downloads.obtain("dsd100", CATALOGUE["dsd100"], "out", bar=bar, say=print)
    size = CATALOGUE["dsd100"].size
    assert list(seen) == [f"{what} DSD100.zip" for what in ("fetching", "checking", "unpacking")]
    assert seen["fetching DSD100.zip"][-1] == seen["checking DSD100.zip"][-1] == (size, size)
    done = np.array(seen["unpacking DSD100.zip"])[:, 0]
    assert (np.diff(done) > 0).all()
    assert 0.8 * size < done[-1] <= size
