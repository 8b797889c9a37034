"""Sound from MIDI: its truth is measured in the sound, and the same files are written each time."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from kzoo import cli, data

mido = pytest.importorskip("mido", reason="pip install mido")

from kzoo.data import midi  # noqa: E402
from kzoo.data.midi import playing, score  # noqa: E402

RATE = 16000
BASS = [(1.0, 1.4, 40), (1.5, 1.9, 43), (2.0, 2.9, 45)]  # seconds at 120 beats a minute
SNARES = [0.5, 1.0, 1.75, 2.5]


@pytest.fixture(scope="session")
def soundfont():
    """The smallest soundfont of this machine, for speed."""
    if shutil.which("fluidsynth") is None:
        pytest.skip("needs fluidsynth: apt-get install fluidsynth timgm6mb-soundfont")
    fonts = [p for place in playing._PLACES for p in Path(place).expanduser().glob("*.sf2")]
    if not fonts:
        pytest.skip("needs a soundfont: apt-get install timgm6mb-soundfont")
    return min(fonts, key=lambda path: path.stat().st_size)


def write(path, tracks, *, ticks=480):
    """A MIDI file of tracks of (seconds at 120 beats a minute, message)."""
    file = mido.MidiFile(ticks_per_beat=ticks)
    for events in tracks:
        track, last = mido.MidiTrack(), 0
        for seconds, message in sorted(events, key=lambda event: event[0]):
            tick = round(seconds * 2 * ticks)
            track.append(message.copy(time=tick - last))
            last = tick
        file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


def note(channel, start, end, pitch, velocity=100):
    key = {"channel": channel, "note": pitch}
    return [(start, mido.Message("note_on", velocity=velocity, **key)),
            (end, mido.Message("note_off", **key))]  # fmt: skip


def song(path, *, stretch=1.0):
    """Snares and a bass, the last note of which is bent up by a semitone at 2.4 s."""
    bass = [event for start, end, pitch in BASS for event in note(2, start, end, pitch)]
    bass += [(0.0, mido.Message("program_change", channel=2, program=33)),
             (2.4, mido.Message("pitchwheel", channel=2, pitch=4096))]  # fmt: skip
    drums = [event for start in SNARES for event in note(9, start, start + 0.1, 38)]
    tempo = [(0.0, mido.MetaMessage("set_tempo", tempo=round(500_000 * stretch)))]
    return write(path, [tempo, drums, bass])


def control(channel, number, value):
    return mido.Message("control_change", channel=channel, control=number, value=value)


def test_tempo_pedal_and_ends_of_notes_are_in_the_truth(tmp_path):
    tempo = [(1.0, mido.MetaMessage("set_tempo", tempo=1_000_000)),
             (0.0, mido.MetaMessage("time_signature", numerator=3, denominator=4))]  # fmt: skip
    piano = [
        *note(0, 0.5, 0.75, 60), *note(0, 0.5, 2.0, 60 + 4), (0.6, control(0, 64, 127)),
        (1.5, control(0, 64, 0)), (1.75, mido.Message("note_on", channel=0, note=67, velocity=90)),
        (2.5, mido.MetaMessage("marker", text="end")),
    ]  # fmt: skip
    quiet = [(0.0, control(1, 7, 0)), *note(1, 0.5, 1.0, 50)]
    found = score.read(write(tmp_path / "a.mid", [tempo, piano, quiet]))
    # Half as fast from 1 s on: 1.5 is heard at 2.0, 1.75 at 2.5, 2.0 at 3.0, the end at 4.0.
    assert [(n.pitch, n.onset_seconds, n.offset_seconds) for n in found.notes] == [
        (60, 0.5, 2.0), (64, 0.5, 3.0), (67, 2.5, 4.0),
    ]  # fmt: skip
    beats = [(b.seconds, b.position) for b in found.beats]
    assert beats == [(0.0, 1), (0.5, 2), (1.0, 3), (2.0, 1), (3.0, 2)]


def test_bends_take_their_range_and_the_tunings_of_the_channel(tmp_path):
    events = [
        *((0.0, control(0, number, value)) for number, value in ((101, 0), (100, 0), (6, 12))),
        (0.2, mido.Message("pitchwheel", channel=0, pitch=4096)),
        *((0.4, control(0, number, value)) for number, value in ((101, 0), (100, 2), (6, 67))),
        (0.6, control(0, 121, 0)), *note(0, 0.0, 1.0, 60),
    ]  # fmt: skip
    found = score.read(write(tmp_path / "a.mid", [events]))
    times = np.array([0.1, 0.3, 0.5, 0.7])
    np.testing.assert_allclose(found.bend_at(0, times), [0, 6, 9, 3], atol=1e-9)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory, soundfont):
    """{name: (folder of the one track of `song`, its truth)}: as written, and changed."""
    root = tmp_path_factory.mktemp("midi")
    path = song(root / "song.mid")
    changed = midi.Changes(tempo=(0.8, 0.8), transpose=(3, 3), programs=0.0, gain_db=(-2, 2),
                           reverb_seconds=(0.2, 0.2), direct_db=(20, 20))  # fmt: skip
    for name, changes in (("plain", midi.NONE), ("changed", changed)):
        midi.render(
            [path], root / name, soundfont=soundfont, sample_rate=RATE, changes=changes,
            shares=(1, 0, 0),
        )  # fmt: skip
    tracks = {name: root / name / "train" / "song_0" for name in ("plain", "changed")}
    return {name: (track, midi.read_truth(track)) for name, track in tracks.items()}


@pytest.mark.parametrize(("name", "factor"), [("plain", 1.0), ("changed", 1 / 0.8)])
def test_the_sound_begins_where_the_truth_says(corpora, name, factor):
    track, truth = corpora[name]
    onsets = truth.onsets_seconds("drums")
    np.testing.assert_allclose(onsets, np.array(SNARES) * factor, atol=1e-3)
    sound, _ = soundfile.read(track / "drums.flac")
    level = np.abs(sound).max(axis=1)
    for onset in onsets:
        before = level[: round(onset * RATE)][-round(0.02 * RATE) :].max(initial=0)
        after = level[round(onset * RATE) :][: round(0.02 * RATE)].max()
        assert after > 0.1
        assert after > 3 * before
    first = np.flatnonzero(level > 0.1 * level.max())[0] / RATE
    assert abs(first - onsets[0]) < 0.01


@pytest.mark.parametrize(("name", "semitones"), [("plain", 0), ("changed", 3)])
def test_the_f0_is_that_of_the_sound_with_its_bends(corpora, name, semitones):
    librosa = pytest.importorskip("librosa", reason="pip install librosa")
    track, truth = corpora[name]
    assert [n.pitch for n in truth.notes("bass")] == [p + semitones for *_, p in BASS]
    f0_hz, times = truth.f0_hz["bass"], truth.frames_seconds
    assert "drums" not in truth.f0_hz
    sound, _ = soundfile.read(track / "bass.flac")
    found, voiced, _ = librosa.pyin(
        sound.mean(axis=1), fmin=60, fmax=200, sr=RATE, hop_length=RATE // 100, frame_length=2048
    )
    frames = min(len(found), len(f0_hz))
    steady = [
        k for k in range(12, frames - 12)  # as far from any change as pYIN's frame reaches
        if voiced[k] and f0_hz[k] > 0 and np.ptp(f0_hz[k - 12 : k + 12]) < 1e-9
    ]  # fmt: skip
    cents = 1200 * np.log2(found[steady] / f0_hz[steady])
    assert len(steady) > 50
    assert np.median(np.abs(cents)) < 20
    assert np.percentile(np.abs(cents), 90) < 20
    bent = f0_hz[np.searchsorted(times, truth.notes("bass")[-1].offset_seconds) - 2]
    assert 12 * np.log2(bent / 440) + 69 == pytest.approx(45 + semitones + 1, abs=0.01)


def test_stems_sum_to_the_mixture_to_the_last_bit_and_are_a_corpus(corpora):
    for track, truth in corpora.values():
        stems = {p.stem: soundfile.read(p, dtype="int32")[0] for p in track.glob("*.flac")}
        mixture = stems.pop("mixture").astype(np.int64)
        assert sorted(stems) == sorted(truth.instruments) == ["bass", "drums"]
        assert (sum(stem.astype(np.int64) for stem in stems.values()) == mixture).all()
        loudest = max(np.abs(sound).max() for sound in (mixture, *stems.values())) / 2**31
        assert loudest == pytest.approx(10 ** (-1 / 20), abs=1e-3)
        end = truth.notes()[-1].offset_seconds
        assert len(mixture) / RATE > end + 0.05  # the release is kept
        corpus = data.open_corpus("stems", path=str(track.parents[1]))
        assert corpus.tracks == [("song_0", len(mixture))]
        assert truth.instruments == {
            "drums": ["standard_drums"], "bass": ["electric_bass_finger"],
        }  # fmt: skip


def test_what_sounds_at_another_pitch_than_its_number_has_no_f0(tmp_path, soundfont):
    events = [(0.0, mido.Message("program_change", channel=channel, program=program))
              for channel, program in ((0, 9), (1, 24), (2, 40))]  # fmt: skip
    for channel in range(3):
        events += note(channel, 0.5, 0.7, 60)
    events += note(2, 0.6, 0.9, 64)  # two at a time
    midi.render(
        [write(tmp_path / "a.mid", [events])], tmp_path / "out", soundfont=soundfont,
        sample_rate=8000, shares=(1, 0, 0), changes=midi.NONE,
    )  # fmt: skip
    truth = midi.read_truth(tmp_path / "out" / "train" / "a_0")
    assert sorted(truth.instruments) == ["chromatic_percussion", "guitar", "strings"]
    assert list(truth.f0_hz) == ["guitar"]


def test_what_a_soundfont_does_not_play_is_in_no_truth(tmp_path, soundfont, monkeypatch):
    play = playing.play

    def without_drums(score, stem, *others):
        return play(score, stem, *others) * np.float32(stem != "drums")

    monkeypatch.setattr(playing, "play", without_drums)
    options = {"soundfont": soundfont, "sample_rate": 8000, "shares": (1, 0, 0)}
    midi.render([song(tmp_path / "a.mid")], tmp_path / "out", **options)
    truth = midi.read_truth(tmp_path / "out" / "train" / "a_0")
    assert list(truth.instruments) == list(truth.about["gain_db"]) == ["bass"]
    assert len(truth.notes()) == len(BASS)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")
            if p.is_file()}  # fmt: skip


def test_two_workers_and_a_run_that_goes_on_write_the_same(tmp_path, soundfont, monkeypatch):
    for number in range(3):
        song(tmp_path / "in" / f"{number}.mid", stretch=1 + 0.1 * number)
    options = {"soundfont": soundfont, "sample_rate": 8000, "versions": 2}
    one, two = tmp_path / "one", tmp_path / "two"
    monkeypatch.setattr(playing, "_TAIL_SECONDS", 2.0)
    midi.render([tmp_path / "in"], one, **options)
    calls, play = [], playing.play

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return play(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(playing, "play", interrupted)
        with pytest.raises(KeyboardInterrupt):
            midi.render([tmp_path / "in"], two, **options)
    kept = [p for p in two.glob("*/*") if p.is_dir()]
    assert 0 < len(kept) < 6
    assert not any(p.name.startswith(".") for p in kept)
    (two / "train" / ".0_0").mkdir(parents=True, exist_ok=True)  # what a kill leaves
    before = {p: (p / "mixture.flac").stat().st_mtime_ns for p in kept}
    rendered = midi.render([tmp_path / "in"], two, workers=2, **options)
    assert rendered.kept == len(kept)
    assert before == {p: (p / "mixture.flac").stat().st_mtime_ns for p in kept}
    assert contents(one) == contents(two)
    sides = {}
    for track in one.glob("*/*_?"):
        sides.setdefault(track.name[:-2], set()).add(track.parent.name)
    assert len(sides) == 3
    assert all(len(side) == 1 for side in sides.values())  # versions of a file stay together
    with pytest.raises(ValueError, match=r"tracks of other options \(seed\)"):
        midi.render([tmp_path / "in"], two, seed=1, **options)


@pytest.fixture
def run(capsys, monkeypatch):
    """The command line: `run("song.mid", ...)` to (status, stderr)."""

    def call(*words):
        monkeypatch.setattr("sys.argv", ["kzoo", "data", "render", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, capsys.readouterr().err

    return call


def test_a_damaged_file_is_one_line_and_the_others_go_on(tmp_path, soundfont, run):
    whole = song(tmp_path / "in" / "whole.mid").read_bytes()
    (tmp_path / "in" / "cut.mid").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in" / "text.mid").write_text("no music")
    write(tmp_path / "in" / "silent.mid", [[(0.0, control(0, 7, 100))]])
    status, err = run(tmp_path / "in", "-o", tmp_path / "out", "--soundfont", soundfont,
                      "--sample-rate", 8000, "--shares", 1, 0, 0)  # fmt: skip
    assert status == 1
    lines = err.splitlines()
    assert len(lines) == 4
    for name, words in (("cut", "damaged"), ("text", "is no MIDI"), ("silent", "no note")):
        assert sum(f"{name}.mid" in line and words in line for line in lines) == 1
    assert [p.name for p in (tmp_path / "out").glob("*/*")] == ["whole_0"]


def test_every_option_changes_what_is_rendered(tmp_path, soundfont, run, monkeypatch):
    """`tests/cli/test_every_option.py` leaves these to this test."""
    monkeypatch.setattr(playing, "_TAIL_SECONDS", 0.5)
    events = [*note(0, 0.0, 0.1, 60), *note(9, 0.0, 0.1, 38)]
    events.append((0.0, mido.Message("program_change", channel=0, program=24)))
    path = write(tmp_path / "a.mid", [events])
    waveforms, play = {}, playing.play

    def played_once(score, stem, soundfont, sample_rate, *others):
        key = repr((score, stem, sample_rate))
        if key not in waveforms:
            waveforms[key] = play(score, stem, soundfont, sample_rate, *others)
        return waveforms[key].copy()

    monkeypatch.setattr(playing, "play", played_once)
    plain = {
        "--soundfont": [soundfont], "--sample-rate": [8000], "--shares": [1, 0, 0],
        "--tempo": [1, 1], "--transpose": [0, 0], "--programs": [0], "--gain-db": [0, 0],
        "--reverb-seconds": [0.1, 0.1], "--direct-db": [6, 6], "--seed": [0], "--versions": [1],
    }  # fmt: skip
    changed = {
        "--sample-rate": [16000], "--shares": [0, 0, 1],
        "--tempo": [0.5, 0.5], "--transpose": [2, 2], "--programs": [1], "--gain-db": [-9, 9],
        "--reverb-seconds": [0, 0], "--direct-db": [20, 20], "--seed": [1], "--versions": [2],
    }  # fmt: skip

    def rendered(name, **others):
        words = [word for key, values in {**plain, **others}.items() for word in (key, *values)]
        status, err = run(path, "-o", tmp_path / name, *words)
        assert status == 0, err
        tracks = contents(tmp_path / name)
        tracks.pop("corpus.yaml")  # it repeats the options in any case, and so does the identity
        for place in [place for place in tracks if place.endswith("track.yaml")]:
            about = yaml.safe_load(tracks[place])
            tracks[place] = {k: v for k, v in about.items() if k != "identity"}
        return tracks, err

    base, err = rendered("base")
    assert "1 train, 0 validation, 0 test" in err
    for option, values in changed.items():
        assert rendered(option, **{option: values})[0] != base, option
    status, err = run(path, "-o", tmp_path / "none", "--soundfont", path)
    assert status == 1
    assert "is no soundfont" in err
    # Of the same files, sooner or in silence.
    assert rendered("jobs", **{"--jobs": [2]})[0] == base
    assert rendered("quiet", **{"--quiet": []}) == (base, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"versions": 0}, "versions must be at least 1; got 0"),
        ({"sample_rate": 100}, "sample_rate must be from 8000 to 96000 Hz; got 100"),
        ({"shares": (1, 1, 0)}, "shares must be three numbers that sum to one"),
        ({"soundfont": "here.sf2"}, r"here\.sf2: cannot be read"),
        ({"soundfont": __file__}, "is no soundfont"),
        ({"midi": ["nowhere"]}, "nowhere: there is no such file or folder"),
        ({"midi": []}, "no MIDI file is given"),
    ],
)
def test_what_cannot_be_rendered_is_said_at_once(tmp_path, options, message):
    options = {"midi": [song(tmp_path / "a.mid")], **options}
    with pytest.raises(ValueError, match=message):
        midi.render(options.pop("midi"), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tempo": (1.1, 0.9)}, "tempo must be two numbers .* got 1.1 and 0.9"),
        ({"programs": 2}, "programs must be a probability"),
    ],
)
def test_ranges_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        midi.Changes(**options)


def test_without_fluidsynth_the_way_to_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="fluidsynth is not on PATH: apt-get install fluidsynth"):
        playing.fluidsynth()
    monkeypatch.setattr(playing, "_PLACES", (str(tmp_path),))
    with pytest.raises(ValueError, match=r"there is no soundfont in .*--soundfont"):
        playing.open_soundfont()


def test_a_truth_that_is_none_is_said(corpora, tmp_path):
    track, _ = corpora["plain"]
    copy = tmp_path / "copy"
    shutil.copytree(track, copy)
    (copy / "notes.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match=r"notes\.csv: must be a table of onset_s, offset_s"):
        midi.read_truth(copy)
    with pytest.raises(ValueError, match=r"track\.yaml: cannot be read"):
        midi.read_truth(tmp_path)
