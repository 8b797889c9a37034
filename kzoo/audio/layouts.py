"""Which loudspeaker each channel is for, by their number, in the order of WAVE and FLAC.

3 is L R C, 4 L R and rear L R, 5 L R C and rear L R, 6 is 5.1 (L R C LFE and rear L R), 7 is 6.1
(L R C LFE, rear centre, side L R), and 8 is 7.1 (5.1 and side L R).
"""

# Bits of WAVE_EXTENSIBLE's dwChannelMask, one a loudspeaker.
_MASKS = {1: 0x4, 2: 0x3, 3: 0x7, 4: 0x33, 5: 0x37, 6: 0x3F, 7: 0x13F, 8: 0x63F}
# How many channels in turn belong together: pairs of left and right; the centre and the LFE alone.
_PAIRS = {3: (2, 1), 5: (2, 1, 2), 6: (2, 1, 1, 2), 7: (2, 1, 1, 1, 2), 8: (2, 1, 1, 2, 2)}


def speaker_mask(channels: int) -> int:
    """The channel mask of so many channels; 0, which says nothing, above 8."""
    return _MASKS.get(channels, 0)


def channel_groups(channels: int, width: int) -> list[slice]:
    """The channels that go through a model of `width` channels together, in their order.

    A stereo model is given left and right as a pair, and the centre and the LFE alone: beside each
    other they would be taken for the two sides of one picture.
    """
    sizes = _PAIRS.get(channels) if width == 2 else None
    if sizes is None:
        return [slice(at, min(at + width, channels)) for at in range(0, channels, width)]
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
