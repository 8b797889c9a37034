"""TensorFlow Serving's folder, read by a stand-in of the server, its clients and a C program."""

import base64
import concurrent.futures
import io
import json
import shutil
import subprocess
import urllib.error
import urllib.request
import wave

import keras
import made_serving
import numpy as np
import pytest
import soundfile
from made_programs import run_program
from made_serving import HALVES, RATE

pytest.importorskip("tensorflow_serving", reason="pip install 'kzoo[serving]'")

from export import c_programs, serving_double, serving_graph, tf_serving
from kzoo import models, presets
from kzoo.dsp.blocks import stft_grid
from kzoo.separation import BlockSeparator

STEP = 2.0**-15
SAMPLES = 3 * HALVES.hop + 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle of halves, in two versions, of frames, on the grid of an STFT, and of joined."""
    folder = tmp_path_factory.mktemp("serving") / "out"
    card = {"licences": {"weights": "none"}}
    tf_serving.write(folder, made_serving.served(), name="halves", version=1, base_card=card)
    others = {
        "frames": made_serving.served(stft_grid(6, 32, 8), channels=1),
        "joined": made_serving.joined()[0],
    }
    for name, other in others.items():
        tf_serving.write(folder / "x", other, name=name, version=1, base_card={})
        shutil.move(folder / "x" / "models" / name, folder / "models" / name)
        shutil.move(folder / "x" / "clients" / f"{name}.json", folder / "clients" / f"{name}.json")
        shutil.rmtree(folder / "x")
    shutil.copytree(folder / "models" / "halves" / "1", folder / "models" / "halves" / "3")
    tf_serving.write_models_config(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder):
    return serving_double.Server(folder)


@pytest.fixture(scope="module")
def listening(server):
    with serving_double.Listening(server) as listening:
        yield listening


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """(path, samples) of 16-bit stereo at the rate of `made_serving`."""
    rng = np.random.default_rng(0)
    waveform = rng.integers(-9000, 9000, (SAMPLES, 2), dtype=np.int16)
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, waveform, RATE)
    return path, waveform.astype(np.float32) * STEP


def stems_of(waveform, system=None):
    return BlockSeparator(system or made_serving.system()).separate(waveform, RATE)


def post(listening, name, body):
    """(status, JSON) of a request over REST; body: bytes, or what JSON has."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://{listening.rest}/v1/models/{name}", content) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def client(folder, card, *words):
    return run_program(folder / "clients" / "serving_client.py", folder / "clients" / card, *words)


def test_the_folder_has_what_the_server_reads(folder):
    assert {path.name for path in folder.iterdir()} == {
        "LICENCES", "README.md", "batching.config", "clients", "docker-compose.yaml", "models",
        "monitoring.config",
    }  # fmt: skip
    config = (folder / "models" / "models.config").read_text()
    assert "versions: 1 versions: 3" in config
    assert 'base_path: "/models/frames"' in config
    assert "$" not in (folder / "README.md").read_text().replace("$(", "")
    card = json.loads((folder / "models/halves/1/assets.extra/card.json").read_text())
    assert card["signatures"]["int16"]["inputs"]["waveform"] == {
        "type": "int16", "shape": [None, None, 2]
    }  # fmt: skip


def test_the_warm_up_requests_are_of_every_signature_and_are_answered(server):
    answers = dict(server.models["halves"][3].warm_up())
    assert set(answers) == {
        "serving_default", "int16", "wav", "block", "block_int16", "block_wav"
    }  # fmt: skip
    assert all(set(map(len, answer.values())) == {1} for answer in answers.values())


