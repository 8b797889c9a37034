"""Sound from MIDI with its truth: stems by instruments, notes, onsets, beats, f0 and tags.

    from kzoo.data import midi

    midi.render(["songs_in_midi"], "corpus", versions=4, workers=2)
    for track in sorted(Path("corpus/train").iterdir()):
        truth = midi.read_truth(track)
        truth.notes("bass"), truth.onsets_seconds(), truth.beats, truth.f0_hz, truth.instruments

The corpus is one of kind stems, split by MIDI files into train, validation and test. It needs the
package mido (pip install 'kzoo[midi]'), the program fluidsynth and a soundfont of General MIDI.
"""

from kzoo.data.midi.changes import NONE, Changes
from kzoo.data.midi.rendering import Rendered, render
from kzoo.data.midi.score import Beat, Note
from kzoo.data.midi.truth import Truth
from kzoo.data.midi.truth import read as read_truth

__all__ = ["NONE", "Beat", "Changes", "Note", "Rendered", "Truth", "read_truth", "render"]
