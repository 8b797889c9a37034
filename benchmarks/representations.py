"""What a small network is given to hear: front ends before one back end, on three tasks.

    python -m benchmarks.representations [MIDI ...] [--minutes 45 | --steps N | --full] [--seeds 3]
        [--systems TASK-FRONT-CLIPS ...] [-o benchmarks/results/representations.md]
        [--work runs/representations]

Instruments and onsets of music, and speakers: representations_data.py makes the clips, of pieces
that it makes up and of MIDI, files or folders. It needs fluidsynth, espeak-ng and the two
soundfonts of representations.yaml, which has the front ends (kzoo/models/fronts.py) too.

All trainings take the same number of steps on the same clips: as many as fit into --minutes on one
core, by the time of a step of each, which is measured first. First come those on all clips, seed by
seed, then those on fewer. The page is written anew as they come; what is interrupted goes on by the
same command.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import course, representations_data, representations_page
from kzoo.files import replacing
from kzoo.models import fronts
from kzoo.training.graph_costs import multiply_adds

PICTURED = ("sinc", "gabor", "strided")  # fronts whose filters are kept and drawn
_HEARD_AT_ONCE = 64  # clips
_TOLERANCE_SECONDS = 0.05
_THRESHOLDS = np.linspace(0.05, 0.8, 16)
_LEAST_FRAMES = 3  # between two onsets
_PAGE_SECONDS = 60.0
_COEFFICIENTS, _NEIGHBOURS, _MOST_FRAMES = 20, 5, 40_000


def main(arguments: list[str] | None = None) -> None:
    """Train what is not there yet, and write the page as records come."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("midi", nargs="*", type=Path)
    course.with_length(parser, __file__, minutes=45.0, seeds=3)
    course.run(Study, parser.parse_args(arguments))


