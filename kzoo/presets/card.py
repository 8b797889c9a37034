"""Cards: what kzoo says of a preset, and what a card must say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kzoo import config, models

CARDS = Path(__file__).parent / "cards"
CARD, WEIGHTS = "card.yaml", "weights.npz"
EXPORTED = ".tflite"  # how the name of a file ends that `engines.exported` opens
TRAINED = "a line that says how, or a mapping with the number of steps"
Progress = Callable[[int, int | None], None]


class PresetError(ValueError):
    """A preset that cannot be found, fetched or trusted; one line with the way out."""


def list_presets() -> list[str]:
    """Names of the presets that kzoo knows, downloaded or not."""
    return sorted(path.stem for path in CARDS.glob("*.yaml"))


def read_card(preset: str | Path) -> tuple[Path | None, dict[str, Any]]:
    """(folder, card) of a preset by its name or its folder; a name that kzoo knows has no folder.

    A card without a name has that of its folder. Raises PresetError with a suggestion for an
    unknown preset, and for a card that lacks a part.
    """
    folder = Path(preset)
    if (folder / CARD).is_file():
        card = {"name": folder.resolve().name, **config.load_yaml(folder / CARD)}
        check_card(card, str(folder / CARD))
        return folder, card
    name = str(preset)
    if name not in list_presets() and folder.is_dir():
        raise PresetError(f"{preset}: is a folder without {CARD}, so not a preset")
    if folder.suffix == EXPORTED:
        raise PresetError(
            f"{preset}: an exported file runs in kzoo separate, enhance, tag, synthesize and "
            "transfer; name the preset here"
        )
    config.named(list_presets(), name, "preset", error=PresetError)
    return None, config.load_yaml(CARDS / f"{name}.yaml")


def check_card(card: Mapping[str, Any], where: str) -> None:
    """Raise PresetError for what would fail, later and less clearly, in whatever reads the card."""
    model, sources, trained = (card.get(key) for key in ("model", "sources", "trained"))
    steps = trained.get("steps") if isinstance(trained, Mapping) else None
    rate = card.get("sample_rate")
    rules = {
        "model": (
            isinstance(model, Mapping)
            and isinstance(model.get("name"), str)
            and isinstance(model.get("options", {}), Mapping),
            "a mapping of an architecture's name and, where it has any, its options",
        ),
        "sources": (
            (sources is None and _names_another_task(card))
            or (
                isinstance(sources, list | tuple)
                and 0 < len(sources) == len(set(map(str, sources)))
                and all(isinstance(source, str) for source in sources)
            ),
            "a list of different names",
        ),
        "sample_rate": (type(rate) is int and rate > 0, "a whole number of Hz"),
        "level_db": (isinstance(card.get("level_db", 0.0), int | float), "a level in dBFS"),
        "overlap": (
            isinstance(share := card.get("overlap", 0.0), int | float) and 0 <= share <= 0.5,
            "a share of a block, 0 to 0.5",
        ),
        "weights": (isinstance(card.get("weights", {}), Mapping), "a mapping"),
        "bag": (_is_bag(card.get("bag", [])), "a list of mappings of a preset and its weights"),
        "trained": (
            not trained or isinstance(trained, str) or (type(steps) is int and steps >= 0),
            TRAINED,
        ),
    }
    for key, (holds, rule) in rules.items():
        if not holds:
            got = repr(card[key]) if key in card else f"only {', '.join(card) or 'nothing'}"
            raise PresetError(f"{where}: {key!r} must be {rule}; got {got}")


def _is_bag(bag: Any) -> bool:
    """Whether each part names a preset, and a number above 0 for whatever sources it weighs."""
    return isinstance(bag, list | tuple) and all(
        isinstance(part, Mapping)
        and isinstance(part.get("preset"), str)
        and set(part) <= {"preset", "weights"}
        and isinstance(weights := part.get("weights", {}), Mapping)
        and all(isinstance(x, int | float) and x > 0 for x in weights.values())
        for part in bag
    )


def _names_another_task(card: Mapping[str, Any]) -> bool:
    """Whether the card is of a model that knows no sources, and says what else it is for."""
    model, task = card.get("model"), card.get("task")
    name = model.get("name") if isinstance(model, Mapping) else None
    if not isinstance(name, str) or not isinstance(task, str) or task == "separation":
        return False
    return not models.takes_sources(name)


def refuse_untrained(preset: str | Path, card: Mapping[str, Any]) -> None:
    """Raise PresetError where the card's `trained` is absent, or says that no step was taken."""
    trained = card.get("trained")
    if not trained:
        raise PresetError(
            f"{preset}: its card does not say how its weights were trained, so they count as "
            f"untrained; {TRAINED}"
        )
    if not isinstance(trained, str) and not trained["steps"]:
        raise PresetError(f"{preset}: its weights have not been trained yet, not one step")


def sources(preset: str | Path, card: Mapping[str, Any]) -> list[str]:
    """What the preset separates; PresetError where its card says that it is for something else."""
    if "sources" not in card:
        raise PresetError(f"preset {preset!s} is for {card['task']} and separates nothing")
    return list(card["sources"])
