"""Examples to batches: threads read ahead, the order and the bits are those of their numbers."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def batch(examples, number: int, batch_size: int) -> dict[str, np.ndarray]:
    """Batch `number`: examples number * batch_size and after, stacked."""
    first, stop = number * batch_size, (number + 1) * batch_size
    if hasattr(examples, "__len__"):
        stop = min(stop, len(examples))
    found = [examples.example(index) for index in range(first, stop)]
    return {key: np.stack([example[key] for example in found]) for key in found[0]}


def stacked(
    examples, batch_size: int, *, start: int = 0, count: int | None = None, workers: int = 2,
    ahead: int = 4,
) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """Batches from `start` on.

    count: how many; None goes on for ever. The last batch of `Windows` may be smaller.
    """
    numbers = itertools.count(start) if count is None else iter(range(start, start + count))
    if hasattr(examples, "__len__"):
        stop = -(-len(examples) // batch_size)
        numbers = itertools.takewhile(lambda number: number < stop, numbers)
    pool = ThreadPoolExecutor(workers)

    def ask(most: int):
        return [
            pool.submit(batch, examples, n, batch_size) for n in itertools.islice(numbers, most)
        ]

    try:
        waiting = deque(ask(ahead))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(ask(1))
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


def py_dataset(
    examples, batch_size: int, *, start: int = 0, workers: int = 2
) -> keras.utils.PyDataset:
    """(inputs, targets) as NumPy arrays from batch `start` on, for `fit` on any backend of Keras.

    Without end: `fit` needs steps_per_epoch and shuffle=False, and each epoch goes on where the
    last one ended.
    inputs is the mixture, or (mixture, condition) of conditioned examples.
    """
    import keras

    class Batches(keras.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index):
            found = batch(examples, start + index, batch_size)
            if "condition" in found:
                return (found["mixture"], found["condition"]), found["target"]
            return found["mixture"], found["sources"]

    return Batches(workers=workers)
