"""The verbs of `kzoo data`: what they say of a corpus, what they refuse, and how they go on."""

import types

import numpy as np
import pytest
import soundfile

from kzoo import audio, cli, config, data
from kzoo.cli.corpora import describe
from kzoo.cli.data import mix

RATE = 8000


@pytest.fixture
def write(tmp_path, rng):
    """A writer of noise: `write("music/one/vocals.wav")`; returns what it wrote, `[samples, 1]`."""

    def make(place, sound=None, rate=RATE):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = 0.1 * rng.standard_normal((4000, 1)) if sound is None else sound
        soundfile.write(path, sound, rate, subtype=None if path.suffix == ".flac" else "FLOAT")
        return sound

    return make


@pytest.fixture
def run(capsys, monkeypatch):
    """The command line: `run("data", "check", folder)` to (status, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["kzoo", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    return call


def names(folder):
    return [name for name, _ in data.open_corpus("shards", path=str(folder)).tracks]


def test_what_is_held_out_is_not_left_in_the_shards(write, run, tmp_path):
    for track in ("one", "two"):
        write(f"music/{track}/vocals.wav")
    music, out = tmp_path / "music", tmp_path / "shards"
    assert run("data", "prepare", music, "-o", out)[0] == 0
    status, _, err = run("data", "prepare", music, "-o", out, "--exclude", "two")
    assert status == 1
    assert "holds two, which is excluded here" in err
    assert run("data", "prepare", music, "-o", tmp_path / "new", "--exclude", "two")[0] == 0
    assert names(tmp_path / "new") == ["one"]


def test_prepare_takes_the_rate_and_width_of_the_recordings(write, run, tmp_path):
    write("music/one/vocals.wav", rate=16000)
    status, out, _ = run("data", "prepare", tmp_path / "music", "-o", tmp_path / "out")
    assert status == 0
    assert "16000 Hz, 1 channels" in out


def test_prepare_says_which_of_several_rates_it_takes(write, run, tmp_path):
    write("music/one/vocals.wav", rate=16000)
    write("music/one/drums.wav", rate=RATE)
    words = ("data", "prepare", tmp_path / "music", "-o")
    status, out, err = run(*words, tmp_path / "out")
    assert status == 0
    assert "8000 Hz" in out
    assert "different rates (1 at 8000 Hz, 1 at 16000 Hz); 8000 Hz, the lowest, is taken" in err
    assert "different rates" not in run(*words, tmp_path / "all", "--sample-rate", 16000)[2]


def test_prepare_takes_every_layout_with_its_own_sources(write, run, tmp_path):
    for folder in ("clean", "heard"):
        write(f"pairs/{folder}/a.wav")
    out = tmp_path / "out"
    words = ("--kind", "pairs", "--mixture", "heard")
    assert run("data", "prepare", tmp_path / "pairs", "-o", out / "pairs", *words)[0] == 0
    found = data.open_corpus("shards", path=str(out / "pairs"))
    assert (found.sources, found.records_mixture) == (("clean",), True)
    for kind, place, mixture in (
        ("librimix", "wav8k/min/train-100", "mix_clean"),
        ("wsj0mix", "2speakers/wav8k/min/tr", "mix"),
    ):
        for folder in (mixture, "s1", "s2"):
            write(f"{kind}/{place}/{folder}/a.wav")
        status, _, err = run("data", "prepare", tmp_path / kind, "-o", out / kind, "--kind", kind)
        assert status == 0, err
        assert run("data", "check", tmp_path / kind, "--kind", kind)[0] == 0
    status, _, err = run("data", "prepare", tmp_path / "pairs", "-o", out / "x", "--mixture", "a")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "corpus stems has no option 'mixture'" in err


def test_a_teacher_decides_sources_and_rate_by_itself(write, run, tiny_preset, tmp_path):
    preset, songs = tiny_preset(tmp_path / "preset"), tmp_path / "songs"
    write("songs/a.wav")
    for word, value in (("sources", "vocals"), ("sample-rate", 44100)):
        status, _, err = run(
            "data", "prepare", songs, "-o", tmp_path / "out", "--teacher", preset,
            f"--{word}", value,
        )  # fmt: skip
        assert status == 1
        assert f"--{word} does not go with --teacher" in err
    words = ("data", "prepare", songs, "-o", tmp_path / "out", "--teacher", preset)
    assert "has no track 'b'" in run(*words, "--exclude", "b")[2]
    write("songs/a.flac")
    assert "'a' is there more than once" in run(*words)[2]


def test_tracks_of_one_name_are_refused(write, tmp_path):
    for place in ("s/vocals/a.wav", "s/vocals/a.flac", "tree/train/a/x.wav", "tree/test/a/x.wav"):
        write(place)
    with pytest.raises(ValueError, match="'vocals/a' is there more than once"):
        data.open_corpus("sources", path=str(tmp_path / "s"))
    with pytest.raises(ValueError, match="'a' is there more than once"):
        data.open_corpus("stems", path=str(tmp_path / "tree"), subset="all")
    assert data.open_corpus("stems", path=str(tmp_path / "tree"), subset="test").tracks


def test_check_reads_the_mixture_and_compares_it_with_its_stems(write, run, tmp_path):
    for track in ("exact", "other"):
        total = sum(write(f"music/{track}/{stem}.wav") for stem in ("vocals", "drums"))
        write(f"music/{track}/mixture.wav", total if track == "exact" else 1.1 * total)
    (tmp_path / "music" / "empty").mkdir()
    status, out, _ = run("data", "check", tmp_path / "music")
    assert status == 0
    assert "empty: holds no sound" in out
    assert "exact: the mixture is not" not in out
    # 20 log10(0.1 / 1.1)
    assert "other: the mixture is not the sum of its stems: their difference is at -20.8 dB" in out
    (tmp_path / "music" / "exact" / "mixture.wav").write_text("no sound")
    status, _, err = run("data", "check", tmp_path / "music")
    assert status == 1
    assert "mixture.wav" in err


def test_check_reads_pairs_tables_and_folders_of_sources(write, run, tmp_path):
    for place in ("clean/a.wav", "noisy/a.wav"):
        write(f"pairs/{place}")
    path = tmp_path / "pairs"
    assert "a: 0.5 s, 8000 Hz, speech, mixture" in run("data", "check", path)[1]
    for place in ("mix/a.wav", "s1/a.wav"):
        write(f"speakers/{place}")
    assert "mix, s1: read as tracks" in run("data", "check", tmp_path / "speakers")[1]
    status, out, _ = run("data", "check", path, "--kind", "pairs")
    assert status == 0
    assert "a: 0.5 s, 8000 Hz, clean, mixture" in out
    assert "clean: 1 recordings" in run("data", "check", path, "--kind", "sources")[1]
    table = tmp_path / "corpus.csv"
    table.write_text("track,vocals\nfirst,pairs/clean/a.wav\nsecond,pairs/noisy/a.wav\n")
    assert "second: 0.5 s" in run("data", "check", table, "--kind", "csv")[1]
    (path / "noisy" / "a.wav").write_text("no sound")
    for kind, place in (("pairs", path), ("sources", path), ("csv", table)):
        assert run("data", "check", place, "--kind", kind)[0] == 1
    status, _, err = run("data", "check", path, "--kind", "synthetic")
    assert status == 1
    assert "got 'synthetic'" in err


def test_files_are_read_for_their_sha256_when_it_is_asked_for_and_once(
    write, tmp_path, monkeypatch
):
    import hashlib

    write("music/one/vocals.wav")
    read, digest = [], hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: read.append(1) or digest(*a))
    one, other = (data.open_corpus("stems", path=str(tmp_path / "music")) for _ in range(2))
    assert not read
    before = one.identity(0)
    assert other.identity(0) == before
    assert len(read) == 1
    write("music/one/vocals.wav", np.full((5000, 1), 0.1))
    assert one.identity(0) != before


@pytest.fixture
def configuration(tmp_path):
    """A test set of made-up music."""
    test = {"kind": "synthetic", "tracks": 2, "seconds": 0.5, "sample_rate": RATE}
    values = {"model": {"sources": ["vocals", "bass"]}, "data": {"tests": {"a": test}}}
    config.dump_yaml(values, tmp_path / "c.yaml")
    return tmp_path / "c.yaml"


def test_mixing_goes_on_where_it_was_interrupted(configuration, tmp_path, monkeypatch):
    written = []

    def stopped(path, *rest, **options):
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, *rest, **options)

    write, out = audio.write, tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(audio, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            mix(configuration, out=out, quiet=True)
    first = out / "a" / "synthetic_0" / "bass.wav"
    before = first.stat().st_mtime_ns
    assert not (out / "a" / "synthetic_1").exists()
    mix(configuration, out=out, quiet=True)
    assert first.stat().st_mtime_ns == before
    assert sorted(p.name for p in (out / "a").iterdir()) == [
        "settings.yaml", "synthetic_0", "synthetic_1",
    ]  # fmt: skip
    assert len(list((out / "a" / "synthetic_1").iterdir())) == 3
    with pytest.raises(config.ConfigError, match="is not of these settings"):
        mix(configuration, ["data.tests.a.seed=1"], out, quiet=True)


def test_check_tells_who_speaks_in_aligned_recordings(write, run, tmp_path):
    for name in ("p226_001", "p226_002", "p227_001"):
        for folder in ("clean_trainset_28spk_wav", "noisy_trainset_28spk_wav"):
            write(f"voicebank/{folder}/{name}.wav")
    status, out, err = run("data", "check", tmp_path / "voicebank", "--kind", "pairs")
    assert status == 0, err
    assert "2 speakers: p226 2, p227 1; to hold one out: exclude: [p226_*] in training" in out
    assert "3 tracks" in out
    words = ("--kind", "pairs", "--exclude", "p226_*")
    assert run("data", "prepare", tmp_path / "voicebank", "-o", tmp_path / "out", *words)[0] == 0
    assert names(tmp_path / "out") == ["p227_001"]
    status, _, err = run(
        "data", "prepare", tmp_path / "voicebank", "-o", tmp_path / "out", *words[:3], "p227*"
    )
    assert status == 1
    assert "holds p227_001, which is excluded here" in err
    for name in ("one_a", "two_b"):  # of no common speaker: nothing is said
        for folder in ("clean", "noisy"):
            write(f"others/{folder}/{name}.wav")
    assert "speakers" not in run("data", "check", tmp_path / "others", "--kind", "pairs")[1]


def test_mixtures_are_as_long_as_all_of_them_together():
    corpus = types.SimpleNamespace(
        sources=(), tracks=[0] * 30, seconds=4.0, mixes=True, sample_rate=8000, channels=1
    )
    assert describe(corpus)[0].startswith("30 tracks, 2.0 minutes, 8000 Hz")
