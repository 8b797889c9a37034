"""What `kzoo separate --manifest` does: rows to stems, each once, and a list of what is damaged."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.cli.terminal import bar, say, without_notes

if TYPE_CHECKING:
    from kzoo.batches import Counts, Row, Run
    from kzoo.classical import Method
    from kzoo.presets import Preset
    from kzoo.separation import BlockSeparator, OutputOptions


@dataclass(frozen=True)
class Stems:
    """A `batches.Job`: a row's recording to its stems, one file each.

    separators: called once a worker, for what gives a recording its separator.
    """

    separators: Callable[[], Callable[[str | Path], BlockSeparator]]
    stems: Mapping[str, Sequence[int] | None]
    output: OutputOptions
    start: float
    duration: float | None
    settings: Mapping[str, Any]

    def load(self):
        """Build the model, if any: returns what writes the stems of a row to a folder."""
        from kzoo.separation import separate_file

        separator_for = self.separators()

        def work(row: Row, folder: Path) -> list[str]:
            targets = {stem: folder / f"{stem}.{self.output.format}" for stem in self.stems}
            report = separate_file(
                separator_for(row.path), row.path, targets, stems=self.stems, output=self.output,
                start_seconds=row.options.get("start", self.start),
                duration_seconds=row.options.get("duration", self.duration),
            )  # fmt: skip
            return report.notes

        return work


def separate_rows(
    manifest: Path,
    out: str,
    *,
    by: Preset | Method,
    stems: Mapping[str, Sequence[int] | None],
    output: OutputOptions,
    start: float,
    duration: float | None,
    separators: Callable[[], Callable[[str | Path], BlockSeparator]],
    graph: Mapping[str, Any],
    runner: str | None,
    runner_options: Sequence[str],
    quiet: bool,
) -> None:
    """The stems of each row to OUT/<id>/, and a line that counts them; SystemExit(1) for damage.

    graph: options of the separator, as the record of each row keeps them. runner: of Beam, None
    for this process; runner_options: KEY=VALUE. Raises ImportError where Beam is not installed.
    """
    from kzoo import batches

    rows = batches.Manifest.opened(manifest)
    run = runner_of(runner, runner_options, doing=f"separating {manifest.name}", quiet=quiet)
    written = dataclasses.asdict(output)
    overwrite = written.pop("overwrite")
    settings = {
        "by": _known_by(by, quiet=quiet), "stems": stems, "start": start, "duration": duration,
        **written, **graph,
    }  # fmt: skip
    settings = json.loads(json.dumps(settings, default=str))  # as the record gives them back
    job = Stems(separators, stems, output, start, duration, settings)
    report(run(rows, job, out, overwrite=overwrite), manifest.name, out, done="separated",
           quiet=quiet)  # fmt: skip


def runner_of(name: str | None, given: Sequence[str], *, doing: str, quiet: bool) -> Run:
    """What does the rows of a manifest: this process, by a bar of what it is `doing`, or Beam.

    given: options KEY=VALUE of Beam. Raises ValueError for a runner or option that is not known,
    ImportError where Beam is not installed.
    """
    if name in (None, "local"):
        if given:
            raise ValueError("--runner-option goes with --runner direct, flink, spark or dataflow")
        return functools.partial(_by_this_process, doing=doing, quiet=quiet)
    beam = _beam()
    return functools.partial(
        _by_beam, beam, options=beam.pipeline_options(name, given), notes=name != "direct"
    )


def _by_this_process(rows, job, out, *, overwrite: bool, doing: str, quiet: bool) -> Counts:
    from kzoo import batches

    with bar(doing, unit="recordings", show=not quiet) as progress:
        return batches.run(rows, job, out, overwrite=overwrite, progress=progress)


def _by_beam(beam, rows, job, out, *, overwrite: bool, options, notes: bool) -> Counts:
    # Beam's local workers write pages of notes, which no option of its own keeps back.
    with contextlib.nullcontext() if notes else without_notes():
        return beam.run(rows, job, out, options=options, overwrite=overwrite)


def report(counts: Counts, what: str, out: str | Path, *, done: str, quiet: bool) -> None:
    """A line of what was made of `what`; SystemExit(1) where some could not be `done`."""
    from kzoo import batches

    if not quiet:
        say(f"{what}: {counts.made} made and {counts.kept} kept in {out}")
    if counts.dead:
        letters = Path(out, batches.DEAD_LETTERS)
        say(f"kzoo: {counts.dead} could not be {done}; {letters} tells why of each")
        raise SystemExit(1)


def _beam():
    try:
        with without_notes():
            from kzoo.batches import on_beam
    except ImportError as error:
        raise ImportError(
            "--runner needs Apache Beam, in an environment of its own: "
            "pip install -c constraints-beam.txt 'kzoo[beam]'"
        ) from error
    return on_beam


def _known_by(by: Preset | Method, *, quiet: bool) -> dict[str, Any]:
    """What tells a preset or method, and the bytes that it learned, from any other."""
    from kzoo import presets
    from kzoo.cli.presets import fetch

    if not isinstance(by, presets.Preset):
        return {"method": type(by).__name__, **dataclasses.asdict(by), **by.identity()}
    fetch(by, show=not quiet)
    return {"preset": by.card["name"], "weights": by.weights_sha256()}
