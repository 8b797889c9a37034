"""From a recording on disk to one file a stem, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kzoo.audio import AudioReader, AudioWriter
from kzoo.separation.levels import Levels
from kzoo.separation.separator import Progress, Streamed


@dataclass(frozen=True)
class OutputOptions:
    """How stems are written; the words are those of `AudioWriter`."""

    format: str = "wav"
    bit_depth: int | str = 16
    clip: str = "rescale"
    overwrite: bool = False
    tags: bool = True


@dataclass
class Report:
    """What one recording gave: the files, the seconds, and whatever a listener should be told."""

    files: dict[str, Path]
    seconds: float
    notes: list[str] = field(default_factory=list)


def selection(
    sources: Sequence[str], *, two_stems: str | None = None, only: str | None = None
) -> dict[str, list[int]]:
    """Which files are written, and which sources each of them sums.

    two_stems: that source, and all others together as `no_<source>`. only: of these files, or of
    the sources, that one alone. Raises ValueError for a name that is not among them.
    """
    stems = {name: [i] for i, name in enumerate(sources)}
    if two_stems is not None:
        _refuse_unknown(two_stems, stems, "this preset has")
        rest = [i for i, name in enumerate(sources) if name != two_stems]
        if not rest:
            raise ValueError(
                f"two_stems sums all stems but one, and {two_stems} is the only one; leave it out"
            )
        stems = {two_stems: stems[two_stems], f"no_{two_stems}": rest}
    if only is not None:
        _refuse_unknown(only, stems, "this preset has" if two_stems is None else "of two there are")
        stems = {only: stems[only]}
    return stems


def enhancement(sources: Sequence[str], *, noise: bool = False) -> dict[str, list[int] | None]:
    """Select the speech and, with `noise`, what it leaves of the recording; see `selection`."""
    stems: dict[str, list[int] | None] = {"speech": [list(sources).index("speech")]}
    return {**stems, "noise": None} if noise else stems


def _refuse_unknown(name: str, stems: Mapping[str, Sequence[int]], what: str) -> None:
    if name not in stems:
        raise ValueError(f"there is no stem {name!r}; {what} {', '.join(stems)}")


def separate_file(
    separator: Streamed,
    path: str | Path,
    targets: Mapping[str, Path],
    *,
    stems: Mapping[str, Sequence[int] | None] | None = None,
    output: OutputOptions = OutputOptions(),
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    progress: Progress | None = None,
    surveyed: Callable[[list], object] | None = None,
) -> Report:
    """Separate the recording at `path` into the files of `targets`, one a stem.

    stems: of `selection`, by default every source to its own file; or of `enhancement`, where None
    is what the others leave of the recording. All stems of a recording are scaled by one gain when
    any would clip (clip="rescale"), so that they still sum. surveyed: as in `separator.stream`.
    Raises audio.AudioError for what cannot be read or written, Cancelled when `progress` says so;
    whatever is raised, nothing half-written stays, and no folder that is empty.
    """
    stems = selection(separator.sources) if stems is None else stems

    with _no_empty_folders(targets.values()), contextlib.ExitStack() as open_files:
        reader = open_files.enter_context(
            AudioReader(path, start_seconds=start_seconds, duration_seconds=duration_seconds)
        )
        writers = {
            name: open_files.enter_context(
                AudioWriter(
                    targets[name], reader.sample_rate, reader.channels, overwrite=output.overwrite,
                    bit_depth=output.bit_depth, clip=output.clip,
                    tags=reader.tags if output.tags else None,
                )
            )
            for name in stems
        }  # fmt: skip
        levels = Levels(separator.sources)
        written = 0
        for mixture, parts in separator.stream(
            reader.blocks, reader.sample_rate, reader.channels, samples=reader.samples,
            progress=progress, surveyed=surveyed,
        ):  # fmt: skip
            levels.add(mixture, parts)
            for name, part in _stems(mixture, parts, stems).items():
                writers[name].write(part)
            written += len(mixture)
        gain = _shared_gain(writers, output)
        for writer in writers.values():
            writer.encode(gain=gain)
        _move_all(writers.values())
    return Report(
        files={name: Path(targets[name]) for name in stems},
        seconds=written / reader.sample_rate,
        notes=reader.warnings + levels.warnings() + _clip_notes(writers, gain),
    )


def _stems(mixture: np.ndarray, parts: np.ndarray, stems: Mapping) -> dict[str, np.ndarray]:
    """{name: `[samples, channels]`} of one piece."""
    found = {
        name: parts[m[0]] if len(m) == 1 else np.sum(parts[list(m)], axis=0)
        for name, m in stems.items()
        if m is not None
    }
    rest = [name for name in stems if name not in found]
    return {**found, **{name: mixture - sum(found.values()) for name in rest}}


@contextlib.contextmanager
def _no_empty_folders(targets: Iterable[Path]) -> Iterator[None]:
    """Remove the folders made for `targets` that an exception leaves empty."""
    parents = {folder for target in targets for folder in Path(target).parents}
    missing = [folder for folder in parents if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in sorted(missing, key=lambda folder: len(folder.parts), reverse=True):
            with contextlib.suppress(OSError):  # it is missing still, or holds something else
                folder.rmdir()
        raise


def _move_all(writers: Iterable[AudioWriter]) -> None:
    moved: list[Path] = []
    try:
        for writer in writers:
            moved.append(writer.finish().path)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise


def _shared_gain(writers: Mapping[str, AudioWriter], output: OutputOptions) -> float | None:
    if output.clip != "rescale":
        return None
    return 1.0 / max(1.0, *(writer.peak for writer in writers.values()))


def _clip_notes(writers: Mapping[str, AudioWriter], gain: float | None) -> list[str]:
    if gain is not None and gain < 1 and any(writer.gain < 1 for writer in writers.values()):
        return [f"all stems were scaled by {20 * np.log10(gain):.1f} dB so that none clips"]
    return [
        f"{name}: {writer.clipped_samples} samples were clamped to full scale"
        for name, writer in writers.items()
        if writer.clipped_samples
    ]
