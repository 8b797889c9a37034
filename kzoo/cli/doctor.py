"""The verb `doctor`: versions, extras, and where things are kept."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from typing import Annotated

import typer

EXTRAS = {
    "ai_edge_litert": ("tflite", "run and prove TFLite exports"),
    "tf2onnx": ("onnx", "write ONNX files"),
    "onnx": ("onnx", "describe ONNX files"),
    "ai_edge_quantizer": ("quantize", "export arithmetic in whole numbers, full_int8"),
    "tensorflow_serving": ("serving", "write folders for TensorFlow Serving"),
    "matplotlib": ("plot", "draw the pictures of demo, pitch and transfer"),
    "museval": ("eval", "compare scores with museval's"),
    "musdb": ("eval", "read MUSDB18"),
    "pesq": ("speech", "score speech by PESQ, CSIG, CBAK and COVL"),
    "pystoi": ("speech", "score speech by STOI"),
    "peass": ("peass", "score separation by PEASS (an unofficial port, GPL-3)"),
    "onnxruntime": ("speech", "score speech by DNSMOS"),
    "sounddevice": ("live", "clean sound as it comes from a microphone"),
    "tensorboard": ("train", "show what kzoo train logs"),
    "stempeg": ("eval", "a real song with its stems, for exports and the demo"),
    "librosa": ("librosa", "pYIN, and most of kzoo separate --method"),
    "mido": ("midi", "render MIDI files to stems"),
    "numba": ("generate", "draw sound sample after sample at speed"),
    "pyroomacoustics": ("rooms", "compute the reflections of rooms to train with"),
    "apache_beam": ("beam", "spread a manifest over processes and machines"),
    "sklearn": ("listen", "score taggers in kzoo evaluate"),
    "mir_eval": ("listen", "score onsets and melodies in kzoo evaluate"),
    "rapidfuzz": ("listen", "score recognisers of phones in kzoo evaluate"),
    "tensorflow_io": ("tfio", "masks of the step spec_augment, as masks: tensorflow_io"),
}


def doctor(
    test: Annotated[
        bool,
        typer.Option(
            "--test",
            help="Run a second of sound through every preset whose weights are here, and check what"
            " comes out; exit status 1 where one fails.",
        ),
    ] = False,
) -> None:
    """Show what is installed and what is missing, or test presets."""
    if test:
        _test()
        return
    for line in describe_installation():
        print(line)


def _test() -> None:
    from kzoo.cli import self_test
    from kzoo.cli.terminal import quiet_tensorflow

    quiet_tensorflow()
    names = self_test.presets_here()
    width, failed = max(map(len, names), default=0), 0
    for found in self_test.run(names):
        verdict = "ok" if found.problem is None else f"FAILED: {found.problem}"
        failed += found.problem is not None
        print(
            f"{found.preset:{width}} {found.task:17} {found.seconds:5.1f} s  {verdict}", flush=True
        )
    if failed:
        raise SystemExit(1)


def describe_installation() -> list[str]:
    """Versions of what kzoo needs, the state of its extras, and where it keeps things."""
    from importlib import metadata

    from kzoo import presets

    lines = [f"python {sys.version.split()[0]}"]
    for package in ("kzoo", "tensorflow", "keras", "numpy", "scipy", "soundfile", "soxr", "av"):
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{package} MISSING: pip install kzoo")
    for module, (extra, use) in EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        way = "" if found else f" - pip install 'kzoo[{extra}]'"
        lines.append(f"{module} {'present' if found else 'absent'}: {use}{way}")
    if shutil.which("ffmpeg") is None:
        lines.append("no ffmpeg on PATH: kzoo needs none; musdb, museval and stempeg do")
    lines.append(f"cache {presets.cache_folder()}")
    return lines
