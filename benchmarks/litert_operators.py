"""Where a TFLite file spends its time, operator by operator, those inside XNNPACK too.

    python benchmarks/litert_operators.py FILE.tflite [--threads 1] [--runs 25] [--longest 20]
    python benchmarks/litert_operators.py spleeter_5stems wave_u_net:m5_highsr

A preset's name, or ARCHITECTURE:VARIANT, stands for its network at random weights, which take as
long as trained ones; --out keeps its file, so that a quiet hour need not wait for the converter.
Python's interpreter has no reader of LiteRT's profiler; the C library of the same wheel has. Of
each operator the fastest of the runs counts, so that a busy machine adds little. Beside them stand
the products a second of a matrix product in NumPy, on one thread: no convolution is faster.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import tempfile
import time
from collections import Counter
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

_OUTSIDE, _INSIDE = 2, 8  # of XNNPACK; the kinds of events that are operators
_CPU = 1
_Deleter = ctypes.CFUNCTYPE(None, c_void_p)
_KEEP = _Deleter(lambda pointer: None)


class _Event(ctypes.Structure):
    _fields_ = (
        ("tag", c_char_p), ("kind", c_int), ("start", c_uint64), ("microseconds", c_uint64),
        ("memory", c_size_t * 6), ("first", c_uint64), ("second", c_uint64), ("source", c_int),
    )  # fmt: skip


class Profiled:
    """A file compiled by LiteRT's C library, with its profiler on."""

    def __init__(self, path: Path, threads: int):
        package = importlib.util.find_spec("ai_edge_litert")
        self._library = ctypes.CDLL(str(Path(package.origin).with_name("libLiteRt.so")))
        self._texts = []
        self._environment, self._model = c_void_p(), c_void_p()
        self._call("CreateEnvironment", 0, None, byref(self._environment))
        self._call("CreateModelFromFile", self._environment, os.fsencode(path), byref(self._model))
        options = c_void_p()
        self._call("CreateOptions", byref(options))
        self._call("SetOptionsHardwareAccelerators", options, _CPU)
        self._add(options, "xnnpack", f"num_threads = {threads}\n")
        self._add(options, "runtime_options_string", "enable_profiling = true\n")
        self._compiled = c_void_p()
        self._call(
            "CreateCompiledModel", self._environment, self._model, options, byref(self._compiled)
        )
        self._profiler = c_void_p()
        self._call("CompiledModelGetProfiler", self._compiled, byref(self._profiler))
        signature = c_void_p()
        self._call("GetModelSignature", self._model, c_size_t(0), byref(signature))
        self._inputs, self._outputs = (self._buffers(signature, k) for k in ("Input", "Output"))

    def run(self) -> None:
        self._call(
            "RunCompiledModel", self._compiled, c_size_t(0),
            c_size_t(len(self._inputs)), self._inputs, c_size_t(len(self._outputs)), self._outputs,
        )  # fmt: skip

    def operators(self, runs: int) -> tuple[float, list[tuple[str, int, float]]]:
        """(seconds of the fastest run, (name, kind, milliseconds) of every operator in turn)."""
        self.run()
        fastest, found = np.inf, []
        for _ in range(runs):
            self._call("ResetProfiler", self._profiler)
            self._call("StartProfiler", self._profiler)
            start = time.perf_counter()
            self.run()
            fastest = min(fastest, time.perf_counter() - start)
            self._call("StopProfiler", self._profiler)
            count = c_int()
            self._call("GetNumProfilerEvents", self._profiler, byref(count))
            events = (_Event * count.value)()
            self._call("GetProfilerEvents", self._profiler, count.value, events)
            found.append([
                (event.tag.decode().split(":")[0], event.kind, event.microseconds / 1000)
                for event in events
                if event.kind in (_OUTSIDE, _INSIDE) and not event.tag.startswith(b"TfLiteXNN")
            ])  # fmt: skip
        least = [
            (*same[0][:2], min(event[2] for event in same)) for same in zip(*found, strict=True)
        ]
        return fastest, least

    def _call(self, name: str, *arguments) -> None:
        if status := getattr(self._library, f"LiteRt{name}")(*arguments):
            raise RuntimeError(f"LiteRt{name}: status {status}")

    def _add(self, options: c_void_p, name: str, text: str) -> None:
        content, made = ctypes.create_string_buffer(text.encode()), c_void_p()
        self._texts.append(content)
        self._call(
            "CreateOpaqueOptions", name.encode(), ctypes.cast(content, c_void_p), _KEEP, byref(made)
        )
        self._call("AddOpaqueOptions", options, made)

    def _buffers(self, signature: c_void_p, kind: str):
        count = c_size_t()
        self._call(f"GetNumSignature{kind}s", signature, byref(count))
        found = []
        for i in map(c_size_t, range(count.value)):
            tensor, needs, buffer = c_void_p(), c_void_p(), c_void_p()
            form = ctypes.create_string_buffer(256)
            self._call(f"GetSignature{kind}TensorByIndex", signature, i, byref(tensor))
            self._call("GetRankedTensorType", tensor, form)
            self._call(
                f"GetCompiledModel{kind}BufferRequirements",
                self._compiled, c_size_t(0), i, byref(needs),
            )  # fmt: skip
            self._call(
                "CreateManagedTensorBufferFromRequirements",
                self._environment, form, needs, byref(buffer),
            )  # fmt: skip
            found.append(buffer.value)
        return (c_void_p * len(found))(*found)


