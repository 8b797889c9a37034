"""The help as it is read in a terminal of 80 columns."""

import os
import subprocess
import sys

import pytest
import typer

from kzoo.cli.app import command as program


def commands(group, *before):
    """(words, command) of every verb, those of `kzoo data` and `kzoo presets` included."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield (*before, name), command


VERBS = dict(commands(program))


def printed(*words):
    """The help of a command, 80 columns wide."""
    code = "import sys; from kzoo.cli.app import main; sys.argv[0] = 'kzoo'; main()"
    run = subprocess.run(
        [sys.executable, "-c", code, *words, "--help"], capture_output=True, text=True,
        check=True, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    return run.stdout


def test_names_of_options_are_whole_and_lines_fit():
    text = printed("evaluate")
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for option in VERBS["evaluate",].params:
        assert all(name in text for name in option.opts if name.startswith("-")), option.name
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("words", [(), ("data",), ("presets",)])
def test_the_list_of_verbs_cuts_no_sentence(words):
    assert "..." not in printed(*words).replace("COMMAND [ARGS]...", "")


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_option_has_a_sentence_of_its_own(words):
    for parameter in VERBS[words].params:
        assert (parameter.help or "").endswith("."), parameter.name


@pytest.mark.parametrize("verb", ["separate", "enhance", "evaluate"])
def test_an_option_of_one_name_has_one_range(verb):
    words = ["--overlap", "0.9", "x", *(["--corpus", "x"] if verb == "evaluate" else [])]
    with pytest.raises(typer.BadParameter, match=r"0\.5"):
        VERBS[verb,].make_context(verb, words)
