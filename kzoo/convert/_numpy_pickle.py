"""Numbers and arrays of NumPy in a pickle, which may call nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import multiarray

from kzoo.convert._torch_pickle import MOST_BYTES, short


def _bytes_of(text: str, encoding: str = "latin1") -> bytes:
    """What old protocols write for bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes of it are in {short(encoding)}, not latin1")
    return text.encode(encoding)


_CALLED = {
    ("_codecs", "encode"): _bytes_of,
    ("numpy", "dtype"): np.dtype,
    ("numpy", "ndarray"): np.ndarray,
    **{
        (f"numpy.{core}.multiarray", name): getattr(multiarray, name)
        for core in ("core", "_core")
        for name in ("_reconstruct", "scalar")
    },
}
# Objects of which the attributes are kept, and the rest is not looked at.
_KEPT = {
    ("ddsp.training.postprocessing", "QuantileTransformer"),
    ("sklearn.preprocessing._data", "QuantileTransformer"),
    ("sklearn.preprocessing.data", "QuantileTransformer"),
    ("numpy.random._pickle", "__bit_generator_ctor"),
    ("numpy.random._pickle", "__randomstate_ctor"),
}


class _Attributes(dict):
    """An object's attributes by name."""

    def __init__(self, *_):
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        self.update(state if isinstance(state, dict) else {})


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CALLED:
            return _CALLED[module, name]
        if (module, name) in _KEPT:
            return _Attributes
        raise ValueError(
            f"it wants {short(module)}.{short(name)}, which is not known to be harmless: nothing "
            "of it was run"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it refers to data of a kind that is not known")


def read_numbers(path: str | Path) -> Any:
    """What a pickle holds: dicts, lists, texts, numbers and arrays; objects are their attributes.

    Raises ValueError, in one line, for a file that is damaged, too large, or calls anything that is
    not known to be harmless.
    """
    path = Path(path)
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path}: has more than {MOST_BYTES >> 20} MB, which no statistics have")
    try:
        with open(path, "rb") as file:
            return _Unpickler(file).load()
    except (
        ValueError, TypeError, LookupError, AttributeError, EOFError, MemoryError, OverflowError,
        pickle.UnpicklingError,
    ) as error:  # fmt: skip
        raise ValueError(f"{path}: cannot be read: {' '.join(str(error).split())[:160]}") from None
