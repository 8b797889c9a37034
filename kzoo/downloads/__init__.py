"""Published corpora: which there are, under which terms, and how they come to this machine."""

from kzoo.downloads.catalogue import CATALOGUE, Archive, Entry
from kzoo.downloads.obtaining import obtain

__all__ = ["CATALOGUE", "Archive", "Entry", "obtain"]
