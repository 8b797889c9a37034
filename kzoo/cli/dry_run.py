"""What `kzoo train --dry-run` prints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

GPUS = (1, 8)  # of those that an estimate is given for


def show(values: Mapping[str, Any], folder: Path, *, devices: str | None, as_json: bool) -> None:
    """Print what a training will take; exit status 1 where some of its data are missing.

    devices: as of `kzoo train`; the machine is measured on the first.
    """
    from kzoo.engines.tensorflow import prepare_devices
    from kzoo.training import forecast

    places = [prepare_devices(place.strip()) for place in (devices or "").split(",") if place]
    found, parts = forecast.forecast(values)
    report = {
        "name": str(values["name"]),
        "model": values["model"]["name"],
        **dataclasses.asdict(found),
        "memory_bytes": found.memory_bytes,
        "share": forecast.SHARE,
        "data": [dataclasses.asdict(part) for part in parts],
        "folder": str(folder),
        "state": forecast.begun(values, folder),
        "step_seconds": {
            name: found.step_seconds(machine, count)
            for name, machine, count in _machines(forecast, places)
            if found.batch_size % count == 0  # else kzoo train refuses it
        },
    }
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        for what, text in _lines(report):
            print(f"{what:<16}{text}")
    if any(part.missing for part in parts):
        raise SystemExit(1)


def _machines(forecast, places: list) -> Iterator[tuple[str, Any, int]]:
    machine = forecast.this_machine(places[0] if places else None)
    yield f"this {machine.name}", machine, 1
    for count in GPUS:
        yield f"{count} {forecast.H100.name}", forecast.H100, count


def _lines(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    costs = report["forwards"]
    yield "model", f"{report['model']}, {report['weights']:,} weights, {report['trained']:,} learn"
    seconds = report["samples"] / report["sample_rate"]
    yield (
        "example",
        (
            f"{report['samples']:,} samples, {seconds:.3g} s, of {report['channels']} channels at "
            f"{report['sample_rate']} Hz"
        ),
    )
    for part in report["data"]:
        there = f"{part['tracks']:,} tracks, {part['hours']:.3g} hours"
        yield f"data.{part['name']}", f"MISSING: {part['missing']}" if part["missing"] else there
    loops = costs["recurrent_steps"]
    yield (
        "multiply-adds",
        f"{costs['multiply_adds']:,} an example, forwards"
        + (f"; {loops:,} recurrent steps one after the other" if loops else ""),
    )
    memory, state, each = map(
        _gigabytes, (report["memory_bytes"], report["state_bytes"], costs["tensor_bytes"])
    )
    yield "memory", (
        f"up to {memory}: {state} of weights, gradients and averages, and {report['batch_size']} "
        f"examples of at most {each}, all that is computed on the way forwards"
    )  # fmt: skip
    for name, step in report["step_seconds"].items():
        epoch = step * report["steps_per_epoch"]
        yield (
            name,
            (
                f"about {_time(step)} a step of {report['batch_size']}, {_time(epoch)} an epoch of "
                f"{report['steps_per_epoch']:,}, {_time(epoch * report['epochs'])} for "
                f"{report['epochs']:,}"
            ),
        )
    yield (
        "",
        (
            f"estimates, by {report['share']:.0%} of what a machine could multiply or move: "
            "this one as measured, others by their data sheet; "
            "the starting of operators and waiting for data are left out"
        ),
    )
    yield "folder", f"{report['folder']} ({report['state']})"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB"


def _time(seconds: float) -> str:
    for unit, size, least in (("days", 86400, 2), ("hours", 3600, 2), ("min", 60, 2), ("s", 1, 1)):
        if seconds >= least * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{1000 * seconds:.3g} ms"
