"""Conv-TasNet and Demucs next to asteroid and demucs on PyTorch, and LiteRT next to ONNX Runtime.

    python benchmarks/separators.py --torch-python TORCH [--onnx-python ONNX] [--threads 2]
        [--repeats 10] [--only TEXT ...] [--quick] > benchmarks/results/separators.txt

TORCH is the interpreter of an environment with torch, asteroid 0.7, demucs 2.0.3 (the last release
of Demucs v2), onnx and onnxruntime; asteroid and demucs without their dependencies but
asteroid-filterbanks and julius: whatever else they import is stood in for by empty modules.
ONNX is that of an environment with kzoo, tf2onnx, onnx and onnxruntime; without it the file of
ONNX Runtime comes from the PyTorch twin alone.

Both sides hold the same weights, made by PyTorch and read by kzoo.convert, and get the same input;
how far their outputs, or the losses of their steps, are apart is in the table. Each side of a row
is a process of its own on the same cores with the same number of threads. They run in turn, in
alternating order, after a warm-up. Times are medians; a speed is the median over the turns of the
peer's time by kzoo's, with the least and the greatest. CPU seconds are those of all threads; peak
MB is the process' resident peak from the first run on, libraries and weights included.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
AIM = 1.2
FULL = [
    {"row": "Conv-TasNet paper, forward", "variant": "paper"},
    {"row": "Conv-TasNet small, forward", "variant": "small"},
    {"row": "Conv-TasNet paper, step", "variant": "paper", "batch": 2},
    {"row": "Conv-TasNet small, step", "variant": "small", "batch": 2},
    {"row": "Demucs v2 64 channels, forward", "variant": "v2"},
    {"row": "Demucs small, forward", "variant": "small"},
    {"row": "Demucs small, step", "variant": "small", "batch": 2},
    {"row": "Conv-TasNet small, LiteRT", "variant": "small"},
    {"row": "Conv-TasNet paper, LiteRT", "variant": "paper"},
]
QUICK = [
    {"row": "Conv-TasNet small, forward", "variant": "small", "seconds": 1.0},
    {"row": "Conv-TasNet small, step", "variant": "small", "seconds": 1.0},
    {"row": "Demucs v2 4 channels, forward", "variant": "v2", "seconds": 1.0, "filters": 4},
    {"row": "Demucs small, step", "variant": "small", "seconds": 1.0},
    {"row": "Conv-TasNet small, LiteRT", "variant": "small", "seconds": 1.0},
]
# kzoo's names and those of the peers
CONV_TASNET = {
    "filters": "n_filters", "filter_length": "kernel_size", "bottleneck": "bn_chan",
    "hidden": "hid_chan", "skip": "skip_chan", "kernel_size": "conv_kernel_size",
    "blocks": "n_blocks", "repeats": "n_repeats", "mask": "mask_act",
}  # fmt: skip
DEMUCS = {
    "filters": "channels", "channels": "audio_channels",
    **{name: name for name in ("depth", "growth", "kernel_size", "stride", "context", "glu",
                               "rewrite", "lstm_layers", "resample", "normalize", "rescale")},
}  # fmt: skip
LEARNING = {"learning_rate": 1e-4, "global_clipnorm": 5.0}


# What a side does: prepare(case, folder, threads) -> run() -> the estimates, or a step's loss.


def torch_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The peer's network with new weights, which it writes with the input for the other side."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = _asteroid(case) if _is_conv_tasnet(case) else _demucs(case)
    samples = round(case["seconds"] * case["sizes"]["sample_rate"])
    if not _is_conv_tasnet(case):
        samples = network.valid_length(samples)
    channels = case["sizes"]["channels"]
    mixture = 0.1 * torch.randn(case["batch"], channels, samples)
    network.eval()
    with torch.inference_mode():
        estimates = network(mixture[:1])
    kept = estimates.shape[-1]
    shape = (case["batch"], len(case["sources"]), channels, kept)
    targets = 0.1 * torch.randn(shape)
    np.save(folder / "mixture.npy", mixture.transpose(1, 2).numpy())
    np.save(folder / "targets.npy", targets.transpose(2, 3).numpy())
    torch.save(network.state_dict(), folder / "weights.pth")
    if case["row"].endswith("LiteRT"):
        _torch_onnx(network, mixture, folder / "torch.onnx")
    if not case["row"].endswith("step"):

        def forward():
            with torch.inference_mode():
                found = network(mixture).numpy()
            found = found.reshape(shape)  # asteroid's has no axis of channels
            return found.swapaxes(2, 3)

        return forward

    network.train()
    loss = _pit(targets) if _is_conv_tasnet(case) else torch.nn.L1Loss()
    targets = targets[:, :, 0] if _is_conv_tasnet(case) else targets
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING["learning_rate"])

    def step():
        optimizer.zero_grad()
        value = loss(network(mixture), targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LEARNING["global_clipnorm"])
        optimizer.step()
        return np.float64(value.item())

    return step


def kzoo_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """kzoo's network as `kzoo separate` runs it and `kzoo train` takes its steps."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from kzoo import losses, runtime
    from kzoo.training.graph import DomainLoss
    from kzoo.training.optimizers import optimizer

    mixture, targets = np.load(folder / "mixture.npy"), np.load(folder / "targets.npy")
    model = _converted(case, folder, mixture.shape[1])
    if not case["row"].endswith("step"):
        function = runtime._compiled(model, None)
        return lambda: function(mixture)
    pit = {"name": "pit", "pairwise": {"name": "si_sdr", "zero_mean": True}}
    loss = losses.get(**(pit if _is_conv_tasnet(case) else {"name": "l1"}))
    adam = optimizer("adam", **LEARNING)
    adam.epsilon = 1e-8  # PyTorch's
    model.compile(optimizer=adam, loss=DomainLoss(loss, lambda sources: sources), jit_compile=False)
    adam.build(model.trainable_variables)
    return lambda: np.float64(model.train_on_batch(mixture, targets))


