"""Published corpora of recordings with what is true of them: small trees of the true names."""

import numpy as np
import pytest
import soundfile
from made_rendered import write_track

from kzoo import cli, data
from kzoo.data import annotated
from kzoo.data.annotated import named

RATE = 8000


def write(path, seconds=0.2, level=0.1, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).normal(0, level, round(seconds * RATE))
    soundfile.write(path, noise, RATE, **options)
    return path


@pytest.fixture
def magnatagatune(tmp_path):
    """Six clips, of which one has only a tag that is none of the 50, and one is broken."""
    tags = [f"tag {k}" for k in range(50)]
    clips = {
        "0/artist-album-01-song-0-29.mp3": ["tag 0", "tag 1"],
        "b/artist-album-02-song-30-59.mp3": tags,
        "c/artist-album-03-song-0-29.mp3": [*tags[1:], "tag 0"],
        "d/artist-album-04-song-0-29.mp3": ["tag 3", "rare"],
        "f/artist-album-05-song-0-29.mp3": ["rare"],
        f"6/{named.MAGNATAGATUNE_BROKEN[0]}": ["tag 0"],
    }
    lines = ["\t".join(f'"{name}"' for name in ("clip_id", "rare", *tags, "mp3_path"))]
    for number, (mp3, own) in enumerate(clips.items()):
        cells = ["1" if tag in own else "0" for tag in ("rare", *tags)]
        lines.append("\t".join(f'"{cell}"' for cell in (str(number), *cells, mp3)))
        write(tmp_path / mp3, format="MP3")
    (tmp_path / "6" / named.MAGNATAGATUNE_BROKEN[0]).write_bytes(b"")
    (tmp_path / "annotations_final.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_magnatagatune_has_its_split_its_50_tags_and_no_broken_clip(magnatagatune):
    names = {
        subset: [one.name for one in annotated.find(magnatagatune, "names", subset=subset)]
        for subset in ("train", "validation", "test")
    }
    assert names == {
        "train": ["0/artist-album-01-song-0-29", "b/artist-album-02-song-30-59"],
        "validation": ["c/artist-album-03-song-0-29"],
        "test": ["d/artist-album-04-song-0-29"],
    }
    corpus = data.open_corpus("magnatagatune", path=str(magnatagatune))
    assert len(corpus.labels) == 50
    assert "rare" not in corpus.labels
    assert corpus.labels[0] == "tag 0"  # the one that most clips have
    assert corpus.read(0, 0, 800)["labels"].sum() == 2
    test = data.open_corpus("magnatagatune", path=str(magnatagatune), subset="test")
    assert test.labels == corpus.labels
    rare = data.open_corpus("magnatagatune", path=str(magnatagatune), names=["rare", "tag 0"])
    np.testing.assert_array_equal(rare.truth[0], [0, 1])


def test_a_damaged_table_and_an_unknown_name_are_said(magnatagatune):
    with pytest.raises(ValueError, match="no recording is called tag 99"):
        data.open_corpus("magnatagatune", path=str(magnatagatune), names=["tag 99"])
    (magnatagatune / "annotations_final.csv").write_text("clip_id,tag\n1,0\n")
    with pytest.raises(ValueError, match="must be the published table, with tabs between"):
        annotated.find(magnatagatune, "names")
    with pytest.raises(ValueError, match=r"is no gtzan; GTZAN: <genre>/<genre>.00000.wav"):
        data.open_corpus("gtzan", path=str(magnatagatune))


def test_gtzan_has_the_filtered_split_where_its_lists_are(tmp_path):
    for genre in named._GTZAN:
        for k in range(3):
            write(tmp_path / "genres_original" / genre / f"{genre}.0000{k}.wav")
    assert len(annotated.find(tmp_path, "names")) == 30
    for number, name in enumerate(("train", "valid", "test")):
        lines = [f"{genre}/{genre}.0000{number}.wav" for genre in named._GTZAN[number:]]
        (tmp_path / f"{name}_filtered.txt").write_text("\n".join(lines))
    counts = [len(annotated.find(tmp_path, "names", subset=name))
              for name in ("train", "validation", "test", "all")]  # fmt: skip
    assert counts == [10, 9, 8, 27]
    [first, *_] = annotated.find(tmp_path, "names", subset="validation")
    assert (first.name, first.read()) == ("classical/classical.00001", ("classical",))


def test_ballroom_has_what_its_list_names(tmp_path):
    root = tmp_path / "BallroomData"
    for name in ("ChaChaCha/Albums-Cafe_Paradiso-05", "Waltz/Media-105901", "nada/not_listed"):
        write(root / f"{name}.wav")
    listed = ["./ChaChaCha/Albums-Cafe_Paradiso-05.wav", "./Waltz/Media-105901.wav", ""]
    (root / "allBallroomFiles").write_text("\n".join(listed))
    found = annotated.find(tmp_path, "names")
    assert [(one.name, one.read()) for one in found] == [
        ("ChaChaCha/Albums-Cafe_Paradiso-05", ("ChaChaCha",)), ("Waltz/Media-105901", ("Waltz",)),
    ]  # fmt: skip
    (root / "allBallroomFiles").unlink()
    assert len(annotated.find(tmp_path, "names")) == 3


def test_librispeech_names_its_speakers(tmp_path):
    root = tmp_path / "LibriSpeech"
    for part, speaker in (("train-clean-100", 19), ("train-clean-100", 26), ("dev-clean", 84)):
        folder = root / part / str(speaker) / "198"
        write(folder / f"{speaker}-198-0000.flac")
        (folder / f"{speaker}-198.trans.txt").write_text(f"{speaker}-198-0000 NORTHANGER ABBEY\n")
    (root / "SPEAKERS.TXT").write_text("; ID |SEX| SUBSET |MINUTES| NAME\n19 | F | ...\n")
    found = annotated.find(tmp_path, "names", subset="train")
    assert [(one.name, one.read()) for one in found] == [
        ("train-clean-100/19-198-0000", ("19",)), ("train-clean-100/26-198-0000", ("26",)),
    ]  # fmt: skip
    corpus = data.open_corpus("librispeech", path=str(tmp_path), names=["19", "26"])
    np.testing.assert_array_equal(corpus.truth, np.eye(2))


def test_melodies_of_mdb_melody_synth_are_those_of_the_song(tmp_path):
    for name, stem in (("MusicDelta_Rock", "05"), ("MusicDelta_Rockabilly", "02")):
        write(tmp_path / "audio_mix" / f"{name}_MIX_melsynth.wav")
        text = tmp_path / "annotation_melody" / f"{name}_STEM_{stem}.RESYN.csv"
        text.parent.mkdir(exist_ok=True)
        text.write_text(f"0.0,0.0\n0.002902494,{440 if 'abilly' in name else 220}.5\n")
    found = {one.name: one for one in annotated.find(tmp_path, "melody")}
    assert list(found) == ["MusicDelta_Rock", "MusicDelta_Rockabilly"]
    seconds, hertz = found["MusicDelta_Rock"].read()
    np.testing.assert_array_equal(seconds, [0, 0.002902494])
    np.testing.assert_array_equal(hertz, [0, 220.5])
    (tmp_path / "annotation_melody" / "MusicDelta_Rock_STEM_05.RESYN.csv").unlink()
    with pytest.raises(ValueError, match="annotation_melody/MusicDelta_Rock_STEM_<number>"):
        annotated.find(tmp_path, "melody")


def test_melodies_of_medleydb_are_of_the_second_definition(tmp_path):
    name = "LizNelson_Rainfall"
    write(tmp_path / "Audio" / name / f"{name}_MIX.wav")
    for number in (1, 2, 3):
        folder = tmp_path / "Annotations" / "Melody_Annotations" / f"MELODY{number}"
        folder.mkdir(parents=True)
        (folder / f"{name}_MELODY{number}.csv").write_text(f"0.0,{100.0 * number}\n")
    [one] = annotated.find(tmp_path, "melody")
    assert one.name == name
    np.testing.assert_array_equal(one.read()[1], [200.0])
    [one] = annotated.LAYOUTS["medleydb_melody1"].readers["melody"](tmp_path)
    np.testing.assert_array_equal(one.read()[1], [100.0])
    (folder.with_name("MELODY2") / f"{name}_MELODY2.csv").unlink()
    [one] = annotated.find(tmp_path, "melody")  # where no other is there
    np.testing.assert_array_equal(one.read()[1], [100.0])


def test_onsets_and_melodies_lie_beside_recordings(tmp_path):
    for name in ("a", "deep/b"):
        sound = write(tmp_path / f"{name}.wav")
        sound.with_suffix(".txt").write_text("0.15\n0.05\n")
    found = annotated.find(tmp_path, "onsets")
    assert [one.name for one in found] == ["a", "deep/b"]
    np.testing.assert_array_equal(found[0].read(), [0.05, 0.15])
    (tmp_path / "a.txt").write_text("time_s,f0_hz,voiced\n0.00,440.0,1\n0.01,-220.0,0\n")
    (tmp_path / "deep" / "b.txt").write_text("0.00 220\n")
    [first, second] = annotated.find(tmp_path, "melody")
    np.testing.assert_array_equal(first.read(), [[0, 0.01], [440, 0]])
    np.testing.assert_array_equal(second.read(), [[0], [220]])
    (tmp_path / "a.txt").write_text("0.00 440\n0.01\n")
    with pytest.raises(ValueError, match=r"line 2 is not seconds and hertz: '0\.01'"):
        first.read()


def test_phones_of_timit_are_folded(tmp_path):
    folder = tmp_path / "TEST" / "DR1" / "FAKS0"
    for name in ("SI943", "SA1"):
        write(folder / f"{name}.WAV", format="NIST")
        (folder / f"{name}.PHN").write_text("0 400 h#\n400 900 ix\n900 1200 tcl\n1200 1600 t\n")
    [one] = annotated.find(tmp_path, "phones")
    assert [phone.name for phone in one.read()] == ["sil", "ih", "sil", "t"]
    assert one.read()[1].start_seconds == 400 / RATE


@pytest.fixture
def tracks(tmp_path):
    """Two seconds with a bass, a flute above it, and a piano later."""
    notes = [(0, 1, 33, "bass"), (0.5, 1, 72, "pipe"), (1.5, 2, 60, "piano")]
    f0 = {"bass": (55.0, 0, 1), "pipe": (523.251, 0.5, 1)}
    write_track(tmp_path / "corpus" / "train" / "song_0", notes, rate=RATE, f0=f0)
    return tmp_path / "corpus"


def test_rendered_tracks_know_instruments_onsets_and_melody(tracks):
    [one] = annotated.find(tracks, "names")
    assert (one.name, one.subset, one.read()) == ("song_0@0", "train", ("bass", "piano", "pipe"))
    [onsets] = annotated.find(tracks, "onsets")
    np.testing.assert_array_equal(onsets.read(), [0, 0.5, 1.5])
    seconds, hertz = annotated.find(tracks, "melody")[0].read()
    assert (seconds[75], hertz[75], hertz[25]) == (0.75, 523.251, 0)


@pytest.mark.parametrize("f0", [{}, {"bass": (55.0, 0, 1)}])
def test_a_rendered_track_without_a_melody_is_left_out(tracks, f0):
    notes = [(0, 1, 33, "bass"), (1.5, 2, 60, "piano")]
    write_track(tracks / "train" / "chords_0", notes, rate=RATE, f0=f0)
    assert [one.name for one in annotated.find(tracks, "melody")] == ["song_0"]
    assert [one.name for one in annotated.find(tracks, "onsets")] == ["chords_0", "song_0"]


def test_a_stretch_of_a_rendered_track_has_the_instruments_that_sound_in_it(tracks):
    corpus = data.open_corpus("rendered", path=str(tracks))
    assert corpus.labels == ("bass", "piano", "pipe")

    def heard(start, seconds):
        return corpus.read(0, round(start * RATE), round(seconds * RATE))["labels"].tolist()

    assert heard(0, 0.4) == [1, 0, 0]
    assert heard(0, 0.6) == [1, 0, 1]
    assert heard(1.0, 0.5) == [0, 0, 0]
    assert heard(1.2, 0.4) == [0, 1, 0]


def test_names_of_rendered_tracks_are_of_stretches(tracks, monkeypatch):
    monkeypatch.setattr(annotated.timed, "STRETCH_SECONDS", 0.7)
    found = annotated.find(tracks, "names")
    assert [(one.name, one.stretch, one.read()) for one in found] == [
        ("song_0@0", (0, 0.7), ("bass", "pipe")),
        ("song_0@0.7", (0.7, 0.7), ("bass", "pipe")),
        ("song_0@1.4", (1.4, pytest.approx(0.6)), ("piano",)),
    ]
    sound, _ = found[1].sound()
    whole, _ = soundfile.read(tracks / "train" / "song_0" / "mixture.wav")
    np.testing.assert_allclose(sound[:, 0], whole[5600:11200], atol=1e-6)
    assert len({one.sha256() for one in found}) == 3


@pytest.fixture
def check(monkeypatch, capsys):
    """Run `kzoo data check WORDS...`; returns (exit status, stdout, stderr)."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["kzoo", "data", "check", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


def test_check_knows_a_published_corpus_and_says_what_is_broken(check, magnatagatune):
    status, out, err = check(magnatagatune)
    assert status == 0
    assert "names of 4 recordings (train 2, validation 1, test 1): 51 names, tag 0 3" in out
    (magnatagatune / "b" / "artist-album-02-song-30-59.mp3").write_bytes(b"no sound")
    status, out, err = check(magnatagatune, "--subset", "train")
    assert status == 1
    assert "b/artist-album-02-song-30-59" in err


def test_check_reads_what_is_true(check, tmp_path, tracks):
    write(tmp_path / "drums" / "a.wav").with_suffix(".txt").write_text("0.1\n0.15\n")
    write(tmp_path / "drums" / "b.wav").with_suffix(".txt").write_text("0.1\nnothing\n")
    status, out, err = check(tmp_path / "drums", "--kind", "events")
    assert status == 1
    assert "onsets of 2 recordings (test 2): 2 onsets" in out
    assert "b: " in err
    assert "line 2 is no event: 'nothing'" in err
    status, out, _ = check(tracks, "--kind", "rendered")
    assert status == 0
    for line in ("3 names, bass 1, piano 1, pipe 1", "3 onsets", "201 frames, 25 % of them"):
        assert line in out
    status, _, err = check(tracks, "--kind", "gtzan")
    assert status == 1
    assert "is no gtzan" in err
