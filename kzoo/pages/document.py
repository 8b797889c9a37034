"""A page as one file of HTML, with the style of kzoo's web page and scripts of its own."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from pathlib import Path

from kzoo.web.folder import PAGE

HERE = Path(__file__).parent


def document(
    title: str,
    body: str,
    *,
    scripts: Sequence[str] = ("player.js",),
    styles: Sequence[str] = (),
) -> str:
    """A whole page of `body`, which is HTML; `title` is text.

    scripts, styles: files of this package, in their order; styles come after those of all pages.
    The page's policy forbids the browser to fetch anything, from anywhere, and to run any other
    script.
    """
    sheets = [PAGE / "style.css", HERE / "style.css", *(HERE / name for name in styles)]
    programs = [(HERE / name).read_text(encoding="utf-8") for name in scripts]
    hashes = " ".join(f"'sha256-{_sha256(program)}'" for program in programs)
    policy = (
        "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; "
        f"script-src {hashes}"
    )
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escaped(title)}</title>",
            *(f"<style>\n{sheet.read_text(encoding='utf-8')}</style>" for sheet in sheets),
            "</head>",
            "<body>",
            body,
            *(f"<script>{program}</script>" for program in programs),
            "</body>",
            "</html>",
            "",
        ]
    )


def escaped(text: object) -> str:
    """Text as HTML, also within the quotes of an attribute."""
    return html.escape(str(text), quote=True)


def _sha256(program: str) -> str:
    return base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
