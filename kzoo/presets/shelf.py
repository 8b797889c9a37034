"""Presets side by side, by their cards alone: what each is for, what it costs, how good it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kzoo.presets.card import PresetError, list_presets
from kzoo.presets.opening import Preset, open_preset

BEST = "best"  # the name for the best preset that is here; "best:drums,bass" for these stems
UNITS = (
    "MB are those of the weights in float32, GMAC/s 1e9 multiply-adds for a second of sound, "
    "counted in the graph of a block: with what blocks share, without Fourier transforms. "
    "Figures of different notes are not comparable."
)
STEMS = ("vocals", "accompaniment")  # what it is the best for where nothing else is said


@dataclass(frozen=True)
class Entry:
    """What a person chooses a preset by.

    task: as the card words it. bandwidth_hz: above it nothing is changed, or left. megabytes: of
    the weights as float32. gmac_per_second: 1e9 multiply-adds for a second of sound, of
    convolutions and products of matrices. quality: what was measured by kzoo, and published: what
    others have; both {"scores": {name: figure}, "definition": ..., "data": ...}, or empty.
    unlisted: why it is nothing to choose by itself, or "". licence: of the weights. restricted:
    what they are for alone, or "". state: as `Preset.state`.
    """

    name: str
    summary: str
    task: str
    sources: list[str]
    sample_rate: int
    bandwidth_hz: float | None
    megabytes: float | None
    gmac_per_second: float | None
    licence: str
    restricted: str
    state: str
    quality: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)
    unlisted: str = ""

    @property
    def group(self) -> tuple[str, list[str]]:
        """What it can be compared within: the task, and the sources in one order."""
        return self.task, sorted(self.sources)

    def score(self, stems: Sequence[str] = ()) -> float:
        """The mean of its figures for `stems`, by default for all sources; published ones at need.

        Where the figures are of no sources, as PESQ is, it is the first of them; without any it is
        minus infinity.
        """
        for told in (self.quality, self.published):
            scores = told.get("scores", {})
            of_stems = [scores[name] for name in stems or self.sources if name in scores]
            if of_stems:
                return sum(of_stems) / len(of_stems)
            if scores:
                return next(iter(scores.values()))
        return -math.inf


def entries(
    *,
    task: str | None = None,
    stems: Sequence[str] = (),
    licence: str | None = None,
    unlisted: bool = False,
) -> list[Entry]:
    """Return the presets by task and sources, the best first.

    task: a part of the card's, such as "separation" of "music separation". stems: all of which it
    gives. licence: a part of that of the weights, or of what they are for alone. Case does not
    matter. unlisted: those, too, that are nothing to choose, as parts of bags. What was measured
    here comes before what was published, as the two are of different music.
    Raises ValueError for a task or a stem that no preset has.
    """
    known = [_entry(open_preset(name)) for name in list_presets()]
    known = [entry for entry in known if unlisted or not entry.unlisted]
    if task and not any(task.lower() in entry.task.lower() for entry in known):
        tasks = ", ".join(sorted({entry.task for entry in known}))
        raise ValueError(f"no preset is for the task {task!r}; the tasks are {tasks}")
    given = sorted({source for entry in known for source in entry.sources})
    if missing := [stem for stem in stems if stem not in given]:
        raise ValueError(f"no preset gives {', '.join(missing)}; the stems are {', '.join(given)}")
    kept = [
        entry
        for entry in known
        if (task or "").lower() in entry.task.lower()
        and set(stems) <= set(entry.sources)
        and (licence or "").lower() in f"{entry.licence} {entry.restricted}".lower()
    ]

    def rank(entry: Entry) -> tuple:
        order = (entry.task, len(entry.sources), entry.group)
        return (*order, not entry.quality, -entry.score(), entry.name)

    return sorted(kept, key=rank)


def best(stems: Sequence[str] = STEMS) -> tuple[Preset, str]:
    """The best preset that is here and gives all of `stems`, and a line that says why.

    The best is that of the highest mean of its figures for these stems, measured here or, where
    nothing was, published: of different music, so the line says of which. Raises PresetError where
    none is here, naming those to fetch.
    """
    giving = entries(stems=stems)
    here = [entry for entry in giving if entry.state == "here"]
    if not here:
        first = ", ".join(entry.name for entry in giving[:3])
        way_out = f"to fetch are {first}{', ...' * (len(giving) > 3)} (kzoo presets download NAME)"
        raise PresetError(
            f"no preset that gives {', '.join(stems)} together is here; "
            f"{way_out if giving else 'kzoo knows none'}; kzoo presets list shows all"
        )
    # Fewer sources where figures are equal or none.
    first = max(here, key=lambda entry: (entry.score(stems), -len(entry.sources)))
    told = first.quality or first.published
    why = (
        f"{first.score(stems):.3g}, {told['definition']}"
        if told
        else "of which no card has figures"
    )
    music = f", {told['data']}" if "data" in told else ""
    return open_preset(first.name), f"best of those here: {first.name} ({why}{music})"


def named_or_best(
    preset: str | Path | Preset, stems: Sequence[str] = (), *, say: Callable[[str], object]
) -> str | Path | Preset:
    """`preset` itself, or the best one where it is called "best" or "best:STEM,STEM".

    stems: those that are asked for elsewhere. say: is told which it is, and why.
    """
    name, _, listed = str(preset).partition(":")
    if name != BEST or isinstance(preset, Preset):
        return preset
    asked = [stem.strip() for stem in listed.split(",") if stem.strip()]
    opened, line = best(asked or list(stems) or STEMS)
    say(line)
    return opened


def figures(told: Mapping[str, Any], notes: dict[str, int]) -> str:
    """An entry's figures with the number of the note that says what they are, "" for none.

    notes: {note: its number}, to which a new one is added.
    """
    if not told.get("scores"):
        return ""
    note = "; ".join(str(told[key]) for key in ("definition", "data", "by") if key in told)
    number = notes.setdefault(note, len(notes) + 1)
    scores = ", ".join(f"{name} {value:g}" for name, value in told["scores"].items())
    return f"{scores} ({number})"


def _entry(preset: Preset) -> Entry:
    card = preset.card
    parts = [part.card for part, _ in preset.bag] or [card]  # of a bag every part is run

    def total(key: str) -> float | None:
        return sum(part[key] for part in parts) if all(key in part for part in parts) else None

    weights = total("parameters")
    return Entry(
        name=card["name"],
        summary=card["summary"],
        task=card["task"],
        sources=list(card.get("sources", ())),
        sample_rate=card["sample_rate"],
        bandwidth_hz=card.get("bandwidth_hz"),
        megabytes=None if weights is None else round(4e-6 * weights, 2),
        gmac_per_second=total("gmac_per_second"),
        licence=card["licences"]["weights"],
        restricted=card.get("restricted", ""),
        state=preset.state,
        quality=card.get("quality", {}),
        published=card.get("published", {}),
        unlisted=card.get("unlisted", ""),
    )
