"""What of an export can be refused before a model is built, without TensorFlow."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMATS = ("saved_model", "tflite", "onnx")
PRECISIONS = ("fp32", "fp16", "int8", "int4", "dynamic_int8", "full_int8")
FFTS = ("auto", "rfft2d", "matmul")
TARGETS = ("cpu", "gpu")
LITERT_MISSING = "LiteRT, which reads .tflite files, is not installed: pip install 'kzoo[tflite]'"
ONNX_MISSING = "{}, which an ONNX file needs, is not installed: pip install 'kzoo[onnx]'"
QUANTIZER_MISSING = (
    "full_int8 needs ai-edge-quantizer, which is not installed: pip install 'kzoo[quantize]'"
)
_ONNX_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")
_UNSAID = 0.05


def check(
    to: str,
    *,
    precision: str = "fp32",
    block_seconds: float | None = None,
    allow_flex: bool = False,
) -> None:
    """Raise ValueError for what no export takes, ImportError where nothing here could prove it.

    With `allow_flex` it is seen only in the file which interpreter reads it.
    """
    if to not in FORMATS:
        raise ValueError(f"an artefact is one of {', '.join(FORMATS)}; got {to!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if to != "tflite" and precision != "fp32":
        what = {"saved_model": "a SavedModel", "onnx": "an ONNX file"}[to]
        raise ValueError(f"{what} is fp32; got precision={precision!r}: use tflite")
    if block_seconds is not None and not 0 < block_seconds < math.inf:
        raise ValueError(f"a block lasts more than 0 seconds; got {block_seconds:g}")
    if to == "tflite" and not allow_flex and importlib.util.find_spec("ai_edge_litert") is None:
        raise ImportError(LITERT_MISSING)
    if precision == "full_int8" and importlib.util.find_spec("ai_edge_quantizer") is None:
        raise ImportError(QUANTIZER_MISSING)
    if to == "onnx":
        for package in _ONNX_PACKAGES:
            if importlib.util.find_spec(package) is None:
                raise ImportError(ONNX_MISSING.format(package))


def transforms(to: str, fft: str, target: str) -> str:
    """How a file's Fourier transforms are computed: `fft`, but for a GPU always "matmul".

    Raises ValueError for unknown words, for what is no choice of `to`, and for a GPU with RFFT2D.
    """
    if fft not in FFTS or target not in TARGETS:
        raise ValueError(
            f"fft must be one of {', '.join(FFTS)}, and target one of {', '.join(TARGETS)}; got "
            f"{fft!r} and {target!r}"
        )
    if to != "tflite" and (fft, target) != ("auto", "cpu"):
        raise ValueError(f"fft and target are of a TFLite file; got {to!r}: leave them out")
    if (fft, target) == ("rfft2d", "gpu"):
        raise ValueError("RFFT2D has no kernel on GPUs; leave fft or target gpu out")
    return "matmul" if target == "gpu" else fft


def check_condition(card: Mapping[str, Any]) -> None:
    """Raise ValueError where the card of a preset is not of a model that can be told what to give.

    The card alone is read: the options of a model would load TensorFlow.
    """
    if "condition" not in card["model"].get("options", {}):
        raise ValueError(
            f"preset {card['name']} has the same stems always; --condition is for conditioned "
            "U-Nets whose card has the option condition"
        )


def artefact_name(
    preset: str, *, condition: str | None = None, target: str = "cpu", **options: Any
) -> str:
    """What an artefact of `preset` is called, built with these options of the model."""
    name = f"{preset}_any_stem" if condition == "input" else preset
    return name if target == "cpu" else f"{name}_{target}"


def places(
    to: str,
    folder: str | Path,
    *,
    name: str,
    precision: str = "fp32",
    version: int = 1,
    overwrite: bool = False,
) -> dict[str, Path]:
    """Where an artefact, and the card where it is a file of its own, will lie under `folder`.

    Raises ValueError for a name with folders, FileExistsError (without `overwrite`).
    """
    if not name or Path(name).name != name:
        raise ValueError(f"name must be a file name without folders; got {name!r}")
    if to == "saved_model":
        found = {"artefact": Path(folder) / name / str(version)}
    elif to == "onnx":
        stem = Path(folder) / name
        found = {"artefact": Path(f"{stem}.onnx"), "card": Path(f"{stem}.json")}
    else:
        stem = Path(folder) / f"{name}_{precision}"
        found = {"artefact": Path(f"{stem}.tflite"), "card": Path(f"{stem}.json")}
    for place in found.values():
        if place.exists() and not overwrite:
            raise FileExistsError(f"{place}: is there already; overwrite it or name another folder")
    return found


def block_note(card: Mapping[str, Any], block_seconds: float | None) -> str | None:
    """Say that an artefact's block is not as long as was asked for; None where it is.

    A difference of less than 5 % goes without saying: lengths are whole frames of a network.
    """
    if block_seconds is None or card["block_samples"] is None:
        return None
    seconds = card["block_samples"] / card["sample_rate"]
    if abs(seconds - block_seconds) <= _UNSAID * block_seconds:
        return None
    return (
        f"{card['name']}: its blocks last {seconds:.3g} s, not {block_seconds:.3g} s: that is the "
        "next length that the network takes"
    )
