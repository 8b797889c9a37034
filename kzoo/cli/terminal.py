"""What the command line shows: progress on stderr, one line for a mistake, honest exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

OUR_ERRORS = (ValueError, OSError, MemoryError, ImportError)  # the last: an extra is not here
INTERRUPTED, TERMINATED = 130, 143
UNITS = {
    "seconds": "s of audio",
    "tracks": "tracks",
    "scores": "scores",
    "kernels": "kernels",
    "systems": "systems",
    "recordings": "recordings",
}


def say(line: str) -> None:
    """A line for the person at the terminal; stdout stays free for sound."""
    print(line, file=sys.stderr, flush=True)


def one_line(error: BaseException | str) -> str:
    """The message of an error, on one line."""
    text = str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    return " ".join(text.split()) or type(error).__name__


def complain(error: BaseException) -> None:
    """One line about a user's mistake, or its traceback where KZOO_TRACEBACK asks for it."""
    if os.environ.get("KZOO_TRACEBACK"):
        raise error
    say(f"kzoo: {one_line(error)}")


@contextlib.contextmanager
def errors_to_exit_codes() -> Iterator[None]:
    """A user's mistake becomes one line and exit status 1; Ctrl-C becomes 130, SIGTERM 143."""
    try:
        with _sigterm_raised():
            yield
    except OUR_ERRORS as error:
        complain(error)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        say("kzoo: interrupted; nothing half-written was kept")
        raise SystemExit(INTERRUPTED) from None
    except _Terminated:
        say("kzoo: terminated; nothing half-written was kept")
        raise


class _Terminated(SystemExit):
    """Not a KeyboardInterrupt, which typer turns into an exit status of its own."""


@contextlib.contextmanager
def _sigterm_raised() -> Iterator[None]:
    """SIGTERM unwinds the program as Ctrl-C does, so that it cleans up on its way out."""

    def stop(*_) -> None:
        raise _Terminated(TERMINATED)

    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def quiet_tensorflow() -> None:
    """Import TensorFlow without its start-up notes; TF_CPP_MIN_LOG_LEVEL=0 brings them back."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or level == "0":
        return
    with without_notes():  # some are written before any level is read
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """What imports TensorFlow in here, if anything does, does so as in `quiet_tensorflow`."""
    level = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_notes() if level != "0" else contextlib.nullcontext():
        yield


def loading(what: object, *, by_litert: bool, made: bool) -> contextlib.AbstractContextManager:
    """Quiet while an engine is loaded, and a line where the LiteRT file of `what` is made first."""
    if by_litert and not made:
        say(f"kzoo: the LiteRT file of {what} is made, once and for all")
    if not made:
        quiet_tensorflow()
    return without_notes() if by_litert else contextlib.nullcontext()


def quietly(system):
    """The same, but a system that builds a model does so without TensorFlow's start-up notes.

    A method without training builds none, and never waits for TensorFlow.
    """
    from kzoo.evaluation import Hearing, Separation

    if not isinstance(system, Separation | Hearing) or {"method", "baseline"} & set(
        system.known_by or {}
    ):
        return system
    field = "answer" if isinstance(system, Hearing) else "separate"
    run = getattr(system, field)

    def quiet(waveform, sample_rate):
        quiet_tensorflow()
        return run(waveform, sample_rate)

    return dataclasses.replace(system, **{field: quiet})


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
    """Drop what libraries write straight to the file descriptor of stderr."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextlib.contextmanager
def bar(description: str, *, unit: str, show: bool = True) -> Iterator[Callable]:
    """A progress bar on stderr, fed by (done, total or None); unit is "bytes" or one of UNITS."""
    if not (show and sys.stderr.isatty()):
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    amount = (
        DownloadColumn()
        if unit == "bytes"
        else TextColumn(f"{{task.completed:.0f}}/{{task.fields[whole]}} {UNITS[unit]}")
    )
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    with progress:
        task = progress.add_task(description, total=None, whole="?")

        def update(done: float, total: float | None) -> None:
            whole = "?" if total is None else f"{total:.0f}"
            progress.update(task, completed=done, total=total, whole=whole)

        yield update
