"""`kzoo translate` as its users meet it: any file, and mistakes in one line."""

import sys

import keras
import numpy as np
import pytest
import soundfile

from kzoo import cli, models, presets

RATE = 8000


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = models.build("music_translation", variant="tiny")
    card = {
        "task": "translation", "domains": ["a", "b", "c"], "sample_rate": RATE, "channels": 1,
        "trained": "not at all: random weights from a seed",
        "model": {"name": "music_translation", "options": {"variant": "tiny"}},
    }  # fmt: skip
    return presets.save_to_preset(model, tmp_path_factory.mktemp("presets") / "three", card)


@pytest.fixture
def run(monkeypatch, capfd, tmp_path, preset):
    """Run `kzoo translate WORDS...` in an empty folder; returns (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", "translate", *map(str, words), "-p", str(preset)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capfd.readouterr().err

    return call


def sound(path, seconds=0.2, rate=RATE, channels=1):
    rng = np.random.default_rng(0)
    soundfile.write(path, rng.uniform(-0.5, 0.5, (round(seconds * rate), channels)), rate)
    return path


def test_files_of_every_kind_become_sounds_of_their_length_and_one_bad_file_loses_none(
    run, tmp_path
):
    one, two = sound(tmp_path / "one.wav"), sound(tmp_path / "two.flac", 0.1, 44100, 2)
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    status, err = run(one, bad, two, "--to", "b", "-o", "made", "--plot")
    assert status == 1
    assert err.count("bad.wav") == 1
    for name, samples in (("one", 1600), ("two", 800)):
        found, rate = soundfile.read(tmp_path / "made" / f"{name}.wav")
        assert (rate, found.shape) == (RATE, (samples,))
        assert (tmp_path / "made" / f"{name}.png").stat().st_size > 5000
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [
        "one.png", "one.wav", "two.png", "two.wav",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "harp"), "no domain of preset .* is called 'harp'.*a, b, c"),
        (("--to", "a", "-o", "-", "--plot"), "stdout takes the sound of one recording"),
        (("--to", "a", "--start", "9"), "9"),
        (("--to", "a", "--format", "wma"), "wma"),
    ],
)
def test_a_mistake_is_one_line(run, tmp_path, words, said):
    status, err = run(sound(tmp_path / "one.wav"), *words)
    assert status == 1
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()
    import re

    assert re.search(said, err)


def test_a_sound_that_stands_still_is_said(run, tmp_path, monkeypatch):
    from kzoo.generation.translation import Translator

    def still(self, blocks, sample_rate, **_):
        for block in blocks:
            yield np.full(len(block), 0.25, np.float32)

    monkeypatch.setattr(Translator, "stream", still)
    status, err = run(sound(tmp_path / "one.wav"), "--to", "b")
    assert status == 0
    assert "silence, or one value" in err
