"""A synthesiser on a recording that it has not learned from, next to copy synthesis.

    python benchmarks/synthesis.py PRESET --recordings FOLDER --held-out NAME [--method crepe_tiny]
        [--seconds S] [--threads 1] > benchmarks/results/synthesis.txt

FOLDER is one that `kzoo data prepare --kind solo` wrote, or one of recordings; NAME is that of a
recording under it, without its ending. Its pitch and loudness are played by the preset, as
`kzoo synthesize` plays them, and the sound is compared with the recording.

spectral loss   kzoo.losses.multi_resolution_stft with DDSP's weights: of Hann STFTs of 2048 to 64
                samples, 75 % overlap, the mean absolute differences of magnitudes and of their
                logarithms, summed over the six; the mean over stretches of 4 s. Once as DDSP has
                it, and once with logarithms from 1e-3 up, as configs/synthesis trains.
loudness L1     mean absolute difference of A-weighted loudness, dB, over all frames
f0 L1           mean absolute difference of pitch in semitones (MIDI notes), the same tracker on the
                recording and on the sound, over frames where both have a confidence of 0.5
f0 lost         share of the recording's frames of that confidence where the sound has less

Copy synthesis is the bound of what the synthesiser itself could do: at the recording's pitch the
amplitudes of as many harmonics are measured in Hann windows of 512 samples, what is left of each
window gives the magnitudes of as many bands of noise, and both are played by the same oscillators
and filters (Serra and Smith, 1990). It needs no loudness and no network.

The real-time factor is seconds of work for a second of sound of one voice, smaller is faster: in
Keras in blocks of `kzoo synthesize`, in LiteRT by the streaming file of `kzoo export`, 4 frames a
step, as a phone would run it. The load of the machine is printed beside it: of a busy one the
factors say little.

Where a room was learned, the row "the same, dry" is without its echo. The mean distance of the
recording's loudness from its median is printed for scale.

Engel et al., 2020, https://arxiv.org/abs/2001.04643, table 1, give for single notes of NSynth,
loudness in their scaling and pitch in notes: DDSP autoencoder loudness L1 0.07, f0 L1 0.02; WaveRNN
0.10 and 1.00. They are quoted second-hand and not checked against the paper; other sound and other
units: for orientation, not for comparison.
magenta's ddsp no longer installs beside a current TensorFlow, so it is not run.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

from kzoo import presets
from kzoo.cli.terminal import quiet_tensorflow
from kzoo.data import solo

SURE = 0.5
STRETCH_SECONDS = 4.0
WINDOW = 512
CHUNK = 512  # frames that are measured at once
TIMED_SECONDS = 20.0


def held_out(recordings: Path, name: str, method: str, rate: int, hop_length: int) -> dict:
    """{"waveform" `[samples]`, "f0_hz", "loudness_db", "confidence" `[frames]`} of a recording."""
    with tempfile.TemporaryDirectory() as folder:
        if solo.read_index(recordings) is None:
            found = solo.find_recordings(recordings).get(name)
            if found is None:
                raise SystemExit(f"{recordings}: holds no recording called {name}")
            alone = Path(folder) / "recordings"
            alone.mkdir()
            (alone / f"held_out{found.suffix}").symlink_to(found.resolve())
            estimate = tracker(method, rate, hop_length).estimate
            recordings = solo.prepare(
                alone,
                Path(folder) / "prepared",
                estimate=estimate,
                method=method,
                sample_rate=rate,
                hop_length=hop_length,
            )
            name = "held_out"
        corpus = solo.solo(str(recordings), include=[name], sample_rate=rate)
        if corpus.hop_length != hop_length:
            raise SystemExit(f"{recordings}: has hops of {corpus.hop_length}, not {hop_length}")
        whole = corpus.read(0, 0, corpus.tracks[0][1])
        return {part: np.array(values[:, 0]) for part, values in whole.items()}


def tracker(method: str, rate: int, hop_length: int):
    """Of the frames of a synthesiser."""
    from kzoo.pitch_tracking import PitchTracker

    return PitchTracker(method, hop_ms=1000 * hop_length / rate)


def copied(
    waveform: np.ndarray,
    f0_hz: np.ndarray,
    voiced: np.ndarray,
    *,
    rate: int,
    hop_length: int,
    harmonics: int,
    bands: int,
) -> tuple[np.ndarray, np.ndarray]:
    """(amplitudes `[frames, harmonics]`, noise magnitudes `[frames, bands]`) as measured.

    voiced: `[frames]`; elsewhere all is noise. bands - 1 must divide half a window.
    """
    window = np.hanning(WINDOW + 1)[:-1]
    padded = np.pad(waveform.astype(np.float64), WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::hop_length][: len(f0_hz)]
    seconds = (np.arange(WINDOW) - WINDOW // 2) / rate
    amplitudes = np.zeros((len(f0_hz), harmonics), np.float32)
    noise = np.zeros((len(f0_hz), bands), np.float32)
    wide = WINDOW // 2 // (bands - 1)
    for start in range(0, len(f0_hz), CHUNK):
        part = slice(start, start + CHUNK)
        given, hertz = frames[part], f0_hz[part, None].astype(np.float64)
        turn = np.exp(-2j * np.pi * hertz * seconds)
        wave, tone = np.ones_like(turn), np.zeros_like(given)
        for k in range(harmonics):
            wave = wave * turn
            heard = voiced[part, None] & ((k + 1) * hertz < rate / 2)
            rest = (given - tone) * window
            share = heard * np.sum(rest * wave, axis=1, keepdims=True) / window.sum()
            tone += 2 * np.real(share * np.conj(wave))
            amplitudes[part, k] = 2 * np.abs(share[:, 0])
        power = np.square(np.abs(np.fft.rfft((given - tone) * window, axis=1)))
        power = np.pad(power, ((0, 0), (wide // 2, wide - 1)), mode="edge")
        around = np.lib.stride_tricks.sliding_window_view(power, wide, axis=1)
        around = around[:, ::wide][:, :bands].mean(axis=2)
        # Uniform noise has a variance of a third.
        noise[part] = np.sqrt(3 * around / np.sum(window**2))
    return amplitudes, noise


def copy_synthesis(controls: dict, *, rate: int, hop_length: int, harmonics: int, bands: int):
    """The recording, measured and played again, `[samples]`."""
    from kzoo.dsp import synthesis
    from kzoo.synthesis import player

    f0_hz = controls["f0_hz"]
    amplitudes, noise = copied(
        controls["waveform"],
        f0_hz,
        controls["confidence"] >= SURE,
        rate=rate,
        hop_length=hop_length,
        harmonics=harmonics,
        bands=bands,
    )
    state = synthesis.initial_state(harmonics=harmonics, noise_bands=bands, hop_length=hop_length)

    def play(block: np.ndarray) -> np.ndarray:
        nonlocal state
        block = block[None].astype(np.float32)
        sound, state = synthesis.continue_harmonics_plus_noise(
            block[..., :1],
            block[..., 1 : 1 + harmonics],
            block[..., 1 + harmonics :],
            state,
            hop_length=hop_length,
            sample_rate=rate,
        )
        return np.asarray(sound)[0, :, 0]

    rows = iter(np.concatenate([f0_hz[:, None], amplitudes, noise], axis=1))
    return np.concatenate(list(player.played(play, rows, hop_length)))


def rows_of(controls: dict) -> Iterator[np.ndarray]:
    """Frames as `kzoo synthesize` has them: seconds (not used), f0_hz, loudness_db."""
    f0_hz, loudness = controls["f0_hz"], controls["loudness_db"]
    return iter(np.stack([np.zeros(len(f0_hz)), f0_hz, loudness], axis=1))


def scores(controls: dict, sound: np.ndarray, *, rate: int, hop_length: int, follow) -> list[float]:
    """As of the head of this file, in its order."""
    from kzoo.dsp.loudness import loudness_db
    from kzoo.losses.multi_resolution import multi_resolution_stft

    waveform = controls["waveform"]
    sound = sound[: len(waveform)]
    size = round(STRETCH_SECONDS * rate)
    losses = []
    for start in range(0, max(len(sound) - size, 0) + 1, size):
        pair = [x[None, start : start + size, None] for x in (waveform, sound)]
        losses.append(
            [float(multi_resolution_stft(*pair, log_floor=floor)[0]) for floor in (0.0, 1e-3)]
        )
    levels = [
        np.asarray(loudness_db(x[None], sample_rate=rate, hop_length=hop_length))[0]
        for x in (waveform, sound)
    ]
    notes, lost = notes_away(controls, *follow(sound, rate))
    pitch = float(np.mean(notes)) if len(notes) else float("nan")
    return [*np.mean(losses, axis=0), float(np.mean(np.abs(levels[1] - levels[0]))), pitch, lost]


def notes_away(controls: dict, f0_hz, confidence) -> tuple[np.ndarray, float]:
    """(semitones between the pitches of frames where both are sure, share of frames that lost it).

    f0_hz, confidence: `[frames]` of a sound, as `controls` has those of the recording.
    """
    frames = min(len(f0_hz), len(controls["f0_hz"]))
    sure = controls["confidence"][:frames] >= SURE
    both = sure & (confidence[:frames] >= SURE)
    notes = 12 * np.log2(f0_hz[:frames][both] / controls["f0_hz"][:frames][both])
    return np.abs(notes), float(1 - both.sum() / max(sure.sum(), 1))


def streaming_factor(preset: str, controls: dict, *, rate: int, hop_length: int, threads: int):
    """Seconds of work for a second of sound in LiteRT; None where it does not stream."""
    from kzoo import api
    from kzoo.deploy.formats.streaming import Stream

    with tempfile.TemporaryDirectory() as folder:
        card = api.export(preset, "tflite", folder)
        if "stream" not in card:
            return None
        stream = Stream(Path(folder) / card["stream"]["file"], threads=threads)
        frames = card["stream"]["frames"]
        count = min(round(TIMED_SECONDS * rate), len(controls["waveform"])) // hop_length // frames
        blocks = [
            {
                name: controls[name][None, k * frames : (k + 1) * frames, None].astype(np.float32)
                for name in ("f0_hz", "loudness_db")
            }
            for k in range(count)
        ]
        stream.step(**blocks[0])
        began = time.perf_counter()
        for block in blocks:
            stream.step(**block)
        return (time.perf_counter() - began) / (count * frames * hop_length / rate)


def main() -> None:
    """Print the table and the factors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--method", default="crepe_tiny", help="of kzoo pitch")
    parser.add_argument("--seconds", type=float, help="of the recording, from its start")
    parser.add_argument("--threads", type=int, default=1, help="of LiteRT")
    options = parser.parse_args()
    preset = presets.synthesiser(options.preset)
    preset.refuse_untrained()
    quiet_tensorflow()
    from kzoo.synthesis import player

    begin, rate, hop_length, room = player.instrument(preset, engine="tensorflow")
    name = preset.card["name"]
    network, _ = preset.sizes()
    size = {"rate": rate, "hop_length": hop_length}
    controls = held_out(options.recordings, options.held_out, options.method, rate, hop_length)
    if options.seconds:
        frames = round(options.seconds * rate / hop_length)
        controls = {
            "waveform": controls.pop("waveform")[: frames * hop_length],
            **{name: values[:frames] for name, values in controls.items()},
        }
    follow = tracker(options.method, rate, hop_length).estimate
    _, confidence = follow(controls["waveform"], rate)
    controls["confidence"] = confidence[: len(controls["f0_hz"])]
    seconds = len(controls["waveform"]) / rate
    print(f"{name} on {options.held_out}, {seconds:.1f} s at {rate} Hz, {date.today().isoformat()}")
    level = controls["loudness_db"]
    away = np.mean(np.abs(level - np.median(level)))
    print(f"its loudness is {away:.2f} dB away from its median, in the mean over all frames")
    print(f"pitch by {options.method}; kzoo on {platform.machine()}, {os.cpu_count()} cores\n")
    list(player.played(begin(), iter(list(rows_of(controls))[:300]), hop_length))
    load, began = os.getloadavg()[0], time.perf_counter()
    plain = list(player.played(begin(), rows_of(controls), hop_length))
    played = list(player.in_room(plain, room))
    factor = (time.perf_counter() - began) / seconds
    sounds = {name: np.concatenate(played)}
    if room is not None:
        dry = player.in_room(plain, player.early(room, rate))
        sounds["the same, dry"] = np.concatenate(list(dry))
    sounds |= {
        "copy synthesis": copy_synthesis(
            controls, **size, harmonics=network.harmonics, bands=network.noise_bands
        ),
    }
    print(
        f"{'':24} {'spectral loss':>14} {'from 1e-3 up':>13} {'loudness L1':>12} {'f0 L1':>11} "
        f"{'f0 lost':>8}"
    )
    for name, sound in sounds.items():
        plain, floored, level, pitch, lost = scores(controls, sound, **size, follow=follow)
        print(
            f"{name:24} {plain:14.3f} {floored:13.3f} {level:9.2f} dB {pitch:8.3f} st "
            f"{100 * lost:6.1f} %",
            flush=True,
        )
    print(
        f"\nreal-time factor of a voice in Keras, {player.BLOCK_FRAMES} frames a "
        f"block: {factor:.4f} (load {load:.1f} of {os.cpu_count()} cores)"
    )
    load = os.getloadavg()[0]
    factor = streaming_factor(str(preset), controls, **size, threads=options.threads)
    text = "it does not stream" if factor is None else f"{factor:.4f} (load {load:.1f})"
    print(f"real-time factor of a voice in LiteRT, streaming, {options.threads} threads: {text}")


if __name__ == "__main__":
    main()
