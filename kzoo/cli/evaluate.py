"""The verb `evaluate`: presets, run folders and folders of estimates against a corpus."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import options
from kzoo.cli.scoreboard import scoreboard
from kzoo.cli.terminal import quiet_imports, quietly, say

if TYPE_CHECKING:
    from kzoo.evaluation import Report


def evaluate(
    systems: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SYSTEMS",
            help="What to score: presets that separate or hear, run folders, folders of estimates, "
            "baselines, methods of "
            "kzoo separate --method (nmf:components=40 sets an option), or folders of scores that "
            "museval or kzoo has written; NAME=PATH gives it another name, and "
            "0.7*A+0.3*B is the mean of the stems of two or more.",
        ),
    ] = None,
    corpus: Annotated[
        list[Path],
        typer.Option(
            "--corpus", metavar="FOLDER",
            help="True stems as <track>/<source>.wav, MUSDB18's tree, or speech as "
            "clean/<track>.wav and noisy/<track>.wav, or a published corpus that kzoo data check "
            "knows; for presets that hear, recordings with what is true of them. Several are "
            "scored as one if it is given several times.",
        ),
    ] = ...,
    sources: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Sources to score, or of taggers the names, with commas between; by default "
            "those of the first preset.",
        ),
    ] = None,
    out: Annotated[
        Path | None, options.out("Folder for the tables, and a JSON file a track; none by default.")
    ] = None,
    subset: options.Subset = None,
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Score only this track; may be given several times."),
    ] = None,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    baselines: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Baselines to show beside the systems: mixture, and the oracle masks irm, ibm, "
            "wfm and cirm, by default mixture,irm; of taggers majority and random, of onsets "
            "librosa, of melodies pyin, by default the first of these.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Systems of the table that all others are compared with, track by track; by "
            "default the mixture, and the first of several SYSTEMS.",
        ),
    ] = None,
    overlap: options.Overlap = 0.0,
    shifts: options.Shifts = 0,
    mwf: options.Mwf = False,
    n_sources: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2,
            help="Number of sources of presets that separate by clusters; others have their own.",
        ),
    ] = None,
    interchangeable: Annotated[
        bool,
        typer.Option(
            "--interchangeable",
            help="Score the sources of each track in their best order, as for speakers.",
        ),
    ] = False,
    measures: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Measures to show, with commas between, such as SDR,uSDR,logWMSE, or all of "
            "separation or of speech; by default whichever suits the corpus.",
        ),
    ] = None,
    dnsmos: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="DNSMOS's network sig_bak_ovr.onnx, to score speech by it, too."
        ),
    ] = None,
    page: Annotated[
        bool,
        typer.Option(
            "--page/--no-page",
            help="Write report.html to OUT, too: plots, rows that sort, and excerpts to hear.",
        ),
    ] = True,
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", metavar="N", min=1, help="Number of scoring processes.")
    ] = 1,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Score systems against what is true, beside baselines.

    Sources are scored by BSS Eval v4 as museval defines it and by SI-SDR, also as improvement over
    the mixture. Speech in noise is scored by PESQ, STOI, SSNR, CSIG, CBAK, COVL and SI-SDR. Tags
    are scored by ROC-AUC, average precision and accuracy, onsets by F-measure, melodies by pitch
    and chroma accuracy, phones by their error rate. Averages over tracks have their 95 % bootstrap
    intervals, and systems are compared on the same tracks. Exit status 1 tells that a track could
    not be scored.
    """
    given = dict(locals())  # first of all: the options, as they were given
    from kzoo import evaluation
    from kzoo.api.hearing_systems import hearing_baselines, hears, refuse_for_hearing
    from kzoo.api.systems import evaluation_systems
    from kzoo.evaluation.measures import named_measures, what_to_score

    shown = None if baselines is None else options.names(baselines)
    kind, columns = named_measures(options.names(measures))
    told = {"overlap": overlap, "mwf": mwf, **({"shifts": shifts} if shifts else {})}
    with quiet_imports():  # the sizes of a network that hears import TensorFlow
        scored = evaluation_systems(
            systems or [], told, n_sources=n_sources,
            interchangeable=interchangeable, say=say,
        )  # fmt: skip
    scored = [quietly(system) for system in scored]
    if hears(scored, shown):
        refuse_for_hearing(
            start=start, duration=duration, measures=measures, dnsmos=dnsmos, jobs=jobs > 1,
            interchangeable=interchangeable,
        )  # fmt: skip
        beside = hearing_baselines(scored, shown)
        with scoreboard(show=not quiet) as (progress, each):
            report = evaluation.evaluate_hearing(
                corpus, scored, names=options.names(sources), baselines=beside, out=out,
                subset=subset, tracks=track or [],
                against=None if against is None else options.names(against),
                progress=progress, scored=each, command=_command(**given), page=page,
            )  # fmt: skip
        _show(report, out, page=page, quiet=quiet)
        return
    shown = ["mixture", "irm"] if shown is None else shown
    for name in shown:
        if name not in evaluation.BASELINES:
            raise ValueError(
                f"a baseline is one of {', '.join(evaluation.BASELINES)}; got {name!r}"
            )
    wanted, speech = what_to_score(
        corpus, scored, sources=options.names(sources), measures=kind, dnsmos=dnsmos,
        subset=subset, tracks=track or [],
    )  # fmt: skip
    with scoreboard(show=not quiet) as (progress, each):
        report = evaluation.evaluate(
            corpus, scored, sources=wanted, out=out, subset=subset, tracks=track or [],
            start_seconds=start, duration_seconds=duration, baselines=shown, speech=speech,
            against=None if against is None else options.names(against), processes=jobs,
            progress=progress, scored=each, command=_command(**given), page=page, columns=columns,
        )  # fmt: skip
    _show(report, out, page=page, quiet=quiet)


def _show(report: Report, out: Path | None, *, page: bool, quiet: bool) -> None:
    """Print a report and where its files are; exit 1 where a track failed."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(report.text(width), end="")
    if out is not None and not quiet:
        say(f"scores of every track are in {out}/{', and a page of them is report.html' * page}")
    if report.failures:
        raise SystemExit(1)


def _command(*, systems: Sequence[str] | None = None, quiet: bool = False, **given: Any) -> str:
    """The command line that makes the table again; options at their default are left out."""
    from kzoo import config

    unsaid = config.defaults(evaluate)
    words = ["kzoo", "evaluate", *(systems or [])]
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if value is None or value == unsaid[name]:
            continue
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list):
            words += [word for item in value for word in (flag, str(item))]
        else:
            words += [flag, str(value)]
    return shlex.join(words)
