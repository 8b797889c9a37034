"""Networks that hear the past alone, defined once for whole signals and for streams.

A whole signal begins after silence: zeros stand before it, and recurrent layers begin at zero. A
stream is cut into blocks of frames, and what a block needs of those before it is a state: an input
of the block's model called "state_<name>", and an output of the same name, which goes in with the
next block. `Past` is either, so that a network is written once.

All tensors are `[batch, frames, ...]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.framing import frame, overlap_add, pad_last
from kzoo.layers.masks import Estimates
from kzoo.layers.norms import CumulativeNorm
from kzoo.models.base.sizes import Sizes, check_positive, check_sources

STATE = "state_"
UNROLLED_FRAMES = 4  # at most, of a block whose recurrent layers have no loop


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameStreamSizes(Sizes):
    """Sizes of a network on frames, which may stream: `build_step` beside `build` in its file.

    n_fft, hop_length: a frame and the distance to the next, in samples.
    """

    n_fft: int
    hop_length: int

    stream_differs: ClassVar[bool] = False  # from the whole, by its authors' definition
    live_frames: ClassVar[int] = 1  # of a block of live sound

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length")

    @property
    def delay_samples(self) -> int:
        """How much later the stream says what the model of the whole signal says."""
        return self.n_fft - self.hop_length

    @property
    def latency_ms(self) -> float:
        """From a sound to its estimate: the delay, and the block that must be full before it."""
        return 1000 * (self.delay_samples + self.live_frames * self.hop_length) / self.sample_rate

    def whole(self, samples: int | None) -> int:
        """The length nearest to `samples`, or to `block_seconds`, in whole hops."""
        hops = round(super().whole(samples) / self.hop_length)
        return max(-(-self.n_fft // self.hop_length), hops) * self.hop_length


@dataclasses.dataclass(frozen=True, kw_only=True)
class CausalSizes(FrameStreamSizes):
    """Sizes of a network of one channel that hears the past alone, and always streams."""

    channels: int = 1

    streams: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if self.channels != 1:
            raise ValueError(f"channels must be 1: the network hears one; got {self.channels}")


class Past:
    """What a network has heard before its input: silence, or in a stream a state.

    stream: the number of frames in a block of a stream, or 0 for a whole signal. inputs:
    {name: tensor} of the states so far. after: {name: tensor} as they are after the block.
    recurrence: the arguments with which `recurrent` wants a layer made.
    """

    def __init__(self, *, stream: int = 0):
        self.stream = stream
        self.recurrence = {
            "return_sequences": True,
            "return_state": bool(stream),
            "unroll": 0 < stream <= UNROLLED_FRAMES,  # plain products: the fastest for a few
        }
        self.inputs: dict[str, Any] = {}
        self.after: dict[str, Any] = {}

    def state(self, name: str, shape: tuple[int, ...]):
        """The state `name`, `[batch, *shape]`, as it is before the block; ValueError for two."""
        name = STATE + name
        if name in self.inputs:
            raise ValueError(f"two states are called {name!r}")
        self.inputs[name] = keras.Input(shape, dtype="float32", name=name)
        return self.inputs[name]

    def keep(self, name: str, value) -> None:
        """Say what the state `name` is after the block."""
        self.after[STATE + name] = value

    def before(self, x, frames: int, name: str):
        """`x` `[batch, n, ...]` behind `frames` frames of the past: `[batch, frames + n, ...]`."""
        if not frames:
            return x
        if not self.stream:
            return ZerosBefore(frames, name=name)(x)
        x = ops.concatenate([self.state(name, (frames, *x.shape[2:])), x], axis=1)
        self.keep(name, x[:, -frames:])
        return x

    def normed(self, norm: layers.Layer, x, name: str):
        """`x` `[batch, n, channels]` through `norm`, a cumulative one with what it has measured."""
        if not self.stream or not isinstance(norm, CumulativeNorm):
            return norm(x)
        x, after = norm(x, before=self.state(name, (3,)))
        self.keep(name, after)
        return x

    def recurrent(self, layer: layers.RNN, x, name: str):
        """`x` `[batch, n, features]` through `layer`, made with the arguments `recurrence`."""
        if not self.stream:
            return layer(x)
        sizes = layer.state_size if isinstance(layer.state_size, list) else [layer.state_size]
        names = [name] if len(sizes) == 1 else [f"{name}_{i}" for i in range(len(sizes))]
        states = [self.state(one, (units,)) for one, units in zip(names, sizes, strict=True)]
        x, *after = layer(x, initial_state=states)
        for one, value in zip(names, after, strict=True):
            self.keep(one, value)
        return x

    def frames(self, waveform, frame_length: int, hop_length: int, name: str, *, edge="zeros"):
        """`waveform` `[batch, samples, 1]` as frames `[batch, n, frame_length]`.

        A frame ends with each hop; the first holds frame_length - hop_length samples of the past.
        A whole signal has frames until its last sample is in as many as the others. edge: what is
        before it and after it, "zeros", or "reflect", the signal's own mirror image. A stream has
        no mirror image at its end.
        """
        lengths = {"frame_length": frame_length, "hop_length": hop_length, "edge": edge}
        if not self.stream:
            return CutFrames(**lengths, dtype="float32", name=name)(waveform)
        before = self.state(name, (frame_length - hop_length,))
        begun = self.state(f"{name}_begun", (1,)) if edge == "reflect" else None
        frames, after = ContinueFrames(**lengths, dtype="float32", name=name)(
            waveform, before, begun
        )
        self.keep(name, after)
        if begun is not None:
            self.keep(f"{name}_begun", ops.ones_like(begun))
        return frames

    def overlap_add(self, frames, waveform, hop_length: int, name: str):
        """The sum of `frames` `[batch, n, frame_length]` where they were cut from `waveform`.

        As long as `waveform`; a stream is late by frame_length - hop_length samples, and keeps what
        later frames add to.
        """
        if not self.stream:
            return SumFrames(hop_length, dtype="float32", name=name)(frames, waveform)
        before = self.state(name, (frames.shape[2] - hop_length,))
        signal, after = ContinueOverlapAdd(hop_length, dtype="float32", name=name)(frames, before)
        self.keep(name, after)
        return signal

    def add_tail(self, signal, samples: int, name: str):
        """`signal` `[batch, sources, n, channels]`, to whose last `samples` later blocks add.

        A stream gives what is complete, late by `samples`, and keeps the rest.
        """
        if not self.stream or not samples:
            return signal
        done = signal.shape[2] - samples
        before = self.state(name, (signal.shape[1], samples, signal.shape[3]))
        signal = signal + ops.pad(before, ((0, 0), (0, 0), (0, done), (0, 0)))
        self.keep(name, signal[:, :, done:])
        return signal[:, :, :done]


@keras.saving.register_keras_serializable("kzoo")
class ZerosBefore(layers.Layer):
    """`[batch, n, ...]` to `[batch, frames + n, ...]`: silence before the first frame."""

    def __init__(self, frames: int, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, x):
        return ops.pad(x, [(0, 0), (self.frames, 0), *[(0, 0)] * (len(x.shape) - 2)])

    def get_config(self):
        return {**super().get_config(), "frames": self.frames}


class _Frames(layers.Layer):
    def __init__(self, frame_length: int, hop_length: int, edge: str = "zeros", **kwargs):
        super().__init__(**kwargs)
        if edge not in ("zeros", "reflect"):
            raise ValueError(f"edge must be one of zeros, reflect; got {edge!r}")
        self.frame_length, self.hop_length, self.edge = frame_length, hop_length, edge
        self.kept = frame_length - hop_length

    def get_config(self):
        lengths = {"frame_length": self.frame_length, "hop_length": self.hop_length}
        return {**super().get_config(), **lengths, "edge": self.edge}


@keras.saving.register_keras_serializable("kzoo")
class CutFrames(_Frames):
    """A whole signal `[batch, samples, 1]` to all its frames, see `Past.frames`."""

    def call(self, waveform):
        signal = ops.squeeze(waveform, -1)  # a reshape: TFLite runs an index as a slow slice
        samples = ops.shape(signal)[-1]
        whole = -(-samples // self.hop_length) * self.hop_length
        if self.edge == "zeros":
            signal = pad_last(signal, self.kept, whole - samples + self.kept)
        else:  # a signal that is shorter than its mirror image is filled up first
            fill = _at_least_none(self.kept + 1 - samples)
            signal = pad_last(signal, 0, fill)
            head = ops.flip(signal[..., 1 : self.kept + 1], axis=-1)
            tail = ops.flip(signal[..., -self.kept - 1 : -1], axis=-1)
            signal = ops.concatenate([head, signal, tail], axis=-1)
            signal = pad_last(signal, 0, _at_least_none(whole - samples - fill))
        return frame(signal, self.frame_length, self.hop_length)

    def compute_output_shape(self, waveform_shape):
        batch, samples, _ = waveform_shape
        if samples is None:
            return (batch, None, self.frame_length)
        whole = -(-samples // self.hop_length) * self.hop_length
        least = 0 if self.edge == "zeros" else self.kept + 1
        return (batch, (max(whole, least) + self.kept) // self.hop_length, self.frame_length)


def _at_least_none(samples):
    """`samples`, or 0 where it is less; a number stays one, which JAX wants of lengths."""
    return max(samples, 0) if isinstance(samples, int) else ops.maximum(samples, 0)


@keras.saving.register_keras_serializable("kzoo")
class ContinueFrames(_Frames):
    """(waveform `[batch, n * hop_length, 1]`, the samples before it `[batch, kept]`, begun) to
    (frames `[batch, n, frame_length]`, the samples before what comes next).

    begun: 0 where nothing was before and the mirror image stands for it, else 1; None with zeros.
    """

    def call(self, waveform, before, begun=None):
        signal = ops.squeeze(waveform, -1)  # a reshape: TFLite runs an index as a slow slice
        if begun is not None:
            mirrored = ops.flip(signal[..., 1 : self.kept + 1], axis=-1)
            # The outermost sample may not be here yet: there the windows of STFTs are 0.
            mirrored = pad_last(mirrored, self.kept - mirrored.shape[-1], 0)
            before = begun * before + (1.0 - begun) * mirrored
        signal = ops.concatenate([before, signal], axis=-1)
        return frame(signal, self.frame_length, self.hop_length), signal[..., -self.kept :]

    def compute_output_spec(self, waveform, before, begun=None):
        shape = (waveform.shape[0], waveform.shape[1] // self.hop_length, self.frame_length)
        return tuple(keras.KerasTensor(x, self.compute_dtype) for x in (shape, before.shape))


@keras.saving.register_keras_serializable("kzoo")
class SumFrames(layers.Layer):
    """(frames `[batch, n, frame_length]`, the waveform they are of) to `[batch, samples, 1]`."""

    def __init__(self, hop_length: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length = hop_length

    def call(self, frames, waveform):
        kept, samples = frames.shape[-1] - self.hop_length, ops.shape(waveform)[1]
        signal = overlap_add(frames, self.hop_length)
        return signal[:, kept : kept + samples, None]

    def compute_output_shape(self, frames_shape, waveform_shape):
        return (*waveform_shape[:2], 1)

    def get_config(self):
        return {**super().get_config(), "hop_length": self.hop_length}


@keras.saving.register_keras_serializable("kzoo")
class ContinueOverlapAdd(layers.Layer):
    """(frames `[batch, n, frame_length]`, the sum before `[batch, kept]`) to (waveform, after).

    The waveform is `[batch, n * hop_length, 1]`, complete; the sum of what is not is kept.
    """

    def __init__(self, hop_length: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length = hop_length

    def call(self, frames, before):
        signal = overlap_add(frames, self.hop_length)
        done = frames.shape[1] * self.hop_length
        signal = signal + ops.pad(before, ((0, 0), (0, done)))
        return ops.expand_dims(signal[:, :done], -1), signal[:, done:]

    def compute_output_shape(self, frames_shape, before_shape):
        batch, frames, _ = frames_shape
        return (batch, frames * self.hop_length, 1), before_shape

    def get_config(self):
        return {**super().get_config(), "hop_length": self.hop_length}


Network = Callable[[Any, Sequence[str], CausalSizes, Past], Mapping[str, Any]]


def whole_model(
    network: Network, sources: Sequence[str], size: CausalSizes, *, samples: int | None, name: str
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to `[batch, sources, samples, 1]`; samples: None for any.

    network: (waveform, sources, size, past) to {source: waveform}, all `[batch, samples, 1]`.
    """
    check_sources(sources)
    waveform = keras.Input((samples, size.channels), name="waveform")
    return keras.Model(waveform, stems(network(waveform, sources, size, Past())), name=name)


