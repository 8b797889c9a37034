"""Clustering: a waveform in, an embedding of every bin out, by whose clusters it is separated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo.tasks.base import prove_frames
from kzoo.tasks.separation import Separation

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof


class Clustering(Separation):
    """`[batch, samples, 1]` to `[batch, frames, bins, embedding]`.

    It learns from the sources of mixtures, as separators do, and its preset separates as theirs do:
    the engine makes clusters of the embeddings. What is exported gives the embeddings alone.
    """

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """A sound, and the embeddings of its bins."""
        return prove_frames("embeddings", size, sound)
