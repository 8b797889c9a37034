"""A WaveNet next to PyTorch: samples a second, the time of a training step, memory over length.

    python benchmarks/generation.py
    python benchmarks/generation.py --peer PYTHON    # of an environment with torch
    python benchmarks/generation.py --only memory    # or speed, training

The network is that of configs/generation/wavenet_violin_free.yaml, with weights from a seed; times
are those of computing, which other work on the machine changes little: of one core, so run it as
`OMP_NUM_THREADS=1 taskset -c 0 python ...`.

speed       samples a second of one voice and of 16: by numba, by XLA, by a network that hears all
            of the past again for each sample ("no cache"), by LiteRT from an exported file (one
            voice), and by two peers with a cache in which
            each convolution keeps its input: the same network, written in PyTorch, and r9y9's, of
            the package wavenet_vocoder 0.1.1 (MIT) where PYTHON has it. That one has a first
            convolution of one sample, and draws one voice alone: 16 are run without drawing.
training    seconds a step of 2 examples of 8000 samples, Adam, one core: `fit`'s compiled step, and
            the same network in PyTorch, eager, as its programs train it.
memory      peak resident memory of a process that draws 10 and 60 s.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time

STACKS, DEPTH, RESIDUAL, GATE, SKIP, LEVELS = 2, 10, 32, 32, 64, 256
SIZES = (STACKS, DEPTH, RESIDUAL, GATE, SKIP, LEVELS)
EXAMPLES, SAMPLES, STEPS = 2, 8000, 6

PEER = """
import json, sys, time
import torch
torch.set_num_threads(1)
stacks, depth, residual, gate, skip, levels, batch, samples = map(int, sys.argv[1:])
L = torch.nn.Linear
dilations = [2 ** k for _ in range(stacks) for k in range(depth)]
first = torch.nn.Embedding(levels, residual)
gates = [L(2 * residual, 2 * gate) for _ in dilations]
res, skips = ([L(gate, n) for _ in dilations] for n in (residual, skip))
one, two = L(skip, skip), L(skip, levels)
buffers = [torch.zeros(batch, d + 1, residual) for d in dilations]
code = torch.full((batch,), levels // 2)
begun = None
with torch.no_grad():
    for n in range(samples + 20):
        if n == 20:
            begun = time.process_time()
        x, total = first(code), 0
        for k, buffer in enumerate(buffers):
            buffer[:, :-1] = buffer[:, 1:].clone()
            buffer[:, -1] = x
            a, b = gates[k](torch.cat([buffer[:, 0], x], 1)).chunk(2, 1)
            z = torch.tanh(a) * torch.sigmoid(b)
            x, total = x + res[k](z), total + skips[k](z)
        said = two(torch.relu(one(torch.relu(total))))
        code = torch.multinomial(torch.softmax(said, 1), 1)[:, 0]
print(json.dumps(samples * batch / (time.process_time() - begun)))
"""

R9Y9 = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import torch
from wavenet_vocoder import WaveNet
torch.set_num_threads(1)
stacks, depth, residual, gate, skip, levels, batch, samples = map(int, sys.argv[1:])
net = WaveNet(out_channels=levels, layers=stacks * depth, stacks=stacks, residual_channels=residual,
              gate_channels=2 * gate, skip_out_channels=skip, kernel_size=2, dropout=0.0)
net.make_generation_fast_()
net.eval()
start = torch.zeros(batch, levels, 1)
start[:, levels // 2] = 1
def run(count):
    begun = time.process_time()
    with torch.no_grad():
        test = start.repeat(1, 1, 1)
        net.incremental_forward(test_inputs=test, T=count, quantize=batch == 1)
    return time.process_time() - begun
run(20)
print(json.dumps(samples * batch / run(samples)))
"""

PEER_TRAINING = """
import json, sys, time
import torch
torch.set_num_threads(1)
stacks, depth, residual, gate, skip, levels, batch, samples, steps = map(int, sys.argv[1:])
C = torch.nn.Conv1d
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.dilations = [2 ** k for _ in range(stacks) for k in range(depth)]
        M = torch.nn.ModuleList
        self.first = C(levels, residual, 2, bias=False)
        self.gates = M(C(residual, 2 * gate, 2, dilation=d) for d in self.dilations)
        self.res = M(C(gate, residual, 1) for _ in self.dilations)
        self.skips = M(C(gate, skip, 1) for _ in self.dilations)
        self.one, self.two = C(skip, skip, 1), C(skip, levels, 1)
    def forward(self, codes):
        x = torch.nn.functional.one_hot(codes, levels).float().transpose(1, 2)
        x = self.first(torch.nn.functional.pad(x, (1, 0)))
        total = 0
        for d, gates, res, skips in zip(self.dilations, self.gates, self.res, self.skips):
            a, b = gates(torch.nn.functional.pad(x, (d, 0))).chunk(2, 1)
            z = torch.tanh(a) * torch.sigmoid(b)
            x, total = x + res(z), total + skips(z)
        return self.two(torch.relu(self.one(torch.relu(total))))
net = Net()
adam = torch.optim.Adam(net.parameters(), 1e-3)
codes = torch.randint(0, levels, (batch, samples + 1))
def step():
    loss = torch.nn.functional.cross_entropy(net(codes[:, :-1]), codes[:, 1:])
    adam.zero_grad()
    loss.backward()
    adam.step()
step(); step()
begun = time.process_time()
for _ in range(steps):
    step()
print(json.dumps((time.process_time() - begun) / steps))
"""


def built():
    """(model, size), its weights from a seed."""
    import keras

    from kzoo.models.wavenet import WaveNet, build

    keras.utils.set_random_seed(0)
    size = WaveNet(stacks=STACKS, depth=DEPTH, residual=RESIDUAL, gate=GATE, skip=SKIP)
    return build(size), size


def of_a_file(model, size, folder: str):
    """A generator by the TFLite file of the model, made in `folder`."""
    import dataclasses

    from kzoo import api, presets
    from kzoo.engines import exported
    from kzoo.generation.exported import FileGenerator

    card = {
        "name": "wavenet", "task": "generation", "sample_rate": size.sample_rate,
        "trained": "not at all: weights of a seed",
        "model": {"name": "wavenet", "options": dataclasses.asdict(size)},
    }  # fmt: skip
    presets.save_to_preset(model, f"{folder}/preset", card)
    api.export(f"{folder}/preset", "tflite", folder)
    return FileGenerator(exported.opened(f"{folder}/wavenet_stream.tflite"))


def asked(python: str, program: str, *numbers: int) -> float | str:
    """What a program of a peer prints, or why it does not."""
    words = [python, "-c", program, *map(str, numbers)]
    found = subprocess.run(words, capture_output=True, text=True)
    if found.returncode:
        return f"not run: {found.stderr.strip().splitlines()[-1][:90]}"
    return json.loads(found.stdout)


def said(name: str, found: float | str, unit: str, digits: int = 0) -> None:
    print(
        f"{name}: {found if isinstance(found, str) else f'{found:.{digits}f} {unit}'}", flush=True
    )


def speed(peer: str | None) -> None:
    """Print samples a second."""
    import numpy as np

    from kzoo.generation.generator import Generator

    model, size = built()
    print(f"{model.count_params()} weights, {size.receptive_field} samples heard")

    def drawn(generator, samples):
        list(generator.blocks(20))  # compiles
        begun = time.process_time()
        for _ in generator.blocks(samples):
            pass
        return samples * generator.batch / (time.process_time() - begun)

    def uncached(batch):
        past = {"past": np.full((batch, size.receptive_field, 1), LEVELS // 2)}
        model.predict_on_batch(past)  # compiles
        begun = time.process_time()
        for _ in range(5):
            model.predict_on_batch(past)
        return 5 * batch / (time.process_time() - begun)

    for batch in (1, 16):
        voices = "one voice" if batch == 1 else f"{batch} voices"
        for engine, samples in (("numba", 16000), ("xla", 4000)):
            found = drawn(Generator(model, size, batch=batch, engine=engine), samples)
            said(f"{engine}, {voices}", found, "samples/s")
        if batch == 1:
            with tempfile.TemporaryDirectory() as folder:
                found = drawn(of_a_file(model, size, folder), 16000)
            said(f"LiteRT, {voices}", found, "samples/s")
        said(f"no cache, {voices}", uncached(batch), "samples/s", 1)
        if peer:
            count = 1000 if batch == 1 else 300
            said(f"PyTorch, {voices}", asked(peer, PEER, *SIZES, batch, count), "samples/s")
            drawing = "" if batch == 1 else ", not drawn"
            found = asked(peer, R9Y9, *SIZES, batch, count)
            said(f"wavenet_vocoder, {voices}{drawing}", found, "samples/s")


def training(peer: str | None) -> None:
    """Print seconds a step."""
    import keras
    import numpy as np

    from kzoo.losses import code_cross_entropy

    model, _ = built()
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=code_cross_entropy, jit_compile=False)
    codes = np.random.default_rng(0).integers(0, LEVELS, (EXAMPLES, SAMPLES + 1, 1), np.int32)
    pair = {"past": codes[:, :-1]}, codes[:, 1:]
    model.train_on_batch(*pair)  # compiles
    begun = time.process_time()
    for _ in range(STEPS):
        model.train_on_batch(*pair)
    said("a step, TensorFlow", (time.process_time() - begun) / STEPS, "s", 3)
    if peer:
        found = asked(peer, PEER_TRAINING, *SIZES, EXAMPLES, SAMPLES, STEPS)
        said("a step, PyTorch", found, "s", 3)


def memory(seconds: float) -> None:
    """Print the peak of this process, which draws so many seconds."""
    from kzoo.generation.generator import Generator

    model, size = built()
    for _ in Generator(model, size, engine="numba").blocks(round(seconds * size.sample_rate)):
        pass
    print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--only", choices=("speed", "training", "memory"))
    parser.add_argument("--draw", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.draw:
        return memory(options.draw)
    if options.only in (None, "speed"):
        speed(options.peer)
    if options.only in (None, "training"):
        training(options.peer)
    if options.only in (None, "memory"):
        for seconds in (10, 60):
            words = [sys.executable, __file__, "--draw", str(seconds)]
            found = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            said(f"memory of {seconds} s", json.loads(found.splitlines()[-1]), "MiB")


if __name__ == "__main__":
    main()
