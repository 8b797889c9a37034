"""Many recordings by one manifest: each done once, what is damaged put aside, resumed after a kill.

Each row of a manifest becomes a folder OUT/<id>, moved into place whole with its record, so that
any number of workers, and any number of runs, make it once.
"""

from kzoo.batches.manifest import Manifest, Row
from kzoo.batches.once import KEPT, MADE, RECORD, Job, Refused, do_once, record_of
from kzoo.batches.running import DEAD_LETTERS, Counts, Run, alone, run

__all__ = [
    "DEAD_LETTERS",
    "KEPT",
    "MADE",
    "RECORD",
    "Counts",
    "Job",
    "Manifest",
    "Refused",
    "Row",
    "Run",
    "alone",
    "do_once",
    "record_of",
    "run",
]
