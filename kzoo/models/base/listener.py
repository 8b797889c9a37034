"""What listeners share: the names of what they hear, and windows of one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from kzoo.dsp.blocks import BlockGrid
from kzoo.dsp.mel import CONVENTIONS, LogMel
from kzoo.models.base.sizes import Sizes, check_positive

# The 50 tags of MagnaTagATune that are used most, in the order of most published networks.
MAGNATAGATUNE = (
    "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast",
    "piano", "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male",
    "singing", "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman",
    "male vocal", "no vocal", "pop", "soft", "sitar", "solo", "man", "classic", "choir",
    "voice", "new age", "dance", "male voice", "female vocal", "beats", "harp", "cello",
    "no voice", "weird", "country", "metal", "female voice", "choral",
)  # fmt: skip
# The 50 tags of Last.fm that the Million Song Dataset bears most, in the usual order, too.
LASTFM = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists",
    "classic rock", "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill",
    "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic", "experimental",
    "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop",
    "sad", "House", "happy",
)  # fmt: skip
EMBEDDING = "embedding"  # the layer whose output the last dense layer takes


@dataclass(frozen=True, kw_only=True)
class ListenerSizes(Sizes):
    """Sizes of a model that gives each name a probability for each window of sound.

    names: of what is heard, in the order of the output. exclusive: one of them is right at a time;
        otherwise each is right or not by itself.
    block_seconds: of the windows. hop_seconds: from one window's start to the next, by default a
        window's length.
    """

    task: ClassVar[str] = "listening"
    frame_wise: ClassVar[bool] = False  # whether each frame has probabilities of its own

    channels: Literal[1] = 1
    names: tuple[str, ...] = MAGNATAGATUNE
    exclusive: bool = False
    hop_seconds: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"names must be different, and one at least; got {list(self.names)}")
        if self.hop_seconds is not None:
            check_positive(self, "hop_seconds")

    def grid(self) -> BlockGrid:
        """Windows, one after another."""
        samples = self.whole(None)
        return BlockGrid(samples=samples, hop=samples)

    def smaller(self) -> None:
        """Nothing: what is said of shorter windows is another thing."""
        return None


@dataclass(frozen=True, kw_only=True)
class FrameListenerSizes(ListenerSizes):
    """Sizes of a model that gives each name a probability in every frame.

    `build` gives `[batch, frames, names]`: by default 1 + samples // hop_length frames, of which m
    tells of sample m * hop_length, and silence lies around the recording; with padding="valid"
    only those frames whose `before_samples` and `after_samples` are all in the waveform.

    hop_length: samples from frame to frame. block_seconds: of the pieces that a long recording is
        cut into, less what frames see on both sides.
    """

    frame_wise: ClassVar[bool] = True

    hop_length: int
    block_seconds: float = 4.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "hop_length")
        if self.hop_seconds is not None:
            raise ValueError(
                f"hop_seconds is of windows, and frames have hop_length; got {self.hop_seconds}"
            )

    @property
    def before_samples(self) -> int:
        """How many samples before its own a frame depends on."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its frames see")

    @property
    def after_samples(self) -> int:
        """How many samples a frame depends on from its own on."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its frames see")

    def context_samples(self) -> int:
        return max(self.before_samples, self.after_samples)

    def valid_samples(self, frames: int) -> int:
        """How many samples make so many frames with padding="valid"."""
        return (frames - 1) * self.hop_length + self.before_samples + self.after_samples

    def block(self) -> dict[str, Any]:
        """Frames that lie inside the block with all that they depend on."""
        return {**super().block(), "padding": "valid"}

    def whole(self, samples: int | None) -> int:
        """The length nearest to `samples`, or to `block_seconds`, that leaves no sample over."""
        hops = round((super().whole(samples) - self.valid_samples(1)) / self.hop_length)
        return self.valid_samples(max(0, hops) + 1)


@dataclass(frozen=True, kw_only=True)
class BandPassSizes(ListenerSizes):
    """Sizes of band-passes and further convolutions over one window of samples; SincNet's.

    filters, kernels: of the convolutions, the first of which are the band-passes; its kernel is
        odd. pool: steps that become one behind each. hidden: units of the dense layers behind them.
    """

    sample_rate: int = 16000
    exclusive: bool = True
    block_seconds: float = 0.2
    filters: tuple[int, ...] = (80, 60, 60)
    kernels: tuple[int, ...] = (251, 5, 5)
    pool: int = 3
    hidden: tuple[int, ...] = (2048, 2048, 2048)

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "pool")
        if not len(self.filters) == len(self.kernels) > 0:
            raise ValueError(
                "kernels must be as many as filters, and one at least; got "
                f"{len(self.kernels)} and {len(self.filters)}"
            )
        if not self.hidden:
            raise ValueError("hidden must be one number or more; got none")
        steps = self.whole(None)
        for kernel in self.kernels:
            steps = (steps - kernel + 1) // self.pool
        if steps < 1:
            raise ValueError(
                f"block_seconds={self.block_seconds:g} must leave a step behind kernels="
                f"{list(self.kernels)} with pool={self.pool}; it leaves none"
            )

    def whole(self, samples: int | None) -> int:
        """A window's length, whatever is asked for: each of its steps has weights of its own."""
        return super().whole(None)


def mel_levels(size) -> LogMel:
    """The layer "mel" of a tagger's sizes: their bands by the convention that they name."""
    return LogMel(
        size.sample_rate, size.n_fft, size.hop_length, size.bands, name="mel",
        **CONVENTIONS[size.mel],
    )  # fmt: skip
