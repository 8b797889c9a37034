"""How samples are drawn, as far as it needs no backend: requests, noise, primes and positions."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from kzoo import extras, files
from kzoo.dsp.quantisation import amplitudes_of, codes_of

BLOCK = 2000  # samples of a call of the compiled loop
Engine = Literal["auto", "numba", "xla"]


class Drawing(NamedTuple):
    """How a sample is drawn.

    temperature: 0 takes the most likely code, or a component's mean; 1 is as the network says.
    top_k: of the most likely codes alone; None for all.
    """

    temperature: float = 1.0
    top_k: int | None = None

    def check(self, levels: int | None = None, output: str = "softmax") -> None:
        """Raise ValueError for what cannot be drawn of a network with this output.

        levels: codes, where they are known.
        """
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 or above; got {self.temperature}")
        if self.top_k is not None and output != "softmax":
            raise ValueError(f"top_k is for codes; this model gives {output}")
        if self.top_k is not None and not 0 < self.top_k <= (levels or self.top_k):
            most = f"1 to {levels} codes" if levels else "1 or more"
            raise ValueError(f"top_k must be {most}; got {self.top_k}")


AS_IT_IS = Drawing()


class Position(NamedTuple):
    """How far a sound has come: what goes on from here is what would have come next.

    state: of the sampler. last: what was drawn or heard last, `[voices, 1]`. at: samples heard so
    far, `drawn` of them not in the prime.
    """

    state: Mapping[str, np.ndarray]
    last: np.ndarray
    at: int = 0
    drawn: int = 0

    def save(self, path: str | Path) -> None:
        """Write it to a file of NumPy's, whole or not at all."""
        arrays = {f"state_{name}": array for name, array in self.state.items()}
        numbers = json.dumps({"at": self.at, "drawn": self.drawn})
        with files.replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, last=self.last, numbers=numbers, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Position:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            state = {n[len("state_") :]: arrays[n] for n in arrays.files if n.startswith("state_")}
            return cls(state, arrays["last"], **json.loads(str(arrays["numbers"])))


class Block(NamedTuple):
    """Samples `[voices, samples]`, full scale 1.0, what was drawn from, and how to go on.

    entropies: in bits, of each code's distribution; for mixtures those of the component's.
    position: None of a file, which begins anew each time.
    """

    samples: np.ndarray
    entropies: np.ndarray
    position: Position | None


def noise_of(seed: int, drawn: int, samples: int, voices: int) -> np.ndarray:
    """From 0 to 1, `[samples, voices, 2]`, of the samples behind the first `drawn`."""
    bits = np.random.PCG64(seed)
    bits.advance(drawn * voices * 2)
    return np.random.Generator(bits).random((samples, voices, 2)).astype(np.float32)


def chosen(engine: Engine, name: str) -> str:
    """What runs the loop of an architecture: "numba", where it is a WaveNet's, or "xla".

    Raises ImportError for numba where it is not installed, ValueError for what it does not have.
    """
    able = name in ("wavenet", "music_translation")
    if engine == "auto":
        return "numba" if able and importlib.util.find_spec("numba") else "xla"
    if engine == "numba":
        extras.package("numba", "the engine numba", "generate")
        if not able:
            raise ValueError(f"the engine numba has WaveNets alone; {name} needs xla")
    elif engine != "xla":
        raise ValueError(f"engine must be one of auto, numba, xla; got {engine!r}")
    return engine


class Generative:
    """What draws sound of `batch` voices: the sizes of its network, and what it is conditioned on.

    wanted: names of the network's inputs beside the past.
    """

    def __init__(self, size: Any, batch: int, wanted: Collection[str]):
        self.size, self.batch, self._wanted = size, batch, wanted

    def _known(self, conditions, samples: int) -> dict[str, np.ndarray]:
        known = {name: np.asarray(x) for name, x in (conditions or {}).items()}
        if set(known) != set(self._wanted):
            raise ValueError(
                f"the model's conditions are {', '.join(sorted(self._wanted)) or 'none'}; got "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        for name, x in known.items():
            known[name] = np.broadcast_to(x, (self.batch, *x.shape[1:]))
            if name != "speaker" and x.shape[1] * self.size.frame_samples < samples:
                rate = self.size.sample_rate
                raise ValueError(
                    f"{name} ends after {x.shape[1] * self.size.frame_samples / rate:.2f} s, and "
                    f"{samples / rate:.2f} s are wanted of it: give more, or ask for less"
                )
        return known

    def _primes(self, prime: np.ndarray) -> np.ndarray:
        """As the network hears it, `[voices, samples]`; ValueError for one that is too short."""
        samples, least = prime.shape[-1], self.size.context_samples() or 1
        if samples < least:
            raise ValueError(
                f"the prime must be as long as what the network hears, {least} samples "
                f"({least / self.size.sample_rate:.2f} s); got {samples}"
            )
        return self._heard(np.broadcast_to(np.atleast_2d(prime), (self.batch, samples)))

    def _heard(self, amplitudes: np.ndarray) -> np.ndarray:
        """As the network hears them, float32: codes, or the amplitudes themselves."""
        if self.size.output == "softmax":
            amplitudes = codes_of(amplitudes, self.size.levels, self.size.quantisation)
        return np.asarray(amplitudes, np.float32)

    def _amplitudes(self, drawn: np.ndarray) -> np.ndarray:
        if self.size.output == "softmax":
            return amplitudes_of(drawn, self.size.levels, self.size.quantisation)
        return drawn
