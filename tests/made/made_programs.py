"""A program that ships, run within this process, as a Python takes longer to start than to run."""

import contextlib
import io
import runpy
import types
from unittest import mock


def run_program(path, *words):
    """What `python path words...` would: its `returncode` and `stderr`."""
    stderr = io.StringIO()
    with (
        mock.patch("sys.argv", [*map(str, (path, *words))]),
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        try:
            runpy.run_path(str(path), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    return types.SimpleNamespace(returncode=code, stderr=stderr.getvalue())