def export_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """Write the graph for LiteRT; run() is the Keras model's own."""
    from kzoo.deploy.tflite import write_tflite

    mixture = np.load(folder / "mixture.npy")
    model = _converted(case, folder, mixture.shape[1])
    write_tflite(model, folder / "model.tflite", sources=case["sources"])
    return lambda: model.predict_on_batch(mixture)


def export_onnx_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """Write the graph that LiteRT's converter gets, for ONNX Runtime."""
    from tf2onnx import convert  # before TensorFlow, which it sets up

    from kzoo.deploy.rewrite import for_tflite
    from kzoo.deploy.saved_model import write_saved_model

    mixture = np.load(folder / "mixture.npy")
    model = _converted(case, folder, mixture.shape[1])
    saved = folder / "saved_model"
    write_saved_model(for_tflite(model), saved, sources=case["sources"], batched=False)
    sys.argv = ["convert", "--saved-model", str(saved), "--output", str(folder / "keras.onnx"),
                "--opset", "18"]  # fmt: skip
    convert.main()
    return lambda: model.predict_on_batch(mixture)


def litert_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The file in LiteRT, XNNPACK and all."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    waveform = np.load(folder / "mixture.npy")[0]

    def run():
        found = runner(waveform=waveform)
        return np.stack([found[name] for name in case["sources"]])[None]

    return run


def ort_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The file in ONNX Runtime, all its optimisations on."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        str(folder / case["file"]), options, providers=["CPUExecutionProvider"]
    )
    (source,) = session.get_inputs()
    mixture = np.load(folder / "mixture.npy")
    if case["file"] == "torch.onnx":
        waveform = np.ascontiguousarray(mixture.transpose(0, 2, 1))
        return lambda: session.run(None, {source.name: waveform})[0][..., None]
    names = [output.name for output in session.get_outputs()]
    order = [names.index(name) for name in case["sources"]]

    def run():
        found = session.run(None, {source.name: mixture[0]})
        return np.stack([found[i] for i in order])[None]

    return run


SIDES = {
    "torch": torch_side, "kzoo": kzoo_side, "export": export_side, "export_onnx": export_onnx_side,
    "LiteRT": litert_side, "ONNX Runtime": ort_side,
}  # fmt: skip


def _is_conv_tasnet(case) -> bool:
    return case["row"].startswith("Conv-TasNet")


def _asteroid(case):
    stand_in("pytorch_lightning", "torch_optimizer", "pb_bss_eval", "torch_stoi", "torchaudio")
    from asteroid.models import ConvTasNet

    sizes = case["sizes"]
    options = {theirs: sizes[ours] for ours, theirs in CONV_TASNET.items()}
    return ConvTasNet(
        len(case["sources"]), norm_type="gLN", stride=sizes["filter_length"] // 2,
        sample_rate=sizes["sample_rate"], **options,
    )  # fmt: skip


def _demucs(case):
    stand_in("diffq", "lameenc", "museval", "musdb", "tqdm", "requests")
    from demucs.model import Demucs

    options = {theirs: case["sizes"][ours] for ours, theirs in DEMUCS.items()}
    return Demucs(case["sources"], **options)