@pytest.mark.parametrize("words", [["--whole"], ["--batch", "3"], ["--float", "--batch", "2"], []])
@pytest.mark.parametrize("way", ["grpc", "rest"])
def test_the_clients_stems_are_kzoos(folder, listening, song, tmp_path, way, words):
    _, waveform = song
    if way == "rest" and "--float" in words:
        words = ["--batch", "2"]
    for card, system, sound in (
        ("halves.json", made_serving.system(), waveform),
        ("frames.json", made_serving.system(stft_grid(6, 32, 8), channels=1), waveform[:, :1]),
        ("joined.json", made_serving.joined()[1], waveform),
    ):
        soundfile.write(tmp_path / "song.wav", sound, RATE, subtype="PCM_16")
        run = client(
            folder, card, tmp_path / "song.wav", f"--{way}", getattr(listening, way), *words,
            "-o", tmp_path,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        for source, expected in stems_of(sound, system).items():
            stem, _ = soundfile.read(tmp_path / f"{source}.wav", always_2d=True)
            assert stem.shape == expected.shape
            steps = np.max(np.abs(stem - expected)) / STEP
            assert steps < (0.01 if "--float" in words else 1.5)


def test_rest_takes_rows_and_columns_and_names_outputs(listening, song):
    _, waveform = song
    expected = stems_of(waveform)
    rows = {"instances": [waveform.tolist(), (2 * waveform).tolist()]}
    status, answer = post(listening, "halves:predict", rows)
    assert (status, list(answer)) == (200, ["predictions"])
    assert set(answer["predictions"][1]) == {"vocals", "drums"}
    np.testing.assert_allclose(answer["predictions"][1]["drums"], 2 * expected["drums"], atol=1e-6)
    named = {"instances": [{"waveform": waveform.tolist()}]}
    assert post(listening, "halves:predict", named)[1]["predictions"][0] == answer["predictions"][0]
    for inputs in ({"waveform": waveform[None].tolist()}, waveform[None].tolist()):
        status, answer = post(listening, "halves:predict", {"inputs": inputs})
        np.testing.assert_allclose(answer["outputs"]["vocals"][0], expected["vocals"], atol=1e-6)
    integers = (waveform[None] / STEP).astype(int).tolist()
    body = {"signature_name": "int16", "inputs": {"waveform": integers}}
    status, answer = post(listening, "halves/versions/1:predict", body)
    np.testing.assert_allclose(answer["outputs"]["vocals"][0], expected["vocals"] / STEP, atol=0.6)


def test_rest_takes_wavs_of_different_lengths_in_base64(listening, song):
    path, waveform = song
    content = io.BytesIO()
    soundfile.write(content, waveform[:77], RATE, subtype="PCM_16", format="WAV")
    texts = [base64.b64encode(x).decode() for x in (path.read_bytes(), content.getvalue())]
    body = {"signature_name": "wav", "instances": [{"b64": text} for text in texts]}
    status, answer = post(listening, "halves:predict", body)
    assert status == 200, answer
    for row, sound in zip(answer["predictions"], (waveform, waveform[:77]), strict=True):
        for source, expected in stems_of(sound).items():
            stem, _ = soundfile.read(io.BytesIO(base64.b64decode(row[f"{source}_bytes"]["b64"])))
            assert stem.shape == expected.shape
            assert np.max(np.abs(stem - expected)) < 1.5 * STEP


def wav(rate=RATE, channels=2, width=2):
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setparams((channels, width, rate, 0, "NONE", None))
        writer.writeframes(bytes(30 * channels * width))
    return {"b64": base64.b64encode(content.getvalue()).decode()}


@pytest.mark.parametrize(
    ("name", "body", "status", "message"),
    [
        ("none:predict", {"instances": [1]}, 404, "Servable not found for request: Latest(none)"),
        ("halves/versions/2:predict", {"instances": [1]}, 404, "Specific(halves, 2)"),
        ("halves:classify", {"instances": [1]}, 404, "Malformed request"),
        ("halves:predict", b"{", 400, "JSON Parse error"),
        ("halves:predict", {}, 400, "one of 'instances' and 'inputs'"),
        ("halves:predict", {"instances": [1], "inputs": [1]}, 400, "one of"),
        ("halves:predict", {"instances": [[[1, 2], [3]]]}, 400, "no tensor of type float32"),
        ("halves:predict", {"instances": [[["a", "b"]]]}, 400, "no tensor of type float32"),
        ("halves:predict", {"instances": [[1, 2]]}, 400, "waveform must be float32"),
        ("halves:predict", {"inputs": {"sound": [[[1, 2]]]}}, 400, "sound"),
        ("halves:predict", {"signature_name": "x", "instances": [1]}, 400, '"x" not found'),
        ("halves:predict", {"signature_name": "int16", "instances": [[[0.5, 1]]]}, 400, "int16"),
        ("halves:predict", {"signature_name": "int16", "instances": [[[1, 1e5]]]}, 400, "int16"),
        ("halves:predict", {"signature_name": "wav", "instances": [wav(44100)]}, 400, "1000 Hz"),
        ("halves:predict", {"signature_name": "wav", "instances": [wav(channels=3)]}, 400,
         "needs 2 channels, or 1"),
        ("halves:predict", {"signature_name": "wav", "instances": [wav(width=3)]}, 400, "16"),
        ("halves:predict", {"signature_name": "wav", "instances": [{"b64": "!"}]}, 400, "string"),
    ],
)  # fmt: skip
def test_a_bad_request_is_one_line(listening, name, body, status, message):
    code, answer = post(listening, name, body)
    assert (code, list(answer)) == (status, ["error"])
    assert message in answer["error"]
    assert "\n" not in answer["error"]


def test_status_and_metadata_name_versions_and_signatures(listening):
    def get(path):
        with urllib.request.urlopen(f"http://{listening.rest}/v1/models/{path}") as answer:
            return json.load(answer)

    states = get("halves")["model_version_status"]
    assert [(one["version"], one["state"]) for one in states] == [
        ("3", "AVAILABLE"),
        ("1", "AVAILABLE"),
    ]
    definitions = get("halves/metadata")["metadata"]["signature_def"]["signature_def"]
    assert definitions["block_int16"]["inputs"]["waveform"]["dtype"] == "DT_INT16"


def test_requests_of_all_batch_sizes_and_lengths_that_come_at_once_are_run_together(server, rng):
    requests = [(size, length) for size in range(1, 9) for length in (64, 100)]
    sounds = [rng.uniform(-1, 1, (*shape, 2)).astype(np.float32) for shape in requests]
    with concurrent.futures.ThreadPoolExecutor(len(sounds)) as pool:
        answers = pool.map(
            lambda x: server.predict("halves", None, "serving_default", {"waveform": x}), sounds
        )
        for sound, answer in zip(sounds, answers, strict=True):
            for recording, vocals in zip(sound, answer["vocals"], strict=True):
                expected = stems_of(recording)["vocals"]
                np.testing.assert_allclose(vocals[: len(recording)], expected, atol=1e-6)
    with pytest.raises(serving_double.Refused, match="larger than maximum batch size 8"):
        server.predict("halves", None, "block", {"waveform": np.zeros((9, 64, 2), np.float32)})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fast.wav", "--grpc"], "has 44100 Hz, the model wants 1000"),
        (["wide.wav", "--grpc"], "has 3 channels, the model takes 2 or 1"),
        (["empty.wav", "--grpc"], "is empty"),
        (["text.wav", "--rest"], "not a plain PCM WAV"),
        (["none.wav", "--rest"], "No such file"),
        (["vocals.wav", "--rest"], "is the recording itself"),
        (["good.wav", "--batch", "9", "--grpc"], "--batch must be 1 to 8; got 9"),
        (["good.wav", "--model-version", "2", "--grpc"], "NOT_FOUND: Servable not found"),
        (["good.wav", "--model-version", "2", "--rest"], "404: Servable not found"),
    ],
)
def test_a_mistake_with_the_client_is_one_line(folder, listening, tmp_path, words, message):
    silence = np.zeros((100, 2))
    for name, sound, rate in (
        ("fast", silence, 44100), ("wide", np.zeros((100, 3)), RATE), ("empty", silence[:0], RATE),
        ("vocals", silence, RATE), ("good", silence, RATE),
    ):  # fmt: skip
        soundfile.write(tmp_path / f"{name}.wav", sound, rate)
    (tmp_path / "text.wav").write_text("no sound")
    address = getattr(listening, words[-1].strip("-"))
    run = client(folder, "halves.json", tmp_path / words[0], *words[1:], address, "-o", tmp_path)
    assert run.returncode == 1
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "drums.wav").exists()


