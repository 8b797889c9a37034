"""The package musicnn's two networks, step by step on `tf.nn`, by the names of its checkpoints."""

from __future__ import annotations

import numpy as np

PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


class Graph:
    """Calls layers as TensorFlow 1 numbered them; weights are made where there are none yet."""

    def __init__(self, weights: dict | None = None, seed: int = 0):
        self.weights, self.rng, self.counts = weights, np.random.default_rng(seed), {}
        self.made = {}

    def names(self, kind: str, given: str | None = None) -> str:
        """The name of the next layer of its kind."""
        if given:
            return given
        k = self.counts[kind] = self.counts.get(kind, -1) + 1
        return f"{kind}_{k}" if k else kind

    def array(self, name: str, shape, scale: float = 1.0) -> np.ndarray:
        """A weight, which must have this shape."""
        if self.weights is None:
            value = self.rng.normal(0, scale, shape)
            value = 0.5 + np.abs(value) if "variance" in name or "gamma" in name else value
            self.made[name] = value.astype(np.float32)
            return self.made[name]
        assert self.weights[name].shape == tuple(shape)
        return self.weights[name]

    def conv(self, x, filters, kernel, padding, name=None):
        """A convolution of an image and a ReLU."""
        import tensorflow as tf

        at, width = self.names("conv2d", name), x.shape[-1]
        scale = (kernel[0] * kernel[1] * width) ** -0.5
        kernel = self.array(f"{at}/kernel", (*kernel, width, filters), scale)
        y = tf.nn.conv2d(x, kernel, 1, padding.upper())
        return tf.nn.relu(y + self.array(f"{at}/bias", (filters,), 0.1))

    def norm(self, x):
        """A batch norm at rest."""
        at = self.names("batch_normalization")
        gamma, beta, mean, variance = (
            self.array(f"{at}/{part}", (x.shape[-1],), 0.3) for part in PARTS
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta

    def dense(self, x, units):
        """A dense layer without activation."""
        import tensorflow as tf

        at, width = self.names("dense"), x.shape[-1]
        kernel = self.array(f"{at}/kernel", (width, units), width**-0.5)
        return tf.matmul(x, kernel) + self.array(f"{at}/bias", (units,), 0.1)


def musicnn(levels, graph: Graph, *, filters=(4, 2), middle=3, dense=6, names=2):
    """Probabilities of `[batch, frames, bands]`; filters: timbral and temporal ones."""
    import tensorflow as tf

    bands = levels.shape[2]
    x = graph.norm(levels[..., None])
    padded = tf.pad(x, [[0, 0], [3, 3], [0, 0], [0, 0]])
    found = []
    for share in (0.4, 0.7):
        y = graph.norm(graph.conv(padded, filters[0], (7, int(share * bands)), "valid"))
        found.append(tf.reduce_max(y, 2))
    for frames in (128, 64, 32):
        found.append(tf.reduce_max(graph.norm(graph.conv(x, filters[1], (frames, 1), "same")), 2))
    front = tf.concat(found, 2)[..., None]
    kept, x = [front], front
    for number in range(3):
        padded = tf.pad(x, [[0, 0], [3, 3], [0, 0], [0, 0]])
        y = graph.norm(graph.conv(padded, middle, (7, x.shape[2]), "valid"))
        y = tf.transpose(y, (0, 1, 3, 2))
        x = y + x if number else y
        kept.append(x)
    x = tf.concat(kept, 2)
    pooled = tf.concat([tf.reduce_max(x, 1), tf.reduce_mean(x, 1)], 2)
    x = graph.norm(tf.reshape(pooled, (len(pooled), -1)))
    x = graph.norm(tf.nn.relu(graph.dense(x, dense)))
    return tf.sigmoid(graph.dense(x, names)).numpy()


def vgg(levels, graph: Graph, *, filters=3, names=2):
    """Probabilities of `[batch, frames, bands]`."""
    import tensorflow as tf

    x = graph.norm(levels[..., None])
    pools = [((4, 1), (2, 2)), *[((2, 2), (2, 2))] * 3, ((4, 4), (4, 4))]
    for number, (pool, stride) in enumerate(pools, start=1):
        x = graph.norm(graph.conv(x, filters, (3, 3), "same", f"{number}CNN"))
        x = tf.nn.max_pool2d(x, pool, stride, "VALID")
    return tf.sigmoid(graph.dense(tf.reshape(x, (len(x), -1)), names)).numpy()
