"""What TensorFlow Serving runs: recordings of any length in one graph, in the memory of a block.

The graph does to a batch of recordings what `separation.BlockSeparator` does to one of them at the
model's own rate: it cuts them on the same grid, puts interchangeable sources in order, keeps the
state of a stream, brings them to a level or standardises them and back, and joins the blocks by the
same fades. So its memory grows with the recording by the recording and its stems alone.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from kzoo.dsp.blocks import BlockGrid
from kzoo.engines.blocks import open_network
from kzoo.presets import Preset
from kzoo.separation import Blocks, levels
from kzoo.separation.separator import LEAST_DEVIATION, joined_grid

# [batch, grid.samples, channels], states -> [batch, sources, grid.samples, channels], states
Step = Callable[[tf.Tensor, dict[str, tf.Tensor]], tuple[tf.Tensor, dict[str, tf.Tensor]]]
_FULL_SCALE = 2.0**15


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServedBlocks(Blocks):
    """A preset's blocks as TensorFlow's tensors.

    silence: {name: array `[1, ...]`}, the states that a stream begins with; empty where blocks are
        separated each by itself. level_db: the gated level that recordings are brought to, or None.
    """

    step: Step
    silence: Mapping[str, np.ndarray]
    level_db: float | None = None

    @property
    def alone(self) -> bool:
        """Whether a block says all that its estimate depends on, so that a client may join them."""
        more = self.silence or self.interchangeable or self.told_lengths
        return not more and self.level_db is None

    @property
    def told_lengths(self) -> bool:
        """Whether stems depend on a recording's length, which requests must tell.

        A server may fill a recording up to the length of another that it is run with.
        """
        return self.standardised or self.grid.centred

    @property
    def weighted(self) -> bool:
        """Whether a block is given to a client times its fades, so that blocks are only added.

        Where the first block's beginning lies before the recording. On the grid of an STFT the
        edges of a block, seen by few frames, may be far above full scale until they are faded.
        """
        return -self.grid.start >= self.grid.overlap


def open_blocks(preset: Preset) -> ServedBlocks:
    """Build the model of a preset that separates. Raises PresetError for one that wants more."""
    network = open_network(preset)
    blocks, model = network.blocks, network.model
    if network.silence:

        def step(block, states):
            results = dict(model({"waveform": block, **states}, training=False))
            states = {name: results.pop(name) for name in states}
            return tf.stack([results[source] for source in blocks.sources], axis=1), states
    else:

        def step(block, states):
            return model(block, training=False), states

    share = preset.card.get("overlap", 0.0)
    grid = joined_grid(blocks.grid, share, interchangeable=blocks.interchangeable)
    return ServedBlocks(
        **{**vars(blocks), "grid": grid},
        step=step,
        silence=network.silence,
        level_db=preset.card.get("level_db"),
    )


def signatures(blocks: ServedBlocks) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Trace {signature: function} of what a server offers.

    serving_default: `waveform` float32 `[batch, samples, channels]` to one such tensor a source;
        where `ServedBlocks.told_lengths`, with `samples` int32 `[batch]`, the length of each.
    int16: the same in 16 bits, a full scale of 32768.
    wav: `wav_bytes` `[batch]`, 16-bit WAVs of any lengths, to `SOURCE_bytes`, WAVs as long.
    block, block_int16, block_wav: one block of the grid, where `ServedBlocks.alone`.
    """
    shape = (None, None, blocks.channels)
    names = blocks.sources

    def whole(waveform, lengths=None):
        return dict(zip(names, separate(blocks, waveform, lengths), strict=True))

    def block(waveform, _=None):
        estimate, _ = blocks.step(_to_float(waveform), {})
        if blocks.weighted:
            estimate *= tf.constant(_weight(blocks.grid)[:, None], tf.float32)
        stems = tf.unstack(_to_dtype(estimate, waveform.dtype), axis=1)
        return dict(zip(names, stems, strict=True))

    def wav(wav_bytes):
        return _encoded(blocks, wav_bytes, whole)

    def block_wav(wav_bytes):
        return _encoded(blocks, wav_bytes, block, samples=blocks.grid.samples)

    def traced(function, name, shape, dtype, *more):
        specs = tf.TensorSpec(shape, dtype, name=name), *more
        return tf.function(function, autograph=False).get_concrete_function(*specs)

    told = [tf.TensorSpec((None,), tf.int32, name="samples")] if blocks.told_lengths else []
    found = {
        "serving_default": traced(whole, "waveform", shape, tf.float32, *told),
        "int16": traced(whole, "waveform", shape, tf.int16, *told),
        "wav": traced(wav, "wav_bytes", (None,), tf.string),
    }
    if blocks.alone:
        shape = (None, blocks.grid.samples, blocks.channels)
        found["block"] = traced(block, "waveform", shape, tf.float32)
        found["block_int16"] = traced(block, "waveform", shape, tf.int16)
        found["block_wav"] = traced(block_wav, "wav_bytes", (None,), tf.string)
    return found


