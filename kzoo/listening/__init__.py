"""What a network hears in a recording of any length: names, their probabilities over time."""

from kzoo.listening.listener import DEFAULT_PRESET, Heard, Listener, check_preset

__all__ = ["DEFAULT_PRESET", "Heard", "Listener", "check_preset"]
