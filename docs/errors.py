"""Pictures of what SDR, SIR and SAR do, for the guide on evaluation.

Two experiments on sounds made here: an estimate with more and more of another source in it, and one
with more and more artefacts. Nothing is read or fetched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.signal

from kzoo import metrics
from kzoo.pictures.images import figure
from kzoo.pictures.stems import draw_spectrograms

RATE = 16000
LEVELS_DB = range(-40, 5, 4)
FIXED_DB = -20.0  # the error that does not grow
_SECONDS = 3.0
_KINDS = {"interference": "another source", "artefacts": "musical noise"}
_COLOURS = {"sdr": "black", "sir": "teal", "sar": "crimson"}


def sounds() -> dict[str, np.ndarray]:
    """A melody, drums, hiss and musical noise, `[samples]` each and of the same energy."""
    rng = np.random.default_rng(0)
    time = np.arange(int(_SECONDS * RATE)) / RATE
    notes = np.array([220, 262, 330, 294, 220, 196])[(time / 0.5).astype(int)]
    phase = 2 * np.pi * np.cumsum(notes * (1 + 0.005 * np.sin(2 * np.pi * 5 * time))) / RATE
    melody = sum(np.sin(k * phase) / k for k in range(1, 20)) * np.exp(-2 * (time % 0.5))
    drums = rng.standard_normal(len(time)) * np.exp(-25 * (time % 0.375))
    hiss = rng.standard_normal(len(time))
    transform = scipy.signal.ShortTimeFFT(np.hanning(513)[:-1], hop=128, fs=RATE)
    spectrum = transform.stft(rng.standard_normal(len(time)))
    spectrum *= rng.random(spectrum.shape) < 0.02  # few bins sound, each for a moment
    chirps = transform.istft(spectrum, k1=len(time))
    made = {"target": melody, "interference": drums, "noise": hiss, "artefacts": chirps}
    return {name: sound / np.linalg.norm(sound) for name, sound in made.items()}


def grow(kind: str, levels_db: Sequence[float] = LEVELS_DB) -> list[metrics.Ratios]:
    """The ratios as one error grows to each level, in dB of the target, and the other stays.

    kind: "interference" or "artefacts".
    """
    parts = sounds()
    other = next(name for name in _KINDS if name != kind)
    references = np.stack([parts["target"], parts["interference"]])
    fixed = parts["target"] + 10 ** (FIXED_DB / 20) * parts[other]
    return [
        metrics.decompose(references, fixed + 10 ** (level / 20) * parts[kind]).ratios
        for level in levels_db
    ]


def experiments(path: Path) -> None:
    """Draw both experiments side by side."""
    drawn = figure(9, 3.4)
    panels = drawn.subplots(1, 2, sharey=True)
    for axis, (kind, what) in zip(panels, _KINDS.items(), strict=True):
        ratios = grow(kind)
        for name, colour in _COLOURS.items():
            values = [getattr(ratio, name) for ratio in ratios]
            axis.plot(LEVELS_DB, values, "o-", color=colour, ms=3, label=name.upper())
        axis.set_title(f"more {kind} ({what})", loc="left", fontsize=10)
        axis.set_xlabel(f"{kind}, dB of the target")
        axis.grid(color="0.92")
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("dB")
    panels[0].legend(frameon=False)
    drawn.savefig(path, dpi=100)


def decomposition(path: Path) -> None:
    """Draw an estimate with every kind of error, and the parts it is taken apart into."""
    made = sounds()
    shares = {"target": 1.0, "interference": 0.3, "noise": 0.1, "artefacts": 0.2}
    estimate = sum(share * made[name] for name, share in shares.items())
    references = np.stack([made["target"], made["interference"]])
    parts = metrics.decompose(references, estimate, noise=made["noise"])
    gain = 0.5 / np.abs(estimate).max()
    panels = {"estimate": estimate, **{name: getattr(parts, name) for name in shares}}
    draw_spectrograms({name: gain * signal[:, None] for name, signal in panels.items()}, RATE, path)
