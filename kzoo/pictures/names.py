"""Names over time: how likely each is in each window of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kzoo.listening import Heard
from kzoo.pictures.images import figure


def draw_names(heard: Heard, path: Path, title: str, *, count: int = 15) -> None:
    """Write a PNG of the `count` likeliest names; ValueError without matplotlib."""
    rows = np.argsort(-heard.mean, kind="stable")[:count]
    made = figure(11, 1.2 + 0.28 * len(rows))
    axes = made.subplots()
    # Windows may overlap: each is drawn up to where the next one begins.
    edges = np.append(heard.starts_seconds, max(heard.ends_seconds[-1], 1e-3))
    image = axes.pcolormesh(
        edges, np.arange(len(rows) + 1), heard.probabilities[:, rows].T, vmin=0, vmax=1
    )
    axes.set_yticks(np.arange(len(rows)) + 0.5, [heard.names[k] for k in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(title, loc="left", fontsize=10)
    made.colorbar(image, ax=axes, label="probability", fraction=0.03, pad=0.02)
    made.savefig(path, dpi=100)
