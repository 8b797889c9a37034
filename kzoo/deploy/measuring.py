"""What an artefact costs to run, measured in a process of its own that does nothing else.

    python -m kzoo.deploy.measuring ARTEFACT INPUTS.npz THREADS

prints `load_ms` (to a model that is ready for its first call), `call_ms` and `cpu_ms` (wall time
and that of the processors, the best of several calls) and `peak_mb` (of the whole process, after
its first call). A TFLite file needs no TensorFlow for it.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from kzoo.deploy.interpreter import open_litert

_CALLS, _LONGEST_SECONDS = 20, 1.0  # of the measurement, after two calls that warm it up


def measure(artefact: Path, inputs: Mapping[str, np.ndarray], *, threads: int) -> dict[str, float]:
    """{"load_ms", "call_ms", "cpu_ms", "peak_mb"} of an artefact, in a new process.

    inputs: {name: `[1, ...]`}. Raises ValueError where that process fails, with the end of what it
    wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "inputs.npz"
        np.savez(given, **inputs)
        command = [sys.executable, "-m", __name__, str(artefact), str(given), str(threads)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise ValueError(f"{artefact} could not be measured: {run.stderr.strip()[-200:]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def main() -> None:
    """What is measured, as one line of JSON."""
    artefact, given, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with np.load(given) as arrays:
        inputs = dict(arrays)
    load = _saved_model if artefact.is_dir() else _litert
    load = _onnx if artefact.suffix == ".onnx" else load
    if artefact.is_dir():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow as tf  # before the clock starts: it is no part of the artefact

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    began = time.perf_counter()
    call = load(artefact, inputs, threads)
    load_ms = 1e3 * (time.perf_counter() - began)
    call()
    peak_mb = _peak_mb()
    call()
    walls, cpus, started = [], [], time.perf_counter()
    while not walls or (len(walls) < _CALLS and time.perf_counter() - started < _LONGEST_SECONDS):
        began, cpu_began = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - cpu_began)
    found = {
        "load_ms": load_ms, "call_ms": 1e3 * min(walls), "cpu_ms": 1e3 * min(cpus),
        "peak_mb": peak_mb,
    }  # fmt: skip
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says includes the process that this one was forked from
        lines = (line.split() for line in status.read_text(encoding="utf-8").splitlines())
        return next(int(words[1]) for words in lines if words[:1] == ["VmHWM:"]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _litert(artefact: Path, inputs: Mapping[str, np.ndarray], threads: int) -> Callable:
    interpreter = open_litert(artefact, threads=threads)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    arrays = {name: np.ascontiguousarray(array[0]) for name, array in inputs.items()}
    return lambda: runner(**arrays)


def _onnx(artefact: Path, inputs: Mapping[str, np.ndarray], threads: int) -> Callable:
    import onnxruntime  # not `formats.onnx`, which has TensorFlow with it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(artefact), options, ["CPUExecutionProvider"])
    return lambda: session.run(None, dict(inputs))


def _saved_model(artefact: Path, inputs: Mapping[str, np.ndarray], threads: int) -> Callable:
    from kzoo.deploy.formats.saved_model import load

    run = load(artefact)
    return lambda: run(inputs)


if __name__ == "__main__":
    main()
