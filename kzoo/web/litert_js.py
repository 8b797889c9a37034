"""LiteRT.js, Google's runtime of .tflite files in browsers: fetched by npm once, and checked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from kzoo import files
from kzoo.presets.cache import cache_folder
from kzoo.presets.fetching import forbid_offline, one_at_a_time

VERSION = "2.5.3"
_PACKAGES = ("@litertjs/core", "@litertjs/wasm-utils")
# File of the packages -> (where it lies beside the page, its sha256). Of the four builds a browser
# fetches one: with threads, without, for older browsers, and with JSPI, which WebGPU needs.
_FILES = {
    "@litertjs/core/dist/index.js": (
        "index.js", "e7daccc3a31eef890848a737ccb863ded5f046a6b40c3fdc0556495adeb5d9b3",
    ),
    "@litertjs/wasm-utils/dist/index.js": (
        "wasm-utils.js", "e0e20bc28ab001ac732cf40d15b6eebd24fb0deaeb95eeba5100f51eebf015f2",
    ),
    "@litertjs/core/wasm/litert_wasm_internal.js": (
        "wasm/", "68efb69f770e3f76aff36a377de629ca496c131b86ac0f0f4b592a1543a898eb",
    ),
    "@litertjs/core/wasm/litert_wasm_internal.wasm": (
        "wasm/", "7280cf4471774867e385e6c3cd53e2b45e2975b80fea338fff4ef359b0865614",
    ),
    "@litertjs/core/wasm/litert_wasm_threaded_internal.js": (
        "wasm/", "92fe7a720c6deedaa1194c011c79a005ea4f6fc98f533b661cf7900760ab4849",
    ),
    "@litertjs/core/wasm/litert_wasm_threaded_internal.wasm": (
        "wasm/", "b5e54eca10f043497edf9a02186332707cae260c550d7ea22b2cae55669596cf",
    ),
    "@litertjs/core/wasm/litert_wasm_jspi_internal.js": (
        "wasm/", "e685a3ed86f447c1feb8f5414319539c5e94d1cfc0eb49c3c5e6a788a6f5541b",
    ),
    "@litertjs/core/wasm/litert_wasm_jspi_internal.wasm": (
        "wasm/", "a103e14db26cdbda9ba1a93633e59f3bf604d082fa7ab0c30ca730838e3faa69",
    ),
    "@litertjs/core/wasm/litert_wasm_compat_internal.js": (
        "wasm/", "4d8f894b7883654fd6e8439730aa41e79ceaab7d19184fc4f1f0b0f1a2a2c8a5",
    ),
    "@litertjs/core/wasm/litert_wasm_compat_internal.wasm": (
        "wasm/", "5255c8ad06eabdbd2522cdebf6b22fc10faf74625c23a49b9e072570cd1fa41c",
    ),
}  # fmt: skip


def packages(node_modules: Path | None = None) -> Path:
    """The folder that has LiteRT.js of `VERSION`, every file of it checked.

    node_modules: where npm has put it; by default it is in the cache, where npm puts it once.
    Raises ValueError for files of another version, ImportError where npm is missing or fails,
    PresetError with KZOO_OFFLINE.
    """
    source = _fetched() if node_modules is None else node_modules
    for name, (_, sha256) in _FILES.items():
        path = source / name
        if not path.is_file() or files.file_sha256(path) != sha256:
            raise ValueError(
                f"{path}: is not that of {_PACKAGES[0]} {VERSION}; npm install {_specified()}"
            )
    return source


def copy(folder: Path, node_modules: Path | None = None) -> None:
    """Put what a page needs of `packages` into `folder`."""
    source = packages(node_modules)
    for name, (place, _) in _FILES.items():
        target = folder / place / Path(name).name if place.endswith("/") else folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)
    # Names of packages mean nothing to a browser's worker, which has no import map.
    index = folder / "index.js"
    text = index.read_text(encoding="utf-8")
    index.write_text(text.replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"'), encoding="utf-8")


def _fetched() -> Path:
    """The folder of the packages in the cache, which npm fills where they are missing."""
    place = cache_folder() / f"litert-js-{VERSION}"
    with one_at_a_time(cache_folder() / "locks" / place.name, "LiteRT.js"):
        if not place.is_dir():
            forbid_offline(f"LiteRT.js {VERSION}")
            with files.replacing(place) as folder:
                install(folder)
    return place / "node_modules"


def install(folder: str | Path) -> None:
    """Let npm put the packages into `folder`; ImportError where it cannot, or is missing."""
    if (npm := shutil.which("npm")) is None:
        raise ImportError(
            "LiteRT.js comes by npm, which is not installed; install it, or bring the node_modules "
            f"of a machine that has run: npm install {_specified()}"
        )
    Path(folder).mkdir(parents=True, exist_ok=True)
    command = [npm, "install", "--prefix", folder, "--no-save", "--ignore-scripts", "--no-audit"]
    command += _specified().split()
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        lines = [line for line in run.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise ImportError(f"npm could not fetch LiteRT.js {VERSION}: {lines[0]}")


def _specified() -> str:
    return " ".join(f"{name}@{VERSION}" for name in _PACKAGES)
