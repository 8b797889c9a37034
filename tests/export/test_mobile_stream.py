"""What an app gets of an enhancer that streams: files that keep their state and a program."""

import importlib
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from made_programs import run_program

from kzoo import models, presets
from kzoo.deploy.formats.streaming import Stream
from kzoo.deploy.interpreter import open_litert

ROOT = Path(__file__).parents[2]
pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """(folder, what was said) of a tiny enhancer."""
    keras.utils.set_random_seed(0)
    options = {"sources": ["speech"], "variant": "tiny", "n_layers": 1}
    card = {"name": "voice", "task": "enhancement", "sources": ["speech"], "sample_rate": 8000,
            "level_db": -26.0, "trained": {"steps": 1},
            "model": {"name": "dtln", "options": options}}  # fmt: skip
    folder = tmp_path_factory.mktemp("bundle")
    presets.save_to_preset(models.build("dtln", **options), folder / "preset", card)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)  # export/ is no package: recipes run from the root
        mobile = importlib.import_module("export.mobile")
        patch.setattr(importlib.import_module("export.mobile_stream"), "_SECONDS", 0.5)
        words = ["-p", str(folder / "preset"), "-o", str(folder / "out"), "--block-seconds", "0.3"]
        said = list(mobile.bundle(mobile.parser().parse_args([*words, "--precision", "fp32"])))
    return folder / "out" / "voice", said


def clean(bundle, file, sound, out):
    return run_program(bundle / "stream_tflite.py", bundle / file, sound, "-o", out)


def test_the_bundle_is_whole_and_its_program_says_what_keras_says(bundle):
    folder, said = bundle
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENCES.txt", "kotlin", "operators.txt", "recording.h", "separate_tflite.c",
        "separate_tflite.py", "stream_tflite.py", "swift",
        "voice_fp32.json", "voice_fp32.tflite", "voice_step.tflite", "voice_stream.tflite",
    ]  # fmt: skip
    line = next(line for line in said if line.startswith("stream_tflite.py with voice_stream"))
    assert float(line.split(": ")[1].split()[0]) > 50  # dB, of 16 bits
    assert "worst block" in line


def test_a_reset_is_a_beginning_to_the_bit(bundle, rng):
    folder, _ = bundle
    stream = Stream(folder / "voice_stream.tflite")
    (_, samples, _) = stream.inputs["waveform"]
    blocks = (0.1 * rng.standard_normal((9, 1, samples, 1))).astype(np.float32)
    first = [stream.step(waveform=block)["speech"].copy() for block in blocks]
    opened = open_litert(folder / "voice_stream.tflite", threads=1)  # as Java does, without reset
    opened.allocate_tensors()
    begun = opened.get_signature_runner("step")(waveform=blocks[0])["speech"]
    np.testing.assert_array_equal(begun, first[0])
    stream.step(waveform=np.full_like(blocks[0], 1e6))
    stream.reset()
    again = [stream.step(waveform=block)["speech"].copy() for block in blocks]
    np.testing.assert_array_equal(again, first)
    assert np.any(first)


def test_the_twin_whose_state_is_the_programs_says_the_same_without_a_card(bundle, tmp_path, rng):
    folder, _ = bundle
    soundfile.write(tmp_path / "talk.wav", 0.1 * rng.standard_normal(1234), 8000)
    for name in ("stream", "step"):
        alone = shutil.copyfile(folder / f"voice_{name}.tflite", tmp_path / f"{name}.tflite")
        run = clean(folder, alone, tmp_path / "talk.wav", tmp_path / f"{name}.wav")
        assert run.returncode == 0, run.stderr
    (one, _), (other, _) = (soundfile.read(tmp_path / f"{n}.wav") for n in ("stream", "step"))
    assert len(one) == 1234
    assert (one == other).all()


def test_a_recording_of_another_rate_is_refused_in_a_line(bundle, tmp_path, rng):
    folder, _ = bundle
    soundfile.write(tmp_path / "talk.wav", 0.1 * rng.standard_normal((100, 2)), 16000)
    run = clean(folder, "voice_stream.tflite", tmp_path / "talk.wav", tmp_path / "x.wav")
    assert run.returncode == 1
    assert "needs one channel of 16 bits at 8000 Hz; got (2, 2, 16000)" in run.stderr
    assert not (tmp_path / "x.wav").exists()


def test_a_file_that_is_cut_off_and_its_own_output_are_refused_in_a_line(bundle, tmp_path):
    folder, _ = bundle
    soundfile.write(tmp_path / "talk.wav", np.zeros(100), 8000)
    cut = tmp_path / "voice_stream.tflite"
    cut.write_bytes((folder / cut.name).read_bytes()[:5000])
    card = tmp_path / "voice_fp32.json"
    card.write_bytes((folder / card.name).read_bytes())
    program = folder / "stream_tflite.py"
    run = run_program(program, cut, tmp_path / "talk.wav", "-o", tmp_path / "x.wav")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "no card of" in run.stderr
    run = clean(folder, "voice_stream.tflite", tmp_path / "talk.wav", tmp_path / "talk.wav")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "is the recording itself" in run.stderr
