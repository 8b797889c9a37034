"""CREPE: the pitch of one voice or instrument, from its waveform.

Kim, Salamon, Li and Bello, 2018, https://arxiv.org/abs/1802.06182: six convolutions over 64 ms of
sound end in 360 sigmoids, one for every 20 cents from C1 to B6, of which those near the pitch
light up. No sources and no stems: what comes out are activations, and
`kzoo.pitch_tracking.decoding` makes hertz of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import keras
from keras import layers, ops

from kzoo.dsp.framing import frame, frame_count, pad_last
from kzoo.models.base.sizes import Sizes

SAMPLE_RATE = 16000
FRAME_LENGTH = 1024
BINS = 360


@dataclass(frozen=True, kw_only=True)
class CREPE(Sizes):
    """The authors' largest network by default; its bins are hertz at 16 kHz alone.

    filters: channels of the six convolutions. dropout: share dropped after each, in training.
    hop_length: in samples, from one frame to the next; 160 is the paper's 10 ms, 64 gives 250
        frames a second.
    """

    task: ClassVar[str] = "pitch"

    sample_rate: Literal[16000] = SAMPLE_RATE
    channels: Literal[1] = 1
    filters: tuple[int, ...] = (1024, 128, 128, 128, 256, 512)
    dropout: float = 0.25
    hop_length: int = 160

    def __post_init__(self):
        super().__post_init__()
        if len(self.filters) != 6:
            raise ValueError(f"filters must be six numbers, one a convolution; got {self.filters}")
        if self.hop_length < 1:
            raise ValueError(f"hop_length must be at least 1 sample; got {self.hop_length}")

    def context_samples(self) -> int:
        """Half a frame, which is centred on its time."""
        return FRAME_LENGTH // 2

    def block(self) -> dict[str, Any]:
        """Frames that lie inside the block."""
        return {**super().block(), "padding": "valid"}

    def whole(self, samples: int | None) -> int:
        """The length nearest to `samples`, or to `block_seconds`, of whole frames."""
        more = round((super().whole(samples) - FRAME_LENGTH) / self.hop_length)
        return FRAME_LENGTH + max(0, more) * self.hop_length


# The authors' program multiplies (32, 4, 4, 4, 8, 16) by 32, 24, 16, 8 and 4.
VARIANTS = {
    "full": CREPE(),
    "large": CREPE(filters=(768, 96, 96, 96, 192, 384)),
    "medium": CREPE(filters=(512, 64, 64, 64, 128, 256)),
    "small": CREPE(filters=(256, 32, 32, 32, 64, 128)),
    "tiny": CREPE(filters=(128, 16, 16, 16, 32, 64)),
}


def core(size: CREPE = VARIANTS["full"]) -> keras.Model:
    """Normalised frames `[batch, 1024]` at 16 kHz to activations `[batch, 360]`, each in 0 to 1.

    Bin b stands for 10 * 2 ** ((20 * b + 1997.3794) / 1200) hertz.
    """
    frames = keras.Input((FRAME_LENGTH,), name="frames")
    x = ops.expand_dims(frames, -1)
    for level, n in enumerate(size.filters, start=1):
        taps, stride = (512, 4) if level == 1 else (64, 1)
        # "same" pads 254 and 254 before the stride of 4, then 31 and 32, as the reference does.
        x = layers.Conv1D(
            n, taps, strides=stride, padding="same", activation="relu", name=f"conv{level}"
        )(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"conv{level}_norm")(x)
        x = layers.MaxPooling1D(2, name=f"conv{level}_pool")(x)
        x = layers.Dropout(size.dropout, name=f"conv{level}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)  # [batch, 4 * filters], the channels of a time together
    activations = layers.Dense(BINS, activation="sigmoid", dtype="float32", name="activations")(x)
    return keras.Model(frames, activations, name="crepe_core")


def build(
    size: CREPE = VARIANTS["full"],
    *,
    samples: int | None = None,
    padding: Literal["center", "valid"] = "center",
) -> keras.Model:
    """Waveform `[batch, samples, 1]` at 16 kHz to activations `[batch, frames, 360]`.

    samples: None for any length.
    padding: with "center" frame m is centred on sample m * hop_length, silence lies around the
        signal, and frames = 1 + samples // hop_length; "valid" has whole frames only,
        1 + (samples - 1024) // hop_length of them.
    """
    if padding not in ("center", "valid"):
        raise ValueError(f"padding must be one of center, valid; got {padding!r}")
    around = FRAME_LENGTH // 2 if padding == "center" else 0
    waveform = keras.Input((samples, 1), name="waveform")
    # float32 whatever the policy: the square of a quiet sample has no place in half precision.
    frames = NormalisedFrames(
        FRAME_LENGTH, size.hop_length, around, dtype="float32", name="frames"
    )(waveform)
    count = None
    if samples is not None:
        count = frame_count(samples + 2 * around, FRAME_LENGTH, size.hop_length)
    activations = core(size)(frames)
    activations = JoinFrames(count, dtype="float32", name="join_frames")(activations, waveform)
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

    def compute_output_shape(self, waveform_shape):
        batch, samples, _ = waveform_shape
        if batch is None or samples is None:
            return (None, self.frame_length)
        frames = frame_count(samples + 2 * self.around, self.frame_length, self.hop_length)
        return (batch * frames, self.frame_length)

    def get_config(self):
        return {**super().get_config(), "frame_length": self.frame_length,
                "hop_length": self.hop_length, "around": self.around}  # fmt: skip


@keras.saving.register_keras_serializable("kzoo")
class JoinFrames(layers.Layer):
    """`[batch * frames, bins]` and what it came of, `[batch, ...]`, to `[batch, frames, bins]`.

    frames: None where the waveform has any length.
    """

    def __init__(self, frames: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, activations, waveform):
        bins = activations.shape[-1]
        if self.frames is not None:
            return ops.reshape(activations, (-1, self.frames, bins))
        return ops.reshape(activations, (ops.shape(waveform)[0], -1, bins))

    def get_config(self):
        return {**super().get_config(), "frames": self.frames}
