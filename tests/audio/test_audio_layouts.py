"""Channels by their loudspeakers: told in the file, and grouped for a stereo model."""

import av
import numpy as np
import pytest
import soundfile

from kzoo import audio
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import BlockSeparator, System

NAMES = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


@pytest.mark.parametrize("bit_depth", [16, 24, "float32"])
@pytest.mark.parametrize("channels", NAMES)
def test_a_wav_of_many_channels_says_which_is_for_which_loudspeaker(
    tmp_path, rng, channels, bit_depth
):
    sound = (0.1 * rng.standard_normal((400, channels))).astype(np.float32)
    path = tmp_path / "surround.wav"
    audio.write(path, sound, 48000, bit_depth=bit_depth)
    with av.open(str(path)) as container:
        layout = container.streams.audio[0].layout.name
    assert layout.partition("(")[0] == NAMES[channels]
    assert soundfile.info(path).format == "WAVEX"
    step = {16: 2**-15, 24: 2**-23, "float32": 1e-9}[bit_depth]
    np.testing.assert_allclose(soundfile.read(path)[0], sound, atol=step)
    np.testing.assert_allclose(audio.read(path)[0], sound, atol=step)


def test_two_channels_need_no_such_words(tmp_path, rng):
    audio.write(tmp_path / "stereo.wav", rng.uniform(-0.1, 0.1, (100, 2)), 48000)
    assert soundfile.info(tmp_path / "stereo.wav").format == "WAV"


@pytest.mark.parametrize(
    ("channels", "width", "groups"),
    [
        (6, 2, [(0, 2), (2, 3), (3, 4), (4, 6)]),
        (8, 2, [(0, 2), (2, 3), (3, 4), (4, 6), (6, 8)]),
        (5, 2, [(0, 2), (2, 3), (3, 5)]),
        (4, 2, [(0, 2), (2, 4)]),
        (2, 2, [(0, 2)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
        (9, 2, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)]),
    ],
)
def test_pairs_go_through_a_stereo_model_together_and_the_centre_alone(channels, width, groups):
    found = audio.channel_groups(channels, width)
    assert [(group.start, group.stop) for group in found] == groups


def test_in_5_1_the_centre_does_not_meet_the_lfe(rng):
    system = System(  # gives each side the other's sound
        function=lambda block: block[:, None, :, ::-1],
        sources=("swapped",),
        sample_rate=8000,
        channels=2,
        grid=BlockGrid(500, 500),
    )
    film = rng.standard_normal((1200, 6)).astype(np.float32)
    swapped = BlockSeparator(system).separate(film, 8000)["swapped"]
    np.testing.assert_allclose(swapped, film[:, [1, 0, 2, 3, 5, 4]], atol=1e-6)
