"""The ladder of separation: mixture, methods without training, presets, ideal masks, in one table.

    python benchmarks/ladder.py music_stems -o benchmarks/results/ladder.md

music_stems: folders of songs as <song>/{vocals,drums,other,bass}.ogg. One, HELD_OUT, is scored, and
NMF learns its templates from the others. A second table is of the excerpt that the stempeg package
carries. Scores that are in --scores already are not made again.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import kzoo
from kzoo import api, audio, evaluation
from kzoo.deploy.examples import stempeg_song
from kzoo.metrics import MEASURES

HELD_OUT = "1.Hydrogen"
SOURCES = ("vocals", "accompaniment")
COLUMNS = ("SDR", "ISR", "SIR", "SAR", "uSDR", "SI-SDR", "SI-SIR", "SI-SAR", "logWMSE")
METHODS = ("hpss", "repet", "repet_sim")
PRESETS = (
    "demucs_2stems_small", "cunet_4stems_small", "unet_2stems_mobile", "unet_2stems_fullband",
    "spleeter_2stems",
)  # fmt: skip
CHOSEN_ON_IT = PRESETS[:-1]
MASKS = ("ibm", "irm", "wfm", "cirm")
STREAMS = {"drums": 1, "bass": 2, "other": 3, "vocals": 4}


def main() -> None:
    """Score everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stems", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results/ladder.md"))
    parser.add_argument("--scores", type=Path, default=Path("runs/ladder"))
    options = parser.parse_args()
    held_out, solos, excerpt = (options.scores / n for n in ("held_out", "solos", "excerpt"))
    for song in sorted(options.stems.iterdir()):
        if (song / "vocals.ogg").is_file():
            place = (held_out if song.name == HELD_OUT else solos) / song.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.symlink_to(song.resolve())
    track = written(excerpt)
    systems = api.evaluation_systems(
        [*METHODS, f"nmf=nmf:templates={solos}", *PRESETS], {}, say=print
    )
    tables = [
        f"## {title}\n\n{table(scored(corpus, systems, options.scores / 'scores'), chosen)}"
        for title, corpus, chosen in (
            (f"{HELD_OUT} of music_stems (CC0), 316 s", held_out, CHOSEN_ON_IT),
            (f"{track}, the excerpt of stempeg (evaluation only), 6.1 s", excerpt, ()),
        )
    ]
    options.out.write_text(header() + "\n".join(tables), encoding="utf-8")


def written(folder: Path) -> str:
    """The stems of stempeg's excerpt as a corpus of one track; its name."""
    song = stempeg_song()
    if song is None:
        raise SystemExit("the excerpt is in a package: pip install stempeg")
    name = audio.safe_track_name(song)
    for stem, stream in STREAMS.items():
        waveform, sample_rate = audio.read(song, stream=stream)
        path = folder / name / f"{stem}.wav"
        audio.write(path, waveform, sample_rate, bit_depth="float32", overwrite=True)
    return name


def scored(corpus: Path, systems: Sequence, out: Path) -> evaluation.Report:
    """Every system on the one track of `corpus`, mixture and masks with them."""
    start = time.perf_counter()
    report = evaluation.evaluate(
        corpus, systems, sources=SOURCES, out=out, baselines=("mixture", *MASKS), against=(),
        columns=COLUMNS,
    )  # fmt: skip
    for failure in report.failures:
        print(failure)
    print(f"{corpus.name}: {time.perf_counter() - start:.0f} s")
    return report


def table(report: evaluation.Report, chosen: Sequence[str]) -> str:
    """A table a source, its systems from the bottom of the ladder to the top."""
    order = ("mixture", *METHODS, "nmf", *PRESETS, *MASKS)
    text = ""
    for source in SOURCES:
        text += f"### {source}\n\n| system | {' | '.join(COLUMNS)} |\n"
        text += f"| --- |{' ---: |' * len(COLUMNS)}\n"
        for system in order:
            scores = report.scores(system, source)
            star = " (*)" if system in chosen else ""
            cells = " | ".join(f"{scores[name]:.2f}" for name in COLUMNS)
            text += f"| `{system}`{star} | {cells} |\n"
        text += "\n"
    if chosen:
        text += "(*) No training heard this song, but their data and steps were chosen on it.\n"
    return text


def header() -> str:
    """What the figures are, and of which machine."""
    lines = "".join(f"- {name}: {MEASURES[name].definition}.\n" for name in COLUMNS)
    return f"""# The ladder

What separates vocals from accompaniment, from the untouched mixture to ideal masks. Written by
`python benchmarks/ladder.py music_stems` (kzoo {kzoo.__version__}, {platform.machine()},
{os.cpu_count()} cores, {time.strftime("%Y-%m-%d")}).

`hpss` gives sources without names, which are scored in their best order; `nmf` has learned 32
spectra of each stem from three other songs of the same act (its option `templates`). The
masks know the true sources: what they reach is the bound of masking, with the mixture's phase
(`ibm`, `irm`, `wfm`) or with one corrected at a magnitude of at most 1 (`cirm`). One song says how
to read a table, not how good a method is. The mixture as its own estimate has no artefacts, so its
SAR means nothing.

{lines}
"""


if __name__ == "__main__":
    main()
