"""What a network hears in a recording of any length: names, their probabilities over time."""

from kzoo.listening.frames import FrameListener, Frames
from kzoo.listening.listener import DEFAULT_PRESET, Heard, Listener, check_preset

__all__ = ["DEFAULT_PRESET", "FrameListener", "Frames", "Heard", "Listener", "check_preset"]
