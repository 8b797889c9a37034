"""Listeners whose frames see some spectra in a row: how much of a recording that is."""

import keras
import numpy as np
import pytest

from kzoo import models


@pytest.mark.parametrize("lookahead", [0, 4])
@pytest.mark.parametrize(
    ("name", "half_spectrum_hops", "least"), [("onset_cnn", 2, 1e-5), ("tdnn_frames", 1, 1e-6)]
)
def test_a_frame_sees_what_its_sizes_say_and_no_more(
    name, half_spectrum_hops, least, lookahead, rng
):
    size = models.sizes(name, variant="tiny", lookahead_frames=lookahead)
    keras.utils.set_random_seed(0)
    model = models.build(name, size)
    waveform = (0.1 * rng.standard_normal((1, 4096, 1))).astype(np.float32)
    frame, changed = 16, waveform.copy()
    centre = frame * size.hop_length
    changed[:, : centre - size.before_samples] = 0
    changed[:, centre + size.after_samples :] = 0
    whole, inside = np.asarray(model(waveform)), np.asarray(model(changed))
    np.testing.assert_allclose(inside[:, frame], whole[:, frame], atol=1e-6)
    changed[:, centre + size.after_samples - 100 :] = 0
    assert np.abs(np.asarray(model(changed)) - whole)[:, frame].max() > least
    assert size.delay_samples == (half_spectrum_hops - 1 + lookahead) * size.hop_length
