"""What moves when the sound is shifted: the measure, and what must hold of front ends."""

import numpy as np
import pytest

from benchmarks import translation


@pytest.fixture(scope="module")
def fronts():
    """Those of one seed; what hears all of 59,049 samples is left out."""
    return {k: v for k, v in translation.fronts(0).items() if "SampleCNN" not in k}


def moved(front, waveform):
    return translation.moved(front, waveform[: 6000 + translation.HOP], range(9, 244, 78))


def test_of_a_tone_a_magnitude_stands_still_and_its_parts_do_not(fronts):
    tone = translation.tone()
    for name in ("DFT", "complex Gabor"):
        assert moved(fronts[f"{name}, magnitude"], tone).max() < 0.02
        assert moved(fronts[f"{name}, real part"], tone).max() > 1.2
    alone = moved(fronts["strided convolution"], tone)
    pooled = moved(fronts["strided convolution, largest of 9"], tone)
    assert pooled.max() < 0.5 * alone.max()


def test_sounds_that_have_nothing_in_common_are_the_square_root_of_two_apart(rng):
    noise = translation.unit(rng.standard_normal(4000))
    apart = translation.moved(lambda x: x[:, ::10], noise, range(1, 10, 4))
    np.testing.assert_allclose(apart, np.sqrt(2), rtol=0.1)
    assert translation.moved(lambda x: np.ones(3), noise, range(1, 10)).max() == 0


def test_a_recording_that_is_too_short_is_refused(tmp_path):
    from kzoo import audio

    audio.write(tmp_path / "short.wav", np.zeros((22050, 1), np.float32), 22050)
    with pytest.raises(ValueError, match=r"short.wav: must last 2.69 s; got 1.00 s"):
        translation.middle(tmp_path / "short.wav")


def test_a_recording_without_a_name_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["translation", "violin.wav"])
    with pytest.raises(SystemExit):
        translation.main()
    assert "NAME=FILE, such as violin=violin.wav; got violin.wav" in capsys.readouterr().err
