"""Layers whose arithmetic holds in half precision, where 1e-10 is 0 and the square of 256 infinite.

Delegates for GPUs and NPUs compute so. A mask whose guard is 1e-10 then is 0 / 0 in silence, and
the magnitude of a loud bin is infinite: of noise a `unet_2stems_mobile` of the usual layers gave
what is no number. Here all is squared relative to the largest, which is taken for 2 ** -13 at
least, a magnitude of some 140 dB under full scale; above it float32 gives the usual answers.
"""

from __future__ import annotations

from keras import ops

from kzoo.deploy.forms.transforms import ProductsMagnitude
from kzoo.layers.masks import RatioMasks
from kzoo.layers.spectra import BandMagnitude

_SMALLEST = 2.0**-13  # 1.2e-4, which float16 has exactly


class HalfMagnitude(BandMagnitude):
    """`BandMagnitude` without squares of what is large."""

    def magnitude(self, real, imag):
        largest = ops.maximum(ops.maximum(ops.abs(real), ops.abs(imag)), _SMALLEST)
        real, imag = real / largest, imag / largest
        return largest * ops.sqrt(real * real + imag * imag)


class HalfProductsMagnitude(HalfMagnitude, ProductsMagnitude):
    """The same of `ProductsMagnitude`."""


class HalfRatioMasks(RatioMasks):
    """`RatioMasks` of estimates relative to the loudest; in silence no source has a share."""

    def call(self, estimates):
        loudest = ops.max(ops.abs(estimates), axis=1, keepdims=True)
        share = ops.abs(estimates) / ops.maximum(loudest, _SMALLEST)
        power = ops.square(share) if self.exponent == 2 else share**self.exponent
        return power / ops.maximum(ops.sum(power, axis=1, keepdims=True), _SMALLEST)


def half_form(kind: type) -> type | None:
    """The kind of this module that takes the place of layers of `kind`; None for none."""
    return {
        BandMagnitude: HalfMagnitude,
        ProductsMagnitude: HalfProductsMagnitude,
        RatioMasks: HalfRatioMasks,
    }.get(kind)
