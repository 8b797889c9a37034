"""Which kernels of a TFLite file may have fewer bits: as many as a limit in dB leaves.

What rounding one kernel does to the outputs hardly depends on another, so it is measured of each
alone, and what several do is the sum of these errors: of the signals, as many cancel each other (12
kernels of a U-Net left a third of the sum of their energies). Of an error a random projection is
kept, whose energy is the error's within some percent. Kernels are taken by noise for the bytes, or
in arithmetic of 8 bits the multiplications, that they save until the limit.

The limit is held where the outputs are loud and on the passage where one of them is faintest: there
8 bits everywhere left noise as loud as the quiet voice of a song, at 0.13 dB less SI-SDR.
"""

from __future__ import annotations

import hashlib
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
from kzoo.deploy.formats.whole_numbers import WholeNumbers, refuse_loops
from kzoo.deploy.interpreter import open_litert
from kzoo.deploy.proof import Proof

_AUDIBLE = 1e-3  # of the reference's energy, from where on an output is faint and not silent
_LEAST = 1e-3  # of the bytes of all kernels, for which the noise of one is measured
_LEAST_WORK = 1e-2  # of the multiplications of all kernels, likewise in arithmetic of 8 bits
_BINS = 4096
_MARGIN = 0.97  # of the noise that is allowed: the file is compared with Keras, not with fp32
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
    after, ImportError where LiteRT or, for "full_int8", ai-edge-quantizer is missing, and for that
    as `refuse_loops` does.
    """
    known, own = kernels(content), _OWN[precision]
    if own == _WHOLE:
        refuse_loops(content)
    limit_db = parity.LIMITS_DB[precision] if limit_db is None else limit_db
    noise = _Noise(content, known, proof, limit_db, memory)
    half = noise.of(dict.fromkeys(known, HALF)).shares
    if half.max() > 1:
        raise parity.ParityError(
            f"kernels in 16 bits leave {noise.worst(half)}, so that none can have 8: use fp32"
        )
    wanted = []
    if own != _WHOLE:
        worth = _worth(known, lambda kernel: kernel.bytes(None), _LEAST)
        wanted += [(buffer, BYTE) for buffer in worth]
    if own in (DYNAMIC, _WHOLE):
        quick = _worth(known, lambda kernel: kernel.dynamic * kernel.multiplications, _LEAST_WORK)
        wanted += [(buffer, DYNAMIC) for buffer in quick]
    moves: list[_Move] = []
    for done, (buffer, kind) in enumerate(wanted, 1):
        kernel = known[buffer]
        saved = kernel.multiplications if kind == DYNAMIC else kernel.bytes(HALF)
        moves.append(_Move(buffer, HALF, kind, noise.of({buffer: kind}).sketch, saved))
        if kind == BYTE and own == NIBBLE and noise.may_have(kernel, moves[-1]):
            more = noise.of({buffer: NIBBLE}).sketch - moves[-1].error
            moves.append(_Move(buffer, BYTE, NIBBLE, more, kernel.bytes(NIBBLE)))
        if progress is not None:
            progress(done, len(wanted))
    if own == _WHOLE:
        moves.sort(key=lambda move: noise.shares(move.error).max() / move.saved)
        small = _in_whole_numbers(content, noise, [known[move.buffer] for move in moves])
    else:
        plan = _plan(known, noise, moves)
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
    loud_db, faint_db = noise.levels_db(small).min(axis=1)
    return float(loud_db), float(faint_db)


def _plan(known: Mapping[int, Kernel], noise: _Noise, moves: Sequence[_Move]) -> dict[int, str]:
    """{buffer: kind} of as many of the moves as the limits leave, the cheapest first.

    What fits by the sum of the errors is taken and measured, and then what that leaves.
    """
    plan = dict.fromkeys(known, HALF)
    while True:
        trial, added = dict(plan), []
        error = noise.of(plan).sketch
        # What computes in 8 bits is taken first: it is what a dynamic file is for.
        for first in (True, False):
            while move := _cheapest(noise, moves, trial, error, dynamic=first):
                trial[move.buffer] = move.kind
                error = error + move.error
                added.append(move)
        while added and noise.of(trial).shares.max() > _MARGIN:
            undone = _least_to_undo(noise, added, noise.of(trial).sketch)
            added = [move for move in added if move.buffer != undone.buffer]
            trial[undone.buffer] = plan[undone.buffer]
        if not added:
            return plan
        plan = trial


def _cheapest(
    noise: _Noise,
    moves: Sequence[_Move],
    plan: Mapping[int, str],
    error: np.ndarray,
    *,
    dynamic: bool,
) -> _Move | None:
    """The move that adds least noise for what it saves; None where none fits the limits."""
    before, best = noise.shares(error).max(), (np.inf, None)
    for move in moves:
        if plan[move.buffer] == move.before and (move.kind == DYNAMIC) == dynamic:
            after = noise.shares(error + move.error).max()
            if after <= _MARGIN:
                best = min(best, ((after - before) / move.saved, move), key=lambda pair: pair[0])
    return best[1]


def _least_to_undo(noise: _Noise, added: Sequence[_Move], error: np.ndarray) -> _Move:
    """The smallest move without which the limits hold; where none is enough, what does most."""
    left = [noise.shares(error - move.error).max() for move in added]
    enough = [move for move, share in zip(added, left, strict=True) if share <= _MARGIN]
    if enough:
        return min(enough, key=lambda move: move.saved)
    return added[int(np.argmin(left))]


def _in_whole_numbers(content: bytes, noise: _Noise, candidates: Sequence[Kernel]) -> bytes | None:
    """The file with as many of the candidates, in their order, in whole numbers; None for none."""
    made = WholeNumbers(content, candidates, noise.passages)
    best, low, high = None, 0, len(candidates)
    while low < high:
        count = (low + high + 1) // 2
        small = made.of(candidates[:count])
        if noise.of_file(small).max() <= _MARGIN:
            best, low = small, count
        else:
            high = count - 1
    return best


class _Move(NamedTuple):
    """A kernel from one kind of storage to another: the error that it adds, and what it saves."""

    buffer: int
    before: str
    kind: str
    error: np.ndarray
    saved: int


class _Measured(NamedTuple):
    """`[passages * outputs]` shares of the limits, and `[passages * outputs, _BINS]` of errors."""

    shares: np.ndarray
    sketch: np.ndarray


def _worth(
    known: Mapping[int, Kernel], weight: Callable[[Kernel], float], least: float
) -> list[int]:
    """The kernels that have at least that share of the weight of all."""
    whole = sum(weight(kernel) for kernel in known.values())
    return [buffer for buffer, kernel in known.items() if weight(kernel) >= max(1, least * whole)]


def _squared_error(kernel: Kernel, kind: str) -> float:
    return float(np.sum(np.square(kernel.values - kernel.rounded(kind), dtype=np.float64)))


class _Noise:
    """The noise of kernels in fewer bits, of each passage and output, in shares of the limits.

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
        self._scales = 10 ** (np.repeat(self._limits_db, len(proof.outputs)) / 10)
        self._place = None if memory is None else memory / _key(content, self._cases)
        self._errors: dict[str, np.ndarray] = {}

    def of(self, kinds: Mapping[int, str]) -> _Measured:
        """What a file with these kinds of kernels leaves."""
        name = " ".join(f"{buffer}:{kind}" for buffer, kind in sorted(kinds.items()))
        name = hashlib.sha256(name.encode()).hexdigest()[:16]
        if name not in self._errors:
            self._errors[name] = self._kept(name, kinds)
        energies, sketch = np.split(self._errors[name], [1], axis=1)
        return _Measured(energies[:, 0] * self._scales, sketch)

    def shares(self, sketch: np.ndarray) -> np.ndarray:
        """The shares of the limits that errors of such a sketch have."""
        return np.sum(sketch**2, axis=1) * self._scales

    def may_have(self, kernel: Kernel, move: _Move) -> bool:
        """Whether a kernel may hold the limits in 4 bits, by what its rounding to 8 left."""
        more = _squared_error(kernel, NIBBLE) / (_squared_error(kernel, BYTE) or 1)
        return more * self.shares(move.error).max() <= 2

    def of_file(self, content: bytes) -> np.ndarray:
        """The shares of any file of the same signature."""
        return self._heard(content)[:, 0] * self._scales

    def levels_db(self, content: bytes) -> np.ndarray:
        """`[passages, outputs]`: the ratio in dB of each output to how a file differs there."""
        with np.errstate(divide="ignore"):
            levels = -10 * np.log10(self._heard(content)[:, 0])
        return levels.reshape(len(self._cases), -1)

    def worst(self, shares: np.ndarray) -> str:
        """What is farthest over its limit, in words."""
        case, output = divmod(int(shares.argmax()), len(shares) // len(self._cases))
        limit_db = self._limits_db[case]
        found_db = limit_db - 10 * np.log10(shares.max())
        return f"{list(self._cases[case][1])[output]} at {found_db:.1f} of {limit_db:g} dB"

    def _kept(self, name: str, kinds: Mapping[int, str]) -> np.ndarray:
        """What an earlier search measured, or what is measured now."""
        place = None if self._place is None else self._place / f"{name}.npy"
        if place is not None and place.exists():
            return np.load(place)
        if DYNAMIC in kinds.values():
            small = stored(self._content, kinds)
        else:  # weights that are rounded where they lie are quicker than another file
            small = rounded(self._content, self._known, kinds)
        error = self._heard(small)
        if place is not None:
            with files.replacing(place) as temporary:
                np.save(temporary, error)
        return error

    def _heard(self, content: bytes) -> np.ndarray:
        """`[passages * outputs, 1 + _BINS]`: the energy of each error and its sketch.

        Both are beside an output of energy 1.
        """
        run, rows = _loaded(content), []
        for inputs, expected in self._cases:
            found = run(inputs)
            for name, reference in expected.items():
                signal = parity.energy(reference, inputs.get(self._reference)) or 1.0
                error = (found[name].astype(np.float64) - reference).reshape(-1) / np.sqrt(signal)
                energy = np.sum(error**2)
                rows.append([energy if np.isfinite(energy) else np.inf, *_sketch(error)])
        return np.array(rows, np.float32)


def _sketch(error: np.ndarray) -> np.ndarray:
    """A random projection `[_BINS]`, which keeps energies and products on the average."""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.int8), len(error))
    padded = np.pad(signs * error, (0, -len(error) % _BINS))
    return padded.reshape(-1, _BINS).sum(axis=0)


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
