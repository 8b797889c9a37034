"""Examples to batches: threads read ahead, the order and the bits are those of their numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


class ReadErrors:
    """Keeps what reading raised, of which TensorFlow makes an error of its own with a traceback."""

    def __init__(self):
        self._first: Exception | None = None

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Around the reading: remembers the first error."""
        try:
            yield
        except (ValueError, OSError, MemoryError) as error:
            self._first = self._first or error
            raise

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Around the use of the batches: raises the error of the reading as it was."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError:
            if self._first is None:
                raise
            raise self._first from None


def batch(examples, number: int, batch_size: int) -> dict[str, np.ndarray]:
    """Stack batch `number`: examples number * batch_size and after."""
    first, stop = number * batch_size, (number + 1) * batch_size
    if hasattr(examples, "__len__"):
        stop = min(stop, len(examples))
    found = [examples.example(index) for index in range(first, stop)]
    return {key: np.stack([example[key] for example in found]) for key in found[0]}


def dataset(
    examples, batch_size: int, *, start: int = 0, every: int = 1, batches: int | None = None,
    workers: int = 2, ahead: int = 4, errors: ReadErrors | None = None,
) -> tf.data.Dataset:  # fmt: skip
    """Batches from `start` on, each `every`-th of them, as dictionaries of float32.

    batches: how many; None goes on for ever. The last batch of `Windows` may be smaller.
    workers: threads that read `ahead` of what is asked for. errors: keeps what reading raises.
    """
    import tensorflow as tf

    shapes = {key: value.shape for key, value in examples.example(0).items()}
    errors = ReadErrors() if errors is None else errors
    if hasattr(examples, "__len__"):
        rest = max(-(-(-(-len(examples) // batch_size) - start) // every), 0)
        batches = rest if batches is None else min(batches, rest)

    def read(number):
        with errors.kept():
            arrays = batch(examples, int(number), batch_size)
        return [np.asarray(arrays[key], np.float32) for key in shapes]

    def numbered(number):
        # Stateless, as an example is a function of its number: with operators that are to be
        # deterministic TensorFlow gives a function with a state one thread.
        arrays = tf.numpy_function(read, [number], [tf.float32] * len(shapes), stateful=False)
        for array, shape in zip(arrays, shapes.values(), strict=True):
            array.set_shape((None, *shape))
        return dict(zip(shapes, arrays, strict=True))

    numbers = tf.data.Dataset.counter(start, every)
    if batches is not None:
        numbers = numbers.take(batches)
    found = numbers.map(numbered, num_parallel_calls=workers, deterministic=True).prefetch(ahead)
    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    return found.with_options(options)
