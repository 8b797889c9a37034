"""The methods by name, each described once, for `kzoo separate --method` and `kzoo evaluate`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

from kzoo.classical.base import Method
from kzoo.classical.hpss import Hpss
from kzoo.classical.ica import FastIca
from kzoo.classical.isa import Isa
from kzoo.classical.iva import AuxIva
from kzoo.classical.nmf import Nmf
from kzoo.classical.repet import Repet
from kzoo.classical.repet_sim import RepetSim, RepetSimLibrosa
from kzoo.hints import nearest
from kzoo.separation import BlockSeparator, Progress

METHODS: dict[str, type[Method]] = {
    "repet": Repet,
    "repet_sim": RepetSim,
    "repet_sim_librosa": RepetSimLibrosa,
    "nmf": Nmf,
    "isa": Isa,
    "hpss": Hpss,
    "fastica": FastIca,
    "auxiva": AuxIva,
}


def method(name: str, **options: Any) -> Method:
    """A method by its name, with those of its options that are not to be the default.

    Raises ValueError for a name or an option that there is not.
    """
    if name not in METHODS:
        hint = nearest(name, METHODS, f"there are {', '.join(METHODS)}")
        raise ValueError(f"no method is called {name!r}; {hint}")
    known = [field.name for field in dataclasses.fields(METHODS[name])]
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; it has {', '.join(known)}")
    return METHODS[name](**options)


def method_of(text: str) -> Method:
    """A method from "NAME" or "NAME:OPTION=VALUE,OPTION=VALUE", such as "nmf:components=40".

    Raises ValueError as `method`, and for a value of another type.
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    types = typing.get_type_hints(METHODS[name]) if name in METHODS else {}
    for setting in filter(None, rest.split(",")):
        option, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"an option is given as NAME=VALUE; got {setting!r} in {text!r}")
        kind = types.get(option)
        try:
            options[option] = kind(value) if kind in (int, float) else value
        except ValueError:
            raise ValueError(f"{option} of {name} is a number; got {value!r}") from None
    return method(name, **options)


def separate(
    waveform: np.ndarray,
    sample_rate: int,
    name: str,
    *,
    progress: Progress | None = None,
    **options: Any,
) -> Mapping[str, np.ndarray]:
    """Separate `[samples, channels]` (or `[samples]`) by a method without training.

    Returns {source: array of the same shape}. options: those of the method's class.
    Raises ValueError as `method`, for a waveform that is no sound, or for channels that the method
    cannot separate; ImportError where librosa or scikit-learn is missing; Cancelled when
    `progress` says so.
    """
    chosen = method(name, **options)
    channels = 1 if np.ndim(waveform) == 1 else np.shape(waveform)[1]
    separator = BlockSeparator(chosen.system(sample_rate, channels))
    return separator.separate(waveform, sample_rate, progress=progress)
