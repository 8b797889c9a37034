"""The table on the terminal that fills while tracks are scored."""

from __future__ import annotations

import contextlib
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

Progress = Callable[[float, float], None]
Scored = Callable[[str, Mapping[str, Mapping[str, float]]], None]


@contextlib.contextmanager
def scoreboard(*, show: bool = True) -> Iterator[tuple[Progress, Scored]]:
    """Two callbacks of `kzoo.evaluation.evaluate`: progress, and the scores of a track.

    They draw on stderr, where that is a terminal, and the drawing is gone at the end: a bar, and
    under it the average so far of each source and system.
    """
    if not (show and sys.stderr.isatty()):
        yield lambda done, total: None, lambda system, scores: None
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("scoring"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    task, board = bar.add_task("", total=1), _Board()
    with Live(
        console=Console(stderr=True),
        transient=True,
        get_renderable=lambda: Group(bar, board.table()),
        refresh_per_second=4,
    ):
        yield lambda done, total: bar.update(task, completed=done, total=total), board.add


class _Board:
    """The scores so far: `{(source, system): {measure: values}}`, and tracks that failed."""

    def __init__(self):
        self._scores: dict = defaultdict(lambda: defaultdict(list))
        self._failed: dict[str, int] = defaultdict(int)

    def add(self, system: str, scores: Mapping[str, Mapping[str, float]]) -> None:
        """The scores of a track by source; none where it failed."""
        for source, measures in list(scores.items()):
            for name, value in measures.items():
                self._scores[source, system][name].append(value)
        self._failed[system] += not scores

    def table(self):
        """What is known now, as a table of rich."""
        import numpy as np
        from rich import box
        from rich.table import Table

        from kzoo.evaluation.scoring import median

        rows = sorted(list(self._scores.items()))
        measures = list(dict.fromkeys(name for _, row in rows for name in list(row)))
        table = Table("source", "system", "tracks", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in measures:
            table.add_column(name, justify="right", no_wrap=True)
        for (source, system), row in rows:
            values = [median(row[name]) if name in row else np.nan for name in measures]
            tracks = str(max(map(len, row.values())))
            failed = f" ({self._failed[system]} failed)" if self._failed[system] else ""
            cells = ["-" if np.isnan(value) else f"{value:.2f}" for value in values]
            table.add_row(source, system, tracks + failed, *cells)
        return table
