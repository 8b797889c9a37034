"""Conv-TasNet, DPRNN, DCUNet, Demucs and SCNet next to their PyTorch; LiteRT and ONNX Runtime.

    python benchmarks/separators.py --torch-python TORCH [--onnx-python ONNX] [--threads 2]
        [--repeats 10] [--only TEXT ...] [--quick] > benchmarks/results/separators.txt

TORCH is the interpreter of an environment with torch, asteroid 0.7, demucs 2.0.3 (the last release
of Demucs v2), onnx and onnxruntime; asteroid and demucs without their dependencies but
asteroid-filterbanks, julius, soundfile, requests, pandas, PyYAML and huggingface-hub: whatever else
they import is stood in for by empty modules. For SCNet it has the package `scnet` of
https://github.com/starrytong/SCNet, without dependencies.
ONNX is that of an environment with kzoo, tf2onnx, onnx and onnxruntime; without it the file of
ONNX Runtime comes from the PyTorch twin alone.

Both sides hold the same weights, made by PyTorch and read by kzoo.convert, and get the same input;
how far their outputs, or the losses of their steps, are apart is in the table (later steps drift:
PyTorch's LSTM learns two biases where Keras has their sum). Each side of a row is a process of its
own on the same cores with as many threads. They run in turn, in alternating order, after a
warm-up. Threads of PyTorch and ONNX Runtime that wait for each other spin or sleep: spinning is
faster on an idle machine and many times slower on a busy one, so both are tried and the faster one
is compared with.

Times are medians; a speed is the median over the turns of the peer's time by ours, with the least
and the greatest. CPU time is that of all threads; peak MB is the most that was resident from the
first run on, and at rest what libraries, weights and input took before it. Where other processes
had more than a tenth of the cores meanwhile, the row says so, and is not to be relied on.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(__file__).with_name("separators_sides.py")
AIM = 1.2
BUSY = 0.1
DEFAULTS = {"batch": 1, "seconds": 4.0}
FULL = [
    {"model": "conv_tasnet", "variant": "paper", "task": "forward"},
    {"model": "conv_tasnet", "variant": "small", "task": "forward"},
    {"model": "conv_tasnet", "variant": "paper", "task": "step", "batch": 2},
    {"model": "conv_tasnet", "variant": "small", "task": "step", "batch": 2},
    {"model": "dual_path_rnn", "variant": "asteroid", "task": "forward"},
    {"model": "dual_path_rnn", "variant": "small", "task": "forward"},
    {"model": "dual_path_rnn", "variant": "asteroid", "task": "step", "seconds": 2.0},
    {"model": "dual_path_rnn", "variant": "small", "task": "step", "batch": 2},
    {"model": "dcunet", "variant": "dcunet10", "task": "forward"},
    {"model": "dcunet", "variant": "dcunet10", "task": "step", "seconds": 2.0},
    {"model": "demucs", "variant": "v2", "task": "forward"},
    {"model": "demucs", "variant": "small", "task": "forward"},
    {"model": "demucs", "variant": "small", "task": "step", "batch": 2},
    {"model": "scnet", "variant": "paper", "task": "forward"},
    {"model": "scnet", "variant": "half", "task": "forward"},
    {"model": "scnet", "variant": "half", "task": "step", "seconds": 3.0},
    {"model": "conv_tasnet", "variant": "small", "task": "LiteRT"},
    {"model": "conv_tasnet", "variant": "paper", "task": "LiteRT"},
]
QUICK = [
    {"model": "conv_tasnet", "variant": "small", "task": "forward", "seconds": 1.0},
    {"model": "conv_tasnet", "variant": "small", "task": "step", "seconds": 1.0},
    {"model": "demucs", "variant": "v2", "task": "forward", "seconds": 1.0, "filters": 4},
    {"model": "demucs", "variant": "small", "task": "step", "seconds": 1.0},
    {"model": "conv_tasnet", "variant": "small", "task": "LiteRT", "seconds": 1.0},
]


class SideError(RuntimeError):
    """A side's process has died; the end of what it said."""


class Side:
    """One process of `program`.

    spin: whether threads that wait for work of their own pool burn their core meanwhile.
    """

    program = PROGRAM

    def __init__(
        self, side: str, python: str, case: dict, folder: Path, threads: int, *, spin: bool = True
    ):
        self.label, self.folder, self.spin = case["label"], folder, spin
        self.turns: list[dict] = []
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "OMP_NUM_THREADS": str(threads),
            "CUDA_VISIBLE_DEVICES": "-1",
            "KERAS_BACKEND": "tensorflow",
            **({} if spin else {"OMP_WAIT_POLICY": "passive"}),
        }
        self.log = folder / f"{self.label}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [python, str(self.program), side, str(folder), str(threads)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.rest = self._ask({**case, "spin": spin})["rest"]
        self.first = np.load(folder / f"{self.label}.npy")

    def _ask(self, question) -> dict:
        try:
            print(json.dumps(question), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.process.wait()
            said = self.log.read_text(errors="replace").strip()
            raise SideError(f"{self.label} ended with {self.process.returncode}:\n{said[-1500:]}")
        return json.loads(answer)

    def turn(self) -> None:
        """Run once."""
        self.turns.append(self._ask("run"))
        time.sleep(0.05)  # until its threads sleep

    def median(self, figure: str) -> float:
        """Over the turns."""
        return statistics.median(turn[figure] for turn in self.turns)

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):  # it has ended by itself
            self.process.stdin.close()
        self.process.wait()


