"""Signals to their sources: a separator kept, or made for one signal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import presets, separation
from kzoo.presets.shelf import named_or_best

DEFAULT_PRESET = "spleeter_2stems"


class Separator(separation.BlockSeparator):
    """A preset ready to separate many signals: built and compiled once, thread-safe.

    Pickled, it is its preset and options, and is built anew where it is loaded.
    """

    _rebuild: Callable[[], Separator] | None = None
    _said: Sequence[str] = ()

    @property
    def notes(self) -> list[str]:
        """Which preset is the best, where that was asked for, and options that change nothing."""
        return [*self._said, *super().notes]

    @classmethod
    def from_preset(
        cls,
        preset: str | Path = DEFAULT_PRESET,
        *,
        overlap: float = 0.0,
        consistent: bool = False,
        attenuation_limit_db: float | None = None,
        shifts: int = 0,
        seed: int = 0,
        mwf: bool = False,
        n_sources: int | None = None,
        device: str | None = None,
        engine: str = "auto",
        progress: presets.Progress | None = None,
        **options: Any,
    ) -> Separator | separation.Bag:
        """Fetch (once), verify, build and compile a preset, or load an exported .tflite of one.

        preset: a name or folder, or "best", which is the best of those that are here and give
            vocals and accompaniment ("best:drums,bass": these); `notes` says which it is.
        overlap: share of a block, up to 0.5, that fades into the next; 0 is the model's own grid,
            or what the preset's card says.
        consistent: make the stems sum to the mixture. mwf: refine them by a multichannel
            Wiener filter, in two passes. attenuation_limit_db: by how much at most an enhancer
            lowers what is no speech. shifts, seed: the mean over so many passes that begin up to
            half a second later, drawn from `seed`.
        n_sources: how many a preset that separates by clusters gives, by default as its card says.
        device: "cpu", "gpu", "gpu:1". progress: called with bytes fetched and bytes in all.
        engine: "tensorflow"; "litert", which starts without it, from a file that is made at the
            first time; or "auto", LiteRT where that file is there, see `kzoo.engines`.
        options: of the architecture's sizes and build, such as mask_extension="average".
        A preset that is a bag gives a `separation.Bag`, whose models are built as the first
        recording needs them, and kept.
        """
        from kzoo.engines import exported, litert

        said: list[str] = []
        preset = named_or_best(preset, say=said.append)  # a copy elsewhere is of the same preset
        opened = presets.open_preset(exported.opened(preset))
        if n_sources is not None:
            opened = opened.with_n_sources(n_sources)
        if opened.bag:
            if mwf or attenuation_limit_db is not None:
                raise presets.PresetError(
                    f"preset {opened} is a bag of several models, and takes no mwf and no "
                    "attenuation_limit_db"
                )
            opened.download(progress=progress)
            told = {"overlap": overlap, "shifts": shifts, "device": device, "engine": engine}
            parts = [
                separation.Part(
                    functools.partial(cls.from_preset, part, seed=seed + number, **told, **options),
                    weights,
                )
                for number, (part, weights) in enumerate(opened.bag)
            ]
            return separation.Bag(tuple(opened.sources), parts, consistent, said)
        if litert.chosen(engine, opened, device=device, mwf=mwf, **options):
            system = litert.system(opened, progress=progress)
        else:
            from kzoo.engines import tensorflow

            system = tensorflow.system(opened, mwf=mwf, device=device, progress=progress, **options)
        share = overlap or opened.card.get("overlap", 0.0)
        told = {"attenuation_limit_db": attenuation_limit_db, "shifts": shifts, "seed": seed}
        separator = cls(system, overlap=share, consistent=consistent, **told)
        separator._said = said
        separator._rebuild = functools.partial(
            cls.from_preset, preset, overlap=overlap, consistent=consistent, mwf=mwf,
            n_sources=n_sources, device=device, engine=engine, **told, **options,
        )  # fmt: skip
        return separator

    def __reduce__(self):
        return super().__reduce__() if self._rebuild is None else (self._rebuild, ())


def separate(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path = DEFAULT_PRESET,
    *,
    progress: separation.Progress | None = None,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Separate a signal: `[samples, channels]` or `[samples]` to {source: array of that shape}.

    waveform: floating point, full scale 1.0, at any rate; progress(seconds done, in all) may
    return False to cancel. options: those of `Separator.from_preset`. Where there is
    more than one signal keep a Separator: this function builds the model on every call.
    """
    separator = Separator.from_preset(preset, **options)
    return separator.separate(waveform, sample_rate, progress=progress)


def enhance(
    waveform: np.ndarray,
    sample_rate: int,
    preset: str | Path | None = None,
    *,
    progress: separation.Progress | None = None,
    **options: Any,
) -> np.ndarray:
    """Return the speech of a noisy signal, `[samples, channels]` or `[samples]`, in its shape.

    preset: one that gives "speech"; by default the best that ships. Channels are enhanced one by
    one where the model takes one channel. The other arguments are those of `separate`; for many
    signals keep a Separator and take its "speech".
    Raises presets.PresetError for a preset that gives no speech.
    """
    from kzoo.engines import exported

    enhancer = presets.enhancer(exported.opened(preset))
    return separate(waveform, sample_rate, enhancer, progress=progress, **options)["speech"]
