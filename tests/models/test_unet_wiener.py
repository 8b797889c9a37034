"""The multichannel Wiener filter of the U-Nets: as in Deezer's program, and as it was then."""

from pathlib import Path

import made_checkpoints as made
import numpy as np
import pytest

from kzoo import Separator, presets
from kzoo.convert import spleeter

GOLDEN = Path(__file__).parents[1] / "golden" / "unet_wiener.npz"
# Looked up before any test has a cache of its own.
FETCHED = presets.weights_path("spleeter_2stems")
LOUD = 2500  # samples; after them the same noise is 70 dB quieter


def relative_error(found, expected):
    """Energy of the difference over that of what is expected; 1e-9 are -90 dB."""
    return np.sum((found - expected) ** 2.0) / np.sum(expected**2.0)


def made_preset(folder):
    """A U-Net of Spleeter's kind with weights from NumPy's seed alone."""
    card = {**made.small_card("made", 2), "licences": {"weights": "none"}}
    del card["weights"]
    core = spleeter.from_weights(
        made.weights(2), frames=64, bins=64, activation="leaky_relu", masks="sigmoid"
    )  # all the weights
    return presets.save_to_preset(core, folder, card)


def mixture():
    """Two blocks of noise, the second so quiet that only the first's peak scales it down."""
    noise = np.random.default_rng(0).standard_normal((2 * LOUD, 2))
    noise[:LOUD] *= 10
    noise[LOUD:] *= 3e-3
    return noise.astype(np.float32)


@pytest.mark.filterwarnings("ignore:the waveform peaks:UserWarning")  # it must, to be scaled down
def test_two_passes_over_noise_give_the_stems_of_the_golden_file(tmp_path):
    separator = Separator.from_preset(made_preset(tmp_path / "made"), mwf=True)
    found = separator.separate(mixture(), 8000)
    with np.load(GOLDEN) as golden:
        for name in ("vocals", "accompaniment"):
            for part in (slice(0, LOUD), slice(LOUD + 256, None)):  # each by its own level
                assert relative_error(found[name][part], golden[name][part]) < 1e-8, name


@pytest.mark.slow
def test_a_song_is_separated_as_by_deezers_program(shared):
    if FETCHED is None:
        pytest.skip("run kzoo presets download spleeter_2stems")
    outputs = shared / "data" / "reference_outputs"
    with np.load(outputs / "spleeter_2stems_hydrogen.npz") as recorded:
        song = recorded["mixture"]
    found = Separator.from_preset(FETCHED.parent, mwf=True).separate(song, 44100)
    with np.load(outputs / "spleeter_2stems_hydrogen_mwf.npz") as recorded:
        for name, stem in found.items():
            assert relative_error(stem, recorded[name]) < 1e-9, name
