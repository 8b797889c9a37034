"""UL-UNAS: the authors' outputs and states from the authors' file, and streams of any block."""

import numpy as np
import pytest
from made_once import drawn_once
from made_streams import snr_db, streamed

from kzoo import models
from kzoo.convert import ul_unas as convert
from kzoo.models import ul_unas

# The authors' parts of the network, recorded as [channels, frames, bands], and our layers.
LAYERS = {
    "en0_aprelu": "encoder1_activation",
    "en0": "encoder1_bands",
    "en1_pconv1": "encoder2_expand_shuffle",
    "en1_dconv": "encoder2_depthwise_activation",
    "en1": "encoder2_shuffle",
    "en2": "encoder3_bands",
    "en3": "encoder4_shuffle",
    "en4": "encoder5_bands",
    "dp1": "dual_path1_inter",
    "dp2": "dual_path2_inter",
    "de0": "decoder1_bands",
    "de1": "decoder2_shuffle",
    "de2": "decoder3_bands",
    "de3": "decoder4_shuffle",
    "de4": "decoder5_bands",
}


each_network_is_drawn_once = drawn_once((models, "build"))


@pytest.fixture(scope="module")
def recorded(vectors):
    """The authors' outputs."""
    return vectors("ulunas")


@pytest.fixture(scope="module")
def published(shared):
    """The authors' model."""
    folder = shared / "data" / "weights" / "ulunas"
    return convert.from_weights(convert.read(folder / "model_trained_on_dns3.tar"))


def test_the_whole_is_the_authors(inside, recorded):
    assert snr_db(recorded["enhanced"], inside["stems"][0, 0, :, 0]) > 90
    assert snr_db(recorded["feat_erb"], inside["bands"][0, :, :, 0]) > 90
    assert snr_db(recorded["erb_mask"], inside["band_masks"][0, :, :, 0]) > 90
    real, imag = inside["masked"]
    assert snr_db(recorded["enh_spec_first24"], (real + 1j * imag)[0, :24]) > 90


def test_every_part_is_the_authors(inside, recorded):
    parts = 0
    for name, array in recorded.items():
        theirs, _, where = name.rpartition("_")
        if theirs in LAYERS:
            found = np.transpose(inside[LAYERS[theirs]][0], (2, 0, 1))
            count = array.shape[1]
            found = found[:, :count] if where.startswith("first") else found[:, -count:]
            assert snr_db(array, found) > 90, name
            parts += 1
    assert parts == 18


def test_both_attentions_are_the_authors(inside, recorded):
    weights = 1 / (1 + np.exp(-np.float64(recorded["en0_ta_fc_first24"])))
    assert snr_db(weights, inside["encoder1_attention_weights"][0, :24]) > 90
    before, after = inside["encoder1_attention_weighted"], inside["encoder1_bands"]
    weights = 1 / (1 + np.exp(-np.float64(recorded["en0_fa_first12"])))
    assert snr_db(weights[..., None] * before[0, :12], after[0, :12]) > 90


def test_the_states_of_a_stream_are_the_authors(published, inside, mixture, recorded):
    step = ul_unas.build_step(frames=20)
    step.set_weights(published.get_weights())
    found, state = streamed(step, mixture[:, : 20 * 256])
    assert snr_db(inside["stems"][0, 0, : 19 * 256, 0], found[256:]) > 90
    pasts = ["encoder1", "encoder2_depthwise", "encoder3_depthwise"]
    pasts += ["decoder3_depthwise", "decoder4_depthwise", "decoder5"]
    conv = [np.transpose(state[f"{name}_past"][0], (2, 0, 1)).ravel() for name in pasts]
    assert snr_db(recorded["conv_cache_after20"], np.concatenate(conv)) > 90
    sides = [f"{side}{number}" for side in ("encoder", "decoder") for number in range(1, 6)]
    gru = [state[f"{name}_attention_gru"][0] for name in sides]
    assert snr_db(recorded["tfa_cache_after20"], np.concatenate(gru)) > 90
    inter = [state[f"dual_path{number}_inter"].ravel() for number in (1, 2)]
    assert snr_db(recorded["inter_cache_after20"], np.concatenate(inter)) > 90


def test_what_is_below_the_floor_is_heard_as_the_floor():
    magnitudes = np.float32([0.0, 1e-20, 1e-9, 1e-3, 1.0])[None, None]
    for floor_db, lowest in ((-370.0, -18.5), (-240.0, -12.0), (-52.0, -2.6)):
        found = ul_unas.LogSpectrum(floor_db)(0.6 * magnitudes, 0.8 * magnitudes)
        expected = np.log10(np.maximum(np.float64(magnitudes), 10**lowest))
        np.testing.assert_allclose(found[..., 0], expected, atol=1e-5)


def test_weights_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more"):
        convert.from_weights({})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"filters": [12, 24]}, "got 5 kinds, 2 filters"),
        ({"kinds": ["convolution"] * 4 + ["dense"]}, "kinds must be of .*; got 'dense'"),
        ({"kinds": ["separable"] * 5}, "the first of kinds must be convolution"),
        ({"strides": [2, 3, 1, 1, 1]}, "a multiple of all strides, each 1 or 2"),
        ({"band_kernels": [3, 3, 3, 4, 5]}, "band_kernels odd"),
        ({"filters": [12, 23, 24, 32, 16]}, "filters must be multiples of groups=2"),
        ({"filters": [12, 24, 24, 32, 18]}, "must be a multiple of 2 [*] groups=4"),
        ({"floor_db": -371.0}, "floor_db must be at least -370, .* in float32; got -371"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        models.sizes("ul_unas", **wrong)
