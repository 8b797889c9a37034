"""What a generator's `Sampler` offers where a file computes some samples together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class SampledBlock(NamedTuple):
    """The next samples of one voice, for a loop over them.

    inside: the state that goes from sample to sample. step: (sample `[1, 1, 1]`, that state, its
    number in the block) to (parameters of the next one `[1, 1, n]`, the state, what `after` is to
    have of it, `[1, 1, width]`, or None where the width is 0). after: (the state within, all of the
    latter `[1, samples, width]` or None) to the state behind the block.
    """

    inside: Mapping[str, Any]
    step: Callable
    after: Callable
    width: int = 0
