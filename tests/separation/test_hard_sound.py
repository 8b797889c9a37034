"""Enhancers on sound that is not what they were made for, and for ever: tiny ones, random weights.

What the published ones make of it is in tests/presets/test_published_enhancers.py.
"""

import functools

import keras
import numpy as np
import pytest
from made_streams import snr_db

from kzoo import models
from kzoo.deploy.examples import noisy_speech
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines import tensorflow
from kzoo.separation import BlockSeparator, System, at_level
from kzoo.separation.live import Live

RATE = 8000
SECONDS = np.arange(RATE // 4) / RATE
VOICE = noisy_speech(RATE, 1, RATE // 4, level_db=-26.0)[0]
# Sound and its rate.
SOUNDS = {
    "silence": (np.zeros_like(VOICE), RATE),
    "clipped": (np.clip(20 * VOICE, -1, 1), RATE),
    "of half the rate": (noisy_speech(RATE // 2, 1, RATE // 8, level_db=-26.0)[0], RATE // 2),
    "music": (sum(0.1 * np.sin(2 * np.pi * f * SECONDS) for f in (110, 277, 330))[:, None], RATE),
    "a tone at full scale": (np.sin(2 * np.pi * 440 * SECONDS)[:, None], RATE),
    "direct current": (np.full_like(VOICE, 0.9), RATE),
    "a click": (np.eye(1, len(VOICE), 1000).T, RATE),
    "all but silent": (1e-5 * VOICE, RATE),
    "one sample": (np.ones((1, 1)), RATE),
    "two samples, of another rate": (np.ones((2, 2)), 44100),
    "channels that are not alike": (np.concatenate([VOICE, 0 * VOICE, -VOICE], axis=1), RATE),
}


@pytest.fixture(scope="module", params=["dtln", "gtcrn", "ul_unas", "deepfilternet"])
def enhancer(request):
    """The Separator of a tiny one, which brings recordings to a level."""
    return BlockSeparator(at_level(system(request.param, frames=8), -26.0))


@functools.cache
def system(name, *, frames):
    """A tiny enhancer in blocks of `frames`, with random weights."""
    keras.utils.set_random_seed(0)
    module, size = models.architecture(name), models.sizes(name, variant="tiny")
    step = module.build_step(("speech",), size, frames=frames)
    samples = frames * size.hop_length
    silence = {f"state_{name}": array for name, array in module.initial_state(step).items()}
    return System(
        function=None,
        begin=tensorflow.beginnings(step, silence, ("speech",)),
        delay=size.delay_samples,
        sources=("speech",),
        sample_rate=size.sample_rate,
        channels=1,
        grid=BlockGrid(samples, samples, context=True),
    )


@pytest.mark.parametrize("what", SOUNDS)
def test_any_sound_comes_out_as_long_and_wide_and_finite(enhancer, what):
    sound, sample_rate = SOUNDS[what]
    found = enhancer.separate(np.float32(sound), sample_rate)["speech"]
    assert found.shape == sound.shape
    assert np.isfinite(found).all()
    silent = ~sound.any(axis=0)
    assert not found[:, silent].any()
    assert np.abs(found).max() < 100 * max(np.abs(sound).max(), 1e-9)


def test_after_any_sound_the_next_recording_is_heard_as_the_first(enhancer):
    first = enhancer.separate(VOICE, RATE)["speech"]
    enhancer.separate(np.float32(SOUNDS["clipped"][0]), RATE)
    np.testing.assert_array_equal(enhancer.separate(VOICE, RATE)["speech"], first)


def test_a_long_stream_does_not_drift():
    live = Live(system("dtln", frames=1), "speech")
    hops = np.resize(VOICE[:, 0], (1000, live.hop))  # 2 s
    whole = BlockSeparator(system("dtln", frames=8)).separate(hops.ravel(), RATE)["speech"]
    found, late = np.concatenate([live(hop) for hop in hops]), live.delay
    parts = [slice(n * RATE, n * RATE + RATE // 2) for n in (0, 1)]
    first, last = (snr_db(whole[part], found[late:, 0][part]) for part in parts)
    assert min(first, last) > 100
    assert abs(first - last) < 6
