"""The program that teaches a narrow U-Net by a wide one, `configs/separation/distilled.py`."""

import dataclasses
import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from kzoo import config, presets
from kzoo.dsp.stft import magnitude, stft
from kzoo.models import unet

PROGRAM = Path(__file__).parents[2] / "configs" / "separation" / "distilled.py"
WIDE = dataclasses.replace(
    unet.VARIANTS["spleeter"], filters=(4, 6), dropout_levels=(0,), sample_rate=8000, frames=32,
    bins=64, n_fft=256, hop_length=64,
)  # fmt: skip
NARROW = dataclasses.replace(WIDE, filters=(2, 3), frames=16, residual=True)


@pytest.fixture(scope="module")
def distilled():
    """Load the program as a module."""
    spec = importlib.util.spec_from_file_location("distilled", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sounds(tmp_path):
    """One folder of each kind, a second group of voices that is mono and of another rate."""
    draw = np.random.default_rng(0)
    for name, rate, channels in (
        ("songs/a/1.wav", 4000, 2),
        ("music/b/1.wav", 4000, 2),
        ("voices/c/1.wav", 4000, 1),
        ("voices/d/1.wav", 8000, 1),
    ):
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True)
        soundfile.write(path, draw.uniform(-0.3, 0.3, (2 * rate, channels)), rate, "FLOAT")
    return tmp_path / "sounds"


def test_sounds_are_heard_as_the_transform_at_the_whole_rate_hears_them(distilled):
    time = np.arange(8000) / 4000
    tone = 0.2 * np.sin(2 * np.pi * 300 * time)
    held = np.round(np.stack([tone, tone / 2], -1) * 32768).astype("int16")
    mixtures = distilled.Mixtures(held, WIDE)
    level = float(20 * np.log10(np.sqrt(np.mean(np.square(held[100:2300] / 32768)))))
    found = mixtures(
        starts=np.array([[100, 0]], "int32"),
        speeds=np.array([[64, 64]], "int32"),
        levels=np.array([[[level] * 2, [distilled.SILENCE_DB] * 2]], "float32"),
        tones=np.zeros((1, 2, len(distilled.TONES)), "float32"),
    )
    whole = 0.2 * np.sin(2 * np.pi * 300 * (np.arange(2 * mixtures.samples) / 8000 + 100.5 / 4000))
    wanted = magnitude(*stft(whole[None].astype("float32"), 256, 64, padding="valid"))
    assert found.shape == (1, 32, 64, 2)
    # The tone begins half a sample elsewhere at each rate, which no magnitude of its bins shows.
    loud = np.asarray(wanted)[0, :32, 8:12]
    np.testing.assert_allclose(np.asarray(found)[0, :, 8:12, 0], loud, rtol=0.02)
    np.testing.assert_allclose(np.asarray(found)[0, :, 8:12, 1], loud / 2, rtol=0.02)


def test_a_speed_moves_the_pitch_by_it(distilled):
    tone = 0.2 * np.sin(2 * np.pi * 500 * np.arange(8000) / 4000)
    held = np.round(np.stack([tone, tone], -1) * 32767).astype("int16")
    mixtures = distilled.Mixtures(held, WIDE)
    peaks = []
    for speed in (48, 64, 80):
        found = mixtures(
            starts=np.full((1, 2), 50, "int32"),
            speeds=np.array([[speed, 64]], "int32"),
            levels=np.array([[[-20.0] * 2, [distilled.SILENCE_DB] * 2]], "float32"),
            tones=np.zeros((1, 2, len(distilled.TONES)), "float32"),
        )
        peaks.append(int(np.asarray(found)[0, 5, :, 0].argmax()))
    assert peaks == [12, 16, 20]


def test_draws_stay_within_a_folder_and_come_out_again_by_their_number(distilled, sounds):
    held, spans = distilled._read(sounds, 4000)
    assert held.shape == (4 * 8000, 2)
    assert spans == {
        "songs": [(0, 8000)], "music": [(8000, 16000)], "voices": [(16000, 24000), (24000, 32000)]
    }  # fmt: skip
    samples = 2000
    draws = distilled.Draws(spans, samples, 50)
    drawn = [draws[step][0] for step in range(50)]
    again = distilled.Draws(spans, samples, 50)[7][0]
    assert all(np.array_equal(again[name], drawn[7][name]) for name in again)
    songs = kinds = 0
    for one in drawn:
        ends = one["starts"] + samples * one["speeds"] // 64 + 4
        alone = one["levels"][:, 1, 0] < -100
        begin = one["starts"][:, 0]
        assert ((begin < 8000) <= alone).all()
        assert (begin // 8000 == (ends[:, 0] - 1) // 8000).all()
        voices = one["starts"][~alone, 1]
        assert (voices >= 16000).all()
        assert (voices // 8000 == (ends[~alone, 1] - 1) // 8000).all()
        songs += int((begin < 8000).sum())
        kinds += len(begin)
    assert 0.4 < songs / kinds < 0.6


def test_a_student_that_says_what_the_teacher_says_has_no_loss(distilled):
    teacher = unet.core(size=dataclasses.replace(NARROW, residual=False, masks="softmax"))
    halves = keras.Model(teacher.input, 0.0 * teacher.output + teacher.input[:, None] / 2.0)
    student = unet.core(size=NARROW)
    even = keras.Model(student.input, 0.0 * student.output + student.input[:, None] / 2.0)
    distance = distilled.Distance(halves, even)
    mixture = np.random.default_rng(0).uniform(0, 1, (2, 16, 64, 2)).astype("float32")
    np.testing.assert_allclose(np.asarray(distance(mixture)), 0.0, atol=1e-6)
    all_of_it = keras.ops.stack([student.input, 0.0 * student.input], axis=1)
    other = distilled.Distance(halves, keras.Model(student.input, 0.0 * student.output + all_of_it))
    # Half of the mixture is missed before the ratio and half of it after.
    np.testing.assert_allclose(np.asarray(other(mixture)), 1.0, rtol=0.01)


@pytest.mark.slow
def test_it_writes_a_preset_that_is_nearer_to_its_teacher(distilled, sounds, tmp_path, monkeypatch):
    def write(name, size, trained):
        model = unet.core(size=size)
        options = {"sources": list(unet.SOURCES), **config.plain(dataclasses.asdict(size))}
        card = {
            "name": name, "task": "music separation", "sources": list(unet.SOURCES),
            "sample_rate": 8000, "channels": 2, "licences": {"weights": "none"}, "trained": trained,
            "model": {"name": "unet", "options": options},
        }  # fmt: skip
        return str(presets.save_to_preset(model, tmp_path / name, card))

    keras.utils.set_random_seed(1)
    teacher, student = write("wide", WIDE, "made"), write("narrow", NARROW, "not yet")
    monkeypatch.setattr(distilled, "BATCH", 4)
    distilled.main(str(sounds), teacher, student, "40", str(tmp_path / "out"))
    cards = [presets.open_preset(tmp_path / f"out{end}").card for end in ("-1", "-2", "-3", "")]
    assert [card["trained"]["steps"] for card in cards] == [10, 20, 30, 40]
    assert cards[-1]["trained"]["loss"] < cards[0]["trained"]["loss"]
    before = presets.open_preset(student).weights()
    after = presets.open_preset(tmp_path / "out").weights()
    assert all(np.isfinite(after[name]).all() for name in after)
    assert not np.allclose(before["vocals_down1_conv/kernel"], after["vocals_down1_conv/kernel"])
    assert np.array_equal(
        before["vocals_down1_norm/moving_mean"], after["vocals_down1_norm/moving_mean"]
    )
