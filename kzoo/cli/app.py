"""The `kzoo` command. TensorFlow is imported by the verb that needs it, after its checks."""

from __future__ import annotations

import sys
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
from kzoo.cli.generate import generate
from kzoo.cli.info import info
from kzoo.cli.melody import melody
from kzoo.cli.models import models
from kzoo.cli.onsets import onsets
from kzoo.cli.pitch import pitch
from kzoo.cli.reproduce import reproduce
from kzoo.cli.separate import separate
from kzoo.cli.serve import serve
from kzoo.cli.synthesize import synthesize
from kzoo.cli.tag import tag
from kzoo.cli.terminal import INTERRUPTED, errors_to_exit_codes, one_line, say
from kzoo.cli.train import train
from kzoo.cli.transfer import transfer
from kzoo.cli.translate import translate

VERBS = (separate, enhance, export, evaluate, decompose, compare, train, reproduce, synthesize,
         transfer, translate, generate, pitch, tag, melody, onsets, serve, demo, doctor,
         info, models)  # fmt: skip
GROUPS = {"presets": presets.app, "data": data.app}


def program(asked: str | None = None) -> typer.core.TyperGroup:
    """The command of all verbs, or of the one `asked` alone: typer takes 4 ms to build each."""
    app = typer.Typer(
        name="kzoo",
        help="Audio models in Keras: separation, enhancement, pitch, synthesis, export.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # in 80 columns its tables cut the names of options
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(before_the_verb)
    verbs = {verb.__name__: verb for verb in VERBS}
    for name, verb in verbs.items():
        if name == asked or asked not in verbs:
            app.command()(verb)
    for name, group in GROUPS.items():
        if asked not in verbs:
            app.add_typer(group, name=name)
    return typer.main.get_command(app)


def main() -> None:
    """Entry point: mistakes become one line on stderr and a non-zero exit status."""
    with errors_to_exit_codes():
        try:
            status = program(*sys.argv[1:2])(standalone_mode=False)
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


def before_the_verb(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Never does anything itself: it declares the options before the verb."""


def __getattr__(name: str):
    if name == "command":  # of all verbs, for what lists them
        return program()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    main()
