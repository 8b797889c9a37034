"""Fetching a file once: resumed where it stopped, checked by sha256, moved into place whole."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from kzoo.presets import PresetError, Progress, file_sha256

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30


def forbid_offline(what: str) -> None:
    """PresetError when KZOO_OFFLINE is set, saying what would have been fetched."""
    if os.environ.get("KZOO_OFFLINE", "") not in ("", "0"):
        raise PresetError(
            f"{what} is not on this machine and KZOO_OFFLINE is set; unset it to fetch, or copy "
            "another machine's cache folder and point KZOO_CACHE at it"
        )


def fetch(
    url: str, path: str | Path, *, sha256: str | None = None, progress: Progress | None = None
) -> Path:
    """Download `url` to `path`, continuing `path`.part where an earlier try ended.

    sha256: None where the publisher's is not known; anything else that arrives is deleted and
    raises PresetError, as do a server's refusal and a broken connection (the part is kept then).
    """
    forbid_offline(url)
    path = Path(path)
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _receive(url, part, progress)
    except urllib.error.HTTPError as error:
        part.unlink(missing_ok=True)
        raise PresetError(f"{url}: the server answered {error.code} {error.reason}") from None
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise PresetError(f"{url}: download failed ({reason}); try again to resume") from None
    if sha256 is not None and (found := file_sha256(part)) != sha256:
        part.unlink()
        raise PresetError(f"{url}: sha256 is {found[:12]}..., not {sha256[:12]}...; not kept")
    os.replace(part, path)
    return path


def _receive(url: str, part: Path, progress: Progress | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "kzoo"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # the part is the whole file already, or more than it
            total = error.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(done):
                return
            part.unlink()
            return _receive(url, part, progress)
        raise
    with response:
        resumed = response.status == 206
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with open(part, "ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"connection closed after {done} of {total} bytes")


def free_space_or_refuse(folder: Path, needed: int) -> None:
    """PresetError when the disk of `folder` has less than `needed` bytes left."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PresetError(
            f"{folder}: {free >> 20} MB free, {needed >> 20} MB needed; point KZOO_CACHE elsewhere"
        )
