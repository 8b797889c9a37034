"""From a preset to a System that separates: TensorFlow, its devices, and compiled functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo import presets
from kzoo.engines import states
from kzoo.engines.blocks import (
    Network,
    Playing,
    open_instrument,
    open_network,
    refuse_whole_blocks,
)
from kzoo.engines.windows import MelodyNetwork, WindowNetwork
from kzoo.layers.recurrent import compiled_loops
from kzoo.models.base.listener import EMBEDDING
from kzoo.models.base.sizes import Signal
from kzoo.presets import Preset
from kzoo.separation import System, at_level
from kzoo.separation.clusters import clusters_survey
from kzoo.separation.surveys import Learned

# A transform hears hundreds of frames around its own, so it takes more of them at once than the
# network, whose layers fill the memory.
_TRANSFORMED_FRAMES, _MELODY_FRAMES = 512, 128
_MEMORY_ERRORS = (MemoryError, tf.errors.ResourceExhaustedError)


def prepare_devices(device: str | None = None) -> str | None:
    """Let GPU memory grow as needed; return TensorFlow's name of `device` ("cpu", "gpu:1").

    Raises ValueError for a device that this machine does not have.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        if not tf.config.experimental.get_memory_growth(gpu):
            try:
                tf.config.experimental.set_memory_growth(gpu, True)
            except RuntimeError:  # the caller's own code has used the GPU already
                break
    if device is None:
        return None
    kind, _, number = device.lower().lstrip("/").partition(":")
    devices = [d.name for d in tf.config.list_logical_devices() if d.device_type in ("CPU", "GPU")]
    wanted = f"/device:{kind.upper()}:{number or 0}"
    if wanted not in devices:
        have = ", ".join(name.removeprefix("/device:").lower() for name in devices)
        raise ValueError(f"there is no device {device!r} on this machine; it has {have}")
    return wanted


def system(
    preset: str | Path | Preset,
    *,
    mwf: bool = False,
    device: str | None = None,
    progress: presets.Progress | None = None,
    **options: Any,
) -> System:
    """Compile the preset's model for this machine, as blocks on its own grid.

    mwf: with the multichannel Wiener filter after it (two passes over the signal).
    options: of the architecture's sizes and `build`, over the card's own.
    A model that streams is run as a stream: blocks in their order, with its state between them.
    Where the card has a `level_db`, recordings are brought to that level first.
    Raises PresetError for a model that wants more than a waveform, and for the filter where the
    model has none.
    """
    preset = presets.open_preset(preset)
    preset.refuse_other_tasks()
    if mwf:
        preset.refuse_mwf()
    preset.download(progress=progress)
    place = prepare_devices(device)
    size, _ = preset.sizes(**options)
    if mwf and size.streams:
        raise presets.PresetError(
            f"preset {preset} streams, and has no multichannel Wiener filter (--mwf), which needs "
            "what is to come"
        )
    made = _system(preset, size, options, mwf, place)
    level_db = preset.card.get("level_db")
    return made if level_db is None or mwf else at_level(made, level_db)


def live_system(
    preset: str | Path | Preset,
    *,
    device: str | None = None,
    progress: presets.Progress | None = None,
) -> System:
    """Compile a preset's model for the shortest blocks it runs on, for sound as it comes.

    Recordings are brought to a level, sound as it comes is not. Raises PresetError for a model that
    does not stream.
    """
    preset = presets.open_preset(preset)
    refuse_whole_blocks(preset)
    preset.download(progress=progress)
    place = prepare_devices(device)
    with tf.device(place):
        network = open_network(preset, live=True)
    return network_system(network, place)


def _system(preset: Preset, size: Signal, options: dict, mwf: bool, place: str | None) -> System:
    with tf.device(place):
        network = open_network(preset, size, **options)
    if network.silence:
        return network_system(network, place)

    def smaller() -> System | None:
        less = size.smaller()
        return less and _system(preset, less, options, mwf, place)

    if not mwf:
        return replace(network_system(network, place), smaller=smaller)
    with tf.device(place):
        function, survey = _two_passes(preset.module, network.model, size, size.block())
    return System(
        **vars(network.blocks),
        function=function,
        survey=survey,
        smaller=smaller,
        memory_errors=_MEMORY_ERRORS,
    )


def network_system(network: Network, place: str | None = None) -> System:
    """Compile an opened network; weights that it is given later count from then on."""
    function = begin = survey = None
    if network.silence:
        begin = beginnings(network.model, network.silence, network.blocks.sources, place)
    elif network.survey is not None:
        function, survey = _by_clusters(network, place)
    else:
        function = compiled(network.model, place)
    return System(
        **vars(network.blocks),
        function=function,
        begin=begin,
        survey=survey,
        joint_survey=network.survey is not None,
        memory_errors=_MEMORY_ERRORS,
    )


def _by_clusters(network: Network, place: str | None):
    """(function, survey) of a System that hears a recording twice, first for its clusters."""
    blocks, count = network.blocks, len(network.blocks.sources)
    embed, separate = compiled(network.survey, place), compiled(network.model, place)
    frames = network.survey.outputs[1].shape[1]
    hop_frames = round(frames * blocks.grid.hop / blocks.grid.samples)

    def function(block: np.ndarray, state: Learned | None) -> np.ndarray:
        # None of a recording so short that not a sample is left of it at the system's rate.
        if state is None or state.model is None:
            return np.zeros((1, count, *block.shape[1:]), np.float32)
        return separate(block, np.float32(state.model.centres[None]))

    return function, clusters_survey(count, hop_frames, embed)


