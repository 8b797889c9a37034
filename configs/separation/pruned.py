"""A narrower network to train on, from a preset of Spleeter's kind.

    python configs/separation/pruned.py PRESET RECORDINGS FILTERS FRAMES OUT

RECORDINGS: a folder of WAV files, of each of which 6 s from its middle are listened to.
FILTERS: channels of the levels, as 12,24,44,88,144,208. FRAMES: of a segment of the new network.
Writes OUT, a preset that is not trained yet: name it as start.preset of a configuration.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np

from kzoo import audio, config, presets
from kzoo.training.pruning import prune

SECONDS = 6.0


def main(preset: str, recordings: str, filters: str, frames: str, out: str) -> None:
    opened = presets.open_preset(preset)
    size = replace(opened.sizes()[0], frames=int(frames))
    system = opened.model(size)
    hear = keras.Model(system.input, system.get_layer("segments").output)
    heard = []
    for path in sorted(Path(recordings).glob("**/*.wav")):
        about = audio.info(path)
        start = max(about.samples / about.sample_rate - SECONDS, 0.0) / 2
        sound, _ = audio.read(
            path, start_seconds=start, duration_seconds=SECONDS, sample_rate=size.sample_rate
        )
        heard.append(np.asarray(hear(sound[None]))[:2])
    core = system.get_layer("unet_core")
    pruned, narrow = prune(core, size, [int(n) for n in filters.split(",")], np.concatenate(heard))
    card = {
        **{key: opened.card[key] for key in ("task", "sources", "sample_rate", "channels")},
        "name": Path(out).name,
        "summary": f"{preset} with {filters} channels",
        "model": {
            "name": "unet",
            "options": {"sources": opened.sources, **config.plain(asdict(narrow))},
        },
        "licences": dict(opened.card["licences"]),
        "trained": f"not yet; pruned from {preset} by its channels on {len(heard)} recordings",
    }
    print(presets.save_to_preset(pruned, out, card))


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