def take_turns(sides: Sequence[Side], repeats: int) -> float:
    """Run all in turn; the share of the cores that other processes had meanwhile."""
    for side in sides:
        side.turns = []
    numbers = [side.process.pid for side in sides]
    began, others = time.perf_counter(), -cpu_of_others(numbers)
    for repeat in range(repeats):
        for side in sides if repeat % 2 else reversed(sides):
            side.turn()
    others += cpu_of_others(numbers)
    return max(0.0, others) / ((time.perf_counter() - began) * os.cpu_count())


def cpu_of_others(processes: Iterable[int]) -> float:
    """CPU seconds since the machine was started, without those of `processes`, by their numbers."""
    numbers = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, numbers)
    ticks = user + nice + system + irq + softirq + steal
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks -= int(fields[11]) + int(fields[12])  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


class Row:
    """The processes of one case: ours first, and for each peer the faster of two ways to wait.

    kind: of the processes.
    """

    kind = Side

    def __init__(self, case: dict, folder: Path, options: argparse.Namespace):
        self.case = {**case, "weights": str(folder / "kzoo.weights.h5")}
        self.folder, self.options = folder, options
        self.open: list[Side] = []

    def start(self) -> None:
        """Open them, each where what it reads has been written."""
        case, options = self.case, self.options
        torch = {"demucs": "demucs", "scnet": "the authors'"}.get(case["model"], "asteroid")
        if case["task"] != "LiteRT":
            peer = self._peer("torch", options.torch_python, torch)
            self._side("convert", sys.executable, "kzoo.convert").close()
            self.sides = [self._side("kzoo", sys.executable, "kzoo"), peer]
            return
        ort = options.onnx_python or options.torch_python
        self._side("torch", options.torch_python, torch).close()  # writes weights and torch.onnx
        self._side("convert", sys.executable, "kzoo.convert").close()
        self._side("export", sys.executable, "Keras").close()
        self.sides = [self._side("LiteRT", sys.executable, "LiteRT")]
        if options.onnx_python:
            self._side("export_onnx", options.onnx_python, "Keras to ONNX").close()
            self.sides.append(self._peer("ORT", ort, "ONNX Runtime", file="keras.onnx"))
        self.sides.append(
            self._peer("ORT", ort, "ONNX Runtime, PyTorch's export", file="torch.onnx")
        )

    def _side(self, side: str, python: str, label: str, *, spin: bool = True, **more) -> Side:
        case = {**self.case, **more, "label": label}
        made = self.kind(side, python, case, self.folder, self.options.threads, spin=spin)
        self.open.append(made)
        return made

    def _peer(self, side: str, python: str, label: str, **more) -> Side:
        """The faster of both ways to wait."""
        times = {}
        for spin in (True, False):
            tried = self._side(side, python, label, spin=spin, **more)
            take_turns([tried], self.options.warm_up + 2)
            times[spin] = tried.median("wall")
            tried.close()
        return self._side(side, python, label, spin=times[True] <= times[False], **more)

    def measure(self) -> float:
        """Warm up and take the turns; the share of the cores that others had."""
        take_turns(self.sides, self.options.warm_up)
        return take_turns(self.sides, self.options.repeats)

    def close(self) -> None:
        """End all processes."""
        for side in self.open:
            side.close()

    def lines(self, others: float) -> list[str]:
        """What the table says."""
        ours, *peers = self.sides
        lines = [
            f"  {side.label:32}{side.median('wall') * 1e3:10.1f} ms"
            f"{side.median('cpu') * 1e3:10.1f} CPU ms{side.turns[-1]['peak']:9.0f} peak MB"
            f"{side.rest:7.0f} at rest"
            + ("" if side is ours else f", threads {'spin' if side.spin else 'sleep'}")
            for side in self.sides
        ]
        for peer in peers:
            ratios = [
                theirs["wall"] / mine["wall"]
                for theirs, mine in zip(peer.turns, ours.turns, strict=True)
            ]
            speed = statistics.median(ratios)
            verdict = "" if speed >= AIM else f", short of {AIM}"
            memory = ours.turns[-1]["peak"] / peer.turns[-1]["peak"]
            lines.append(
                f"  {ours.label} has {speed:.2f} times the speed of {peer.label} "
                f"({min(ratios):.2f} to {max(ratios):.2f}{verdict}), "
                f"{ours.median('cpu') / peer.median('cpu'):.2f} of its CPU time, "
                f"{memory:.2f} of its memory; {self._difference(ours, peer)}"
            )
        if others > BUSY:
            lines.append(
                f"  a busy machine: other processes had {others:.0%} of it; not to be relied on"
            )
        return lines

    def _difference(self, ours: Side, peer: Side) -> str:
        if ours.first.ndim:
            far = np.max(np.abs(ours.first - peer.first))
            return f"estimates {far:.1e} apart of a peak of {np.max(np.abs(peer.first)):.1e}"
        steps = 1 + self.options.warm_up + self.options.repeats
        return (
            f"losses {ours.first:.7g} and {peer.first:.7g} in the first step, "
            f"{ours.turns[-1]['loss']:.7g} and {peer.turns[-1]['loss']:.7g} in step {steps}"
        )


