"""Frames of recordings of any length: pieces that equal the whole, and what is refused."""

import keras
import numpy as np
import pytest

from kzoo import config, listening, models, presets, tasks
from kzoo.data import events, labelled

RATE = 8000


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """A preset of the tiny onset detector, whose weights are random."""
    keras.utils.set_random_seed(3)
    card = {
        "name": "detector", "task": "listening", "sample_rate": RATE, "channels": 1,
        "trained": "not at all", "model": {"name": "onset_cnn", "options": {"variant": "tiny"}},
    }  # fmt: skip
    model = models.build("onset_cnn", variant="tiny")
    return presets.save_to_preset(model, tmp_path_factory.mktemp("detector") / "preset", card)


@pytest.fixture(scope="module")
def listener(detector):
    return listening.FrameListener(detector)


@pytest.fixture
def wave(rng):
    return (0.2 * rng.standard_normal((17_000, 1))).astype(np.float32)


def test_pieces_joined_are_the_whole(listener, detector, wave):
    found = listener(wave, RATE)
    whole = presets.from_preset(detector)(wave[None])
    assert found.probabilities.shape == (1 + 17_000 // 128, 2)
    np.testing.assert_allclose(found.probabilities, whole[0], atol=1e-5)
    np.testing.assert_allclose(found.times_seconds, np.arange(133) * 0.016)
    assert listener.frame_rate == 62.5


@pytest.mark.parametrize("block", [1, 997, 4000, 16_999])
def test_blocks_of_any_length_give_what_the_whole_gives(listener, wave, block):
    wave = wave[:3000] if block == 1 else wave
    parts = (wave[k : k + block] for k in range(0, len(wave), block))
    found = [np.concatenate(x) for x in zip(*listener.track(parts, RATE), strict=True)]
    for ours, theirs in zip(found, listener(wave, RATE), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_one_sample_and_other_rates_are_heard(listener, wave):
    assert len(listener(wave[:1], RATE).times_seconds) == 1
    stereo = np.repeat(wave, 2, axis=1)
    assert len(listener(stereo, 2 * RATE).times_seconds) == 1 + 8500 // 128


def test_a_listener_of_windows_and_one_of_frames_are_not_taken_for_each_other(detector, tmp_path):
    with pytest.raises(presets.PresetError, match="tells of frames, not of windows"):
        listening.Listener(detector)
    model = {"name": "choi", "options": {"variant": "tiny"}}
    card = {**presets.load_card(detector), "model": model}
    ear = presets.save_to_preset(models.build("choi", variant="tiny"), tmp_path / "ear", card)
    with pytest.raises(presets.PresetError, match="tells of windows, not of frames"):
        listening.FrameListener(ear)


def test_a_corpus_must_say_of_frames_what_the_model_does(tmp_path, wave):
    import soundfile

    (tmp_path / "low").mkdir()
    soundfile.write(tmp_path / "low" / "x.wav", wave, RATE)
    (tmp_path / "low" / "x.txt").write_text("0.5\n")
    timed = events.events(tmp_path / "low", label="low")
    whole = labelled.labelled(tmp_path)
    for name, names, corpus, message in (
        ("onset_cnn", ["low"], whole, "knows whole recordings alone; the model tells of each fra"),
        ("choi", ["low"], timed, "knows when its labels are heard; the model does not"),
        ("onset_cnn", ["high"], timed, "has the labels low, the model high"),
    ):
        size = models.sizes(name, variant="tiny", names=names)
        task = tasks.Listening(models.build(name, size, **size.block()), {}, size)
        with pytest.raises(ValueError, match=message):
            task.check(corpus, "data.train", "a kind")
    with pytest.raises(config.ConfigError, match=r"data\.steps vary sources"):
        task.examples(timed, seed=0, steps=[1], conditions=None)
