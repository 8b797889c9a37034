"""Recordings with what is true of them: names, onsets, a melody or phones, as corpora have them.

    find("magnatagatune", "names", subset="test")     # [Annotated(name, subset, path, ...), ...]

One `Layout` a corpus, in LAYOUTS by the name of its kind; what is none of them is read as
`kzoo.data.labelled` and `events` read folders and tables.
"""

from kzoo.data.annotated.layout import MELODY, NAMES, ONSETS, PHONES, Annotated, Layout
from kzoo.data.annotated.layouts import LAYOUTS, find, recognised

__all__ = [
    "LAYOUTS",
    "MELODY",
    "NAMES",
    "ONSETS",
    "PHONES",
    "Annotated",
    "Layout",
    "find",
    "recognised",
]
