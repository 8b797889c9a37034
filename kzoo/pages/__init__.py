"""Pages that one file holds: sound to hear, spectrograms to see, and nothing fetched.

`document` makes a page of a body in HTML; `player` makes the part of it in which sounds are played
in step and compared by ear; `embedded_audio` and `spectrogram` make what they hold.
"""

from kzoo.pages.document import document, escaped
from kzoo.pages.embedding import (
    SPECTROGRAM_HZ,
    data_uri,
    embedded_audio,
    spectrogram,
    spectrum_db,
)
from kzoo.pages.levels import loudness_db, matched_db
from kzoo.pages.playing import Sound, player

__all__ = [
    "SPECTROGRAM_HZ",
    "Sound",
    "data_uri",
    "document",
    "embedded_audio",
    "escaped",
    "loudness_db",
    "matched_db",
    "player",
    "spectrogram",
    "spectrum_db",
]