def _pit(targets):
    from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr

    return PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx")


def _torch_onnx(network, mixture, path: Path) -> None:
    import torch

    torch.onnx.export(network, (mixture,), str(path), opset_version=18, dynamo=False)


def _converted(case, folder: Path, samples: int):
    """The core of fixed length with the peer's weights."""
    from kzoo.convert import asteroid
    from kzoo.convert import demucs as demucs_weights
    from kzoo.convert.torch_files import read_torch
    from kzoo.models import conv_tasnet, demucs

    sizes, sources = case["sizes"], case["sources"]
    weights = read_torch(folder / "weights.pth")
    if _is_conv_tasnet(case):
        found = asteroid.from_weights(weights, sources=sources, blocks=sizes["blocks"])
        module = conv_tasnet
    else:
        found = demucs_weights.from_weights(
            weights, sources=sources, resample=sizes["resample"], normalize=sizes["normalize"]
        )
        module = demucs
    model = module.core(
        sources, variant=case["variant"], samples=samples, filters=case.get("filters")
    )
    model.set_weights(found.get_weights())
    return model


def stand_in(*names: str) -> None:
    """Empty modules for imports of packages that are not there; any name in them is a class."""

    class Empty(types.ModuleType):
        __path__ = ()

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.split(".")[0] not in names:
                return None
            return importlib.machinery.ModuleSpec(name, Finder, is_package=True)

        @staticmethod
        def create_module(spec):
            return Empty(spec.name)

        @staticmethod
        def exec_module(module):
            pass

    sys.meta_path.append(Finder)  # last: what is installed is found before


# One side's process


