"""What `kzoo data prepare --kind solo` does: pitch and loudness of recordings, followed once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kzoo.data import solo
from kzoo.terminal import bar, quiet_tensorflow, say

FRAMES_A_SECOND = 250


def prepare_solo(
    path: str, out: Path, *, pitch: str, exclude: Sequence[str], sample_rate: int, licence: str,
    show: bool,
) -> None:  # fmt: skip
    """Follow every recording under `path` into `out`, and print what was found.

    pitch: a method of `kzoo pitch`. Raises ValueError for a rate without 250 hops a second, and
    where nothing can be followed.
    """
    hop_length, rest = divmod(sample_rate, FRAMES_A_SECOND)
    if rest or not hop_length:
        raise ValueError(
            f"sample_rate must be a multiple of {FRAMES_A_SECOND} Hz, for as many frames a second; "
            f"got {sample_rate}"
        )
    quiet_tensorflow()
    from kzoo.pitch_tracking import PitchTracker

    tracker = PitchTracker(pitch, hop_ms=1000 / FRAMES_A_SECOND)
    with bar(f"preparing {out}", unit="seconds", show=show) as progress:
        solo.prepare(
            path, out, estimate=tracker.estimate, method=pitch, sample_rate=sample_rate,
            hop_length=hop_length, exclude=exclude, licence=licence, progress=progress, say=say,
        )  # fmt: skip
    for line in describe(solo.solo(str(out))):
        print(line)


def describe(corpus: solo.Solo) -> list[str]:
    """Lines about a prepared folder: how much, and where its pitch and loudness are."""
    found = corpus.statistics()
    lines = [
        f"{len(corpus.tracks)} recordings, {corpus.seconds / 60:.1f} minutes, "
        f"{corpus.sample_rate} Hz; {100 * found['voiced']:.0f} % of the frames have a pitch"
    ]
    for name, unit in (("midi", "notes"), ("loudness_db", "dB")):
        quantiles = found[name]["quantiles"]
        lines.append(
            f"{name}: mean {found[name]['mean']:.1f}, deviation {found[name]['std']:.1f} {unit}; "
            f"{quantiles[0.05]:.1f} to {quantiles[0.95]:.1f} in nine of ten frames"
        )
    return lines
