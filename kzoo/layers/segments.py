"""A sequence as overlapping segments, LSTMs within and across them, and the sequence again.

Luo, Chen and Yoshioka, 2020, Dual-path RNN, https://arxiv.org/abs/1910.06379
"""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp.framing import frame, overlap_add, pad_last
from kzoo.layers.norms import norm_layer
from kzoo.layers.recurrent import LSTM


class _Segments(keras.layers.Layer):
    """length, hop: of a segment, and from a segment to the next, in frames."""

    def __init__(self, length: int, hop: int, **kwargs):
        super().__init__(**kwargs)
        if not 0 < hop <= length:
            raise ValueError(
                f"hop must be from 1 to length={length}, or frames are lost; got {hop}"
            )
        self.length, self.hop = length, hop

    def count(self, frames):
        """How many segments so many frames have; None for None."""
        return None if frames is None else (frames + self.length) // self.hop + 1

    def get_config(self):
        return {**super().get_config(), "length": self.length, "hop": self.hop}


@keras.saving.register_keras_serializable("kzoo")
class CutSegments(_Segments):
    """`[batch, frames, channels]` to `[batch, segments, length, channels]`.

    As many zeros as a segment is long stand on both sides, so that the first segment hears zeros
    alone; segments = (frames + length) // hop + 1.
    """

    def call(self, x):
        channels = x.shape[2]
        # Channels lie side by side in a frame, so that no axis is swapped.
        flat = pad_last(
            ops.reshape(x, (ops.shape(x)[0], ops.shape(x)[1] * channels)),
            self.length * channels,
            self.length * channels,
        )
        segments = frame(flat, self.length * channels, self.hop * channels)
        shape = (ops.shape(x)[0], ops.shape(segments)[1], self.length, channels)
        return ops.reshape(segments, shape)

    def compute_output_spec(self, x):
        batch, frames, channels = x.shape
        shape = (batch, self.count(frames), self.length, channels)
        return keras.KerasTensor(shape, self.compute_dtype)


@keras.saving.register_keras_serializable("kzoo")
class SumSegments(_Segments):
    """What became of `CutSegments(x)` as a sequence: the sums over the segments that hold a frame.

    `[batch, segments, length, channels]` and x `[batch, frames, any]` to `[batch, frames,
    channels]`.
    """

    def call(self, segments, x):
        channels = segments.shape[3]
        batch, count = ops.shape(segments)[:2]
        flat = ops.reshape(segments, (batch, count, self.length * channels))
        joined = overlap_add(flat, self.hop * channels)
        joined = ops.reshape(joined, (batch, -1, channels))
        return joined[:, self.length : self.length + ops.shape(x)[1]]

    def compute_output_spec(self, segments, x):
        shape = (segments.shape[0], x.shape[1], segments.shape[3])
        return keras.KerasTensor(shape, self.compute_dtype)


@keras.saving.register_keras_serializable("kzoo")
class SegmentLSTM(keras.layers.Layer):
    """`[batch, segments, length, channels]` and what an LSTM, a dense layer and a norm add to it.

    across: over the segments, at each place within them, and not over the frames of each segment.
    bidirectional: whether it hears what is to come. norm: of `layers.norms`, over all places alike.
    norm_first: it is before the LSTM, not behind the dense layer. epsilon: of the norm.
    """

    def __init__(
        self,
        hidden: int,
        *,
        across: bool,
        bidirectional: bool = True,
        norm: str = "gln",
        norm_first: bool = False,
        epsilon: float = 1e-8,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden, self.across, self.bidirectional = hidden, across, bidirectional
        self.norm_kind, self.norm_first, self.epsilon = norm, norm_first, epsilon
        self.lstm = LSTM(hidden, return_sequences=True, dtype=self.dtype_policy, name="lstm")
        if bidirectional:
            self.lstm = keras.layers.Bidirectional(
                self.lstm, dtype=self.dtype_policy, name="both_ways"
            )
        self.norm = norm_layer(norm, epsilon=epsilon, name="norm")

    def build(self, shape):
        channels = shape[3]
        self.lstm.build((None, None, channels))
        self.dense = keras.layers.Dense(channels, dtype=self.dtype_policy, name="dense")
        self.dense.build((None, None, self.hidden * (1 + self.bidirectional)))
        self.norm.build((None, None, channels))

    def call(self, segments, training=False):
        batch, count, length, channels = ops.shape(segments)
        x = self._normed(segments, training) if self.norm_first else segments
        x = ops.swapaxes(x, 1, 2) if self.across else x
        steps = count if self.across else length
        x = self.dense(self.lstm(ops.reshape(x, (-1, steps, channels)), training=training))
        if self.across:
            x = ops.swapaxes(ops.reshape(x, (batch, length, count, channels)), 1, 2)
        x = ops.reshape(x, (batch, count, length, channels))
        return segments + (x if self.norm_first else self._normed(x, training))

    def _normed(self, x, training):
        batch, count, length, channels = ops.shape(x)
        y = self.norm(ops.reshape(x, (batch, count * length, channels)), training=training)
        return ops.reshape(y, (batch, count, length, channels))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        sizes = {"hidden": self.hidden, "across": self.across, "bidirectional": self.bidirectional}
        norm = {"norm": self.norm_kind, "norm_first": self.norm_first, "epsilon": self.epsilon}
        return {**super().get_config(), **sizes, **norm}
