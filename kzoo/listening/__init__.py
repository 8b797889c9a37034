"""What a network hears in a recording of any length: names over time, and when they begin."""

from kzoo.listening.frames import FrameListener, Frames
from kzoo.listening.listener import DEFAULT_PRESET, Heard, Listener, check_preset
from kzoo.listening.onsets import OnsetDetector, Onsets

__all__ = [
    "DEFAULT_PRESET",
    "FrameListener",
    "Frames",
    "Heard",
    "Listener",
    "OnsetDetector",
    "Onsets",
    "check_preset",
]
