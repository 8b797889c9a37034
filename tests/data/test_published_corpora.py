"""Published corpora are read by their true names, with what is odd about each of them."""

import json

import numpy as np
import pytest
import soundfile

from kzoo import config, data
from kzoo.data.checking import check_tracks, list_tracks
from kzoo.data.published import SCHEMES
from kzoo.data.tracks import find_tracks, read_track

RATE = 8000
SONG = "055 - Angels In Amplifiers - I'm Alright"
SNIP = "dev1__bearlin-roads__snip_85_99"


class Trees:
    """Small corpora under a folder; `sounds[path]` is what lies there, `[samples, channels]`."""

    def __init__(self, root, rng):
        self.root, self.rng, self.sounds = root, rng, {}

    def write(self, *places, channels=1, sound=None, rate=RATE):
        for place in places:
            path = self.root / place
            path.parent.mkdir(parents=True, exist_ok=True)
            given = 0.1 * self.rng.standard_normal((800, channels)) if sound is None else sound
            soundfile.write(path, given, rate, subtype="PCM_16" if ".flac" in place else "FLOAT")
            self.sounds[place] = soundfile.read(path, dtype="float32", always_2d=True)[0]

    def text(self, place, text):
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def sum(self, *places):
        return sum(self.sounds[place] for place in places)


@pytest.fixture
def trees(tmp_path, rng):
    return Trees(tmp_path, rng)


def opened(trees, kind, **options):
    return data.open_corpus(kind, path=str(trees.root / kind), **options)


def names(corpus):
    return [name for name, _ in corpus.tracks]


def source(corpus, track, name):
    """A source of a track by their names, `[samples, channels]`."""
    return corpus.read(names(corpus).index(track), 0, 800)["sources"][corpus.sources.index(name)]


def dsd100(trees, song=SONG, subset="Dev"):
    stems = ("bass", "drums", "other", "vocals")
    places = [f"dsd100/Sources/{subset}/{song}/{stem}.wav" for stem in stems]
    trees.write(*places, channels=2)
    trees.write(f"dsd100/Mixtures/{subset}/{song}/mixture.wav", sound=trees.sum(*places))
    return places


def test_dsd100_has_dev_and_test_with_mixtures_apart_from_sources(trees):
    bass, drums, other, _ = dsd100(trees)
    dsd100(trees, "003 - Actions - One Minute Smile", "Test")
    corpus = opened(trees, "dsd100", sources=["vocals", "accompaniment"])
    assert names(corpus) == [SONG]
    expected = trees.sum(bass, drums, other)
    np.testing.assert_allclose(source(corpus, SONG, "accompaniment"), expected, atol=1e-6)
    mixture = trees.sounds[f"dsd100/Mixtures/Dev/{SONG}/mixture.wav"]
    np.testing.assert_array_equal(corpus.read(0, 0, 800)["mixture"], mixture)
    scored = [track.name for track in find_tracks(trees.root / "dsd100")]
    assert scored == ["003 - Actions - One Minute Smile"]
    assert len(opened(trees, "dsd100", subset="all").tracks) == 2
    # Found by its folders, too, and then learned from as from the kind by its name.
    assert names(data.open_corpus("stems", path=str(trees.root / "dsd100"))) == [SONG]
    with pytest.raises(ValueError, match="subset 'validation'; there are train, test, all"):
        opened(trees, "dsd100", subset="validation")


@pytest.mark.parametrize("kind", ["mir1k", "ikala"])
def test_voices_are_on_the_right_channel_and_music_on_the_left(trees, kind):
    trees.write(f"{kind}/Wavfile/abjones_1_01.wav", f"{kind}/Wavfile/._amy_1_01.wav", channels=2)
    trees.write(f"{kind}/UndividedWavfile/abjones_1.wav", channels=2)
    both = trees.sounds[f"{kind}/Wavfile/abjones_1_01.wav"]
    corpus = opened(trees, kind, sources=["vocals", "accompaniment"])
    assert (names(corpus), corpus.channels) == (["abjones_1_01"], 1)
    found = corpus.read(0, 0, 800)
    np.testing.assert_array_equal(found["sources"][0], both[:, 1:])
    np.testing.assert_array_equal(found["sources"][1], both[:, :1])
    np.testing.assert_allclose(found["mixture"][:, 0], both.sum(axis=1), atol=1e-6)
    (track,) = find_tracks(trees.root / kind)
    scored = read_track(track, ["vocals"])
    np.testing.assert_array_equal(scored.references["vocals"], both[:, 1:])
    np.testing.assert_allclose(scored.mixture[:, 0], both.sum(axis=1), atol=1e-6)
    prepared = data.open_corpus(
        "shards", path=str(data.prepare(corpus, trees.root / "shards", dtype="float32"))
    )
    np.testing.assert_array_equal(prepared.read(0, 0, 800)["sources"], found["sources"])
    trees.write(f"{kind}/Wavfile/mono.wav")
    with pytest.raises(ValueError, match=r"mono\.wav: its channels must be left and right"):
        opened(trees, kind)