def completed(case: dict) -> dict:
    """The case with all its sizes, from kzoo's variants."""
    from kzoo.models import architecture

    case = {**DEFAULTS, **case}
    module = architecture(case["model"])
    sources = module.SPEAKERS if hasattr(module, "SPEAKERS") else module.SOURCES
    sizes = dataclasses.asdict(module.VARIANTS[case["variant"]])
    if "filters" in case:
        sizes["filters"] = case["filters"]
    return {**case, "sizes": sizes, "sources": list(sources)}


def title(case: dict) -> str:
    """Of a row."""
    filters = f" of {case['filters']} filters" if "filters" in case else ""
    seconds = f"{case.get('batch', 1)} x {case.get('seconds', DEFAULTS['seconds']):g} s"
    return f"{case['model']} {case['variant']}{filters}, {case['task']}, {seconds}"


def versions(python: str, *packages: str) -> str:
    """Of packages in the environment of an interpreter."""
    program = (
        "import importlib.metadata as m, platform, sys\n"
        "print('Python', platform.python_version(), end='')\n"
        "for name in sys.argv[1:]: print(f', {name} {m.version(name)}', end='')"
    )
    done = subprocess.run([python, "-c", program, *packages], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{python} has not all of {', '.join(packages)}:\n{done.stderr[-500:]}")
    return done.stdout


def processor() -> str:
    """Its name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def header(
    program: str, options: argparse.Namespace, ours: Sequence[str], peers: Sequence[str]
) -> str:
    """Command, date, machine and versions; ours, peers: packages of either side."""
    places = {options.torch_python: "TORCH", getattr(options, "onnx_python", None): "ONNX"}
    command = " ".join(places.get(argument, argument) for argument in sys.argv[1:])
    return (
        f"python benchmarks/{Path(program).name} {command}\n"
        f"{time.strftime('%Y-%m-%d')}, {processor()}, {options.threads} of {os.cpu_count()} cores, "
        f"as many threads a side, median of {options.repeats}, load before "
        f"{os.getloadavg()[0]:.1f}\n"
        f"kzoo: {versions(sys.executable, 'kzoo', 'tensorflow', 'keras', *ours)}\n"
        f"PyTorch: {versions(options.torch_python, 'torch', *peers)}"
    )


def command_line(description: str, *, threads: int, repeats: int) -> argparse.ArgumentParser:
    """The options of every comparison with PyTorch, with these defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--torch-python", required=True, metavar="PATH")
    parser.add_argument("--threads", type=int, default=threads)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="rows with one of these in them")
    parser.add_argument("--quick", action="store_true", help="small and short: does it still work?")
    return parser


def measured(
    cases: Sequence[dict],
    title: Callable[[dict], str],
    row: type[Row],
    options: argparse.Namespace,
) -> int:
    """Print the rows that `options.only` leaves, one after the other; 1 where any failed, or 0."""
    failed = False
    for case in cases:
        if not any(text in title(case) for text in options.only):
            continue
        print(f"\n{title(case)}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            made = row(case, Path(folder), options)
            try:
                made.start()
                print("\n".join(made.lines(made.measure())), flush=True)
            except SideError as error:
                failed = True
                print(f"  failed: {error}", flush=True)
            finally:
                made.close()
    return int(failed)


def main() -> None:
    """All rows, one after the other."""
    cores = len(os.sched_getaffinity(0))
    parser = command_line(__doc__.split("\n")[0], threads=cores, repeats=10)
    parser.add_argument("--onnx-python", metavar="PATH")
    options = parser.parse_args()
    if not 1 <= options.threads <= cores:
        parser.error(f"--threads must be from 1 to the {cores} cores here; got {options.threads}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(ROOT))
    print(header(__file__, options, ["ai-edge-litert"], ["asteroid", "demucs"]))
    ort = options.onnx_python or options.torch_python
    onnx = ["onnxruntime", "onnx", *(["tf2onnx"] if options.onnx_python else [])]
    print(f"ONNX: {versions(ort, *onnx)}", flush=True)
    cases = [completed(case) for case in (QUICK if options.quick else FULL)]
    sys.exit(measured(cases, title, Row, options))


if __name__ == "__main__":
    main()
