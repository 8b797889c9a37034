"""From a recording to its stems: what a listener is told of the recording."""

import struct

import numpy as np

from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import Separator, System, separate_file

RATE = 8000


def test_what_is_wrong_with_the_recording_is_a_note(tmp_path, rng):
    system = System(
        function=lambda block: np.stack([0.75 * block, 0.25 * block], axis=1),
        sources=("loud", "soft"),
        sample_rate=RATE,
        channels=1,
        grid=BlockGrid(400, 300, 0),
    )
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    sound = rng.integers(-9000, 9000, 1000).astype("<i2").tobytes()
    recording = tmp_path / "killed.wav"  # the recorder never came to write the sizes
    recording.write_bytes(b"RIFF\0\0\0\0WAVEfmt " + form + b"data\0\0\0\0" + sound)
    targets = {name: tmp_path / f"{name}.wav" for name in system.sources}
    report = separate_file(Separator(system), recording, targets)
    assert report.notes == ["its header says 0 bytes of sound; 2000 are read"]
    assert report.seconds == 1000 / RATE
