"""Deep clustering next to asteroid's network on PyTorch: a step of training, by turns in one run.

    python benchmarks/deep_clustering.py --torch-python TORCH [--threads 1] [--repeats 10]
        [--only TEXT ...] [--quick] > benchmarks/results/deep_clustering.txt

TORCH is the interpreter of an environment with torch, asteroid 0.7 and asteroid-filterbanks. Its
network is that of asteroid's recipe (egs/wsj0-mix/DeepClustering), which no package holds, of
asteroid's own recurrent layer and loss. Both sides have the same weights and magnitudes; a step is
the loss with its bins above -40 dB, its gradients, clipping by 200 and RMSprop. How sides are run,
measured and compared is separators.py's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import separators
from separators_sides import _stand_in, serve

SIZES = [
    {"variant": "paper", "batch": 4, "frames": 100},
    {"variant": "paper", "batch": 16, "frames": 100},
    {"variant": "asteroid", "batch": 4, "frames": 250},
    {"variant": "small", "batch": 8, "frames": 101},
]
QUICK = [{"variant": "tiny", "batch": 2, "frames": 20}]
CLIP, RATE = 200.0, 1e-4


class Side(separators.Side):
    """One process of this file."""

    program = Path(__file__)


class Row(separators.Row):
    """A case on both sides, whose weights and magnitudes asteroid's side writes."""

    kind = Side

    def start(self) -> None:
        peer = self._peer("torch", self.options.torch_python, "asteroid's network")
        self.sides = [self._side("kzoo", sys.executable, "kzoo"), peer]


def torch_side(case: dict, folder: Path, threads: int) -> Callable[[], np.float64]:
    """asteroid's, which writes its weights and magnitudes for the other side."""
    import torch

    _stand_in("pytorch_lightning", "torch_optimizer", "pb_bss_eval", "torch_stoi", "torchaudio")
    from asteroid.losses import deep_clustering_loss
    from asteroid.masknn.recurrent import SingleRNN

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    batch, frames, bins = case["batch"], case["frames"], case["bins"]
    sources = torch.rand(batch, 2, bins, frames) ** 4
    mixture = sources.sum(1)
    recurrent = SingleRNN("LSTM", bins, case["hidden"], case["n_layers"], bidirectional=True)
    dense = torch.nn.Linear(2 * case["hidden"], bins * case["embedding"])
    parts = {"masker.rnn": recurrent, "masker.embedding_layer": dense}
    weights = {f"{at}.{k}": v for at, part in parts.items() for k, v in part.state_dict().items()}
    arrays = {name: value.numpy().copy() for name, value in weights.items()}
    np.savez(folder / "weights.npz", **arrays)
    np.save(folder / "sources.npy", sources.numpy().transpose(0, 1, 3, 2)[..., None])
    parameters = [p for part in parts.values() for p in part.parameters()]
    optimizer = torch.optim.RMSprop(parameters, lr=RATE)
    index = sources.argmax(1)
    decibels = 20 * torch.log10(mixture)
    active = decibels > decibels.flatten(1).max(1).values[:, None, None] - 40
    network = torch.nn.ModuleList(parts.values()).train()

    def step():
        optimizer.zero_grad()
        hidden = network[0](torch.log(mixture + 1e-8).transpose(1, 2))
        found = torch.tanh(network[1](hidden)).view(batch, frames, bins, -1)
        found = found.transpose(1, 2).reshape(batch, bins * frames, -1)
        found = found / (torch.norm(found, p=2, dim=-1, keepdim=True) + 1e-8)
        loss = deep_clustering_loss(found, index, binary_mask=active).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        return np.float64(loss.item())

    return step


def kzoo_side(case: dict, folder: Path, threads: int) -> Callable[[], np.float64]:
    """The core as `kzoo train` takes its steps, without the transform before it."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    from kzoo import losses, models
    from kzoo.convert.asteroid import _lstm
    from kzoo.models import deep_clustering
    from kzoo.training.compiling import DomainLoss
    from kzoo.training.optimizers import optimizer

    # asteroid's magnitudes and no dropout, as the other side has it
    changes = {"magnitudes": "asteroid", "relative_db": None, "dropout": 0.0}
    size = models.sizes("deep_clustering", variant=case["variant"], **changes)
    core = deep_clustering.core(size)
    with np.load(folder / "weights.npz") as arrays:
        weights = dict(arrays)
    for number in range(size.n_layers):
        for name, variable in _lstm(
            core.get_layer(f"lstm{number + 1}"), "masker.rnn.rnn", number, weights
        ).items():
            value = weights[name]
            variable.assign(value.T if value.ndim == 2 else value)
    dense = core.get_layer("embedding_dense")
    dense.kernel.assign(weights["masker.embedding_layer.weight"].T)
    dense.bias.assign(weights["masker.embedding_layer.bias"])
    sources = np.load(folder / "sources.npy")  # [batch, 2, frames, bins, 1]
    mixture = sources.sum(axis=1)
    magnitude = keras.Input(mixture.shape[1:], name="magnitude")
    points = mixture.shape[1] * size.bins
    found = keras.layers.Reshape((points, size.embedding))(core(magnitude))
    graph = keras.Model(magnitude, found)
    loss = DomainLoss(losses.get("deep_clustering"), lambda targets: targets)
    rule = optimizer("rmsprop", learning_rate=RATE, global_clipnorm=CLIP)
    graph.compile(optimizer=rule, loss=loss, jit_compile=False)
    rule.build(graph.trainable_variables)
    targets = np.concatenate([sources, mixture[:, None]], axis=1)
    return lambda: np.float64(graph.train_on_batch(mixture, targets))


SIDES = {"torch": torch_side, "kzoo": kzoo_side}


def title(case: dict) -> str:
    """Of a row."""
    return (
        f"deep_clustering {case['variant']}, {case['n_layers']} BLSTMs of {case['hidden']}, "
        f"batch {case['batch']}, {case['frames']} frames, step"
    )


def main() -> None:
    """All rows, one after the other."""
    options = separators.command_line(__doc__.split("\n")[0], threads=1, repeats=10).parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(separators.ROOT))
    from kzoo.models import deep_clustering

    print(separators.header(__file__, options, [], ["asteroid"]), flush=True)
    cases = []
    for case in QUICK if options.quick else SIZES:
        size = deep_clustering.VARIANTS[case["variant"]]
        names = ("bins", "hidden", "n_layers", "embedding")
        cases.append({**case, **{name: getattr(size, name) for name in names}})
    sys.exit(separators.measured(cases, title, Row, options))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in SIDES:
        serve(SIDES[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