def test_the_voice_and_the_music_of_one_file_have_different_sha256(trees):
    trees.write("mir1k/Wavfile/a.wav", channels=2)
    voice, music = (opened(trees, "mir1k", sources=[n]) for n in ("vocals", "accompaniment"))
    (track,) = find_tracks(trees.root / "mir1k")
    swapped = track.stems["vocals"], track.stems["accompaniment"]
    before = track.sha256()
    track.stems.update(zip(("accompaniment", "vocals"), swapped, strict=True))
    assert track.sha256() != before
    assert voice.identity(0) != music.identity(0)


def test_ccmixter_numbers_its_sources(trees):
    files = ("mix", "source-01", "source-02")
    trees.write(*(f"ccmixter/zarque/{name}.wav" for name in files), channels=2)
    corpus = opened(trees, "ccmixter", sources=["vocals", "accompaniment"])
    for name, file in (("vocals", "source-02"), ("accompaniment", "source-01")):
        expected = trees.sounds[f"ccmixter/zarque/{file}.wav"]
        np.testing.assert_array_equal(source(corpus, "zarque", name), expected)
    assert corpus.records_mixture


def slakh(trees, subset, number, stems):
    """stems: {name: (class, whether it was rendered)}."""
    folder = f"slakh/{subset}/Track{number:05}".replace("//", "/")
    metadata = {
        "UUID": "1a81ae092884234f3264e2f45927f00a",
        "stems": {
            name: {"inst_class": kind, "is_drum": kind == "Drums", "audio_rendered": rendered}
            for name, (kind, rendered) in stems.items()
        },
    }
    trees.text(f"{folder}/metadata.yaml", config.yaml_text(metadata))
    places = [f"{folder}/stems/{name}.flac" for name, (_, there) in stems.items() if there]
    trees.write(*places)
    trees.write(f"{folder}/mix.flac", sound=trees.sum(*places))
    return places


BAND = {
    "S00": ("Guitar", True), "S01": ("Sound Effects", False), "S02": ("Guitar", True),
    "S03": ("Drums", True), "S04": ("Strings (continued)", True), "S05": ("Synth Pad", True),
}  # fmt: skip


def test_slakh_sums_the_stems_of_a_class_and_misses_what_was_not_rendered(trees):
    places = slakh(trees, "train", 1, BAND)
    corpus = opened(trees, "slakh")
    assert corpus.sources == ("guitar", "drums", "strings", "synth_pad")
    np.testing.assert_allclose(
        source(corpus, "Track00001", "guitar"), trees.sum(*places[:2]), atol=1e-6
    )
    four = opened(trees, "slakh", sources=["guitar", "drums", "other"])
    np.testing.assert_allclose(
        source(four, "Track00001", "other"), trees.sum(*places[3:]), atol=1e-6
    )
    with pytest.raises(
        ValueError, match="no track has the source 'vocals'; there are guitar, drums"
    ):
        opened(trees, "slakh", sources=["vocals", "drums"])


def test_slakh_has_a_validation_set_and_duplicates_that_all_leaves_out(trees):
    for number, subset in enumerate(("train", "validation", "test", "omitted"), start=1):
        slakh(trees, subset, number, {"S00": ("Bass", True)})
    for subset, track in (("validation", "Track00002"), ("omitted", "Track00004")):
        assert names(opened(trees, "slakh", subset=subset)) == [track]
        assert [t.name for t in find_tracks(trees.root / "slakh", subset=subset)] == [track]
    assert names(opened(trees, "slakh")) == ["Track00001"]
    assert len(opened(trees, "slakh", subset="all").tracks) == 3


def test_babyslakh_has_no_subsets(trees):
    slakh(trees, "", 1, {"S00": ("Bass", True)})
    assert names(opened(trees, "slakh")) == ["Track00001"]
    with pytest.raises(ValueError, match="no tracks of the subset 'train'; there are test, all"):
        opened(trees, "slakh", subset="train")


def test_a_stem_that_should_be_there_is_named(trees):
    places = slakh(trees, "train", 1, BAND)
    (trees.root / places[1]).unlink()
    with pytest.raises(ValueError, match=r"S02\.flac"):
        opened(trees, "slakh")
    tracks, _ = list_tracks(str(trees.root / "slakh"), None, {})
    problems = check_tracks(tracks, progress=lambda *_: None)[1]
    assert len(problems) == 1
    assert "S02.flac" in problems[0]


