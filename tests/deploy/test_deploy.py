"""Artefacts: named, static, built from TFLite's own operators, and equal to Keras on sound."""

import contextlib
import importlib
import importlib.util
import json
import subprocess
import sys
import wave
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kzoo import models
from kzoo.deploy import artefact, parity, request
from kzoo.deploy.half import halve
from kzoo.deploy.rewrite import PhasedConv2DTranspose, for_tflite
from kzoo.deploy.saved_model import load_saved_model, run_saved_model, write_saved_model
from kzoo.deploy.tflite import (
    FlexError,
    describe_tflite,
    load_tflite,
    operators,
    run_tflite,
    write_tflite,
)
from kzoo.dsp.stft import STFT, InverseSTFT
from kzoo.presets import save_to_preset

ROOT = Path(__file__).parents[2]
CONSUMER = ROOT / "export" / "consumers" / "separate_tflite.py"
SOURCES = ("vocals", "accompaniment")
RATE = 8000
OPTIONS = {"sources": SOURCES, "variant": "tiny", "filters": (4, 24), "frames": 32}
BLOCK = 32 * 64 - 256
NAMES = {"name": "tiny", "sources": SOURCES, "sample_rate": RATE}

needs_litert = pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="pip install 'kzoo[tflite]'"
)


@pytest.fixture(scope="module")
def sound():
    return parity._synthetic(RATE, 2, 3 * BLOCK)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return models.build("unet", **OPTIONS, samples=BLOCK)


@pytest.fixture(scope="module")
def bundle(model, sound, tmp_path_factory):
    """Folder with both TFLite files, and their cards by precision."""
    folder = tmp_path_factory.mktemp("bundle")
    base = {"licences": {"weights": "none"}, "weights": {"secret": 1}}
    cards = {
        precision: artefact.export(
            model, "tflite", folder, **NAMES, precision=precision, sound=sound, base_card=base,
            sound_description="notes",
        )
        for precision in ("fp32", "fp16")
    }  # fmt: skip
    return folder, cards


@pytest.fixture(scope="module")
def saved(model, sound, tmp_path_factory):
    any_length = models.build("unet", **OPTIONS)
    any_length.set_weights(model.get_weights())
    folder = tmp_path_factory.mktemp("saved")
    return any_length, artefact.export(any_length, "saved_model", folder, **NAMES, sound=sound)


def small_model(layer, samples=256):
    waveform = keras.Input((samples, 2), name="waveform")
    return keras.Model(waveform, ops.expand_dims(layer(waveform), 1), name="small")


class InverseFFT(layers.Layer):
    def call(self, waveform):
        signal = ops.swapaxes(waveform, 1, 2)
        return ops.swapaxes(ops.irfft(ops.rfft(signal)), 1, 2)


class Fickle(layers.Layer):
    """Says something else each time it is called, so the graph differs from the eager model."""

    calls = 0

    def call(self, waveform):
        self.calls += 1
        return waveform * (1 + 1e-3 * self.calls)


def decibels(reference, estimate):
    error = np.sum((np.float64(reference) - np.float64(estimate)) ** 2)
    return 10 * np.log10(np.sum(np.float64(reference) ** 2) / error)


@needs_litert
def test_tflite_file_has_named_static_tensors_and_built_in_operators_only(bundle):
    folder, _ = bundle
    found = describe_tflite(folder / "tiny_fp32.tflite")
    assert found["inputs"] == {"waveform": [BLOCK, 2]}
    assert found["outputs"] == {source: [BLOCK, 2] for source in SOURCES}
    assert found["dynamic_tensors"] == 0
    assert not [name for name in found["operators"] if not name.isupper()]
    assert found["operators"]["RFFT2D"] == 2


