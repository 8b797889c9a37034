"""GTCRN: the authors' outputs and states from the authors' files, and streams of any block."""

import numpy as np
import pytest
from made_once import drawn_once
from made_streams import snr_db, streamed

from kzoo import models
from kzoo.convert import gtcrn as convert
from kzoo.models import gtcrn

# The authors' parts of the network, recorded as [channels, frames, bands], and our layers.
LAYERS = {
    "feat9": "neighbours",
    "en0": "encoder1_prelu",
    "en1": "encoder2_prelu",
    "tra2": "encoder3_attention_weighted",
    "en2": "encoder3_shuffle",
    "en3": "encoder4_shuffle",
    "en4": "encoder5_shuffle",
    "dp1": "dual_path1_inter",
    "dp2": "dual_path2_inter",
    "de0": "decoder1_shuffle",
    "de1": "decoder2_shuffle",
    "de2": "decoder3_shuffle",
    "de3": "decoder4_prelu",
}


each_network_is_drawn_once = drawn_once((models, "build"))


@pytest.fixture(scope="module")
def folder(shared):
    """The authors' files."""
    return shared / "data" / "weights" / "gtcrn"


@pytest.fixture(scope="module")
def recorded(vectors):
    """The authors' outputs."""
    return vectors("gtcrn")


@pytest.fixture(scope="module")
def published(folder):
    """The authors' first model."""
    return convert.from_weights(convert.read(folder / "model_trained_on_dns3.tar"))


@pytest.fixture
def lent(published):
    """The same, to be given other weights; its own come back."""
    weights = published.get_weights()
    yield published
    published.set_weights(weights)


def test_the_whole_is_the_authors(inside, recorded):
    assert snr_db(recorded["dns3/enhanced"], inside["stems"][0, 0, :, 0]) > 90
    mask = np.transpose(inside["band_masks"][0], (2, 0, 1))
    assert snr_db(recorded["erb_mask"], mask) > 90
    real, imag = inside["masked"]
    assert snr_db(recorded["enh_spec_first24"], (real + 1j * imag)[0, :24]) > 90


def test_every_part_is_the_authors(inside, recorded):
    parts = 0
    for name, array in recorded.items():
        theirs, _, where = name.partition("_")
        if theirs in LAYERS and where.startswith(("first", "last")):
            found = np.transpose(inside[LAYERS[theirs]][0], (2, 0, 1))
            count = array.shape[1]
            found = found[:, :count] if where.startswith("first") else found[:, -count:]
            assert snr_db(array, found) > 90, name
            parts += 1
    assert parts == 16
    added = inside["dual_path1_intra"] - inside["encoder5_shuffle"]
    assert snr_db(recorded["dp1_intra_ln_first6"], added[0, :6]) > 90


def test_the_model_of_other_data_is_the_authors(lent, probe, folder, mixture, recorded):
    other = convert.from_weights(convert.read(folder / "model_trained_on_vctk.tar"))
    assert other is lent
    inside, samples = probe(mixture), 59 * 256
    assert snr_db(recorded["vctk/enhanced"][:samples], inside["stems"][0, 0, :samples, 0]) > 90
    mask = np.transpose(inside["band_masks"][0, :59], (2, 0, 1))
    assert snr_db(recorded["vctk/erb_mask"][:, :59], mask) > 90


def test_the_authors_streaming_file_holds_another_model(lent, folder):
    before = lent.get_weights()[0]
    other = convert.from_weights(convert.read(folder / "stream_model_trained_on_dns3.tar"))
    assert not np.allclose(other.get_weights()[0], before, atol=1e-3)


def test_the_states_of_a_stream_are_the_authors(published, inside, mixture, recorded):
    step = gtcrn.build_step(frames=20)
    step.set_weights(published.get_weights())
    found, state = streamed(step, mixture[:, : 20 * 256])
    assert snr_db(inside["stems"][0, 0, : 19 * 256, 0], found[256:]) > 90
    conv, tra, inter = (recorded[f"dns3/{name}_cache_after20"] for name in ("conv", "tra", "inter"))
    begins = {1: 0, 2: 2, 5: 6}  # of each dilation among the frames of the authors' state
    for part, blocks in enumerate([{3: 1, 4: 2, 5: 5}, {3: 1, 2: 2, 1: 5}]):
        side = ("encoder", "decoder")[part]
        for place, number in enumerate(sorted(blocks)):
            first, dilation = begins[blocks[number]], blocks[number]
            past = np.transpose(state[f"{side}{number}_depthwise_past"][0], (2, 0, 1))
            assert snr_db(conv[part][:, first : first + 2 * dilation], past) > 90
            gru = state[f"{side}{number}_attention_gru"][0]
            assert snr_db(tra[part, place], gru) > 90
    for number in (1, 2):
        assert snr_db(inter[number - 1], state[f"dual_path{number}_inter"][0]) > 90


def test_weights_that_do_not_fit_are_refused_by_name():
    with pytest.raises(ValueError, match=r"missing: .* and \d+ more"):
        convert.from_weights({})
    with pytest.raises(ValueError, match=r"erb\.erb_fc\.weight must hold the fixed triangles"):
        convert.from_weights({"erb.erb_fc.weight": np.ones((64, 192), np.float32)})


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": 2}, "channels must be 1: the network hears one; got 2"),
        ({"hop_length": 300}, "hop_length must be at most half of n_fft"),
        ({"erb_bands": 63}, "one more than a multiple of all strides"),
        ({"low_bins": 17, "erb_bands": 112}, "each is centred on a bin of its own"),
        ({"filters": 6}, "filters must be a multiple of 2 [*] groups=4; got 6"),
        ({"dilations": [1, 0]}, "dilations must be above 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        models.sizes("gtcrn", **wrong)
