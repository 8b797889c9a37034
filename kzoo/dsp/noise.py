"""White noise that is the same in every runtime, and can be continued from anywhere.

L'Ecuyer, Efficient and portable combined random number generators, 1988: three multiplicative
generators of 15 bits, of which the sum repeats after 8e12 samples. In whole numbers it is exact in
TFLite as well, which has no seeded random operator, and as a^n is known, any sample can be had
without those before it: a stream and a file hear the same noise.
"""

from __future__ import annotations

import numpy as np
from keras import ops

MODULI = (32363, 31727, 31657)
MULTIPLIERS = (157, 146, 142)
SEED = (12345, 23456, 7890)
_SPAN = MODULI[0] - 1
_TABLE = 256


def uniform_noise(seed, frames, hop_length: int):
    """(noise `[batch, frames, hop_length]` in (-1, 1), the seed of the frame after), float32.

    seed: int32 `[batch, 3]`, each from 1 to its modulus - 1, as `SEED` or an earlier call gives it.
    """
    first = _powers(hop_length, frames)  # [frames, 3]
    inner = ops.convert_to_tensor(_power_table(1, hop_length), "int32")  # [hop_length, 3]
    moduli = ops.convert_to_tensor(MODULI, "int32")
    at = ops.mod(seed[:, None] * first, moduli)  # [batch, frames, 3]
    state = ops.mod(at[:, :, None] * inner, moduli)  # [batch, frames, hop_length, 3]
    mixed = ops.mod(state[..., 0] - state[..., 1] + state[..., 2], _SPAN)
    noise = (ops.cast(mixed, "float32") + 0.5) * (2.0 / _SPAN) - 1.0
    hop = ops.convert_to_tensor(_power_table(hop_length, 2)[1], "int32")
    return noise, ops.mod(at[:, -1] * hop, moduli)


def _powers(step: int, count):
    """Multipliers to the power of step * k, for k below `count`: `[count, 3]`."""
    if isinstance(count, int):
        return ops.convert_to_tensor(_power_table(step, count), "int32")
    moduli = ops.convert_to_tensor(MODULI, "int32")
    # A power repeats after modulus - 1, so two short tables hold all of them.
    k = ops.mod(ops.arange(count, dtype="int32")[:, None], moduli - 1)  # [count, 3]
    small = ops.convert_to_tensor(_power_table(step, _TABLE), "int32")
    large = ops.convert_to_tensor(_power_table(step * _TABLE, max(MODULI) // _TABLE + 1), "int32")
    low = ops.take_along_axis(small, ops.mod(k, _TABLE), axis=0)
    high = ops.take_along_axis(large, ops.floor_divide(k, _TABLE), axis=0)
    return ops.mod(low * high, moduli)


def _power_table(step: int, count: int) -> np.ndarray:
    table = np.ones((count, len(MODULI)), np.int64)
    factors = [pow(a, step, m) for a, m in zip(MULTIPLIERS, MODULI, strict=True)]
    for k in range(1, count):
        table[k] = table[k - 1] * factors % MODULI
    return table
