"""Pons's networks of single layers: which shape of filters hears rhythm and timbre of dances.

Pons, Lidy and Serra, 2016, Experimenting with musically motivated convolutional neural networks,
https://doi.org/10.1109/CBMI.2016.7500246: filters of a patch of the spectrogram as in pictures,
filters along time alone, along frequency alone, and both of these side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from kzoo.dsp.mel import LogMel
from kzoo.layers.labels import Labels
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive

DANCES = (
    "ChaChaCha", "Jive", "Quickstep", "Rumba", "Samba", "Tango", "VienneseWaltz", "Waltz",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class BallroomCNN(ListenerSizes):
    """The paper's black box by default: 3,275,312 weights, 80 frames of 40 bands.

    That frames are 46 ms long and 23 ms apart, and levels log10(1 + 10,000 x) of mel power, is our
    choice; shapes, pools and counts of weights are the paper's.

    shapes: (bands, frames) of each kind of filter. pools: of its answers, the largest of so many
        bands and frames. filters: of each kind.
    dense: units of a layer before the last one; 0 leaves it out. dropout: before each of them.
    """

    names: tuple[str, ...] = DANCES
    exclusive: bool = True
    sample_rate: int = 44100
    block_seconds: float = 82944 / 44100
    n_fft: int = 2048
    hop_length: int = 1024
    bands: int = 40
    shapes: tuple[tuple[int, int], ...] = ((12, 8),)
    pools: tuple[tuple[int, int], ...] = ((4, 1),)
    filters: int = 32
    dense: int = 200
    dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "bands", "filters")
        if not len(self.shapes) == len(self.pools) > 0:
            raise ValueError(
                f"pools must be as many as shapes; got {len(self.pools)} and {len(self.shapes)}"
            )
        if self.dense < 0:
            raise ValueError(f"dense must not be negative; got {self.dense}")
        for shape, pool in zip(self.shapes, self.pools, strict=True):
            if self.bands < (least := shape[0] + pool[0] - 1):
                raise ValueError(
                    f"filters of {shape[0]} bands and pools of {pool[0]} need {least}; "
                    f"got bands={self.bands}"
                )

    def whole(self, samples: int | None) -> int:
        """A window, whatever is asked for: as many frames as filters and pools need, at least."""
        pairs = zip(self.shapes, self.pools, strict=True)
        least = max(shape[1] + pool[1] - 1 for shape, pool in pairs)
        return max(super().whole(None), (least - 1) * self.hop_length + self.n_fft)


_TIME, _FREQUENCY = ((1, 60), (40, 1)), ((32, 1), (1, 80))
VARIANTS = {
    "black_box": BallroomCNN(),
    "time": BallroomCNN(shapes=_TIME[:1], pools=_TIME[1:], dense=0),
    "frequency": BallroomCNN(shapes=_FREQUENCY[:1], pools=_FREQUENCY[1:], dense=0),
    "time_frequency": BallroomCNN(
        shapes=(_TIME[0], _FREQUENCY[0]), pools=(_TIME[1], _FREQUENCY[1])
    ),
    "tiny": BallroomCNN(
        names=("low", "high"), exclusive=False, sample_rate=8000, block_seconds=0.2, n_fft=128,
        hop_length=64, bands=16, shapes=((1, 6), (8, 1)), pools=((16, 1), (1, 8)), filters=4,
        dense=8, dropout=0.0,
    ),
}  # fmt: skip


def build(size: BallroomCNN = VARIANTS["black_box"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: a window, which is the default too. Raises ValueError for another number.
    """
    window = size.whole(None)
    if samples not in (None, window):
        raise ValueError(f"samples must be {window}, a window; got {samples}")
    waveform = keras.Input((window, 1), name="waveform")
    levels = LogMel(
        size.sample_rate, size.n_fft, size.hop_length, size.bands, name="mel",
        compression="log", padding="valid",
    )(waveform)  # fmt: skip
    found = []
    for number, (shape, pool) in enumerate(zip(size.shapes, size.pools, strict=True), start=1):
        conv = layers.Conv2D(size.filters, shape[::-1], activation="relu", name=f"conv{number}")
        x = layers.MaxPooling2D(pool[::-1], name=f"pool{number}")(conv(levels))
        found.append(layers.Flatten(name=f"flat{number}")(x))
    x = layers.Concatenate(name="found")(found) if len(found) > 1 else found[0]
    if size.dense:
        x = layers.Dropout(size.dropout, name="dropout")(x)
        x = layers.Dense(size.dense, activation="relu", name="dense")(x)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    return keras.Model(
        waveform, Labels(size.names, size.exclusive, name="labels")(x), name="ballroom_cnn"
    )
