"""Fetching a file once: resumed where it stopped, checked by sha256, moved into place whole."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from kzoo.files import file_sha256
from kzoo.presets.card import PresetError, Progress

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30
_GONE = (404, 410, 416)  # answers after which a part is of no more use
_WEB_PAGE = "the server answered with a web page, not with the file"


def forbid_offline(what: str) -> None:
    """PresetError when KZOO_OFFLINE is set, saying what would have been fetched."""
    if os.environ.get("KZOO_OFFLINE", "") not in ("", "0"):
        raise PresetError(
            f"{what} is not on this machine and KZOO_OFFLINE is set; unset it to fetch, or copy "
            "another machine's cache folder and point KZOO_CACHE at it"
        )


def fetch(
    url: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download `url` to `path`, continuing `path`.part where an earlier try ended.

    sha256: the publisher's, whole or the first digits that are known, or None; anything else that
        arrives is deleted and raises PresetError, as do a server's refusal and a broken connection
        (the part is kept then), a page of HTML instead of the file, and a disk without room.
    size: in bytes, where it is known; a server that announces another one is not listened to, and
        one that sends more is no longer.
    A file that has changed on the server since, by its ETag or date, is begun anew.
    """
    forbid_offline(url)
    path = Path(path)
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _receive(url, part, size, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _GONE:
            _forget(part)
        raise PresetError(f"{url}: the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise PresetError(f"{url}: download failed ({reason}); try again to resume") from None
    if _is_web_page(part):
        _forget(part)
        raise PresetError(f"{url}: {_WEB_PAGE}")
    if sha256 is not None and not (found := file_sha256(part)).startswith(sha256):
        _forget(part)
        raise PresetError(f"{url}: sha256 is {found[:12]}..., not {sha256[:12]}...; not kept")
    os.replace(part, path)
    _forget(part)
    return path


def _receive(url: str, part: Path, size: int | None, progress: Progress | None) -> None:
    done = part.stat().st_size if part.exists() else 0
    version = _version_file(part)
    request = urllib.request.Request(url, headers={"User-Agent": "kzoo"})
    if done:
        request.add_header("Range", f"bytes={done}-")
        if version.exists():
            request.add_header("If-Range", version.read_text(encoding="latin-1"))
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # the part is the whole file already, or more than it
            error.close()
            total = error.headers.get("Content-Range", "").rpartition("/")[2]
            if total == str(done) and size in (None, done):
                return
            _forget(part)
            return _receive(url, part, size, progress)
        raise
    with response:
        if response.headers.get_content_type() == "text/html":
            raise PresetError(f"{url}: {_WEB_PAGE}")
        resumed = response.status == 206
        if not resumed:
            _forget(part)
            if tag := _strong_version(response.headers):
                version.write_text(tag, encoding="latin-1")
        done = done if resumed else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        if size is not None and total not in (None, size):
            _forget(part)
            raise PresetError(f"{url}: has {total:,} bytes, not the {size:,} that were published")
        free_space_or_refuse(part.parent, (total or done) - done)
        with open(part, "ab" if resumed else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                if size is not None and done > size:
                    _forget(part)
                    raise PresetError(f"{url}: is longer than the {size:,} bytes of the file")
                if progress:
                    progress(done, total)
    if total is not None and done < total:
        raise OSError(f"connection closed after {done} of {total} bytes")


def _is_web_page(part: Path) -> bool:
    """Whether the file begins as HTML does, whatever a proxy called it."""
    with open(part, "rb") as file:
        start = file.read(512).lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html"))


def _version_file(part: Path) -> Path:
    """Where it is written which version of the file `part` is of."""
    return part.with_name(part.name + ".version")


def _strong_version(headers: http.client.HTTPMessage) -> str | None:
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _forget(part: Path) -> None:
    for path in (part, _version_file(part)):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def one_at_a_time(lock: Path, what: str) -> Iterator[None]:
    """Hold the file `lock`; whoever comes second waits, and says on stderr for what.

    The file stays, since to delete it while another waits for it would let a third in. Where the
    system or its disk has no such locks there is no waiting.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "ab") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"kzoo: {what} is being fetched already; waiting", file=sys.stderr)
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:  # a disk without locks
                pass
        yield


def free_space_or_refuse(
    folder: Path, needed: int, way_out: str = "point KZOO_CACHE elsewhere"
) -> None:
    """PresetError when the disk of `folder` has less than `needed` bytes left."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PresetError(f"{folder}: {free >> 20} MB free, {needed >> 20} MB needed; {way_out}")