@needs_litert
def test_operators_are_those_that_litert_itself_lists(bundle):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    folder, _ = bundle
    interpreter = Interpreter(
        model_path=str(folder / "tiny_fp32.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    listed = [op["op_name"] for op in interpreter._get_ops_details()]
    counted = operators(folder / "tiny_fp32.tflite")
    assert counted == {name: listed.count(name) for name in set(listed) - {"DELEGATE"}}


@needs_litert
def test_tflite_equals_keras_on_sound_that_it_was_not_proven_on(bundle, model):
    folder, _ = bundle
    other = np.random.default_rng(7).normal(0, 0.1, (BLOCK, 2)).astype(np.float32)
    expected = model.predict_on_batch(other[None])[0]
    for precision, limit in (("fp32", 100), ("fp16", 55)):
        stems = run_tflite(folder / f"tiny_{precision}.tflite", other, threads=2)
        for i, source in enumerate(SOURCES):
            assert decibels(expected[i], stems[source]) > limit


@needs_litert
def test_both_precisions_stay_finite_on_digital_silence(bundle):
    # float16 has no 1e-10: a file that rounds every constant divides 0 by 0 here.
    folder, _ = bundle
    for precision in ("fp32", "fp16"):
        stems = run_tflite(folder / f"tiny_{precision}.tflite", np.zeros((BLOCK, 2), np.float32))
        assert all(np.all(stem == 0) for stem in stems.values())


@needs_litert
def test_fp16_halves_the_kernels_and_nothing_else(bundle, model):
    folder, _ = bundle
    full, half = ((folder / f"tiny_{p}.tflite").stat().st_size for p in ("fp32", "fp16"))
    convolutions = [layer for layer in model.get_layer("unet_core").layers if "_conv" in layer.name]
    weights = sum(
        int(np.prod(layer.kernel.shape)) * (36 / 25 if "_up" in layer.name else 1)
        for layer in convolutions
    )
    assert full - half == pytest.approx(2 * weights, rel=0.1)

    transform = {"n_fft": 256, "hop_length": 64}
    waveform = keras.Input((1024, 2))
    real, imag = STFT(**transform)(waveform)
    stem = InverseSTFT(**transform)(real[:, None], imag[:, None], waveform)
    identity = keras.Model(waveform, stem)
    path = write_tflite(identity, folder / "identity", sources=["mix"], precision="fp16")
    noise = np.random.default_rng(0).normal(0, 0.1, (1024, 2)).astype(np.float32)
    assert decibels(noise, run_tflite(path, noise)["mix"]) > 120


def test_buffers_of_a_halved_file_lie_at_multiples_of_16_bytes(tmp_path):
    from tensorflow.lite.python import schema_py_generated as schema

    inputs = keras.Input((64, 2))
    doubled = layers.Conv1D(2, 3, padding="same")(layers.Conv1D(7, 3, padding="same")(inputs))
    model = keras.Model(inputs, doubled)
    content = halve(write_tflite(model, tmp_path / "m", sources=["a"]).read_bytes())
    read = schema.Model.GetRootAsModel(content, 0)
    starts = []
    for i in range(read.BuffersLength()):
        if read.Buffers(i).DataLength() >= 16:
            data = read.Buffers(i).DataAsNumpy()
            starts.append(data.ctypes.data - np.frombuffer(content, np.uint8).ctypes.data)
    assert starts
    assert not any(start % 16 for start in starts)


def test_kernel_too_large_for_float16_is_refused(tmp_path):
    inputs = keras.Input((64, 2))
    model = keras.Model(inputs, layers.Conv1D(2, 3, padding="same")(inputs))
    model.set_weights([np.full(w.shape, 1e5) for w in model.weights])
    with pytest.raises(ValueError, match=r"above 65504.*use precision fp32"):
        write_tflite(model, tmp_path / "m", sources=["a"], precision="fp16")


@pytest.mark.parametrize("shape", [(8, 6, 5), (1, 3, 2)])
def test_phased_convolution_equals_the_transposed_one(shape):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    plain = layers.Conv2DTranspose(
        3, 5, strides=2, padding="same", activation="relu", bias_initializer="normal"
    )
    model = keras.Model(inputs, plain(inputs))
    rewritten = for_tflite(model)
    assert isinstance(rewritten.layers[-1], PhasedConv2DTranspose)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_allclose(model(x), rewritten(x), atol=2e-6)


def test_other_transposed_convolutions_are_left_alone():
    inputs = keras.Input((8, 8, 2))
    for options in ({"kernel_size": 4}, {"strides": 1}, {"padding": "valid"}):
        layer = layers.Conv2DTranspose(
            3, **{"kernel_size": 5, "strides": 2, "padding": "same", **options}
        )
        model = keras.Model(inputs, layer(inputs))
        assert for_tflite(model) is model


def test_flex_is_refused_and_its_operators_are_named(tmp_path):
    model = small_model(InverseFFT())
    with pytest.raises(FlexError, match=r"Complex.*IRFFT.*allow Flex") as refusal:
        artefact.export(
            model, "tflite", tmp_path / "new", name="x", sources=["a"], sample_rate=RATE
        )
    assert "IRFFT" in refusal.value.operators
    assert not (tmp_path / "new").exists()
    card = artefact.export(
        model, "tflite", tmp_path, name="x", sources=["a"], sample_rate=RATE, allow_flex=True
    )
    assert "FlexIRFFT" in card["operators"]
    assert card["runtime"]["name"] == "tf.lite.Interpreter"
    # TensorFlow's interpreter may link no Flex delegate; then the card must not claim a comparison.
    assert bool(card["parity"]["sources"]) != bool(card["parity"]["not_compared"])


@needs_litert
@pytest.mark.parametrize("to", request.FORMATS)
def test_artefact_that_differs_from_its_model_leaves_nothing_behind(to, tmp_path):
    model = small_model(Fickle())
    with pytest.raises(parity.ParityError, match=r"limit of 80 dB: a \d+\.\d dB; .* not written"):
        artefact.export(model, to, tmp_path / "new", name="x", sources=["a"], sample_rate=RATE)
    assert list(tmp_path.iterdir()) == []


@needs_litert
def test_nothing_is_overwritten_unless_asked_and_a_failure_keeps_the_old(bundle, model, sound):
    folder, cards = bundle
    with pytest.raises(FileExistsError, match=r"tiny_fp32\.tflite: is there already"):
        artefact.export(model, "tflite", folder, **NAMES, sound=sound)
    other = {**NAMES, "sources": ["a"]}
    with pytest.raises(parity.ParityError):
        artefact.export(small_model(Fickle()), "tflite", folder, **other, overwrite=True)
    kept = artefact._stamp(folder / "tiny_fp32.tflite")
    assert kept == cards["fp32"]["files"]["tiny_fp32.tflite"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_saved_model_is_replaced_whole(model, sound, tmp_path):
    mono = small_model(layers.Identity())
    for expected in ("first", "second"):
        card = artefact.export(
            mono, "saved_model", tmp_path, name="m", sources=["a"], sample_rate=RATE,
            overwrite=True, base_card={"summary": expected},
        )  # fmt: skip
    kept = json.loads((Path(card["path"]) / "assets.extra" / "card.json").read_text())
    assert kept["summary"] == "second"
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["1"]
    assert kept["parity"]["sources"]["a"] == {"snr_db": None, "max_abs_difference": 0.0}


def test_saved_model_takes_any_length_and_batch(saved):
    model, card = saved
    run = load_saved_model(card["path"])
    rng = np.random.default_rng(3)
    for batch, samples in ((1, 5000), (3, 777)):
        waveform = rng.normal(0, 0.1, (batch, samples, 2)).astype(np.float32)
        stems, expected = run(waveform), np.asarray(model(waveform))
        for i, source in enumerate(SOURCES):
            assert stems[source].shape == waveform.shape
            assert decibels(expected[:, i], stems[source]) > 100


def test_saved_model_stores_each_weight_once(saved):
    model, card = saved
    weights = sum(4 * int(np.prod(weight.shape)) for weight in model.weights)
    [stored] = [f["bytes"] for name, f in card["files"].items() if ".data-" in name]
    assert stored < 1.2 * weights


def test_saved_model_is_read_by_tensorflow_alone(saved, sound):
    _, card = saved
    signature = tf.saved_model.load(card["path"]).signatures["serving_default"]
    assert signature.structured_input_signature[1]["waveform"].shape.as_list() == [None, None, 2]
    stems = signature(waveform=tf.constant(sound[None]))
    assert set(stems) == set(SOURCES)
    ours = run_saved_model(card["path"], sound)
    np.testing.assert_array_equal(stems["vocals"][0], ours["vocals"])


@needs_litert
def test_card_says_what_an_app_must_know(bundle):
    folder, cards = bundle
    card = json.loads((folder / "tiny_fp16.json").read_text())
    assert {**card, "path": str(folder / "tiny_fp16.tflite")} == cards["fp16"]
    assert card["block_samples"] == BLOCK
    assert (card["sample_rate"], card["channels"], card["precision"]) == (RATE, 2, "fp16")
    assert tuple(card["sources"]) == SOURCES
    assert card["parity"]["sound"] == "notes"
    assert min(s["snr_db"] for s in card["parity"]["sources"].values()) > 50
    assert card["files"]["tiny_fp16.tflite"] == artefact._stamp(folder / "tiny_fp16.tflite")
    assert card["licences"] == {"weights": "none"}
    assert "weights" not in card
    assert card["runtime"]["name"] == "LiteRT"
    assert card["versions"]["tensorflow"] == tf.__version__


def test_parity_is_a_signal_to_noise_ratio_with_a_floor_under_the_inaudible():
    rng = np.random.default_rng(0)
    stem, mixture = rng.normal(size=(100, 2)), rng.normal(size=(100, 2))
    error = rng.normal(size=(100, 2))
    error *= 1e-4 * np.linalg.norm(stem) / np.linalg.norm(error)
    found = parity.compare({"a": stem}, {"a": stem + error}, mixture)["a"]
    assert found.snr_db == pytest.approx(80)
    assert found.max_abs == pytest.approx(np.abs(error).max())

    silence = np.zeros((100, 2))
    assert parity.compare({"a": silence}, {"a": silence}, silence)["a"].snr_db == float("inf")
    error *= 1e-8 * np.linalg.norm(mixture) / np.linalg.norm(error)
    assert parity.compare({"a": silence}, {"a": error}, mixture)["a"].snr_db == pytest.approx(100)
    assert parity.compare({"a": silence}, {"a": error}, silence)["a"].snr_db == float("-inf")


def test_what_is_not_a_number_is_under_every_limit():
    stem = np.ones((10, 1))
    found = parity.compare({"a": stem}, {"a": stem * np.nan}, stem)
    with pytest.raises(parity.ParityError, match="a nan dB"):
        parity.check(found, -1000)


def test_parity_sound_fills_the_length_and_says_what_it_is(monkeypatch):
    monkeypatch.setattr(parity, "_stempeg_song", lambda: None)
    waveform, what = parity.parity_sound(RATE, 2, 12345)
    assert waveform.shape == (12345, 2)
    assert waveform.dtype == np.float32
    assert 0.02 < waveform.std() < 0.5
    assert not np.allclose(waveform[:, 0], waveform[:, 1])
    assert "synthetic" in what
    np.testing.assert_array_equal(waveform, parity.parity_sound(RATE, 2, 12345)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 100}, "built for samples=256; got samples=100"),
        ({"channels": 1}, "built for channels=2; got channels=1"),
        ({"sources": ["a", "b"]}, r"must give \[batch, 2, samples, channels\]"),
        ({"sources": ["waveform"]}, "got 'waveform'"),
        ({"sources": ["lead vocals"]}, "got 'lead vocals'"),
        ({"precision": "int3"}, "precision must be one of fp32, fp16; got 'int3'"),
    ],
)
def test_a_wrong_request_is_refused_with_the_value_received(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_tflite(
            small_model(layers.Identity()), tmp_path / "m", **{"sources": ["a"], **options}
        )
    assert list(tmp_path.iterdir()) == []


def test_model_of_any_length_needs_samples_for_tflite(tmp_path):
    with pytest.raises(ValueError, match="samples must be given"):
        write_tflite(small_model(layers.Identity(), None), tmp_path / "m", sources=["a"])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError, match="name a new one"):
        write_saved_model(small_model(layers.Identity()), tmp_path / "full", sources=["a"])


