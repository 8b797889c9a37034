"""Layers from controls to sound, and what brings an encoding to the controls' frames.

All of them are to be made with dtype="float32", whatever the policy: a pitch in half precision is
out of tune by a quarter of a tone, and a room's tail vanishes.
"""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp import envelopes, filters, synthesis


@keras.saving.register_keras_serializable("kzoo")
class HarmonicsPlusNoise(keras.layers.Layer):
    """(f0_hz, amplitudes, noise_magnitudes) to `[batch, samples, 1]`; see `dsp.synthesis`.

    The noise is another one in every step of training, and the same in every use.
    """

    def __init__(self, hop_length: int, sample_rate: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length, self.sample_rate = hop_length, sample_rate
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, f0_hz, amplitudes, noise_magnitudes, training=False):
        noise = None
        if training:
            shape = (*ops.shape(f0_hz)[:2], self.hop_length)
            noise = keras.random.uniform(shape, -1.0, 1.0, seed=self.seed_generator)
        return synthesis.harmonics_plus_noise(
            f0_hz,
            amplitudes,
            noise_magnitudes,
            hop_length=self.hop_length,
            sample_rate=self.sample_rate,
            noise_frames=noise,
        )

    def compute_output_shape(self, f0_hz_shape, amplitudes_shape, noise_magnitudes_shape):
        return _samples_shape(f0_hz_shape, self.hop_length)

    def get_config(self):
        return {
            **super().get_config(),
            "hop_length": self.hop_length,
            "sample_rate": self.sample_rate,
        }


@keras.saving.register_keras_serializable("kzoo")
class ContinueHarmonicsPlusNoise(keras.layers.Layer):
    """(f0_hz, amplitudes, noise_magnitudes, *state) to (signal, *state), states by sorted names."""

    def __init__(self, hop_length: int, sample_rate: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length, self.sample_rate = hop_length, sample_rate

    def call(self, f0_hz, amplitudes, noise_magnitudes, *state):
        names = ("amplitudes", "f0_hz", "noise_seed", "noise_tail", "phase")
        signal, after = synthesis.continue_harmonics_plus_noise(
            f0_hz,
            amplitudes,
            noise_magnitudes,
            dict(zip(names, state, strict=True)),
            hop_length=self.hop_length,
            sample_rate=self.sample_rate,
        )
        return signal, *(after[name] for name in names)

    def compute_output_spec(self, f0_hz, amplitudes, noise_magnitudes, *state):
        signal = keras.KerasTensor(_samples_shape(f0_hz.shape, self.hop_length), f0_hz.dtype)
        return signal, *(keras.KerasTensor(x.shape, x.dtype) for x in state)

    def get_config(self):
        return {
            **super().get_config(),
            "hop_length": self.hop_length,
            "sample_rate": self.sample_rate,
        }


def _samples_shape(frames_shape: tuple, hop_length: int) -> tuple:
    batch, frames, _ = frames_shape
    return (batch, None if frames is None else frames * hop_length, 1)


@keras.saving.register_keras_serializable("kzoo")
class Reverb(keras.layers.Layer):
    """A room that is learned with the instrument: `[batch, samples, 1]` with its echo added.

    One impulse response of `taps` samples for all sounds, next to silent at first, without the
    direct sound.
    """

    def __init__(self, taps: int, **kwargs):
        super().__init__(**kwargs)
        self.taps = taps

    def build(self, input_shape):
        self.response = self.add_weight(
            shape=(self.taps,),
            initializer=keras.initializers.RandomNormal(stddev=1e-6),
            name="response",
        )

    def call(self, signal):
        return filters.reverberate(signal, ops.convert_to_tensor(self.response))

    def compute_output_spec(self, signal):
        return keras.KerasTensor(signal.shape, signal.dtype)

    def get_config(self):
        return {**super().get_config(), "taps": self.taps}


@keras.saving.register_keras_serializable("kzoo")
class ContinueReverb(Reverb):
    """(signal, *state) to (signal, *state), states by sorted names: `Reverb`, block after block."""

    def call(self, signal, *state):
        names = ("room_block", "room_spectra")
        signal, after = filters.continue_reverberate(
            signal, ops.convert_to_tensor(self.response), dict(zip(names, state, strict=True))
        )
        return signal, *(after[name] for name in names)

    def compute_output_spec(self, signal, *state):
        return tuple(keras.KerasTensor(x.shape, x.dtype) for x in (signal, *state))


@keras.saving.register_keras_serializable("kzoo")
class UpsampleTo(keras.layers.Layer):
    """`[batch, frames, channels]` along lines to `factor` times the frames, as many as `like` has.

    Called with (frames, like).
    """

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, frames, like):
        return envelopes.upsample(frames, self.factor)[:, : ops.shape(like)[1]]

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("kzoo")
class TimeNorm(keras.layers.Layer):
    """`[batch, frames, channels]`, each channel of mean 0 and variance 1 over time, then scaled.

    Instance norm with a gain and an offset a channel; epsilon 1e-5, as in DDSP.
    """

    def build(self, input_shape):
        width = (input_shape[-1],)
        self.gamma = self.add_weight(shape=width, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=width, initializer="zeros", name="beta")

    def call(self, x):
        mean = ops.mean(x, axis=1, keepdims=True)
        variance = ops.mean(ops.square(x - mean), axis=1, keepdims=True)
        return (x - mean) * ops.rsqrt(variance + 1e-5) * self.gamma + self.beta
