"""LiteRT opened in one way, without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kzoo.deploy.request import LITERT_MISSING


def open_litert(model: str | Path | bytes, *, threads: int) -> Any:
    """LiteRT's interpreter of a file or of its bytes, whose tensors are not allocated yet.

    Raises ImportError where LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise ImportError(LITERT_MISSING) from None
    if isinstance(model, bytes):
        return Interpreter(model_content=model, num_threads=threads)
    return Interpreter(model_path=os.fspath(model), num_threads=threads)
