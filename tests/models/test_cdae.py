"""CDAE: what its layer list computes in PyTorch, and its size in the paper."""

import numpy as np
import pytest

from kzoo import models
from kzoo.models import cdae


def test_the_network_is_the_layer_list_in_pytorch(vectors):
    """Not its authors' code, which was never published."""
    recorded = vectors("cdae_small")
    size = cdae.CDAE(n_fft=98, hop_length=49, filters=(3, 4, 5, 6))
    core = cdae.core(["vocals"], size)
    for number in range(1, 9):
        kernel = recorded[f"param/conv{number}.weight_64"].transpose(2, 3, 1, 0)
        bias = recorded[f"param/conv{number}.bias_64"]
        core.get_layer(f"vocals_conv{number}").set_weights([kernel, bias])
    found = core(np.moveaxis(recorded["x_64"], 1, -1).astype(np.float32))
    expected = np.moveaxis(recorded["y_64"], 1, -1)[:, None]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_source_has_as_many_weights_as_published(unfilled):
    assert cdae.core(["vocals"]).count_params() == 37_101
    assert models.build("cdae").count_params() == 4 * 37_101


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window_frames": 10}, "window_frames must be a multiple of 3, as pooled; got 10"),
        ({"n_fft": 1024}, "bins must be a multiple of 25, as pooled; got 513"),
        ({"filters": (3, 4)}, "fewer pools than filters"),
        ({"hop_frames": 4}, "hop_frames must divide window_frames"),
    ],
)
def test_sizes_that_make_no_network_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.sizes("cdae", **options)
