"""The function inside every artefact: a tensor called `waveform` in, one tensor per source out.

What else a model takes, such as the random numbers of a generative one, are inputs of their names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

INPUT = "waveform"
SIGNATURE = "serving_default"


def serving_function(
    model: keras.Model,
    sources: Sequence[str],
    *,
    samples: int | None = None,
    channels: int | None = None,
    batched: bool = True,
) -> tf.types.experimental.GenericFunction:
    """`model` as a traced tf.function: `waveform` to {source: waveform of the same shape}, float32.

    batched: `[batch, samples, channels]`, any batch; otherwise `[samples, channels]`, one signal as
        an app has it in its buffer.
    A model's further inputs follow under their own names, of fixed shapes but for the batch.
    samples: None for any length, where the model takes any; a model made for one length keeps it.
    channels: by default the model's; to be given where the model leaves them open.
    Raises ValueError for a model of another shape, and for sources that do not fit its output.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "artefacts are written by TensorFlow; "
            f"set KERAS_BACKEND=tensorflow (it is {keras.backend.backend()})"
        )
    samples, channels = _input_shape(model, samples, channels)
    stacked = _check_sources(model, sources)

    def serve(*inputs):
        inputs = [tensor if batched else tensor[None] for tensor in inputs]
        estimates = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        stems = tf.unstack(estimates, axis=1) if stacked else [estimates]
        stems = stems if batched else [stem[0] for stem in stems]
        return {
            source: tf.ensure_shape(stem, shape)
            for source, stem in zip(sources, stems, strict=True)
        }

    shape = (None, samples, channels) if batched else (samples, channels)
    lead = (None,) if batched else ()
    specs = [tf.TensorSpec(shape, tf.float32, name=INPUT)] + [
        tf.TensorSpec((*lead, *x.shape[1:]), x.dtype, name=x.name) for x in model.inputs[1:]
    ]
    function = tf.function(serve, input_signature=specs, autograph=False)
    function.get_concrete_function()  # ExportArchive wants it traced
    return function


def further_inputs(model: keras.Model, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Standard normal numbers for one example of what `model` takes beside the waveform."""
    rng = np.random.default_rng(seed)
    return {
        x.name: rng.standard_normal(x.shape[1:]).astype(x.dtype) for x in model.inputs[1:]
    }  # fmt: skip


def _input_shape(model, samples: int | None, channels: int | None) -> tuple[int | None, int]:
    fixed = all(None not in x.shape[1:] for x in model.inputs[1:])
    if not fixed or len(model.outputs) != 1 or len(model.inputs[0].shape) != 3:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in model.inputs)
        raise ValueError(
            "an artefact has an input [batch, samples, channels], further ones of fixed shapes, and"
            f" one output; {model.name!r} has inputs {shapes} and {len(model.outputs)} outputs"
        )
    _, own_samples, own_channels = model.inputs[0].shape
    for what, given, own in (
        ("samples", samples, own_samples),
        ("channels", channels, own_channels),
    ):
        if given is not None and own is not None and given != own:
            raise ValueError(
                f"{model.name!r} is built for {what}={own}; got {what}={given}: "
                f"build the model with {what}={given}, or leave it out"
            )
    channels = own_channels if channels is None else channels
    if channels is None:
        raise ValueError(f"channels must be given: {model.name!r} leaves them open")
    return own_samples if samples is None else samples, channels


def _check_sources(model, sources: Sequence[str]) -> bool:
    """Whether the output has an axis of sources."""
    if isinstance(sources, str) or not sources or len(set(sources)) != len(sources):
        raise ValueError(f"sources must be a sequence of different names; got {sources!r}")
    for source in sources:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", source) or source == INPUT:
            raise ValueError(
                f"a source names a tensor, so letters, digits and _, and not {INPUT!r}; "
                f"got {source!r}"
            )
    shape = model.outputs[0].shape
    if len(shape) == 3 and len(sources) == 1:
        return False
    if len(shape) != 4 or shape[1] != len(sources):
        raise ValueError(
            f"{model.name!r} must give [batch, {len(sources)}, samples, channels] for the sources "
            f"{', '.join(sources)}; it gives {tuple(shape)}"
        )
    return True