@pytest.mark.parametrize("text", ["stems: 3", "stems: {S00: {is_drum: true}}", "a: [", "{}"])
def test_metadata_that_is_none_is_one_line(trees, text):
    trees.text("slakh/train/Track00001/metadata.yaml", text)
    with pytest.raises(ValueError, match=r"Track00001/metadata\.yaml: [^\n]*$"):
        opened(trees, "slakh")


def medleydb(trees, song, instruments, *, bleed="no", place="Audio", metadata=None):
    folder = f"medleydb/{place}/{song}".replace("//", "/")
    stems = {
        f"S{n:02}": {
            "component": "", "filename": f"{song}_STEM_{n:02}.wav", "instrument": instrument,
            "raw": {"R01": {"filename": f"{song}_RAW_{n:02}_01.wav", "instrument": instrument}},
        }
        for n, instrument in enumerate(instruments, start=1)
    }  # fmt: skip
    text = config.yaml_text({"has_bleed": bleed, "stems": stems})
    trees.text(f"{metadata or folder}/{song}_METADATA.yaml", text)
    for stem in stems.values():
        trees.write(f"{folder}/{song}_STEMS/{stem['filename']}", channels=2)
        trees.write(f"{folder}/{song}_RAW/{stem['raw']['R01']['filename']}")
    trees.write(f"{folder}/{song}_MIX.wav", channels=2)
    return [f"{folder}/{song}_STEMS/{stem['filename']}" for stem in stems.values()]


@pytest.mark.parametrize(
    ("place", "metadata"),
    [("Audio", None), ("V2", None), ("", None), ("Audio", "medleydb/Metadata")],
)
def test_medleydb_maps_instruments_to_sources(trees, place, metadata):
    instruments = (
        "female singer",
        "male singer",
        "drum set",
        "violin",
        "distorted electric guitar",
    )
    song = "LizNelson_Rainfall"
    places = medleydb(trees, song, instruments, place=place, metadata=metadata)
    corpus = opened(trees, "medleydb")
    assert corpus.sources == ("vocals", "drums", "violin", "guitar")
    np.testing.assert_allclose(source(corpus, song, "vocals"), trees.sum(*places[:2]), atol=1e-6)
    np.testing.assert_array_equal(source(corpus, song, "violin"), trees.sounds[places[3]])
    # Neither the weighted _MIX nor what is in _RAW: the mixture is the sum of the stems.
    np.testing.assert_allclose(corpus.read(0, 0, 800)["mixture"], trees.sum(*places), atol=1e-6)


def test_tracks_with_bleed_can_be_left_out(trees):
    medleydb(trees, "A_Clean", ["piano"])
    medleydb(trees, "B_Bleeds", ["piano"], bleed="yes")
    assert len(opened(trees, "medleydb").tracks) == 2
    assert names(opened(trees, "medleydb", bleed=False)) == ["A_Clean"]
    tracks, _ = list_tracks(str(trees.root / "medleydb"), "medleydb", {})
    lines = check_tracks(tracks, progress=lambda *_: None)[0]
    told = next(line for line in lines if "in each other's stems" in line)
    assert told.startswith("B_Bleeds: ")
    with pytest.raises(ValueError, match="all tracks have bleed"):
        opened(trees, "medleydb", bleed=False, exclude=["A_Clean"])
    with pytest.raises(config.ConfigError, match="no option 'bleed'"):
        opened(trees, "ccmixter", bleed=False)


def test_metadata_that_is_missing_is_named(trees):
    medleydb(trees, "A_Song", ["piano"])
    (trees.root / "medleydb/Audio/A_Song/A_Song_METADATA.yaml").unlink()
    with pytest.raises(ValueError, match=r"A_Song_METADATA\.yaml: cannot be read"):
        opened(trees, "medleydb")


SONG_ID = "0358e0f5-1ea6-4f5c-9d9f-c1e3b0b8a9ab"


def moisesdb(trees):
    files = {"vocals": ("a1", "a2"), "drums": ("b1",), "other_keys": ("c1",), "percussion": ("d1",)}
    stems = [
        {
            "stemName": stem, "id": f"stem-{stem}",
            "tracks": [
                {"id": name, "extension": "wav", "trackType": "x", "has_bleed": name == "b1"}
                for name in tracks
            ],
        }
        for stem, tracks in files.items()
    ]  # fmt: skip
    folder = f"moisesdb/moisesdb_v0.1/{SONG_ID}"
    trees.text(f"{folder}/data.json", json.dumps({"song": "x", "genre": "rock", "stems": stems}))
    places = [f"{folder}/{stem}/{name}.wav" for stem, tracks in files.items() for name in tracks]
    trees.write(*places, channels=2)
    return places