def stream_model(
    network: Network, sources: Sequence[str], size: CausalSizes, *, frames: int, name: str
) -> keras.Model:
    """`frames` hops of a stream and a state to their estimates, late, and the state after them.

    {"waveform" `[batch, frames * hop_length, 1]`, "state_<name>"} to {source: the same shape,
    "state_<name>"}. Weights are those of `whole_model` by their paths, and so are the estimates,
    late by `size.delay_samples`, unless a model says else.
    """
    check_sources(sources)
    past = Past(stream=frames)
    waveform = keras.Input((frames * size.hop_length, size.channels), name="waveform")
    estimates = network(waveform, sources, size, past)
    return step_model({"waveform": waveform}, estimates, past, name=f"{name}_step")


def stems(estimates: Mapping[str, keras.KerasTensor]):
    """{source: waveform `[batch, samples, 1]`} to `[batch, sources, samples, 1]`."""
    each = [layers.Reshape((1, -1, 1), name=f"{name}_source")(x) for name, x in estimates.items()]
    joined = layers.Concatenate(axis=1, name="join_sources")(each) if len(each) > 1 else each[0]
    return Estimates(tuple(estimates), dtype="float32", name="stems")(joined)


def silent_state(step: keras.Model, **begun: np.ndarray) -> dict[str, np.ndarray]:
    """{name: array `[1, ...]`} for the states of `step`: zeros, or what `begun` says of a name."""
    return {
        x.name.removeprefix(STATE): np.asarray(
            begun.get(x.name.removeprefix(STATE), np.zeros((1, *x.shape[1:]))), np.float32
        )
        for x in step.inputs
        if x.name.startswith(STATE)
    }


def step_model(inputs: Mapping[str, Any], outputs: Mapping[str, Any], past: Past, *, name: str):
    """The model of a block: named inputs and outputs, and the states of `past` beside both."""
    if missing := set(past.inputs) ^ set(past.after):
        raise ValueError(f"states that come in must go out: {', '.join(sorted(missing))}")
    return keras.Model({**inputs, **past.inputs}, {**outputs, **past.after}, name=name)