class Study(course.Course):
    """The course's work on trainings of a task, a front end and a number of clips each."""

    def __init__(self, settings: Mapping[str, Any], options: argparse.Namespace):
        sizes = [settings["clips"]["train"], *sorted(settings["sizes"])]
        systems = {
            f"{task}-{front}-{clips}": {"task": task, "front": front, "clips": clips}
            for clips in sizes
            for task in settings["tasks"]
            for front in settings["fronts"]
        }
        super().__init__({**settings, "systems": systems}, options)
        self._written = 0.0

    def prepare(self) -> None:
        """Make the clips of the tasks."""
        settings, sound = self.settings, self.settings["sound"]
        hop = sound["hop_length"]
        common = {"clips": settings["clips"], "rate": sound["sample_rate"]}
        common["samples"] = hop * sound["frames"]
        self.work.mkdir(parents=True, exist_ok=True)
        files = [str(path.resolve()) for path in self.options.midi]
        self.data = {
            "music": representations_data.prepared(
                self.work / "music.npz", representations_data.music,
                {**settings["music"], **common, "hop": hop, "midi_files": files},
            ),
            "voices": representations_data.prepared(
                self.work / "voices.npz", representations_data.voices,
                {**settings["voices"], **common},
            ),
        }  # fmt: skip

    def trainings(self, chosen: list[str]) -> list[tuple[str, int]]:
        """All clips before fewer, and the first seeds of both before the others."""
        about, largest = self.settings["systems"], self.settings["clips"]["train"]
        whole = [name for name in chosen if about[name]["clips"] == largest]
        fewer = [name for name in chosen if name not in whole]
        seeds = self.seeds if self.options.full else min(self.seeds, self.settings["sizes_seeds"])
        found = [(name, seed) for seed in range(min(2, self.seeds)) for name in whole]
        found += [(name, seed) for seed in range(seeds) for name in fewer]
        return found + [(name, seed) for seed in range(2, self.seeds) for name in whole]

    def write(self, chosen: list[str]) -> None:
        """The page and its pictures: once a minute, and when nothing is missing."""
        records, expected = self._records(chosen), len(self.trainings(chosen))
        if len(records) < expected and time.monotonic() - self._written < _PAGE_SECONDS:
            return
        pictures = representations_page.draw(
            records, self.work / "filters", self.settings, self.options.out
        )
        self._write_page(
            representations_page.page(
                records, self._without_network(), self.settings, expected=expected,
                pictures=pictures,
            )
        )  # fmt: skip
        self._written = time.monotonic()

    def _probed(self, name: str) -> dict[str, Any]:
        about = self.settings["systems"][name]
        return self._cost(about["task"], about["front"])

    @functools.cache  # noqa: B019
    def _cost(self, task: str, front: str) -> dict[str, Any]:
        """Seconds of a step, and of what a training takes beside its steps; weights and cost."""
        network, sound = self._network(task, front), self.settings["sound"]
        steps, clips = [], np.arange(self.settings["batch_size"])
        for _ in range(1 + course.PROBED_STEPS):
            began = time.perf_counter()
            network.train_on_batch(*self._examples(task, "train", clips))
            steps.append(time.perf_counter() - began)
        self._heard(task, network, "validation")
        began = time.perf_counter()
        self._heard(task, network, "validation")
        heard = (time.perf_counter() - began) / self.settings["clips"]["validation"]
        cost = multiply_adds(network, sound["hop_length"] * sound["frames"])
        clips = self.settings["clips"]["validation"] + self.settings["clips"]["test"]
        seconds = sound["hop_length"] * sound["frames"] / sound["sample_rate"]
        return {
            "start": heard * clips, "step": statistics.median(steps[1:]),
            "parameters": sum(int(np.prod(w.shape)) for w in network.trainable_weights),
            "multiply_adds": round(cost / seconds),
        }  # fmt: skip

    @functools.cache  # noqa: B019
    def _network(self, task: str, front: str):
        """Drawn and compiled once; a training gives it new weights."""
        import keras

        network = self._drawn(task, front)
        losses = keras.losses.SparseCategoricalCrossentropy, keras.losses.BinaryCrossentropy
        exclusive = self.settings["tasks"][task]["exclusive"]
        network.compile(keras.optimizers.Adam(), losses[not exclusive](), jit_compile=False)
        return network

    def _drawn(self, task: str, front: str):
        sound = self.settings["sound"]
        each_frame = self.settings["tasks"][task]["each_frame"]
        build = fronts.build_frames if each_frame else fronts.build
        return build(self._size(task, front), samples=sound["hop_length"] * sound["frames"])

    def _size(self, task: str, front: str) -> fronts.Fronts:
        settings, about = self.settings, self.settings["tasks"][task]
        names = {"tags": settings["music"]["tags"], "speakers": settings["voices"]["variants"]}
        sound = settings["sound"]
        back_end = {key: tuple(v) if isinstance(v, list) else v for key, v in
                    settings["back_end"].items()}  # fmt: skip
        return fronts.Fronts(
            front=front, names=tuple(names.get(task, ["onset"])), exclusive=about["exclusive"],
            sample_rate=sound["sample_rate"], hop_length=sound["hop_length"], **back_end,
        )  # fmt: skip

    def _examples(self, task: str, part: str, clips: Any = slice(None)):
        """(waveforms, what is true of them) of a task."""
        about = self.settings["tasks"][task]
        found = self.data[about["data"]][part]
        truth = found.truth[about["truth"]][clips]
        return found.waveforms(clips), truth[..., None] if about["each_frame"] else truth

    def _trained(self, name: str, seed: int) -> dict[str, Any]:
        import keras

        about = self.settings["systems"][name]
        task, front, clips = about["task"], about["front"], about["clips"]
        batch = self.settings["batch_size"]
        began = time.perf_counter()
        network = self._network(task, front)  # drawn before the seed, or long ago
        keras.utils.set_random_seed(seed)
        fresh = self._drawn(task, front)
        for layer, other in zip(network.layers, fresh.layers, strict=True):
            for variable, value in zip(layer.variables, other.variables, strict=True):
                variable.assign(value)
        for variable in network.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        self._size(task, front).adapt(network, self._examples(task, "train", slice(clips))[0])
        before = _filters(network, front)
        rng = np.random.default_rng(seed)
        rounds = -(-self.steps * batch // clips)
        order = np.concatenate([rng.permutation(clips) for _ in range(rounds)])
        for step in range(self.steps):
            falling = 0.5 + 0.5 * np.cos(np.pi * step / self.steps)
            network.optimizer.learning_rate = self.settings["learning_rate"] * falling
            chosen = order[step * batch : (step + 1) * batch]
            network.train_on_batch(*self._examples(task, "train", chosen))
        seconds = time.perf_counter() - began
        if before is not None and seed == 0 and clips == self.settings["clips"]["train"]:
            path = self.work / "filters" / f"{task}-{front}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, before=before, after=_filters(network, front))
        heard = {part: self._heard(task, network, part) for part in ("validation", "test")}
        scores = self._scored(task, **heard)
        return {**about, "trained_seconds": round(seconds, 1), "scores": scores}

    def _heard(self, task: str, network, part: str) -> np.ndarray:
        """The probabilities of all clips of a part."""
        count = self.settings["clips"][part]
        places = np.split(np.arange(count), range(_HEARD_AT_ONCE, count, _HEARD_AT_ONCE))
        heard = [network.predict_on_batch(self._examples(task, part, at)[0]) for at in places]
        return np.concatenate(heard)

    def _scored(self, task: str, validation: np.ndarray, test: np.ndarray) -> dict[str, float]:
        """{part: score} of probabilities; what there is to choose is chosen on the validation."""
        heard = {"validation": validation, "test": test}
        truth = {part: self._examples(task, part)[1] for part in heard}
        if task == "speakers":
            right = {part: heard[part].argmax(axis=-1) == truth[part] for part in heard}
            return {part: float(np.mean(values)) for part, values in right.items()}
        if task == "tags":
            from sklearn.metrics import average_precision_score

            return {
                part: float(average_precision_score(truth[part], heard[part])) for part in heard
            }
        seconds = self.settings["sound"]["hop_length"] / self.settings["sound"]["sample_rate"]
        found = [onset_f(truth["validation"], validation, seconds, t) for t in _THRESHOLDS]
        best = int(np.argmax(found))
        tested = onset_f(truth["test"], test, seconds, _THRESHOLDS[best])
        return {"validation": found[best], "test": tested}

    def _without_network(self) -> dict[str, dict[str, float]]:
        """{task: {clips: score}} of MFCC and logistic regression on the test, computed once."""
        path = self.work / "records" / "mfcc.json"
        if not path.is_file():
            sizes = [*self.settings["sizes"], self.settings["clips"]["train"]]
            tasks = self.settings["tasks"]
            course.write_json(
                path, {t: {str(n): self._regression(t, n)["test"] for n in sizes} for t in tasks}
            )
        return json.loads(path.read_text("utf-8"))

    def _regression(self, task: str, clips: int) -> dict[str, float]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        chosen = {"train": np.arange(clips), "validation": slice(None), "test": slice(None)}
        features, truth = {}, {}
        for part, at in chosen.items():
            waveforms, truth[part] = self._examples(task, part, at)
            features[part] = _mfcc(waveforms, self.settings["sound"], task == "onsets")
        model = LogisticRegression(max_iter=1000)
        if task != "onsets":
            wanted = OneVsRestClassifier(model) if task == "tags" else model
            fitted = make_pipeline(StandardScaler(), wanted)
            fitted.fit(features["train"], truth["train"])
            heard = {part: fitted.predict_proba(features[part]) for part in chosen}
        else:
            inputs = features["train"].reshape(-1, features["train"].shape[-1])
            at = np.random.default_rng(0).permutation(len(inputs))[:_MOST_FRAMES]
            fitted = make_pipeline(StandardScaler(), model)
            fitted.fit(inputs[at], truth["train"].reshape(-1)[at])
            heard = {
                part: np.stack([fitted.predict_proba(clip)[:, 1:] for clip in features[part]])
                for part in ("validation", "test")
            }
        return self._scored(task, heard["validation"], heard["test"])


def onset_f(truth: np.ndarray, heard: np.ndarray, seconds: float, threshold: float) -> float:
    """F-measure of peaks above `threshold`, by mir_eval's matching within 50 ms, over all clips.

    truth, heard: `[clips, frames, 1]`, of frames that are `seconds` apart.
    """
    from mir_eval.util import match_events
    from scipy.signal import find_peaks

    matched = expected = said = 0
    for wanted, activation in zip(truth[..., 0], heard[..., 0], strict=True):
        peaks, _ = find_peaks(activation, height=threshold, distance=_LEAST_FRAMES)
        times = np.flatnonzero(wanted) * seconds, peaks * seconds
        matched += len(match_events(*times, _TOLERANCE_SECONDS)) if min(map(len, times)) else 0
        expected, said = expected + len(times[0]), said + len(times[1])
    return 2 * matched / max(1, expected + said)


def _mfcc(waveforms: np.ndarray, sound: Mapping[str, Any], each_frame: bool) -> np.ndarray:
    """`[clips, features]`, means and deviations, or `[clips, frames, features]` with neighbours."""
    from kzoo.dsp.mel import mfcc

    options = {"n_fft": 512, "hop_length": sound["hop_length"], "coefficients": _COEFFICIENTS}
    found = np.asarray(
        mfcc(waveforms[..., 0], sample_rate=sound["sample_rate"], bands=40, **options)
    )
    if not each_frame:
        return np.concatenate([found.mean(axis=1), found.std(axis=1)], axis=-1)
    padded = np.pad(found, ((0, 0), (_NEIGHBOURS, _NEIGHBOURS), (0, 0)), mode="edge")
    shifted = [padded[:, k : k + found.shape[1]] for k in range(2 * _NEIGHBOURS + 1)]
    return np.concatenate(shifted, axis=-1)


def _filters(network, front: str) -> np.ndarray | None:
    """`[taps, filters]` of what a waveform is correlated with; complex ones for Gabor filters."""
    if front not in PICTURED:
        return None
    layer = network.get_layer(front)
    if front == "strided":
        return np.asarray(layer.kernel)[:, 0]
    kernel = np.asarray(layer.kernel())
    return kernel[:, 0::2] + 1j * kernel[:, 1::2] if front == "gabor" else kernel


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
