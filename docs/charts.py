"""The pictures of the site that are made of committed figures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo import presets
from kzoo.pictures.images import figure
from kzoo.pictures.training import draw_history, epochs_of

UNHEARD = Path(__file__).parents[1] / "benchmarks" / "results" / "unheard" / "means.csv"
NOISY = "mixture"
# What is drawn of each measure: its title.
MEASURES = {
    "PESQ-WB": "PESQ-WB",
    "ESTOI": "ESTOI",
    "SI-SDR": "SI-SDR, dB",
    "OVRL": "OVRL of DNSMOS",
}


def learning(card: Mapping[str, Any], path: Path) -> None:
    """Draw the learning curves of a preset, where its card has them."""
    if curves := learned(card):
        draw_history(epochs_of(curves), path, best_epoch=card["trained"].get("best_epoch"))


def learned(card: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The curves in a card; None where it has none."""
    trained = card["trained"]
    return trained.get("curves") if isinstance(trained, Mapping) else None


def enhancers(path: Path) -> None:
    """Draw the quality of the enhancers beside what a second of sound costs them.

    Quality is that of `UNHEARD`, with its intervals, the best by PESQ on top; the cost is that of
    the cards, which say on which machine it was measured, and blank where they have none.
    """
    with UNHEARD.open(encoding="utf-8") as file:
        scores = {row["system"]: row for row in csv.DictReader(file)}
    noisy = scores.pop(NOISY)
    names = sorted(scores, key=lambda name: float(scores[name]["PESQ-WB"]))
    costs = {name: presets.load_card(name).get("cost") for name in names}
    made = figure(11, 3.2)
    panels = made.subplots(1, len(MEASURES) + 1, sharey=True)
    for axis, (measure, title) in zip(panels, MEASURES.items(), strict=False):
        values = [float(scores[name][measure]) for name in names]
        low, high = (
            [float(scores[n][f"{measure} {end}"]) for n in names] for end in ("low", "high")
        )
        axis.hlines(range(len(names)), low, high, color="0.6", lw=2)
        axis.plot(values, range(len(names)), "o", color="teal", ms=6)
        axis.axvline(float(noisy[measure]), color="crimson", lw=1, ls="--")
        axis.set_title(title, loc="left", fontsize=10)
    panels[0].text(
        float(noisy["PESQ-WB"]), len(names) - 0.45, " noisy", color="crimson", fontsize=8
    )
    cost = panels[-1]
    for row, name in enumerate(names):
        if costs[name]:
            milliseconds = costs[name]["cpu_ms_per_second"]
            cost.barh(row, milliseconds, color="0.75", height=0.5)
            cost.text(milliseconds, row, f" {milliseconds:.1f}", va="center", fontsize=9)
        else:
            cost.text(0, row, " not measured", va="center", fontsize=9, color="0.5")
    cost.set_title("cost, ms of CPU per s", loc="left", fontsize=10)
    longest = max((c["cpu_ms_per_second"] for c in costs.values() if c), default=1.0)
    cost.set_xlim(0, 1.3 * longest)
    cost.set_xticks([])  # the bars bear their figures
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(-0.6, len(names) - 0.1)
    for axis in panels:
        axis.grid(axis="x", color="0.92")
        axis.set_axisbelow(True)
        axis.tick_params(length=0, labelsize=9)
        axis.spines[["top", "right", "left"]].set_visible(False)
    made.savefig(path, dpi=150)
