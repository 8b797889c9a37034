"""The learning curves of a run: losses, scores and learning rate over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.pictures.images import figure

_LOSSES = {"loss": ("training", "tab:blue"), "val_loss": ("validation", "tab:orange")}
_SCORES = {"val_sdr": ("SDR", "tab:green"), "val_si_sdr": ("SI-SDR", "tab:purple")}
_RATE = {"learning_rate": ("learning rate", "0.3")}
_KEPT = 40  # epochs that a card keeps
_MARKED = 12  # so many changes of the rate are marked in all panels; of more, the curve says enough


def draw_history(
    rows: Sequence[Mapping[str, Any]], path: str | Path, *, best_epoch: int | None = None
) -> Path:
    """Draw a run's history to a PNG: a panel each for losses, scores and rate, as far as known.

    rows: {"epoch", "loss", "val_loss", "val_sdr", "val_si_sdr", "learning_rate"} an epoch, where
    what is missing or no number is left out. The best epoch, whose weights are the preset, is
    marked, and so are epochs before which the rate was lowered in a step.
    Raises ValueError with the pip line where matplotlib is missing.
    """
    panels = {
        "loss": _known(rows, _LOSSES),
        "dB on validation tracks": _known(rows, _SCORES),
        "learning rate": _known(rows, _RATE),
    }
    panels = {title: curves for title, curves in panels.items() if curves}
    heights = [1.0 if title == "learning rate" else 2.4 for title in panels]
    height = 0.8 + sum(heights)
    made = figure(8, height, layout="none")
    made.subplots_adjust(0.1, 0.5 / height, 0.98, 1 - 0.3 / height, hspace=0.12)
    grid = made.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    changes = _changes(panels.get("learning rate", {}))
    for axis, (title, curves) in zip(grid[:, 0], panels.items(), strict=True):
        for label, colour, epochs, values in curves.values():
            marker = "o" if len(epochs) < 40 else ""
            axis.plot(epochs, values, marker=marker, color=colour, ms=3, lw=1.3, label=label)
        for epoch in changes:
            axis.axvline(epoch, color="0.6", lw=0.8, ls=":")
        if best_epoch is not None:
            axis.axvline(best_epoch, color="crimson", lw=1, ls="--")
        axis.set_ylabel(title, fontsize=9)
        axis.grid(color="0.92")
        axis.set_axisbelow(True)
        axis.tick_params(which="both", labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        if len(curves) > 1:
            axis.legend(fontsize=8, frameon=False)
    if "learning rate" in panels:
        _, _, _, values = panels["learning rate"]["learning_rate"]
        (line,) = grid[-1, 0].get_lines()[:1]
        line.set_drawstyle("steps-mid")
        grid[-1, 0].set_yscale("log" if max(values) > 2 * min(values) > 0 else "linear")
    if "loss" in panels:
        _spare_the_first(grid[0, 0], panels["loss"])
    grid[-1, 0].set_xlabel("epoch", fontsize=9)
    grid[-1, 0].xaxis.get_major_locator().set_params(integer=True)
    made.align_ylabels()
    if best_epoch is not None:
        made.suptitle(f"best epoch {best_epoch}", fontsize=9, color="crimson", x=0.98, ha="right")
    made.savefig(path, dpi=100, format="png")
    return Path(path)


def card_curves(
    rows: Sequence[Mapping[str, Any]], best_epoch: int | None = None
) -> dict[str, list[float | None]]:
    """The curves of a history as a card keeps them: {"epoch": [...], "loss": [...], ...}.

    Of more than 40 epochs some are left out at equal distances; the best one, the last one and
    those with scores are kept. `epochs_of` gives them back as rows.
    """
    step = -(-len(rows) // _KEPT)
    kept = [
        row
        for number, row in enumerate(rows, start=1)
        if number % step == 0
        or number in (1, len(rows))
        or row["epoch"] == best_epoch
        or any(name in row for name in _SCORES)
    ]
    names = [name for name in (*_LOSSES, *_SCORES, *_RATE) if any(name in row for row in kept)]
    curves = {name: [_short(row.get(name)) for row in kept] for name in names}
    return {"epoch": [row["epoch"] for row in kept], **curves}


def epochs_of(curves: Mapping[str, Sequence]) -> list[dict[str, Any]]:
    """The rows for `draw_history` of what `card_curves` has made."""
    return [dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)]


def _short(value: float | None) -> float | None:
    """Four figures; None for what is no number."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")


def _known(rows: Sequence[Mapping[str, Any]], names: Mapping[str, tuple[str, str]]) -> dict:
    """{name: (label, colour, epochs, values)} of the curves that have a point."""
    found = {}
    for name, (label, colour) in names.items():
        points = [(row["epoch"], row[name]) for row in rows if row.get(name) is not None]
        points = [point for point in points if np.isfinite(point[1])]
        if points:
            found[name] = (label, colour, *zip(*points, strict=True))
    return found


def _changes(curves: Mapping[str, tuple]) -> list[float]:
    """The places between epochs where a rate that is mostly constant changes."""
    if not curves:
        return []
    _, _, epochs, values = curves["learning_rate"]
    places = [
        (epochs[k] + epochs[k + 1]) / 2
        for k in range(len(values) - 1)
        if not np.isclose(values[k], values[k + 1])
    ]
    return places if len(places) <= _MARKED else []


def _spare_the_first(axis: Any, curves: Mapping[str, tuple]) -> None:
    """Cut the axis above what the first tenth of a long run reaches, when the rest is far below."""
    values = [v for *_, points in curves.values() for v in points[len(points) // 10 :]]
    whole = [v for *_, points in curves.values() for v in points]
    low, high = min(values), max(values)
    if len(whole) >= 40 and max(whole) - low > 4 * (high - low) > 0:
        axis.set_ylim(low - 0.05 * (high - low), high + 0.5 * (high - low))
