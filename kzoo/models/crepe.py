"""CREPE: the pitch of one voice or instrument, from its waveform.

Kim, Salamon, Li and Bello, 2018, https://arxiv.org/abs/1802.06182: six convolutions over 64 ms of
sound end in 360 sigmoids, one for every 20 cents from C1 to B6, of which those near the pitch
light up. No sources and no stems: what comes out are activations, and
`kzoo.pitch_tracking.decoding` makes hertz of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from kzoo.dsp.framing import frame, pad_last

# Filters of the capacities of the authors' program: (32, 4, 4, 4, 8, 16) times 4, 8, 16, 24, 32.
VARIANTS = {
    "full": {"filters": (1024, 128, 128, 128, 256, 512)},
    "large": {"filters": (768, 96, 96, 96, 192, 384)},
    "medium": {"filters": (512, 64, 64, 64, 128, 256)},
    "small": {"filters": (256, 32, 32, 32, 64, 128)},
    "tiny": {"filters": (128, 16, 16, 16, 32, 64)},
}
SAMPLE_RATE = 16000
FRAME_LENGTH = 1024
BINS = 360
PADDINGS = ("center", "valid")


def core(
    *, variant: str = "full", filters: Sequence[int] | None = None, dropout: float = 0.25
) -> keras.Model:
    """Normalised frames `[batch, 1024]` at 16 kHz to activations `[batch, 360]`, each in 0 to 1.

    Bin b stands for 10 * 2 ** ((20 * b + 1997.3794) / 1200) hertz.
    filters: of the six convolutions, in place of the variant's. dropout: after each, in training.
    Raises ValueError for an unknown variant, or another number of filters.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}")
    filters = VARIANTS[variant]["filters"] if filters is None else tuple(filters)
    if len(filters) != 6:
        raise ValueError(f"filters must be six numbers, one a convolution; got {filters}")
    frames = keras.Input((FRAME_LENGTH,), name="frames")
    x = ops.expand_dims(frames, -1)
    for level, n in enumerate(filters, start=1):
        # "same" pads 254 and 254 before the stride of 4, then 31 and 32, as the reference does.
        x = layers.Conv1D(
            n, 512 if level == 1 else 64, strides=4 if level == 1 else 1, padding="same",
            activation="relu", name=f"conv{level}",
        )(x)  # fmt: skip
        x = layers.BatchNormalization(epsilon=1e-3, name=f"conv{level}_norm")(x)
        x = layers.MaxPooling1D(2, name=f"conv{level}_pool")(x)
        x = layers.Dropout(dropout, name=f"conv{level}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)  # [batch, 4 * filters], the channels of a time together
    activations = layers.Dense(BINS, activation="sigmoid", dtype="float32", name="activations")(x)
    return keras.Model(frames, activations, name="crepe_core")


def build(
    *,
    variant: str = "full",
    samples: int | None = None,
    padding: str = "center",
    hop_length: int = 160,
    filters: Sequence[int] | None = None,
    dropout: float = 0.25,
) -> keras.Model:
    """Waveform `[batch, samples, 1]` at 16 kHz to activations `[batch, frames, 360]`.

    samples: None for any length.
    padding: with "center" frame m is centred on sample m * hop_length, silence lies around the
        signal, and frames = 1 + samples // hop_length; "valid" has whole frames only,
        1 + (samples - 1024) // hop_length of them.
    hop_length: in samples; 160 is the paper's 10 ms, 64 gives 250 frames a second.
    """
    if padding not in PADDINGS:
        raise ValueError(f"padding must be one of {', '.join(PADDINGS)}; got {padding!r}")
    if hop_length < 1:
        raise ValueError(f"hop_length must be at least 1 sample; got {hop_length}")
    around = FRAME_LENGTH // 2 if padding == "center" else 0
    waveform = keras.Input((samples, 1), name="waveform")
    # float32 whatever the policy: the square of a quiet sample has no place in half precision.
    frames = NormalisedFrames(FRAME_LENGTH, hop_length, around, dtype="float32", name="frames")(
        waveform
    )
    activations = core(variant=variant, filters=filters, dropout=dropout)(frames)
    activations = JoinFrames(dtype="float32", name="join_frames")(activations, waveform)
    return keras.Model(waveform, activations, name="crepe")


def normalised(frames):
    """`[..., samples]` with mean 0 and unbiased standard deviation 1; silence stays silence."""
    centred = frames - ops.mean(frames, axis=-1, keepdims=True)
    variance = ops.sum(ops.square(centred), axis=-1, keepdims=True) / (frames.shape[-1] - 1)
    return centred / ops.maximum(ops.sqrt(variance), 1e-10)


@keras.saving.register_keras_serializable("kzoo")
class NormalisedFrames(layers.Layer):
    """`[batch, samples, 1]`, with `around` zeros on both sides, to `[batch * frames, length]`.

    Each frame is `normalised`.
    """

    def __init__(self, frame_length: int, hop_length: int, around: int, **kwargs):
        super().__init__(**kwargs)
        self.frame_length, self.hop_length, self.around = frame_length, hop_length, around

    def call(self, waveform):
        signal = pad_last(waveform[..., 0], self.around, self.around)
        frames = frame(signal, self.frame_length, self.hop_length)  # [batch, frames, length]
        return normalised(ops.reshape(frames, (-1, self.frame_length)))

    def get_config(self):
        return {**super().get_config(), "frame_length": self.frame_length,
                "hop_length": self.hop_length, "around": self.around}  # fmt: skip


@keras.saving.register_keras_serializable("kzoo")
class JoinFrames(layers.Layer):
    """`[batch * frames, bins]` and what it came of, `[batch, ...]`, to `[batch, frames, bins]`."""

    def call(self, activations, waveform):
        batch = ops.shape(waveform)[0]
        return ops.reshape(activations, (batch, -1, activations.shape[-1]))
