"""A corpus fetched, checked and unpacked: it is in its folder whole, or not at all."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from kzoo.downloads.catalogue import Archive, Entry
from kzoo.presets.cache import cache_folder
from kzoo.presets.card import PresetError, Progress
from kzoo.presets.fetching import fetch, free_space_or_refuse, one_at_a_time

Bar = Callable[[str], contextlib.AbstractContextManager[Progress]]
_CHUNK = 1 << 20
_ELSEWHERE = "make room, or name a folder on another disk"


def refuse_early(name: str, entry: Entry, folder: Path) -> None:
    """ValueError where a corpus cannot be fetched at all, or `folder` holds something."""
    if not entry.archives:
        raise ValueError(f"{name} is not fetched by kzoo: {entry.otherwise} ({entry.page})")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: is there already; remove it, or name another folder")


def obtain(
    name: str, entry: Entry, folder: str | Path, *, bar: Bar, say: Callable[[str], None]
) -> Path:
    """Fetch the archives of a corpus and make `folder` of what they hold.

    Until that is whole everything lies beside it in .<folder>.download, where the same call goes
    on after an interruption. With KZOO_MIRROR set each file is asked for there by the path of its
    address, and nowhere else. One folder around all that an archive holds is left out.
    bar: makes a progress of bytes for a title. say: told the sha256 of what has no published md5.
    Raises ValueError, presets.PresetError too, for what cannot be fetched, is not the published
    file, does not fit on the disk, or cannot be unpacked safely.
    """
    folder = Path(folder)
    lock = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    with one_at_a_time(cache_folder() / "locks" / lock, f"corpus {name!r}"):
        refuse_early(name, entry, folder)
        store = folder.parent / f".{folder.name}.download"
        store.mkdir(parents=True, exist_ok=True)
        paths = [store / archive.name for archive in entry.archives]
        # Sound is as large unpacked as it was packed, or larger.
        needed = 2 * entry.size - sum(map(_there, paths)) if entry.size else 0
        free_space_or_refuse(store, needed, _ELSEWHERE)
        for archive, path in zip(entry.archives, paths, strict=True):
            _fetch(archive, path, bar=bar, say=say)
        free_space_or_refuse(store, sum(map(_there, paths)), _ELSEWHERE)
        unpacked = store / "unpacked"
        _unpack(paths, unpacked, bar)
        inside = list(unpacked.iterdir())
        whole = inside[0] if len(inside) == 1 and inside[0].is_dir() else unpacked
        os.replace(whole, folder)
        shutil.rmtree(store)
    return folder


def _there(path: Path) -> int:
    """Bytes of a file, or of the part of it, that have been fetched."""
    places = (path, path.with_name(f"{path.name}.part"))
    return next((place.stat().st_size for place in places if place.exists()), 0)


def _fetch(archive: Archive, path: Path, *, bar: Bar, say: Callable[[str], None]) -> None:
    mirror = os.environ.get("KZOO_MIRROR")
    url = archive.url
    if mirror:
        url = mirror.rstrip("/") + urllib.parse.urlsplit(url).path
    if not path.exists():
        with bar(f"fetching {archive.name}") as progress:
            fetch(url, path, size=archive.size, progress=progress)
    with bar(f"checking {archive.name}") as progress:
        found = _digest(path, "md5" if archive.md5 else "sha256", progress)
    if archive.md5 is None:
        say(f"no checksum of {archive.name} is published; its sha256 is {found}")
    elif found != archive.md5:
        path.unlink()
        raise PresetError(f"{url}: md5 is {found}, not {archive.md5}; not kept")


def _digest(path: Path, algorithm: str, progress: Progress) -> str:
    digest, done, total = hashlib.new(algorithm, usedforsecurity=False), 0, path.stat().st_size
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()


def _unpack(paths: list[Path], folder: Path, bar: Bar) -> None:
    """All archives into a new folder, in which there are no links and nothing from outside."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path in paths:
        with bar(f"unpacking {path.name}") as progress:
            try:
                if path.suffix == ".rar":
                    _unpack_rar(path, folder)
                else:
                    _unpack_members(path, folder, progress)
            except (
                tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError,
                RuntimeError,  # it wants a password, or a method that Python lacks
            ) as error:  # fmt: skip
                raise PresetError(
                    f"{path}: cannot be unpacked ({error}); remove it to fetch it anew"
                ) from None


def _unpack_members(path: Path, folder: Path, progress: Progress) -> None:
    total, done = path.stat().st_size, 0
    with contextlib.closing(_members(path)) as members:
        for name, size, opened, place in members:
            target = folder / _inside(name, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            free_space_or_refuse(target.parent, size, _ELSEWHERE)
            with opened() as content, open(target, "wb") as file:
                while chunk := content.read(_CHUNK):
                    file.write(chunk)
            done = max(done, place())
            progress(done, total)


def _members(path: Path) -> Iterator[tuple[str, int, Callable[[], IO[bytes]], Callable[[], int]]]:
    """(name, bytes, what opens it, what tells how far it is in the archive) of each file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise PresetError(f"{path}: holds a link, {entry.filename!r}; not unpacked")
                if not entry.is_dir():
                    end = entry.header_offset + entry.compress_size
                    opened = functools.partial(archive.open, entry)
                    yield entry.filename, entry.file_size, opened, lambda end=end: end
        return
    with open(path, "rb") as packed, tarfile.open(fileobj=packed) as archive:
        for entry in archive:
            if not (entry.isfile() or entry.isdir()):
                raise PresetError(f"{path}: holds a link or a device, {entry.name!r}; not unpacked")
            if entry.isfile():
                opened = functools.partial(archive.extractfile, entry)
                yield entry.name, entry.size, opened, packed.tell


def _inside(name: str, archive: Path) -> Path:
    """The path of a member below the folder that it is unpacked to."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name.partition("/")[0] or not path.parts:
        raise PresetError(f"{archive}: {name!r} lies outside of its folder; not unpacked")
    return Path(*path.parts)


def _unpack_rar(path: Path, folder: Path) -> None:
    program = shutil.which("bsdtar")
    if program is None:
        raise PresetError(
            f"{path}: is fetched, and bsdtar is wanted to unpack it (apt-get install "
            "libarchive-tools); then give the same command again"
        )
    # It refuses paths that lead out of the folder, as tar does, unless it is told -P.
    run = subprocess.run(
        [program, "-xf", str(path), "-C", str(folder)], capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise PresetError(f"{path}: cannot be unpacked ({run.stderr.strip()[:160]})")
    if link := next((p for p in folder.rglob("*") if p.is_symlink()), None):
        raise PresetError(f"{path}: holds a link, {link.name!r}; not unpacked")
