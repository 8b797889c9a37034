"""Which kernels of a TFLite file may have 8 bits: as many as a limit in dB leaves.

The noise of rounding one kernel hardly depends on that of another, so it is measured of each alone,
and kernels are taken by noise for the bytes that they save until their sum is at the limit. The
limit is held where the outputs are loud and on the passage where one of them is faintest: there
8 bits everywhere left noise as loud as the quiet voice of a song, at 0.13 dB less SI-SDR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kzoo.deploy import parity
from kzoo.deploy.formats.kernels import BYTE, HALF, kernels, stored
from kzoo.deploy.interpreter import open_litert
from kzoo.deploy.proof import Proof

_AUDIBLE = 1e-3  # of the reference's energy, from where on an output is faint and not silent
_LEAST = 1e-3  # of the bytes of all kernels, for which the noise of one is measured
_MARGIN = 0.8  # of the noise that is allowed, as the kernels' noises do not quite add up

Answer = dict[str, np.ndarray]


def shrink(content: bytes, proof: Proof) -> bytes:
    """The TFLite model `content` with its kernels in 8 bits where the limits leave it, else in 16.

    Raises ParityError where 16 bits are too few already, and ImportError where LiteRT is missing.
    """
    known = kernels(content)
    noise = _Noise(content, proof)
    plan = dict.fromkeys(known, HALF)
    total = noise.of(stored(content, plan))
    if total.max() > 1:
        raise parity.ParityError(
            f"kernels in 16 bits leave {noise.worst(total)}, so that none can have 8: use fp32"
        )
    least = _LEAST * sum(size for _, size in known.values())
    worth = [buffer for buffer, (_, size) in known.items() if size >= least]
    alone = {buffer: noise.of(stored(content, {buffer: BYTE})) for buffer in worth}
    cheapest = sorted(worth, key=lambda buffer: alone[buffer].max() / known[buffer][1])
    taken: list[int] = []
    for buffer in cheapest:
        if (total + alone[buffer]).max() <= _MARGIN:
            total = total + alone[buffer]
            taken.append(buffer)
    while True:
        small = stored(content, {**plan, **dict.fromkeys(taken, BYTE)})
        if not taken or noise.of(small).max() <= 1:
            return small
        taken.pop()


class _Noise:
    """The noise of a smaller file, of each output and passage, in shares of what is allowed."""

    def __init__(self, content: bytes, proof: Proof):
        run = _loaded(content)
        heard = [(inputs, run(inputs)) for inputs in (proof.inputs, *proof.passages)]
        faint = [_faintness(*pair, proof.reference) for pair in heard]
        audible = [i for i, share in enumerate(faint) if share >= _AUDIBLE] or [0]
        faintest = heard[min(audible, key=lambda i: faint[i])]
        self._cases: Sequence[tuple[Mapping, Answer, float]] = [
            (*heard[0], parity.LIMITS_DB["int8"]),
            (*faintest, parity.FAINT_LIMIT_DB),
        ]
        self._reference = proof.reference

    def of(self, content: bytes) -> np.ndarray:
        """`[passages * outputs]`: 1 is the limit of each."""
        run, shares = _loaded(content), []
        for inputs, expected, limit_db in self._cases:
            compared = parity.compare(expected, run(inputs), inputs.get(self._reference))
            shares += [10 ** ((limit_db - found.snr_db) / 10) for found in compared.values()]
        shares = np.array(shares)
        return np.where(np.isnan(shares), np.inf, shares)

    def worst(self, shares: np.ndarray) -> str:
        """What is farthest over its limit, in words."""
        case, output = divmod(int(shares.argmax()), len(shares) // len(self._cases))
        _, expected, limit_db = self._cases[case]
        found_db = limit_db - 10 * np.log10(shares.max())
        return f"{list(expected)[output]} at {found_db:.1f} of {limit_db:g} dB"


def _faintness(inputs: Mapping, outputs: Answer, reference: str | None) -> float:
    """The energy of the faintest output over that of the reference; 1 where there is none."""
    energy = 0.0 if reference is None else np.sum(np.square(inputs[reference], dtype=np.float64))
    if not energy:
        return 1.0
    return min(np.sum(np.square(x, dtype=np.float64)) for x in outputs.values()) / energy


def _loaded(content: bytes) -> Callable[[Mapping[str, np.ndarray]], Answer]:
    """A file as a function of {input: `[1, ...]`}, by LiteRT on two threads."""
    interpreter = open_litert(content, threads=2)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()

    def run(inputs: Mapping[str, np.ndarray]) -> Answer:
        return {k: x[None] for k, x in runner(**{k: x[0] for k, x in inputs.items()}).items()}

    return run
