"""Windows that overlap see all of a signal, and join into it again."""

import numpy as np
import pytest

from kzoo.layers.overlapping import JoinWindows, OverlappingWindows


@pytest.mark.parametrize("samples", [1, 7, 12])
@pytest.mark.parametrize(
    ("window", "hop", "join"), [(6, None, "fade"), (6, 3, "mean"), (6, 2, "mean"), (5, 1, "mean")]
)
def test_windows_as_they_are_join_into_the_signal(samples, window, hop, join, rng):
    signal = rng.standard_normal((2, samples, 3)).astype(np.float32)
    windows = OverlappingWindows(window, hop)(signal)
    stems = np.stack([windows, -2 * np.asarray(windows)], axis=1)
    layer = JoinWindows(join=join) if join == "fade" else JoinWindows(hop, join)
    found = layer(stems, signal)
    np.testing.assert_allclose(found, np.stack([signal, -2 * signal], axis=1), atol=1e-6)


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="window must be even, to overlap by half; got 5"):
        OverlappingWindows(5)
    with pytest.raises(ValueError, match="hop must divide window; got hop=4, window=6"):
        OverlappingWindows(6, 4)
    with pytest.raises(ValueError, match="leave hop out; got hop=3"):
        JoinWindows(3, "fade")
