"""Samples a second of a WaveNet: by numba, by XLA, without a cache, and by PyTorch with its cache.

    python benchmarks/generation.py
    python benchmarks/generation.py --peer PYTHON    # of an environment with torch

The network is that of configs/generation/wavenet_violin_free.yaml, with weights from a seed;
times are those of computing, which other work on the machine changes little. The peer is the same
network in PyTorch as https://github.com/r9y9/wavenet_vocoder generates: each convolution keeps
its input in a buffer that is shifted, and is a linear layer of it.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

STACKS, DEPTH, RESIDUAL, GATE, SKIP, LEVELS = 2, 10, 32, 32, 64, 256

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has torch")
    peer = parser.parse_args().peer

    import numpy as np

    from kzoo.generation.generator import Generator
    from kzoo.models.wavenet import WaveNet, build

    size = WaveNet(stacks=STACKS, depth=DEPTH, residual=RESIDUAL, gate=GATE, skip=SKIP)
    model = build(size)
    print(f"{model.count_params()} weights, {size.receptive_field} samples heard")

    def speed(batch, samples, **options):
        generator = Generator(model, size, batch=batch, **options)
        list(generator.blocks(20))  # compiles
        begun = time.process_time()
        for _ in generator.blocks(samples):
            pass
        return samples * batch / (time.process_time() - begun)

    for batch in (1, 16):
        print(f"numba, {batch} voices: {speed(batch, 16000, engine='numba'):.0f} samples/s")
        print(f"xla, {batch} voices: {speed(batch, 2000, engine='xla'):.0f} samples/s")
        if peer:
            numbers = map(str, (STACKS, DEPTH, RESIDUAL, GATE, SKIP, LEVELS, batch, 200))
            found = subprocess.run(
                [peer, "-c", PEER, *numbers], check=True, capture_output=True, text=True
            )
            print(f"PyTorch, {batch} voices: {json.loads(found.stdout):.0f} samples/s")
    past = np.full((1, size.receptive_field, 1), LEVELS // 2)
    begun = time.process_time()
    for _ in range(5):
        model({"past": past})
    print(f"without a cache: {5 / (time.process_time() - begun):.1f} samples/s")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    speed(1, 160_000, engine="numba")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"memory of ten times the length: {grown / 1024:+.0f} MiB")


if __name__ == "__main__":
    sys.exit(main())
