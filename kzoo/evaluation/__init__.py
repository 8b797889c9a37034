"""Systems against a corpus: scores a track, medians over tracks, and a table that says what it is.

`evaluate` (in `running`) takes tracks (`kzoo.data.tracks`) and systems (`systems`): a separator,
a folder of estimates, and beside them always the untouched mixture and the oracles. `scoring` makes
one track's scores, in museval's JSON, and `speech` those of speech in noise; `report` takes the
medians, or of speech the means, and `statistics` says how sure they are, and what one system gains
over another.

`evaluate_hearing` (in `hearing`) does so with systems that say something of recordings, by what
`aspects` has of names, onsets, melodies and phones.
"""

from kzoo.data.recordings import Track
from kzoo.data.tracks import find_tracks
from kzoo.evaluation.hearing import Hearing, evaluate_hearing
from kzoo.evaluation.report import Comparison, Failure, Report, Row
from kzoo.evaluation.running import evaluate
from kzoo.evaluation.scoring import Settings
from kzoo.evaluation.speech import Speech
from kzoo.evaluation.statistics import Difference, Estimate, difference, estimate
from kzoo.evaluation.systems import BASELINES, Baseline, EstimatesFolder, Separation

__all__ = [
    "BASELINES",
    "Baseline",
    "Comparison",
    "Difference",
    "Estimate",
    "EstimatesFolder",
    "Failure",
    "Hearing",
    "Report",
    "Row",
    "Separation",
    "Settings",
    "Speech",
    "Track",
    "difference",
    "estimate",
    "evaluate",
    "evaluate_hearing",
    "find_tracks",
]
