"""What `kzoo transfer` does: a recording played by a trained synthesiser, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from kzoo import audio, pitch_tracking
from kzoo.cli.presets import fetch
from kzoo.cli.terminal import bar, quiet_tensorflow, say
from kzoo.synthesis import transfer


def transfer_file(
    recording: Path,
    out: Path,
    *,
    preset: str | None,
    octaves: int | None,
    match: bool,
    loudness_db: float,
    gate: float,
    dry: bool,
    method: str,
    input_rate: bool,
    picture: Path | None,
    bit_depth: int | str,
    overwrite: bool,
    show: bool,
) -> None:
    """Write `out`, and `picture` where it is asked for; what can be refused is refused at once.

    The rest is as of `transfer.TimbreTransfer`. Whatever is raised, nothing half-written stays.
    """
    options = {"octaves": octaves, "match": match, "loudness_db": loudness_db, "gate": gate}
    instrument = transfer.check_request(preset, method=method, **options)
    info = audio.info(recording)
    rate = info.sample_rate if input_rate else instrument.card["sample_rate"]
    _refuse_early(recording, [out] if picture is None else [out, picture], overwrite)
    audio.check_writable(out, rate, 1, bit_depth=bit_depth)
    if picture is not None:
        _check_picture(picture)
    if method != pitch_tracking.PYIN:
        fetch(method, show=show)
    quiet_tensorflow()
    player = transfer.TimbreTransfer(instrument, method=method, dry=dry, **options)
    watcher = None
    if picture is not None:
        from kzoo.pictures.transfer import TransferPicture

        watcher = TransferPicture(player.sample_rate, player.hop_length)
    moved: list[transfer.Moved] = []
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(bar(recording.name, unit="seconds", show=show))
        reader = stack.enter_context(audio.AudioReader(recording))
        drawn = stack.enter_context(_beside(picture)) if picture is not None else None
        writer = stack.enter_context(
            audio.AudioWriter(out, rate, 1, bit_depth=bit_depth, overwrite=overwrite)
        )
        for block in player.stream(
            reader.blocks(), reader.sample_rate, samples=reader.samples, input_rate=input_rate,
            watcher=watcher, progress=progress, say=moved.append,
        ):  # fmt: skip
            writer.write(block[:, None])
        if watcher is not None:
            watcher.draw(
                drawn, f"{recording.name}, played by {instrument.card['name']}: {_line(moved[0])}"
            )
    for text in reader.warnings:
        say(f"{recording.name}: {text}")
    if show:
        written = f"{out}" if picture is None else f"{out}, {picture}"
        say(f"{recording.name}: {_line(moved[0])} -> {written}")


def _line(moved: transfer.Moved) -> str:
    before, after = moved.loudness_db
    return (
        f"{100 * moved.voiced:.0f} % of the frames have a pitch, {moved.octaves:+d} octaves, "
        f"median loudness {before:.0f} to {after:.0f} dB"
    )


def _refuse_early(recording: Path, targets: list[Path], overwrite: bool) -> None:
    for target in targets:
        if target.exists() and target.samefile(recording):
            raise audio.AudioError(f"{target}: is the recording itself; name another file")
        if target.exists() and not overwrite:
            raise audio.AudioError(f"{target}: exists already; --overwrite replaces it")


def _check_picture(picture: Path) -> None:
    if picture.suffix.lower() != ".png":
        raise ValueError(f"{picture}: a picture is a .png")
    if not importlib.util.find_spec("matplotlib"):
        raise ImportError("the picture needs matplotlib: pip install 'kzoo[plot]'")


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A hidden place that becomes `target` at the end, and vanishes on any exception."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name[:48]}.{os.urandom(4).hex()}.png")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
