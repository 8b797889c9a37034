"""One recording as several systems separate it, on a page to compare them by ear.

No reference is needed: `compare` separates a stretch of the recording by every system, or reads
stems that are there, and writes a page of `kzoo.pages` that holds all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo import audio, evaluation, pages
from kzoo.data.recordings import stem_recordings
from kzoo.data.tracks import fitted_to, members, sum_of
from kzoo.evaluation.scoring import best_order
from kzoo.files import replacing

FORMATS = {"ogg": "Ogg Vorbis", "flac": "FLAC of 16 bits"}
_MIXTURES = ("mixture", "mix", "original")
_RESIDUAL = "residual"
Stems = dict[str, np.ndarray]  # {name: `[samples, channels]`}


@dataclass(frozen=True)
class StemsFolder:
    """Stems that are there: FOLDER/<stem>.wav, or FOLDER/<recording>/<stem>.wav.

    The latter is how `kzoo separate` writes them; any format that kzoo reads will do.
    """

    name: str
    folder: Path

    def stems(self, recording: Path, sample_rate: int, crop: Mapping[str, float | None]) -> Stems:
        """The stems of a stretch, resampled to `sample_rate` where they have another.

        Raises ValueError where there are none, audio.AudioError for what cannot be read.
        """
        inner = self.folder / audio.safe_track_name(recording)
        place = inner if inner.is_dir() else self.folder
        found = {k: v for k, v in stem_recordings(place).items() if k not in _MIXTURES}
        if not found:
            raise ValueError(f"{place}: holds no stems, as <stem>.wav or in any readable format")
        return {
            name: audio.read(file.path, stream=file.stream, sample_rate=sample_rate, **crop)[0]
            for name, file in found.items()
        }


@dataclass(frozen=True)
class Written:
    """The page that `compare` wrote, and what a user should know of it, a line each."""

    path: Path
    notes: list[str]

    @property
    def megabytes(self) -> float:
        """The size of the file, in units of 10^6 bytes."""
        return self.path.stat().st_size / 1e6


def compare(
    recording: str | Path,
    systems: Sequence[evaluation.Separation | StemsFolder],
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = 30.0,
    format: str = "ogg",
    overwrite: bool = False,
    command: str | None = None,
    progress: Callable[[float, float], object] | None = None,
) -> Written:
    """Write a page on which the stems of all `systems` are heard in turn, at one position.

    duration_seconds: of the stretch that is separated and embedded; None for all of the recording.
    format: of the sound in the page, "ogg" or "flac", which takes some three times the space.
    command: how the page was made, for its foot. progress: called with (systems done, in all).
    A stem that a system does not give is summed from its others where that is its meaning, as the
    accompaniment from drums, bass and other. Speakers, whose order means nothing, are put into the
    order of the first system.
    Raises ValueError for fewer than two systems or two of one name, FileExistsError without
    `overwrite`, audio.AudioError for what cannot be read.
    """
    path, recording = Path(path), Path(recording)
    names = [system.name for system in systems]
    if len(names) < 2:
        raise ValueError(
            f"a comparison takes at least two systems; got {', '.join(names) or 'none'}"
        )
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two systems are called {twice.pop()!r}; give one a name: NAME=SYSTEM")
    if format not in FORMATS:
        raise ValueError(f"format must be {' or '.join(FORMATS)}; got {format!r}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists already; --overwrite replaces it")
    crop = {"start_seconds": start_seconds, "duration_seconds": duration_seconds}
    mixture, sample_rate = audio.read(recording, **crop)
    found: dict[str, Stems] = {}
    notes: list[str] = []
    for number, system in enumerate(systems):
        if isinstance(system, StemsFolder):
            stems = system.stems(recording, sample_rate, crop)
        else:
            stems = dict(system.separate(mixture, sample_rate))
        notes += _other_lengths(system.name, stems, len(mixture), sample_rate)
        found[system.name] = {k: fitted_to(stem, *mixture.shape) for k, stem in stems.items()}
        if getattr(system, "interchangeable", False):
            found[system.name] = _in_order(found[names[0]], found[system.name])
        if progress is not None:
            progress(number + 1, len(systems))
    channels = mixture.shape[1]
    facts = [
        f"{start_seconds:g} to {start_seconds + len(mixture) / sample_rate:.1f} s",
        f"{sample_rate} Hz, {'mono' if channels == 1 else f'{channels} channels'}",
        FORMATS[format],
    ]
    text = page(
        recording.name, mixture, found, sample_rate, format=format, facts=facts, command=command
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Written(path, notes)


def page(
    title: str,
    mixture: np.ndarray,
    systems: Mapping[str, Stems],
    sample_rate: int,
    *,
    format: str = "ogg",
    facts: Sequence[str] = (),
    command: str | None = None,
) -> str:
    """The page of a mixture `[samples, channels]` and the stems of each system, as HTML.

    All spectrograms have one scale of colours, the mixture's. Where a sound exceeds full scale and
    the format would cut it off, all are turned down alike, which is said among the `facts`.
    """
    heard = {"mixture": {"": mixture}, **rows(systems)}
    heard[_RESIDUAL] = {name: mixture - sum_of(stems.values()) for name, stems in systems.items()}
    sounds = [sound for row in heard.values() for sound in row.values()]
    peak = max(float(np.abs(sound).max(initial=0.0)) for sound in sounds)
    facts = list(facts)
    if format != "ogg" and peak > 1:
        facts.append(f"all turned down by {20 * np.log10(peak):.1f} dB, as a stem would clip")
        heard = {t: {k: sound / peak for k, sound in row.items()} for t, row in heard.items()}
    top_db = pages.spectrum_db(heard["mixture"][""], sample_rate).max()
    table = {
        title: _row(title, row, sample_rate, format=format, top_db=top_db)
        for title, row in heard.items()
    }
    names = ", ".join(systems)
    head = (
        f"<header><div><h1>{pages.escaped(title)}</h1><p>{pages.escaped(names)}</p></div>"
        f"<p>{pages.escaped(' · '.join(facts))}</p></header>"
    )
    foot = f"<footer><p>{pages.escaped(command or 'Made by kzoo.comparison')}</p></footer>"
    body = f"{head}<main>{_LISTENING}{pages.player(table, len(mixture) / sample_rate)}</main>{foot}"
    return pages.document(f"{title}: {names}", body, scripts=("player.js", "comparison.js"))


def rows(systems: Mapping[str, Stems]) -> dict[str, Stems]:
    """{stem: {system: signal}} of all stems, those of the systems with fewest first.

    A system is missing from the row of a stem that it neither gives nor sums up.
    """
    found: dict[str, Stems] = {}
    for stems in sorted(systems.values(), key=len):
        for stem in stems:
            if stem in found:
                continue
            parts = {name: members(own, list(stems))[stem] for name, own in systems.items()}
            found[stem] = {
                name: sum_of(systems[name][part] for part in those)
                for name, those in parts.items()
                if those
            }
    return found


def _other_lengths(system: str, stems: Stems, samples: int, sample_rate: int) -> list[str]:
    """A line for each stem that is not as long as the stretch, give or take 50 ms."""
    return [
        f"{system}: {name} lasts {len(stem) / sample_rate:.1f} s and the stretch "
        f"{samples / sample_rate:.1f} s; both are taken to begin together"
        for name, stem in stems.items()
        if abs(len(stem) - samples) > 0.05 * sample_rate
    ]


def _in_order(first: Stems, stems: Stems) -> Stems:
    """`stems` in the order in which they are most like those of `first`."""
    if first is stems or set(first) != set(stems):
        return stems
    return {name: stems[other] for name, other in best_order(first, stems).items()}


def _row(
    title: str, signals: Stems, sample_rate: int, *, format: str, top_db: float
) -> list[pages.Sound]:
    levels = [pages.loudness_db(signal, sample_rate) for signal in signals.values()]
    return [
        pages.Sound(
            name or title,
            pages.embedded_audio(signal, sample_rate, format=format),
            pages.spectrogram(signal, sample_rate, top_db=top_db),
            note=f"{level:.1f} LKFS" if np.isfinite(level) else "silent",
            match_db=match_db,
        )
        for (name, signal), level, match_db in zip(
            signals.items(), levels, pages.matched_db(levels), strict=True
        )
    ]


_LISTENING = """<section id="listening" aria-label="Listening">
<div class="buttons">
<button type="button" id="match" aria-pressed="false">Match levels</button>
<button type="button" id="blind">Blind test</button>
<button type="button" id="reveal" class="primary" hidden>Reveal</button>
</div>
<p id="verdict" class="hint" role="status"></p>
<details><summary>Keys</summary>
<p><kbd>Space</kbd> plays and pauses, <kbd>1</kbd> to <kbd>9</kbd> and <kbd>x</kbd> choose the
system, <kbd>↑</kbd> <kbd>↓</kbd> the stem, <kbd>←</kbd> <kbd>→</kbd> move by a second, with
<kbd>Shift</kbd> by five, <kbd>l</kbd> loops, <kbd>m</kbd> matches levels, <kbd>b</kbd> begins a
blind test and <kbd>r</kbd> reveals it.</p>
<p>The residual is what the stems of a system leave of the mixture. Matched levels turn each stem
down to the quietest of its row by its loudness (ITU-R BS.1770 without gates), by 12 dB at
most.</p></details>
</section>"""
