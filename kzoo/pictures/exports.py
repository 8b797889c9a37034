"""A picture of the forms of one model: how small, how near to Keras, how fast."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo.pictures.images import figure

_COLOURS = {"fits": "tab:blue", "unfit": "tab:red"}


def draw_exports(table: Mapping[str, Any], path: str | Path) -> Path:
    """Draw a table of `deploy.matrix` to a PNG.

    Raises ValueError with the pip line where matplotlib is missing.
    """
    rows = [row for row in table["rows"] if row.get("bytes") and row.get("snr_db") is not None]
    timed = [row for row in table["rows"] if row.get("ms_1_thread") is not None]
    made = figure(11, 1.8 + 0.32 * max(len(rows), len(timed), 6))
    near, speed = made.subplots(1, 2)
    for kind, colour in _COLOURS.items():
        of_kind = [row for row in rows if bool(row["reason"]) == (kind == "unfit")]
        for mark, level in (("o", "snr_db"), ("v", "faint_db")):
            points = [row for row in of_kind if row.get(level) is not None]
            near.scatter(
                [row["bytes"] / 1e6 for row in points], [row[level] for row in points],
                marker=mark, color=colour, facecolors="none" if mark == "v" else colour,
                label=f"{kind}, {'loud' if mark == 'o' else 'where a stem is faint'}",
            )  # fmt: skip
        for row in of_kind:
            near.annotate(
                row["name"], (row["bytes"] / 1e6, row["snr_db"]), fontsize=7,
                xytext=(5, 3), textcoords="offset points",
            )  # fmt: skip
    near.set_xlabel("MB")
    near.set_ylabel("dB against Keras, worst output")
    near.margins(x=0.25)
    near.legend(fontsize=7)
    names = [row["name"] for row in timed]
    places = range(len(timed))
    for shift, label, measure in (
        (-0.2, "1 thread", "ms_1_thread"),
        (0.2, "2 threads", "ms_2_threads"),
    ):
        speed.barh([p + shift for p in places], [row[measure] for row in timed], 0.4, label=label)
    speed.set_yticks(list(places), names, fontsize=7)
    speed.invert_yaxis()
    speed.set_xlabel("ms for a second of sound")
    speed.legend(fontsize=7)
    made.suptitle(table["name"])
    made.savefig(path, dpi=110)
    return Path(path)