def test_moisesdb_sums_the_files_of_a_stem(trees):
    places = moisesdb(trees)
    corpus = opened(trees, "moisesdb", sources=["vocals", "drums", "other"])
    np.testing.assert_allclose(source(corpus, SONG_ID, "vocals"), trees.sum(*places[:2]), atol=1e-6)
    np.testing.assert_allclose(source(corpus, SONG_ID, "other"), trees.sum(*places[3:]), atol=1e-6)
    np.testing.assert_allclose(corpus.read(0, 0, 800)["mixture"], trees.sum(*places), atol=1e-6)
    with pytest.raises(ValueError, match="all tracks have bleed"):
        opened(trees, "moisesdb", bleed=False)
    trees.text(f"moisesdb/moisesdb_v0.1/{SONG_ID}/data.json", '{"stems": [{"stemName": "x"}]}')
    with pytest.raises(ValueError, match=r"data\.json: is damaged"):
        opened(trees, "moisesdb")


def test_mass_takes_the_tracks_with_effects_where_there_are_some(trees):
    song = "mass/tamy-que_pena_tanto_faz (bossanova)/tamy-que_pena_tanto_faz_6-19"
    other = "mass/bearlin-roads (pop-rock)/bearlin-roads_0-28"
    for folder in (f"{song}/tracks_with_effects", f"{song}/tracks_without_effects",
                   f"{other}/tracks_without_effects"):  # fmt: skip
        trees.write(f"{folder}/guitar.wav", f"{folder}/vox1.wav", f"{folder}/vox2.wav", channels=2)
    corpus = opened(trees, "mass", sources=["vocals", "guitar"])
    assert names(corpus) == ["bearlin-roads_0-28", "tamy-que_pena_tanto_faz_6-19"]
    read = f"{other}/tracks_without_effects", f"{song}/tracks_with_effects"
    for track, folder in zip(names(corpus), read, strict=True):
        expected = trees.sum(f"{folder}/vox1.wav", f"{folder}/vox2.wav")
        np.testing.assert_allclose(source(corpus, track, "vocals"), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["mass", "quasi"])
def test_excerpts_are_told_apart_by_their_file_names(trees, kind):
    quasi, folder = "09_shannon_hurley-sunrise__snip_62-92", f"{kind}/dev1__bearlin-roads__tracks"
    trees.write(
        *(f"{folder}/{SNIP}__{name}.wav" for name in ("snare", "kick", "vocals")),
        *(f"{folder}/{quasi}__{name}.wav" for name in ("drums", "voc", "cello", "mix")),
    )
    tracks = {track.name: track for track in find_tracks(trees.root / kind)}
    assert set(tracks) == {SNIP, quasi}
    assert tracks[SNIP].mixture is None
    assert tracks[quasi].mixture is not None
    corpus = opened(trees, kind, sources=["drums", "vocals"])
    expected = trees.sum(f"{folder}/{SNIP}__snare.wav", f"{folder}/{SNIP}__kick.wav")
    np.testing.assert_allclose(source(corpus, SNIP, "drums"), expected, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(SCHEMES))
def test_a_folder_without_it_is_told_what_was_looked_for(trees, kind):
    (trees.root / kind).mkdir()
    with pytest.raises(ValueError, match=rf"{kind}: holds no tracks; expected "):
        opened(trees, kind)
    if kind == "dsd100":
        with pytest.raises(ValueError, match=r"expected Mixtures/<Dev\|Test>/"):
            opened(trees, kind)
    with pytest.raises(ValueError, match="nowhere: there is no such folder"):
        data.open_corpus(kind, path=str(trees.root / "nowhere"))


def test_rates_and_widths_that_differ_are_one_line(trees):
    trees.write("ccmixter/a/source-01.wav", channels=2)
    trees.write("ccmixter/a/source-02.wav", rate=16000)
    with pytest.raises(ValueError, match="other rates than 8000 Hz cannot be read at random"):
        opened(trees, "ccmixter").read(0, 0, 100)
    (track,) = find_tracks(trees.root / "ccmixter")
    with pytest.raises(ValueError, match="accompaniment 8000 Hz, vocals 16000 Hz: resample"):
        read_track(track, ["vocals", "accompaniment"])


def test_stems_by_their_own_folders_are_no_published_corpus(trees):
    trees.write("own/song/vocals.wav", "own/song/my__part.wav")
    trees.text("own/song/data.json", "{}")
    (track,) = find_tracks(trees.root / "own")
    assert list(track.stems) == ["my__part", "vocals"]
