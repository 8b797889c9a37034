"""What is heard in a recording, as files: a CSV of names over time, embeddings, a picture."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from kzoo.audio import AudioReader
from kzoo.files import replacing_all
from kzoo.listening.listener import Heard, Listener


def hear_file(
    listener: Listener,
    path: Path,
    targets: Mapping[str, Path],
    *,
    draw: Callable[[Heard, Path, str], object] | None = None,
    progress: Callable[[float, float | None], object] | None = None,
) -> tuple[Heard, list[str]]:
    """Write what is heard in a recording to `targets`; that, and what its reader warns of.

    targets: "csv" a row a window, with a column a name; "npy" the windows' embeddings; "png" what
    `draw` makes of (what is heard, path, title). progress: called with (seconds done, seconds in
    all or None). Whatever is raised, nothing half-written stays.
    """
    heard, warnings = _heard(listener, path, progress)
    with replacing_all(targets) as new:
        if "csv" in new:
            _write_csv(new["csv"], heard)
        if "npy" in new:
            np.save(new["npy"], heard.embeddings)
        if "png" in new:
            draw(heard, new["png"], path.name)
    return heard, warnings


def _heard(listener, path, progress) -> tuple[Heard, list[str]]:
    with AudioReader(path) as reader:
        windows = listener.windows(passing(reader, progress), reader.sample_rate)
        return listener.gathered(windows), reader.warnings


def passing(
    reader: AudioReader, progress: Callable[[float, float | None], object] | None
) -> Iterator[np.ndarray]:
    """Yield the blocks of a reader, and call `progress` with (seconds done, seconds in all)."""
    samples, total = 0, reader.samples and reader.samples / reader.sample_rate
    for block in reader.blocks():
        samples += len(block)
        if progress:
            progress(samples / reader.sample_rate, total)
        yield block


def _write_csv(path: Path, heard: Heard) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["start_s", "end_s", *heard.names])
        for start, end, row in zip(
            heard.starts_seconds, heard.ends_seconds, heard.probabilities, strict=True
        ):
            writer.writerow([f"{start:.3f}", f"{end:.3f}", *(f"{value:.4f}" for value in row)])
