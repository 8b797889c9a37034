"""separate_tflite.py, which knows nothing of kzoo, separates as Keras does in the same blocks."""

import contextlib
import json
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import made_artefacts
import numpy as np
import pytest
from made_artefacts import BLOCK, RATE, SOURCES, decibels

CONSUMER = Path(__file__).parents[2] / "export" / "consumers" / "separate_tflite.py"

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")


@pytest.fixture(scope="module")
def sound():
    return made_artefacts.song()


@pytest.fixture(scope="module")
def model():
    return made_artefacts.tiny_unet()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a TFLite file and its card are, and the card of another."""
    bundle, _ = made_artefacts.bundle(tmp_path_factory.getbasetemp())
    folder = shutil.copytree(bundle, tmp_path_factory.mktemp("consumer") / "bundle")
    card = json.loads((folder / "tiny_fp32.json").read_text())
    card["files"]["tiny_fp32.tflite"]["sha256"] = 64 * "0"
    (folder / "another.json").write_text(json.dumps(card))
    return folder


def consume(*arguments):
    run = subprocess.run(
        [sys.executable, "-I", str(CONSUMER), *map(str, arguments)], capture_output=True, text=True
    )
    return run.returncode, run.stdout + run.stderr


def write_wav(path, waveform, rate=RATE, width=2):
    scale = 2 ** (8 * width - 1)
    values = np.clip(np.rint(waveform * scale), -scale, scale - 1).astype("<i4")
    with contextlib.closing(wave.open(str(path), "wb")) as writer:
        writer.setparams((waveform.shape[1], width, rate, 0, "NONE", None))
        writer.writeframes(values.reshape(-1, 1).view(np.uint8)[:, :width].tobytes())
    return (values / scale).astype(np.float32)


def read_wav(path):
    with contextlib.closing(wave.open(str(path), "rb")) as reader:
        data = np.frombuffer(reader.readframes(reader.getnframes()), np.uint8).reshape(-1, 3)
        wide = np.zeros((len(data), 4), np.uint8)
        wide[:, 1:] = data
        return (wide.view("<i4")[:, 0] / 2**31).reshape(-1, reader.getnchannels())


@pytest.mark.parametrize("samples", [BLOCK + 500, 700, 3 * BLOCK])
def test_consumer_without_kzoo_equals_keras_in_blocks(folder, model, sound, samples, tmp_path):
    heard = write_wav(tmp_path / "song.wav", sound[:samples], width=3)
    code, said = consume(
        folder / "tiny_fp32.tflite", tmp_path / "song.wav", "-o", tmp_path, "--overlap-seconds", 0.1
    )
    assert code == 0, said
    overlap = 800
    hop = BLOCK - overlap
    expected, weights = np.zeros((2, samples + BLOCK, 2)), np.zeros(samples + BLOCK)
    starts = range(0, max(1, samples - overlap), hop)
    for start in starts:
        piece = np.zeros((1, BLOCK, 2), np.float32)
        present = heard[start : start + BLOCK]
        piece[0, : len(present)] = present
        # sin^2 in, cos^2 out; the outermost edges stay at one.
        ramp = np.sin(np.pi / 2 * (np.arange(overlap) + 0.5) / overlap) ** 2
        weight = np.concatenate(
            [
                ramp if start else np.ones(overlap),
                np.ones(BLOCK - 2 * overlap),
                1 - ramp if start != starts[-1] else np.ones(overlap),
            ]
        )
        expected[:, start : start + BLOCK] += np.asarray(model(piece))[0] * weight[:, None]
        weights[start : start + BLOCK] += weight
    np.testing.assert_allclose(weights[:samples], 1)
    for i, source in enumerate(SOURCES):
        stem = read_wav(tmp_path / f"{source}.wav")
        assert stem.shape == (samples, 2)
        assert decibels(expected[i, :samples], stem) > 80


def test_consumer_turns_mistakes_into_one_line(folder, sound, tmp_path):
    model = folder / "tiny_fp32.tflite"
    write_wav(tmp_path / "fast.wav", sound, rate=2 * RATE)
    write_wav(tmp_path / "wide.wav", np.tile(sound, 2))
    write_wav(tmp_path / "good.wav", sound)
    (tmp_path / "text.wav").write_text("no sound")
    for arguments, line in (
        ((model, tmp_path / "fast.wav"), "has 16000 Hz, the model wants 8000"),
        ((model, tmp_path / "wide.wav"), "has 4 channels, the model takes 2 or 1"),
        ((model, tmp_path / "text.wav"), "not a plain PCM WAV"),
        ((model, tmp_path / "none.wav"), "No such file"),
        ((model, tmp_path / "good.wav", "--overlap-seconds", 9), "--overlap-seconds must be 0 to"),
        (
            (model, tmp_path / "good.wav", "--card", folder / "another.json"),
            "is the card of another file",
        ),
    ):
        code, said = consume(*arguments, "-o", tmp_path / "out")
        assert (code, said.count("\n")) == (1, 1), said
        assert line in said


def test_consumer_reads_mono_of_every_depth(folder, sound, tmp_path):
    heard = []
    for width in (2, 3, 4):
        write_wav(tmp_path / "mono.wav", sound[:3000, :1], width=width)
        code, said = consume(
            folder / "tiny_fp32.tflite", tmp_path / "mono.wav", "-o", tmp_path,
            "--overlap-seconds", 0.05,
        )  # fmt: skip
        assert code == 0, said
        heard.append(read_wav(tmp_path / "vocals.wav"))
    assert heard[0].shape == (3000, 1)
    assert decibels(heard[2], heard[1]) > 90
    assert decibels(heard[2], heard[0]) > 40


def test_consumer_writes_as_much_of_a_truncated_wav_as_there_is(folder, sound, tmp_path):
    path = tmp_path / "song.wav"
    write_wav(path, sound, width=2)
    content = path.read_bytes()
    path.write_bytes(content[: 44 + 4 * (BLOCK + 500)])
    code, said = consume(folder / "tiny_fp32.tflite", path, "-o", tmp_path)
    assert (code, "cut short" in said) == (0, True), said
    for source in SOURCES:
        assert len(read_wav(tmp_path / f"{source}.wav")) == BLOCK + 500
