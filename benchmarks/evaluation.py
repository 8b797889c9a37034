"""BSS Eval of kzoo next to museval, mir_eval and fast_bss_eval, on the same tracks in one run.

    python benchmarks/evaluation.py [--peers-python PEERS] [--seconds 30] [--only NAME ...]
        [--repeats 3] >> benchmarks/results/evaluation.txt

PEERS is the interpreter of an environment with mir_eval and fast_bss_eval (which knows mono alone,
and in NumPy before 2); museval is that of kzoo's own. A program that is not there is left out with
a line.

The track is noise: four stereo sources, coloured, and estimates with leakage, a filter and noise,
float32 at 44.1 kHz. "v4": images, 512 taps over the whole, frames of 1 s (museval). "v3 images":
the whole in one frame (mir_eval). "v3 sources": the first channel alone (mir_eval, fast_bss_eval).
Each program runs in a process of its own, in turn; times are the medians of the
repeats (kzoo) or of one run (its peers), without imports; CPU time is that of all threads; the peak
is the most memory that was resident, with libraries and input, and before it what these took. The
difference is the largest in dB of all measures, sources and frames.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RATE = 44100
TASKS = {
    "v4": ("kzoo", "museval"),
    "v3 images": ("kzoo", "mir_eval"),
    "v3 sources": ("kzoo", "mir_eval", "fast_bss_eval"),
}
MEGABYTE = 1024  # in the units of getrusage


def main() -> None:
    """Run the tasks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers-python", type=Path, help="interpreter with mir_eval")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK")
    parser.add_argument("--repeats", type=int, default=3, help="of kzoo's side")
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(_side(*arguments.side, arguments.seconds, arguments.repeats)))
        return
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{arguments.seconds} s of four stereo sources; load before: {os.getloadavg()[0]:.1f}"
    )
    print(f"{'':27}{'wall s':>9}{'CPU s':>9}{'before MB':>11}{'peak MB':>9}{'times':>8}{'dB':>10}")
    for task in arguments.only:
        ours = None
        for program in TASKS[task]:
            interpreter = sys.executable
            if program in ("mir_eval", "fast_bss_eval"):
                interpreter = arguments.peers_python or sys.executable
            found = _run(interpreter, program, task, arguments)
            name = f"{task}, {program}"
            if "missing" in found:
                print(f"{name:27}left out: {found['missing']}")
                continue
            ours = ours or found
            times, difference = found["wall"] / ours["wall"], _difference(found, ours)
            print(
                f"{name:27}{found['wall']:9.2f}{found['cpu']:9.2f}{found['before']:11.0f}"
                f"{found['peak']:9.0f}{times:8.1f}{difference:10.1e}",
                flush=True,
            )


def _run(interpreter, program: str, task: str, arguments) -> dict:
    command = [str(interpreter), __file__, "--side", program, task]
    command += ["--seconds", str(arguments.seconds), "--repeats", str(arguments.repeats)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=environment
        )
    if run.returncode:
        return {"missing": (run.stderr.strip().splitlines() or ["ended"])[-1]}
    return json.loads(run.stdout)


def _side(program: str, task: str, seconds: int, repeats: int) -> dict:
    references, estimates = _track(seconds)
    if task == "v3 sources":
        references, estimates = references[..., 0].copy(), estimates[..., 0].copy()
    score = SIDES[program](task)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    walls, times = [], []
    for _ in range(repeats if program == "kzoo" else 1):
        wall, cpu = time.perf_counter(), time.process_time()
        measures = score(references, estimates)
        walls.append(time.perf_counter() - wall)
        times.append(time.process_time() - cpu)
    return {
        "wall": statistics.median(walls),
        "cpu": statistics.median(times),
        "before": before / MEGABYTE,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEGABYTE,
        "measures": [np.reshape(measure, -1).tolist() for measure in measures],
    }


def _track(seconds: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (4, seconds * RATE, 2)
    references = rng.standard_normal(shape, dtype=np.float32)
    references[:, 1:] += 0.9 * references[:, :-1]
    estimates = references + 0.1 * rng.standard_normal(shape, dtype=np.float32)
    estimates += 0.1 * np.roll(references, 1, axis=0)
    estimates[:, 3:] += 0.2 * references[:, :-3]
    return references, estimates


def _kzoo(task: str):
    from kzoo import metrics

    if task == "v4":
        return lambda true, guess: metrics.bss_eval(true, guess)[:4]
    if task == "v3 images":
        return lambda true, guess: metrics.bss_eval_images(true, guess, permute=False)[:4]

    def sources(true, guess):
        scores = metrics.bss_eval_sources(true, guess, permute=False)
        return scores.sdr, scores.sir, scores.sar

    return sources


def _museval(task: str):
    # The file alone: importing the package asks for an ffmpeg program.
    package = importlib.util.find_spec("museval")
    if package is None:
        sys.exit("museval is not installed")
    path = f"{next(iter(package.submodule_search_locations))}/metrics.py"
    spec = importlib.util.spec_from_file_location("museval_metrics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda true, guess: module.bss_eval(true, guess, window=RATE, hop=RATE)[:4]


def _mir_eval(task: str):
    import warnings

    from mir_eval import separation

    warnings.simplefilter("ignore")
    if task == "v3 images":
        return lambda true, guess: separation.bss_eval_images(true, guess, False)[:4]
    return lambda true, guess: separation.bss_eval_sources(true, guess, False)[:3]


def _fast_bss_eval(task: str):
    import fast_bss_eval

    return lambda true, guess: fast_bss_eval.bss_eval_sources(
        true.astype(np.float64), guess.astype(np.float64), compute_permutation=False
    )[:3]


def _difference(found: dict, ours: dict) -> float:
    pairs = zip(found["measures"], ours["measures"], strict=True)
    return max(float(np.nanmax(np.abs(np.subtract(one, other)))) for one, other in pairs)


SIDES = {"kzoo": _kzoo, "museval": _museval, "mir_eval": _mir_eval, "fast_bss_eval": _fast_bss_eval}

if __name__ == "__main__":
    main()