def test_no_server_and_no_card_are_one_line(folder, tmp_path):
    soundfile.write(tmp_path / "good.wav", np.zeros((100, 2)), RATE)
    (tmp_path / "x.json").write_text("[]")
    program = folder / "clients" / "serving_client.py"
    run = run_program(program, tmp_path / "x.json", tmp_path / "good.wav", "--rest", "127.0.0.1:9")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "is not the card of a served model" in run.stderr
    for way, message in (("grpc", "UNAVAILABLE"), ("rest", "refused")):
        words = (tmp_path / "good.wav", f"--{way}", "127.0.0.1:9", "-o", tmp_path)
        run = client(folder, "halves.json", *words)
        assert (run.returncode, run.stderr.count("\n")) == (1, 1)
        assert message in run.stderr


def test_the_client_reads_numbers_one_by_one_as_the_server_sends_them_by_default(folder):
    import runpy

    from tensorflow_serving.apis import predict_pb2

    names = runpy.run_path(str(folder / "clients" / "serving_client.py"))
    _, response_class = names["messages"]()
    response = predict_pb2.PredictResponse()
    for name, field, dtype in (("a", "int_val", 5), ("b", "float_val", 1)):
        tensor = response.outputs[name]
        tensor.dtype = dtype
        tensor.tensor_shape.dim.add(size=2)
        getattr(tensor, field).extend([-16384, 16384] if dtype == 5 else [-0.5, 0.5])
    outputs = response_class.FromString(response.SerializeToString()).outputs
    for name in ("a", "b"):
        np.testing.assert_array_equal(names["array_of"](outputs[name]), [-0.5, 0.5])


