"""Count what presets cost, into their cards: weights, and multiply-adds for a second of sound.

    python -m benchmarks.preset_costs [NAME ...]      # by default all whose card lacks them

Both are counted in the graph, as `kzoo train --dry-run` does, so nothing has to be fetched. The
multiply-adds are those of separators, block by block as `kzoo separate` runs them, and of taggers;
a tracker of pitch costs as much as its hop says, which is the user's.
"""

from __future__ import annotations

import re
import sys

from kzoo import presets

COUNTED = ("separation", "listening")


def counted(preset: presets.Preset) -> dict[str, float]:
    """The keys `parameters` and, of some tasks, `gmac_per_second` of a preset's card."""
    from kzoo.training.graph_costs import multiply_adds

    size, _ = preset.sizes()
    if preset.task not in COUNTED:
        return {"parameters": preset.untrained_model().count_params()}
    grid = size.grid()
    model = preset.untrained_model(**(size.block() if preset.task == "separation" else {}))
    per_second = multiply_adds(model, grid.samples) / grid.hop * size.sample_rate
    return {
        "parameters": preset.card.get("parameters", model.count_params()),
        "gmac_per_second": float(f"{per_second / 1e9:.3g}"),
    }


def write(name: str, figures: dict[str, float]) -> None:
    """Put the figures behind the card's channels, in place of those that are there."""
    path = presets.CARDS / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    for key in figures:
        text = re.sub(rf"^{key}: .*\n", "", text, flags=re.MULTILINE)
    lines = "".join(f"{key}: {value}\n" for key, value in figures.items())
    text, times = re.subn(r"^(channels: \d+\n)", rf"\g<1>{lines}", text, flags=re.MULTILINE)
    if times != 1:
        raise ValueError(f"{path}: has {times} lines 'channels: N'; expected one")
    path.write_text(text, encoding="utf-8")


def main(names: list[str]) -> None:
    for name in names or presets.list_presets():
        preset = presets.open_preset(name)
        wanted = {"parameters", *(["gmac_per_second"] if preset.task in COUNTED else [])}
        if names or (wanted - set(preset.card) and not preset.bag):  # a bag costs what its parts do
            figures = counted(preset)
            write(name, figures)
            print(name, figures, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
