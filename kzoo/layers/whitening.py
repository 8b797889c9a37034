"""Spectra whitened by their principal components, which are measured and then fixed.

Lee, Largman, Pham and Ng, 2009, Unsupervised feature learning for audio classification using
convolutional deep belief networks, give a network 80 whitened components of 160 bins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

MEASURED_EXAMPLES = 256
_LEAST_SHARE = 1e-6  # of the greatest variance: a fainter one is rounding, and is not made louder


@keras.saving.register_keras_serializable("kzoo")
class PCAWhitening(keras.layers.Layer):
    """`[..., bands]` to its first principal components `[..., components]`, of variance 1 each.

    The mean and the kernel are measured by `adapt`, with the most varied component first; before it
    the output is the first bands as they are. learned: training goes on with them; else they stay.
    Raises ValueError for more components than bands.
    """

    def __init__(self, components: int, *, learned: bool = False, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.components, self.learned = components, learned

    def build(self, input_shape):
        bands = input_shape[-1]
        if not 0 < self.components <= bands:
            raise ValueError(f"components must be 1 to {bands}, the bands; got {self.components}")
        options = {"trainable": self.learned}
        self.mean = self.add_weight((bands,), "zeros", name="mean", **options)
        self.kernel = self.add_weight(
            (bands, self.components), "identity", name="kernel", **options
        )

    def call(self, x):
        return ops.matmul(x - self.mean, self.kernel)

    def adapt(self, spectra: Iterable[np.ndarray]) -> None:
        """Measure mean and components over all that `spectra` gives, `[..., bands]` each.

        Memory does not grow with how many they are. Components whose variance is less than 1e-6 of
        the greatest are 0. Raises ValueError for spectra that never change.
        """
        frames = (np.reshape(each, (-1, np.shape(each)[-1])) for each in spectra)
        mean, covariance = mean_and_covariance(frames)
        if not self.built:
            self.build((None, len(mean)))
            self.built = True
        self.mean.assign(mean)
        self.kernel.assign(whitening_kernel(covariance, self.components))

    def adapt_in(self, system: keras.Model, mixtures: Iterable[np.ndarray]) -> None:
        """`adapt` to what reaches this layer of `system` of the first 256 mixtures.

        mixtures: `[samples, channels]` each; see `models.base.sizes.Signal.adapt`.
        """
        before = keras.Model(system.input, self.input)
        measured = itertools.islice(mixtures, MEASURED_EXAMPLES)
        self.adapt(ops.convert_to_numpy(before(mixture[None])) for mixture in measured)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.components)

    def get_config(self):
        return {**super().get_config(), "components": self.components, "learned": self.learned}


def mean_and_covariance(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(mean `[bands]`, covariance `[bands, bands]`) of all rows of `[rows, bands]`, float64.

    By Chan, Golub and LeVeque, 1983: each part is centred by itself, so that a large mean costs no
    digits. Raises ValueError for fewer than two rows.
    """
    count, mean, scatter = 0, 0.0, 0.0
    for part in parts:
        part = np.asarray(part, np.float64)
        rows, shift = len(part), part.mean(axis=0) - mean
        centred = part - part.mean(axis=0)
        scatter = scatter + centred.T @ centred
        scatter = scatter + np.outer(shift, shift) * (count * rows / (count + rows))
        count, mean = count + rows, mean + shift * (rows / (count + rows))
    if count < 2:
        raise ValueError(f"principal components need two spectra at least; got {count}")
    return mean, scatter / (count - 1)


def whitening_kernel(covariance: np.ndarray, components: int) -> np.ndarray:
    """The kernel `[bands, components]` that makes principal components of variance 1.

    Its columns have their largest entry above 0. Raises ValueError where all variances are 0.
    """
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1][:components], directions[:, ::-1][:, :components]
    if not variances[0] > 0:
        raise ValueError("principal components need spectra that change; got the same throughout")
    largest = directions[np.argmax(np.abs(directions), axis=0), np.arange(components)]
    kept = variances > _LEAST_SHARE * variances[0]
    scale = np.where(kept, 1 / np.sqrt(np.where(kept, variances, 1.0)), 0.0)
    return directions * np.sign(largest) * scale
