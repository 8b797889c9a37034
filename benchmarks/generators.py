"""What generators of sound play, next to a recording that they have not learned from.

    python -m benchmarks.generators PRESET [PRESET ...] --recordings FOLDER --held-out NAME
        [--start 60] [--seconds 10] [--temperatures 1 0.8] [--seed 0] [--method crepe_tiny] [-o DIR]

FOLDER is one that `kzoo data prepare --kind solo` wrote. A preset that is played by pitch and
loudness, a generator or a synthesiser such as ddsp_violin, plays those of the stretch, and is
compared with it by the measures of benchmarks/synthesis.py; besides:

near            share of the frames where both have a pitch in which it is within a semitone
entropy         bits of the predictions that were drawn from, their mean

Of every sound, the recording's too, there are

loudness        median of its A-weighted loudness in dB, and between which its middle 90 % are
pitched         share of frames with a pitch, and between which notes (MIDI) their middle 90 % are

A preset without conditions plays of itself, and has these alone. One that stands still is said to.
DIR: where the sounds are written as WAV, the recording's beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np

from benchmarks.synthesis import SURE, held_out, notes_away, rows_of, scores, tracker
from kzoo import audio, presets
from kzoo.cli.terminal import quiet_tensorflow


def main() -> None:
    """Print a row for each preset and temperature."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="+", metavar="PRESET")
    parser.add_argument("--recordings", type=Path, required=True)
    parser.add_argument("--held-out", required=True)
    parser.add_argument("--start", type=float, default=60.0, help="second where the stretch begins")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 0.8])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="crepe_tiny", help="of kzoo pitch")
    parser.add_argument("--rate", type=int, default=16000, help="of FOLDER, in Hz")
    parser.add_argument("--hop-length", type=int, default=64, help="of FOLDER, in samples")
    parser.add_argument("-o", "--out", type=Path, help="folder for the sounds")
    options = parser.parse_args()
    opened = [presets.open_preset(preset) for preset in options.presets]
    quiet_tensorflow()
    size = {"rate": options.rate, "hop_length": options.hop_length}
    whole = held_out(options.recordings, options.held_out, options.method, *size.values())
    stretch = part_of(whole, options.start, options.seconds, **size)
    follow = tracker(options.method, *size.values()).estimate
    _, confidence = follow(stretch["waveform"], options.rate)
    stretch["confidence"] = confidence[: len(stretch["f0_hz"])]
    print(
        f"{options.held_out}, {options.seconds:g} s from second {options.start:g} on, seed "
        f"{options.seed}, pitch by {options.method}, {date.today().isoformat()}\n"
    )
    print(
        f"{'':34} {'loudness':>22} {'pitched':>21} {'spectral':>9} {'1e-3 up':>8} {'loudness':>9} "
        f"{'f0 L1':>6} {'near':>6} {'lost':>6} {'entropy':>8}"
    )
    sounds = {"the recording": (stretch["waveform"], None, False)}
    for preset in opened:
        sounds |= sounds_of(preset, stretch, options.temperatures, options.seed)
    for name, (sound, entropy, plays) in sounds.items():
        print(row(name, sound, entropy, stretch if plays else None, follow=follow, **size))
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            place = options.out / f"{name.replace(', ', '_').replace(' ', '_')}.wav"
            audio.write(place, sound[:, None], options.rate, overwrite=True)


def part_of(controls: dict, start: float, seconds: float, *, rate: int, hop_length: int) -> dict:
    """The stretch of `held_out`'s arrays, in whole frames; SystemExit where there is none."""
    first, frames = (round(x * rate / hop_length) for x in (start, seconds))
    if first < 0 or frames < 1 or first + frames > len(controls["f0_hz"]):
        length = len(controls["waveform"]) / rate
        raise SystemExit(
            f"the recording has {length:.1f} s: none from {start:g} s on for {seconds:g}"
        )
    samples = slice(first * hop_length, (first + frames) * hop_length)
    return {
        name: values[samples if name == "waveform" else slice(first, first + frames)]
        for name, values in controls.items()
    }


def sounds_of(preset, stretch: dict, temperatures, seed: int) -> dict[str, tuple]:
    """{its name: (sound `[samples]`, bits or None, whether it played the stretch)} of a preset."""
    name = preset.card["name"]
    if preset.task == "synthesis":
        return {name: (np.concatenate(list(synthesised(preset, stretch))), None, True)}
    from kzoo.generation.composing import Composer, Stillness
    from kzoo.generation.generator import Drawing

    composer = Composer(preset)
    plays = composer.size.conditions == "controls"
    names = ("f0_hz", "loudness_db")
    known = {part: stretch[part][None, :, None] for part in names} if plays else None
    found = {}
    for temperature in temperatures:
        still = Stillness(composer.sample_rate)
        blocks = []
        for block in composer.generator.blocks(
            len(stretch["waveform"]), seed=seed, conditions=known, drawing=Drawing(temperature)
        ):
            still.hear(block.samples)
            blocks.append(block)
        for line in still.lines():
            print(f"{name}, temperature {temperature:g}: {line}")
        sound = np.concatenate([block.samples[0] for block in blocks])
        bits = float(np.concatenate([block.entropies[0] for block in blocks]).mean())
        found[f"{name}, temperature {temperature:g}"] = sound, bits, plays
    return found


def synthesised(preset, stretch: dict) -> Iterator[np.ndarray]:
    """Blocks of what a synthesiser plays, as `kzoo synthesize` has it."""
    from kzoo.synthesis import player

    begin, _, hop_length, room = player.instrument(preset, engine="tensorflow")
    return player.in_room(player.played(begin(), rows_of(stretch), hop_length), room)


def row(name, sound, entropy, stretch, *, follow, rate: int, hop_length: int) -> str:
    """Of the table; stretch: what is compared with, or None."""
    from kzoo.dsp.loudness import loudness_db
    from kzoo.dsp.notes import hz_to_midi

    f0_hz, confidence = follow(sound, rate)
    sure = confidence >= SURE
    level = np.asarray(loudness_db(sound[None], sample_rate=rate, hop_length=hop_length))[0]
    low, middle, high = np.quantile(level, (0.05, 0.5, 0.95))
    lowest, highest = np.quantile(hz_to_midi(f0_hz[sure]), (0.05, 0.95)) if sure.any() else (0, 0)
    text = (
        f"{name:34} {middle:6.1f} ({low:5.1f} to {high:5.1f}) {100 * sure.mean():4.0f} % "
        f"({lowest:4.1f} to {highest:4.1f})"
    )
    if stretch is not None:
        plain, floored, loudness, pitch, lost = scores(
            stretch, sound, rate=rate, hop_length=hop_length, follow=follow
        )
        notes, _ = notes_away(stretch, f0_hz, confidence)
        near = np.mean(notes <= 1) if len(notes) else 0.0
        text += (
            f" {plain:9.2f} {floored:8.2f} {loudness:9.2f} {pitch:6.2f} {100 * near:4.0f} % "
            f"{100 * lost:4.0f} %"
        )
    elif entropy is not None:
        text += " " * 48
    return text + ("" if entropy is None else f" {entropy:8.2f}")


if __name__ == "__main__":
    main()