def products_a_second() -> float:
    """Products a second of matrices of 1024, on one thread."""
    a, b = np.random.default_rng(0).random((2, 1024, 1024), np.float32)
    fastest = np.inf
    for _ in range(20):
        start = time.perf_counter()
        a @ b
        fastest = min(fastest, time.perf_counter() - start)
    return 1024**3 / fastest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=25)
    parser.add_argument("--longest", type=int, default=12, help="Kinds of operators to print.")
    parser.add_argument("--out", type=Path, help="The folder of files at random weights.")
    options = parser.parse_args()
    print(f"matrix products in NumPy: {products_a_second() / 1e9:.0f} GMAC/s on one thread")
    with tempfile.TemporaryDirectory() as folder:
        for model in options.models:
            file = model.endswith(".tflite")
            path, seconds = (
                (Path(model), None) if file else untrained(model, options.out or Path(folder))
            )
            report(path, seconds, options)


def untrained(model: str, folder: Path) -> tuple[Path, float]:
    """(a TFLite file of the network at random weights, the seconds of its block)."""
    from kzoo import models, presets
    from kzoo.deploy.examples import sound_proof
    from kzoo.deploy.formats import tflite
    from kzoo.deploy.formats.kernels import without_names

    architecture, _, variant = model.partition(":")
    if variant:
        size, arguments = models.split(architecture, {"variant": variant})
        arguments["sources"] = ["vocals", "accompaniment"]
    else:
        preset = presets.open_preset(model)
        architecture = preset.card["model"]["name"]
        size, arguments = preset.sizes()
    size, samples = size.static(None)
    path = folder / f"{model.replace(':', '_')}.tflite"
    if not path.exists():
        network = models.build(architecture, size, samples=samples, **arguments)
        proof = sound_proof(network, sample_rate=size.sample_rate)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(without_names(tflite.converted(network, proof)))
    return path, samples / size.sample_rate


def report(path: Path, block_seconds: float | None, options: argparse.Namespace) -> None:
    """Print the time of a file, and of its kinds of operators those that take longest."""
    seconds, operators = Profiled(path, options.threads).operators(options.runs)
    block = ""
    if block_seconds:
        each = 1000 * seconds / block_seconds
        block = f", blocks of {block_seconds:.2f} s: {each:.1f} ms for a second of sound"
    size = path.stat().st_size / 1e6
    print(f"\n{path.stem}, {size:.1f} MB, {options.threads} threads{block}")
    print(f"{1000 * seconds:10.2f} ms in all")
    spent, count = Counter(), Counter()
    for name, kind, milliseconds in operators:
        key = f"{name}{'' if kind == _INSIDE else ', outside XNNPACK'}"
        spent[key] += milliseconds
        count[key] += 1
    for key, milliseconds in spent.most_common(options.longest):
        print(f"{milliseconds:10.2f} ms  x{count[key]:<4d}{key}")


if __name__ == "__main__":
    main()
