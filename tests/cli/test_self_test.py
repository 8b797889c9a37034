"""`kzoo doctor --test` runs what is here, and notices what comes out wrong."""

import re

import numpy as np
import pytest

from kzoo import api, listening
from kzoo.cli import self_test
from kzoo.cli.app import program
from kzoo.pitch_tracking import melody


def doctor():
    program("doctor")(["doctor", "--test"], standalone_mode=False)


@pytest.fixture
def gives(monkeypatch):
    """Let every separator make of a mixture what a function says."""

    def patch(separate):
        class Separator:
            @classmethod
            def from_preset(cls, name):
                return cls()

            def separate(self, mixture, sample_rate):
                return {"vocals": separate(mixture), "accompaniment": 0.5 * mixture}

        monkeypatch.setattr(api, "Separator", Separator)
        monkeypatch.setattr(self_test, "presets_here", lambda: ["unet_2stems_mobile"])

    return patch


def broken(mixture):
    raise ValueError("the weights are cut short")


@pytest.mark.parametrize(
    ("separate", "problem"),
    [
        (lambda mixture: mixture[:-1], r"vocals has the shape \(44099, 2\), not \(44100, 2\)"),
        (lambda mixture: mixture * np.nan, "vocals holds what is no number"),
        (lambda mixture: mixture.copy(), "vocals is the mixture as it was"),
        (broken, "the weights are cut short"),
    ],
)
def test_the_doctor_fails_a_preset_that_gives_something_wrong(gives, capsys, separate, problem):
    gives(separate)
    with pytest.raises(SystemExit) as error:
        doctor()
    assert error.value.code == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("unet_2stems_mobile music separation")
    assert re.search(f"FAILED: {problem}$", line)


def test_a_preset_that_gives_nothing_fails(gives):
    gives(lambda mixture: 0 * mixture)
    (found,) = self_test.run(["unet_2stems_mobile"])
    assert found.problem is None  # the other source is heard
    api.Separator.separate = lambda self, mixture, rate: {"vocals": 1e-6 * mixture}
    (found,) = self_test.run(["unet_2stems_mobile"])
    assert found.problem == "all that it gives is silent"


def test_presets_that_are_here_pass(monkeypatch, capsys):
    names = ["conv_tasnet_2speakers", "ddsp_violin", "onset_cnn"]
    monkeypatch.setattr(self_test, "presets_here", lambda: names)
    doctor()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all(line.endswith(" ok") for line in lines)


@pytest.mark.parametrize(("probabilities", "problem"), [
    (np.zeros((101, 2)), "has the shape (101, 2), not (101, 1)"),
    (np.full((101, 1), np.nan), "holds what is no probability"),
])  # fmt: skip
def test_a_listener_that_hears_no_probabilities_fails(monkeypatch, probabilities, problem):
    frames = listening.Frames(np.zeros(101), probabilities)
    monkeypatch.setattr(listening, "FrameListener", lambda name: lambda sound, rate: frames)
    (found,) = self_test.run(["onset_cnn"])
    assert found.problem == problem


def test_only_presets_with_weights_are_tried():
    assert {"gtcrn_speech", "ddsp_violin"} <= set(self_test.presets_here())


def test_a_tracker_of_melodies_is_tested_by_its_own_tracker(monkeypatch):
    class Tracker:
        frame_rate = 22050 / 256

        def __init__(self, preset):
            assert preset == "deep_salience_melody"

        def __call__(self, sound, rate):
            frames = np.zeros(1 + rate // 256)
            return melody.Melody(frames, frames + 220.0, frames + 0.9, frames[:, None])

    monkeypatch.setattr(melody, "MelodyTracker", Tracker)
    (found,) = self_test.run(["deep_salience_melody"])
    assert found.problem is None
