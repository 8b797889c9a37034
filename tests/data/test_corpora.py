"""Corpora read what is on disk, anywhere in a track, and say precisely what is not there."""

import csv
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from kzoo import api, config, data
from kzoo.data import shards

RATE = 8000


@pytest.fixture
def corpus_folder(tmp_path, rng):
    """Two tracks of three stems, and a third without bass; float files, so that sums are exact."""
    for number, (name, stems) in enumerate(
        {"one": ("vocals", "drums", "bass"), "two": ("vocals", "drums", "bass"),
         "three": ("vocals", "drums")}.items()
    ):  # fmt: skip
        folder = tmp_path / "music" / name
        folder.mkdir(parents=True)
        for stem in stems:
            sound = 0.1 * rng.standard_normal((RATE * (2 + number), 2))
            soundfile.write(folder / f"{stem}.wav", sound, RATE, subtype="FLOAT")
    return tmp_path / "music"


def whole(folder, track, stem):
    return soundfile.read(folder / track / f"{stem}.wav", dtype="float32")[0]


def names(corpus):
    return [name for name, _ in corpus.tracks]


def test_a_segment_is_what_the_files_hold_there(corpus_folder):
    corpus = data.open_corpus("stems", path=str(corpus_folder), sources=["bass", "vocals"])
    one = names(corpus).index("one")
    found = corpus.read(one, 1234, 4000)
    for source, signal in zip(corpus.sources, found["sources"], strict=True):
        expected = whole(corpus_folder, "one", source)[1234:5234]
        np.testing.assert_array_equal(signal, expected)
    np.testing.assert_allclose(found["mixture"], found["sources"].sum(axis=0), atol=1e-7)


def test_accompaniment_is_everything_but_the_vocals(corpus_folder):
    corpus = data.open_corpus("stems", path=str(corpus_folder), sources=["vocals", "accompaniment"])
    found = corpus.read(names(corpus).index("one"), 0, 100)["sources"][1]
    expected = whole(corpus_folder, "one", "drums") + whole(corpus_folder, "one", "bass")
    np.testing.assert_allclose(found, expected[:100], atol=1e-7)


def test_what_lies_beyond_the_end_or_is_not_there_is_silence(corpus_folder):
    corpus = data.open_corpus("stems", path=str(corpus_folder))
    three = names(corpus).index("three")
    assert not corpus.read(three, 0, 500)["sources"][corpus.sources.index("bass")].any()
    assert three not in corpus.tracks_of("bass")
    length = corpus.tracks[three][1]
    assert not corpus.read(three, length - 100, 500)["mixture"][100:].any()


def test_a_song_can_be_held_out(corpus_folder):
    path = str(corpus_folder)
    assert names(data.open_corpus("stems", path=path, exclude=["two"])) == ["one", "three"]
    assert names(data.open_corpus("stems", path=path, include=["two"])) == ["two"]
    with pytest.raises(ValueError, match="did you mean 'three'"):
        data.open_corpus("stems", path=path, exclude=["thre"])


def test_pairs_keep_their_recorded_mixture(tmp_path, rng):
    sound = {name: rng.standard_normal(4000) / 8 for name in ("clean", "noisy")}
    for name, signal in sound.items():
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", signal, RATE, subtype="FLOAT")
    corpus = data.open_corpus("pairs", path=str(tmp_path))
    example = data.Examples(corpus, samples=4000).example(0)
    np.testing.assert_allclose(example["mixture"][:, 0], sound["noisy"], atol=1e-7)
    np.testing.assert_allclose(example["sources"][0, :, 0], sound["clean"], atol=1e-7)


def test_folders_of_sources_are_mixed_freely(tmp_path, rng):
    for source in ("speech", "noise"):
        for number in range(3):
            folder = tmp_path / source / "deeper"
            folder.mkdir(parents=True, exist_ok=True)
            sound = 0.1 * rng.standard_normal(4000)
            soundfile.write(folder / f"{number}.wav", sound, RATE, subtype="FLOAT")
    corpus = data.open_corpus("sources", path=str(tmp_path))
    assert corpus.sources == ("noise", "speech")
    example = data.Examples(corpus, samples=2000).example(5)
    assert all(source.std() > 0.05 for source in example["sources"])
    np.testing.assert_allclose(example["mixture"], example["sources"].sum(axis=0), atol=1e-7)


