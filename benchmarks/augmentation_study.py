"""What augmentation, skips and masks are worth to a U-Net and a Wave-U-Net: a table, its answers.

    python -m benchmarks.augmentation_study MUSIC [--kind stems|musdb] [--held-out 1.Hydrogen ...]
        [--minutes 40 | --steps N | --full] [--seeds 2] [--systems NAME ...]
        [-o benchmarks/results/augmentation_study.md] [--work runs/augmentation_study]

The study of Cohen-Hadria, Roebel and Peeters, 2019, https://arxiv.org/abs/1903.01415, on the small
networks of augmentation_study.yaml: no augmentation, stretching, the voice's envelope, pitch, all
three; no skips; no mask. MUSIC, the options and how it goes on after an interruption are those of
`benchmarks.course`.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks import augmentation_page, course
from kzoo.evaluation.scoring import read_json


def main(arguments: list[str] | None = None) -> None:
    """Train what is not there yet, and write the page after each training."""
    course.run(Study, course.parsed(arguments, program=__file__, description=__doc__))


class Study(course.Course):
    """The course's work, scored by the median and the deviation over the seconds of all songs."""

    measures = augmentation_page.MEASURES

    def _scores(self, systems: list[str], *, baselines: tuple[str, ...] = ()) -> dict[str, Any]:
        """{system: {source: `over_seconds`}}."""
        self._report(systems, baselines)
        named = [system.partition("=")[0] for system in systems] + [*baselines]
        return {
            name: augmentation_page.over_seconds(
                [read_json(path) for path in (self.work / "scores" / name).rglob("*.json")],
                self.settings["sources"],
            )
            for name in named
        }

    def _timed(self, folder) -> dict[str, float]:
        return {}

    def _page(self, records, scores, **about) -> str:
        return augmentation_page.page(records, scores, self.settings, **about)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
