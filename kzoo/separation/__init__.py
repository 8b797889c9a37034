"""Separating audio of any length in constant memory, at any rate and channel layout.

A `BlockSeparator` is given a callable and the grid that its blocks lie on (`System`), and separates
arrays and streams; `separate_file` takes a recording to one file a stem.
"""

from kzoo.separation.bags import Bag, Part
from kzoo.separation.files import OutputOptions, Report, enhancement, selection, separate_file
from kzoo.separation.levels import SAME_DB, SILENT_DB, Levels, at_level
from kzoo.separation.separator import (
    ONE_IS_CONSISTENT,
    Blocks,
    BlockSeparator,
    Cancelled,
    Progress,
    Streamed,
    System,
)

__all__ = [
    "ONE_IS_CONSISTENT",
    "SAME_DB",
    "SILENT_DB",
    "Bag",
    "BlockSeparator",
    "Blocks",
    "Cancelled",
    "Levels",
    "OutputOptions",
    "Part",
    "Progress",
    "Report",
    "Streamed",
    "System",
    "at_level",
    "enhancement",
    "selection",
    "separate_file",
]