def test_missing_litert_names_the_extra(monkeypatch, tmp_path):
    path = write_tflite(small_model(layers.Identity()), tmp_path / "m", sources=["a"])
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match=r"pip install 'kzoo\[tflite\]'"):
        load_tflite(path)
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(ValueError, match="text: is not a TFLite file"):
        operators(tmp_path / "text")


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


@needs_litert
def test_consumer_writes_as_much_of_a_truncated_wav_as_there_is(bundle, sound, tmp_path):
    path = tmp_path / "song.wav"
    write_wav(path, sound, width=2)
    content = path.read_bytes()
    path.write_bytes(content[: 44 + 4 * (BLOCK + 500)])
    code, said = consume(bundle[0] / "tiny_fp32.tflite", path, "-o", tmp_path)
    assert (code, "cut short" in said) == (0, True), said
    for source in SOURCES:
        assert len(read_wav(tmp_path / f"{source}.wav")) == BLOCK + 500


def read_wav(path):
    with contextlib.closing(wave.open(str(path), "rb")) as reader:
        data = np.frombuffer(reader.readframes(reader.getnframes()), np.uint8).reshape(-1, 3)
        wide = np.zeros((len(data), 4), np.uint8)
        wide[:, 1:] = data
        return (wide.view("<i4")[:, 0] / 2**31).reshape(-1, reader.getnchannels())


