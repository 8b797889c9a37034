"""Sound drawn by a file of `kzoo export`, which LiteRT runs without TensorFlow.

    generator = FileGenerator(exported.opened("wavenet_violin_stream.tflite"))

It draws what `generator.Generator` does from the same seed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kzoo.engines.exported import Exported, drawing_steps
from kzoo.generation.drawing import AS_IT_IS, BLOCK, Block, Drawing, Generative, noise_of

_OWN = -2  # of a file's past: what was drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSizes:
    """What a file tells of the network in it; the names are those of `models.wavenet.WaveNet`."""

    sample_rate: int
    output: str
    levels: int
    quantisation: str
    conditions: str
    frame_samples: int
    hears_samples: int | None
    speakers: tuple[str, ...] = ()
    bands: int = 0

    @property
    def hop_length(self) -> int:
        """Samples of a frame."""
        return self.frame_samples

    def context_samples(self) -> int | None:
        """Samples that the network hears; None for all."""
        return self.hears_samples


class FileGenerator(Generative):
    """Draws sound by a file; used as a `generator.Generator`, but from the beginning alone.

    voices: each has a file of its own in memory. Raises PresetError for a file that draws nothing.
    """

    def __init__(self, file: Exported, *, voices: int = 1, threads: int = 1):
        self._begin = drawing_steps(file, threads=threads)
        inputs = file.card["signatures"]["step"]["inputs"]
        size = FileSizes(sample_rate=file.card["sample_rate"], **file.card["draws"])
        super().__init__(size, voices, set(inputs) - {"past", "noise", "temperature"})
        self._samples = inputs["past"][1]

    def blocks(
        self,
        samples: int,
        *,
        seed: int = 0,
        drawing: Drawing = AS_IT_IS,
        prime: np.ndarray | None = None,
        conditions: Mapping[str, np.ndarray] | None = None,
    ) -> Iterator[Block]:
        """Yield `samples` samples, in blocks of about BLOCK, whose position is None.

        Arguments, and what is raised, are as those of `Generator.blocks`; ValueError for top_k.
        """
        drawing.check(self.size.levels, self.size.output)
        if drawing.top_k is not None:
            raise ValueError("an exported file draws from all codes; leave top_k out")
        primed = 0 if prime is None else prime.shape[-1]
        known = self._known(conditions, primed + samples)
        heard = None if prime is None else self._primes(prime)
        return self._drawn(samples, seed, drawing.temperature, known, heard)

    def _drawn(self, samples, seed, temperature, known, heard) -> Iterator[Block]:
        # The first is drawn when the last of the prime is heard.
        before = 0 if heard is None else heard.shape[1] - 1
        steps = [self._begin() for _ in range(self.batch)]
        kind = np.int32 if self.size.output == "softmax" else np.float32
        waiting, count = [], self._samples
        for start in range(0, before + samples, count):
            past = np.full((self.batch, count), _OWN, kind)
            if heard is not None and start <= before:
                part = heard[:, start : start + count]
                past[:, : part.shape[1]] = part
            first, end = max(start, before), min(start + count, before + samples)
            noise = np.zeros((count, self.batch, 2), np.float32)
            if end > first:
                own = noise_of(seed, first - before, end - first, self.batch)
                noise[first - start : end - start] = own
            found = [
                step(
                    past=past[k, None, :, None], noise=noise[None, :, k],
                    temperature=np.float32([[temperature]]), **self._frames(known, k, start),
                )
                for k, step in enumerate(steps)
            ]  # fmt: skip
            if end <= first:
                continue
            part = slice(first - start, end - start)
            audio = np.stack([one["audio"][0, part, 0] for one in found])
            said = np.stack([one["next_sample"][0, part] for one in found])
            waiting.append((audio, self._bits(said, noise[part])))
            if end == before + samples or sum(x.shape[1] for x, _ in waiting) >= BLOCK:
                audio, bits = (np.concatenate(x, axis=1) for x in zip(*waiting, strict=True))
                waiting = []
                yield Block(audio, bits, None)

    def _frames(self, known: Mapping[str, np.ndarray], voice: int, start: int) -> dict[str, Any]:
        """The conditions of a block, their last frame repeated where they end in it."""
        frame, found = self.size.frame_samples, {}
        for name, x in known.items():
            own = x[voice : voice + 1]
            if name != "speaker":
                numbers = start // frame + np.arange(self._samples // frame)
                own = own[:, np.minimum(numbers, x.shape[1] - 1)]
            found[name] = own.astype(np.int32 if name == "speaker" else np.float32)
        return found

    def _bits(self, said: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """`Block.entropies` of `[voices, samples, parameters]` and the noise of the samples."""
        logits = said if self.size.output == "softmax" else np.split(said, 3, axis=-1)[0]
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        if self.size.output == "softmax":
            logs = np.log(np.maximum(shares, 1e-30))
            return -(shares * logs).sum(axis=-1) / math.log(2)
        below = np.cumsum(shares, axis=-1)
        number = np.sum(below <= noise[..., 0].T[..., None] * below[..., -1:], axis=-1)
        number = np.minimum(number, shares.shape[-1] - 1)[..., None]
        log_scales = np.take_along_axis(np.split(said, 3, axis=-1)[2], number, axis=-1)[..., 0]
        return (log_scales + 0.5) / math.log(2)
