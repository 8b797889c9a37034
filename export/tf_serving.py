"""Everything that TensorFlow Serving needs to serve a separator, compared before it goes out.

    python -m export.tf_serving -p unet_2stems_mobile -o out

    out/models/unet_2stems_mobile/1/     the SavedModel, with its card and its warm-up requests
    out/models/models.config             all models and versions in the folder
    out/batching.config, monitoring.config, docker-compose.yaml
    out/clients/                         serving_client.py for gRPC and REST, NAME.json, a C program
    out/README.md, out/LICENCES/NAME/

Another preset, or --model-version 2 of the same, is added to the folder, whose settings stay as
they are. Recordings go through the SavedModel block by block, see `export.serving_graph`. It is
proven without the server's program: TensorFlow reloads it, the warm-up requests are replayed, both
clients separate a recording through a stand-in of the server's APIs (`export.serving_double`), the
C program through TensorFlow's C API, and each answer is compared with kzoo's own.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import math
import shutil
import string
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export import c_programs, programs
from export.mobile import figures, write_licences

if TYPE_CHECKING:
    from export.serving_graph import ServedBlocks
    from kzoo.deploy.parity import Difference
    from kzoo.presets import Preset

_FOLDER = Path(__file__).parent
_CLIENT = _FOLDER / "consumers" / "serving_client.py"
_C_PROGRAM = c_programs.TENSORFLOW[0]
MOST = 8  # requests that are run as one
_CONFIGS = {
    "batching.config": f"""max_batch_size {{ value: {MOST} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 64 }}
num_batch_threads {{ value: 2 }}
pad_variable_length_inputs: true
""",
    "monitoring.config": """prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
""",
    "docker-compose.yaml": """services:
  serving:
    image: ${TF_SERVING_IMAGE:-tensorflow/serving:latest}
    ports: ["8500:8500", "8501:8501"]
    environment:
      MALLOC_ARENA_MAX: "2"  # each arena keeps what its largest request took
    volumes:
      - ./models:/models:ro
      - ./batching.config:/config/batching.config:ro
      - ./monitoring.config:/config/monitoring.config:ro
    command:
      - --model_config_file=/models/models.config
      - --model_config_file_poll_wait_seconds=60
      - --enable_batching=true
      - --batching_parameters_file=/config/batching.config
      - --monitoring_config_file=/config/monitoring.config
      - --rest_api_timeout_in_ms=600000
      # Without it answers come number by number, and negative ones of 16 bits take ten bytes.
      - --enable_serialization_as_tensor_content=true
    restart: unless-stopped
""",
}
_STEP = 2.0**-15  # of 16 bits


def main(arguments: list[str] | None = None) -> int:
    return programs.run("tf_serving", bundle, parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """What the program's words mean."""
    parser = programs.parser("tf_serving", __doc__)
    programs.add_preset_and_out(parser, out="The folder to write, or to add to.")
    parser.add_argument(
        "--model-version", type=int, default=1, help="Its number; by default %(default)s."
    )
    parser.add_argument("--sound", type=Path, help="A recording on which it is compared with kzoo.")
    parser.add_argument("--overwrite", action="store_true", help="Replace a version that is there.")
    return parser


def bundle(options: argparse.Namespace) -> Iterator[str]:
    """Write the model and all around it; yields what is to be said on the way.

    Raises ValueError where an answer differs from kzoo's, FileExistsError without --overwrite,
    ImportError without tensorflow-serving-api; whatever it raises, OUT is as it was.
    """
    from kzoo import presets
    from kzoo.cli.terminal import quiet_tensorflow
    from kzoo.deploy.placing import beside, move

    preset = presets.open_preset(options.preset)
    name, version = preset.card["name"], options.model_version
    place = options.out / "models" / name / str(version)
    if version < 1:
        raise ValueError(f"--model-version must be at least 1; got {version}")
    if place.exists() and not options.overwrite:
        raise FileExistsError(f"{place}: is there already; --overwrite it or give --model-version")
    quiet_tensorflow()
    if (task := preset.sizes()[0].task) != "separation":
        raise ValueError(
            f"{preset} is for {task}; this serves what hears a waveform: "
            "kzoo export --to saved_model writes the others"
        )
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise ImportError(
            "the requests to warm up need tensorflow-serving-api: pip install 'kzoo[serving]'"
        )
    preset.download()
    from export import serving_graph

    blocks = serving_graph.open_blocks(preset)
    with beside(place) as scratch:
        folder = scratch / "bundle"
        card = write(folder, blocks, name=name, version=version, base_card=preset.card)
        written = folder / "models" / name / str(version)
        yield f"{written.relative_to(folder)}: {_megabytes(written):.1f} MB"
        yield from _prove(preset, blocks, card, folder, scratch, options.sound)
        _write_card(folder, card)  # with its parity
        move(written, place, scratch)
        (folder / "models" / "models.config").unlink()
        (folder / "models" / name).rmdir()
        (folder / "models").rmdir()
        for file in _CONFIGS:  # which may have been changed since
            if (options.out / file).exists():
                (folder / file).unlink()
        shutil.copytree(folder, options.out, dirs_exist_ok=True)
    write_models_config(options.out)
    yield f"{options.out}: complete; the server's image itself was not run here"


