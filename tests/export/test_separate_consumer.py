"""separate_tflite.py and separate_tflite.c, which know nothing of kzoo, separate as Keras does."""

import contextlib
import functools
import importlib.util
import json
import shlex
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import made_artefacts
import numpy as np
import pytest
from made_artefacts import BLOCK, RATE, SOURCES, decibels
from made_programs import run_program

import kzoo

CONSUMER = Path(__file__).parents[2] / "export" / "consumers" / "separate_tflite.py"
C_PROGRAM = CONSUMER.with_suffix(".c")

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


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """separate_tflite.c, compiled as the comment at its head says."""
    if shutil.which("cc") is None:
        pytest.skip("install a C compiler")
    comment = C_PROGRAM.read_text().split("*/")[0]
    (line,) = (line for line in comment.splitlines() if line.strip().startswith("cc "))
    program = tmp_path_factory.mktemp("c") / "separate_tflite"
    library = Path(importlib.util.find_spec("ai_edge_litert").submodule_search_locations[0])
    words = shlex.split(line.replace("$DIR", str(library)))
    words[words.index("-o") + 1] = str(program)
    words[words.index(C_PROGRAM.name)] = str(C_PROGRAM)
    run = subprocess.run([*words, "-Wall", "-Wextra"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    return program


def compiled(program, *arguments):
    run = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


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


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """(a file whose card says how blocks are joined, what its preset separates by)."""
    card, separator = made_artefacts.joined(tmp_path_factory.getbasetemp())
    return Path(card["path"]), separator


@pytest.fixture(params=["python", "c"])
def either(request):
    """Runs either program: its exit status, and what it says of a mistake."""
    if request.param == "c":
        return functools.partial(compiled, request.getfixturevalue("program"))

    def call(*words):
        run = run_program(CONSUMER, *words)
        return run.returncode, run.stderr

    return call


def check_stems(either, model, separator, sound, rate, folder):
    """Assert that a program gives the stems of `separator`."""
    heard = write_wav(folder / "song.wav", sound, rate, width=3)
    code, said = either(model, folder / "song.wav", "-o", folder)
    assert code == 0, said
    for source, expected in separator.separate(heard, rate).items():
        stem = read_wav(folder / f"{source}.wav")
        np.testing.assert_allclose(stem, expected, atol=1e-6, err_msg=source)


def test_blocks_are_joined_as_the_card_says(joined, either, rng, tmp_path):
    """The last block is centred in what is there; where it adds 50 samples, and alone, too."""
    model, separator = joined
    grid, rate = separator.grid, separator.system.sample_rate
    for samples, channels in ((3300, 2), (2 * grid.hop + 50, 2), (701, 1)):
        sound = 0.2 + 0.05 * rng.standard_normal((samples, channels))
        check_stems(either, model, separator, sound, rate, tmp_path)


def test_speakers_keep_their_order_and_recordings_come_to_the_cards_level(
    either, rng, tmp_path, tmp_path_factory
):
    """As with kzoo, which gives silence of what is silent."""
    model = Path(made_artefacts.fickle(tmp_path_factory.getbasetemp())["path"])
    separator = kzoo.Separator.from_preset(model)
    sound = 0.02 * rng.standard_normal((6300, 2))
    sound[1200:3200] = 0
    sound[:300] *= 1e-3
    for waveform in (sound, sound[:, :1], 0 * sound[:900]):
        check_stems(either, model, separator, waveform, 1000, tmp_path)


def test_a_joining_that_is_not_known_is_refused(joined, either, tmp_path):
    model, _ = joined
    card = json.loads(model.with_suffix(".json").read_text())
    card["joining"] = {**card["joining"], "mirrored": True}
    (tmp_path / "card.json").write_text(json.dumps(card, indent=2))
    write_wav(tmp_path / "song.wav", np.zeros((99, 2)), card["sample_rate"])
    words = (model, tmp_path / "song.wav", "--card", tmp_path / "card.json")
    code, said = either(*words, "-o", tmp_path / "out")
    assert (code, said.count("\n")) == (1, 1)
    assert "its blocks are joined mirrored, which this program does not know" in said
    assert not (tmp_path / "out").exists()


def test_consumer_turns_mistakes_into_one_line(folder, sound, tmp_path):
    model = folder / "tiny_fp32.tflite"
    write_wav(tmp_path / "fast.wav", sound, rate=2 * RATE)
    write_wav(tmp_path / "wide.wav", np.tile(sound, 2))
    write_wav(tmp_path / "good.wav", sound)
    write_wav(tmp_path / "none.wav", sound[:0])
    (tmp_path / "text.wav").write_text("no sound")
    foreign = shutil.copyfile(tmp_path / "text.wav", folder / "foreign.tflite")
    cut = folder / "cut.tflite"
    cut.write_bytes(model.read_bytes()[:10_000])
    (folder / "text.json").write_text("no card")
    card = json.loads((folder / "tiny_fp32.json").read_text())
    (folder / "longer.json").write_text(json.dumps({**card, "block_samples": 2 * BLOCK}))
    own = ("--card", folder / "tiny_fp32.json")
    for arguments, line in (
        ((model, tmp_path / "fast.wav"), "has 16000 Hz, the model wants 8000"),
        ((model, tmp_path / "wide.wav"), "has 4 channels, the model takes 2 or 1"),
        ((model, tmp_path / "text.wav"), "not a plain PCM WAV"),
        ((model, tmp_path / "missing.wav"), "No such file"),
        ((model, tmp_path / "none.wav"), "holds no sound"),
        ((cut, tmp_path / "good.wav", *own), "that is cut off or changed"),
        ((foreign, tmp_path / "good.wav", *own), "is the card of another file"),
        ((model, tmp_path / "good.wav", "--card", folder / "text.json"), "is not the card"),
        ((model, tmp_path / "good.wav", "--card", folder / "longer.json"), "its card says"),
        ((model, tmp_path / "good.wav", "--overlap-seconds", "nan"), "--overlap-seconds must be"),
        ((model, tmp_path / "good.wav", "--overlap-seconds", 9), "--overlap-seconds must be 0 to"),
        (
            (model, tmp_path / "good.wav", "--card", folder / "another.json"),
            "is the card of another file",
        ),
    ):
        run = run_program(CONSUMER, *arguments, "-o", tmp_path / "out")
        assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
        assert line in run.stderr
    shutil.move(tmp_path / "good.wav", tmp_path / "vocals.wav")
    run = run_program(CONSUMER, model, tmp_path / "vocals.wav", "-o", tmp_path)
    assert "is the recording itself" in run.stderr


def test_the_c_programs_stems_are_those_of_the_python_program(folder, program, sound, tmp_path):
    for name, samples, width, channels in (
        ("long", 3 * BLOCK, 3, 2), ("short", 700, 2, 2), ("mono", BLOCK + 500, 4, 1),
        ("bytes", BLOCK, 1, 2),
    ):  # fmt: skip
        write_wav(tmp_path / f"{name}.wav", sound[:samples, :channels], width=width)
        words = (folder / "tiny_fp32.tflite", tmp_path / f"{name}.wav", "--overlap-seconds", 0.05)
        code, said = compiled(program, *words, "-o", tmp_path / "c")
        assert (code, said.count("\n")) == (0, 1), said
        run = run_program(CONSUMER, *words, "-o", tmp_path / "python")
        assert run.returncode == 0, run.stderr
        for source in SOURCES:
            one, other = (read_wav(tmp_path / who / f"{source}.wav") for who in ("c", "python"))
            assert one.shape == (samples, channels)
            assert np.max(np.abs(one - other)) <= 2**-22  # two steps of 24 bits


def test_the_c_program_turns_mistakes_into_one_line(folder, program, sound, tmp_path):
    model = folder / "tiny_fp32.tflite"
    write_wav(tmp_path / "fast.wav", sound, rate=2 * RATE)
    write_wav(tmp_path / "wide.wav", np.tile(sound, 2))
    write_wav(tmp_path / "vocals.wav", sound)
    write_wav(tmp_path / "none.wav", sound[:0])
    (tmp_path / "text.wav").write_text("no sound")
    (folder / "changed.tflite").write_bytes(model.read_bytes()[:10_000])
    (folder / "words.json").write_text("no card")
    card = (folder / "tiny_fp32.json").read_text()
    (folder / "twice.json").write_text(card.replace(f": {BLOCK},", f": {2 * BLOCK},", 1))
    good, own = tmp_path / "vocals.wav", ("--card", folder / "tiny_fp32.json")
    for arguments, line in (
        ((model, tmp_path / "fast.wav"), "has 16000 Hz, the model wants 8000"),
        ((model, tmp_path / "wide.wav"), "has 4 channels, the model takes 2 or 1"),
        ((model, tmp_path / "text.wav"), "is no WAV"),
        ((model, tmp_path / "missing.wav"), "cannot be opened"),
        ((model, tmp_path / "none.wav"), "holds no sound"),
        ((model, good), "is the recording itself"),
        ((model, good, "--overlap-seconds", 9), "--overlap-seconds must be 0 to"),
        ((model, good, "--threads", "x"), "--threads must be 1 to"),
        ((model, good, "--card", folder / "words.json"), "is not the card of a separator"),
        ((model, good, "--card", folder / "twice.json"), "its blocks have"),
        ((folder / "changed.tflite", good, *own), "it is cut off, or another file"),
        ((tmp_path / "text.wav", good, *own), "is no TFLite file"),
        ((model,), "usage: "),
    ):
        code, said = compiled(program, *arguments, "-o", tmp_path)
        assert (code, said.count("\n")) == (1, 1), said
        assert line in said


def test_the_c_program_writes_as_much_of_a_truncated_wav_as_there_is(
    folder, program, sound, tmp_path
):
    path = tmp_path / "song.wav"
    write_wav(path, sound, width=2)
    path.write_bytes(path.read_bytes()[: 44 + 4 * (BLOCK + 500)])
    code, said = compiled(program, folder / "tiny_fp32.tflite", path, "-o", tmp_path)
    assert (code, "cut short" in said) == (0, True), said
    for source in SOURCES:
        assert len(read_wav(tmp_path / f"{source}.wav")) == BLOCK + 500


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


def test_consumer_needs_no_card_where_the_file_tells_of_itself(folder, sound, tmp_path):
    alone = shutil.copyfile(folder / "tiny_fp32.tflite", tmp_path / "alone.tflite")
    write_wav(tmp_path / "song.wav", sound[:3000])
    for model, out in ((alone, "alone"), (folder / "tiny_fp32.tflite", "with")):
        code, said = consume(model, tmp_path / "song.wav", "-o", tmp_path / out)
        assert code == 0, said
    stems = [read_wav(tmp_path / out / "vocals.wav") for out in ("alone", "with")]
    np.testing.assert_array_equal(*stems)
