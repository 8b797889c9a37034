"""A run's folder: whose it is, and that one process at a time works in it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kzoo import config, presets
from kzoo.config import ConfigError
from kzoo.training.settings import resolved

CONFIG, CHECKPOINT, HISTORY = "config.yaml", "checkpoint.npz", "history.csv"
PICTURE = "history.png"
_MAY_CHANGE = (
    "epochs",
    "score_every",
    "score_tracks",
    "score_seconds",
    "strategy",
    "meeting_seconds",
    "steps_per_execution",
)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make `folder` and hold it; ConfigError where another process does.

    A folder that was made here and is empty at the end, as that of a refused run, goes again. The
    lock is the system's own, on the folder itself: a kill releases it and leaves nothing.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows, where a folder cannot be locked
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{folder}: another kzoo train works in this folder; wait for it, or name another"
            ) from None
        except OSError:
            pass  # a network's file system may have no locks
        yield
    finally:
        if made:
            with contextlib.suppress(OSError):  # it holds a run
                folder.rmdir()
        os.close(place)


def check_folder(
    values: Mapping[str, Any], folder: Path, *, sizes_given: bool = False
) -> Mapping[str, Any]:
    """Resolved `values`, with the sizes of the networks that the run in `folder` has kept.

    sizes_given: whether the configuration has sizes itself, as a run's own has.
    Raises ConfigError where the folder holds something else than their run. Of its configuration
    only fit.epochs, data.workers, what is scored, and the machines that share the work may change
    between the parts of a run. Until
    its first checkpoint a run has nothing to lose, and may be begun anew with another.
    """
    if not (folder / CHECKPOINT).is_file():
        if any(folder.iterdir()) and not _begun(folder):
            raise ConfigError(f"{folder}: holds other files; name a new folder for the run")
        return values
    before = resolved(config.load_yaml(folder / CONFIG))
    # The variant's name is compared, and not what has become of it since the run began.
    if not sizes_given:
        values = {**values, "model": {**values["model"], "sizes": before["model"]["sizes"]}}
        values = _with_kept_discriminator(values, before)
    # What may differ between the parts of a run: how long it is, and what changes no weight.
    for key in _MAY_CHANGE:
        before["fit"][key] = values["fit"][key]
    before["data"]["workers"] = values["data"]["workers"]
    for key in {**before, **values}:
        one, other = before.get(key), values.get(key)
        if one != other:
            raise ConfigError(
                f"{folder}: holds a run with another section {key!r}{_difference(one, other)}; go "
                f"on with it as it was: kzoo train {folder / CONFIG} -o {folder}; or name a new "
                f"folder, with start.run={folder} to go on there from its last epoch"
            )
    return values


def _with_kept_discriminator(values: Mapping, before: Mapping) -> Mapping[str, Any]:
    own, kept = (x.get("adversary") for x in (values, before))
    if not own or not kept or own["network"]["variant"] != kept["network"]["variant"]:
        return values
    network = {**own["network"], "sizes": kept["network"].get("sizes")}
    return {**values, "adversary": {**own, "network": network}}


def _begun(folder: Path) -> bool:
    """Whether a run without a checkpoint left these files: its card comes first."""
    if not (folder / presets.CARD).is_file() or (folder / HISTORY).is_file():
        return False
    trained = presets.load_card(folder).get("trained")
    untrained = isinstance(trained, dict) and trained.get("steps") == 0
    return untrained or (folder / CONFIG).is_file()


def _difference(one: Any, other: Any) -> str:
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return f" ({one!r}, here {other!r})"
    changed = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return "".join(f" ({key}: {one.get(key)!r}, here {other.get(key)!r})" for key in changed[:1])
