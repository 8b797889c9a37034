"""Corpora prepared track by track, as by workers: the plain folder's sound, each track once."""

import json
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kzoo import batches, data
from kzoo.data import by_workers, shards, solo

RATE = 4000


@pytest.fixture
def write(tmp_path, rng):
    """Write noise: `write("music/one/vocals.wav")`."""

    def make(*places, rate=RATE, width=1):
        for place in places:
            path = tmp_path / place
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal((rate // 2, width)), rate)

    return make


@pytest.fixture
def music(write, tmp_path):
    """Three songs, of which one lacks the drums and one is faster and stereo."""
    write("music/one/vocals.wav", "music/one/drums.wav", "music/two/vocals.flac")
    write("music/three/vocals.wav", "music/three/drums.wav", rate=2 * RATE, width=2)
    return tmp_path / "music"


def prepared(out, kind="stems", run=batches.run, **options):
    """Prepare a corpus track by track: its counts. The job is pickled, as for other processes."""
    corpus, damaged = data.open_readable(kind, **options)
    settings = {"shards": shards.head_of(corpus, "int16"), "teacher": ""}
    job = by_workers.Sharding(Always(corpus.alone()), settings)
    job, tracks = pickle.loads(pickle.dumps(job)), [*corpus.found, *damaged]
    return by_workers.prepare(tracks, job, out, run=run, licence="CC0")


class Always:
    """A function of nothing that comes to other processes."""

    def __init__(self, value):
        self.value = value

    def __call__(self):
        return self.value


def tracks(out):
    """{name: {part: sound}} of a folder of shards, and that its files are those of its index."""
    assert shards.verify(out) == []
    corpus = data.open_corpus("shards", path=str(out))
    parts = [*corpus.sources, *(["mixture"] if corpus.records_mixture else [])]
    return {
        name: {part: corpus.read_part(k, part, 0, samples) for part in parts}
        for k, (name, samples) in enumerate(corpus.tracks)
    }


def letters(out):
    return [json.loads(line) for line in (out / batches.DEAD_LETTERS).read_text().splitlines()]


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, parts in expected.items():
        for part, sound in parts.items():
            np.testing.assert_array_equal(found[name][part], sound)


LAYOUTS = {
    "stems": ((), {}),
    "pairs": (("noisy/a.wav", "noisy/b.wav", "clean/a.wav", "clean/b.wav"),
              {"sources": ["speech", "noise"]}),
    "sources": (("music/x/a.wav", "music/x/b.wav", "drums/a.wav"), {}),
    "mir1k": (("Wavfile/abjones_1_01.wav",), {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYOUTS)
def test_shards_are_those_of_one_process(music, write, tmp_path, kind):
    places, options = LAYOUTS[kind]
    write(*(f"own/{place}" for place in places), width=1 + (kind == "mir1k"))
    options = {**options, "path": str(tmp_path / "own" if places else music)}
    corpus = data.open_corpus(kind, **options)
    plain, out = data.prepare(corpus, tmp_path / "plain", licence="CC0"), tmp_path / "out"
    assert prepared(out, kind, **options) == batches.Counts(made=len(corpus.tracks))
    assert_same(tracks(out), tracks(plain))
    index, own = (json.loads((folder / shards.INDEX).read_text()) for folder in (plain, out))
    for entry, other in zip(index.pop("tracks"), own.pop("tracks"), strict=True):
        same = ("name", "samples", "scale", "licence", "from_sha256", "complete")
        assert [other[key] for key in same] == [entry[key] for key in same]
        assert list(other["parts"]) == list(entry["parts"])
    assert own == index


def test_what_is_there_is_kept_by_one_process_too(music, tmp_path):
    out = tmp_path / "out"
    prepared(out, path=str(music))
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*.raw")}
    assert prepared(out, path=str(music)) == batches.Counts(kept=3)
    data.prepare(data.open_corpus("stems", path=str(music)), out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.raw")} == before
    assert len(before) == 5


@pytest.mark.parametrize("moment", ["in a track", "before the index"])
def test_a_killed_run_goes_on_to_the_same_index(music, tmp_path, moment):
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    prepared(undisturbed, path=str(music))
    if not (child := os.fork()):

        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        def run(rows, job, out, *, overwrite):
            write_track, count = shards.write_track, []

            def second(*words):
                count.append(1)
                return die() if len(count) == 2 else write_track(*words)

            shards.write_track = second if moment == "in a track" else write_track
            batches.run(rows, job, out, overwrite=overwrite)
            die()

        prepared(out, path=str(music), run=run)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert not (out / shards.INDEX).exists()
    made = 2 if moment == "in a track" else 0
    assert prepared(out, path=str(music)) == batches.Counts(made=made, kept=3 - made)
    assert (out / shards.INDEX).read_bytes() == (undisturbed / shards.INDEX).read_bytes()
    left = {path.name for path in out.iterdir() if not path.is_dir()}
    assert left == {".lock", batches.DEAD_LETTERS, shards.INDEX}


def test_damage_is_listed_and_the_others_are_prepared(music, tmp_path):
    out, flac = tmp_path / "out", music / "two" / "vocals.flac"
    whole = flac.read_bytes()
    flac.write_bytes(whole[: len(whole) // 2])  # its head tells a length that is not there
    good = (music / "three" / "drums.wav").read_bytes()
    (music / "three" / "drums.wav").write_bytes(b"RIFF")
    assert prepared(out, path=str(music)) == batches.Counts(made=1, dead=2)
    assert list(tracks(out)) == ["one"]
    assert {letter["path"] for letter in letters(out)} == {"two", "three"}
    assert all(f"{music}/" in letter["reason"] for letter in letters(out))
    flac.write_bytes(whole)
    (music / "three" / "drums.wav").write_bytes(good)
    assert prepared(out, path=str(music), channels=1) == batches.Counts(made=2, kept=1)
    assert sorted(tracks(out)) == ["one", "three", "two"]


def test_where_nothing_can_be_read_it_is_said_at_once(write, tmp_path):
    write("music/one/vocals.wav")
    (tmp_path / "music" / "one" / "vocals.wav").write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=r"vocals\.wav"):
        prepared(tmp_path / "out", path=str(tmp_path / "music"))
    assert not (tmp_path / "out").exists()


def test_a_recording_that_has_changed_is_prepared_again(music, write, tmp_path):
    out = tmp_path / "out"
    prepared(out, path=str(music))
    before = tracks(out)
    write("music/one/vocals.wav")
    assert prepared(out, path=str(music)) == batches.Counts(made=1, kept=2)
    after = tracks(out)
    assert (after["one"]["vocals"] != before["one"]["vocals"]).any()
    np.testing.assert_array_equal(after["three"]["drums"], before["three"]["drums"])


def test_other_shards_in_the_folder_are_refused(music, tmp_path):
    plain = data.prepare(data.open_corpus("stems", path=str(music)), tmp_path / "plain")
    with pytest.raises(ValueError, match="holds one that was prepared without --runner"):
        prepared(plain, path=str(music))
    prepared(tmp_path / "out", path=str(music))
    with pytest.raises(ValueError, match="holds shards with channels=2, this corpus has 1"):
        prepared(tmp_path / "out", path=str(music), channels=1)


def test_only_recordings_go_to_workers(tmp_path):
    with pytest.raises(ValueError, match="this kind of corpus has none"):
        prepared(tmp_path, "synthetic")


def test_names_that_differ_have_folders_that_differ():
    names = ["a/b", "a_b", "a.b", "ä", "ö", "x" * 300, "x" * 301, ".hidden", "\udcff"]
    folders = {by_workers.folder_of(name) for name in names}
    assert len(folders) == len(names)
    assert all(Path(folder).name == folder and folder[0] != "." for folder in folders)
    assert max(map(len, folders)) < 80


def test_solo_recordings_are_followed_by_workers(tmp_path):
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    (tmp_path / "violin" / "suite").mkdir(parents=True)
    for name, sound in (("suite/one", tone), ("two", 0.5 * tone), ("silent", 0 * tone)):
        soundfile.write(tmp_path / "violin" / f"{name}.wav", sound, RATE)
    (tmp_path / "violin" / "broken.wav").write_bytes(b"RIFF")
    options = {"sample_rate": RATE, "hop_length": 16}
    job = by_workers.Following(Always(known), solo.head_of("known", **options))
    out, found = tmp_path / "out", solo.find_tracks(tmp_path / "violin")
    counts = by_workers.prepare_solo(found, job, out, run=batches.run)
    assert counts == batches.Counts(made=2, dead=2)
    assert any("nothing in it has a pitch" in letter["reason"] for letter in letters(out))
    assert solo.verify(out) == []
    (tmp_path / "violin" / "broken.wav").unlink()
    plain = solo.prepare(
        tmp_path / "violin", tmp_path / "plain", estimate=known, method="known", **options
    )
    own, expected = (data.open_corpus("solo", path=str(folder)) for folder in (out, plain))
    assert own.tracks == expected.tracks
    for track, (_, samples) in enumerate(expected.tracks):
        for key, value in expected.read(track, 0, samples).items():
            np.testing.assert_array_equal(own.read(track, 0, samples)[key], value)
    files = {path: path.stat().st_mtime_ns for path in out.glob("*/*.raw")}
    solo.prepare(tmp_path / "violin", out, estimate=known, method="known", **options)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.raw")} == files


def known(waveform, sample_rate):
    """440 Hz where it sounds."""
    frames = 1 + len(waveform) // 16
    sounds = np.abs(waveform).max() > 0.01
    return np.full(frames, 440.0), np.full(frames, 0.9 if sounds else 0.0)
