"""What listeners share: the names of what they hear, and windows of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from kzoo.dsp.blocks import BlockGrid
from kzoo.models.base.sizes import Sizes

# The 50 tags of MagnaTagATune that are used most, in the order of most published networks.
MAGNATAGATUNE = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast",
    "piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male",
    "singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman",
    "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir",
    "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello",
    "no voice", "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
EMBEDDING = "embedding"  # the layer whose output the last dense layer takes


@dataclass(frozen=True, kw_only=True)
class ListenerSizes(Sizes):
    """Sizes of a model that gives each name a probability for each window of sound.

    names: of what is heard, in the order of the output. exclusive: one of them is right at a time;
        otherwise each is right or not by itself.
    block_seconds: of the windows.
    """

    task: ClassVar[str] = "listening"

    channels: Literal[1] = 1
    names: tuple[str, ...] = MAGNATAGATUNE
    exclusive: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"names must be different, and one at least; got {list(self.names)}")

    def grid(self) -> BlockGrid:
        """Windows, one after another."""
        samples = self.whole(None)
        return BlockGrid(samples=samples, hop=samples)

    def smaller(self) -> None:
        """Nothing: what is said of shorter windows is another thing."""
        return None
