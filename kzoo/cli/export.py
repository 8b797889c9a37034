"""The verb `export`: one artefact of a preset, and what its card says of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from kzoo.cli import options
from kzoo.cli.terminal import bar, quiet_tensorflow, say, without_notes


def export(
    preset: options.Preset = "spleeter_2stems",
    to: Annotated[
        str, typer.Option("--to", metavar="FORMAT", help="tflite, saved_model or onnx.")
    ] = "tflite",
    out: Annotated[Path, options.out("Folder of the artefact and its card.")] = Path("export_out"),
    precision: Annotated[
        str,
        typer.Option(
            metavar="PRECISION",
            help="Storage of weights: fp32; tflite: fp16, or as few bits as a limit leaves: int8, "
            "int4; arithmetic in 8 bits too: dynamic_int8, full_int8.",
        ),
    ] = "fp32",
    limit_db: Annotated[
        float | None,
        typer.Option(
            metavar="DB",
            help="Least ratio of each output to its difference from Keras's; by default 80 for "
            "fp32, 50 for storage in fewer bits and 45 for arithmetic in 8.",
        ),
    ] = None,
    block_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="About the length of a block; by default the model's own."
        ),
    ] = None,
    sound: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Recording on which the artefact is compared with Keras; by default music, or a "
            "made-up voice in noise for presets that give speech.",
        ),
    ] = None,
    every_form: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Write every format and precision to OUT/NAME, with a table of what each costs; "
            "forms that are there already are kept.",
        ),
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --all: clean/ and noisy/ recordings, on which what gives speech is scored.",
        ),
    ] = None,
    condition: Annotated[
        bool,
        typer.Option(
            "--condition",
            help="What to extract becomes a second input, in one file for any stem or mix of them: "
            "of a conditioned U-Net.",
        ),
    ] = False,
    allow_flex: Annotated[
        bool,
        typer.Option(
            "--allow-flex", help="Allow TensorFlow operators, which an app must then ship."
        ),
    ] = False,
    fft: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Fourier transforms in a TFLite file: rfft2d, TFLite's own; matmul, products of "
            "matrices; or auto, what is fastest on a CPU.",
        ),
    ] = "auto",
    target: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            help="cpu, or gpu: transforms as products, tensors of four axes at most, and layers "
            "that hold in half precision, in which the file, NAME_gpu, is tried too.",
        ),
    ] = "cpu",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Write a preset as TFLite, SavedModel or ONNX, run and proven.

    The artefact is loaded and run there, and compared with Keras on sound before it is kept.
    """
    from kzoo import audio, presets, tasks
    from kzoo.cli.presets import fetch
    from kzoo.deploy import request

    opened = presets.open_preset(preset)
    if not tasks.task(opened.task).exported:
        able = ", ".join(name for name, known in tasks.TASKS.items() if known.exported)
        raise presets.PresetError(
            f"preset {opened} is for {opened.task}; what is exported is for {able}"
        )
    if every_form:
        single = {
            "--to": to != "tflite", "--precision": precision != "fp32", "--allow-flex": allow_flex,
            "--limit-db": limit_db is not None, "--condition": condition, "--overwrite": overwrite,
            "--fft": fft != "auto", "--target": target != "cpu",
        }  # fmt: skip
        if alone := [option for option, is_given in single.items() if is_given]:
            raise ValueError(f"{', '.join(alone)} is for a single form: leave it or --all out")
    elif pairs is not None:
        raise ValueError("--pairs is what the table of --all is scored on: give both")
    request.check(to, precision=precision, block_seconds=block_seconds, allow_flex=allow_flex)
    if condition:
        request.check_condition(opened.card)
    given = {"condition": "input"} if condition else {}
    request.transforms(to, fft, target)
    name = request.artefact_name(opened.card["name"], target=target, **given)
    if not every_form:
        request.places(to, out, name=name, precision=precision, overwrite=overwrite)
    opened.refuse_untrained()
    if sound is not None:
        audio.info(sound)
    fetch(opened, show=not quiet)
    quiet_tensorflow()
    from kzoo import api

    # What computes in half precision tells at length which processors it looks for.
    notes = without_notes() if target == "gpu" else contextlib.nullcontext()
    with notes, bar("kernels in fewer bits", unit="kernels", show=not quiet) as progress:
        if every_form:
            api.export_all(
                opened, out, block_seconds=block_seconds, sound=sound, pairs=pairs,
                say=(lambda line: None) if quiet else print, progress=progress,
            )  # fmt: skip
            return
        card = api.export(
            opened, to, out, precision=precision, limit_db=limit_db, block_seconds=block_seconds,
            sound=sound, allow_flex=allow_flex, fft=fft, target=target, overwrite=overwrite,
            progress=progress, **given,
        )  # fmt: skip
    note = request.block_note(card, block_seconds)
    if note:
        say(f"kzoo: {note}")
    if not quiet:
        for line in _lines(card):
            print(line)


def _lines(card: Mapping[str, Any]) -> list[str]:
    block, rate = card["block_samples"], card["sample_rate"]
    length = (
        f"{block} samples ({block / rate:.2f} s)" if block else "any length (memory grows with it)"
    )
    lines = [
        f"{card['path']}: {card['bytes'] / 1e6:.1f} MB, {card['precision']}, {length} "
        f"at {rate} Hz, {card['channels']} channels",
    ]
    if stream := card.get("stream"):
        samples, file = stream["frames"] * stream["hop_length"], "signatures step and reset: "
        if "file" in stream:
            place = Path(card["path"]).with_name(stream["file"])
            file = f"{place}: {stream['bytes'] / 1e6:.1f} MB, "
        lines.append(
            f"{file}steps of {samples} samples ({1000 * samples / rate:.0f} ms), "
            f"{stream['delay_samples']} samples late"
        )
    parity = card["parity"]
    if parity["not_compared"]:
        lines.append(f"NOT compared with Keras: {parity['not_compared']}")
    else:
        lines.append(f"compared with {parity['against']} on {parity['sound']}:")
    for source, found in parity["sources"].items():
        snr = "equal" if found["snr_db"] is None else f"{found['snr_db']:.1f} dB"
        lines.append(f"  {source:16} {snr:>9}   max {found['max_abs_difference']:.1e}")
    if worst := parity["worst"]:
        lines.append(
            f"  at worst {worst['snr_db']:.1f} dB, {worst['output']}, on {worst['sound']}, "
            f"max {worst['max_abs_difference']:.1e}"
        )
    if in_half := parity.get("half_precision"):
        snr = "not tried here" if in_half["snr_db"] is None else f"{in_half['snr_db']:.1f} dB"
        guards = ", ".join(f"{g['layer']} {g['value']:g}" for g in in_half["guards"])
        lines.append(f"  in half precision: {snr}; guards under 1e-4: {guards or 'none'}")
    if faint := parity.get("faint"):
        snr = "equal" if faint["snr_db"] is None else f"{faint['snr_db']:.1f} dB"
        lines.append(f"  where an output is faint: {snr}, max {faint['max_abs_difference']:.1e}")
    names = ", ".join(f"{name} x{count}" for name, count in card["operators"].items())
    lines.append(f"operators: {names}")
    if layers := card.get("more_than_4_axes"):
        lines.append(
            f"tensors of more than 4 axes, which GPU delegates refuse, in {len(layers)} layers: "
            f"{', '.join(layers[:4])}{', ...' if len(layers) > 4 else ''}"
        )
    return lines
