"""What `kzoo export` does: one artefact, and what its card says of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo import audio, presets
from kzoo.cli.presets import fetch
from kzoo.cli.terminal import quiet_tensorflow
from kzoo.deploy import request


def export_preset(
    preset: str,
    to: str,
    out: Path,
    *,
    precision: str,
    block_seconds: float | None,
    sound: Path | None,
    allow_flex: bool,
    overwrite: bool,
    show: bool,
) -> None:
    """Export a preset and print its card's main lines; what can be refused is so at once."""
    card = presets.load_card(preset)
    if card.get("task") != "synthesis":
        presets.sources(preset, card)
    request.check(to, precision=precision, block_seconds=block_seconds, allow_flex=allow_flex)
    request.places(to, out, name=card["name"], precision=precision, overwrite=overwrite)
    presets.refuse_untrained(preset, card)
    if sound is not None:
        audio.info(sound)
    fetch(preset, show=show)
    quiet_tensorflow()
    from kzoo import api

    card = api.export(
        preset, to, out, precision=precision, block_seconds=block_seconds, sound=sound,
        allow_flex=allow_flex, overwrite=overwrite,
    )  # fmt: skip
    if show:
        for line in _export_lines(card):
            print(line)


def _export_lines(card: Mapping[str, Any]) -> list[str]:
    block = card["block_samples"]
    length = f"{block} samples ({block / card['sample_rate']:.2f} s)" if block else "any length"
    lines = [
        f"{card['path']}: {card['bytes'] / 1e6:.1f} MB, {card['precision']}, {length} "
        f"at {card['sample_rate']} Hz, {card['channels']} channels",
        f"compared with {card['parity']['against']} on {card['parity']['sound']}:",
    ]
    if card["parity"]["not_compared"]:
        lines[1] = f"NOT compared with Keras: {card['parity']['not_compared']}"
    for source, found in card["parity"]["sources"].items():
        snr = "equal" if found["snr_db"] is None else f"{found['snr_db']:.1f} dB"
        lines.append(f"  {source:16} {snr:>9}   max {found['max_abs_difference']:.1e}")
    if "operators" in card:
        names = ", ".join(f"{name} x{count}" for name, count in card["operators"].items())
        lines.append(f"operators: {names}")
    return lines