def serve(side: str, folder: Path, threads: int) -> None:
    """Answer a line of JSON with a line of JSON until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    case = json.loads(sys.stdin.readline())
    run = SIDES[side](case, folder, threads)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    value = run()
    np.save(folder / f"{case['label']}.npy", value)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        value = run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        status = dict(line.split(":", 1) for line in open("/proc/self/status"))
        peak = int(status["VmHWM"].split()[0]) / 1e3
        answer = {"wall": wall, "cpu": cpu, "peak": peak}
        if np.ndim(value) == 0:
            answer["loss"] = float(value)
        print(json.dumps(answer), file=answers, flush=True)


class Side:
    """The benchmark's end of such a process."""

    def __init__(self, side: str, python: str, case: dict, folder: Path, threads: int):
        self.label, self.turns, self.folder = case["label"], [], folder
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2",
            "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
            "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow",
        }  # fmt: skip
        self.errors = open(folder / f"{self.label}.log", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [python, __file__, "--serve", side, str(folder), str(threads)], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
        )  # fmt: skip
        self.ask(case)

    def ask(self, question) -> dict:
        """The answer to a line; RuntimeError with the log's end where the process has died."""
        try:
            print(json.dumps(question), file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            self.close()
            self.errors.seek(0)
            raise RuntimeError(f"{self.label}: {self.errors.read()[-1500:]}")
        return json.loads(answer)

    def turn(self) -> None:
        """Run once."""
        self.turns.append(self.ask("run"))
        time.sleep(0.05)  # idle threads of this side stop spinning

    def value(self) -> np.ndarray:
        """Of the first run."""
        return np.load(self.folder / f"{self.label}.npy")

    def median(self, figure: str) -> float:
        """Over the turns."""
        return statistics.median(turn[figure] for turn in self.turns)

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()


# The table


def sides_of(case: dict, folder: Path, options: argparse.Namespace) -> list[Side]:
    """The processes of a row, ours first, with the peer's weights in all of them."""

    def open_side(side, python, label, **more):
        return Side(side, python, {**case, **more, "label": label}, folder, options.threads)

    ort_python = options.onnx_python or options.torch_python
    package = "asteroid" if _is_conv_tasnet(case) else "demucs"
    torch = open_side("torch", options.torch_python, package)
    if not case["row"].endswith("LiteRT"):
        return [open_side("kzoo", sys.executable, "kzoo"), torch]
    torch.close()
    open_side("export", sys.executable, "Keras").close()
    found = [open_side("LiteRT", sys.executable, "LiteRT")]
    if options.onnx_python:
        open_side("export_onnx", options.onnx_python, "Keras again").close()
        found.append(open_side("ONNX Runtime", ort_python, "ONNX Runtime", file="keras.onnx"))
    found.append(open_side("ONNX Runtime", ort_python, "ONNX Runtime, of PyTorch's export",
                           file="torch.onnx"))  # fmt: skip
    return found


def measure(case: dict, options: argparse.Namespace) -> None:
    """Run one row and print it."""
    with tempfile.TemporaryDirectory() as name:
        sides = sides_of(case, Path(name), options)
        for _ in range(options.warm_up):
            for side in sides:
                side.turn()
        warm = [side.turns for side in sides]
        for side in sides:
            side.turns = []
        for repeat in range(options.repeats):
            for side in sides if repeat % 2 else reversed(sides):
                side.turn()
        rate, batch = case["sizes"]["sample_rate"], case["batch"]
        print(f"\n{case['row']}: {batch} x {case['seconds']:g} s at {rate} Hz")
        for side in sides:
            print(
                f"  {side.label:34}{side.median('wall') * 1e3:10.1f} ms"
                f"{side.median('cpu') * 1e3:10.1f} cpu ms"
                f"{side.turns[-1]['peak']:9.0f} peak MB"
            )
        ours = sides[0]
        for side in sides[1:]:
            pairs = zip(side.turns, ours.turns, strict=True)
            ratios = [theirs["wall"] / mine["wall"] for theirs, mine in pairs]
            speed = statistics.median(ratios)
            print(
                f"  {ours.label} is {speed:.2f} times as fast as {side.label} "
                f"({min(ratios):.2f} to {max(ratios):.2f}){'' if speed >= AIM else ', not 1.2'}; "
                f"cpu {ours.median('cpu') / side.median('cpu'):.2f}, "
                f"memory {ours.turns[-1]['peak'] / side.turns[-1]['peak']:.2f} of it"
            )
            mine, theirs = ours.value(), side.value()
            far = float(np.max(np.abs(mine - theirs)))
            if mine.ndim:
                print(f"    estimates: at most {far:.1e} apart, peak {np.abs(theirs).max():.2g}")
            else:
                steps = len(warm[0]) + len(ours.turns) + 1
                last, other = ours.turns[-1]["loss"], side.turns[-1]["loss"]
                print(
                    f"    losses: first {mine:.6f} and {theirs:.6f}, "
                    f"after {steps} steps {last:.6f} and {other:.6f}"
                )
        for side in sides:
            side.close()
        sys.stdout.flush()


def completed(case: dict) -> dict:
    """The case with all its sizes, from kzoo's variants."""
    from kzoo.models import conv_tasnet, demucs

    case = {"batch": 1, "seconds": 4.0, **case}
    module = conv_tasnet if _is_conv_tasnet(case) else demucs
    case["sources"] = list(getattr(module, "SPEAKERS", None) or module.SOURCES)
    sizes = module.VARIANTS[case["variant"]]
    case["sizes"] = {**sizes, "filters": case.get("filters", sizes["filters"])}
    return case


def versions(python: str, *packages: str) -> str:
    """Of packages in the environment of an interpreter."""
    program = (
        "import importlib.metadata as m, platform, sys\n"
        "print('Python', platform.python_version(), end='')\n"
        "for name in sys.argv[1:]: print(',', name, m.version(name), end='')"
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


def main() -> None:
    """All rows, one after the other."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--torch-python", required=True, metavar="PATH")
    parser.add_argument("--onnx-python", metavar="PATH")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[""], help="rows that contain one of these")
    parser.add_argument("--quick", action="store_true", help="small and short: does it still work?")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    if not 1 <= options.threads <= cores:
        parser.error(f"--threads must be from 1 to the {cores} cores here; got {options.threads}")
    print("python benchmarks/separators.py", *(a for a in sys.argv[1:] if "/" not in a))
    print(f"{time.strftime('%Y-%m-%d')}, {processor()}, {options.threads} of {os.cpu_count()} cores "
          f"and as many threads, load before {os.getloadavg()[0]:.1f}, "
          f"median of {options.repeats}")  # fmt: skip
    print("kzoo:", versions(sys.executable, "kzoo", "tensorflow", "keras", "ai-edge-litert"))
    print("PyTorch:", versions(options.torch_python, "torch", "asteroid", "demucs"))
    if options.onnx_python:
        print("ONNX:", versions(options.onnx_python, "onnxruntime", "onnx", "tf2onnx"))
    else:
        print("ONNX:", versions(options.torch_python, "onnxruntime", "onnx"))
    for case in QUICK if options.quick else FULL:
        if any(text in case["row"] for text in options.only):
            try:
                measure(completed(case), options)
            except RuntimeError as error:
                print(f"\n{case['row']}: failed, {error}", flush=True)


if __name__ == "__main__":
    main()
