"""SampleCNN: tags of music from samples, by filters of three samples and nothing else.

Lee, Park, Kim and Nam, 2017, https://arxiv.org/abs/1703.01789: a convolution of the waveform with a
stride of its own width, and blocks of a convolution and a pooling of that width each, until one
number a filter is left. Kim, Lee and Nam, 2018, https://arxiv.org/abs/1710.10451: blocks that
weight their channels, add to what they hear, or both, and last layers that hear several levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from kzoo.layers.labels import Labels
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class SampleCNN(ListenerSizes):
    """The 3^9 network of 2017 by default: 1,863,986 weights, and 5,888 of batch norms.

    width: of a filter, of the stride in the first convolution and of each pooling behind it.
    filters: of the first convolution, and of each block.
    blocks: "basic" is one convolution. "se" weights the channels of one by what they are on average
        (squeeze and excitation), "res" adds what two give to what they hear, "rese" does both.
    excitation: hidden units a channel of the small network that weights them.
    levels: the last layers hear the largest values over time of so many of the last blocks.
    form: of what the papers' programs have otherwise. "kim" is the authors'. "won" is that of
        https://github.com/minzwon/sota-music-tagging-models: a sample of silence on both sides;
        where blocks add, the first convolution is such a block and one of width 1 is the last, and
        what has to change its channels before it is added to does so by filters of full width.
    epsilon: of all batch norms.
    block_dropout: share dropped between the two convolutions of blocks that add, in training.
    dropout: share dropped before the last dense layer, in training.
    """

    sample_rate: int = 22050
    block_seconds: float = 59049 / 22050
    width: int = 3
    filters: tuple[int, ...] = (128, 128, 128, 256, 256, 256, 256, 256, 256, 512)
    blocks: Literal["basic", "se", "res", "rese"] = "basic"
    excitation: int = 16
    levels: int = 1
    form: Literal["kim", "won"] = "kim"
    epsilon: float = 1e-3
    block_dropout: float = 0.2
    dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "excitation", "levels")
        if self.width < 2:
            raise ValueError(f"width must be 2 or more; got {self.width}")
        if not self.levels < len(self.filters):
            raise ValueError(
                f"filters must be one more than levels, or longer, as the first convolution is no "
                f"level; got {len(self.filters)} and levels={self.levels}"
            )

    @property
    def adds(self) -> bool:
        """Whether blocks add to what they hear."""
        return self.blocks in ("res", "rese")

    def whole(self, samples: int | None) -> int:
        """`samples`, or a window; as many at least as leave one frame."""
        return max(super().whole(samples), self.width ** len(self.filters))


_WON = {"form": "won", "sample_rate": 16000, "block_seconds": 59049 / 16000, "epsilon": 1e-5,
        "block_dropout": 0.0, "excitation": 1}  # fmt: skip
VARIANTS = {
    "basic": SampleCNN(),
    "se": SampleCNN(blocks="se", levels=3),
    "res": SampleCNN(blocks="res", levels=3),
    "rese": SampleCNN(blocks="rese", levels=3),
    "won": SampleCNN(**_WON),
    "won_rese": SampleCNN(blocks="rese", **_WON),
    "tiny": SampleCNN(
        names=("low", "high"), sample_rate=8000, block_seconds=0.25, filters=(8, 8, 8, 8),
        dropout=0.0,
    ),
}  # fmt: skip


def build(size: SampleCNN = VARIANTS["basic"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for any number that leaves one frame or more. Raises ValueError for fewer.
    """
    if samples is not None and samples < (needed := size.whole(samples)):
        raise ValueError(
            f"samples must be {needed} at least, {size.width} a level of {len(size.filters)}; "
            f"got {samples}"
        )
    x = waveform = keras.Input((samples, 1), name="waveform")
    first, *rest = size.filters
    all_blocks = size.form == "won" and size.adds
    if size.form == "won":
        x = layers.ZeroPadding1D(1, name="silence")(x)
    if all_blocks:
        x = _block(x, first, size.width, size, "first", strides=size.width)
    else:
        x = _convolved(x, first, size.width, size, "first", strides=size.width)
        x = layers.ReLU(name="first_relu")(x)
    levels = []
    for number, filters in enumerate(rest, start=1):
        x = _block(x, filters, size.width, size, f"block{number}", pool=size.width)
        levels.append(x)
    if all_blocks:
        levels[-1] = _block(x, rest[-1], 1, size, "last")
    tops = [
        layers.GlobalMaxPooling1D(name=f"largest{number}")(level)
        for number, level in enumerate(levels, start=1)
    ][-size.levels :]
    x = layers.Concatenate(name="levels")(tops) if size.levels > 1 else tops[0]
    x = layers.Dense(x.shape[-1], kernel_initializer="he_uniform", name="dense")(x)
    x = layers.BatchNormalization(epsilon=size.epsilon, name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    x = Labels(size.names, size.exclusive, name="labels")(x)
    return keras.Model(waveform, x, name="sample_cnn")


def _block(x, filters: int, width: int, size: SampleCNN, name: str, *, strides=1, pool=1):
    """A block of `size.blocks`, with its pooling."""
    heard = x
    x = _convolved(x, filters, width, size, f"{name}_conv1", strides=strides)
    if not size.adds:
        x = _pooled(layers.ReLU(name=f"{name}_relu")(x), pool, name)
        return _excited(x, size, name) if size.blocks == "se" else x
    x = layers.ReLU(name=f"{name}_relu1")(x)
    x = layers.Dropout(size.block_dropout, name=f"{name}_dropout")(x)
    x = _convolved(x, filters, width, size, f"{name}_conv2")
    if size.blocks == "rese":
        x = _excited(x, size, name)
    if strides > 1 or heard.shape[-1] != filters:
        across = width if size.form == "won" else 1
        heard = _convolved(heard, filters, across, size, f"{name}_shortcut", strides=strides)
    x = layers.Add(name=f"{name}_sum")([heard, x])
    return _pooled(layers.ReLU(name=f"{name}_relu")(x), pool, name)


def _convolved(x, filters: int, width: int, size: SampleCNN, name: str, strides: int = 1):
    """A convolution and its batch norm."""
    x = layers.Conv1D(
        filters, width, strides=strides, padding="same" if strides == 1 else "valid",
        kernel_initializer="he_uniform", name=name,
    )(x)  # fmt: skip
    return layers.BatchNormalization(epsilon=size.epsilon, name=f"{name}_norm")(x)


def _pooled(x, pool: int, name: str):
    return layers.MaxPooling1D(pool, name=f"{name}_pool")(x) if pool > 1 else x


def _excited(x, size: SampleCNN, name: str):
    """Each channel times what a small network makes of the means of all."""
    channels = x.shape[-1]
    mean = layers.GlobalAveragePooling1D(keepdims=True, name=f"{name}_mean")(x)
    hidden = layers.Dense(
        size.excitation * channels, "relu", kernel_initializer="he_uniform", name=f"{name}_squeeze"
    )(mean)
    factors = layers.Dense(channels, "sigmoid", name=f"{name}_excite")(hidden)
    return layers.Multiply(name=f"{name}_excited")([x, factors])
