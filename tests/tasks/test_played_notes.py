"""Training of networks that play notes: of what is told beside the sound, and what cannot be."""

import numpy as np
import pytest
from made_rendered import write_track

from kzoo import data, models, presets
from kzoo.deploy.examples import samples_proof
from kzoo.tasks import task
from kzoo.training import train

RATE = 8000
MODEL = {
    "variant": "tiny", "conditions": "piano_roll", "hop_length": 16, "block_seconds": 0.024,
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """0.1 s with a bass and, later, two notes of a piano at once."""
    root = tmp_path_factory.mktemp("notes")
    notes = [(0, 0.05, 33, "bass"), (0.031, 0.06, 60, "piano"), (0.031, 0.1, 64, "piano")]
    for subset in ("train", "validation"):
        write_track(root / subset / "song_0", notes, rate=RATE, seconds=0.1)
    return {"kind": "rendered", "path": str(root)}


def test_the_notes_of_an_example_are_those_of_its_sound(corpus):
    size = models.sizes("wavenet", **MODEL)
    model = models.build("wavenet", **MODEL, samples=192)
    examples = task("generation")(model, {}, size).windows(data.open_corpus(**corpus))
    example = examples.example(1)  # from 0.024 s on, in frames of 2 ms
    assert example["past"].shape == (192, 1)
    assert example["piano_roll"].shape == (12, 128)
    sounding = [np.flatnonzero(frame).tolist() for frame in example["piano_roll"]]
    assert sounding == [[33]] * 3 + [[33, 60, 64]] * 9
    sounding = [np.flatnonzero(frame).tolist() for frame in examples.example(2)["piano_roll"]]
    assert sounding == [[33, 60, 64]] + [[60, 64]] * 5 + [[64]] * 6


def trained(corpus, folder, options=MODEL, **validation):
    settings = {
        "name": "player", "model": {"name": "wavenet", **options},
        "data": {"train": corpus, "validation": {**corpus, **validation}},
        "loss": {"name": "code_cross_entropy"},
        "fit": {"batch_size": 2, "epochs": 1, "steps_per_epoch": 2},
    }  # fmt: skip
    return train(settings, folder, say=lambda line: None)


def test_a_player_of_notes_trains_on_rendered_tracks(corpus, tmp_path, eagerly):
    preset = presets.open_preset(trained(corpus, tmp_path / "run", subset="validation"))
    size, _ = preset.sizes()
    assert (size.conditions, size.frame_samples) == ("piano_roll", 16)
    kernel = presets.from_preset(preset).get_layer("block1_frames").kernel
    assert kernel.shape == (128, 10)


def test_a_corpus_without_notes_is_refused(corpus, tmp_path):
    folder = next(iter(data.open_corpus(**corpus).files)).parent.parent
    labelled = {"kind": "labelled", "path": str(folder)}
    with pytest.raises(ValueError, match="of the kind labelled and has no notes, which the model"):
        trained(labelled, tmp_path / "run")


def test_a_pitch_that_midi_does_not_have_is_refused(tmp_path):
    write_track(tmp_path / "train" / "song_0", [(0, 1, 128, "bass")], rate=RATE)
    with pytest.raises(ValueError, match=r"notes\.csv: pitches are 0 to 127; got 128"):
        data.open_corpus("rendered", path=str(tmp_path))


def test_speakers_are_refused_as_rendered_tracks_do_not_tell_who_plays(corpus, tmp_path):
    options = {**MODEL, "speakers": ["bass", "piano"]}
    with pytest.raises(ValueError, match="leave the speakers of a model that plays notes out"):
        trained(corpus, tmp_path / "run", options)


def test_what_a_file_is_proven_with_has_notes():
    size = models.sizes("wavenet", **MODEL)
    proof = samples_proof(models.build("wavenet", **MODEL, samples=192), size)
    roll = proof.inputs["piano_roll"]
    assert roll.shape == (1, 12, 128)
    assert set(np.unique(roll)) == {0, 1}
