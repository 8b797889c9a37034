"""Recordings translated: what they play, played by another domain, sample after sample.

    translator = Translator("runs/translation_small", to="piano")     # built once, for many
    sound, sample_rate = translator(waveform, sample_rate)

Any length in the same memory: the encoder hears some seconds at a time, with all of the sound
around them that it depends on, and the decoder goes on from the buffers that it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from kzoo import config, presets
from kzoo.audio import StreamResampler, checked_waveform
from kzoo.dsp.quantisation import mu_law_amplitudes, mu_law_codes
from kzoo.generation.drawing import BLOCK, Drawing, chosen, noise_of
from kzoo.presets import PresetError

CHUNK_SECONDS = 2.0  # that the encoder hears at once, at least

# Called with (seconds done, seconds in all or None).
Progress = Callable[[float, float | None], object]


class Translator:
    """Plays recordings as one domain of a trained preset of the task translation would.

    to: the domain. temperature, top_k: as of `generator.Drawing`. seed: of what is drawn, anew for
    each recording.
    Raises PresetError for another preset, ConfigError for a domain that it does not have, and
    ValueError for a temperature or top_k out of range.
    """

    def __init__(
        self,
        preset: str | Path | presets.Preset,
        *,
        to: str,
        temperature: float = 1.0,
        top_k: int | None = None,
        seed: int = 0,
    ):
        opened = check_request(preset, to=to, temperature=temperature, top_k=top_k)
        self.size, _ = opened.sizes()
        self.sample_rate, self.seed = self.size.sample_rate, seed
        self._drawing = Drawing(temperature, top_k)
        self._drawing.check(self.size.levels)
        model = opened.model()
        self._encoder = model.get_layer("encoder")
        domain = list(self.size.domains).index(to)
        self._sampler = opened.module.Sampler(model, self.size, domain)
        if chosen("auto", "music_translation") == "numba":
            from kzoo.generation.loops import Loop

            self._loop = Loop.of_translation(model, self.size, domain)
        else:
            from kzoo.generation.generator import XlaLoop

            self._loop = XlaLoop(self._sampler)

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> tuple[np.ndarray, int]:
        """(Sound `[samples]`, its rate) of `[samples]` or `[samples, channels]`, full scale 1.0.

        It lasts as long as the recording, at the preset's rate.
        """
        signal = checked_waveform(waveform, sample_rate)
        return np.concatenate(list(self.stream([signal], sample_rate))), self.sample_rate

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int,
        *,
        samples: int | None = None,
        hear: Callable[[np.ndarray], object] | None = None,
        progress: Progress | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield the sound `[n]` of blocks `[samples, channels]`, n as it comes.

        samples: the recording's length where it is known, for the progress. hear: called with the
        recording as the encoder hears it, `[n]` at the preset's rate.
        """
        at, total = 0, samples and samples / sample_rate
        state = {name: np.asarray(x) for name, x in self._sampler.state(1).items()}
        last = mu_law_codes(np.zeros((1, 1)), self.size.levels).astype(np.float32)
        for latents, due in self._latents(self._heard(blocks, sample_rate, hear)):
            for given in self._conditions(latents):
                noise = noise_of(self.seed, at, given.shape[1], 1)
                drawn, _, state = self._loop(
                    last, state, at, noise, given, **self._drawing._asdict()
                )
                last, at = drawn[:, -1:], at + drawn.shape[1]
                yield mu_law_amplitudes(drawn[0, :due], self.size.levels)
                due -= min(due, drawn.shape[1])
                if progress:
                    progress(at / self.sample_rate, total)

    def _heard(self, blocks, sample_rate: int, hear) -> Iterator[np.ndarray]:
        """Codes `[n]` at the preset's rate, of the channels' mean."""
        resampler = StreamResampler(sample_rate, self.sample_rate, 1)

        def resampled():
            for block in blocks:
                yield resampler.push(block.mean(axis=1, keepdims=True))
            yield resampler.flush()

        for block in resampled():
            if hear:
                hear(block[:, 0])
            yield mu_law_codes(block[:, 0], self.size.levels, rounding="down")

    def _latents(self, parts: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
        """(`[1, frames, latent]`, samples of the recording in them), as of the whole recording."""
        pool = self.size.pool
        around = -(-self.size.encoder_reach // pool) * pool
        chunk = max(around, round(CHUNK_SECONDS * self.sample_rate / pool) * pool)
        waiting, before = np.zeros(0, np.int32), 0  # `before` samples have been encoded already
        for part in parts:
            waiting = np.concatenate([waiting, part])
            while len(waiting) >= before + chunk + around:
                end = before + chunk
                yield self._encoded(waiting[: end + around], before, end), chunk
                kept = min(around, end)
                waiting, before = waiting[end - kept :], kept
        due = len(waiting) - before
        if due:
            silence = np.full(-len(waiting) % pool, mu_law_codes(0.0, self.size.levels), np.int32)
            waiting = np.concatenate([waiting, silence])
            yield self._encoded(waiting, before, len(waiting)), due

    def _encoded(self, codes: np.ndarray, start: int, end: int) -> np.ndarray:
        frames = np.asarray(self._encoder(codes[None, :, None]))
        return frames[:, start // self.size.pool : end // self.size.pool]

    def _conditions(self, latents: np.ndarray) -> Iterator[np.ndarray]:
        """What latent vectors add to the decoder, of at most BLOCK samples at a time."""
        frames = max(1, BLOCK // self.size.pool)
        for first in range(0, latents.shape[1], frames):
            known = self._sampler.conditions(latents=latents[:, first : first + frames])
            known = np.asarray(known)
            for start in range(0, known.shape[1], BLOCK):
                yield known[:, start : start + BLOCK]


def check_request(
    preset: str | Path | presets.Preset,
    *,
    to: str,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> presets.Preset:
    """The opened preset; refuses, without a backend, what `Translator` would."""
    opened = presets.open_preset(preset)
    if opened.task != "translation":
        raise PresetError(f"preset {opened} translates nothing; its task is {opened.task}")
    opened.refuse_untrained()
    domains = opened.card["model"]["options"]["domains"]
    config.named(domains, to, f"domain of preset {opened}")
    Drawing(temperature, top_k).check()
    return opened
