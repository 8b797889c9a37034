"""What separators cost as files at their published sizes, with weights that nobody trained.

    python -m benchmarks.published_sizes scnet umxl demucs48_hq -o out --no-times
    python -m benchmarks.published_sizes scnet_xl -o out --block-seconds 3 --no-times
    python -m benchmarks.published_sizes scnet umxl demucs48_hq -o out --times-only
        > benchmarks/results/published_sizes.md

A preset's name stands for the network of its card. As `kzoo export --all` does where there are
weights, each file is compared with Keras on music, and timed in processes of its own; the page
has the tables of all that is in OUT. Random weights cost what trained ones do; the dB of weights
that music has formed may be others.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

SEED = 0
FORMS = ("SavedModel", "fp32", "fp16", "int8")


def main(arguments: list[str] | None = None) -> None:
    """Write the files and the table of each preset."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="+", metavar="PRESET")
    parser.add_argument("-o", "--out", type=Path, required=True, help="The folder of all files.")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    parser.add_argument(
        "--block-seconds", type=float,
        help="Of every form; by default TFLite has the card's own, a SavedModel any length.",
    )  # fmt: skip
    times = parser.add_mutually_exclusive_group()
    times.add_argument("--no-times", action="store_true", help="Time them by another call.")
    times.add_argument("--times-only", action="store_true", help="Make no form.")
    options = parser.parse_args(arguments)
    for name in options.presets:
        exported(
            name, options.out, forms=options.forms, block_seconds=options.block_seconds,
            make=not options.times_only, times="none" if options.no_times else "missing",
        )  # fmt: skip
    print_page(options.out)


def exported(
    name: str, out: Path, *, forms: list[str], block_seconds: float | None = None, **how: Any
) -> None:
    """Write the forms and the table of `deploy.matrix`; how: its `make` and `times`."""
    import keras

    from kzoo import presets
    from kzoo.deploy.examples import sound_proof
    from kzoo.deploy.export import Original
    from kzoo.deploy.matrix import Form, matrix

    preset = presets.open_preset(name)

    def prepare(to: str, seconds: float | None) -> Original:
        size, arguments = preset.sizes()
        if to == "tflite" or seconds:
            samples = seconds and round(seconds * size.sample_rate)
            size, arguments["samples"] = size.static(samples)
        keras.utils.set_random_seed(SEED)
        model = preset.untrained_model(size, **arguments)
        draw(model)
        return Original(model, sound_proof(model, sample_rate=size.sample_rate, size=size))

    wanted = [
        Form("saved_model", "fp32", block_seconds=block_seconds) if form == "SavedModel"
        else Form("tflite", form, block_seconds=block_seconds)
        for form in forms
    ]  # fmt: skip
    matrix(
        out / name, name=name, key=f"seed {SEED}", wanted=wanted, prepare=prepare, true=None,
        sample_rate=preset.card["sample_rate"], base_card={}, memory=out / "search",
        say=lambda line: print(line, file=sys.stderr, flush=True), **how,
    )  # fmt: skip


def draw(model: Any) -> None:
    """Add noise to weights that begin all alike, as biases, norms and scales do: all then count."""
    import numpy as np

    rng = np.random.default_rng(SEED)
    for weight in model.weights:
        values = weight.numpy()
        if np.issubdtype(values.dtype, np.floating) and np.ptp(values) == 0:
            noise = rng.standard_normal(values.shape)
            weight.assign(values + 0.1 * noise.astype(values.dtype))


def print_page(out: Path) -> None:
    """Print the tables of all presets in the folder."""
    from kzoo.deploy import tables

    packages = ("tensorflow", "ai-edge-litert")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    print("# Separators at their published sizes, at random weights\n")
    print(f"{platform.machine()}, {os.cpu_count()} processors, {versions}; {date.today()}")
    print("\nTimed are calls of 4 s of a SavedModel, and of a block of a TFLite file.")
    for path in sorted(out.glob("*/matrix.json")):
        table = json.loads(path.read_text(encoding="utf-8"))
        print(f"\n## {table['name']}\n\n{tables.markdown(table).rstrip()}")


if __name__ == "__main__":
    main()
