"""What `kzoo separate` and `kzoo enhance` do, once their words have been parsed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo import audio, presets
from kzoo.cli.presets import fetch
from kzoo.cli.terminal import OUR_ERRORS, bar, one_line, quiet_tensorflow, say
from kzoo.separation import (
    ONE_IS_CONSISTENT,
    OutputOptions,
    Report,
    enhancement,
    selection,
    separate_file,
)


def separate_files(
    files: Sequence[str],
    *,
    preset: str,
    out: str,
    two_stems: str | None,
    only: str | None,
    output: OutputOptions,
    start_seconds: float,
    duration_seconds: float | None,
    show: bool,
    options: Mapping[str, Any],
) -> None:
    """Separate `files` with one build of the model; a bad file does not lose the others.

    Everything that can be refused is refused before TensorFlow is loaded. Raises SystemExit(1)
    after the last file when any of them failed.
    """
    opened = presets.open_preset(preset)
    opened.refuse_untrained()
    stems = selection(opened.sources, two_stems=two_stems, only=only)
    if options.get("consistent") and len(opened.sources) == 1:
        raise ValueError(ONE_IS_CONSISTENT.format(*opened.sources))
    if out == "-" and (len(files) != 1 or len(stems) != 1):
        raise ValueError("stdout takes one stem of one recording: name it with --only")
    _each_file(
        files, preset=opened, out=out, stems=stems, place=lambda track, stem: f"{track}/{stem}",
        output=output, start_seconds=start_seconds, duration_seconds=duration_seconds, show=show,
        options=options,
    )  # fmt: skip


def enhance_files(
    files: Sequence[str],
    *,
    preset: str | None,
    out: str,
    noise: bool,
    output: OutputOptions,
    start_seconds: float,
    duration_seconds: float | None,
    show: bool,
    options: Mapping[str, Any],
) -> None:
    """Write the speech of `files` to OUT/<track>; with `noise` the rest to OUT/noise/<track>.

    The rules are those of `separate_files`.
    """
    enhancer = presets.enhancer(preset)
    enhancer.refuse_untrained()
    if out == "-" and (len(files) != 1 or noise):
        raise ValueError("stdout takes one recording, and no --noise")
    places = {"speech": "", "noise": "noise/"}
    stems = enhancement(enhancer.sources, noise=noise)
    _each_file(
        files, preset=enhancer, out=out, stems=stems,
        place=lambda track, stem: places[stem] + track, output=output, start_seconds=start_seconds,
        duration_seconds=duration_seconds, show=show, options=options,
        bandwidth_hz=enhancer.card["sample_rate"] / 2,
    )  # fmt: skip


def _each_file(
    files: Sequence[str],
    *,
    preset: presets.Preset,
    out: str,
    stems: Mapping[str, Sequence[int] | None],
    place: Callable[[str, str], str],
    output: OutputOptions,
    start_seconds: float,
    duration_seconds: float | None,
    show: bool,
    options: Mapping[str, Any],
    bandwidth_hz: float | None = None,
) -> None:
    """The stems of each file to OUT/<place(track, stem)>; SystemExit(1) where any has failed.

    bandwidth_hz: above it nothing is left, which is said of recordings that have more.
    """
    to_stdout = out == "-"
    with tempfile.TemporaryDirectory(prefix="kzoo.") as spool:
        folder = Path(spool) / "out" if to_stdout else Path(out)
        recordings = {track: path for path, track in _tracks(files, Path(spool)).items()}
        jobs, failed = {}, 0
        for track, path in recordings.items():
            targets = {name: folder / f"{place(track, name)}.{output.format}" for name in stems}
            try:
                with audio.AudioReader(
                    path, start_seconds=start_seconds, duration_seconds=duration_seconds
                ) as reader:
                    _refuse_early(reader, targets, list(recordings.values()), output)
            except OUR_ERRORS as error:
                say(f"kzoo: {one_line(error)}")
                failed += 1
            else:
                jobs[path] = targets
        if jobs:
            separator = _separator(preset, show=show, options=options)
            for note in separator.notes:
                say(f"kzoo: {note}")
        for path, targets in jobs.items():
            label = path.name if path.parent != Path(spool) else "stdin"
            try:
                with bar(label, unit="seconds", show=show) as progress:
                    report = separate_file(
                        separator, path, targets, stems=stems, output=output,
                        start_seconds=start_seconds, duration_seconds=duration_seconds,
                        progress=progress,
                    )  # fmt: skip
            except OUR_ERRORS as error:
                say(f"kzoo: {one_line(error)}")
                failed += 1
                continue
            if bandwidth_hz is not None and audio.info(path).sample_rate / 2 > bandwidth_hz:
                report.notes.append(f"nothing is left above {bandwidth_hz:g} Hz by this preset")
            _tell(label, report, show=show and not to_stdout)
            if to_stdout:
                with open(next(iter(targets.values())), "rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
    if failed:
        raise SystemExit(1)


def _tracks(files: Sequence[str], spool: Path) -> dict[Path, str]:
    """Path to track name; stdin is written down first, since containers are read back and forth."""
    tracks: dict[Path, str] = {}
    for file in files:
        if file == "-":
            path, track = spool / "stdin", "stdin"
            if path not in tracks:
                try:
                    with open(path, "wb") as copy:
                        shutil.copyfileobj(sys.stdin.buffer, copy)
                except OSError as error:
                    raise audio.AudioError(
                        f"stdin cannot be copied to {spool}: {error.strerror}; the variable TMPDIR "
                        "names another folder for temporary files"
                    ) from error
        else:
            path = Path(file)
            track = audio.safe_track_name(path)
        if track in tracks.values():
            raise ValueError(f"two recordings are called {track!r}; write them to two folders")
        tracks[path] = track
    return tracks


def _refuse_early(
    reader: audio.AudioReader,
    targets: Mapping[str, Path],
    recordings: Sequence[Path],
    output: OutputOptions,
) -> None:
    for target in targets.values():
        for path in recordings:
            if target.exists() and path.exists() and target.samefile(path):
                what = "the recording itself" if path == reader.path else "another recording"
                raise audio.AudioError(f"{target}: is {what}; name another folder by -o")
        if target.exists() and not output.overwrite:
            raise audio.AudioError(f"{target}: exists already; --overwrite replaces it")
        audio.check_writable(
            target,
            reader.sample_rate,
            reader.channels,
            bit_depth=output.bit_depth,
            clip=output.clip,
        )


def _separator(preset: presets.Preset, *, show: bool, options: Mapping[str, Any]):
    fetch(preset, show=show)
    quiet_tensorflow()
    from kzoo import api

    return api.Separator.from_preset(preset, **options)


def _tell(label: str, report: Report, *, show: bool) -> None:
    for note in report.notes:
        say(f"{label}: {note}")
    if show:
        folder = next(iter(report.files.values())).parent
        names = " ".join(str(path.relative_to(folder)) for path in report.files.values())
        say(f"{label}: {report.seconds:.1f} s -> {folder}: {names}")
