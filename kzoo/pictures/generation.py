"""What was drawn: a spectrogram, and how uncertain each prediction was."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kzoo.pictures.images import Columns, Spectrogram, figure

_MEAN_OF = 80  # samples


class GenerationPicture:
    """Hears blocks of one voice; `draw` makes a PNG. It does not grow with the sound."""

    def __init__(self, sample_rate: int):
        self._sound = Spectrogram(sample_rate)
        self._entropy = Columns(1, _MEAN_OF / sample_rate)
        self._waiting = np.zeros(0, np.float32)

    def hear(self, sound: np.ndarray, entropies: np.ndarray) -> None:
        """Take the next samples `[samples]`, and the bits of what they were drawn from."""
        self._sound.hear(sound)
        bits = np.concatenate([self._waiting, entropies])
        whole = len(bits) // _MEAN_OF * _MEAN_OF
        for mean in bits[:whole].reshape(-1, _MEAN_OF).mean(axis=1):
            self._entropy.add(np.array([mean]))
        self._waiting = bits[whole:]

    def draw(self, path: Path, title: str) -> None:
        """Write the picture; ValueError with the pip line where matplotlib is absent."""
        made = figure(11, 6)
        sound, entropy = made.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        made.colorbar(self._sound.draw(sound), ax=sound, label="dB", pad=0.01)
        sound.set_title(title, loc="left", fontsize=10)
        edges, values = self._entropy.image()
        entropy.stairs(values[0], edges, baseline=None, color="crimson")
        entropy.set_ylim(bottom=0)
        entropy.set_ylabel("entropy, bits")
        entropy.set_xlabel("seconds")
        entropy.grid(color="0.9", lw=0.6)
        made.savefig(path, dpi=100)
