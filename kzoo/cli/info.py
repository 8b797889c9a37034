"""The verb `info`: what a file for other runtimes tells of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .tflite or .onnx file.")],
) -> None:
    """Print what a .tflite or .onnx file says of itself."""
    print(json.dumps(told_by(file), indent=2, ensure_ascii=False))


def told_by(path: Path) -> dict[str, Any]:
    """The metadata of an exported file; ValueError for one that is foreign, damaged or silent."""
    from kzoo.deploy import request
    from kzoo.deploy.formats.metadata import read_metadata

    if path.suffix == ".onnx":
        try:
            import onnx
            from google.protobuf.message import DecodeError
        except ImportError:
            raise ImportError(request.ONNX_MISSING.format("onnx")) from None
        try:
            found = onnx.load_model(path, load_external_data=False).metadata_props
        except DecodeError:
            raise ValueError(f"{path}: is no ONNX file, or is damaged") from None
        told = next((json.loads(one.value) for one in found if one.key == "kzoo"), None)
    else:
        told = read_metadata(path)
    if told is None:
        raise ValueError(f"{path}: tells nothing of itself, as files of other programs do")
    return told
