"""The pitch of a recording of any length: a tracker, and the decoding of CREPE's activations."""

from kzoo.pitch_tracking.tracker import (
    DEFAULT_METHOD,
    PYIN,
    SAMPLE_RATE,
    Pitch,
    PitchTracker,
    check_request,
    uses_litert,
)

__all__ = [
    "DEFAULT_METHOD",
    "PYIN",
    "SAMPLE_RATE",
    "Pitch",
    "PitchTracker",
    "check_request",
    "uses_litert",
]