def test_a_table_names_the_files(corpus_folder, tmp_path):
    path = tmp_path / "corpus.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["track", "vocals", "drums"])
        writer.writerow(["first", "music/one/vocals.wav", "music/one/drums.wav"])
    corpus = data.open_corpus("csv", path=str(path))
    expected = whole(corpus_folder, "one", "vocals")[10:20]
    np.testing.assert_array_equal(corpus.read(0, 10, 10)["sources"][0], expected)
    path.write_text("track,vocals\nfirst,nowhere.wav\n")
    with pytest.raises(ValueError, match=r"line 2: there is no file .*nowhere\.wav"):
        data.open_corpus("csv", path=str(path))


def test_musdb_trees_open_their_train_subset(corpus_folder, tmp_path):
    root = tmp_path / "musdb"
    root.mkdir()
    corpus_folder.rename(root / "train")
    (root / "test").mkdir()
    assert len(data.open_corpus("musdb", path=str(root)).tracks) == 3


def test_a_tree_may_have_a_validation_subset(corpus_folder, tmp_path):
    root = tmp_path / "tree"
    for subset, tracks in (("train", ("one", "two")), ("validation", ("three",))):
        for track in tracks:
            (root / subset).mkdir(parents=True, exist_ok=True)
            (corpus_folder / track).rename(root / subset / track)

    def names(**options):
        return [name for name, _ in data.open_corpus("stems", path=str(root), **options).tracks]

    assert names() == ["one", "two"]
    assert names(subset="validation") == ["three"]
    assert names(subset="all") == ["one", "two", "three"]
    with pytest.raises(ValueError, match="has no folder 'test'"):
        names(subset="test")


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("stem", {"path": "x"}, "did you mean 'stems'"),
        ("stems", {"paths": "x"}, "did you mean 'path'"),
        ("stems", {"path": "/nowhere"}, "/nowhere"),
        ("shards", {"path": "/nowhere"}, "kzoo data prepare"),
        ("synthetic", {"sources": ["piano"]}, "piano"),
    ],
)
def test_what_cannot_be_opened_is_named(kind, options, message):
    with pytest.raises(ValueError, match=message):
        data.open_corpus(kind, **options)


def test_synthetic_sound_is_a_function_of_its_seed_wherever_it_is_read():
    one = data.open_corpus("synthetic", tracks=2, seconds=4.0, sample_rate=RATE)
    other = data.open_corpus("synthetic", tracks=2, seconds=4.0, sample_rate=RATE)
    piece, whole_track = one.read(1, 5000, 3000), other.read(1, 0, 32000)
    np.testing.assert_allclose(piece["sources"], whole_track["sources"][:, 5000:8000], atol=1e-6)
    assert all(source.std() > 1e-3 for source in whole_track["sources"])
    assert np.abs(whole_track["mixture"]).max() < 2
    assert one.identity(0) != one.identity(1)


def test_shards_hold_the_sound_to_half_a_step(corpus_folder, tmp_path):
    corpus = data.open_corpus("stems", path=str(corpus_folder))
    for dtype, tolerance in (("int16", 0.5001 / 32767), ("float32", 0)):
        folder = data.prepare(corpus, tmp_path / dtype, dtype=dtype)
        found = data.open_corpus("shards", path=str(folder))
        assert found.tracks == corpus.tracks
        for track in range(3):
            expected, piece = corpus.read(track, 777, 3000), found.read(track, 777, 3000)
            difference = np.abs(piece["sources"] - expected["sources"]).max()
            assert difference <= tolerance * 1.001


def test_sound_beyond_full_scale_is_scaled_and_comes_back(tmp_path, rng):
    folder = tmp_path / "music" / "loud"
    folder.mkdir(parents=True)
    sound = 2.5 * rng.uniform(-1, 1, (4000, 2)).astype(np.float32)
    soundfile.write(folder / "vocals.wav", sound, RATE, subtype="FLOAT")
    corpus = data.open_corpus("stems", path=str(tmp_path / "music"))
    found = data.open_corpus("shards", path=str(data.prepare(corpus, tmp_path / "shards")))
    read = found.read(0, 0, 4000)["sources"][0]
    np.testing.assert_allclose(read, sound, atol=2.5 * 0.51 / 32767)


