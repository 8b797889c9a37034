"""Names in every frame of a recording of any length, in constant memory.

    listener = FrameListener("onset_cnn")        # the model is built once
    frames = listener(waveform, sample_rate)
    frames.times_seconds, frames.probabilities   # `[frames]`, `[frames, names]`

Sound is averaged to one channel and resampled to the network's rate. A recording is cut into pieces
that carry all that their frames depend on, so that joined they say what the whole would.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import presets
from kzoo.audio import checked_waveform, mono, pieces
from kzoo.engines import exported, litert
from kzoo.listening.listener import check_preset


class Frames(NamedTuple):
    """Of each frame its time, float64 seconds, and the probability of each name, float32.

    probabilities: `[frames, names]`, 0 to 1.
    """

    times_seconds: np.ndarray
    probabilities: np.ndarray


class FrameListener:
    """Hears in every frame of a recording which names fit.

    preset: of a listener that tells of frames, by name or folder, or the streaming file that `kzoo
    export` has written of one, NAME_stream.tflite, which LiteRT runs. device: as in
    `Separator.from_preset`. progress: bytes fetched, bytes in all, where a preset must come.
    Raises PresetError for another preset, ValueError for a device with a file.
    """

    def __init__(
        self,
        preset: str | Path,
        *,
        device: str | None = None,
        progress: presets.Progress | None = None,
    ):
        opened = check_preset(exported.opened(preset))
        self.preset = str(preset)
        if isinstance(opened, exported.Exported):
            litert.chosen("auto", opened, device=device)
            self._heard, told = exported.frames(opened, threads=1), opened.card
            self.names, self.sample_rate = tuple(told["names"]), told["sample_rate"]
            self.hop_length = told["hop_length"]
            return
        from kzoo.engines import tensorflow

        place = tensorflow.prepare_devices(device)
        size, _ = opened.sizes()
        if not size.frame_wise:
            raise presets.PresetError(f"preset {opened} tells of windows, not of frames")
        self.names, self.sample_rate = tuple(size.names), size.sample_rate
        self.hop_length = size.hop_length
        model = opened.model(**size.block(), progress=progress)
        frames, network = model.output_shape[1], tensorflow.compiled(model, place)

        def heard(signal: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            around = size.before_samples, size.after_samples
            for piece, count in pieces(signal, size.hop_length, frames, *around):
                yield network(piece[None, :, None])[0, :count]

        self._heard = heard

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    def track(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Frames]:
        """Yield the frames of blocks `[samples, channels]` of any length, a stretch at a time."""
        done = 0
        for probabilities in self._heard(mono(blocks, sample_rate, self.sample_rate)):
            frames = done + np.arange(len(probabilities))
            done += len(probabilities)
            yield Frames(frames * self.hop_length / self.sample_rate, probabilities)

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> Frames:
        """The frames of `[samples]` or `[samples, channels]`, full scale 1.0.

        Frame m tells of sample m * hop_length at the network's rate; there are
        1 + samples // hop_length.
        """
        return self.joined(self.track([checked_waveform(waveform, sample_rate)], sample_rate))

    @staticmethod
    def joined(stretches: Iterable[Frames]) -> Frames:
        """All frames of a recording together."""
        return Frames(*(np.concatenate(part) for part in zip(*stretches, strict=True)))
