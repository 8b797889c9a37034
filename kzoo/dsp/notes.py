"""MIDI notes and hertz of plain numbers and arrays, in their own precision and without a backend.

`units` has what a network computes with, and where silence is 0 Hz is note 0.
"""

from __future__ import annotations

import numpy as np


def midi_to_hz(note):
    """Hertz of MIDI note numbers: 69 is 440 Hz, and note 0 is 8.18 Hz, not silence."""
    return 440.0 * 2.0 ** ((note - 69) / 12)


def hz_to_midi(frequency_hz):
    """MIDI note numbers, with fractions, of frequencies above 0 Hz."""
    return 69 + 12 * np.log2(frequency_hz / 440.0)
