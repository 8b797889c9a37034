"""Sound of presets: from nothing, from a recording, by conditions; what cannot be drawn is said."""

import dataclasses

import keras
import numpy as np
import pytest
import soundfile

import kzoo
from kzoo import audio, models, presets
from kzoo.cli.app import main
from kzoo.generation import composing
from kzoo.generation.composing import Composer, Stillness, conditions_of, prime_of
from kzoo.models.wavenet import VARIANTS

mido = pytest.importorskip("mido", reason="pip install mido")

RATE = 8000
PLAYED = {"conditions": "controls", "hop_length": 8, "variant": "tiny"}


def save(folder, **options):
    keras.utils.set_random_seed(0)
    card = {
        "name": folder.name, "task": "generation", "sample_rate": RATE,
        "model": {"name": "wavenet", "options": options}, "trained": "here",
    }  # fmt: skip
    return presets.save_to_preset(models.build("wavenet", **options), folder, card)


def write_midi(path, notes):
    """notes: (onset, offset, pitch, channel); a second is a thousand ticks."""
    track, at = mido.MidiTrack(), 0
    events = [(time, kind, *rest) for on, off, *rest in notes
              for time, kind in ((on, "note_on"), (off, "note_off"))]  # fmt: skip
    for seconds, kind, pitch, channel in sorted(events):
        tick = round(seconds * 1000)
        track.append(mido.Message(kind, note=pitch, channel=channel, time=tick - at))
        at = tick
    mido.MidiFile(ticks_per_beat=500, tracks=[track]).save(path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("generators")
    save(root / "free", variant="tiny")
    save(root / "played", **PLAYED)
    save(root / "noted", **PLAYED | {"conditions": "piano_roll"})
    write_midi(root / "tune.mid", [(0, 0.05, 60, 0), (0.03, 0.1, 64, 0), (0, 0.2, 38, 9)])
    rows = [f"{k / 100},{220 + k},{-20}" for k in range(11)]  # 0.1 s
    (root / "melody.csv").write_text("time,f0_hz,loudness_db\n" + "\n".join(rows))
    sound = 0.3 * np.sin(np.arange(2000) / 5)[:, None] * [1.0, 0.5]
    soundfile.write(root / "prime.flac", sound, 2 * RATE)
    soundfile.write(root / "short.wav", np.zeros(10), RATE)
    return root


def command(*words, capsys):
    import sys

    argv, sys.argv = sys.argv, ["kzoo", "generate", *map(str, words)]
    try:
        main()
        status = 0
    except SystemExit as error:
        status = error.code
    finally:
        sys.argv = argv
    return status, capsys.readouterr().err


def test_the_verb_writes_what_the_function_gives(folders, tmp_path, capsys):
    words = ("-p", folders / "free", "--seconds", "0.1", "--seed", "3", "--voices", "2",
             "-o", tmp_path / "a.wav", "--bit-depth", "float32")  # fmt: skip
    status, told = command(*words, capsys=capsys)
    assert status in (0, None)
    assert "0.1 s" in told
    assert "times as fast as it sounds" in told
    sound, rate = kzoo.generate(folders / "free", 0.1, seed=3, voices=2)
    assert (sound.shape, rate) == ((800, 2), RATE)
    for voice, name in enumerate(("a_1.wav", "a_2.wav")):
        written, _ = soundfile.read(tmp_path / name, dtype="float32")
        np.testing.assert_array_equal(written, sound[:, voice])


def test_a_condition_gives_the_length_and_the_prime_is_a_part_of_it(folders):
    composer = Composer(folders / "played")
    sound = composer(condition=folders / "melody.csv")
    assert sound.shape == (808,)  # 101 frames of 8: from 0 s to 0.1 s, both told of
    soundfile.write(folders / "begun.wav", sound[:400], RATE, subtype="FLOAT")
    rest = composer(condition=folders / "melody.csv", prime=folders / "begun.wav")
    assert rest.shape == (408,)


def test_controls_of_a_file_are_frames_of_pitch_and_loudness(folders):
    size = dataclasses.replace(VARIANTS["tiny"], conditions="controls", hop_length=80)
    known = conditions_of(size, folders / "melody.csv")
    np.testing.assert_allclose(known["f0_hz"][0, :, 0], 220 + np.arange(11), rtol=1e-5)
    np.testing.assert_allclose(known["loudness_db"], -20)


def test_a_prime_of_another_rate_and_two_channels_is_brought_to_the_model(folders):
    size = VARIANTS["tiny"]
    heard = prime_of(folders / "prime.flac", size)
    assert heard.shape == (size.receptive_field,)
    whole = kzoo.generate(folders / "free", 0.01, prime=folders / "prime.flac")[0]
    assert np.any(whole != kzoo.generate(folders / "free", 0.01)[0])


@pytest.mark.parametrize(
    ("preset", "words", "said"),
    [
        ("free", ("--prime", "short.wav"), "what the network hears, 16 samples"),
        ("free", ("--condition", "melody.csv"), "the model takes no condition"),
        ("free", ("--speaker", "bach"), "has one voice and no names"),
        ("free", ("--seconds", "0"), "seconds must be above 0; got 0"),
        ("free", ("--top-k", "99"), "top_k must be 1 to 16 codes; got 99"),
        ("free", ("--prime", "nothing.wav"), "nothing.wav"),
        ("played", (), "name a file of them as its condition"),
        ("played", ("--condition", "melody.csv", "--seconds", "1"), "f0_hz ends after 0.10 s"),
        ("played", ("--condition", "prime.flac"), "prime.flac"),
        ("noted", (), "the model plays the notes of a MIDI file (.mid): name a file"),
        ("noted", ("--condition", "melody.csv"), "melody.csv: is no MIDI file"),
        ("noted", ("--condition", "nothing.mid"), "nothing.mid: there is no such file"),
        ("noted", ("--condition", "tune.mid", "--seconds", "1"), "piano_roll ends after 0.10 s"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_and_writes_nothing(
    preset, words, said, folders, tmp_path, capsys
):
    words = [folders / word if "." in word and word[0].isalpha() else word for word in words]
    status, told = command("-p", folders / preset, "-o", tmp_path / "a.wav", *words, capsys=capsys)
    assert status == 1
    assert said in told
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_preset_of_another_task_is_refused():
    with pytest.raises(presets.PresetError, match="its task is synthesis, and generation"):
        composing.generative("ddsp_violin")


def test_a_speaker_is_known_by_name_and_mel_bands_by_their_shape(tmp_path):
    size = dataclasses.replace(VARIANTS["tiny"], speakers=("a", "b"), conditions="mel", bands=3)
    np.save(tmp_path / "mel.npy", np.zeros((4, 3)))
    np.save(tmp_path / "wrong.npy", np.zeros((4, 2)))
    known = conditions_of(size, tmp_path / "mel.npy", "b")
    assert known["mel"].shape == (1, 4, 3)
    assert known["speaker"].tolist() == [[1]]
    with pytest.raises(ValueError, match=r"\[frames, 3\]; got \[4, 2\]"):
        conditions_of(size, tmp_path / "wrong.npy", "a")
    with pytest.raises(ValueError, match="no speaker of the model is called 'c'"):
        conditions_of(size, tmp_path / "mel.npy", "c")
    with pytest.raises(ValueError, match="name a speaker of the model: a, b"):
        conditions_of(size, tmp_path / "mel.npy")


def test_a_vocoder_plays_the_levels_that_it_makes_of_a_recording(folders, tmp_path):
    options = {"variant": "tiny", "conditions": "mel", "bands": 3, "hop_length": 16, "n_fft": 64}
    save(tmp_path / "vocoder", **options)
    composer = Composer(tmp_path / "vocoder")
    sound = composer(condition=folders / "prime.flac")
    assert sound.shape == (1008,)  # 1000 samples at its rate, in whole frames
    half, _ = audio.read(folders / "prime.flac", sample_rate=RATE)
    np.save(tmp_path / "levels.npy", composer.size.levels_of(half.mean(axis=1)))
    np.testing.assert_array_equal(composer(condition=tmp_path / "levels.npy"), sound)
    louder = 2 * half
    soundfile.write(tmp_path / "louder.wav", louder, RATE, subtype="FLOAT")
    assert np.any(composer(condition=tmp_path / "louder.wav") != sound)
    other = dataclasses.replace(composer.size, mel="other")
    with pytest.raises(ValueError, match="by the program that it comes from"):
        conditions_of(other, folders / "prime.flac")


def test_notes_of_midi_are_played_until_the_last_ends(folders, tmp_path):
    sound = Composer(folders / "noted")(condition=folders / "tune.mid")
    assert sound.shape == (800,)  # 0.1 s
    size = dataclasses.replace(VARIANTS["tiny"], conditions="piano_roll", hop_length=80)
    roll = conditions_of(size, folders / "tune.mid")["piano_roll"]
    assert roll.shape == (1, 10, 128)
    sounding = [np.flatnonzero(frame).tolist() for frame in roll[0]]
    assert sounding == [[60]] * 3 + [[60, 64]] * 2 + [[64]] * 5  # the snare is not among them
    write_midi(tmp_path / "other.mid", [(0, 0.05, 61, 0), (0.03, 0.1, 64, 0)])
    assert np.any(Composer(folders / "noted")(condition=tmp_path / "other.mid") != sound)
    write_midi(tmp_path / "drums.mid", [(0, 0.1, 38, 9)])
    with pytest.raises(ValueError, match="drums alone, and the model plays notes of a pitch"):
        conditions_of(size, tmp_path / "drums.mid")


def test_a_sound_that_stands_still_is_said_to_have_collapsed(rng):
    noise = rng.uniform(-0.1, 0.1, (1, 8000))
    for end, said in ((0.0, "to silence after 1.0"), (0.25, "to a constant, 0.250 after 1.0")):
        still = Stillness(RATE)
        still.hear(noise)
        still.hear(np.full((1, 3000), end))
        still.hear(np.full((1, 3000), end))
        [line] = still.lines()
        assert said in line
    still = Stillness(RATE, 2)
    still.hear(np.concatenate([noise, np.zeros((1, 8000))]))
    [line] = still.lines()
    assert line.startswith("voice 2 has collapsed to silence after 0.00 s")
