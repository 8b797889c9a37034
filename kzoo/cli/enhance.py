"""The verb `enhance`: recordings to their speech, sound as it comes, and a table of presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from kzoo.cli import options
from kzoo.cli.live import play, refuse_both_or_none
from kzoo.cli.separate import output_options, separate_each
from kzoo.cli.terminal import say


def enhance(
    files: options.FilesUnlessLive = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "-p", "--preset", metavar="PRESET",
            help="Name, folder or exported .tflite of the model; by default the best for speech.",
        ),
    ] = None,
    out: Annotated[
        str, options.out("Folder of the speech; - writes one recording to standard output.")
    ] = "out",
    noise: Annotated[
        bool, typer.Option("--noise", help="Also write what was removed, to OUT/noise/<track>.wav.")
    ] = False,
    attenuation_limit: Annotated[
        float | None,
        typer.Option(
            metavar="DB", min=0,
            help="Lower what is no speech by no more than this, so that some of the room stays.",
        ),
    ] = None,
    live: options.Live = None,
    table: Annotated[
        bool, typer.Option("--list", help="List the presets for speech side by side, and stop.")
    ] = False,
    overlap: options.Overlap = 0.0,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    format: options.Format = "wav",
    bit_depth: options.BitDepth = "16",
    clip: options.Clip = "rescale",
    tags: options.Tags = True,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    engine: options.Engine = "auto",
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Remove the noise from speech: OUT/<track>.wav.

    Recordings may have any length, sample rate and number of channels; their speech has the same,
    and the memory in use does not grow with the length.
    """
    from kzoo import presets
    from kzoo.cli.presets import fetch
    from kzoo.engines import exported, litert
    from kzoo.separation import enhancement

    if table:
        print(enhancers_table())
        return
    refuse_both_or_none(live, files, "enhance")
    enhancer = presets.enhancer(
        exported.opened(preset),
        fetch=lambda best: fetch(best, show=not quiet),
        say=lambda line: say(f"kzoo: {line}"),
    )
    enhancer.refuse_untrained()
    litert.chosen(engine, enhancer, device=device, live=live is not None)
    if live is not None:
        play(
            enhancer, live, ["speech"], device=device, engine=engine, quiet=quiet,
            attenuation_limit_db=attenuation_limit,
        )  # fmt: skip
        return
    if out == "-" and (len(files) != 1 or noise):
        raise ValueError("stdout takes one recording, and no --noise")
    folders = {"speech": "", "noise": "noise/"}
    separate_each(
        files, out, stems=enhancement(enhancer.sources, noise=noise),
        place=lambda track, stem: folders[stem] + track, by=enhancer,
        output=output_options(format, bit_depth, clip=clip, tags=tags, overwrite=overwrite),
        start=start, duration=duration, quiet=quiet, bandwidth_hz=enhancer.card["sample_rate"] / 2,
        overlap=overlap, attenuation_limit_db=attenuation_limit, device=device, engine=engine,
    )  # fmt: skip


def enhancers_table() -> str:
    """The presets that give speech: their sizes, and what they made of speech nobody trained on.

    Figures are those of the cards, blank where nothing was measured. Latency is that of a stream,
    and presets without one hear whole blocks; the cost is the processor's time for a second of
    sound, on the machine that the card names.
    """
    from kzoo import presets

    measures = ("PESQ-WB", "ESTOI", "SI-SDR", "OVRL")
    head = ("preset", "kHz", "latency", "weights", "CPU per s", *measures)
    cards = [presets.load_card(name) for name in presets.list_presets()]
    cards = [card for card in cards if "speech" in card.get("sources", ())]
    rows = [head]
    for card in sorted(cards, key=lambda card: _means(card).get(measures[0], 0.0), reverse=True):
        latency, cost, means = card.get("latency_ms"), card.get("cost"), _means(card)
        rows.append((
            card["name"],
            f"{card['sample_rate'] / 1000:g}",
            f"{latency:g} ms" if latency else "block",
            f"{card['parameters'] / 1e6:.2f} M",
            f"{cost['cpu_ms_per_second']:.1f} ms" if cost else "",
            *(f"{means[m]:.2f}" if m in means else "" for m in measures),
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _means(card: Mapping[str, Any]) -> Mapping[str, float]:
    return card.get("scores", {}).get("means", {})
