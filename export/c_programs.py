"""The C programs of the bundles, compiled against the libraries in Python's wheels."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

CONSUMERS = Path(__file__).parent / "consumers"
# What a program needs beside its own file, and the wheel and libraries that it is linked with.
HEADER = CONSUMERS / "recording.h"
LITERT = (CONSUMERS / "separate_tflite.c", "ai_edge_litert", ("libLiteRt.so",))
TENSORFLOW = (
    CONSUMERS / "separate_saved_model.c",
    "tensorflow",
    ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2"),
)


def build(folder: Path, kind: tuple[Path, str, tuple[str, ...]], program: Path) -> Path | None:
    """Compile the file of LITERT or TENSORFLOW in `folder` to `program`; None without `cc`.

    Raises ValueError where the compiler refuses.
    """
    path, package, libraries = kind
    if shutil.which("cc") is None:
        return None
    wheel = Path(importlib.util.find_spec(package).submodule_search_locations[0])
    words = ["cc", "-O2", "-Wall", "-Wextra", "-o", program, folder / path.name]
    words += [f"-I{wheel / 'include'}", *(wheel / name for name in libraries)]
    words += ["-lm", f"-Wl,-rpath,{wheel}"]
    if shutil.which("ld.gold"):  # reads TensorFlow's 100,000s of symbols in a fifth of the time
        words.append("-fuse-ld=gold")
    run = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise ValueError(f"{path.name}: cc: {run.stderr.strip().splitlines()[0]}")
    return program