def test_prepare_goes_on_where_a_kill_left_it(corpus_folder, tmp_path):
    corpus = data.open_corpus("stems", path=str(corpus_folder))
    straight = data.prepare(corpus, tmp_path / "straight")
    program = """
import os, sys
from kzoo import data
from kzoo.data import shards
write = shards.write_track
def killed(corpus, number, *rest):
    if number == 1:
        shards._quantise = lambda *a: os.kill(os.getpid(), 9)
    return write(corpus, number, *rest)
shards.write_track = killed
data.prepare(data.open_corpus("stems", path=sys.argv[1]), sys.argv[2])
"""
    folder = tmp_path / "killed"
    run = subprocess.run([sys.executable, "-c", program, corpus_folder, folder], check=False)
    assert run.returncode == -9
    first = next(folder.glob("00000_*.raw"))
    before = first.stat().st_mtime_ns
    data.prepare(corpus, folder)
    assert first.stat().st_mtime_ns == before
    assert shards.verify(folder) == []
    one, other = (data.open_corpus("shards", path=str(p)) for p in (straight, folder))
    for track in range(3):
        np.testing.assert_array_equal(
            one.read(track, 0, 9000)["sources"], other.read(track, 0, 9000)["sources"]
        )


def test_a_shard_that_was_cut_or_changed_is_found(corpus_folder, tmp_path):
    corpus = data.open_corpus("stems", path=str(corpus_folder))
    folder = data.prepare(corpus, tmp_path / "shards")
    path = next(folder.glob("*.raw"))
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert any("damaged" in line for line in shards.verify(folder))
    path.write_bytes(content[:-4])
    with pytest.raises(ValueError, match="cut short"):
        data.open_corpus("shards", path=str(folder))


def test_other_shards_are_not_mixed_in(corpus_folder, tmp_path):
    corpus = data.open_corpus("stems", path=str(corpus_folder))
    folder = data.prepare(corpus, tmp_path / "shards")
    with pytest.raises(ValueError, match="dtype=int16"):
        data.prepare(corpus, folder, dtype="float32")
    with pytest.raises(ValueError, match="sample_rate=8000"):
        data.open_corpus("shards", path=str(folder), sample_rate=44100)
    with pytest.raises(config.ConfigError, match="no option"):
        data.open_corpus("shards", path=str(folder), colour="red")


def test_the_data_verbs(corpus_folder, tmp_path, capsys):
    from kzoo.cli import data as data_commands

    data_commands.check(str(corpus_folder), quiet=True)
    out = capsys.readouterr().out
    assert "bass: in 2 of 3 tracks only" in out
    data_commands.prepare(
        str(corpus_folder), tmp_path / "out", kind="stems", sources="vocals,accompaniment",
        exclude=["two"], sample_rate=RATE, channels=1, licence="CC0", quiet=True,
    )  # fmt: skip
    assert "2 tracks" in capsys.readouterr().out
    (corpus_folder / "one" / "bass.wav").write_text("not sound")
    with pytest.raises(SystemExit):
        data_commands.check(str(corpus_folder), quiet=True)
    assert "one:" in capsys.readouterr().err


def test_a_teacher_makes_the_sources(tiny_preset, tmp_path, rng):
    from kzoo.cli.prepare import Teacher, taught_alone
    from kzoo.data.pseudolabelled import find_mixtures

    preset = tiny_preset(tmp_path / "preset")
    (tmp_path / "songs").mkdir()
    song = 0.1 * rng.standard_normal((6000, 2))
    soundfile.write(tmp_path / "songs" / "a.wav", song, RATE, subtype="FLOAT")
    corpus = taught_alone(find_mixtures(tmp_path / "songs"), Teacher(str(preset)))
    found = data.open_corpus("shards", path=str(data.prepare(corpus, tmp_path / "out")))
    assert found.sources == ("vocals", "accompaniment")
    assert found.read(0, 0, 6000)["mixture"].std() > 0.01


def test_a_teacher_is_learned_from_beside_the_truth(tiny_preset, tmp_path, rng):
    from kzoo.cli.prepare import Teacher, prepare, taught

    preset, song = str(tiny_preset(tmp_path / "preset")), tmp_path / "songs" / "a"
    song.mkdir(parents=True)

    def write(*names):
        for name in names:
            sound = 0.1 * rng.standard_normal((6000, 2))
            soundfile.write(song / f"{name}.wav", sound, RATE, subtype="FLOAT")

    def prepared(sources, teacher):
        prepare(
            str(song.parent), tmp_path / "out", kind="stems", sources=sources, teacher=teacher,
            quiet=True,
        )  # fmt: skip

    write("mixture", "vocals")
    for teacher in (None, preset):
        prepared("vocals", teacher)
    found = data.open_corpus("shards", path=str(tmp_path / "out"))
    assert [name for name, _ in found.tracks] == ["a", "a@preset"]
    true, learned = found.read(0, 0, 6000), found.read(1, 0, 6000)
    np.testing.assert_allclose(true["mixture"], learned["mixture"], atol=1e-4)
    estimate = api.separate(learned["mixture"], RATE, preset=preset)["vocals"]
    np.testing.assert_allclose(learned["sources"][0], estimate, atol=1e-3)
    assert np.abs(true["sources"][0] - estimate).max() > 0.01
    # What is held out is held out of the lessons, and not of the folder that they come to.
    held_out = data.open_corpus("stems", path=str(song.parent))
    held_out.excluded = ("a*",)
    assert taught(held_out, Teacher(preset)).excluded == ("a*@preset",)
    write("drums")
    with pytest.raises(ValueError, match="knows vocals, accompaniment, and not drums"):
        prepared("drums", preset)
    (song / "mixture.wav").unlink()
    with pytest.raises(ValueError, match="hears mixtures, and this corpus has none"):
        prepared("vocals", preset)


