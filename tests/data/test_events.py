"""Recordings with times: what files say, labels of frames and the sound that they depend on."""

import numpy as np
import pytest
import soundfile

from kzoo import data
from kzoo.data.events import Event, events, read_events

RATE = 1000


@pytest.fixture
def folder(tmp_path):
    """Two recordings of a ramp, whose samples tell their places."""
    ramp = np.arange(1, 3001) / 4096
    soundfile.write(tmp_path / "a.wav", ramp, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.flac", np.stack([ramp, ramp], axis=1), RATE)
    (tmp_path / "a.onsets").write_text("0.1\n1.02\n2.991\n")
    (tmp_path / "b.csv").write_text("time_s,stem\n0.5,drums\n0.5,bass\n")
    return tmp_path


def test_a_text_has_times_names_and_ends(tmp_path):
    (tmp_path / "x.txt").write_text(
        "# made by hand\nstart,end,name\n0.5\n0.75\tsnare drum\n1 , 1.5\n2;2.5; a b\n\n3 4 c\n"
    )
    assert read_events(tmp_path / "x.txt") == [
        Event(0.5), Event(0.75, None, "snare drum"), Event(1, 1.5), Event(2, 2.5, "a b"),
        Event(3, 4, "c"),
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["one", "nan", "-1", "2 1 name"])
def test_a_line_that_is_no_event_is_named(tmp_path, line):
    (tmp_path / "x.txt").write_text(f"0.5\n{line}\n")
    with pytest.raises(ValueError, match=rf"x\.txt: line 2 is no event: '{line}'; lines are sec"):
        read_events(tmp_path / "x.txt")


def test_an_onset_is_in_the_nearest_frame_and_its_neighbours_count_less(folder):
    corpus = events(folder, label="onset", neighbours=0.25, include=["a"])
    framed = corpus.in_frames(10, 30, 20)
    found = framed.read(0, 985, 60)
    assert found["labels"].dtype == found["mixture"].dtype == np.float32
    # Frames at 985, 995, ... 1035: 1020 is nearest to 1015 or 1025, which are equally far.
    assert found["labels"][:, 0].tolist() in ([0, 0, 0.25, 1, 0.25, 0], [0, 0, 0, 0.25, 1, 0.25])
    places = np.arange(985 - 30, 985 + 5 * 10 + 20)
    np.testing.assert_allclose(found["mixture"][:, 0], (places + 1) / 4096, atol=1e-6)
    first = framed.read(0, 0, 200)
    np.testing.assert_array_equal(first["mixture"][:30], 0)
    np.testing.assert_array_equal(np.flatnonzero(first["labels"]), [9, 10, 11])
    beside = framed.read(0, 1030, 60)  # whose first frame is the last one's neighbour
    assert beside["labels"][0, 0] == 0.25
    plain = events(folder, label="onset", include=["a"]).frames(0, 0, 10, 20)
    np.testing.assert_array_equal(np.flatnonzero(plain), [10])


def test_what_lasts_is_in_the_frames_between_its_ends_and_in_one_at_least(folder):
    (folder / "a.onsets").write_text("0.1 0.13 long\n0.2 0.21 long\n0.314 0.316 short\n")
    corpus = events(folder, names=["long", "short"], include=["a"])
    found = corpus.frames(0, 0, 10, 40)
    np.testing.assert_array_equal(np.flatnonzero(found[:, 0]), [10, 11, 12, 20])
    np.testing.assert_array_equal(np.flatnonzero(found[:, 1]), [31])  # in no frame but beside one


def test_windows_have_each_frame_of_a_recording_once(folder):
    framed = events(folder, label="onset", include=["a"]).in_frames(10, 30, 20)
    windows = data.Windows(framed, samples=250)
    labels = np.concatenate([windows.example(k)["labels"] for k in range(len(windows))])
    np.testing.assert_array_equal(np.flatnonzero(labels), [10, 102, 299])
    examples = data.Examples(framed, samples=250, seed=1)
    assert {len(examples.example(k)["labels"]) for k in range(3)} == {25}


def test_a_rendered_corpus_a_folder_and_a_table_read_the_same(folder):
    assert events(folder, include=["b"]).labels == ("bass", "drums")
    assert events(folder, names=["onset"], include=["a"]).labels == ("onset",)
    track = folder / "corpus" / "train" / "song"
    track.mkdir(parents=True)
    for stem in ("mixture", "drums"):
        (track / f"{stem}.flac").write_bytes((folder / "b.flac").read_bytes())
    (track / "onsets.csv").write_bytes((folder / "b.csv").read_bytes())
    (folder / "table.csv").write_text("file,events\nb.flac,b.csv\n")
    names = {"corpus": "train/song", "table.csv": "b"}
    for place, name in names.items():
        corpus = data.open_corpus("events", path=str(folder / place), names=["drums"])
        assert [track for track, _ in corpus.tracks] == [name]
        np.testing.assert_array_equal(np.flatnonzero(corpus.frames(0, 0, 10, 100)), [50])


def test_what_says_nothing_of_times_is_refused(folder):
    with pytest.raises(
        ValueError, match=r"a\.onsets: has events without a name; give label, or one"
    ):
        events(folder)
    with pytest.raises(ValueError, match="no event is called horns; there are bass, drums: give l"):
        events(folder, names=["horns"], include=["b"])
    with pytest.raises(ValueError, match=r"neighbours must be 0 to 1; got 2"):
        events(folder, label="onset", neighbours=2)
    (folder / "b.csv").unlink()
    with pytest.raises(ValueError, match=r"1 recordings, such as .*b.flac, need a text of events"):
        events(folder, label="onset")
    (folder / "table.csv").write_text("file,events\nb.flac,b.csv\n")
    with pytest.raises(ValueError, match=r"table.csv: 1 files are not there, such as .*b.csv"):
        events(folder / "table.csv")
    (folder / "table.csv").write_text("file,tags\nb.flac,b.csv\n")
    with pytest.raises(ValueError, match="a table needs the columns file and events"):
        events(folder / "table.csv")
    with pytest.raises(ValueError, match="nowhere: is not there; a folder of recordings with"):
        events(folder / "nowhere")


def test_identity_follows_the_times(folder):
    before = events(folder, label="onset").identity(0)
    assert events(folder, label="onset").identity(0) == before
    (folder / "a.onsets").write_text("0.1\n1.03\n2.991\n")
    assert events(folder, label="onset").identity(0) != before
