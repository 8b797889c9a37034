"""LSTM and GRU: a step and a forward pass in training, by kzoo, Keras and PyTorch, in one run.

    python benchmarks/recurrent.py [--torch-python TORCH] [--threads 1] [--repeats 10]
        [--only TEXT ...] [--to benchmarks/results/recurrent.txt] [--quick]

TORCH is the interpreter of an environment with torch and numpy; without it PyTorch is left out.
Each row is added to the file of --to when it is done. Rows that are there are left out, unless the
machine was busy: the same command goes on where it was ended.

One layer, as wide as its input, has the same weights and the same input on every side. A step is
the outputs of all frames and the gradients of their weighted sum for input, kernels and bias;
"forward" is the first half of it. "LiteRT" is a model's TFLite file of 4 s, as kzoo writes it next
to one with the loops of Keras's layers. Each side of a row is a process of its own on the same
cores with as many threads; they run in turn, in alternating order, after a warm-up that compiles.

Times are medians; a speed is the median over the turns of the peer's time by ours, with the least
and the greatest. "Apart" is the greatest distance of an output, and of a gradient as a share of the
peak of its kind. Where other processes had more than a tenth of the cores meanwhile, the row says
so, and is not to be relied on.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from separators import BUSY, Side, SideError, processor, take_turns, versions

DEFAULTS = {"layer": "LSTM", "steps": 250, "bidirectional": False}
SIZES = [
    *({"units": units, "batch": batch} for units in (128, 256, 512) for batch in (1, 4, 16)),
    *({"layer": "GRU", "units": 256, "batch": batch} for batch in (1, 4, 16)),
    {"units": 256, "batch": 4, "bidirectional": True},
]
MODELS = [
    {"model": model, "variant": variant, "task": "LiteRT"}
    for model, variant in (
        ("dtln", "paper"), ("tasnet", "asteroid"), ("tasnet", "causal"), ("demucs", "small"),
        ("deepfilternet", "deepfilternet3"),
    )
]  # fmt: skip
QUICK = [
    {"units": 16, "batch": 2, "steps": 20},
    {"layer": "GRU", "units": 16, "batch": 2, "steps": 20, "bidirectional": True},
]
QUICK_MODELS = [{"model": "dtln", "variant": "tiny", "task": "LiteRT"}]
BUSY_MACHINE = "a busy machine"


class Layer(Side):
    """One process of recurrent_sides.py."""

    program = Path(__file__).with_name("recurrent_sides.py")

    def __init__(self, label: str, python: str, case: dict, folder: Path, threads: int):
        super().__init__(label, python, {**case, "label": label}, folder, threads)
        with np.load(folder / f"{label}.npz") as found:
            self.results = dict(found)


def title(case: dict) -> str:
    """Of a row."""
    if case["task"] == "LiteRT":
        return f"{case['model']} {case['variant']}, {case['task']}"
    kind = f"{'Bi' if case['bidirectional'] else ''}{case['layer']}"
    return (
        f"{kind} of {case['units']} units, {case['steps']} frames, batch {case['batch']}, "
        f"{case['task']}"
    )


def lines(ours: Layer, peers: list[Layer], others: float) -> list[str]:
    """What the table says of a row."""
    said = [
        f"  {side.label:10}{side.median('wall') * 1e3:10.2f} ms"
        f"{side.median('cpu') * 1e3:10.2f} CPU ms"
        for side in (ours, *peers)
    ]
    for peer in peers:
        speeds = [b["wall"] / a["wall"] for a, b in zip(ours.turns, peer.turns, strict=True)]
        said.append(
            f"  {ours.label} has {statistics.median(speeds):.2f} times the speed of {peer.label} "
            f"({min(speeds):.2f} to {max(speeds):.2f}), "
            f"{ours.median('cpu') / peer.median('cpu'):.2f} of its CPU time; {apart(ours, peer)}"
        )
    if others > BUSY:
        said.append(
            f"  {BUSY_MACHINE}: other processes had {others:.0%} of it; not to be relied on"
        )
    return said


def apart(ours: Layer, peer: Layer) -> str:
    """The greatest distances of outputs and of gradients."""
    expected, found = dict(peer.results), dict(ours.results)
    outputs = np.max(np.abs(found.pop("outputs") - expected.pop("outputs")))
    if not found:
        return f"outputs {outputs:.1e} apart"
    gradients = max(
        np.max(np.abs(found[name] - wanted)) / np.max(np.abs(wanted))
        for name, wanted in expected.items()
    )
    return f"outputs {outputs:.1e} apart, gradients {gradients:.1e} of their peaks"


def header(options: argparse.Namespace) -> str:
    """Command, date, machine and versions."""
    words = ["TORCH" if word == options.torch_python else word for word in sys.argv[1:]]
    torch = versions(options.torch_python, "torch") if options.torch_python else "left out"
    return (
        f"python benchmarks/recurrent.py {' '.join(words)}\n"
        f"{time.strftime('%Y-%m-%d')}, {processor()}, {options.threads} of {os.cpu_count()} cores, "
        f"as many threads a side, median of {options.repeats}, load before "
        f"{os.getloadavg()[0]:.1f}\n"
        f"kzoo: {versions(sys.executable, 'tensorflow', 'keras')}\nPyTorch: {torch}"
    )


def main() -> None:
    """All rows, one after the other."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch-python", metavar="PATH")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="rows with one of these in them")
    parser.add_argument("--to", type=Path, metavar="FILE", help="add rows that it does not have")
    parser.add_argument("--quick", action="store_true", help="small and short: does it still work?")
    options = parser.parse_args()
    if not 1 <= options.threads <= cores:
        parser.error(f"--threads must be from 1 to the {cores} cores here; got {options.threads}")
    pythons = {"kzoo": sys.executable, "Keras": sys.executable, "PyTorch": options.torch_python}
    layers, models = (QUICK, QUICK_MODELS) if options.quick else (SIZES, MODELS)
    tasks = ("step", "forward")
    cases = [{**DEFAULTS, **size, "task": task} for size in layers for task in tasks] + models
    there = measured(options.to)
    cases = [
        case
        for case in cases
        if title(case) not in there and any(text in title(case) for text in options.only)
    ]
    say(options.to, header(options))
    failed = False
    for case in cases:
        sides: list[Layer] = []
        with tempfile.TemporaryDirectory() as folder:
            try:
                for label, python in pythons.items():
                    if python and not (label == "PyTorch" and case["task"] == "LiteRT"):
                        sides.append(Layer(label, python, case, Path(folder), options.threads))
                take_turns(sides, options.warm_up)
                others = take_turns(sides, options.repeats)
                say(options.to, "\n".join(["", title(case), *lines(sides[0], sides[1:], others)]))
            except SideError as error:
                failed = True
                print(f"\n{title(case)}\n  {error}", flush=True)
            finally:
                for side in sides:
                    side.close()
    sys.exit(failed)


def measured(path: Path | None) -> set[str]:
    """The titles of the rows in the file at `path` of which it does not say that they are bad."""
    blocks = path.read_text().split("\n\n") if path and path.exists() else []
    return {block.strip().split("\n")[0] for block in blocks if BUSY_MACHINE not in block}


def say(path: Path | None, text: str) -> None:
    """Print `text`, and add it to the file at `path`."""
    print(text, flush=True)
    if path:
        with open(path, "a") as file:
            print(text, file=file)


if __name__ == "__main__":
    main()
