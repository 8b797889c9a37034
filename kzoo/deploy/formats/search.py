"""Which kernels of a TFLite file may have fewer bits: as many as a limit in dB leaves.

The noise of rounding one kernel hardly depends on that of another, so it is measured of each alone
in 8 bits; in 4 it is larger as the squared error of its weights is. Kernels are taken by noise for
the bytes, or in arithmetic of 8 bits the multiplications, that they save until their sum is at the
limit. The limit is held where the outputs are loud and on the passage where one of them is
faintest: there 8 bits everywhere left noise as loud as the quiet voice of a song, at 0.13 dB less
SI-SDR.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import files
from kzoo.deploy import parity
from kzoo.deploy.formats.kernels import (
    BYTE,
    DYNAMIC,
    HALF,
    NIBBLE,
    Kernel,
    kernels,
    rounded,
    stored,
)
from kzoo.deploy.formats.whole_numbers import WholeNumbers
from kzoo.deploy.interpreter import open_litert
from kzoo.deploy.proof import Proof

_AUDIBLE = 1e-3  # of the reference's energy, from where on an output is faint and not silent
_LEAST = 1e-3  # of the bytes of all kernels, for which the noise of one is measured
_LEAST_WORK = 1e-2  # of the multiplications of all kernels, likewise in arithmetic of 8 bits
_MARGIN = 0.8  # of the noise that is allowed, as the kernels' noises do not quite add up
# What a precision has beside float16 and int8, without which it is no other than int8.
_WHOLE = "whole numbers"
_OWN = {"int8": None, "int4": NIBBLE, "dynamic_int8": DYNAMIC, "full_int8": _WHOLE}

Answer = dict[str, np.ndarray]
Progress = Callable[[float, float | None], None]


def shrink(
    content: bytes,
    proof: Proof,
    precision: str = "int8",
    *,
    limit_db: float | None = None,
    progress: Progress | None = None,
    memory: Path | None = None,
) -> bytes:
    """The TFLite model `content` with its kernels in as few bits as the limits leave, at most 16.

    precision: "int8"; "int4", which has kernels in 4 bits too; "dynamic_int8", whose operators
        compute in 8 bits where they can, by scales of each call; or "full_int8", by fixed scales.
    limit_db: on the loud passage, by default of `parity.LIMITS_DB`.
    progress: told of (kernels measured, how many there are). memory: a folder that keeps what was
        measured, so that a search goes on where another one of the same file was interrupted.
    Raises ParityError where the limits leave 16 bits alone, or nothing that `precision` is named
    after, and ImportError where LiteRT or, for "full_int8", ai-edge-quantizer is missing.
    """
    known, own = kernels(content), _OWN[precision]
    limit_db = parity.LIMITS_DB[precision] if limit_db is None else limit_db
    noise = _Noise(content, known, proof, limit_db, memory)
    total = noise.of(dict.fromkeys(known, HALF))
    if total.max() > 1:
        raise parity.ParityError(
            f"kernels in 16 bits leave {noise.worst(total)}, so that none can have 8: use fp32"
        )
    wanted = []
    if own != _WHOLE:
        worth = _worth(known, lambda kernel: kernel.bytes(None), _LEAST)
        wanted += [(buffer, BYTE) for buffer in worth]
    if own in (DYNAMIC, _WHOLE):
        quick = _worth(known, lambda kernel: kernel.dynamic * kernel.multiplications, _LEAST_WORK)
        wanted += [(buffer, DYNAMIC) for buffer in quick]
    moves = []
    for done, (buffer, kind) in enumerate(wanted, 1):
        kernel, alone = known[buffer], noise.of({buffer: kind})
        saved = kernel.multiplications if kind == DYNAMIC else kernel.bytes(HALF)
        moves.append(_Move(buffer, HALF, kind, alone, saved))
        if kind == BYTE and own == NIBBLE:
            more = (_squared_error(kernel, NIBBLE) / (_squared_error(kernel, BYTE) or 1)) - 1
            moves.append(_Move(buffer, BYTE, NIBBLE, more * alone, kernel.bytes(NIBBLE)))
        if progress is not None:
            progress(done, len(wanted))
    moves = sorted(moves, key=lambda move: move.noise.max() / move.saved)
    if own == _WHOLE:
        small = _in_whole_numbers(content, noise, [known[move.buffer] for move in moves])
    else:
        plan = _plan(known, noise, total, moves)
        small = stored(content, plan) if own is None or own in plan.values() else None
    if small is None:
        raise parity.ParityError(
            f"no kernel of use holds the limit of {limit_db:g} dB, and of "
            f"{parity.FAINT_LIMIT_DB:g} dB where an output is faint, as {own}: use int8"
        )
    return small


def everywhere(content: bytes, proof: Proof, precision: str) -> bytes:
    """The TFLite model `content` with all its kernels alike, without a search or a limit.

    precision: as in `shrink`. Of operators that cannot compute in 8 bits the weights are stored so.
    """
    known = kernels(content)
    if precision == "full_int8":
        chosen = [kernel for kernel in known.values() if kernel.dynamic]
        return WholeNumbers(content, chosen, (proof.inputs, *proof.passages)).of(chosen)
    kind = _OWN[precision] or BYTE
    return stored(
        content, {b: kind if kind != DYNAMIC or k.dynamic else BYTE for b, k in known.items()}
    )


def compared(content: bytes, small: bytes, proof: Proof) -> tuple[float, float]:
    """The least ratio in dB of an output of `content` to how `small` differs: (loud, faint)."""
    noise = _Noise(content, {}, proof, 0.0)
    loud_db, faint_db = np.reshape(noise.heard(small), (2, -1)).min(axis=1)
    return float(loud_db), float(faint_db)


def _plan(
    known: Mapping[int, Kernel], noise: _Noise, total: np.ndarray, moves: Sequence[_Move]
) -> dict[int, str]:
    """{buffer: kind} of as many of the moves, in their order, as the limits leave.

    total: the noise of 16 bits everywhere.
    """
    plan, taken = dict.fromkeys(known, HALF), []
    # What computes in 8 bits is taken first: it is what a dynamic file is for.
    for move in sorted(moves, key=lambda move: move.kind != DYNAMIC):
        if plan[move.buffer] == move.before and (total + move.noise).max() <= _MARGIN:
            plan[move.buffer] = move.kind
            total = total + move.noise
            taken.append(move)
    while noise.of(plan).max() > 1:
        worst = max(taken, key=lambda move: move.noise.max())
        taken = [move for move in taken if move.buffer != worst.buffer]
        plan[worst.buffer] = HALF
    return plan


def _in_whole_numbers(content: bytes, noise: _Noise, candidates: Sequence[Kernel]) -> bytes | None:
    """The file with as many of the candidates, in their order, in whole numbers; None for none."""
    made = WholeNumbers(content, candidates, noise.passages)
    best, low, high = None, 0, len(candidates)
    while low < high:
        count = (low + high + 1) // 2
        small = made.of(candidates[:count])
        if noise.of_file(small).max() <= 1:
            best, low = small, count
        else:
            high = count - 1
    return best


class _Move(NamedTuple):
    """A kernel from one kind of storage to another: the noise that it adds, and what it saves."""

    buffer: int
    before: str
    kind: str
    noise: np.ndarray
    saved: int


def _worth(
    known: Mapping[int, Kernel], weight: Callable[[Kernel], float], least: float
) -> list[int]:
    """The kernels that have at least that share of the weight of all."""
    whole = sum(weight(kernel) for kernel in known.values())
    return [buffer for buffer, kernel in known.items() if weight(kernel) >= max(1, least * whole)]


def _squared_error(kernel: Kernel, kind: str) -> float:
    return float(np.sum(np.square(kernel.values - kernel.rounded(kind), dtype=np.float64)))


class _Noise:
    """The noise of kernels in fewer bits, of each output and passage, in shares of the limits.

    limit_db: of the loud passage. memory: the folder that keeps what is measured.
    """

    def __init__(
        self,
        content: bytes,
        known: Mapping[int, Kernel],
        proof: Proof,
        limit_db: float,
        memory: Path | None = None,
    ):
        self._content, self._known, self._reference = content, known, proof.reference
        self.passages = (proof.inputs, *proof.passages)
        loud = proof.inputs, _loaded(content)(proof.inputs)
        self._cases: Sequence[tuple[Mapping, Answer]] = [loud, faintest(content, proof)]
        self._limits_db = (limit_db, parity.FAINT_LIMIT_DB)
        self._place = None if memory is None else memory / f"{_key(content, self._cases)}.json"
        self._levels: dict[str, list[float]] = {}  # dB of each output and passage
        if self._place is not None and self._place.exists():
            with contextlib.suppress(ValueError):  # cut short by a machine that went down
                self._levels = json.loads(self._place.read_text(encoding="utf-8"))

    def of(self, kinds: Mapping[int, str]) -> np.ndarray:
        """`[passages * outputs]` of a file with these kinds of kernels: 1 is the limit of each."""
        name = " ".join(f"{buffer}:{kind}" for buffer, kind in sorted(kinds.items()))
        name = hashlib.sha256(name.encode()).hexdigest()[:16]
        if name not in self._levels:
            self._levels[name] = self._measured(kinds)
            if self._place is not None:
                with files.replacing(self._place) as temporary:
                    temporary.write_text(json.dumps(self._levels), encoding="utf-8")
        return self._shares(self._levels[name])

    def of_file(self, content: bytes) -> np.ndarray:
        """Likewise of any file of the same signature."""
        return self._shares(self.heard(content))

    def _shares(self, levels_db: Sequence[float]) -> np.ndarray:
        levels = np.array(levels_db).reshape(len(self._cases), -1)
        shares = 10 ** ((np.array(self._limits_db)[:, None] - levels) / 10)
        return np.where(np.isnan(shares), np.inf, shares).reshape(-1)

    def _measured(self, kinds: Mapping[int, str]) -> list[float]:
        # Weights that are rounded where they lie are quicker than another file.
        if DYNAMIC in kinds.values():
            small = stored(self._content, kinds)
        else:
            small = rounded(self._content, self._known, kinds)
        return self.heard(small)

    def heard(self, content: bytes) -> list[float]:
        """The ratio in dB of each passage and output to how a file differs there."""
        run, levels = _loaded(content), []
        for inputs, expected in self._cases:
            compared = parity.compare(expected, run(inputs), inputs.get(self._reference))
            levels += [found.snr_db for found in compared.values()]
        return levels

    def worst(self, shares: np.ndarray) -> str:
        """What is farthest over its limit, in words."""
        case, output = divmod(int(shares.argmax()), len(shares) // len(self._cases))
        limit_db = self._limits_db[case]
        found_db = limit_db - 10 * np.log10(shares.max())
        return f"{list(self._cases[case][1])[output]} at {found_db:.1f} of {limit_db:g} dB"


def _key(content: bytes, cases: Sequence[tuple[Mapping, Answer]]) -> str:
    """What the measurements of a file on these passages are known by."""
    digest = hashlib.sha256(content)
    for inputs, _ in cases:
        for array in inputs.values():
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:32]


def faintest(content: bytes, proof: Proof) -> tuple[Mapping[str, np.ndarray], Answer]:
    """(the passage in which an output is faintest and yet heard, what the file says of it)."""
    run = _loaded(content)
    heard = [(inputs, run(inputs)) for inputs in (proof.inputs, *proof.passages)]
    faint = [_faintness(*pair, proof.reference) for pair in heard]
    audible = [i for i, share in enumerate(faint) if share >= _AUDIBLE] or [0]
    return heard[min(audible, key=lambda i: faint[i])]


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
