"""Timbre transfer: whatever a recording sings or plays, played by a trained synthesiser.

Engel et al., DDSP, 2020, https://arxiv.org/abs/2001.04643. The pitch and loudness of the recording
are moved to where those of the training were, an octave and a curve of levels, and played.

    player = TimbreTransfer("runs/violin")               # built once, for many recordings
    sound, sample_rate = player(waveform, sample_rate)

Any length: of a recording only pitch and loudness are kept until it has ended, 3 kB a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import pitch_tracking, presets
from kzoo.audio import StreamResampler, checked_waveform
from kzoo.data import solo
from kzoo.engines import exported
from kzoo.pitch_tracking import Pitch, PitchTracker
from kzoo.synthesis import player
from kzoo.synthesis.following import Controls, Summary, follow, stretches

GATE = 0.3  # confidence under which nothing is played, as where a corpus is prepared
_STEEPEST = 2.0  # dB of the match for one of the recording: a held note must not become a storm

# Called with (seconds done, seconds in all or None).
Progress = Callable[[float, float | None], object]


class Target(NamedTuple):
    """What a synthesiser was trained on: its middle note, and quantiles of loudness in dB."""

    midi: float
    loudness_db: np.ndarray


class Moved(NamedTuple):
    """What was done to the controls: octaves up, and medians of loudness before and after."""

    octaves: int
    loudness_db: tuple[float, float]
    voiced: float


class Watcher:
    """What sees a transfer pass by; a picture is one. All of it may be ignored."""

    def hear(self, signal: np.ndarray) -> None:
        """Called with the recording, `[samples]` at 16 kHz."""

    def follow(self, pitch: Pitch) -> None:
        """Called with the pitch that was found."""

    def play(self, played: np.ndarray, recorded_loudness_db: np.ndarray) -> None:
        """Called with controls `[frames, 4]`: seconds, f0_hz, loudness_db, how open the gate is."""

    def control(self, amplitudes: np.ndarray, noise_magnitudes: np.ndarray) -> None:
        """Called with what the network made: `[frames, harmonics]` and `[frames, bands]`."""

    def sound(self, signal: np.ndarray) -> None:
        """Called with what is played, `[samples]` at the synthesiser's rate."""


