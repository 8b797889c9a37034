"""What a translation did: the recording as it was heard, and the sound that was made of it.

What is kept does not grow with the recording.
"""

from __future__ import annotations

from pathlib import Path

from kzoo.pictures.images import Spectrogram, figure


class TranslationPicture:
    """Takes both sounds as they come, `[samples]` at one rate; `draw` makes a PNG of them."""

    def __init__(self, sample_rate: int):
        self._recording, self._sound = Spectrogram(sample_rate), Spectrogram(sample_rate)
        self.hear, self.sound = self._recording.hear, self._sound.hear

    def draw(self, path: Path, title: str) -> None:
        """Write the picture; ValueError with the pip line where matplotlib is absent."""
        made = figure(11, 6)
        rows = made.subplots(2, 1, sharex=True)
        for axes, heard in zip(rows, (self._recording, self._sound), strict=True):
            made.colorbar(heard.draw(axes), ax=axes, label="dB", pad=0.01)
        rows[0].set_title(title, loc="left", fontsize=10)
        rows[1].set_title("played", loc="left", fontsize=10)
        rows[1].set_xlabel("seconds")
        rows[1].set_xlim(0, max(self._recording.seconds, self._sound.seconds))
        made.savefig(path, dpi=100)
