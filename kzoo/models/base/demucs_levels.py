"""What the levels of Demucs and of hybrid Demucs share: widths, norms and residual branches."""

from __future__ import annotations

from typing import Protocol

from keras import layers

from kzoo.layers.dconv import EPSILON, DConv


class Levels(Protocol):
    """The sizes that both networks have."""

    filters: int
    growth: float
    depth: int
    norm_starts: int | None
    norm_groups: int
    residual: str
    residual_depth: int
    residual_compress: float
    residual_scale: float
    recurrent_starts: int | None
    rescale: float


def level_widths(size: Levels) -> list[int]:
    """Channels of each level, the first one first."""
    widths = [size.filters]
    while len(widths) < size.depth:
        widths.append(int(size.growth * widths[-1]))
    return widths


def check_branches(size: Levels) -> None:
    """Raise ValueError for branches that would have no channel."""
    if size.residual != "none" and size.residual_compress > size.filters:
        raise ValueError(
            "residual_compress must leave a channel of the first level's; got "
            f"residual_compress={size.residual_compress:g}, filters={size.filters}"
        )


def normed(x, level: int, size: Levels, name: str):
    """Norms from the level `size.norm_starts` on; none where that is None."""
    if size.norm_starts is None or level < size.norm_starts:
        return x
    return layers.GroupNormalization(size.norm_groups, epsilon=EPSILON, dtype="float32", name=name)(
        x
    )


def branched(x, level: int, size: Levels, name: str):
    """The residual branches of a level."""
    recurs = size.recurrent_starts is not None and level >= size.recurrent_starts
    return DConv(
        size.residual_depth, size.residual_compress, scale=size.residual_scale, recurrent=recurs,
        attentive=recurs, rescale=size.rescale, name=name,
    )(x)  # fmt: skip
