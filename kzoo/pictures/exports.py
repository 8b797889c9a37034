"""A picture of the forms of one model: how small, how near to Keras, how fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.pictures.images import figure

_FIT, _UNFIT = "tab:blue", "tab:red"
_LOUD, _FAINT = {"marker": "o", "label": "loud"}, {"marker": "x", "label": "where one is faint"}
_TIMES = {"cpu_ms_1_thread": "processor, 1 thread", "ms_2_threads": "wall, 2 threads"}


def draw_exports(table: Mapping[str, Any], path: str | Path) -> Path:
    """Draw a table of `deploy.matrix` to a PNG, what is unfit in red.

    Raises ValueError with the pip line where matplotlib is missing.
    """
    rows = [row for row in table["rows"] if row.get("bytes")]
    places = np.arange(len(rows))
    made = figure(12, 1.5 + 0.34 * len(rows))
    size, near, speed = made.subplots(1, 3, sharey=True)
    colours = [_UNFIT if row["reason"] else _FIT for row in rows]
    size.barh(places, [row["bytes"] / 1e6 for row in rows], color=colours)
    size.set_xlabel("MB")
    for level, style in (("snr_db", _LOUD), ("faint_db", _FAINT)):
        levels = [np.nan if row.get(level) is None else row[level] for row in rows]
        near.scatter(levels, places, color=colours, **style)
    near.set_xlabel("dB against Keras, worst output")
    near.grid(axis="x", alpha=0.3)
    near.legend(fontsize=7, loc="upper left")  # where forms in 32 bits are, which are near
    for shift, (measure, label) in zip((-0.2, 0.2), _TIMES.items(), strict=True):
        speed.barh(places + shift, [row.get(measure, 0) for row in rows], 0.4, label=label)
    speed.set_xlabel("ms for a second of sound")
    speed.legend(fontsize=7)
    size.set_yticks(places, [row["name"] for row in rows], fontsize=8)
    for label, colour in zip(size.get_yticklabels(), colours, strict=True):
        label.set_color("black" if colour == _FIT else _UNFIT)
    size.invert_yaxis()
    made.suptitle(table["name"])
    made.savefig(path, dpi=110)
    return Path(path)
