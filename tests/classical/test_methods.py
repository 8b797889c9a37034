"""Methods without training: recorded outputs of their references, and what each must do."""

import sys

import numpy as np
import pytest
from scipy import signal

from kzoo import audio, classical
from kzoo.classical import ica, iva, nmf, repet, repet_sim
from kzoo.classical.components import grouped
from kzoo.classical.spectra import Transform
from kzoo.metrics import si_sdr
from kzoo.separation.surveys import Survey

RATE = 1000
# Every method with options that make it quick.
QUICK = {
    **{name: {} for name in classical.METHODS},
    "hpss": {"margin": 2.0},
    "nmf": {"components": 4, "iterations": 10},
    "isa": {"components": 4},
    "auxiva": {"iterations": 5},
}
SUMS_TO_ALL = set(classical.METHODS) - {"repet_sim_librosa", "auxiva"}


def stereo(rng, seconds=1.5):
    """Two sources at two microphones: noise that swells, and clicks."""
    samples = round(seconds * RATE)
    swell = rng.standard_normal(samples) * np.sin(np.arange(samples) / 300) ** 2
    clicks = rng.laplace(size=samples) ** 3 / 10
    mixture = np.stack([swell + 0.5 * clicks, 0.4 * swell - clicks], axis=1)
    return (mixture / np.abs(mixture).max()).astype(np.float32)


def test_repet_finds_the_recorded_period_and_background(vectors):
    recorded = vectors("repet_original")
    magnitude = recorded["magnitude"][None].astype(float)
    beats = repet.beat_spectrum(magnitude**2)
    np.testing.assert_allclose(beats, recorded["beat_spectrum_64"], rtol=1e-10)
    period = repet.repeating_period(beats, *recorded["min_max_period_frames"])
    assert period == recorded["period_frames"]
    mask = repet.background_mask(magnitude, period)[0]
    np.testing.assert_allclose(mask, recorded["background_mask"], atol=1e-7)


def test_repet_sim_finds_the_recorded_frames_and_background(vectors):
    recorded = vectors("repet_sim_nussl")
    magnitude = vectors("repet_original")["magnitude"][None, :, :300].astype(float)
    similarity = repet_sim.similarity(magnitude)
    np.testing.assert_allclose(similarity[:20], recorded["similarity_first20"], atol=1e-7)
    similar = repet_sim.similar_frames(similarity, 10, 62.5)
    np.testing.assert_array_equal(similar, recorded["similarity_indices"])
    mask = repet_sim.background_mask(magnitude, similar)[0]
    np.testing.assert_allclose(mask, recorded["background_mask"], atol=1e-7)


def test_repet_sim_by_librosa_makes_the_recorded_masks(vectors):
    recorded = vectors("repet_sim_librosa")
    magnitude = recorded["S"][None]
    found = repet_sim.margin_masks(
        recorded["S_filter"][None], magnitude, vocals_margin=10, accompaniment_margin=2
    )
    for mask, name in zip(found, ("mask_foreground", "mask_background"), strict=True):
        np.testing.assert_allclose(mask[0], recorded[name], atol=1e-6)
    # Of 65 frames some neighbours are equally near to the last bit: the median moves by little.
    model = np.minimum(repet_sim.neighbours_median(magnitude, 3), magnitude)[0]
    assert np.abs(model - recorded["S_filter"]).max() < 2e-3 * magnitude.max()
    assert np.mean(np.abs(model - recorded["S_filter"]) < 1e-5) > 0.99


@pytest.mark.parametrize("divergence", nmf.DIVERGENCES)
@pytest.mark.parametrize("iterations", [1, 50])
def test_nmf_takes_the_recorded_steps(vectors, divergence, iterations):
    recorded = vectors("nmf_mu")
    options = nmf.Nmf(components=3, divergence=divergence, iterations=iterations)
    start = (recorded["W0"], recorded["H0"])
    weights, spectra = nmf.factorised(recorded["X"], options, start=start)
    prefix = f"{nmf.DIVERGENCES[divergence][0]}/{iterations}"
    np.testing.assert_allclose(weights, recorded[f"{prefix}/W"], rtol=1e-9)
    np.testing.assert_allclose(spectra, recorded[f"{prefix}/H"], rtol=1e-9)


