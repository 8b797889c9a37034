"""The verb `serve`: a preset as a web page on this machine."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import quiet_tensorflow, say


def serve(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="A page that python -m export.web wrote; by default one of --preset is made.",
        ),
    ] = None,
    page: Annotated[
        bool,
        typer.Option(
            "--page", help="Serve a web page that separates in the browser, where the sound stays."
        ),
    ] = False,
    preset: options.Preset = "unet_2stems_mobile",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8000,
    quiet: options.Quiet = False,
) -> None:
    """Serve a web page of a preset on localhost, until Ctrl-C.

    The page is made once, into the cache: the network is exported and proven, and npm fetches
    LiteRT.js, which runs it in the browser.
    """
    from kzoo import web

    if not page:
        raise ValueError(
            "--page serves a web page; TensorFlow Serving serves what kzoo export --to saved_model "
            "writes"
        )
    server = web.serve(folder or _made(preset, quiet=quiet), port)
    print(f"http://localhost:{server.server_address[1]}/", flush=True)
    with contextlib.closing(server.socket), contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


def _made(preset: str, *, quiet: bool) -> Path:
    """The page of a preset, of these weights and this version, in the cache."""
    from kzoo import presets, web
    from kzoo.cli.presets import fetch

    opened = presets.open_preset(preset)
    opened.refuse_untrained()
    fetch(opened, show=not quiet)
    place = web.cached(opened)
    if not (place / "page.json").is_file():
        if not quiet:
            say(f"kzoo: making the page of {opened}, once")
        quiet_tensorflow()
        from kzoo import api

        api.export_page(opened, place, precisions=["fp32"], overwrite=True)
    return place
