"""TensorFlow 1 checkpoints: arrays by name, without what only their training needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def read_checkpoint(folder: str | Path) -> dict[str, np.ndarray]:
    """Arrays by name from a TensorFlow checkpoint folder (or prefix), without training state.

    Raises FileNotFoundError where there is none.
    """
    import tensorflow as tf

    prefix = tf.train.latest_checkpoint(str(folder)) or str(folder)
    if not Path(prefix + ".index").exists():
        # The file called `checkpoint` may hold another machine's path: the index is what counts.
        found = sorted(Path(folder).glob("*.index"))
        if not found:
            raise FileNotFoundError(f"{folder} holds no TensorFlow checkpoint (no .index file)")
        prefix = str(found[-1].with_suffix(""))
    reader = tf.train.load_checkpoint(prefix)
    names = [name for name in reader.get_variable_to_shape_map() if not is_training_state(name)]
    return {name: reader.get_tensor(name) for name in sorted(names)}


def is_training_state(name: str) -> bool:
    """Whether a checkpoint name belongs to the optimizer or to the step counter."""
    last = name.rsplit("/", 1)[-1]
    return last in ("Adam", "Adam_1", "beta1_power", "beta2_power", "global_step")