@pytest.mark.parametrize("fun", ["logcosh", "exp", "cube"])
def test_fastica_finds_the_recorded_sources(vectors, fun):
    recorded = vectors("fastica")
    unmixing = ica.unmixed(
        recorded["Y"], ica.FastIca(n_sources=3, fun=fun), w_init=recorded["w_init"]
    )
    sources = recorded["Y"] @ unmixing.T
    likeness = np.abs(np.corrcoef(sources.T, recorded[f"{fun}/sources"].T)[:3, 3:])
    np.testing.assert_allclose(np.sort(likeness, axis=1)[:, -1], 1, atol=1e-6)
    np.testing.assert_allclose(sources.var(axis=0), 1, rtol=1e-3)


@pytest.mark.parametrize("model", iva.MODELS)
def test_auxiva_finds_the_recorded_matrices(vectors, model):
    recorded = vectors("iva_auxiva")
    mixture = recorded["mixture_stft"].astype(complex)
    unmixing = iva.auxiva(mixture, iterations=15, model=model)
    np.testing.assert_allclose(unmixing, recorded[f"{model}/W"], rtol=1e-5, atol=1e-5)
    separated = np.einsum("fjc,tfc->tfj", unmixing, mixture)
    separated *= iva.projection(separated, mixture[:, :, 0])
    expected = recorded[f"{model}/separated_projected"]
    np.testing.assert_allclose(separated, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", classical.METHODS)
def test_every_method_gives_sources_like_the_recording_without_tensorflow(name, rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "keras", None)
    mixture = stereo(rng)
    sources = classical.separate(mixture, RATE, name, **QUICK[name])
    assert tuple(sources) == classical.method(name, **QUICK[name]).sources
    assert {source.shape for source in sources.values()} == {mixture.shape}
    rest = sum(sources.values()) - mixture
    assert np.abs(rest).max() < (1e-5 if name in SUMS_TO_ALL else 1) * np.abs(mixture).max()
    for source in classical.separate(0 * mixture, RATE, name, **QUICK[name]).values():
        assert not source.any()
    for source in classical.separate(mixture[:40], RATE, name, **QUICK[name]).values():
        assert source.shape == (40, 2)
        assert np.isfinite(source).all()


FAST = 4000


def looped(rng, seconds=12, level=0.03):
    """A second of chords again and again, and a voice that glides: (background, voice)."""
    t = np.arange(seconds * FAST) / FAST
    chords = signal.sosfilt(signal.butter(4, 0.5, output="sos"), rng.standard_normal(FAST))
    background = 0.2 * np.tile(chords * np.exp(-3 * np.arange(FAST) / FAST), seconds)
    voice = level * np.sin(2 * np.pi * (800 * t + 60 * np.sin(2 * t) + 40 * np.sin(3.3 * t)))
    return background.astype(np.float32), voice.astype(np.float32)


@pytest.mark.parametrize(
    ("name", "level"), [("repet", 0.03), ("repet_sim", 0.03), ("repet_sim_librosa", 0.1)]
)
def test_a_voice_over_a_loop_is_told_from_it(name, level, rng):
    background, voice = looped(rng, level=level)
    vocals = classical.separate(background + voice, FAST, name, block_seconds=8.0)["vocals"]
    assert si_sdr(voice, vocals) > si_sdr(voice, background + voice) + 4


def test_no_vocals_are_below_the_high_pass(rng):
    background, voice = looped(rng, 4)
    vocals = classical.separate(background + voice, FAST, "repet_sim", high_pass_hz=200)["vocals"]
    spectrum = np.abs(np.fft.rfft(vocals * np.hanning(len(vocals))))
    assert spectrum[: 120 * 4].max() < 1e-2 * spectrum.max()


def test_a_silent_end_does_not_change_what_repeats(rng):
    background, voice = looped(rng, 4)
    alone = classical.separate(background + voice, FAST, "repet")["vocals"]
    followed = np.concatenate([background + voice, np.zeros(FAST, np.float32)])
    padded = classical.separate(followed, FAST, "repet")["vocals"]
    np.testing.assert_allclose(padded[: len(alone)], alone, atol=1e-6)


def test_hpss_in_blocks_equals_librosa_on_the_whole(rng):
    import librosa

    mixture = stereo(rng, 25)
    found = classical.separate(mixture, RATE, "hpss", margin=2.0)
    transform = Transform.lasting(0.046, RATE)
    parts = librosa.decompose.hpss(transform.forward(mixture), margin=2.0)
    inside = slice(20 * transform.hop_length, -20 * transform.hop_length)
    for name, part in zip(("harmonic", "percussive"), parts, strict=True):
        expected = transform.inverse(part, len(mixture))
        np.testing.assert_allclose(found[name][inside], expected[inside], atol=1e-5)


def divergence(name, frames, model):
    """As the papers write it."""
    if name == "euclidean":
        return np.sum((frames - model) ** 2) / 2
    ratio = frames / model
    if name == "kullback_leibler":
        return np.sum(frames * np.log(ratio) - frames + model)
    return np.sum(ratio - np.log(ratio) - 1)


@pytest.mark.parametrize("name", nmf.DIVERGENCES)
@pytest.mark.parametrize("fixed", [False, True])
def test_the_divergence_never_grows(name, fixed, rng):
    frames = 1e-3 * rng.gamma(1.0, size=(30, 20)) + 1e-6
    spectra = {"spectra": rng.gamma(1.0, size=(4, 20))} if fixed else {}
    values = []
    for iterations in (1, 2, 3, 5, 10, 30):
        options = nmf.Nmf(components=4, divergence=name, iterations=iterations)
        weights, learned = nmf.factorised(frames, options, **spectra)
        values.append(divergence(name, frames, weights @ learned))
    assert (np.diff(values) <= 1e-12 * values[0]).all()
    assert values[-1] < 0.99 * values[0]


def instruments(rng, seconds=6):
    """Two that play at times of their own: a low hum with overtones, and hiss."""
    t = np.arange(seconds * RATE) / RATE
    gate = np.repeat(rng.integers(0, 2, (2, 4 * seconds)), RATE // 4, axis=1)
    hum = sum(np.sin(2 * np.pi * 60 * k * t) / k for k in (1, 2, 3))
    high = signal.butter(6, 0.6, "high", output="sos")
    hiss = signal.sosfilt(high, rng.standard_normal(len(t)))
    return {name: (0.3 * g * x).astype(np.float32) for name, g, x in
            zip(("hum", "hiss"), gate, (hum, hiss), strict=True)}  # fmt: skip


@pytest.mark.parametrize("name", ["nmf", "isa"])
def test_blind_methods_group_what_sounds_alike(name, rng):
    true = instruments(rng)
    found = classical.separate(sum(true.values()), RATE, name, components=8)
    for reference in true.values():
        assert max(si_sdr(reference, source) for source in found.values()) > 10


@pytest.mark.parametrize("divergence", nmf.DIVERGENCES)
def test_nmf_learns_its_sources_from_solo_recordings(divergence, rng, tmp_path):
    for track in ("first", "second"):
        (tmp_path / track).mkdir()
        for name, sound in instruments(rng).items():
            audio.write(tmp_path / track / f"{name}.wav", sound[:, None], RATE)
        audio.write(tmp_path / track / "mixture.wav", sound[:, None], RATE)
    (tmp_path / "solos").mkdir()
    (tmp_path / "first").rename(tmp_path / "elsewhere")
    (tmp_path / "solos" / "first").symlink_to(tmp_path / "elsewhere")
    true = instruments(rng)
    found = classical.separate(
        sum(true.values()), RATE, "nmf", templates=str(tmp_path / "solos"), components=4,
        iterations=30, divergence=divergence,
    )  # fmt: skip
    assert sorted(found) == ["hiss", "hum"]
    for name, reference in true.items():
        assert si_sdr(reference, found[name]) > 10


def test_templates_are_refused_where_two_sources_are_not_named(tmp_path):
    with pytest.raises(ValueError, match="is no folder of solo recordings"):
        classical.method("nmf", templates=str(tmp_path / "none"))
    audio.write(tmp_path / "vocals.wav", np.zeros((9, 1), np.float32), RATE)
    with pytest.raises(ValueError, match="solo recordings of vocals; templates take two sources"):
        classical.method("nmf", templates=str(tmp_path))
    audio.write(tmp_path / "bass.wav", np.zeros((9, 1), np.float32), RATE)
    with pytest.raises(ValueError, match="follows from templates, which have 2; got 3"):
        classical.method("nmf", templates=str(tmp_path), n_sources=3)
    with pytest.raises(ValueError, match="the solos of bass are silent"):
        classical.separate(np.ones(3000), RATE, "nmf", templates=str(tmp_path))


def test_fastica_gives_each_source_as_the_microphones_hear_it(rng):
    sources = rng.laplace(size=(2, 4000)).astype(np.float32)
    mixing = np.array([[1.0, 0.5], [-0.3, 0.8]], np.float32)
    images = np.einsum("cj,jt->jtc", mixing, 0.1 * sources)
    found = classical.separate(images.sum(axis=0), RATE, "fastica")
    for image in images:
        best = max(si_sdr(image.ravel(), source.ravel()) for source in found.values())
        assert best > 25


def test_auxiva_separates_speakers_in_an_echo(vectors):
    recorded = vectors("iva_auxiva")
    found = classical.separate(recorded["mixture"].T, 8000, "auxiva", window_seconds=0.032)
    gains = [
        max(si_sdr(image, source[:, 0]) for source in found.values())
        - si_sdr(image, recorded["mixture"][0])
        for image in recorded["images_at_mic0"]
    ]
    assert min(gains) > 8


def test_frequencies_without_directions_stop_auxiva_from_nothing(rng):
    mixture = rng.standard_normal((50, 9, 2)) + 1j * rng.standard_normal((50, 9, 2))
    mixture[:, 5] = 0
    mixture[:, 7, 1] = mixture[:, 7, 0]  # mono, as joint stereo makes it
    np.testing.assert_array_equal(np.flatnonzero(~iva.separable(mixture)), [5, 7])
    unmixing = iva.auxiva(mixture, iterations=3)
    np.testing.assert_array_equal(unmixing[[5, 7]], np.tile(np.eye(2), (2, 1, 1)))
    assert np.isfinite(unmixing).all()
    images = iva.AuxIva(iterations=3)._images(np.moveaxis(mixture, 2, 1))
    np.testing.assert_allclose(images[:, 7].sum(axis=0), np.eye(2))


@pytest.mark.parametrize("name", ["fastica", "auxiva"])
def test_what_is_no_several_microphones_is_refused(name, rng):
    with pytest.raises(ValueError, match="got 1 channel: one channel holds no directions; nmf and"):
        classical.separate(stereo(rng)[:, 0], RATE, name)
    with pytest.raises(ValueError, match="got 3 channels: --n-sources 3 takes them all"):
        classical.separate(np.ones((90, 3)), RATE, name)
    same = np.repeat(stereo(rng)[:, :1], 2, axis=1)
    with pytest.raises(ValueError, match="one is silent, or a sum of the others"):
        classical.separate(same, RATE, name)


def test_a_survey_is_spread_evenly_over_all_and_never_longer_than_it_may_be():
    survey = Survey(100)
    for begin in range(0, 1000, 7):
        survey.add(np.arange(begin, min(begin + 7, 1000)))
        assert len(survey.rows) <= 100
    np.testing.assert_array_equal(np.diff(survey.rows), 16)
    assert survey.rows[-1] > 980


def test_components_that_sound_alike_are_one_source():
    low, high = np.eye(129)[[5, 6, 7]] + 1e-6, np.eye(129)[[90, 95, 100, 105]] + 1e-6
    spectra = np.concatenate([low, high]) * np.arange(1, 8)[:, None]
    groups = grouped(spectra, 2, 8000)
    assert sorted(map(list, groups)) == [[0, 1, 2], [3, 4, 5, 6]]


def test_methods_and_their_options_are_named_as_text():
    found = classical.method_of("nmf:components=40,divergence=itakura_saito")
    assert found == classical.method("nmf", components=40, divergence="itakura_saito")
    assert classical.method_of("hpss:margin=2").margin == 2.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("repet_sin", "no method is called 'repet_sin'; did you mean 'repet_sim'?"),
        ("hpss:components=3", "hpss has no option 'components'; it has margin, kernel"),
        ("nmf:components=many", "components of nmf is a number; got 'many'"),
        ("nmf:components", "an option is given as NAME=VALUE; got 'components'"),
        ("nmf:components=1", "components must be at least 2; got 1"),
        ("nmf:divergence=beta", "divergence must be one of euclidean"),
        ("isa:n_sources=1", "n_sources must be at least 2; got 1"),
        ("hpss:margin=0.5", "margin must be at least 1; got 0.5"),
        ("auxiva:model=cauchy", "model must be one of laplace, gauss"),
        ("repet:shortest_seconds=9", "at most longest_seconds; got 9.0 and 8.0"),
    ],
)
def test_mistakes_in_names_and_options_are_one_line(text, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        classical.method_of(text)


def test_a_missing_package_is_named_with_its_extra(monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(ImportError, match=r"hpss needs librosa: pip install 'kzoo\[librosa\]'"):
        classical.separate(stereo(rng), RATE, "hpss")
