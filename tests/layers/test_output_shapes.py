"""Shapes that layers say of themselves, so that no graph is drawn for them, are those they give."""

import keras
import numpy as np
import pytest

from kzoo.dsp.filters import silent_room
from kzoo.dsp.resampling import Resample
from kzoo.dsp.stft import STFT, InverseSTFT
from kzoo.dsp.synthesis import initial_state
from kzoo.layers.complex import ComplexBound, ComplexConv1DTranspose, ComplexMaxPooling
from kzoo.layers.masks import JoinSegments, RatioMasks, Segments
from kzoo.layers.spectra import SpectrumFrame
from kzoo.layers.synthesis import (
    ContinueHarmonicsPlusNoise,
    ContinueReverb,
    HarmonicsPlusNoise,
    Reverb,
)
from kzoo.layers.whitening import PCAWhitening
from kzoo.models.base.causal import ContinueFrames, ContinueOverlapAdd, CutFrames
from kzoo.models.base.demucs_lengths import CenterTrim, PadToValid, TrimToInput
from kzoo.models.crepe import NormalisedFrames
from kzoo.models.dcunet import ComplexMasked, FirstFrames, PadFrames, UnitarySpectrum
from kzoo.models.demucs import LinearUpsampling
from kzoo.models.wave_u_net import Upsampling

OSCILLATORS = [(2, 5, 1), (2, 5, 3), (2, 5, 9)]  # f0, amplitudes, noise
STATE = initial_state(harmonics=3, noise_bands=9, hop_length=16)
ROOM = silent_room(20, 16)
# The layer, and the shapes of its inputs; their second axis may also be open.
LAYERS = [
    *((STFT(64, 24, padding=padding), [(2, n, 2)]) for padding in ("center", "full", "valid")
      for n in (64, 65, 150)),
    (STFT(63, 21, padding="center"), [(1, 99, 1)]),
    (InverseSTFT(64, 16), [(2, 3, 9, 33, 2), (2, 3, 9, 33, 2), (2, 77, 2)]),
    *((CutFrames(32, hop, edge=edge), [(2, n, 1)]) for edge in ("zeros", "reflect")
      for hop in (8, 12, 32) for n in (1, 24, 25, 100) if edge == "zeros" or hop < 32),
    *((ContinueFrames(32, 12, edge="zeros"), [(2, n, 1), (2, 20)]) for n in (12, 36)),
    (ContinueFrames(32, 12, edge="reflect"), [(2, 36, 1), (2, 20), (2, 1)]),
    (ContinueOverlapAdd(12), [(2, 3, 32), (2, 20)]),
    (SpectrumFrame(12), [(2, 5, 7)] * 2),
    *((Resample(*rates), [(2, n, 2)]) for rates in ((1, 2), (3, 2), (2, 2)) for n in (7, 12)),
    *((PadToValid(before, sizes={"depth": 2, "resample": resample}), [(1, 50, 2)])
      for before in (None, 0, 30) for resample in (False, True)),
    *((TrimToInput(before), [(2, 3, 50, 2), (2, 70, 2), (2, n, 2)])
      for before, n in ((None, 41), (0, 70), (12, 46))),
    (LinearUpsampling(4), [(2, 5, 3)]),
    (NormalisedFrames(16, 5, 8), [(2, 33, 1)]),
    (CenterTrim(), [(2, 9, 3), (2, 6, 3)]),
    *((Upsampling(valid), [(2, 9, 3)]) for valid in (False, True)),
    (Segments(4), [(2, 9, 3, 2)]),
    (JoinSegments(), [(6, 2, 4, 3, 2), (2, 9, 3, 2)]),
    (RatioMasks(), [(1, 2, 3, 4, 5)]),
    (ComplexBound(), [(2, 3, 4)]),
    (PCAWhitening(3), [(2, 5, 4)]),
    (ComplexConv1DTranspose(3, 5, strides=2, padding="same"), [(2, 4, 6)]),
    (ComplexMaxPooling((3, 2), (2, 1)), [(2, 8, 5, 4)]),
    *((PadFrames(4), [(2, n, 3, 2)]) for n in (8, 9)),
    (FirstFrames(), [(2, 9, 3, 2), (2, 7, 3, 2)]),
    (UnitarySpectrum(16), [(2, 5, 9, 3)] * 2),
    *((ComplexMasked(), [(2, 5, 9, 6 * n), (2, 5, 9, 3), (2, 5, 9, 3)]) for n in (1, 2)),
    (HarmonicsPlusNoise(16, 4000), OSCILLATORS),
    (Reverb(20), [(2, 50, 1)]),
    (ContinueReverb(20), [(2, 16, 1), *((2, *ROOM[name].shape[1:]) for name in sorted(ROOM))]),
    (ContinueHarmonicsPlusNoise(16, 4000),
     [*OSCILLATORS, *((2, *STATE[name].shape[1:]) for name in sorted(STATE))]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "shapes"),
    LAYERS,
    ids=[f"{type(layer).__name__}-{shapes[0]}" for layer, shapes in LAYERS],
)
def test_a_layer_gives_the_shapes_that_it_says(layer, shapes):
    arrays = [np.full(shape, 0.5, np.float32) for shape in shapes]
    if isinstance(layer, ContinueHarmonicsPlusNoise):  # its noise counts in integers
        kinds = [STATE[name].dtype for name in sorted(STATE)]
        arrays[3:] = [x.astype(kind) for x, kind in zip(arrays[3:], kinds, strict=True)]
    found = [(x.shape, x.dtype.name) for x in keras.tree.flatten(layer(*arrays))]
    fixed = layer(*(keras.KerasTensor(x.shape, x.dtype.name) for x in arrays))
    assert [(x.shape, x.dtype) for x in keras.tree.flatten(fixed)] == found
    if isinstance(layer, ContinueFrames | ContinueOverlapAdd):
        return  # a block has one length
    opened = [(None, None, *s[2:]) if len(s) > 2 else (None, *s[1:]) for s in shapes]
    said = layer(*(keras.KerasTensor(s, x.dtype.name) for s, x in zip(opened, arrays, strict=True)))
    for one, (shape, _) in zip(keras.tree.flatten(said), found, strict=True):
        assert len(one.shape) == len(shape)
        assert all(n in (None, known) for n, known in zip(one.shape, shape, strict=True))