@pytest.fixture
def voicebank(tmp_path, rng):
    """Pairs of three speakers for training and of one for the test, in VoiceBank-DEMAND's tree."""
    for subset, names in {
        "trainset_28spk": ("p226_001", "p226_002", "p227_001", "p228_001"),
        "testset": ("p232_001", "p232_002"),
    }.items():
        for kind in ("clean", "noisy"):
            folder = tmp_path / "voicebank" / f"{kind}_{subset}_wav"
            folder.mkdir(parents=True)
            for name in names:
                sound = 0.1 * rng.standard_normal(4000)
                soundfile.write(folder / f"{name}.wav", sound, RATE, subtype="FLOAT")
    return tmp_path / "voicebank"


def test_voicebank_is_pairs_and_its_speakers_can_be_held_out(voicebank):
    def opened(**options):
        return data.open_corpus("pairs", path=str(voicebank), sources=["speech"], **options)

    train = opened(subset="trainset", exclude=["p226_*"])
    assert names(train) == ["p227_001", "p228_001"]
    assert names(opened(subset="trainset", include=["p226_*"])) == ["p226_001", "p226_002"]
    assert names(opened(subset="testset")) == ["p232_001", "p232_002"]
    found = train.read(1, 100, 900)
    for part, folder in ((found["sources"][0], "clean"), (found["mixture"], "noisy")):
        path = voicebank / f"{folder}_trainset_28spk_wav" / "p228_001.wav"
        np.testing.assert_array_equal(
            part[:, 0], soundfile.read(path, dtype="float32")[0][100:1000]
        )
    with pytest.raises(ValueError, match=r"may be .* or .*; name a subset, such as testset"):
        opened()
    with pytest.raises(ValueError, match=r"has no track 'p225_\*'"):
        opened(subset="trainset", exclude=["p225_*"])


def test_the_noise_of_pairs_is_what_the_speech_leaves(voicebank, tmp_path):
    corpus = data.open_corpus(
        "pairs", path=str(voicebank), sources=["speech", "noise"], subset="testset"
    )
    found = corpus.read(0, 0, 4000)
    np.testing.assert_allclose(found["sources"].sum(axis=0), found["mixture"], atol=1e-6)
    clean = soundfile.read(voicebank / "clean_testset_wav" / "p232_001.wav", dtype="float32")[0]
    np.testing.assert_array_equal(found["sources"][0, :, 0], clean)
    prepared = shards.shards(str(data.prepare(corpus, tmp_path / "shards", dtype="float32")))
    np.testing.assert_allclose(prepared.read(0, 0, 4000)["sources"], found["sources"], atol=1e-7)


def test_a_folder_of_its_own_goes_before_what_another_is_called(tmp_path):
    for level, folder in enumerate(("clean", "speech", "noise", "noisy")):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "a.wav", np.full(100, level / 8), RATE, subtype="FLOAT")
    corpus = data.open_corpus("pairs", path=str(tmp_path), sources=["speech", "noise"])
    found = corpus.read(0, 0, 50)
    assert (found["sources"][0] == 1 / 8).all()
    assert (found["sources"][1] == 2 / 8).all()
    assert (found["mixture"] == 3 / 8).all()


def test_steps_leave_in_a_recorded_mixture_what_is_not_its_sources(voicebank):
    corpus = data.open_corpus("pairs", path=str(voicebank), subset="testset")
    plain = data.Examples(corpus, samples=2000, seed=1)
    changed = data.Examples(
        corpus, samples=2000, seed=1, steps=[data.step("gain", low_db=-6.0, high_db=6.0)]
    )
    for index in range(4):
        one, other = plain.example(index), changed.example(index)
        noise = one["mixture"] - one["sources"][0]
        assert np.abs(other["sources"] - one["sources"]).max() > 1e-3
        np.testing.assert_allclose(other["mixture"] - other["sources"][0], noise, atol=1e-6)
