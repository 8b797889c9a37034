"""Open-Unmix next to openunmix on PyTorch: steps of training and forward passes, in one run.

    python benchmarks/open_unmix.py --torch-python TORCH [--threads 1] [--repeats 5]
        [--only TEXT ...] [--quick] > benchmarks/results/open_unmix.txt

TORCH is the interpreter of an environment with torch and openunmix 1.3, whose other dependencies
are stood in for by empty modules. Both sides hold the same weights, made by PyTorch and read by
kzoo.convert, and get the same magnitudes of 255 frames; a step is that of the authors' training,
squared differences and Adam. How sides are run, measured and compared is separators.py's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import separators
import separators_sides

FRAMES = 255
CASES = [
    *({"variant": "umxhq", "task": "step", "batch": batch} for batch in (1, 4, 16)),
    *({"variant": variant, "task": "forward", "batch": 1} for variant in ("umxhq", "umxl")),
]
QUICK = [{"variant": "umxhq", "task": "step", "batch": 1}]
RATE = 1e-3


class Side(separators.Side):
    """One process of this file."""

    program = Path(__file__)


class Row(separators.Row):
    """A case on both sides."""

    kind = Side

    def start(self) -> None:
        peer = self._peer("torch", self.options.torch_python, "openunmix")
        self._side("convert", sys.executable, "kzoo.convert").close()
        self.sides = [self._side("kzoo", sys.executable, "kzoo"), peer]


def torch_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The authors' network with new weights, which it writes with the input for the other side."""
    separators_sides._stand_in("torchaudio", "tqdm")
    import torch
    from openunmix.model import OpenUnmix

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = OpenUnmix(
        nb_bins=2049,
        nb_channels=2,
        max_bin=1487,
        hidden_size={"umxl": 1024}.get(case["variant"], 512),
    )
    mixture = torch.randn(case["batch"], 2, 2049, FRAMES).abs()
    targets = 0.5 * mixture
    # theirs is [batch, channels, bins, frames]
    np.save(folder / "mixture.npy", mixture.permute(0, 3, 2, 1).numpy())
    torch.save(network.state_dict(), folder / "weights.pth")
    if case["task"] == "forward":
        network.eval()

        def forward():
            with torch.inference_mode():
                return network(mixture).permute(0, 3, 2, 1)[:, None].numpy()

        return forward
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(network(mixture), targets)
        loss.backward()
        optimizer.step()
        return np.float64(loss.item())

    return step


def convert_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The authors' weights into a file of Keras, in a process whose memory nobody counts."""
    from kzoo.convert import open_unmix

    weights = open_unmix.read({"vocals": folder / "weights.pth"})
    model = open_unmix.from_weights(weights, sample_rate=44100, hop_length=1024)
    model.get_layer("open_unmix_core").save_weights(case["weights"])
    return lambda: np.asarray(model.count_params())


def kzoo_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The network as `kzoo separate` runs it and as `kzoo train` takes its steps."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    from kzoo import losses
    from kzoo.engines import tensorflow
    from kzoo.models import open_unmix
    from kzoo.training.allocation import keep_freed_memory
    from kzoo.training.compiling import DomainLoss
    from kzoo.training.optimizers import optimizer

    mixture = np.load(folder / "mixture.npy")
    network = open_unmix.core(["vocals"], open_unmix.VARIANTS[case["variant"]])
    network.load_weights(case["weights"])
    magnitudes = keras.Input(mixture.shape[1:], name="magnitude")
    model = keras.Model(magnitudes, network(magnitudes))
    if case["task"] == "forward":
        function = tensorflow.compiled(model, None)
        return lambda: function(mixture)
    keep_freed_memory()
    adam = optimizer("adam", learning_rate=RATE)
    adam.epsilon = 1e-8  # PyTorch's
    loss = DomainLoss(losses.get(name="l2"), lambda sources: sources)
    model.compile(optimizer=adam, loss=loss, jit_compile=False)
    adam.build(model.trainable_variables)
    targets = 0.5 * mixture[:, None]
    return lambda: np.float64(model.train_on_batch(mixture, targets))


SIDES = {"torch": torch_side, "convert": convert_side, "kzoo": kzoo_side}


def title(case: dict) -> str:
    """Of a row."""
    return f"open_unmix {case['variant']}, {case['task']}, {case['batch']} x {FRAMES} frames"


def main() -> None:
    """All rows, one after the other."""
    options = separators.command_line(__doc__.split("\n")[0], threads=1, repeats=5).parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.path.insert(0, str(separators.ROOT))
    print(separators.header(__file__, options, [], ["openunmix"]), flush=True)
    cases = QUICK if options.quick else CASES
    sys.exit(separators.measured(cases, title, Row, options))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in SIDES:
        separators_sides.serve(SIDES[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
