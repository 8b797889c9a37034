"""The course's separators at one cost, trained alike: a table, its questions, a chart.

    python -m benchmarks.course MUSIC [--kind stems|musdb] [--held-out 1.Hydrogen ...]
        [--minutes 40 | --steps N | --full] [--seeds 2] [--systems NAME ...]
        [-o benchmarks/results/course.md] [--work runs/course]

MUSIC: folders of songs as <song>/{vocals,drums,other,bass}.ogg, of which --held-out are scored and
the others, but --without, learned from; or with --kind musdb a tree of MUSDB18, by its own subsets.

The systems are those of course.yaml. All take the same number of steps on the same examples: as
many as fit into --minutes, by the time of a step of each, which is measured first. The table, and
a chart beside it, are written anew after every training. What is interrupted goes on by the same
command; a system that comes into course.yaml later joins those that are there.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import kzoo
from benchmarks import course_page
from kzoo import audio, config, data, evaluation, models, training
from kzoo.api.systems import evaluation_systems
from kzoo.files import replacing
from kzoo.training.graph_costs import multiply_adds

SETTINGS = Path(__file__).with_suffix(".yaml")
HELD_OUT, WITHOUT = ["1.Hydrogen"], ["War_of_freedom"]  # the latter has no stems of a singer
PROBED_STEPS = 4
RESERVE = 0.1  # of the time, for scores
HEARD_SECONDS = 10.0  # of the recording whose separation is timed


def main(arguments: list[str] | None = None) -> None:
    """Train what is not there yet, and write the page after each training."""
    run(Course, parsed(arguments))


def run(kind: type[Course], options: argparse.Namespace) -> None:
    """The same for any kind of course."""
    course = kind(config.load_yaml(options.settings), options)
    systems = course.settings["systems"]
    chosen = options.systems or list(systems)
    if unknown := set(chosen) - set(systems):
        names = ", ".join(sorted(unknown))
        raise SystemExit(f"no system is called {names}; see {options.settings.name}")
    course.prepare()
    course.plan(chosen)
    for name, seed in course.trainings(chosen):
        course.record(name, seed)
        course.write(chosen)
    print(f"{options.out}: {len(chosen)} systems, {course.steps} steps, {course.seeds} seeds")


def parsed(
    arguments: list[str] | None, *, program: str = __file__, description: str = __doc__
) -> argparse.Namespace:
    """The options; a line and a non-zero exit for what makes no sense.

    program: a file whose name others have: of the settings beside it, the page and the folder.
    """
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("music", type=Path)
    parser.add_argument("--kind", choices=("stems", "musdb"), default="stems")
    parser.add_argument("--held-out", nargs="+", default=HELD_OUT, metavar="SONG")
    parser.add_argument("--without", nargs="*", default=WITHOUT, metavar="SONG")
    return with_length(parser, program).parse_args(arguments)


def with_length(
    parser: argparse.ArgumentParser, program: str, *, minutes: float = 40.0, seeds: int = 2
) -> argparse.ArgumentParser:
    """Add what every such program takes: how long it trains, of which systems, and where to."""
    name = Path(program).stem
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=_above(float, 0), default=minutes)
    length.add_argument("--steps", type=_above(int, 0))
    length.add_argument("--full", action="store_true", help="the steps and seeds of the settings")
    parser.add_argument("--seeds", type=_above(int, 0), default=seeds)
    parser.add_argument("--systems", nargs="+", metavar="NAME")
    parser.add_argument("-o", "--out", type=Path, default=Path(f"benchmarks/results/{name}.md"))
    parser.add_argument("--work", type=Path, default=Path(f"runs/{name}"))
    parser.add_argument(
        "--settings", type=Path, default=Path(program).with_suffix(".yaml"),
        help=f"in place of {name}.yaml",
    )  # fmt: skip
    return parser


def _above(kind: type, bound: float):
    def number(text: str):
        if not (value := kind(text)) > bound:
            raise argparse.ArgumentTypeError(f"must be above {bound}; got {text}")
        return value

    return number


class Course:
    """The work of one folder: prepared songs, a plan, runs, their records."""

    measures = course_page.COLUMNS

    def __init__(self, settings: Mapping[str, Any], options: argparse.Namespace):
        self.settings, self.options, self.work = settings, options, options.work
        self.learned, self.test = self.work / "learned", self.work / "test"
        full = settings["full"] if options.full else {}
        self.seeds = full.get("seeds", options.seeds)
        self.steps = full.get("steps", options.steps)

    def prepare(self) -> None:
        """Bring the songs to the rate of all systems: shards to learn from, files to be scored."""
        options = self.options
        common = {
            **self.settings["sound"],
            "path": str(options.music),
            "sources": self.settings["sources"],
        }
        if options.kind == "musdb":
            parts = {"learned": {"subset": "train"}, "test": {"subset": "test"}}
        else:
            excluded = [*options.held_out, *options.without]
            parts = {"learned": {"exclude": excluded}, "test": {"include": options.held_out}}
        shards = {"learned": self.learned, "test": self.work / "held_out"}
        for part, folder in shards.items():
            data.prepare(data.open_corpus(options.kind, **common, **parts[part]), folder)
        test = data.open_corpus("shards", path=str(shards["test"]))
        for number, (name, samples) in enumerate(test.tracks):
            sources = test.read(number, 0, samples)["sources"]
            for source, waveform in zip(test.sources, sources, strict=True):
                path = self.test / audio.safe_track_name(f"{name}.wav") / f"{source}.wav"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    audio.write(path, waveform, test.sample_rate, bit_depth="float32")

    def plan(self, chosen: list[str]) -> None:
        """Decide how many steps all take, once for a folder."""
        path = self.work / "plan.json"
        plan = json.loads(path.read_text()) if path.is_file() else {"probes": {}}
        for name in chosen:
            if name not in plan["probes"]:
                plan["probes"][name] = self._probed(name)
                print(f"{name}: {plan['probes'][name]['step']:.3f} s a step", flush=True)
                write_json(path, plan)
        if "steps" not in plan:
            trained = [plan["probes"][name] for name, _ in self.trainings(chosen)]
            begun = sum(plan["probes"][name]["start"] for name in chosen)
            begun += sum(probe["start"] for probe in trained)
            left = 60 * self.options.minutes * (1 - RESERVE) - begun
            fitting = int(left / sum(probe["step"] for probe in trained))
            plan["steps"] = self.steps or max(1, fitting)
            write_json(path, plan)
        if self.steps not in (None, plan["steps"]):
            raise SystemExit(
                f"{self.work}: holds runs of {plan['steps']} steps; name another --work for "
                f"{self.steps}"
            )
        self.steps, self.probes = plan["steps"], plan["probes"]

    def trainings(self, chosen: list[str]) -> list[tuple[str, int]]:
        """(system, seed) in their order: what answers a question comes first, with all seeds."""
        asked = {name for contrast in self.settings["contrasts"] for name in contrast["systems"]}
        groups = [n for n in chosen if n in asked], [n for n in chosen if n not in asked]
        return [(name, seed) for group in groups for seed in range(self.seeds) for name in group]

    def record(self, name: str, seed: int) -> None:
        """Train and score one system with one seed, where that has not been done."""
        path = self._record(name, seed)
        if path.is_file():
            return
        found = {
            **self.probes[name],
            "system": name,
            "seed": seed,
            "steps": self.steps,
            **self._trained(name, seed),
        }
        write_json(path, found)
        print(
            f"{name}, seed {seed}: {found['trained_seconds']:.0f} s, {found['scores']}", flush=True
        )

    def _trained(self, name: str, seed: int) -> dict[str, Any]:
        """Seconds of a training, its scores, and what else is measured of it."""
        folder = self.work / f"{name}_{seed}"
        began = time.perf_counter()
        training.train(self._values(name, seed), folder, say=lambda line: None)
        seconds = time.perf_counter() - began
        scores = self._scores([f"{name}_{seed}={folder}"])[f"{name}_{seed}"]
        found = {"trained_seconds": round(seconds, 1), "scores": scores, **self._timed(folder)}
        _forget()
        return found

    def write(self, chosen: list[str]) -> None:
        """The page and the chart of what has been recorded."""
        records = self._records(chosen)
        bounds = self.work / "records" / "bounds.json"
        if not bounds.is_file():
            write_json(bounds, self._scores([], baselines=("mixture", "irm")))
        text = self._page(
            records, json.loads(bounds.read_text()), expected=self.seeds * len(chosen),
            step=sum(self.probes[name]["step"] for name in chosen),
            test=sorted(folder.name for folder in self.test.iterdir()),
        )  # fmt: skip
        self._write_page(text)

    def _records(self, chosen: list[str]) -> list[dict[str, Any]]:
        """What is recorded of the trainings, in their order."""
        paths = [self._record(name, seed) for name, seed in self.trainings(chosen)]
        return [json.loads(path.read_text()) for path in paths if path.is_file()]

    def _write_page(self, text: str) -> None:
        with replacing(self.options.out) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def _page(self, records, scores, **about) -> str:
        chart = course_page.draw(
            records, scores, self.settings, self.options.out.with_suffix(".png")
        )
        return course_page.page(records, scores, self.settings, chart=chart.name, **about)

    def _record(self, name: str, seed: int) -> Path:
        return self.work / "records" / f"{name}_{seed}.json"

    def _values(self, name: str, seed: int) -> dict[str, Any]:
        """The configuration of a training, as kzoo train takes it."""
        settings, system = self.settings, self.settings["systems"][name]
        epochs = min(settings["epochs"], self.steps or PROBED_STEPS)
        steps = (self.steps or PROBED_STEPS) // epochs
        schedule = {"warmup_steps": max(1, steps * epochs // 10), "decay_steps": steps * epochs}
        return {
            "name": name,
            "task": "music separation",
            "seed": seed,
            "model": {"sources": settings["sources"], **settings["sound"], **system["model"]},
            "data": {
                "train": {"kind": "shards", "path": str(self.learned)},
                "steps": settings["steps"],
                **system.get("data", {}),
            },
            "loss": system.get("loss", {"name": "l1"}),
            "optimizer": {**settings["optimizer"], **schedule},
            "fit": {
                "batch_size": settings["batch_size"],
                "segment_seconds": settings["segment_seconds"],
                "epochs": epochs,
                "steps_per_epoch": steps,
                **system.get("fit", {}),
            },
        }

    def _probed(self, name: str) -> dict[str, Any]:
        """Seconds to begin and of a step, weights, and multiply-adds of a second of sound.

        A step's examples are in its time: a machine of one core makes them in turn.
        """
        began = time.perf_counter()
        values = training.resolved(self._values(name, 0))
        made = training.compiled(values)
        examples, _ = made.open_data(values)
        steps = []
        for number in range(1 + PROBED_STEPS):
            batch = data.batch(examples, number, self.settings["batch_size"])
            made.trainer.train_on_batch(*made.pair(batch))
            steps.append(time.perf_counter() - began - sum(steps))
        start = steps.pop(0)
        _forget()
        return {"start": start, "step": statistics.median(steps), **self.cost(name)}

    def cost(self, name: str) -> dict[str, int]:
        """Weights of a system, and its multiply-adds for a second of sound."""
        values = training.resolved(self._values(name, 0))
        size, arguments = training.settings.sizes(values)
        block = {**arguments, **size.block()}
        system = models.build(values["model"]["name"], size, **block)
        cost = multiply_adds(system, block["samples"]) * size.sample_rate / block["samples"]
        _forget()
        return {"parameters": system.count_params(), "multiply_adds": round(cost)}

    def _scores(self, systems: list[str], *, baselines: tuple[str, ...] = ()) -> dict[str, Any]:
        """{system: {source: {measure: median over the songs}}}."""
        found: dict[str, Any] = {}
        for row in self._report(systems, baselines).averages:
            scores = {measure: row.scores[measure] for measure in self.measures}
            found.setdefault(row.system, {})[row.source] = scores
        return found

    def _report(self, systems: list[str], baselines: tuple[str, ...]) -> evaluation.Report:
        report = evaluation.evaluate(
            self.test, evaluation_systems(systems, {}), sources=self.settings["sources"],
            out=self.work / "scores", baselines=baselines, against=(), columns=self.measures,
            **self.settings["test"],
        )  # fmt: skip
        if report.failures:
            raise SystemExit("\n".join(map(str, report.failures)))
        return report

    def _timed(self, folder: Path) -> dict[str, float]:
        return {"real_time_factor": self._real_time_factor(folder)}

    def _real_time_factor(self, folder: Path) -> float:
        """Seconds of separating a second of sound, the median of three times."""
        rate = self.settings["sound"]["sample_rate"]
        sound = np.random.default_rng(0).standard_normal((round(HEARD_SECONDS * rate), 1))
        sound = (0.1 * sound).astype(np.float32)
        separator = kzoo.Separator.from_preset(folder, engine="tensorflow")
        times = []
        for _ in range(4):  # the first one compiles
            began = time.perf_counter()
            separator.separate(sound, rate)
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:]) / HEARD_SECONDS


def _forget() -> None:
    """Give the memory of a network back."""
    import keras

    keras.backend.clear_session()
    gc.collect()


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
