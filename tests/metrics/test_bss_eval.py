"""BSS Eval against museval's own outputs, museval itself, and what the definitions imply."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest
import soundfile

from kzoo.metrics import (
    bss_eval,
    bss_eval_images,
    bss_eval_sources,
    projection,
    snr,
    track_medians,
)

MEASURES = ("sdr", "isr", "sir", "sar")


@pytest.fixture(scope="module")
def museval_metrics():
    """Metrics.py of museval alone: importing the package asks for an ffmpeg program."""
    package = importlib.util.find_spec("museval")
    if package is None:
        pytest.skip("museval is not installed: pip install 'kzoo[eval]'")
    path = f"{next(iter(package.submodule_search_locations))}/metrics.py"
    spec = importlib.util.spec_from_file_location("museval_metrics", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_equal_to_museval(museval_metrics, references, estimates, **options):
    theirs = museval_metrics.bss_eval(references, estimates, **options)
    ours = bss_eval(references, estimates, **options)
    for name, expected in zip(MEASURES, theirs[:4], strict=True):
        np.testing.assert_allclose(getattr(ours, name), expected, atol=1e-6, rtol=0, err_msg=name)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("museval_v4_win2000", {"window": 2000, "hop": 2000}),
        ("museval_v3_win2000", {"window": 2000, "hop": 2000, "framewise_filters": True}),
        ("museval_v4_global", {"window": None, "hop": None}),
        ("museval_v4_flen64", {"window": 2000, "hop": 1000, "filters_len": 64}),
        ("mir_eval_images", {"window": None, "framewise_filters": True}),
        ("mir_eval_sources", {"window": None, "sources_version": True}),
    ],
)
def test_the_recorded_scores_of_the_reference_programs_are_met(vectors, key, options):
    data = vectors("bss_eval")
    scores = bss_eval(data["ref"], data["est"], **options)
    for name in MEASURES:
        if f"{key}/{name}" in data:
            expected = data[f"{key}/{name}"].reshape(2, -1)
            np.testing.assert_allclose(getattr(scores, name), expected, atol=1e-6, rtol=0)


def test_the_recorded_stereo_scores_are_met(vectors):
    data = vectors("bss_eval")
    scores = bss_eval(data["ref_stereo"], data["est_stereo"], window=4000, hop=4000)
    for name in MEASURES:
        expected = data[f"museval_stereo_v4_win4000/{name}"]
        np.testing.assert_allclose(getattr(scores, name), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"window": 3000, "hop": 3000},
        {"window": 3000, "hop": 1000.5},
        {"window": 2500, "hop": 4000, "framewise_filters": True},
        {"window": np.inf, "hop": np.inf},
        {"window": 9999, "hop": 10},
    ],
)
def test_frames_with_a_silent_source_are_museval_s(museval_metrics, rng, options):
    references = rng.standard_normal((2, 10_000, 2))
    references[0, 2000:7000] = 0
    estimates = references + 0.3 * rng.standard_normal(references.shape)
    estimates[1, 6500:9999] = 0
    assert_equal_to_museval(museval_metrics, references, estimates, filters_len=32, **options)


# Decoded music whose top octave is empty makes the least squares singular, and the rounding of one
# BLAS or number of threads then decides SIR and SAR, in museval too. Noise of -80 dBFS, below
# what 16 bits of most recordings hold, makes them a matter of the signals alone.
NOISE = 1e-4


def test_real_stems_with_pauses_score_as_in_museval(museval_metrics, shared, rng):
    folder = shared / "data" / "music_stems" / "3.Sodium"
    stems, rate = [], 44100
    for name in ("vocals", "drums"):
        with soundfile.SoundFile(folder / f"{name}.ogg") as file:
            file.seek(190 * rate)
            stems.append(file.read(3 * rate))
    references = np.stack(stems)
    references += NOISE * rng.standard_normal(references.shape)
    references[0, : int(1.2 * rate)] = 0  # a pause, as singers make
    mixture = references.sum(axis=0)
    estimates = np.stack([0.8 * references[0] + 0.1 * mixture, 0.7 * mixture])
    estimates += NOISE * rng.standard_normal(references.shape)
    options = {"window": rate, "hop": rate, "filters_len": 128}
    assert np.isnan(bss_eval(references, estimates, **options).sdr[:, 0]).all()
    assert_equal_to_museval(museval_metrics, references, estimates, **options)


@pytest.mark.slow
def test_real_songs_score_as_in_museval_with_its_own_settings(museval_metrics, shared, rng):
    outputs = np.load(shared / "data/reference_outputs/spleeter_2stems_hydrogen.npz")
    with soundfile.SoundFile(shared / "data/music_stems/1.Hydrogen/vocals.ogg") as file:
        file.seek(100 * 44100)
        vocals = file.read(4 * 44100)
    mixture = outputs["mixture"][: len(vocals)].astype(np.float64)
    references = np.stack([vocals, mixture - vocals])
    estimates = np.stack([outputs[n][: len(vocals)] for n in ("vocals", "accompaniment")])
    references += NOISE * rng.standard_normal(references.shape)
    estimates = estimates + NOISE * rng.standard_normal(references.shape)
    assert_equal_to_museval(museval_metrics, references, estimates, window=44100, hop=44100)


def test_a_source_that_is_the_same_on_both_channels_scores_as_its_projections(rng):
    # The Gram matrix has half its rank: many filters are the best ones, all with one sound.
    references = rng.standard_normal((2, 3000, 1)).repeat(2, axis=2)
    estimates = references + 0.1 * rng.standard_normal(references.shape)
    scores = bss_eval(references, estimates, window=3000, hop=3000, filters_len=8)
    tail = ((0, 0), (0, 7), (0, 0))  # what eight taps add to the length
    padded, targets = np.pad(estimates, tail), np.pad(references, tail)
    delays = [[np.roll(target[:, 0], lag) for lag in range(8)] for target in targets]
    for j, (target, estimate) in enumerate(zip(targets, padded, strict=True)):
        own, every = (
            basis @ np.linalg.lstsq(basis, estimate)[0]
            for basis in (np.transpose(delays[j]), np.concatenate(delays).T)
        )
        for measure, signal, error in (
            ("sdr", target, estimate - target),
            ("isr", target, own - target),
            ("sir", own, every - own),
            ("sar", every, estimate - every),
        ):
            expected = 10 * np.log10(np.sum(signal**2) / np.sum(error**2))
            assert getattr(scores, measure)[j, 0] == pytest.approx(expected, abs=1e-6), measure


def test_the_sdr_is_the_energy_ratio_of_the_frame(rng):
    references = rng.standard_normal((2, 2000, 2))
    estimates = references + 0.2 * rng.standard_normal(references.shape)
    scores = bss_eval(references, estimates, window=1000, hop=1000, filters_len=16)
    for j in range(2):
        for t in range(2):
            frame = slice(1000 * t, 1000 * (t + 1))
            expected = snr(references[j, frame], estimates[j, frame])
            assert scores.sdr[j, t] == pytest.approx(expected, abs=1e-9)


def test_other_sources_lower_the_sir_and_noise_lowers_the_sar(rng):
    references = rng.standard_normal((2, 8000, 1))
    leak = references + 0.1 * references[::-1]
    noise = references + 0.1 * rng.standard_normal(references.shape)
    options = {"window": None, "filters_len": 16}
    leaking, noisy = bss_eval(references, leak, **options), bss_eval(references, noise, **options)
    np.testing.assert_allclose(leaking.sir, 20, atol=0.5)
    assert (leaking.sar > 60).all()
    np.testing.assert_allclose(noisy.sar, 20, atol=0.5)
    assert (noisy.sir > 30).all()


def test_filtering_the_source_costs_image_and_neither_interference_nor_artefacts(rng):
    references = rng.standard_normal((2, 8000, 1))
    filtered = np.stack([np.convolve(r[:, 0], [0.8, 0.3])[:8000, None] for r in references])
    scores = bss_eval(references, filtered, window=None, filters_len=16)
    assert (scores.isr < 11).all()
    assert (scores.sir > 30).all()
    assert (scores.sar > 30).all()


def test_one_gain_on_everything_changes_nothing(rng):
    references = rng.standard_normal((2, 4000, 2))
    estimates = references + rng.standard_normal(references.shape)
    options = {"window": 2000, "hop": 2000, "filters_len": 16}
    plain = bss_eval(references, estimates, **options)
    scaled = bss_eval(8 * references, 8 * estimates, **options)
    np.testing.assert_allclose(np.stack(plain[:4]), np.stack(scaled[:4]), atol=1e-6)


def test_a_track_s_figure_is_the_median_of_its_sounding_frames(rng):
    references = rng.standard_normal((1, 5000, 1))
    references[0, 1000:2000] = 0
    estimates = references + 0.5 * rng.standard_normal(references.shape)
    scores = bss_eval(references, estimates, window=1000, hop=1000, filters_len=4)
    kept = scores.sdr[0, [0, 2, 3, 4]]
    assert track_medians(scores)["sdr"][0] == pytest.approx(np.median(kept))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r, e: (r[:, :100], e), "one shape"),
        (lambda r, e: (np.where(np.arange(2)[:, None, None] == 1, 0, r), e), r"references\[1\] is"),
        (lambda r, e: (r, np.where(np.arange(2)[:, None, None] == 0, 0, e)), r"estimates\[0\] is"),
        (lambda r, e: (r, e * np.nan), r"estimates\[0\] holds NaN"),
        (lambda r, e: (r[0, :, 0], e[0, :, 0]), "must be"),
    ],
)
def test_unusable_signals_are_refused_by_name(rng, spoil, message):
    references = rng.standard_normal((2, 500, 1))
    with pytest.raises(ValueError, match=message):
        bss_eval(*spoil(references, references + 1.0))


def test_signals_with_channels_first_are_refused_before_any_filter_is_laid_out(rng):
    first = rng.standard_normal((2, 2, 44100))
    with pytest.raises(ValueError, match=r"44100 channels: transpose it, references.transpose"):
        bss_eval(first, first)


def leaking(rng, channels=2, samples=3000):
    """Two coloured noises, and estimates with leakage, a filter and noise, in the other order."""
    references = rng.standard_normal((2, samples, channels))
    references[:, 1:] += 0.5 * references[:, :-1]
    estimates = references + 0.3 * references[::-1] + 0.2 * rng.standard_normal(references.shape)
    estimates[:, 2:] += 0.3 * references[:, :-2]
    return references, estimates[::-1]


@pytest.mark.parametrize("permute", [False, True])
def test_version_3_scores_images_as_its_reference_program(museval_metrics, rng, permute):
    references, estimates = leaking(rng, 1)
    expected = museval_metrics.bss_eval_images(references, estimates, permute)
    scores = bss_eval_images(references, estimates, permute=permute)
    for measure, value in zip(scores[:4], expected[:4], strict=True):
        np.testing.assert_allclose(measure, value, atol=1e-6, rtol=0)
    np.testing.assert_array_equal(scores.order[:, 0], np.ravel(expected[4]))


@pytest.mark.parametrize("window", [1000, 2000])
def test_version_3_scores_sources_as_its_reference_program(museval_metrics, rng, window):
    references, estimates = leaking(rng, 1)
    references[0, :1000] *= window != 1000  # a frame without scores
    frame = window if window == 1000 else np.inf  # a single window is no frame
    expected = museval_metrics.bss_eval_sources_framewise(references, estimates, frame, frame, True)
    references, estimates = references[..., 0], estimates[..., 0]
    scores = bss_eval_sources(references, estimates, window=window, hop=window, permute=True)
    for measure, value in zip((scores.sdr, scores.sir, scores.sar), expected[:3], strict=True):
        np.testing.assert_allclose(measure, value, atol=1e-6, rtol=0)
    scored = ~np.isnan(scores.sdr[0])
    np.testing.assert_array_equal(scores.order[:, scored], expected[3][:, scored])


def test_version_3_takes_the_best_order_of_a_whole_and_the_given_one_of_frames(rng):
    references, estimates = leaking(rng, samples=1000)
    np.testing.assert_array_equal(bss_eval_images(references, estimates).order, [[1], [0]])
    framewise = bss_eval_images(references, estimates, window=500, hop=500)
    np.testing.assert_array_equal(framewise.order, [[0, 0], [1, 1]])
    with pytest.raises(ValueError, match="must be mono"):
        bss_eval_sources(references, estimates)


def test_the_best_order_of_a_track_is_the_one_that_was_mixed_up(rng):
    references, estimates = leaking(rng)
    options = {"window": 1000, "hop": 1000, "filters_len": 16}
    found = bss_eval(references, estimates, permute=True, **options)
    np.testing.assert_array_equal(found.order, [[1, 1, 1], [0, 0, 0]])
    expected = bss_eval(references, estimates[::-1], **options)
    np.testing.assert_allclose(np.stack(found[:4]), np.stack(expected[:4]), atol=1e-9)


@pytest.mark.parametrize("framewise", [False, True])
def test_neither_blocks_nor_threads_nor_precision_of_the_samples_change_a_score(
    rng, monkeypatch, framewise
):
    references, estimates = (signal.astype(np.float32) for signal in leaking(rng))
    options = {"window": 900, "hop": 700, "filters_len": 16, "framewise_filters": framewise}
    whole = bss_eval(references.astype(float), estimates.astype(float), **options)
    monkeypatch.setattr(projection, "_N_FFT", 128)
    monkeypatch.setattr(projection, "_BLOCKS", 3)
    one, two = (bss_eval(references, estimates, threads=n, **options) for n in (1, 2))
    np.testing.assert_allclose(np.stack(one[:4]), np.stack(whole[:4]), atol=1e-9)
    np.testing.assert_array_equal(np.stack(one[:4]), np.stack(two[:4]))


def test_a_silent_channel_costs_nothing(rng):
    references, estimates = leaking(rng, 1)
    options = {"window": 1000, "filters_len": 16}
    mono = bss_eval(references, estimates, **options)
    silent = np.zeros_like(references)
    panned = bss_eval(
        np.concatenate([references, silent], 2), np.concatenate([estimates, silent], 2), **options
    )
    np.testing.assert_allclose(np.stack(panned[:4]), np.stack(mono[:4]), atol=1e-9)
    assert panned.condition < 1e3


def test_scores_say_how_well_their_filters_are_known(rng):
    references, estimates = leaking(rng, 1)
    options = {"window": None, "filters_len": 16}
    plain = bss_eval(references, estimates, **options)
    assert plain.condition < 100
    assert plain.regularisation == 0
    regularised = bss_eval(references, estimates, regularisation=0.1, **options)
    assert regularised.condition < plain.condition
    assert regularised.regularisation == 0.1
    assert not np.allclose(regularised.sir, plain.sir, atol=0.01)
    np.testing.assert_allclose(regularised.sdr, plain.sdr, atol=1e-9)
    twice = np.concatenate([references, references], axis=2)
    singular = bss_eval(twice, np.concatenate([estimates, estimates], axis=2), **options)
    assert np.isinf(singular.condition)
    assert "condition inf" in singular.note
    assert not plain.note
    assert singular.regularisation == 1e-10
    np.testing.assert_allclose(np.stack(singular[:4]), np.stack(plain[:4]), atol=1e-6)
    with pytest.raises(ValueError, match="regularisation must be 0 or more; got -1"):
        bss_eval(references, estimates, regularisation=-1)


def test_scores_need_no_tensorflow(rng, monkeypatch):
    for name in ("tensorflow", "keras"):
        monkeypatch.setitem(sys.modules, name, None)  # whose import then fails
    for name in [name for name in sys.modules if name.startswith("kzoo.metrics")]:
        monkeypatch.delitem(sys.modules, name)
    metrics = importlib.import_module("kzoo.metrics")
    references, estimates = leaking(rng, samples=600)
    scores = metrics.bss_eval(references, estimates, permute=True, filters_len=8)
    assert (scores.sdr > 0).all()
    assert metrics.si_sdr(references[0].ravel(), estimates[1].ravel()) > 0
