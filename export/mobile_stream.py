"""What the bundle of a separator that streams has beside the rest: a program that runs the stream.

    out/gtcrn_dns3/
        gtcrn_dns3_stream.tflite          `step` and `reset`: one hop a call, the state inside
        gtcrn_dns3_step.tflite            the same, the state outside
        stream_tflite.py                  a program around either, LiteRT and NumPy only

The program cleans a recording with the stream, and is compared with kzoo's own stream in Keras.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kzoo.presets import Preset

CONSUMER = Path(__file__).parent / "consumers" / "stream_tflite.py"
_LIMIT_DB = 50.0  # of a program that reads and writes 16 bits
_SECONDS = 2.0


def prove(preset: Preset, card: Mapping[str, Any], folder: Path, scratch: Path) -> Iterator[str]:
    """Clean a recording with the stream of the bundle `folder`; yields how that went.

    scratch: where it writes. Raises ValueError where the program fails, and where its sound is not
    that of kzoo.
    """
    import soundfile

    from kzoo.deploy import examples, parity
    from kzoo.engines import tensorflow
    from kzoo.separation import BlockSeparator

    rate, sources = card["sample_rate"], card["sources"]
    sound, _ = examples.parity_sound(rate, 1, round(_SECONDS * rate))
    given, out = scratch / "talk.wav", scratch / "clean.wav"
    soundfile.write(given, sound, rate, subtype="PCM_16")
    sound, _ = soundfile.read(given, dtype="float32")
    command = [sys.executable, folder / CONSUMER.name, folder / card["stream"]["file"], given]
    run = subprocess.run([*map(str, command), "-o", str(out)], capture_output=True, text=True)
    if run.returncode:
        raise ValueError(f"{CONSUMER.name} failed: {run.stderr.strip().splitlines()[-1]}")
    found, _ = soundfile.read(out, dtype="float32", always_2d=True)
    stems = BlockSeparator(tensorflow.live_system(preset)).separate(sound, rate)
    stems = {source: np.clip(stems[source], -1, 1) for source in sources}
    compared = parity.compare(stems, dict(zip(sources, found.T, strict=True)))
    level = min(difference.snr_db for difference in compared.values())
    if not level >= _LIMIT_DB:
        raise ValueError(f"{CONSUMER.name} hears something else than kzoo: {level:.1f} dB")
    yield (
        f"{CONSUMER.name} with {card['stream']['file']}: {level:.1f} dB against kzoo's stream, in "
        f"16 bits; {run.stdout.strip().split(', ')[-1]}"
    )