@needs_litert
@pytest.mark.parametrize("samples", [BLOCK + 500, 700, 3 * BLOCK])
def test_consumer_without_kzoo_equals_keras_in_blocks(bundle, model, sound, samples, tmp_path):
    folder, _ = bundle
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
        expected[:, start : start + BLOCK] += model.predict_on_batch(piece)[0] * weight[:, None]
        weights[start : start + BLOCK] += weight
    np.testing.assert_allclose(weights[:samples], 1)
    for i, source in enumerate(SOURCES):
        stem = read_wav(tmp_path / f"{source}.wav")
        assert stem.shape == (samples, 2)
        assert decibels(expected[i, :samples], stem) > 80


@needs_litert
def test_consumer_turns_mistakes_into_one_line(bundle, sound, tmp_path):
    folder, _ = bundle
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
            (model, tmp_path / "good.wav", "--card", folder / "tiny_fp16.json"),
            "is the card of another file",
        ),
    ):
        code, said = consume(*arguments, "-o", tmp_path / "out")
        assert (code, said.count("\n")) == (1, 1), said
        assert line in said


@needs_litert
def test_consumer_reads_mono_of_every_depth(bundle, sound, tmp_path):
    folder, _ = bundle
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


@needs_litert
def test_mobile_recipe_makes_a_bundle_that_has_run(model, tmp_path, monkeypatch, capsys):
    any_length = models.build("unet", **OPTIONS)
    any_length.set_weights(model.get_weights())
    save_to_preset(
        any_length, tmp_path / "preset",
        {"name": "small", "model": {"name": "unet", "options": {**OPTIONS, "sources": list(SOURCES),
         "filters": list(OPTIONS["filters"])}}, "sources": list(SOURCES), "sample_rate": RATE,
         "trained": "not at all: random weights from a seed"},
    )  # fmt: skip
    monkeypatch.syspath_prepend(ROOT)  # export/ is no package: recipes run from the root
    mobile = importlib.import_module("export.mobile")
    arguments = ["-p", str(tmp_path / "preset"), "-o", str(tmp_path / "out")]
    assert mobile.main([*arguments, "--precision", "fp16"]) == 0
    assert {path.name for path in (tmp_path / "out" / "small").iterdir()} == {
        "small_fp16.tflite", "small_fp16.json", "operators.txt", "separate_tflite.py"
    }  # fmt: skip
    assert (
        "separate_tflite.py with small_fp16.tflite, against Keras in blocks:"
        in capsys.readouterr().out
    )
    wanted = (tmp_path / "out" / "small" / "operators.txt").read_text().split()
    assert "CONV_2D" in wanted
    assert mobile.main([*arguments, "--precision", "fp16"]) == 1
    assert capsys.readouterr().err.startswith("export.mobile: ")
