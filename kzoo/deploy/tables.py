"""The table of `matrix`, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_HEAD = [
    "form", "MB", "of fp32", "operators", "dB", "dB, faint", "load ms", "CPU ms/s, 1 thread",
    "ms/s, 1 thread", "2 threads", "peak MB",
]  # fmt: skip
_TIMES = (("cpu_", "1_thread"), ("", "1_thread"), ("", "2_threads"))
_MEASURES = {"sdr": "SDR", "si_sdr": "SI-SDR", "pesq": "PESQ"}


def markdown(table: Mapping[str, Any]) -> str:
    """One table: files that ship, then what is unfit and why."""
    rows = table["rows"]
    fit, unfit = ([row for row in rows if bool(row["reason"]) == bad] for bad in (False, True))
    whole = next((row["bytes"] for row in fit if row["name"] == "fp32"), None)
    measures = sorted({name for row in fit for name in row.get("change") or {}})
    head = [*_HEAD, *(f"change of {_MEASURES[name]}" for name in measures)]
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join(['---', *['---:'] * (len(head) - 1)])} |"]
    for row in fit:
        change = row.get("change") or {}
        cells = [
            row["name"], f"{row['bytes'] / 1e6:.2f}",
            f"{row['bytes'] / whole:.2f}" if whole else "", f"{row['operators']}",
            _number(row["snr_db"], 1), _number(row["faint_db"], 1), _number(row.get("load_ms"), 0),
            *(_number(row.get(f"{time}ms_{count}"), 2) for time, count in _TIMES),
            _number(row.get("peak_mb"), 0), *(_number(change.get(name), 3) for name in measures),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    if table["scores"]:
        figures = "; ".join(
            f"{source} " + ", ".join(f"{_MEASURES[m]} {value:.2f}" for m, value in row.items())
            for source, row in table["scores"].items()
        )
        lines += ["", f"Keras on {table['truth']}: {figures}."]
    if timed := [row for row in fit if "load_average" in row]:
        loads = [row["load_average"] for row in timed]
        lines += [
            "",
            f"Timed while the load average, with these processes in it, was {min(loads):.1f} to "
            f"{max(loads):.1f}; on one thread the wall clock showed at most "
            f"{shared_time(timed):.2f} of the processor's time.",
        ]
    if unfit:
        lines += ["", "Not kept:", ""]
        lines += [f"- {row['name']}: {row['reason']}" for row in unfit]
    return "\n".join(lines) + "\n"


def shared_time(rows: Sequence[Mapping[str, Any]]) -> float:
    """Wall time over the processor's on one thread, at worst: above 1 where others had it too."""
    return max(row["ms_1_thread"] / row["cpu_ms_1_thread"] for row in rows)


def _number(value: float | None, digits: int) -> str:
    return (
        ""
        if value is None
        else f"{value:.{digits}f}".replace("-0." + "0" * digits, "0." + "0" * digits)
    )