def beginnings(
    step: keras.Model,
    silence: Mapping[str, np.ndarray],
    sources: Sequence[str],
    place: str | None = None,
) -> Callable[[], Callable[[np.ndarray], np.ndarray]]:
    """`System.begin` of a model of blocks with states, of which each signal begins with `silence`.

    step: takes {"waveform" `[1, samples, channels]`, "state_<name>"} and gives one such waveform a
        source, and the states. silence: {"state_<name>": array `[1, ...]`}.
    """
    begin_step = states.beginnings(_compiled_step(step, place), silence)

    def begin() -> Callable[[np.ndarray], np.ndarray]:
        run = begin_step()

        def separate(block: np.ndarray) -> np.ndarray:
            results = run(waveform=block)
            return np.stack([results[source].numpy() for source in sources], axis=1)

        return separate

    return begin


def instrument(preset: Preset, *, frames: int) -> states.Instrument:
    """Compile a synthesiser's blocks of `frames` frames for this machine.

    Raises ValueError for a model that hears the whole recording.
    """
    return playing(open_instrument(preset, frames=frames))


def playing(opened: Playing) -> states.Instrument:
    """Compile an opened synthesiser."""
    function = _compiled_step(opened.step, None)
    begin = states.beginnings(function, opened.silence)
    return states.Instrument(begin, opened.hop_length, opened.room)


def listener(
    preset: Preset, *, device: str | None = None, progress: presets.Progress | None = None
) -> WindowNetwork:
    """Hear windows by a listener; PresetError for one that tells of frames."""
    place = prepare_devices(device)
    size, _ = preset.sizes()
    network = compiled(open_listener(preset, progress=progress), place)

    def run(window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probabilities, embedding = network(window[None, :, None])
        return probabilities[0], embedding[0]

    return WindowNetwork(size.names, size.sample_rate, size.whole(None), size.hop_seconds, run)


def open_listener(preset: Preset, *, progress: presets.Progress | None = None) -> keras.Model:
    """A listener's window to its probabilities and embedding; PresetError as `listener`."""
    size, _ = preset.sizes()
    if size.frame_wise:
        raise presets.PresetError(f"preset {preset} tells of frames, not of windows")
    model = preset.model(samples=size.whole(None), progress=progress)
    return keras.Model(model.input, [model.output, model.get_layer(EMBEDDING).output])


def melody(
    preset: Preset, *, device: str | None = None, progress: presets.Progress | None = None
) -> MelodyNetwork:
    """Compile the parts of a tracker of melodies for this machine."""
    place = prepare_devices(device)
    parts = open_melody(preset, progress=progress)
    transform, salience = compiled(parts.transform, place), compiled(parts.salience, place)
    return parts._replace(
        transform=lambda piece: transform(piece[None, :, None])[0],
        salience=lambda seen, loudest: salience(seen[None], np.float32([[loudest]]))[0],
    )


def open_melody(preset: Preset, *, progress: presets.Progress | None = None) -> MelodyNetwork:
    """The parts of a tracker of melodies, as models of batches."""
    size, _ = preset.sizes()
    network = preset.model(progress=progress).get_layer("deep_salience_core")
    transform, salience = preset.module.build_blocks(
        size, network, transformed=_TRANSFORMED_FRAMES, frames=_MELODY_FRAMES
    )
    return MelodyNetwork(
        size.sample_rate, size.hop_length, tuple(size.frequencies_hz()), size.context_frames(),
        _TRANSFORMED_FRAMES, (transform.output_shape[1] - _TRANSFORMED_FRAMES) // 2,
        _MELODY_FRAMES, transform, salience,
    )  # fmt: skip


def _compiled_step(step: keras.Model, place: str | None):
    """Compile a model of named inputs and outputs, `[1, ...]`: arrays or tensors in, tensors out.

    So the states between two blocks stay where they are.
    """
    signature = {
        x.name: tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=x.name) for x in step.inputs
    }

    @tf.function(input_signature=[signature], autograph=False)
    def graph(inputs):
        with tf.device(place):
            return step(inputs, training=False)

    concrete = graph.get_concrete_function()

    def function(**arrays):
        given = {
            name: tf.convert_to_tensor(arrays[name], spec.dtype) for name, spec in signature.items()
        }
        return dict(concrete(given))

    return function


def compiled(model: keras.Model, place: str | None):
    """Compile `model` for inference as one graph of static shape: NumPy in, NumPy out."""
    # Not jitted: XLA on a CPU halves the speed of these graphs.
    signature = [tf.TensorSpec((1, *x.shape[1:]), tf.float32) for x in model.inputs]

    @tf.function(input_signature=signature, autograph=False)
    def graph(*inputs):
        with tf.device(place), compiled_loops():
            return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    concrete = graph.get_concrete_function()

    def function(*arrays):
        return tf.nest.map_structure(
            lambda tensor: tensor.numpy(), concrete(*(tf.constant(array) for array in arrays))
        )

    return function


def _two_passes(module: ModuleType, model: keras.Model, size: Signal, block: Mapping):
    survey_model, filter_model = module.build_wiener(model, size, **block)
    filter_block = compiled(filter_model, None)
    if survey_model is None:  # the filter measures each block by itself
        return filter_block, None
    survey_block = compiled(survey_model, None)

    def survey(state, block: np.ndarray):
        products, power, peak = survey_block(block)
        if state is None:
            return products.astype(np.float64), power.astype(np.float64), peak
        return state[0] + products, state[1] + power, np.maximum(state[2], peak)

    def function(block: np.ndarray, state) -> np.ndarray:
        return filter_block(block, *(np.asarray(part, np.float32) for part in state))

    return function, survey