def _encoded(
    blocks: ServedBlocks, wav_bytes: tf.Tensor, function: Callable, *, samples: int | None = None
) -> dict[str, tf.Tensor]:
    """What `function` makes of WAVs, as WAVs of their lengths; samples: the most that it takes."""

    def decoded(content):
        waveform, rate = tf.audio.decode_wav(content)
        width = tf.shape(waveform)[1]
        fits = (width == 1) | (width == blocks.channels)
        checks = [
            tf.debugging.assert_equal(rate, blocks.sample_rate, f"needs {blocks.sample_rate} Hz"),
            tf.debugging.assert_equal(fits, True, f"needs {blocks.channels} channels, or 1"),
        ]
        if samples is not None:
            message = f"needs at most {samples} samples"
            checks.append(tf.debugging.assert_less_equal(tf.shape(waveform)[0], samples, message))
        with tf.control_dependencies(checks):
            return waveform * tf.ones((1, blocks.channels))

    # Requests that a server puts together need not be equally long.
    lengths = tf.map_fn(
        lambda content: tf.shape(decoded(content))[0], wav_bytes,
        fn_output_signature=tf.TensorSpec((), tf.int32),
    )  # fmt: skip
    longest = tf.reduce_max(lengths) if samples is None else samples

    def padded(content):
        waveform = decoded(content)
        return tf.pad(waveform, [[0, longest - tf.shape(waveform)[0]], [0, 0]])

    spec = tf.TensorSpec((samples, blocks.channels), tf.float32)
    waveform = tf.map_fn(padded, wav_bytes, fn_output_signature=spec)

    def encoded(stem):
        return tf.map_fn(
            lambda pair: tf.audio.encode_wav(pair[0][: pair[1]], blocks.sample_rate),
            (stem, lengths), fn_output_signature=tf.TensorSpec((), tf.string),
        )  # fmt: skip

    stems = function(waveform, lengths)
    return {f"{name}_bytes": encoded(stem) for name, stem in stems.items()}


