"""Programs that ship are run within this process, as a Python takes longer to start than to run."""

import contextlib
import io
import runpy
import types
from unittest import mock

# The first line of what must have a process of its own: Keras imports these three wherever they are
# installed, in a quarter of the time that it takes.
LEAN = 'import sys; sys.modules |= dict.fromkeys(("matplotlib", "pandas", "sklearn"))\n'


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
