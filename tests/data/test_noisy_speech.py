"""Speech in noise is mixed by the book: levels, rooms, kinds of noise, and nobody heard twice."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from kzoo import data
from kzoo.cli.data import mix, prepare
from kzoo.data.mixing.noises import NOISES, equalized
from kzoo.data.mixing.signals import active_db

RATE = 8000


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Five speakers of six utterances, each a tone whose frequency is the speaker."""
    root = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for speaker in range(5):
        for utterance in range(6):
            place = root / f"s{speaker}"
            place.mkdir(exist_ok=True)
            t = np.arange(int(rng.integers(4000, 20000))) / RATE
            tone = 0.2 * np.sin(2 * np.pi * (200 + 100 * speaker) * t)
            soundfile.write(place / f"{utterance}.wav", tone, RATE, subtype="FLOAT")
    return root


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Two kinds of noise, tones of 1500 and of 2500 Hz, and a third that is held out, of 3500."""
    root = tmp_path_factory.mktemp("noise")
    for kind, frequency in {"street": 1500, "kitchen": 2500, "unseen": 3500}.items():
        (root / kind / "deep").mkdir(parents=True)
        tone = 0.01 * np.sin(2 * np.pi * frequency * np.arange(40000) / RATE)
        soundfile.write(root / kind / "deep" / "a.wav", tone, RATE, subtype="FLOAT")
    return root


def opened(speech, noise=None, **options):
    options |= {} if noise is None else {"noise": str(noise)}
    return data.open_corpus("noisy_speech", path=str(speech), **options)


def level_db(signal):
    return 10 * np.log10(np.mean(np.square(signal, dtype=np.float64)))


def pitch(signal):
    spectrum = np.abs(np.fft.rfft(signal[:, 0] * np.hanning(len(signal))))
    return np.argmax(spectrum) * RATE / len(signal)


def speakers(corpus):
    return {name: {p.corpus.tracks[u][0] for u in p.tracks} for name, p in corpus.voices.items()}


def test_a_mixture_is_speech_and_noise_at_their_levels(speech, noise):
    options = {"snr_db": [-3.0, 12.0], "level_db": [-30.0, -20.0], "pause_seconds": [0.0, 0.0]}
    corpus = opened(speech, noise, noises={"street": 1}, sources=["speech", "noise"], **options)
    examples = data.Examples(corpus, samples=6000, seed=1)
    levels, ratios = [], []
    for index in range(60):
        example = examples.example(index)
        voice, rest = example["sources"]
        assert voice.shape == (6000, 1)
        assert example["mixture"].dtype == voice.dtype == np.float32
        np.testing.assert_allclose(example["mixture"], voice + rest, atol=1e-6)
        assert abs(pitch(rest) - 1500) < 2
        levels.append(level_db(voice))
        ratios.append(levels[-1] - level_db(rest))
    assert -30.1 < min(levels) < -28 < -22 < max(levels) < -19.9
    assert -3.1 < min(ratios) < -1 < 10 < max(ratios) < 12.1


def test_speech_alone_is_the_same_mixture_with_one_source(speech, noise):
    both = data.Examples(opened(speech, noise, sources=["speech", "noise"]), samples=4000)
    alone = data.Examples(opened(speech, noise), samples=4000)
    assert alone.corpus.records_mixture
    for index in range(5):
        one, two = alone.example(index), both.example(index)
        assert one["sources"].shape == (1, 4000, 1)
        np.testing.assert_array_equal(one["sources"][0], two["sources"][0])
        np.testing.assert_allclose(one["mixture"], two["mixture"], atol=1e-6)


def test_pauses_lower_no_active_level():
    t = np.arange(2 * RATE) / RATE
    tone = (0.1 * np.sin(2 * np.pi * 500 * t))[:, None].astype(np.float32)
    paused = np.concatenate([tone, np.zeros((6 * RATE, 1), np.float32)])
    assert active_db(paused, RATE) == pytest.approx(active_db(tone, RATE), abs=0.1)
    assert active_db(tone, RATE) == pytest.approx(20 * np.log10(0.1 / np.sqrt(2)), abs=0.01)


def test_an_example_is_a_function_of_seed_and_number_in_any_thread(speech, noise):
    options = {
        "noises": {"street": 1, "babble": 1, **dict.fromkeys(NOISES, 1)}, "speed": [0.9, 1.1],
        "noise_speed": [0.8, 1.2], "noise_equalizer_db": 6.0, "noises_at_once": [1, 3],
        "reverb_seconds": [0.1, 0.2], "reverb_chance": 0.5,
    }  # fmt: skip
    examples = data.Examples(opened(speech, noise, **options), samples=3000, seed=1)
    expected = [examples.example(n)["mixture"] for n in range(24)]
    again = data.Examples(opened(speech, noise, **options), samples=3000, seed=1)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: again.example(n)["mixture"], range(24)))
    np.testing.assert_array_equal(found, expected)
    other = data.Examples(opened(speech, noise, **options), samples=3000, seed=2)
    assert np.abs(other.example(0)["mixture"] - expected[0]).max() > 1e-3


@pytest.mark.parametrize("target", ["dry", "early", "reverberant"])
def test_the_target_is_as_much_of_the_room_as_is_said(speech, noise, target):
    options = {"reverb_seconds": [0.4, 0.4], "direct_db": [0.0, 0.0], "snr_db": [90.0, 90.0],
               "level_db": [-40.0, -40.0]}  # fmt: skip
    dry = data.Examples(opened(speech, noise, **options, target="dry"), samples=8000).example(2)
    example = data.Examples(opened(speech, noise, **options, target=target), samples=8000).example(
        2
    )
    voice, heard = example["sources"][0], example["mixture"]
    np.testing.assert_array_equal(heard, dry["mixture"])
    reflections, late = voice - dry["sources"][0], heard - voice
    # Of a tail that falls by 60 dB in 0.4 s, 50 ms hold 82 % of the energy.
    shares = {"dry": (0, 1), "early": (0.82, 0.18), "reverberant": (1, 0)}[target]
    whole = np.mean((heard - dry["sources"][0]) ** 2)
    assert np.mean(reflections**2) / whole == pytest.approx(shares[0], abs=0.25)
    assert np.mean(late**2) / whole == pytest.approx(shares[1], abs=0.25)
    both = opened(speech, noise, **options, target=target, sources=["speech", "noise"])
    found = data.Examples(both, samples=8000).example(2)
    np.testing.assert_array_equal(found["sources"][0], voice)
    np.testing.assert_allclose(found["sources"].sum(axis=0), heard, atol=1e-6)
    if target == "early":
        assert 0.02 < np.mean(late**2) / whole < np.mean(reflections**2) / whole


def test_a_room_comes_as_often_as_is_said(speech, noise):
    options = {"reverb_seconds": [0.3, 0.3], "snr_db": [90.0, 90.0], "target": "dry"}
    for chance, low, high in ((0.0, 0, 0), (0.5, 8, 22), (1.0, 30, 30)):
        examples = data.Examples(
            opened(speech, noise, reverb_chance=chance, **options), samples=2000
        )
        found = [examples.example(n) for n in range(30)]
        assert (
            low <= sum(np.abs(e["mixture"] - e["sources"][0]).max() > 1e-3 for e in found) <= high
        )


def test_speed_changes_the_pitch_of_the_speech_and_its_target(speech, noise):
    corpus = opened(speech, noise, speed=[1.25, 1.25], speakers=["s0"], held_out={"test": []},
                    noises={"street": 1}, shares=[1.0, 0.0, 0.0], snr_db=[20.0, 20.0])  # fmt: skip
    example = data.Examples(corpus, samples=8000).example(0)
    assert abs(pitch(example["sources"][0]) - 250) < 3
    assert abs(pitch(example["mixture"]) - 250) < 3
    corpus = opened(speech, noise, speed=[1.25, 1.25], pause_seconds=[0.0, 0.0])
    voice = data.Examples(corpus, samples=8000).example(0)["sources"][0]
    assert np.abs(voice).reshape(80, 100).max(axis=1).min() > 0.01  # to the end


def test_noises_come_as_often_as_they_are_said_to(speech, noise):
    wanted = {"street": 3, "kitchen": 1}
    corpus = opened(speech, noise, noises=wanted, sources=["speech", "noise"])
    examples = data.Examples(corpus, samples=1000)
    heard = [pitch(examples.example(n)["sources"][1]) for n in range(80)]
    assert 50 < sum(abs(p - 1500) < 10 for p in heard) < 70
    assert all(min(abs(p - 1500), abs(p - 2500)) < 10 for p in heard)


def test_what_a_training_does_not_name_it_does_not_hear(speech, noise):
    corpus = opened(speech, noise, noise_exclude=["unseen/*"], sources=["speech", "noise"])
    assert sorted(corpus.kinds) == ["kitchen", "street"]
    examples = data.Examples(corpus, samples=1000)
    assert all(pitch(examples.example(n)["sources"][1]) < 2600 for n in range(30))
    assert opened(speech, noise, noises={"unseen": 1}).identity(0) != corpus.identity(0)


def test_babble_is_of_others_than_the_speaker(speech):
    corpus = opened(speech, noises={"babble": 1}, sources=["speech", "noise"], shares=[1, 0, 0.0])
    examples = data.Examples(corpus, samples=8000)
    for index in range(12):
        voice, rest = examples.example(index)["sources"][:, :, 0]
        mine = round(pitch(voice[:, None]) / 100) * 100
        spectrum = np.abs(np.fft.rfft(rest * np.hanning(len(rest))))
        at = [spectrum[f - 2 : f + 3].max() for f in (200, 300, 400, 500, 600)]
        assert spectrum[mine - 2 : mine + 3].max() < 0.05 * max(at)
        assert sum(level > 0.1 * max(at) for level in at) >= 1
    with pytest.raises(ValueError, match="nobody else to babble"):
        opened(speech, noises={"babble": 1}, speakers=["s1"], shares=[1.0, 0.0, 0.0])


def test_a_speaker_held_out_speaks_and_the_others_babble(speech):
    options = {"split": "utterances", "held_out": {"test": ["s4"]}, "shares": [0.4, 0.3, 0.3],
               "noises": {"babble": 1}}  # fmt: skip
    test = opened(speech, partition="test", mixtures=10, seconds=1.0, **options)
    assert all(abs(pitch(test.read_part(n, "speech", 0, 8000)) - 600) < 5 for n in range(10))
    train = opened(speech, **options)
    assert "s4" not in speakers(train)
    heard = set().union(*speakers(train).values())
    assert not heard & set().union(*speakers(test).values())


def test_recordings_without_folders_are_one_kind(speech, noise):
    flat = noise / "street" / "deep"
    corpus = opened(speech, flat, sources=["speech", "noise"])
    assert list(corpus.kinds) == ["deep"]
    assert abs(pitch(data.Examples(corpus, samples=1000).example(0)["sources"][1]) - 1500) < 10


def test_shards_mix_as_the_files_do(speech, noise, tmp_path):
    for kind, root in (("speech", speech), ("sources", noise)):
        prepare(
            str(root), tmp_path / kind, kind=kind, sample_rate=RATE,
            channels=1, dtype="float32", licence="none", quiet=True,
        )  # fmt: skip
    found = data.Examples(opened(tmp_path / "speech", tmp_path / "sources"), samples=9000).example(
        5
    )
    expected = data.Examples(opened(speech, noise), samples=9000).example(5)
    np.testing.assert_allclose(found["mixture"], expected["mixture"], atol=1e-6)


def test_a_test_set_is_written_once_and_for_all(speech, noise, tmp_path):
    (tmp_path / "c.yaml").write_text(
        f"data: {{tests: {{a: {{kind: noisy_speech, path: {speech}, noise: {noise}, mixtures: 2,"
        " seconds: 0.5, sources: [speech, noise]}}}"
    )
    mix(tmp_path / "c.yaml", out=tmp_path / "out", quiet=True)
    parts = {p.stem: soundfile.read(p)[0] for p in (tmp_path / "out/a/train_0001").iterdir()}
    assert sorted(parts) == ["mixture", "noise", "speech"]
    np.testing.assert_allclose(parts["mixture"], parts["speech"] + parts["noise"], atol=1e-6)


def test_what_cannot_be_mixed_is_refused(speech, noise):
    cases = [
        ({"sources": ["noise"]}, r"are \[speech\] or \[speech, noise\]"),
        ({"target": "wet"}, "target must be one of dry, early"),
        ({"snr_db": [5.0, -5.0]}, r"snr_db must be \[low, high\]"),
        ({"noises": {"sea": 1}}, "noises are kitchen, street, unseen, babble, white"),
        ({"noises": {"street": 0}}, "chance above 0; got street: 0"),
        ({"noises_at_once": [0, 1]}, "at least 1"),
        ({"speed": [0.0, 1.0]}, "more than 0"),
        ({"speakers": ["s9"]}, "no utterance of 's9'"),
        ({"shares": [1.0, 0.0, 0.0], "partition": "test"}, "test has no speaker"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            opened(speech, noise, **options)


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("rate", [8000, 16000])
def test_a_noise_is_seeded_sounds_throughout_and_differs_from_draw_to_draw(kind, rate):
    for samples in (1, 100, 2 * rate):
        found = [NOISES[kind](np.random.default_rng(seed), samples, rate) for seed in (0, 0, 1)]
        assert found[0].shape == (samples,)
        assert found[0].dtype == np.float32
        np.testing.assert_array_equal(found[0], found[1])
        assert np.isfinite(found).all()
    assert np.abs(found[0] - found[2]).max() > 1e-3
    assert min(np.square(found[0]).reshape(2, -1).sum(axis=1)) > 0


@pytest.mark.parametrize(("kind", "slope"), [("white", 0.0), ("pink", -3.0), ("brown", -6.0)])
def test_coloured_noise_falls_as_its_name_says(kind, slope):
    noise = NOISES[kind](np.random.default_rng(0), 1 << 18, 16000)
    power = np.square(np.abs(np.fft.rfft(noise)))
    bins = len(power) / 8000
    density = [power[int(f * bins) : int(1.2 * f * bins)].mean() for f in (250, 4000)]
    assert 10 * np.log10(density[1] / density[0]) / 4 == pytest.approx(slope, abs=0.3)


def test_hum_is_harmonics_of_the_mains():
    for seed in range(6):
        noise = NOISES["hum"](np.random.default_rng(seed), 80000, 16000)
        power = np.square(np.abs(np.fft.rfft(noise * np.hanning(80000))))  # bins of 0.2 Hz
        lines = np.flatnonzero(power > 1e-4 * power.max()) * 0.2
        base = min((50, 60), key=lambda f: np.abs(lines - f * np.round(lines / f)).max())
        order = np.round(lines / base)
        assert (np.abs(lines - base * order) <= 0.2 * order + 0.8).all()


def test_an_equalizer_moves_octaves_and_no_further_than_it_may(rng):
    noise = rng.standard_normal((1 << 16, 2))
    ratio = np.abs(
        np.fft.rfft(equalized(rng, noise, 16000, 6.0), axis=0) / np.fft.rfft(noise, axis=0)
    )
    gains = 20 * np.log10(ratio[1:-1])
    assert np.abs(gains).max() <= 6.01
    assert np.ptp(gains) > 3
    np.testing.assert_allclose(gains[:, 0], gains[:, 1], atol=0.05)