def write(
    folder: Path, blocks: ServedBlocks, *, name: str, version: int, base_card: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a bundle of one model, unproven, to a new folder; returns the card.

    base_card: its summary and licences go into the card.
    """
    from export import serving_graph
    from kzoo.deploy.formats import saved_model

    model = folder / "models" / name / str(version)
    saved_model.store(model, serving_graph.signatures(blocks))
    (model / "assets.extra").mkdir()
    _write_warm_up(model / "assets.extra" / "tf_serving_warmup_requests", name, blocks)
    card = {
        "name": name,
        "version": version,
        **serving_graph.describe(blocks),
        "signatures": _signatures(model),
        **{key: base_card[key] for key in ("summary", "licences") if key in base_card},
        "date": datetime.date.today().isoformat(),
    }
    for file, content in _CONFIGS.items():
        (folder / file).write_text(content, encoding="utf-8")
    write_models_config(folder)
    clients, licences = folder / "clients", folder / "LICENCES" / name
    for path in (clients, licences):
        path.mkdir(parents=True)
    for path in (_CLIENT, _C_PROGRAM, c_programs.HEADER):
        shutil.copyfile(path, clients / path.name)
    _write_card(folder, card)
    write_licences(licences, card.get("licences", {}))
    template = string.Template((_FOLDER / "serving" / "README.md").read_text(encoding="utf-8"))
    readme = template.substitute(
        name=name, rate=blocks.sample_rate, channels=blocks.channels, most=MOST,
        tensorflow=importlib.metadata.version("tensorflow"),
    )  # fmt: skip
    (folder / "README.md").write_text(readme, encoding="utf-8")
    return card


def _write_card(folder: Path, card: Mapping[str, Any]) -> None:
    """Beside the clients, and in the SavedModel, where the C program reads it."""
    content = json.dumps(card, indent=2, allow_nan=False) + "\n"
    model = folder / "models" / card["name"] / str(card["version"])
    for path in (folder / "clients" / f"{card['name']}.json", model / "assets.extra" / "card.json"):
        path.write_text(content, encoding="utf-8")


def write_models_config(folder: Path) -> None:
    """models/models.config of what lies in models/: every version of every model is served."""
    lines = ["model_config_list {"]
    for model in sorted(path for path in (folder / "models").iterdir() if path.is_dir()):
        numbers = sorted(int(p.name) for p in model.iterdir() if p.name.isdigit())
        if not numbers:
            continue
        versions = " ".join(f"versions: {number}" for number in numbers)
        lines += [
            "  config {",
            f"    name: {json.dumps(model.name)}",
            f"    base_path: {json.dumps(f'/models/{model.name}')}",
            '    model_platform: "tensorflow"',
            f"    model_version_policy {{ specific {{ {versions} }} }}",
            "  }",
        ]
    content = "\n".join([*lines, "}", ""])
    (folder / "models" / "models.config").write_text(content, encoding="utf-8")


def _write_warm_up(path: Path, name: str, blocks: ServedBlocks) -> None:
    """A request of one block to each signature, as TensorFlow Serving sends them to a new model."""
    import tensorflow as tf
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    shape = (1, blocks.grid.samples, blocks.channels)
    block = np.zeros(shape, np.int16)
    wav = tf.audio.encode_wav(np.zeros(shape[1:], np.float32), blocks.sample_rate)
    content = np.array([wav.numpy()], object)
    told = _lengths(blocks, shape[:2])
    requests = {
        "serving_default": {"waveform": block.astype(np.float32), **told},
        "int16": {"waveform": block, **told},
        "wav": {"wav_bytes": content},
    }
    if blocks.alone:
        requests["block"], requests["block_int16"] = requests["serving_default"], requests["int16"]
        requests["block_wav"] = requests["wav"]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            request = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name=signature)
            )
            for key, array in inputs.items():
                request.inputs[key].CopyFrom(_constant(array))
            log = prediction_log_pb2.PredictLog(request=request)
            entry = prediction_log_pb2.PredictionLog(predict_log=log)
            writer.write(entry.SerializeToString())


def _lengths(blocks: ServedBlocks, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """What else a request of recordings `shape`, `(batch, samples)`, has: how long they are."""
    return {"samples": np.full(shape[0], shape[1], np.int32)} if blocks.told_lengths else {}


def _constant(array: np.ndarray):
    """The message of a tensor whose numbers are all the same: they are written once."""
    import tensorflow as tf

    if array.dtype == object:
        return tf.make_tensor_proto(array)
    return tf.make_tensor_proto(array.flat[0], array.dtype, array.shape)


def _signatures(folder: Path) -> dict[str, Any]:
    """{signature: {"inputs", "outputs"}} with the type and shape of each tensor."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    content = (folder / "saved_model.pb").read_bytes()
    [graph] = saved_model_pb2.SavedModel.FromString(content).meta_graphs

    def told(tensors):
        return {
            name: {
                "type": tf.as_dtype(tensor.dtype).name,
                "shape": [None if d.size < 0 else d.size for d in tensor.tensor_shape.dim],
            }
            for name, tensor in sorted(tensors.items())
        }

    return {
        name: {"inputs": told(one.inputs), "outputs": told(one.outputs)}
        for name, one in sorted(graph.signature_def.items())
        if not name.startswith("__")
    }


def _prove(
    preset: Preset,
    blocks: ServedBlocks,
    card: dict,
    folder: Path,
    scratch: Path,
    sound: Path | None,
) -> Iterator[str]:
    """Separate a block and a half in every way that the bundle offers; yields how it did."""
    import soundfile

    from export.serving_double import Listening, Server
    from kzoo import audio, separation
    from kzoo.deploy import examples, parity
    from kzoo.engines.tensorflow import system

    rate, channels = blocks.sample_rate, blocks.channels
    samples = blocks.grid.hop + blocks.grid.samples // 2 + 13
    if sound is None:
        waveform, what = examples.parity_sound(rate, channels, samples)
    else:
        recording, _ = audio.read(sound, sample_rate=rate)
        waveform, what = examples.fitted_to(recording, channels, samples), sound.name
    waveform = np.rint(np.clip(waveform, -1, 1 - _STEP) / _STEP).astype(np.float32) * _STEP
    song = scratch / "song.wav"
    soundfile.write(song, waveform, rate, subtype="PCM_16")
    separator = separation.BlockSeparator(system(preset), overlap=preset.card.get("overlap", 0.0))
    expected = separator.separate(waveform, rate)

    server = Server(folder)
    [model] = server.models[card["name"]].values()
    warmed = [signature for signature, _ in model.warm_up()]
    if sorted(warmed) != sorted(card["signatures"]):
        raise ValueError(f"the warm-up requests are of {', '.join(warmed)}")
    yield f"tf_serving_warmup_requests: replayed, {', '.join(warmed)}"

    told = _lengths(blocks, (1, samples))
    found = model.run("serving_default", {"waveform": waveform[None], **told})
    differences = parity.compare(expected, {name: x[0] for name, x in found.items()}, waveform)
    parity.check(differences, parity.LIMITS_DB["fp32"])
    card["parity"] = {"sound": what, "sources": _told(differences)}
    yield f"serving_default, against kzoo on {what}: {figures(_told(differences))}"
    whole = {"waveform": (waveform[None] / _STEP).astype(np.int16), **told}
    found = {name: x[0] * _STEP for name, x in model.run("int16", whole).items()}
    yield f"int16: {_steps(expected, found):.2f} steps of 16 bits from kzoo at most"

    def separated(words: list, out: Path) -> dict[str, np.ndarray]:
        out.mkdir()
        run = subprocess.run(
            [*map(str, words), "-o", str(out)], capture_output=True, text=True, check=False
        )
        if run.returncode:
            lines = run.stderr.strip().splitlines() or ["no message"]
            raise ValueError(f"{Path(words[-2]).name}: {lines[-1]}")
        return {
            source: soundfile.read(out / f"{source}.wav", always_2d=True)[0] for source in expected
        }

    with Listening(server) as listening:
        for way in ("grpc", "rest"):
            program = [sys.executable, "-I", folder / "clients" / _CLIENT.name]
            words = [*program, folder / "clients" / f"{card['name']}.json", song]
            words += [f"--{way}", getattr(listening, way)]
            found = separated(words, scratch / way)
            yield f"{_CLIENT.name} --{way}: {_steps(expected, found):.2f} steps from kzoo at most"
    program = c_programs.build(folder / "clients", c_programs.TENSORFLOW, scratch / "separate")
    if program is None:
        yield f"{_C_PROGRAM.name}: not run, there is no C compiler (cc)"
        return
    path = folder / "models" / card["name"] / str(card["version"])
    found = separated([program, path, song], scratch / "c")
    differences = parity.compare(expected, found, waveform)
    parity.check(differences, parity.LIMITS_DB["fp32"])
    yield f"{_C_PROGRAM.name}, TensorFlow's C API: {figures(_told(differences))}"


def _told(differences: Mapping[str, Difference]) -> dict[str, dict[str, float | None]]:
    """In JSON, which has no infinity: None where not one sample differs."""
    return {
        name: {"snr_db": round(one.snr_db, 2) if math.isfinite(one.snr_db) else None}
        for name, one in differences.items()
    }


def _steps(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """The largest difference in steps of 16 bits. Raises ValueError above 2."""
    steps = max(
        float(np.max(np.abs(np.clip(expected[name], -1, 1 - _STEP) - found[name]))) / _STEP
        for name in expected
    )
    if not steps <= 2:
        raise ValueError(f"an answer is {steps:.1f} steps of 16 bits from what kzoo separates")
    return steps


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
