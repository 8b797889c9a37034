"""From activations to hertz, against the definition, librosa's Viterbi, and paths in pieces."""

import numpy as np
import pytest

from kzoo.pitch_tracking import decoding


def bump(bins, *, width=1.5, height=0.9):
    """Activations `[frames, 360]` with a bell around each fractional bin."""
    distance = np.arange(360) - np.asarray(bins)[:, None]
    return (height * np.exp(-0.5 * (distance / width) ** 2)).astype(np.float32)


def rough(rng, frames):
    """Activations of a wandering pitch, with noise that is sometimes the stronger."""
    bins = np.clip(180 + np.cumsum(rng.normal(0, 2, frames)), 20, 340)
    return np.clip(bump(bins, height=0.6) + 0.7 * rng.random((frames, 360)) ** 4, 0, 1)


def test_bins_are_twenty_cents_from_c1():
    hz = decoding.cents_to_hz(decoding.bin_cents(np.arange(360)))
    assert hz[0] == pytest.approx(31.7, abs=0.1)
    assert 1200 * np.log2(hz[1:] / hz[:-1]) == pytest.approx(20)
    # The vectors' own words: 10 * 2 ** ((20 * b + 1997.3794) / 1200).
    assert hz[228] == pytest.approx(10 * 2 ** ((20 * 228 + 1997.3794) / 1200), rel=1e-7)
    np.testing.assert_allclose(
        decoding.hz_to_cents(hz), decoding.bin_cents(np.arange(360)), atol=1e-9
    )


def test_the_strongest_bins_of_the_vectors_are_their_pitches(vectors):
    for size in ("tiny", "full"):
        activations = vectors("crepe")[size]
        bins = decoding.strongest(activations)
        found = decoding.local_average_hz(activations, bins)
        cents = 1200 * np.log2(found / [110, 220, 441, 880])
        assert np.abs(cents).max() < 10


def test_a_bell_between_two_bins_is_found_there():
    bins = np.array([100.0, 100.25, 100.5, 200.75])
    found = decoding.local_average_hz(bump(bins), decoding.strongest(bump(bins)))
    expected = decoding.cents_to_hz(decoding.FIRST_CENTS + 20 * bins)
    assert np.abs(1200 * np.log2(found / expected)).max() < 0.5


def test_the_average_is_of_nine_bins_by_their_activations(rng):
    activations = rng.random((4, 360))
    bins = np.array([0, 2, 180, 359])
    for frame, b in enumerate(bins):
        near = [k for k in range(b - 4, b + 5) if 0 <= k < 360]
        total = sum(activations[frame, k] for k in near)
        cents = sum(activations[frame, k] * (20 * k + 1997.3794084376191) for k in near) / total
        found = decoding.local_average_hz(activations, bins)[frame]
        assert found == pytest.approx(10 * 2 ** (cents / 1200), rel=1e-12)


def test_no_activation_at_all_gives_the_centre_of_the_bin():
    found = decoding.local_average_hz(np.zeros((1, 360)), np.array([228]))
    assert found == pytest.approx(decoding.cents_to_hz(decoding.bin_cents([228])))


def test_a_transition_reaches_eleven_bins_and_falls_linearly():
    matrix = decoding.transition_matrix()
    np.testing.assert_allclose(matrix[11:-11].sum(axis=1), 1)
    np.testing.assert_allclose(matrix[180, 168:193] * 144, 12 - np.abs(np.arange(-12, 13)))
    np.testing.assert_allclose(np.diag(matrix), 12 / 144)  # at the edges too


def test_the_path_is_the_one_that_librosa_finds(rng):
    librosa = pytest.importorskip("librosa")
    allowed = slice(60, 320)  # away from the edges, where librosa wants rows that sum to 1
    activations = rough(rng, 300)
    probabilities = np.zeros((300, 360))
    probabilities[:, allowed] = activations[:, allowed] + 0.01
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    matrix = decoding.transition_matrix()
    matrix /= matrix.sum(axis=1, keepdims=True)
    expected = librosa.sequence.viterbi(probabilities.T, matrix)
    assert (decoding.strongest(activations) != expected).any()  # the path does something
    np.testing.assert_array_equal(decoding.viterbi(activations, allowed), expected)


def test_the_path_beats_every_other_at_the_edges(rng):
    activations = rng.random((40, 360)) ** 8
    with np.errstate(divide="ignore"):
        steps = np.log(decoding.transition_matrix())
    scores, back = np.log(activations[0] + 0.01), []
    for frame in activations[1:]:
        ways = scores[:, None] + steps
        back.append(ways.argmax(axis=0))
        scores = ways.max(axis=0) + np.log(frame + 0.01)
    path = [scores.argmax()]
    for origins in reversed(back):
        path.append(origins[path[-1]])
    np.testing.assert_array_equal(decoding.viterbi(activations), path[::-1])


def test_unsure_stretches_are_not_drawn_to_the_edges():
    activations = bump(np.full(4000, 200.0), height=0.3)
    activations[1000:3000] *= 0.05
    assert (decoding.viterbi(activations) == 200).all()


@pytest.mark.parametrize("length", [1, 7, 128, 1000])
def test_a_path_in_pieces_is_the_path_at_once(rng, length):
    activations = rough(rng, 700)
    emissions = decoding.log_emissions(activations)
    path, found = decoding.Viterbi(), []
    for start in range(0, 700, length):
        found.append(path.push(emissions[start : start + length]))
    assert length == 1000 or sum(map(len, found)) > 350  # settled before the end
    found.append(path.flush())
    np.testing.assert_array_equal(np.concatenate(found), decoding.viterbi(activations))
    assert len(path.flush()) == 0


def test_long_silence_is_settled_in_bounded_memory():
    path = decoding.Viterbi(patience=200)
    settled = len(path.push(decoding.log_emissions(bump(np.full(50, 120.0)))))
    silence = decoding.log_emissions(np.zeros((100, 360)))
    for _ in range(20):
        settled += len(path.push(silence))
        assert len(path._origins) <= 300
    settled += len(path.push(decoding.log_emissions(bump(np.full(50, 240.0))))) + len(path.flush())
    assert settled == 50 + 20 * 100 + 50


def test_a_short_jump_is_not_followed_and_a_long_one_is():
    bins = np.full(200, 150.0)
    bins[50:53], bins[120:] = 210, 210
    found = decoding.viterbi(bump(bins))
    assert np.abs(found[:115] - 150).max() <= 12
    assert np.abs(found[126:] - 210).max() <= 1


def test_limits_keep_the_pitch_inside():
    allowed = decoding.bin_range(100.0, 400.0)
    hz = decoding.cents_to_hz(decoding.bin_cents([allowed.start, allowed.stop - 1]))
    assert hz[0] <= 100 < hz[0] * 2 ** (1 / 60)
    assert hz[1] <= 400 < hz[1] * 2 ** (1 / 60) * 1.0001
    activations = bump([30.0, 150.0, 340.0])
    for bins in (decoding.strongest(activations, allowed), decoding.viterbi(activations, allowed)):
        assert (bins >= allowed.start).all()
        assert (bins < allowed.stop).all()
    assert decoding.bin_range(None, None) == slice(0, 360)
    assert decoding.bin_range(0.0, 1e5) == slice(0, 360)


@pytest.mark.parametrize("limits", [(500.0, 200.0), (3000.0, None), (None, 20.0), (None, -1.0)])
def test_limits_without_a_bin_between_are_refused(limits):
    with pytest.raises(ValueError, match=r"within 31\.7 to 2005\.5 Hz"):
        decoding.bin_range(*limits)