@pytest.mark.slow  # linking and loading TensorFlow takes seconds
@pytest.mark.skipif(shutil.which("cc") is None, reason="install a C compiler")
def test_a_c_program_separates_through_tensorflows_c_api(folder, song, tmp_path):
    path, waveform = song
    program = c_programs.build(folder / "clients", c_programs.TENSORFLOW, tmp_path / "separate")
    halves, joined = (folder / "models" / name for name in ("halves/3", "joined/1"))

    def separate(*words):
        return subprocess.run(
            [program, *map(str, words), "-o", tmp_path], capture_output=True, text=True
        )

    for model, system in ((halves, made_serving.system()), (joined, made_serving.joined()[1])):
        run = separate(model, path)
        assert run.returncode == 0, run.stderr
        for source, expected in stems_of(waveform, system).items():
            stem, _ = soundfile.read(tmp_path / f"{source}.wav")
            np.testing.assert_allclose(stem, expected, atol=2**-22)
    for words, line in (
        ((halves, tmp_path / "vocals.wav"), "is the recording itself"),
        ((joined, path, "--block-seconds", "0.1"), "takes recordings whole"),
    ):
        run = separate(*words)
        assert (run.returncode, run.stderr.count("\n")) == (1, 1), run.stderr
        assert line in run.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "crepe_tiny"], "crepe_tiny is for pitch; this serves what hears a waveform"),
        (["-p", "nothing"], "nothing"),
        (["--model-version", "0"], "--model-version must be at least 1; got 0"),
    ],
)
def test_a_mistake_with_the_recipe_is_one_line(tmp_path, capsys, words, message):
    assert tf_serving.main([*words, "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "more"),
    [
        ("unet", {"sources": ["vocals", "drums"], "variant": "tiny", "filters": [4, 8]}, {}),
        ("conv_tasnet", {"sources": ["one", "two"], "variant": "tiny"}, {"interchangeable": True}),
        ("dtln", {"sources": ["speech"], "variant": "tiny", "n_layers": 1}, {"level_db": -26.0}),
        ("htdemucs", {"sources": ["vocals", "rest"], "variant": "tiny"}, {}),
    ],
)
def test_a_presets_bundle_is_proven(tmp_path, capsys, name, options, more):
    keras.utils.set_random_seed(0)
    model = models.build(name, **options)
    card = {"name": "small", "model": {"name": name, "options": options}, "trained": "not at all",
            "sources": options["sources"], "sample_rate": 8000, **more}  # fmt: skip
    presets.save_to_preset(model, tmp_path / "preset", card)
    words = ["-p", str(tmp_path / "preset"), "-o", str(tmp_path / "out")]
    assert tf_serving.main(words) == 0
    said = capsys.readouterr().out
    for line in ("replayed, serving_default, int16, wav", "--grpc: ", "--rest: ", "C API: "):
        assert line in said


@pytest.mark.slow
def test_a_second_version_lies_beside_the_first_and_settings_stay(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(serving_graph, "open_blocks", lambda _: made_serving.served())
    monkeypatch.setattr(tf_serving, "_prove", lambda *_: iter(()))
    words = ["-p", "unet_2stems_mobile", "-o", str(tmp_path)]
    assert tf_serving.main(words) == 0
    assert tf_serving.main(words) == 1
    assert "is there already" in capsys.readouterr().err
    (tmp_path / "batching.config").write_text("max_batch_size { value: 4 }\n")
    assert tf_serving.main([*words, "--model-version", "2"]) == 0
    assert tf_serving.main([*words, "--overwrite"]) == 0
    assert "4" in (tmp_path / "batching.config").read_text()
    assert "versions: 1 versions: 2" in (tmp_path / "models" / "models.config").read_text()
    models = tmp_path / "models" / "unet_2stems_mobile"
    assert {path.name for path in models.iterdir()} == {"1", "2"}
