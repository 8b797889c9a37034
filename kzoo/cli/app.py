"""The `kzoo` command. TensorFlow is imported by the verb that needs it, after its checks."""

from __future__ import annotations

from typing import Annotated

import typer

from kzoo import __version__
from kzoo.cli import data, presets
from kzoo.cli.compare import compare
from kzoo.cli.decompose import decompose
from kzoo.cli.demo import demo
from kzoo.cli.doctor import doctor
from kzoo.cli.enhance import enhance
from kzoo.cli.evaluate import evaluate
from kzoo.cli.export import export
from kzoo.cli.info import info
from kzoo.cli.models import models
from kzoo.cli.pitch import pitch
from kzoo.cli.separate import separate
from kzoo.cli.serve import serve
from kzoo.cli.synthesize import synthesize
from kzoo.cli.terminal import INTERRUPTED, errors_to_exit_codes, one_line, say
from kzoo.cli.train import train
from kzoo.cli.transfer import transfer

app = typer.Typer(
    name="kzoo",
    help="Audio models in Keras: separation, enhancement, pitch, synthesis, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # in 80 columns its tables cut the names of options
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (separate, enhance, export, evaluate, decompose, compare, train, synthesize, transfer,
             pitch, serve, demo, doctor, info, models):  # fmt: skip
    app.command()(verb)
app.add_typer(presets.app, name="presets")
app.add_typer(data.app, name="data")


def main() -> None:
    """Entry point: mistakes become one line on stderr and a non-zero exit status."""
    with errors_to_exit_codes():
        try:
            status = command(standalone_mode=False)
        except typer.Abort:
            status = INTERRUPTED
        except typer.TyperException as error:
            if message := error.format_message():  # none where the help has been printed instead
                say(f"kzoo: {one_line(message)} (--help tells more)")
            raise SystemExit(error.exit_code) from None
        if status == INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        raise SystemExit(status or 0)


def _version(value: bool) -> None:
    if value:
        print(f"kzoo {__version__}")
        raise typer.Exit


@app.callback()
def before_the_verb(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Never does anything itself: it declares the options before the verb."""


command = typer.main.get_command(app)


if __name__ == "__main__":
    main()
