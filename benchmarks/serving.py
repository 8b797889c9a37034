"""A load test on loopback of what export.tf_serving writes, answered by the stand-in of the server.

    python -m export.tf_serving -p unet_2stems_mobile -o OUT
    python benchmarks/serving.py OUT unet_2stems_mobile > benchmarks/results/serving.md

The server is `python -m export.serving_double`, a process of its own with TensorFlow's kernels,
batching and gRPC, and not TensorFlow Serving. Clients are threads of this process, each of which
asks again as soon as it has its answer: first blocks of 16 bits by 1, 2, 4 and 8 clients, then
recordings of 1 to 3 blocks and batches of 1 to 4, in float32, 16 bits and WAVs. All phases are
equally long. Requests a second, median and 99th percentile of their times, resident memory of the
server at the end of each phase, and the share of the machine that other processes had meanwhile.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import platform
import subprocess
import sys
import threading
import time
import wave
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
from separators import cpu_of_others
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

ROOT = Path(__file__).resolve().parents[1]
CLIENTS = (1, 2, 4, 8)
_SIZES = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]


@dataclasses.dataclass
class Phase:
    """What the clients of a phase saw. seconds: of each request. sound: seconds separated."""

    what: str
    clients: int
    seconds: list[float] = dataclasses.field(default_factory=list)
    sound: float = 0.0
    wall: float = 0.0
    megabytes: float = 0.0
    others: float = 0.0

    def row(self) -> str:
        """Of the table."""
        median, most = (1000 * np.percentile(self.seconds, q) for q in (50, 99))
        return (
            f"| {self.what} | {self.clients} | {len(self.seconds)} | "
            f"{len(self.seconds) / self.wall:.2f} | {self.sound / self.wall:.1f} | {median:.0f} | "
            f"{most:.0f} | {self.megabytes:.0f} | {self.others:.0%} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="What export.tf_serving wrote.")
    parser.add_argument("model", help="One of its models.")
    parser.add_argument("--minutes", type=float, default=10, help="Of all phases; default 10.")
    parser.add_argument("--port", type=int, default=8500, help="Default 8500.")
    options = parser.parse_args()
    card = json.loads((options.folder / "clients" / f"{options.model}.json").read_text())
    words = ["-m", "export.serving_double", str(options.folder.resolve())]
    words += ["--grpc-port", str(options.port), "--rest-port", "0"]
    server = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        if not server.stdout.readline():
            print("benchmarks/serving.py: the server did not start", file=sys.stderr)
            return 1
        at_rest = _megabytes(server.pid)
        seconds = 60 * options.minutes / (len(CLIENTS) + 1)
        phases = [
            load(
                card, options.port, server.pid, Phase("blocks of 16 bits", n), seconds, mixed=False
            )
            for n in CLIENTS
        ]
        mixed = Phase("1 to 3 blocks, batches of 1 to 4, all forms", 4)
        phases.append(load(card, options.port, server.pid, mixed, seconds, mixed=True))
    finally:
        server.terminate()
        server.wait()
    print(report(card, options, phases, at_rest))
    return 0


def load(card: dict, port: int, server: int, phase: Phase, seconds: float, *, mixed: bool) -> Phase:
    """Ask with the phase's clients for so long."""
    ends, lock = time.monotonic() + seconds, threading.Lock()

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=_SIZES) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while time.monotonic() < ends:
                message, sound = request(card, rng, mixed=mixed)
                begun = time.perf_counter()
                stub.Predict(message, timeout=600)
                spent = time.perf_counter() - begun
                with lock:
                    phase.seconds.append(spent)
                    phase.sound += sound

    own = (server, os.getpid())
    begun, others = time.monotonic(), -cpu_of_others(own)
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(phase.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    phase.wall = time.monotonic() - begun
    phase.others = max(0.0, others + cpu_of_others(own)) / (phase.wall * os.cpu_count())
    phase.megabytes = _megabytes(server)
    return phase


def request(card: dict, rng: np.random.Generator, *, mixed: bool):
    """(A request, the seconds of sound in it)."""
    block, channels, rate = card["block"]["samples"], card["channels"], card["sample_rate"]
    batch, samples, signature = 1, block, "block_int16"
    if mixed:
        batch, samples = int(rng.integers(1, 5)), int(rng.integers(block // 2, 3 * block))
        signature = ("serving_default", "int16", "wav")[rng.integers(3)]
    sound = rng.integers(-3000, 3000, (batch, samples, channels), dtype=np.int16)
    message = predict_pb2.PredictRequest()
    message.model_spec.name, message.model_spec.signature_name = card["name"], signature
    if signature == "wav":
        name, array = "wav_bytes", np.array([_wav(one, rate) for one in sound], object)
    else:
        name = "waveform"
        array = sound / np.float32(32768) if signature == "serving_default" else sound
    message.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return message, batch * samples / rate


def report(card: dict, options: argparse.Namespace, phases: list[Phase], at_rest: float) -> str:
    """The page."""
    seconds = card["block"]["samples"] / card["sample_rate"]
    asked = sum(len(phase.seconds) for phase in phases)
    head = (
        "| requests | clients | number | a second | s of sound a second | median ms | 99 % ms | MB "
        "after | others |"
    )
    wall = sum(phase.wall for phase in phases) / 60
    return f"""# Load test: {card["name"]} through the stand-in of TensorFlow Serving

`python benchmarks/serving.py OUT {card["name"]} --minutes {options.minutes:g}`,
{time.strftime("%Y-%m-%d")}, {os.cpu_count()} cores shared with other work ({platform.machine()}),
TensorFlow {tf.__version__}. Blocks of {seconds:.2f} s, {card["channels"]} channels; gRPC on
loopback; batching as in batching.config. The server is `export.serving_double`, not TensorFlow
Serving's own program, whose figures are not known here.

{head}
|{" --- |" * (head.count("|") - 1)}
{chr(10).join(phase.row() for phase in phases)}

{asked} requests in {wall:.1f} minutes, none failed. The server held {at_rest:.0f} MB after its
warm-up and {phases[-1].megabytes:.0f} MB at the end. `others` is the share of the machine that
other processes had: the busier, the longer the times."""


def _wav(sound: np.ndarray, rate: int) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setparams((sound.shape[1], 2, rate, 0, "NONE", None))
        writer.writeframes(sound.astype("<i2").tobytes())
    return content.getvalue()


def _megabytes(process: int) -> float:
    """Resident, now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    sys.exit(main())
