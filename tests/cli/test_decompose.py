"""`kzoo decompose`: parts that add up to the estimate, and mistakes that are one line."""

import sys
from pathlib import Path

import numpy as np
import pytest

from kzoo import audio, cli, metrics

RATE = 8000


@pytest.fixture
def kzoo(tmp_path, monkeypatch, capsys):
    """Run `kzoo decompose WORDS...` in a folder; (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", "decompose", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, capsys.readouterr().err

    return run


@pytest.fixture
def scene(kzoo, rng):
    """Files of two sources, a noise and an estimate, and what they hold."""
    sounds = dict(
        zip(("voice", "drums", "hiss"), 0.1 * rng.standard_normal((3, 4000, 2)), strict=True)
    )
    sounds["estimate"] = (
        sounds["voice"] + 0.2 * sounds["drums"] + 0.1 * sounds["hiss"] + 0.2 * sounds["voice"] ** 2
    )
    sounds = {name: sound.astype(np.float32) for name, sound in sounds.items()}
    for name, sound in sounds.items():
        audio.write(f"{name}.wav", sound, RATE, bit_depth="float32")
    return sounds


def test_parts_add_up_to_the_estimate_and_are_the_function_s(kzoo, scene):
    status, said = kzoo("estimate.wav", "voice.wav", "drums.wav", "--noise", "hiss.wav",
                        "-o", "out", "--taps", 8, "--no-plot")  # fmt: skip
    assert not status
    names = ("target", "interference", "noise", "artefacts")
    written = [audio.read(f"out/{name}.wav")[0] for name in names]
    np.testing.assert_allclose(sum(written), scene["estimate"], atol=1e-6)
    expected = metrics.decompose(
        np.stack([scene["voice"], scene["drums"]]), scene["estimate"], noise=scene["hiss"], taps=8
    )
    for name, part in zip(names, written, strict=True):
        np.testing.assert_allclose(part, getattr(expected, name), atol=1e-6)
    ratios = expected.ratios
    assert f"SDR {ratios.sdr:.2f}, SIR {ratios.sir:.2f}, SNR {ratios.snr:.2f}, SAR" in said


def test_without_noise_there_is_no_such_part(kzoo, scene, tmp_path):
    status, said = kzoo("estimate.wav", "voice.wav", "-o", "out", "--taps", 1, "--no-plot")
    assert not status
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "artefacts.wav",
        "interference.wav",
        "target.wav",
    ]
    assert "SNR" not in said
    assert "SIR inf" in said


def test_files_of_other_lengths_are_cut_and_that_is_said(kzoo, scene):
    audio.write("short.wav", scene["drums"][:2000], RATE)
    status, said = kzoo("estimate.wav", "voice.wav", "short.wav", "--taps", 4, "--no-plot")
    assert not status
    assert "cut to the shortest, short.wav: 0.25 s" in said
    assert len(audio.read("parts/target.wav")[0]) == 2000


def test_even_a_short_sound_is_drawn(kzoo, scene):
    status, _ = kzoo("estimate.wav", "voice.wav", "--taps", 4, "--duration", 0.1)
    assert not status
    assert Path("parts/parts.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("mono.wav",), "mono.wav: has 8000 Hz and 1 channels, estimate.wav has 8000 Hz and 2"),
        (("other.wav",), "other.wav: has 16000 Hz"),
        (("silent.wav",), "is silent"),
        (("none.wav",), "none.wav"),
        (("voice.wav", "-o", "."), "estimate.wav"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(kzoo, scene, tmp_path, words, line):
    audio.write("mono.wav", scene["voice"][:, :1], RATE)
    audio.write("other.wav", scene["voice"], 2 * RATE)
    audio.write("silent.wav", 0 * scene["voice"], RATE)
    if words[-1] == ".":
        (tmp_path / "estimate.wav").rename("target.wav")
        status, said = kzoo("target.wav", *words)
        line = "is the recording itself"
    else:
        status, said = kzoo("estimate.wav", *words)
    assert status == 1
    assert said.count("\n") == 1
    assert line in said
    assert not (tmp_path / "parts").exists()