class TimbreTransfer:
    """Plays recordings by a trained synthesiser, which is built once.

    preset: a trained synthesiser, or its exported .tflite stream; by default the one that ships.
    octaves: by how many all notes are moved; by default by as many as bring the median nearest to
        that of the training.
    match: move loudness along the quantiles of both, not steeper than 2 dB for one; without, it
        stays. loudness_db: louder by this, match or none.
    gate: confidence under which there is silence. dry: without the echo of the room that the
    preset has learned.
    method: of `kzoo pitch`. engine: what runs preset and tracker, as in `Separator.from_preset`.
    progress: bytes fetched, in all, where a pitch tracker must come.
    Raises presets.PresetError for a preset that is no trained synthesiser, ValueError for one
    whose card has no statistics where those are asked for, or that cannot play block by block.
    """

    def __init__(
        self,
        preset: str | Path | presets.Preset | None = None,
        *,
        octaves: int | None = None,
        match: bool = True,
        loudness_db: float = 0.0,
        gate: float = GATE,
        dry: bool = False,
        method: str | Path = pitch_tracking.DEFAULT_METHOD,
        engine: str = "auto",
        progress: presets.Progress | None = None,
    ):
        opened = check_request(
            preset, octaves=octaves, match=match, loudness_db=loudness_db, gate=gate, method=method
        )
        self.octaves, self.match, self.loudness_db = octaves, match, loudness_db
        self.gate, self.sample_rate = gate, opened.card["sample_rate"]
        self._instrument = player.instrument(opened, dry=dry, engine=engine)
        # Of the card, or of what has come with the weights.
        self._target = None if octaves is not None and not match else target(opened)
        self._range_db = self._instrument.range_db
        self.hop_length = self._instrument.hop_length
        hop_ms = 1000 * self.hop_length / self.sample_rate
        if str(method) == pitch_tracking.PYIN:
            engine = "auto"  # it is no network
        self._tracker = PitchTracker(method, hop_ms=hop_ms, engine=engine, progress=progress)

    def __call__(
        self,
        waveform: np.ndarray,
        sample_rate: int,
        *,
        input_rate: bool = False,
        watcher: Watcher | None = None,
    ) -> tuple[np.ndarray, int]:
        """(Sound `[samples]`, its rate) of `[samples]` or `[samples, channels]`, full scale 1.0.

        It is as long as the recording; at the synthesiser's rate, or with input_rate at its.
        """
        signal = checked_waveform(waveform, sample_rate)
        parts = list(self.stream([signal], sample_rate, input_rate=input_rate, watcher=watcher))
        return np.concatenate(parts), sample_rate if input_rate else self.sample_rate

    def stream(
        self,
        blocks: Iterable[np.ndarray],
        sample_rate: int,
        *,
        samples: int | None = None,
        input_rate: bool = False,
        watcher: Watcher | None = None,
        progress: Progress | None = None,
        say: Callable[[Moved], object] | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield the sound `[n]` of blocks `[samples, channels]`, n as it comes.

        samples: the recording's length where it is known, for the progress. say: told what was
        moved, before the first sound. Raises ValueError where nothing has a pitch.
        """
        watcher = Watcher() if watcher is None else watcher
        counted = _Counted(blocks, sample_rate, samples, progress)
        controls = follow(
            self._heard(counted, watcher),
            self._tracker,
            gate=self.gate,
            sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            hear=watcher.follow,
            range_db=self._range_db,
        )
        summary = controls.summary()
        if summary is None:
            raise ValueError(
                f"nothing has a pitch with a confidence of {self.gate:g}; lower the gate, or "
                "try another method"
            )
        octaves, levels = self._moves(summary)
        if say:
            median = float(np.interp(0.5, solo.QUANTILES, summary.loudness_db))
            say(Moved(octaves, (median, float(levels(np.array(median)))), summary.voiced))
        played = self._in_room(self._played(controls, octaves, levels, watcher), watcher)
        outward = StreamResampler(
            self.sample_rate, sample_rate if input_rate else self.sample_rate, 1
        )
        due = counted.samples
        if not input_rate:
            due = (2 * due * self.sample_rate + sample_rate) // (2 * sample_rate)
        for sound in _exactly(due, outward, played):
            yield sound
            counted.played(len(sound) / outward.to_rate)

    def _heard(self, blocks: _Counted, watcher: Watcher):
        """Mono pairs: for the tracker, and for loudness."""
        rates = (pitch_tracking.SAMPLE_RATE, self.sample_rate)
        resamplers = [StreamResampler(blocks.sample_rate, rate, 1) for rate in rates]
        for block in blocks:
            mono = block.mean(axis=1, keepdims=True)
            pair = [resampler.push(mono)[:, 0] for resampler in resamplers]
            watcher.hear(pair[0])
            yield pair
        pair = [resampler.flush()[:, 0] for resampler in resamplers]
        watcher.hear(pair[0])
        yield pair

    def _moves(self, summary: Summary) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
        """(Octaves, a function of loudness)."""
        octaves = self.octaves
        if octaves is None:
            middle = solo.QUANTILES.index(0.5)
            octaves = round(float(self._target.midi - summary.midi[middle]) / 12)
        found, wanted = summary.loudness_db, self._target.loudness_db if self.match else None
        curve = matched(found, found if wanted is None else wanted)
        return octaves, lambda level: np.maximum(curve(level) + self.loudness_db, -self._range_db)

    def _in_room(self, blocks: Iterator[np.ndarray], watcher: Watcher):
        """Blocks `[samples, 1]`: a note that has ended goes on sounding in the room."""
        for sound in player.in_room(blocks, self._instrument.room):
            watcher.sound(sound)
            yield sound[:, None]

    def _played(self, controls: Controls, octaves: int, levels, watcher: Watcher):
        """Blocks `[samples]` of whole hops, gated; what has no room yet."""
        frame_rate = self.sample_rate / self.hop_length

        def rows():
            for start, end in stretches(controls.frames):
                f0_hz, recorded = controls.f0_hz[start:end], controls.loudness_db[start:end]
                gate = controls.gate(start, end)
                loudness = gate * (levels(recorded) + self._range_db) - self._range_db
                seconds = np.arange(start, end) / frame_rate
                found = np.stack([seconds, f0_hz * 2.0**octaves, loudness, gate], axis=1)
                watcher.play(found, recorded)
                yield from found

        play, done = self._instrument.begin(watch=watcher.control), 0
        for sound in player.played(play, rows(), self.hop_length):
            hops = len(sound) // self.hop_length
            gate = controls.gate(done, done + hops + 1)
            position = np.arange(len(sound)) / self.hop_length
            done += hops
            yield (sound * np.interp(position, np.arange(hops + 1), gate)).astype(np.float32)


class _Counted:
    """Blocks that report how far the work is: listening is its first half, playing the second."""

    def __init__(self, blocks, sample_rate: int, samples: int | None, progress: Progress | None):
        self.sample_rate, self.samples = sample_rate, 0
        self._blocks, self._progress, self._seconds = blocks, progress, 0.0
        self._total = samples and samples / sample_rate

    def __iter__(self):
        for block in self._blocks:
            self.samples += len(block)
            self._report(self.samples / self.sample_rate / 2, self._total)
            yield block

    def played(self, seconds: float) -> None:
        self._seconds += seconds
        total = self.samples / self.sample_rate
        self._report((total + self._seconds) / 2, total)

    def _report(self, done: float, total: float | None) -> None:
        if self._progress:
            self._progress(done, total)


def check_request(
    preset: str | Path | presets.Preset | None,
    *,
    octaves: int | None = None,
    match: bool = True,
    loudness_db: float = 0.0,
    gate: float = GATE,
    method: str | Path = pitch_tracking.DEFAULT_METHOD,
) -> presets.Preset:
    """The opened preset; refuses, without a backend, what `TimbreTransfer` would."""
    opened = presets.synthesiser(exported.opened(preset))
    opened.refuse_untrained()
    if (octaves is None or match) and opened.statistics != {}:  # they come with the weights
        target(opened)
    if octaves is not None and not -8 <= octaves <= 8:
        raise ValueError(f"octaves must be between -8 and 8; got {octaves}")
    if not -80 <= loudness_db <= 80:
        raise ValueError(f"loudness_db must be between -80 and 80; got {loudness_db:g}")
    if not 0 <= gate <= 1:
        raise ValueError(f"the gate is a confidence between 0 and 1; got {gate:g}")
    pitch_tracking.check_request(method, hop_ms=4.0)  # of the hop only the network knows more
    return opened


def target(preset: presets.Preset) -> Target:
    """What a card keeps of the training; ValueError where it keeps nothing."""
    statistics = preset.statistics
    try:
        midi, loudness = (
            {float(share): value for share, value in statistics[name].get("quantiles", {}).items()}
            for name in Target._fields
        )
        middle = midi[0.5] if midi else statistics["midi"]["mean"]
        return Target(float(middle), np.array([loudness[q] for q in solo.QUANTILES], float))
    except (KeyError, TypeError, ValueError, AttributeError):
        known = preset.folder is None and preset.card.get("weights", {}).get("file_tells", ())
        older = preset.weights_path() if known and "statistics" in known else None
        again = f"remove {older.parent} and fetch it again, or " if older else ""
        raise ValueError(
            f"{preset}: its card keeps no statistics of pitch and loudness to move to; {again}give "
            "the octaves, and no match (--octaves 0 --no-match)"
        ) from None


def matched(found: np.ndarray, wanted: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A rising curve that takes quantiles `found` to those `wanted`, both `[len(QUANTILES)]`.

    From the median outwards, along lines of a slope of 2 at most; beyond the ends of slope 1.
    """
    rise = np.minimum(np.diff(wanted), _STEEPEST * np.diff(found))
    middle = solo.QUANTILES.index(0.5)
    to = np.concatenate([[0.0], np.cumsum(rise)])
    to += wanted[middle] - to[middle]
    ends = [found[0] - 100.0, *found, found[-1] + 100.0], [to[0] - 100.0, *to, to[-1] + 100.0]
    at, index = np.unique(ends[0], return_index=True)
    return lambda level: np.interp(level, at, np.array(ends[1])[index])


def _exactly(samples: int, resampler: StreamResampler, blocks: Iterator[np.ndarray]):
    """Blocks `[n, 1]` through the resampler, `[samples]` of them: cut, or silence after the end."""

    def all_blocks():
        for block in blocks:
            yield resampler.push(block)
        yield resampler.flush()

    for block in all_blocks():
        part = block[:samples, 0]
        samples -= len(part)
        if len(part):
            yield part
    if samples:
        yield np.zeros(samples, np.float32)
