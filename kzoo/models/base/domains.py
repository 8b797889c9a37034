"""The domains in which systems are trained: magnitudes, waveforms, pre-emphasised waveforms.

What is trained is what ships: a training graph is made of the system's own layers, so its weights
are the system's. Each function here returns (graph, domain): the model that `fit` trains, and the
function that brings the sources' waveforms `[batch, sources, samples, channels]` to where the
graph's estimates are. The system's samples must be fixed and make one segment.

inference_mode: dropout and batch norms behave as after training, with scales and offsets that
learn; so were Deezer's weights trained, and so they are best trained on.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from kzoo.dsp.stft import STFT, magnitude
from kzoo.layers.masks import JoinSegments, Segments

Training = tuple[keras.Model, Callable]


def waveforms(system: keras.Model, *, inference_mode: bool = False) -> Training:
    """The system is trained as it is, on waveforms."""
    if not inference_mode:
        return system, _as_they_are
    inputs = [keras.Input(x.shape[1:], name=x.name) for x in system.inputs]
    outputs = AsAfterTraining(system)(inputs if len(inputs) > 1 else inputs[0])
    return keras.Model(inputs, outputs, name=f"{system.name}_training"), _as_they_are


def magnitudes(
    system: keras.Model,
    *,
    core: str,
    inference_mode: bool = False,
    window_frames: int | None = None,
) -> Training:
    """The layer `core`, on magnitudes of the system's STFT, is trained on those of the sources.

    The graph takes the mixture's waveform, and the condition where the core has one, to
    `[batch, sources, frames, bins, channels]`.
    window_frames: of a core that hears so many frames at a time; it learns from windows side by
        side, which the system lets overlap.
    """
    network = system.get_layer(core)
    transform = system.get_layer("stft").get_config()
    keys = ("n_fft", "hop_length", "window", "padding", "pad_mode")
    shape = {key: transform[key] for key in keys}
    # float32 under any policy: a spectrum in half precision has 60 dB of range.
    stft = STFT(**shape, dtype="float32", name="stft")
    bins = network.inputs[0].shape[2]

    def measured(waveform):
        real, imag = stft(waveform)
        return magnitude(real[..., :bins, :], imag[..., :bins, :])

    mixture = keras.Input(system.inputs[0].shape[1:], name=system.inputs[0].name)
    conditions = [keras.Input(x.shape[1:], name=x.name) for x in network.inputs[1:]]
    band = measured(mixture)
    seen = Segments(window_frames, name="segments")(band) if window_frames else band
    trained = AsAfterTraining(network) if inference_mode else network
    estimates = trained([seen, *conditions] if conditions else seen)
    if window_frames:
        estimates = JoinSegments(name="join_segments")(estimates, band)
    if len(estimates.shape) == 4:  # one source: [batch, frames, bins, channels]
        estimates = ops.expand_dims(estimates, 1)
    graph = keras.Model([mixture, *conditions], estimates, name=f"{system.name}_training")
    return graph, _each_source(measured)


def embeddings(
    system: keras.Model, *, core: str, packed: bool, inference_mode: bool = False
) -> Training:
    """The layer `core`, on magnitudes by the system's "stft" and "magnitude", for their loss.

    The graph takes the mixture's waveform to an embedding for each bin, `[batch, points,
    embedding]`. packed: to what the core gives, `[batch, frames, bins, embedding + sources]`.
    The domain is the sources' magnitudes, `[batch, sources, frames, bins, channels]`.
    """
    network = system.get_layer(core)
    stft, magnitude_of = system.get_layer("stft"), system.get_layer("magnitude")

    def measured(waveform):
        return magnitude_of(*stft(waveform))

    mixture = keras.Input(system.inputs[0].shape[1:], name=system.inputs[0].name)
    trained = AsAfterTraining(network) if inference_mode else network
    estimates = trained(measured(mixture))
    if not packed:
        estimates = ops.reshape(estimates, (-1, np.prod(estimates.shape[1:3]), estimates.shape[3]))
    graph = keras.Model(mixture, estimates, name=f"{system.name}_training")
    return graph, _each_source(measured)


def core_waveforms(system: keras.Model, *, core: str, inference_mode: bool = False) -> Training:
    """The layer `core` is trained on the segment that it takes, without the system's padding.

    The domain is the middle of the sources, as long as the core's estimates.
    """
    network = system.get_layer(core)
    samples = network.inputs[0].shape[1] or system.inputs[0].shape[1]
    inputs = [keras.Input((samples, *network.inputs[0].shape[2:]), name=system.inputs[0].name)]
    inputs += [keras.Input(x.shape[1:], name=x.name) for x in network.inputs[1:]]
    trained = AsAfterTraining(network) if inference_mode else network
    arguments = inputs if len(inputs) > 1 else inputs[0]
    estimates = trained(arguments)
    graph = keras.Model(arguments, estimates, name=f"{system.name}_training")
    kept = estimates.shape[2] or samples  # [batch, sources, samples, channels]
    start = (samples - kept) // 2
    return graph, lambda sources: sources[:, :, start : start + kept]


def pre_emphasised(system: keras.Model, *, core: str, inference_mode: bool = False) -> Training:
    """The layer `core` is trained between the system's pre-emphasis and its inverse.

    Beside the window the core takes z, which the system's layer "latent" draws. Raises ValueError
    for a system whose z is an input.
    """
    if len(system.inputs) > 1:
        raise ValueError(
            "in training z is drawn, so it cannot be an input: leave model.z out, or say fixed "
            "or zero"
        )
    network = system.get_layer(core)
    emphasis, latent = system.get_layer("pre_emphasis"), system.get_layer("latent")
    mixture = keras.Input(network.inputs[0].shape[1:], name=system.inputs[0].name)
    emphasised = emphasis(mixture)
    trained = AsAfterTraining(network) if inference_mode else network
    estimates = trained([emphasised, latent(emphasised)])
    return keras.Model(mixture, estimates, name=f"{system.name}_training"), emphasis


def _each_source(measured: Callable) -> Callable:
    """`measured`, of waveforms, as a function of sources `[batch, sources, samples, channels]`."""

    def domain(sources):
        count, samples, channels = ops.shape(sources)[1:]
        found = measured(ops.reshape(sources, (-1, samples, channels)))
        return ops.reshape(found, (-1, count, *found.shape[1:]))

    return domain


class AsAfterTraining(keras.layers.Layer):
    """A model that never hears that it is being trained, though its weights learn.

    A functional model passes its own training flag on to every layer, whatever they were called
    with; a layer whose call has no such flag stops it.
    """

    def __init__(self, model: keras.Model):
        super().__init__(name=f"{model.name}_as_after_training")
        self.model = model

    def call(self, inputs):
        return self.model(inputs, training=False)


def _as_they_are(sources):
    return sources
