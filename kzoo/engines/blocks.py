"""A preset as blocks: how its recordings are cut, and the network of one block.

Whatever runs a preset reads it here, so that all of it cuts a recording alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kzoo.dsp.blocks import BlockGrid
from kzoo.models.base.causal import STATE
from kzoo.models.base.sizes import Signal
from kzoo.presets import Preset, PresetError, list_presets, load_card, load_weights
from kzoo.separation import Blocks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """The network of one of a preset's `blocks`, with its weights.

    model: waveform `[1, samples, channels]` to `[1, sources, samples, channels]`; of a stream
        {"waveform", "state_<name>"} to {source: such a waveform, "state_<name>"}.
    silence: {"state_<name>": array `[1, ...]`}, what a stream begins with; empty where blocks are
        separated each by itself.
    survey: of a network that separates by clusters: a block's embeddings and magnitudes, of which
        `separation.clusters` makes their centres, the second input of `model`; else None.
    """

    blocks: Blocks
    model: keras.Model
    silence: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    survey: keras.Model | None = None


def open_network(
    preset: Preset, size: Signal | None = None, *, live: bool = False, **options: Any
) -> Network:
    """Build the network of a block of a preset that separates a waveform.

    size: in place of the card's own. live: of a stream, in the shortest blocks it runs on.
    options: other arguments of the architecture's `build`.
    Raises PresetError for a model that takes more than a waveform.
    """
    size = preset.sizes()[0] if size is None else size
    sources = tuple(preset.sources)
    clusters, survey = size.task == "clustering", None
    if size.streams:
        grid = stream_grid(size, frames=size.live_frames if live else None)
        model = preset.module.build_step(sources, size, frames=grid.samples // size.hop_length)
        preset.assign(model)
        state = preset.module.initial_state(model)
        silence, delay = {STATE + name: array for name, array in state.items()}, size.delay_samples
    else:
        grid, silence, delay = size.grid(), {}, 0
        model = preset.model(size, **{**options, **size.block()})
        if len(model.inputs) != 1:
            more = ", ".join(tensor.name for tensor in model.inputs[1:])
            raise PresetError(
                f"preset {preset} is no separator: beside the waveform its model takes {more}; "
                "fix it to named sources in card.yaml (of cunet, condition: fixed)"
            )
        if clusters:
            survey, model = preset.module.build_clusters(model, size)
    blocks = Blocks(
        sources=sources,
        sample_rate=size.sample_rate,
        channels=size.channels,
        grid=grid,
        # Clusters are those of the whole recording, and keep their order.
        interchangeable=bool(preset.card.get("interchangeable", False)) and not clusters,
        standardised=size.standardised,
        delay=delay,
    )
    return Network(blocks=blocks, model=model, silence=silence, survey=survey)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Playing:
    """The network of one block of a synthesiser, with its weights and without its room.

    step: {"f0_hz", "loudness_db", "state_<name>"} to {"audio", "amplitudes", "noise_magnitudes",
        "state_<name>"}. silence: {"state_<name>": array `[1, ...]`}, what it begins with.
    hop_length, room: as in `states.Instrument`.
    """

    step: keras.Model
    silence: Mapping[str, np.ndarray]
    hop_length: int
    room: np.ndarray | None


def open_instrument(preset: Preset, *, frames: int) -> Playing:
    """Build the network of a block of `frames` frames of a preset that is played by controls.

    Raises ValueError for a model that hears the whole recording.
    """
    size, _ = preset.sizes(reverb_seconds=0.0)
    step = preset.module.build_step(size, frames=frames)
    weights = preset.weights()
    room = weights.pop(preset.module.ROOM, None)
    load_weights(step, weights, where=preset.name)
    _, amplitudes, noise, *_ = step.get_layer("synthesiser").input
    watched = {**step.output, "amplitudes": amplitudes, "noise_magnitudes": noise}
    state = preset.module.initial_state(size, frames=frames)
    return Playing(
        step=keras.Model(step.input, watched),
        silence={STATE + name: array for name, array in state.items()},
        hop_length=size.hop_length,
        room=room,
    )


def refuse_whole_blocks(preset: Preset) -> None:
    """Raise PresetError for a preset that does not separate, or does not stream."""
    preset.refuse_other_tasks()
    if not preset.sizes()[0].streams:
        live = [name for name in list_presets() if "latency_ms" in load_card(name)]
        raise PresetError(
            f"preset {preset} hears whole blocks and cannot run live; these can: {', '.join(live)}"
        )


def stream_grid(size: Signal, *, frames: int | None = None) -> BlockGrid:
    """Blocks of so many frames, one after another; by default as long as the size has them."""
    samples = (frames or size.whole(None) // size.hop_length) * size.hop_length
    return BlockGrid(samples, samples, context=True)
