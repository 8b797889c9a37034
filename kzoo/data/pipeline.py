"""Examples to batches: threads read ahead, the order and the bits are those of their numbers."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def stacked(
    examples, batch_size: int, *, start: int = 0, count: int | None = None, workers: int = 2,
    ahead: int = 4,
) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """Stacked examples from batch `start` on; batch n holds examples n * batch_size and after.

    count: how many; None goes on for ever. The last batch of `Windows` may be smaller.
    """
    last = len(examples) if hasattr(examples, "__len__") else None

    def make(number: int) -> dict[str, np.ndarray]:
        first = number * batch_size
        stop = first + batch_size if last is None else min(first + batch_size, last)
        found = [examples.example(index) for index in range(first, stop)]
        return {key: np.stack([example[key] for example in found]) for key in found[0]}

    numbers = itertools.count(start) if count is None else iter(range(start, start + count))
    if last is not None:
        stop = -(-last // batch_size)
        numbers = itertools.takewhile(lambda number: number < stop, numbers)
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = deque(pool.submit(make, n) for n in itertools.islice(numbers, ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(make, n) for n in itertools.islice(numbers, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def dataset(
    examples, batch_size: int, *, start: int = 0, batches: int | None = None, workers: int = 2,
    ahead: int = 4,
) -> tf.data.Dataset:  # fmt: skip
    """`stacked` as a tf.data.Dataset of dictionaries."""
    import tensorflow as tf

    signature = {
        key: tf.TensorSpec((None, *value.shape), tf.float32)
        for key, value in examples.example(0).items()
    }
    found = tf.data.Dataset.from_generator(
        lambda: stacked(
            examples, batch_size, start=start, count=batches, workers=workers, ahead=ahead
        ),
        output_signature=signature,
    )
    length = batches
    if hasattr(examples, "__len__"):
        rest = max(-(-len(examples) // batch_size) - start, 0)
        length = rest if batches is None else min(batches, rest)
    return found if length is None else found.apply(tf.data.experimental.assert_cardinality(length))
