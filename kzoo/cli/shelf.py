"""How presets are shown: all of them side by side, and the card of one."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

    from kzoo.presets import Preset
    from kzoo.presets.shelf import Entry

_WIDTH = 1000  # where no terminal says how wide it is, a row is a line
_NOT_SCORES = ("data", "commands", "columns")  # of an entry of `held_out`
_DRAWN = {  # keys of a card that have a place of their own in `card`
    "name", "summary", "task", "model", "sources", "sample_rate", "channels", "bandwidth_hz",
    "parameters", "gmac_per_second", "cost", "weights", "licences", "scores", "quality",
    "published", "expected", "trained",
}  # fmt: skip


def show(parts: Iterator[RenderableType]) -> None:
    """Print what `table` or `card` gives, as wide as the terminal is."""
    from rich.console import Console

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH
    console = Console(width=width, highlight=False, markup=False)
    for part in parts:
        console.print(part)


def table(entries: Sequence[Entry]) -> Iterator[RenderableType]:
    """The presets in groups of one task and the same sources; below, what the figures are."""
    from rich import box
    from rich.table import Table

    from kzoo.presets.shelf import UNITS, figures

    notes: dict[str, int] = {}
    for _, group in itertools.groupby(entries, lambda entry: entry.group):
        members = list(group)
        yield ": ".join(filter(None, (members[0].task, ", ".join(members[0].sources))))
        drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        drawn.add_column("preset", min_width=28, no_wrap=True)
        for column in ("up to kHz", "MB", "GMAC/s"):
            drawn.add_column(column, justify="right", no_wrap=True)
        drawn.add_column("measured", ratio=2)
        drawn.add_column("published", ratio=2)
        drawn.add_column("state", ratio=2)
        drawn.add_column("licence of the weights", ratio=3)
        for entry in members:
            drawn.add_row(
                entry.name,
                _number((entry.bandwidth_hz or entry.sample_rate / 2) / 1000, ".1f"),
                _number(entry.megabytes, ".1f"),
                _number(entry.gmac_per_second, ".3g"),
                figures(entry.quality, notes),
                figures(entry.published, notes),
                ", ".join(filter(None, (entry.state, entry.unlisted))),
                "; ".join(
                    filter(None, (re.split(r";(?![^(]*\))", entry.licence)[0], entry.restricted))
                ),
            )
        yield drawn
    yield UNITS
    for note, number in notes.items():
        yield f"({number}) {note}"


def card(preset: Preset) -> Iterator[RenderableType]:
    """A card as it is read: what the preset is, its licences, figures and training."""
    told = preset.card
    yield f"{told['name']}: {told['summary']}\n"
    weights = told.get("parameters")
    cost = told.get("cost")
    facts = {
        "task": told["task"],
        "model": told["model"]["name"],
        "sources": ", ".join(told.get("sources", ())),
        "sample rate": f"{told['sample_rate']} Hz, channels: {told.get('channels', 1)}",
        "up to": f"{told['bandwidth_hz']} Hz" if "bandwidth_hz" in told else "",
        "weights": f"{weights:,}, {4e-6 * weights:.3g} MB in float32" if weights else "",
        "multiply-adds": f"{told['gmac_per_second']:g}e9 for a second of sound"
        if "gmac_per_second" in told
        else "",
        "processor": f"{cost['cpu_ms_per_second']:g} ms a second of sound ({_flat(cost)})"
        if cost
        else "",
        "state": preset.state,
        "from": _flat(told.get("weights", {})),
        **{f"licence of {what}": text for what, text in told.get("licences", {}).items()},
        **{key: _flat(value) for key, value in told.items() if key not in _DRAWN},
    }
    yield _grid(facts)
    yield from _part("measured", told.get("quality"))
    yield from _part("published", told.get("published"))
    yield from _scores(told.get("scores"))
    yield from _part("trained", told.get("trained"))
    yield from _part("expected of kzoo reproduce", told.get("expected"))
    yield from _part("sizes of the model", told["model"].get("options"))


def _part(title: str, told: Any) -> Iterator[RenderableType]:
    if told:
        yield f"\n{title}"
        yield _grid({k: _flat(v) for k, v in told.items()}) if isinstance(told, Mapping) else told


def _scores(scores: Any) -> Iterator[RenderableType]:
    from rich import box
    from rich.table import Table

    if not scores:
        return
    yield "\nscores"
    yield str(scores["definition"])
    for held_out in scores.get("held_out", ()):
        columns = held_out.get("columns") or scores["columns"]
        drawn = Table("", *columns, box=box.SIMPLE_HEAD, pad_edge=False)
        for column in drawn.columns[1:]:
            column.justify = "right"
        for name, systems in held_out.items():
            if name not in _NOT_SCORES:
                for system, figures in systems.items():
                    drawn.add_row(f"{name}: {system}", *map(_flat, figures))
        yield f"\non {held_out['data']}"
        yield drawn
        yield from held_out.get("commands", ())
    rest = {k: v for k, v in scores.items() if k not in ("definition", "columns", "held_out")}
    yield _grid({key: _flat(value) for key, value in rest.items()})


def _grid(facts: Mapping[str, str]) -> RenderableType:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for key, value in facts.items():
        if value:
            grid.add_row(key, value)
    return grid


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        ends = [*value[:1], "...", *value[-1:]] if len(value) > 12 else value
        return ", ".join(map(_flat, ends))
    return f"{value:g}" if isinstance(value, float) else str(value)
