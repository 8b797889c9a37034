"""The graph that is trained: the network of a waveform system on the domain of its paper.

What is trained is what ships: the training graph is made of the same layers, so its weights are
those of the system.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from kzoo.dsp.stft import STFT, magnitude


def training_graph(
    system: keras.Model, *, inference_mode: bool = False
) -> tuple[keras.Model, Callable]:
    """(graph, domain) for a system `[batch, samples, channels]` -> `[batch, sources, ...]`.

    A system around a core of magnitudes is trained there: graph is the mixture's waveform, and the
    condition where the core has one, to `[batch, sources, frames, bins, channels]`, and
    domain(sources' waveforms) the magnitudes to compare with. One around a core of waveforms is
    trained as that core, on the segment that the core takes; its domain is the middle of the
    sources, as long as the core's estimates. One that pre-emphasises is trained between that and
    its inverse, and z, which its core takes beside the window, is drawn by its layer "latent". Any
    other system is its own graph, and its domain the waveform. The system's samples must be fixed
    and make one segment.
    inference_mode: dropout and batch norms behave as after training, with scales and offsets that
        learn; so were Deezer's weights trained, and so they are best trained on.
    """
    core = next((layer for layer in system.layers if layer.name.endswith("_core")), None)
    if core is None:
        if not inference_mode:
            return system, lambda sources: sources
        inputs = [keras.Input(x.shape[1:], name=x.name) for x in system.inputs]
        outputs = AsAfterTraining(system)(inputs if len(inputs) > 1 else inputs[0])
        return keras.Model(inputs, outputs, name=f"{system.name}_training"), lambda sources: sources
    if any(layer.name == "pre_emphasis" for layer in system.layers):
        return _pre_emphasised_graph(system, core, inference_mode)
    if len(core.inputs[0].shape) == 3:
        return _waveform_graph(system, core, inference_mode)
    transform = system.get_layer("stft").get_config()
    shape = {key: transform[key] for key in ("n_fft", "hop_length", "padding")}
    # float32 under any policy: a spectrum in half precision has 60 dB of range.
    stft = STFT(**shape, dtype="float32", name="stft")
    bins = core.inputs[0].shape[2]

    def magnitudes(waveform):
        real, imag = stft(waveform)
        return magnitude(real[..., :bins, :], imag[..., :bins, :])

    mixture = keras.Input(system.inputs[0].shape[1:], name=system.inputs[0].name)
    conditions = [keras.Input(x.shape[1:], name=x.name) for x in core.inputs[1:]]
    arguments = [magnitudes(mixture), *conditions]
    network = AsAfterTraining(core) if inference_mode else core
    estimates = network(arguments if conditions else arguments[0])
    if len(estimates.shape) == 4:  # one source: [batch, frames, bins, channels]
        estimates = keras.ops.expand_dims(estimates, 1)
    graph = keras.Model([mixture, *conditions], estimates, name=f"{system.name}_training")

    def domain(sources):
        count, samples, channels = keras.ops.shape(sources)[1:]
        flat = keras.ops.reshape(sources, (-1, samples, channels))
        found = magnitudes(flat)
        return keras.ops.reshape(found, (-1, count, *found.shape[1:]))

    return graph, domain


def _waveform_graph(system: keras.Model, core: keras.Model, inference_mode: bool):
    samples = core.inputs[0].shape[1] or system.inputs[0].shape[1]
    inputs = [keras.Input((samples, *core.inputs[0].shape[2:]), name=system.inputs[0].name)]
    inputs += [keras.Input(x.shape[1:], name=x.name) for x in core.inputs[1:]]
    network = AsAfterTraining(core) if inference_mode else core
    arguments = inputs if len(inputs) > 1 else inputs[0]
    estimates = network(arguments)
    graph = keras.Model(arguments, estimates, name=f"{system.name}_training")
    kept = estimates.shape[2] or samples  # [batch, sources, samples, channels]
    start = (samples - kept) // 2
    return graph, lambda sources: sources[:, :, start : start + kept]


def _pre_emphasised_graph(system: keras.Model, core: keras.Model, inference_mode: bool):
    if len(system.inputs) > 1:
        raise ValueError(
            "in training z is drawn, so it cannot be an input: leave model.z out, or say fixed "
            "or zero"
        )
    emphasis, latent = system.get_layer("pre_emphasis"), system.get_layer("latent")
    mixture = keras.Input(core.inputs[0].shape[1:], name=system.inputs[0].name)
    emphasised = emphasis(mixture)
    network = AsAfterTraining(core) if inference_mode else core
    estimates = network([emphasised, latent(emphasised)])
    return keras.Model(mixture, estimates, name=f"{system.name}_training"), emphasis


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


class DomainLoss(keras.losses.Loss):
    """A loss of `kzoo.losses` on what `domain` makes of the sources' waveforms.

    For a loss that takes the mixture, it is the last of the sources: `[batch, sources + 1, ...]`.
    """

    def __init__(self, loss: Callable, domain: Callable):
        super().__init__(name=loss.name, dtype="float32")
        self.loss, self.domain = loss, domain

    def call(self, y_true, y_pred):
        """Per example, `[batch]`."""
        targets = self.domain(y_true)
        if self.loss.takes_mixture:
            return self.loss(targets[:, :-1], y_pred, targets[:, -1])
        return self.loss(targets, y_pred)
