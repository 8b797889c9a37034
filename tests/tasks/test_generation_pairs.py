"""A generator's pairs: each target is the sample behind what was heard, to the last one."""

import dataclasses
import types

import numpy as np
import pytest

from kzoo.data.corpus import Corpus
from kzoo.models.wavenet import VARIANTS
from kzoo.tasks import Generation

HOP, LENGTHS = 4, (120, 44)
SIZE = dataclasses.replace(VARIANTS["tiny"], output="gaussians")


class Framed(Corpus):
    """As the kind solo gives whole frames. Sample n of track t is (1000 t + n) / 4096."""

    sources, channels, records_mixture = ("audio",), 1, True
    sample_rate, hop_length = 8000, HOP
    controls = ("f0_hz", "loudness_db")
    tracks = tuple((str(t), length) for t, length in enumerate(LENGTHS))

    def read_part(self, track, part, start, samples):
        raise AssertionError("it is read as a whole")

    def read(self, track, start, samples):
        start, samples = (n // HOP * HOP for n in (start, samples))
        at = (1000 * track + start + np.arange(samples)[:, None]) / 4096
        frame = at[::HOP].astype(np.float32)
        return {"waveform": at.astype(np.float32), "f0_hz": frame, "loudness_db": -frame}


def task(size, samples, lanes=None):
    names = ["past", "begins"] if lanes else ["past", "f0_hz", "loudness_db"]
    shapes = {"past": (lanes, samples, 1), "begins": (lanes, 1)}
    inputs = [types.SimpleNamespace(name=n, shape=shapes.get(n, (lanes, 5, 1))) for n in names]
    return Generation(types.SimpleNamespace(inputs=inputs), {}, size)


@pytest.mark.parametrize("way", ["examples", "windows"])
@pytest.mark.parametrize("lanes", [None, 2])
def test_the_last_target_of_frames_is_the_first_sample_behind_them(way, lanes):
    size = SIZE if lanes else dataclasses.replace(SIZE, conditions="controls", hop_length=HOP)
    own = task(size, 20, lanes)
    if way == "examples":
        found = own.examples(Framed(), seed=1, steps=(), conditions=None)
        examples = [found.example(k) for k in range(8)]
    else:
        found = own.windows(Framed())
        examples = [found.example(k) for k in range(len(found))]
        assert len(examples) > 3
    for example in examples:
        past, target = example["past"][:, 0] * 4096, example["target"][:, 0] * 4096
        assert past.shape == target.shape == (20,)
        np.testing.assert_array_equal(target[:-1], past[1:])
        assert target[-1] == past[-1] + 1
        if not lanes:
            assert example["f0_hz"].shape == (5, 1)
            np.testing.assert_array_equal(example["f0_hz"][:, 0] * 4096, past[::HOP])
