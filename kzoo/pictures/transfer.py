"""What a timbre transfer did: the recording, what was found, what was made of it, the sound.

What is kept does not grow with the recording.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kzoo.dsp.notes import midi_to_hz
from kzoo.pictures.images import Columns, Points, Spectrogram, figure
from kzoo.pitch_tracking import SAMPLE_RATE
from kzoo.synthesis.transfer import Watcher

_CONTROL_RANGE_DB = 60.0
_SHUT = 0.5
_NOTES = range(12, 121, 12)  # C0 to C9, by MIDI number


class TransferPicture(Watcher):
    """Watches one transfer; `draw` makes a PNG of it."""

    def __init__(self, sample_rate: int, hop_length: int):
        self._sample_rate, self._frame_seconds = sample_rate, hop_length / sample_rate
        self._recording, self._sound = Spectrogram(SAMPLE_RATE), Spectrogram(sample_rate)
        # seconds, hertz played, loudness found, loudness played, gate
        self._points = Points(5, by=4)
        self._found = Points(3, by=2)  # seconds, hertz, confidence
        self._harmonics: Columns | None = None
        self._noise: Columns | None = None
        self.hear, self.sound = self._recording.hear, self._sound.hear

    def follow(self, pitch):
        self._found.add(np.stack([pitch.times_seconds, pitch.f0_hz, pitch.confidence], axis=1))

    def play(self, played, recorded_loudness_db):
        seconds, f0_hz, loudness, gate = played.T
        self._points.add(np.stack([seconds, f0_hz, recorded_loudness_db, loudness, gate], axis=1))

    def control(self, amplitudes, noise_magnitudes):
        if self._harmonics is None:
            self._harmonics = Columns(amplitudes.shape[1], self._frame_seconds)
            self._noise = Columns(noise_magnitudes.shape[1], self._frame_seconds)
        total = np.maximum(amplitudes.sum(axis=1, keepdims=True), 1e-7)
        for shares, magnitudes in zip(amplitudes / total, noise_magnitudes, strict=True):
            self._harmonics.add(shares)
            self._noise.add(magnitudes)

    def draw(self, path: Path, title: str) -> None:
        """Write the picture; ValueError with the pip line where matplotlib is absent."""
        made = figure(11, 14)
        axes = made.subplots(6, 1, sharex=True, height_ratios=(3, 2, 1.6, 2, 2, 3))
        recording, pitch, loudness, harmonics, noise, sound = axes
        seconds, f0_hz, found_db, played_db, gate = self._points.columns
        shut = gate < _SHUT
        made.colorbar(self._recording.draw(recording), ax=recording, label="dB", pad=0.01)
        recording.set_title(title, loc="left", fontsize=10)
        at, found_hz, confidence = self._found.columns
        pitch.plot(at[confidence < 0.5], found_hz[confidence < 0.5], ".", color="0.8", ms=1.5)
        pitch.plot(
            at, np.where(confidence < 0.5, np.nan, found_hz), color="0.45", lw=1.4, label="recorded"
        )
        pitch.plot(seconds, np.where(shut, np.nan, f0_hz), color="crimson", lw=1.4, label="played")
        _notes(pitch, np.concatenate([found_hz[confidence >= 0.5], f0_hz]))
        loudness.plot(seconds, found_db, color="0.45", lw=1.0, label="recorded")
        loudness.plot(seconds, played_db, color="crimson", lw=1.0, label="played")
        loudest = 10.0 * np.ceil(max(found_db.max(), played_db.max()) / 10)
        loudness.set_ylim(-82, max(loudest, -40))
        across = loudness.get_xaxis_transform()
        loudness.fill_between(
            seconds,
            0,
            1,
            where=shut,
            color="0.92",
            lw=0,
            zorder=0,
            transform=across,
            label="silenced",
        )
        for each, label in ((pitch, "f0"), (loudness, "loudness, dB")):
            each.set_ylabel(label)
            each.grid(color="0.9", lw=0.6)
            each.legend(
                loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, fontsize=8, frameon=False
            )
        for each, columns, label, top in (
            (harmonics, self._harmonics, "harmonic", self._harmonics.rows + 0.5),
            (noise, self._noise, "noise, Hz", self._sample_rate / 2),
        ):
            edges, values = columns.image()
            level_db = 20 * np.log10(values + 1e-7)
            high = level_db.max()
            rows = np.linspace(0.5 if each is harmonics else 0.0, top, len(values) + 1)
            image = each.pcolormesh(
                edges,
                rows,
                level_db,
                cmap="viridis",
                rasterized=True,
                vmin=high - _CONTROL_RANGE_DB,
                vmax=high,
            )
            made.colorbar(image, ax=each, label="dB", pad=0.01)
            each.set_ylabel(label)
            if each is harmonics:
                shown = np.flatnonzero(level_db.max(axis=1) > high - _CONTROL_RANGE_DB)
                each.set_ylim(0.5, shown[-1] + 1.5)
        made.colorbar(self._sound.draw(sound), ax=sound, label="dB", pad=0.01)
        sound.set_title("played", loc="left", fontsize=10)
        sound.set_xlabel("seconds")
        sound.set_xlim(0, max(self._recording.seconds, self._frame_seconds))
        made.savefig(path, dpi=100)


def _notes(axes, hertz: np.ndarray) -> None:
    """A logarithmic scale around `hertz` with the Cs on it."""
    axes.set_yscale("log")
    axes.set_ylim(0.8 * hertz.min(), 1.25 * hertz.max())
    low, high = axes.get_ylim()
    at = {midi_to_hz(note): f"C{note // 12 - 1}" for note in _NOTES}
    at = {hertz: f"{name}  {hertz:.0f} Hz" for hertz, name in at.items() if low <= hertz <= high}
    axes.set_yticks(list(at), list(at.values()))
    axes.set_yticks([], minor=True)
