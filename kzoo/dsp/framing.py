"""Cutting a signal into overlapping frames, and adding frames back into a signal.

Both directions are reshapes and shifted slices, no gather: any hop, static or dynamic lengths,
built-in TFLite operators only. A frame of `frame_length` samples is seen as `parts` pieces of one
hop each, so frame m is made of the pieces m, m+1, ..., m+parts-1 of the signal.
"""

from __future__ import annotations

from keras import ops


def frame(signal, frame_length: int, hop_length: int):
    """Cut `[..., samples]` into whole frames `[..., frames, frame_length]`, with no padding.

    As many as `frame_count` says, which raises ValueError for a signal that is shorter than one.
    """
    frames = frame_count(ops.shape(signal)[-1], frame_length, hop_length)
    if isinstance(frames, int) and frames == 1:
        return ops.expand_dims(signal[..., :frame_length], -2)
    parts = -(-frame_length // hop_length)
    wanted = (frames - 1 + parts) * hop_length
    signal = signal[..., : (frames - 1) * hop_length + frame_length]
    signal = pad_last(signal, 0, wanted - ops.shape(signal)[-1])
    lead = ops.shape(signal)[:-1]
    pieces = ops.reshape(signal, (*lead, frames - 1 + parts, hop_length))
    shifted = [pieces[..., k : k + frames, :] for k in range(parts)]
    return ops.concatenate(shifted, axis=-1)[..., :frame_length]  # [..., frames, frame_length]


def frame_count(samples, frame_length: int, hop_length: int):
    """How many whole frames there are in so many samples, an integer or a scalar tensor.

    Raises ValueError for an integer below frame_length.
    """
    if isinstance(samples, int) and samples < frame_length:
        raise ValueError(
            f"a signal must hold one frame at least; got samples={samples}, "
            f"frame_length={frame_length}"
        )
    return 1 + (samples - frame_length) // hop_length


def overlap_add(frames, hop_length: int):
    """Add frames `[..., frames, frame_length]` up to `[..., samples]`: the transpose of `frame`.

    samples = (frames - 1) * hop_length + frame_length.
    """
    frame_length = frames.shape[-1]
    count = ops.shape(frames)[-2]
    if isinstance(count, int) and count == 1:
        return ops.squeeze(frames, -2)
    parts = -(-frame_length // hop_length)
    frames = pad_last(frames, 0, parts * hop_length - frame_length)
    total = None
    for k in range(parts):
        piece = frames[..., k * hop_length : (k + 1) * hop_length]
        piece = _pad_axis(piece, -2, k, parts - 1 - k)  # [..., frames + parts - 1, hop_length]
        total = piece if total is None else total + piece
    lead = ops.shape(total)[:-2]
    signal = ops.reshape(total, (*lead, (count + parts - 1) * hop_length))
    return signal[..., : (count - 1) * hop_length + frame_length]


def pad_last(signal, left, right):
    """Zeros before and after the last axis; the counts may be integers or scalar tensors."""
    return _pad_axis(signal, -1, left, right)


def _pad_axis(signal, axis: int, left, right):
    if isinstance(left, int) and isinstance(right, int):
        widths = [(0, 0)] * len(signal.shape)
        widths[axis] = (left, right)
        return ops.pad(signal, widths) if left or right else signal
    # keras.ops.pad wants Python integers; a concatenation takes computed lengths as well.
    shape = list(ops.shape(signal))

    def zeros(count):
        shape[axis] = count
        return [] if _is_zero(count) else [ops.zeros(shape, dtype=signal.dtype)]

    return ops.concatenate([*zeros(left), signal, *zeros(right)], axis=axis)


def _is_zero(count) -> bool:
    return isinstance(count, int) and count == 0
