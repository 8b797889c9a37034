"""What `enhance` and `separate` share of --live: sound as it comes, from a device or a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kzoo.cli.terminal import bar, loading, say

if TYPE_CHECKING:
    from kzoo.presets import Preset


def refuse_both_or_none(live: str | None, files: Sequence[str] | None, verb: str) -> None:
    """Raise ValueError for recordings beside --live, and for neither."""
    if (live is None) == (not files):
        raise ValueError(
            "--live takes sound as it comes, and no recordings"
            if files
            else f"name recordings to {verb}, or --live DEVICE for sound as it comes"
        )


def play(
    preset: Preset,
    live: str,
    sources: Sequence[str],
    *,
    device: str | None,
    engine: str,
    quiet: bool,
    attenuation_limit_db: float | None = None,
) -> None:
    """Sound as it comes through `preset`, until it ends or is interrupted; a channel a source.

    Raises what `engines.tensorflow.live_system` and `engines.litert` raise.
    """
    from kzoo.cli.presets import fetch
    from kzoo.engines import litert
    from kzoo.separation.live import Live, from_microphone, through_pipe

    fetch(preset, show=not quiet)
    by_litert = litert.chosen(engine, preset, device=device, live=True)
    with loading(preset, by_litert=by_litert, made=by_litert and litert.is_made(preset, live=True)):
        if by_litert:
            system = litert.system(preset, live=True)
        else:
            from kzoo.engines import tensorflow

            system = tensorflow.live_system(preset, device=device)
    running = Live(system, *sources, attenuation_limit_db=attenuation_limit_db)
    if not quiet:
        channels = "one channel"
        if len(sources) > 1:
            channels += f" to {len(sources)} ({', '.join(sources)})"
        latency_ms = 1000 * (running.delay + running.hop) / running.sample_rate
        rate = running.sample_rate
        say(f"kzoo: {preset} at {rate} Hz, {channels}, {latency_ms:.0f} ms of latency")
    try:
        with bar("live", unit="seconds", show=not quiet) as progress:

            def told(seconds: float) -> None:
                progress(seconds, None)

            if live == "-":
                through_pipe(running, sys.stdin.buffer, sys.stdout.buffer, told=told)
            else:
                number = int(live) if live.isdigit() else live
                from_microphone(running, device=None if live == "default" else number, told=told)
    finally:
        if not quiet:
            say(f"kzoo: {running.report}")
