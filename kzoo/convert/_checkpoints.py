"""Files of TensorFlow 1 and of HDF5: arrays by name, without what only their training needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


def read_checkpoint(folder: str | Path) -> dict[str, np.ndarray]:
    """Arrays by name from a TensorFlow checkpoint folder (or prefix), without training state.

    Raises FileNotFoundError where there is none, and ValueError for one that is damaged.
    """
    import tensorflow as tf

    found = sorted(Path(folder).glob("*.index"))
    # Of one the index counts: the file called `checkpoint` may hold another machine's path.
    prefix = tf.train.latest_checkpoint(str(folder)) if len(found) > 1 else None
    if prefix is None:
        prefix = str(found[-1]).removesuffix(".index") if found else str(folder)
    if not Path(prefix + ".index").exists():
        raise FileNotFoundError(f"{folder} holds no TensorFlow checkpoint (no .index file)")
    try:
        # Not `load_checkpoint`, to which a folder's name is no prefix of files without one.
        reader = tf.compat.v1.train.NewCheckpointReader(prefix)
        names = [name for name in reader.get_variable_to_shape_map() if not is_training_state(name)]
        return {name: reader.get_tensor(name) for name in sorted(names)}
    except (tf.errors.OpError, RuntimeError, IndexError) as error:
        raise ValueError(f"{prefix}: is damaged ({str(error).splitlines()[0][:160]})") from None


def hdf5_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """{path in the file: array} of all arrays; ValueError for a file that is no HDF5."""
    import h5py

    found: dict[str, np.ndarray] = {}

    def take(name: str, item) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)
    except OSError as error:
        raise ValueError(f"{path}: is no HDF5 file ({error})") from None
    return found


def numbered(kind: str, index: int) -> str:
    """The name that a checkpoint has for the layer number `index` of its kind."""
    return f"{kind}_{index}" if index else kind


def layer_variables(layer, name: str) -> dict[str, object]:
    """The variables of a layer, or of a batch norm, by their names in the checkpoint."""
    parts = NORM_PARTS if hasattr(layer, "moving_mean") else ("kernel", "bias")
    return {f"{name}/{part}": getattr(layer, part) for part in parts}


def is_training_state(name: str) -> bool:
    """Whether a checkpoint name belongs to the optimizer or to the step counter."""
    last = name.rsplit("/", 1)[-1]
    return last in ("Adam", "Adam_1", "beta1_power", "beta2_power", "global_step")
