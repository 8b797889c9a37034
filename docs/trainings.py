"""The page of trainings that became no presets: what the headers of their configurations say."""

from __future__ import annotations

import csv
import html
import re
from collections.abc import Sequence
from pathlib import Path

from kzoo import config, presets
from kzoo.pictures.training import draw_history

CONFIGS = Path(__file__).parents[1] / "configs"
PLANNED = re.compile(r"Not (yet )?(trained|measured|run)\b")
DATE = re.compile(r"\b20\d\d-\d\d-\d\d\b")
INTRODUCTION = """# Trainings that are no presets

These configurations were trained, measured, and found not worth shipping, or not yet; what is worth
using is a [preset](presets/index.md). The text is that of their headers; the same commands train
them again.
"""


def unshipped(configs: Path = CONFIGS) -> list[Path]:
    """Configurations that no preset is made of, whose header has a date and calls them trained."""
    known = set(presets.list_presets())
    found = []
    for path in sorted(configs.glob("*/*.yaml"), key=lambda path: (path.parent.name, path.stem)):
        said = header(path)
        if path.stem not in known and DATE.search(said) and not PLANNED.match(said):
            found.append(path)
    return found


def header(path: Path) -> str:
    """The comment that a file begins with."""
    lines = path.read_text(encoding="utf-8").split("\n")
    end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines[:end])


def page(configs: Path = CONFIGS) -> str:
    """Each configuration's summary and header, and the picture of its curves where there is one."""
    text = INTRODUCTION
    for path in unshipped(configs):
        summary = html.escape(config.load_yaml(path)["summary"], quote=False)
        place = path.relative_to(configs.parent)
        text += f"\n## {path.stem}\n\n{summary}; `{place}`\n\n```text\n{header(path)}\n```\n"
        if path.with_suffix(".csv").is_file():
            text += f"\n![Loss and learning rate over the epochs](trainings/{path.stem}.png)\n"
    return text


def draw(folder: Path, configs: Path = CONFIGS) -> None:
    """Write `<name>.png` for each that has its run's history.csv beside it as `<name>.csv`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in unshipped(configs):
        if (curves := path.with_suffix(".csv")).is_file():
            rows = history(curves)
            judged = [row for row in rows if "val_loss" in row]
            best = min(judged, key=lambda row: row["val_loss"])["epoch"]
            draw_history(rows, folder / f"{path.stem}.png", best_epoch=int(best))


def history(path: Path) -> Sequence[dict[str, float]]:
    """The epochs in a run's history.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return [{name: float(text) for name, text in row.items() if text} for row in rows]