def separate(
    blocks: ServedBlocks, waveform: tf.Tensor, lengths: tf.Tensor | None = None
) -> list[tf.Tensor]:
    """Separate `[batch, samples, channels]`, float32 or int16, to one such tensor a source.

    lengths: int32 `[batch]`, behind which recordings are filled up; None where they are not.
    """
    grid, late = blocks.grid, blocks.delay
    batch, samples = tf.unstack(tf.shape(waveform)[:2])
    count = tf.maximum(1, (samples + late - grid.start + grid.hop - 1) // grid.hop)
    gain = None if blocks.level_db is None else _gains(blocks, waveform, count)
    if lengths is None:
        lengths = tf.fill([batch], samples)
    scale = _scales(blocks, waveform, lengths, count) if blocks.standardised else None
    fade = tf.constant(grid.fade[:, None], tf.float32)
    n_sources = len(blocks.sources)

    def body(k, states, previous, stems):
        if blocks.told_lengths:
            block, early = _placed(grid, waveform, k, lengths, scale)
        else:
            block = _block(grid, waveform, k)
        if gain is not None:
            block *= gain
        estimate, states = blocks.step(block, states)
        if grid.centred:
            places = tf.minimum(early[:, None] + tf.range(grid.samples), grid.samples - 1)
            estimate = tf.gather(estimate, places, axis=2, batch_dims=1)
        if gain is not None:
            quiet = tf.equal(gain, 0)
            if not states:
                quiet |= tf.reduce_all(tf.equal(block, 0), axis=[1, 2], keepdims=True)
            estimate = tf.where(quiet[:, None], 0.0, tf.math.divide_no_nan(estimate, gain[:, None]))
        if blocks.interchangeable:
            estimate = _in_order(estimate, previous, fade)
        entering = estimate[:, :, : grid.overlap]
        joined = entering * fade + previous * (1 - fade)
        entering = tf.where(k == 0, entering, joined)
        previous = estimate[:, :, grid.hop :]
        part = tf.concat([entering, estimate[:, :, grid.overlap : grid.hop]], axis=2)
        if scale is not None:
            mean, deviation = scale
            part = part * deviation[:, None] + mean[:, None]
        part = _to_dtype(part, waveform.dtype)
        parts = tf.unstack(tf.transpose(part, (1, 2, 0, 3)), n_sources)  # [hop, batch, channels]
        stems = [array.write(k, own) for array, own in zip(stems, parts, strict=True)]
        return k + 1, states, previous, stems

    overlapping = (batch, n_sources, grid.overlap, blocks.channels)
    shape = (grid.hop, None, blocks.channels)
    arrays = [
        tf.TensorArray(waveform.dtype, count, element_shape=shape, clear_after_read=True)
        for _ in blocks.sources
    ]
    states = {name: _for_each(batch, value) for name, value in blocks.silence.items()}
    _, _, _, arrays = tf.while_loop(
        lambda k, *_: k < count,
        body,
        (0, states, tf.zeros(overlapping), arrays),
        parallel_iterations=1,
        shape_invariants=(
            tf.TensorShape(()),
            {name: tf.TensorShape((None, *x.shape[1:])) for name, x in blocks.silence.items()},
            tf.TensorShape((None, *overlapping[1:])),
            [tf.TensorShape(None) for _ in arrays],
        ),
    )
    first = late - grid.start
    stems = [tf.transpose(array.concat()[first : first + samples], (1, 0, 2)) for array in arrays]
    return [tf.ensure_shape(stem, (None, None, blocks.channels)) for stem in stems]


def _block(grid: BlockGrid, waveform: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Block k of the grid, float32 `[batch, grid.samples, channels]`, zeros around the signal."""
    at = k * grid.hop + grid.start
    piece = _to_float(waveform[:, tf.maximum(at, 0) : tf.maximum(at + grid.samples, 0)])
    before = tf.minimum(tf.maximum(-at, 0), grid.samples)
    after = grid.samples - before - tf.shape(piece)[1]
    block = tf.pad(piece, [[0, 0], [before, after], [0, 0]])
    return tf.ensure_shape(block, (None, grid.samples, waveform.shape[2]))


def _placed(
    grid: BlockGrid, waveform: tf.Tensor, k: tf.Tensor, lengths: tf.Tensor, scale: tuple | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Block k of each recording, standardised by `scale`, and how early it begins `[batch]`."""
    at = k * grid.hop + grid.start
    missing = tf.clip_by_value(at + grid.samples - lengths, 0, grid.samples)
    early = missing // 2 if grid.centred else tf.zeros_like(missing)
    places = at - early[:, None] + tf.range(grid.samples)  # [batch, grid.samples]
    inside = (places >= 0) & (places < lengths[:, None])
    nearest = tf.clip_by_value(places, 0, tf.shape(waveform)[1] - 1)
    block = _to_float(tf.gather(waveform, nearest, axis=1, batch_dims=1))
    if scale is not None:
        mean, deviation = scale
        block = (block - mean) / deviation
    block = tf.where(inside[:, :, None], block, 0.0)
    return tf.ensure_shape(block, (None, grid.samples, waveform.shape[2])), early


def _scales(
    blocks: ServedBlocks, waveform: tf.Tensor, lengths: tf.Tensor, count: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """(mean, deviation) of each recording's channels' mean, `[batch, 1, 1]`: `BlockSeparator`."""
    hop = blocks.grid.hop

    def body(k, total, squares):
        piece = _to_float(waveform[:, k * hop : (k + 1) * hop])
        mono = tf.reduce_mean(tf.cast(piece, tf.float64), axis=2)
        places = k * hop + tf.range(tf.shape(mono)[1])
        mono = tf.where(places < lengths[:, None], mono, 0.0)
        total += tf.reduce_sum(mono, axis=1)
        return k + 1, total, squares + tf.reduce_sum(tf.square(mono), axis=1)

    zeros = tf.zeros_like(lengths, tf.float64)
    _, total, squares = tf.while_loop(
        lambda k, *_: k < count, body, (0, zeros, zeros), parallel_iterations=1
    )
    samples = tf.cast(lengths, tf.float64)
    mean = total / tf.maximum(samples, 1)
    variance = tf.maximum(squares - total * mean, 0) / tf.maximum(samples - 1, 1)
    scale = mean, tf.sqrt(variance) + LEAST_DEVIATION
    return tuple(tf.cast(part, tf.float32)[:, None, None] for part in scale)


def _weight(grid: BlockGrid) -> np.ndarray:
    """`[grid.samples]`: a block fades in over the one before, and out as the next fades in."""
    weight = np.ones(grid.samples, np.float32)
    weight[: grid.overlap] = grid.fade
    weight[grid.hop :] *= 1 - grid.fade.astype(np.float32)
    return weight


def _gains(blocks: ServedBlocks, waveform: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """`[batch, 1, 1]` to bring recordings to the level, 0 of silence: `levels.GatedLevel`."""
    grid = blocks.grid
    frame = max(1, round(levels.FRAME_SECONDS * blocks.sample_rate))
    frames = grid.samples // frame

    def body(k, array):
        block = _block(grid, waveform, k)[:, : frames * frame]
        block = tf.reshape(block, (-1, frames, frame * blocks.channels))
        powers = tf.reduce_mean(tf.square(tf.cast(block, tf.float64)), axis=2)
        return k + 1, array.write(k, tf.transpose(powers))

    array = tf.TensorArray(tf.float64, count, element_shape=(frames, None))
    _, array = tf.while_loop(lambda k, _: k < count, body, (0, array), parallel_iterations=1)
    powers = array.concat()  # [frames, batch]
    heard = powers > 10 ** (levels.FAINTEST_DB / 10)
    level_db = 10 / np.log(10) * tf.math.log(tf.where(heard, powers, 1.0))
    class_db = tf.where(heard, tf.floor(level_db), -np.inf)
    loud = class_db >= tf.reduce_max(class_db, axis=0) - levels.GATE_DB
    loud = tf.cast(loud & heard, tf.float64)
    mean = tf.math.divide_no_nan(tf.reduce_sum(loud * powers, 0), tf.reduce_sum(loud, 0))
    gain = tf.sqrt(tf.math.divide_no_nan(np.float64(10 ** (blocks.level_db / 10)), mean))
    return tf.cast(gain, tf.float32)[:, None, None]


def _in_order(estimate: tf.Tensor, previous: tf.Tensor, fade: tf.Tensor) -> tf.Tensor:
    """`estimate` with its sources in the order of the block before: `joining.Joiner`."""
    orders = np.array(list(itertools.permutations(range(estimate.shape[1]))))
    own = estimate[:, :, : previous.shape[2]]
    weighted = previous * (fade * (1 - fade))
    likeness = tf.einsum("bisc,bjsc->bij", tf.cast(weighted, tf.float64), tf.cast(own, tf.float64))
    rows = np.arange(estimate.shape[1])
    places = tf.constant(rows * len(rows) + orders)  # [orders, sources]
    flat = tf.reshape(likeness, (-1, len(rows) ** 2))
    scores = tf.reduce_sum(tf.gather(flat, places, axis=1), axis=2)
    best = tf.gather(tf.constant(orders), tf.argmax(scores, axis=1))  # the first of equals: as is
    return tf.gather(estimate, best, axis=1, batch_dims=1)


def _for_each(batch: tf.Tensor, value: np.ndarray) -> tf.Tensor:
    value = tf.constant(value)
    return tf.repeat(value, batch, axis=0)


def _to_float(waveform: tf.Tensor) -> tf.Tensor:
    if waveform.dtype == tf.float32:
        return waveform
    return tf.cast(waveform, tf.float32) / _FULL_SCALE


def _to_dtype(estimate: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    if dtype == tf.float32:
        return estimate
    scaled = tf.round(estimate * _FULL_SCALE)
    return tf.cast(tf.clip_by_value(scaled, -_FULL_SCALE, _FULL_SCALE - 1), dtype)


def describe(blocks: ServedBlocks) -> dict[str, Any]:
    """What a client must know: names, rate, channels, and the grid where it may cut by itself.

    fade_float32: base64 of little-endian numbers, the weight of a block over its predecessor, which
    has 1 minus it there; None where blocks come with their weights.
    """
    grid = blocks.grid
    fade = None
    if not blocks.weighted:
        fade = base64.b64encode(grid.fade.astype("<f4").tobytes()).decode()
    block = {"samples": grid.samples, "hop": grid.hop, "start": grid.start, "fade_float32": fade}
    return {
        "sample_rate": blocks.sample_rate,
        "channels": blocks.channels,
        "sources": list(blocks.sources),
        "block": block if blocks.alone else None,
    }
