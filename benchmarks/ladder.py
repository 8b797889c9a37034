"""The ladder of separation: mixture, methods without training, presets, ideal masks, in one table.

    python benchmarks/ladder.py music_stems -o benchmarks/results/ladder.md

music_stems: folders of songs as <song>/{vocals,drums,other,bass}.ogg. One, HELD_OUT, is scored, and
NMF learns its templates from the others. A second table is of the excerpt that the stempeg package
carries. Scores that are in --scores already are not made again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import kzoo
from kzoo import audio, evaluation
from kzoo.api.systems import evaluation_systems
from kzoo.deploy.examples import stempeg_song
from kzoo.metrics import MEASURES

HELD_OUT = "1.Hydrogen"
SOURCES = ("vocals", "accompaniment")
COLUMNS = ("SDR", "ISR", "SIR", "SAR", "uSDR", "SI-SDR", "SI-SIR", "SI-SAR", "logWMSE")
ILL_CONDITIONED = ("ISR", "SIR", "SAR")  # of stems that a codec has taken the treble from
METHODS = ("hpss", "repet", "repet_sim")
PRESETS = ("unet_2stems_mobile", "spleeter_vocals", "spleeter_2stems")
CHOSEN_ON_IT = PRESETS[:1]
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
    systems = evaluation_systems([*METHODS, f"nmf=nmf:templates={solos}", *PRESETS], {}, say=print)
    whole = table(
        scored(held_out, systems, options.scores / "scores"),
        tuple(name for name in COLUMNS if name not in ILL_CONDITIONED),
        chosen=CHOSEN_ON_IT,
    )
    short = table(scored(excerpt, systems, options.scores / "scores"), COLUMNS)
    options.out.write_text(page(whole, short, track), encoding="utf-8")


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


def table(report: evaluation.Report, columns: Sequence[str], *, chosen: Sequence[str] = ()) -> str:
    """A table a source, its systems from the bottom of the ladder to the top."""
    text = ""
    for source in SOURCES:
        rows = {row.system: row.scores for row in report.averages if row.source == source}
        text += f"### {source}\n\n| system | {' | '.join(columns)} |\n"
        text += f"| --- |{' ---: |' * len(columns)}\n"
        for system in ("mixture", *METHODS, "nmf", *PRESETS, *MASKS):
            if system in rows:  # one that failed has none
                cells = " | ".join(f"{rows[system][name]:.2f}" for name in columns)
                text += f"| `{system}`{' (*)' if system in chosen else ''} | {cells} |\n"
        text += "\n"
    return text


def page(song: str, excerpt: str, track: str) -> str:
    """Both tables, under what their figures are."""
    lines = "".join(f"- {name}: {MEASURES[name].definition}.\n" for name in COLUMNS)
    return f"""# The ladder

What separates vocals from accompaniment, from the untouched mixture to ideal masks
(`python benchmarks/ladder.py music_stems`, kzoo {kzoo.__version__}, {time.strftime("%Y-%m-%d")};
dB, but for logWMSE).

`hpss` gives sources without names, which are scored in their best order; `nmf` has learned 32
spectra of each stem from three other songs of the same act (its option `templates`). The masks know
the true sources: what they reach is the bound of masking, with the mixture's phase (`ibm`, `irm`,
`wfm`) or with one corrected at a magnitude of at most 1 (`cirm`). One song says how to read a
table, not how good a method is. The mixture as its own estimate has no artefacts, so its SAR and
SI-SAR mean nothing.

{lines}
## {HELD_OUT} of music_stems (CC0), 316 s

(*) No training heard this song, but the data and steps of these presets were chosen on it. Its
stems come from Ogg Vorbis, without treble: BSS Eval's Gram matrix is singular to the last bit, and
{", ".join(ILL_CONDITIONED)} would be rounding errors (museval's as well); they are left out.

{song}## {track}, the excerpt of stempeg (evaluation only), 6.1 s

{excerpt}"""


if __name__ == "__main__":
    main()
