"""Speakers are mixed by the book: levels, partitions, rooms, and every bit from seed and number."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kzoo import audio, config, data
from kzoo.cli.data import mix, prepare

RATE = 8000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten speakers of six utterances, each a tone whose frequency is the speaker."""
    root = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    for speaker in range(10):
        for utterance in range(6):
            place = root / f"s{speaker}" / "book"
            place.mkdir(parents=True, exist_ok=True)
            samples = int(rng.integers(3000, 20000))
            sound = np.sin(np.arange(samples) * (0.1 + 0.01 * speaker)) * 0.2
            soundfile.write(place / f"{utterance}.wav", sound, RATE, subtype="FLOAT")
    (root / "s0" / "book" / "empty.wav").touch()
    (root / "s0" / "noise").mkdir()
    soundfile.write(root / "s0" / "noise" / "hum.wav", np.full(8000, 0.1), RATE, subtype="FLOAT")
    return root


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    root = tmp_path_factory.mktemp("noise")
    (root / "street").mkdir()
    sound = 0.01 * np.random.default_rng(1).standard_normal(30000)
    soundfile.write(root / "street" / "a.wav", sound, RATE, subtype="FLOAT")
    return root


def opened(folder, **options):
    return data.open_corpus("speech", path=str(folder), **{"exclude": ["*/noise/*"], **options})


def level_db(signal):
    return 10 * np.log10(np.mean(np.square(signal, dtype=np.float64)))


def utterances(corpus):
    """{speaker: names} of what a corpus draws from."""
    return {
        name: {pool.corpus.tracks[u][0] for u in pool.tracks}
        for name, pool in corpus.voices.items()
    }


def heard(source):
    """Which speaker's tone a source is: the angle per sample."""
    spectrum = np.abs(np.fft.rfft(source[:, 0] * np.hanning(len(source))))
    return round((np.argmax(spectrum) * 2 * np.pi / len(source) - 0.1) / 0.01)


def test_an_example_is_two_different_speakers_and_their_sum(folder):
    corpus = opened(folder)
    examples = data.Examples(corpus, samples=12000, seed=4)
    pairs = set()
    for index in range(30):
        example = examples.example(index)
        assert example["sources"].shape == (2, 12000, 1)
        np.testing.assert_allclose(example["mixture"], example["sources"].sum(axis=0), atol=1e-6)
        pair = tuple(heard(source) for source in example["sources"])
        assert pair[0] != pair[1]
        assert {f"s{n}" for n in pair} <= set(corpus.voices)
        pairs.add(pair)
    assert len(pairs) > 15
    assert any(one > other for one, other in pairs)
    assert any(one < other for one, other in pairs)


def test_levels_lie_in_their_ranges(folder):
    corpus = opened(folder, snr_db=[-3.0, 6.0], level_db=[-30.0, -20.0])
    examples = data.Examples(corpus, samples=8000)
    found = [[level_db(s) for s in examples.example(n)["sources"]] for n in range(60)]
    first, second = np.array(found).T
    assert -30.01 < first.min() < -28
    assert -22 < first.max() < -19.99
    assert -3.01 < (first - second).min() < -2
    assert 5 < (first - second).max() < 6.01


def test_an_example_is_a_function_of_seed_and_number_in_any_thread(folder):
    options = {"reverb_seconds": [0.1, 0.2], "partition": "train"}
    examples = data.Examples(opened(folder, **options), samples=6000, seed=1)
    expected = [examples.example(n)["mixture"] for n in range(24)]
    again = data.Examples(opened(folder, **options), samples=6000, seed=1)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: again.example(n)["mixture"], range(24)))
    np.testing.assert_array_equal(found, expected)
    other = data.Examples(opened(folder, **options), samples=6000, seed=2)
    assert np.abs(other.example(0)["mixture"] - expected[0]).max() > 1e-3


def test_a_segment_is_filled_utterance_after_utterance(folder):
    examples = data.Examples(opened(folder, pause_seconds=[0.0, 0.0]), samples=60000)
    example = examples.example(3)
    quiet = np.abs(example["sources"]).reshape(2, -1, 100).max(axis=2) < 1e-4
    assert quiet.mean() < 0.01
    paused = data.Examples(opened(folder, pause_seconds=[0.5, 0.5]), samples=60000)
    quiet = np.abs(paused.example(3)["sources"]).reshape(2, -1, 100).max(axis=2) == 0
    assert quiet.mean() > 0.1


@pytest.mark.parametrize("split", ["speakers", "utterances"])
def test_partitions_have_nothing_in_common_and_everything_together(folder, split):
    found = {p: opened(folder, split=split, partition=p, shares=[0.5, 0.25, 0.25], min_seconds=0.1)
             for p in ("train", "validation", "test")}  # fmt: skip
    names = {p: set().union(*utterances(c).values()) for p, c in found.items()}
    assert sum(len(part) for part in names.values()) == len(set().union(*names.values())) == 60
    speakers = [set(corpus.voices) for corpus in found.values()]
    apart = not (speakers[0] & speakers[1] or speakers[0] & speakers[2])
    assert apart == (split == "speakers")
    moved = utterances(opened(folder, split=split, split_seed=1, partition="train"))
    assert set().union(*moved.values()) != names["train"]


def test_a_speaker_held_out_is_in_every_test_mixture_and_in_no_other(folder):
    options = {"split": "utterances", "held_out": {"test": ["s3"]}, "shares": [0.4, 0.3, 0.3]}
    options["speakers"] = ["s1", "s2", "s3"]
    assert set(opened(folder, **options).voices) == {"s1", "s2"}
    test = opened(folder, partition="test", **options)
    assert len(utterances(test)["s3"]) == 6
    places = [
        [heard(source) for source in test.read(n, 0, 12000)["sources"]].index(3) for n in range(20)
    ]
    assert set(places) == {0, 1}
    by_speakers = {**options, "split": "speakers", "held_out": {"test": ["s3", "s2"]}}
    assert set(opened(folder, partition="test", **by_speakers).voices) == {"s2", "s3"}


def test_one_person_may_have_several_folders(folder):
    both = opened(folder, speakers={"a": ["s1/*", "s2/*"], "b": ["s3/*"]}, held_out={"test": []},
                  split="utterances", shares=[1.0, 0.0, 0.0])  # fmt: skip
    names = utterances(both)
    assert len(names["a"]) == 12
    assert names["b"] == {f"s3/book/{n}" for n in range(6)}


def test_the_tracks_are_a_fixed_set_wherever_they_are_read(folder):
    corpus = opened(folder, mixtures=5, seconds=1.5, seed=7)
    whole = corpus.read(2, 0, 12000)
    assert corpus.tracks[2] == ("train_0002", 12000)
    piece = opened(folder, mixtures=5, seconds=1.5, seed=7).read(2, 5000, 10000)
    np.testing.assert_array_equal(piece["mixture"][:7000], whole["mixture"][5000:])
    assert not piece["sources"][:, 7000:].any()
    assert not corpus.read_part(2, "mixture", 13000, 10).any()
    windows = data.Windows(corpus, samples=12000)
    assert len(windows) == 5
    np.testing.assert_array_equal(windows.example(2)["mixture"], whole["mixture"])
    whole["mixture"][:] = 0  # the caller's own
    assert corpus.read(2, 0, 12000)["mixture"].any()
    assert corpus.identity(2) != opened(folder, mixtures=5, seed=8).identity(2)


def test_noise_is_heard_in_the_mixture_alone_at_its_level(folder, noises):
    corpus = opened(folder, noise=str(noises), noise_db=[5.0, 5.0])
    example = data.Examples(corpus, samples=12000).example(0)
    speech = example["sources"].sum(axis=0)
    rest = example["mixture"] - speech
    np.testing.assert_allclose(level_db(speech) - level_db(rest), 5, atol=0.01)


def test_a_room_is_the_direct_path_and_a_tail_that_dies_away(folder):
    room = {"reverb_seconds": [0.3, 0.3], "direct_db": [3.0, 3.0]}
    dry = data.Examples(opened(folder, **room, dry=True), samples=16000).example(0)
    wet = data.Examples(opened(folder, **room), samples=16000).example(0)
    np.testing.assert_allclose(wet["mixture"], wet["sources"].sum(axis=0), atol=1e-6)
    scale = np.abs(dry["mixture"]).max() / np.abs(wet["mixture"]).max()
    np.testing.assert_allclose(dry["mixture"], scale * wet["mixture"], atol=1e-5)
    # The corpus' impulse response: what an impulse becomes.
    corpus = opened(folder, **room)
    impulse = np.zeros((4000, 1), np.float32)
    impulse[0] = 1
    response = corpus._in_room(np.random.default_rng(0), impulse, 0.3)[:, 0]
    assert response[0] == 1
    assert not response[1:16].any()
    np.testing.assert_allclose(10 * np.log10(np.sum(response[16:] ** 2)), -3, atol=0.05)
    # 60 dB in 0.3 s are 20 dB in 0.1 s.
    early, late = (np.sum(response[at : at + 400] ** 2) for at in (16, 816))
    np.testing.assert_allclose(10 * np.log10(early / late), 20, atol=2)


def test_what_cannot_be_mixed_is_refused(folder):
    cases = [
        ({"partition": "dev"}, "partition must be one of train"),
        ({"split": "sentences"}, "split must be one of speakers"),
        ({"speakers": ["s1", "s2"], "partition": "test"}, "use split: utterances"),
        ({"speakers": ["s11"]}, "no utterance of 's11'"),
        ({"held_out": {"test": ["s11"]}}, "test: s11"),
        ({"shares": [0.5, 0.1, 0.1]}, "sum to one"),
        ({"snr_db": [5.0, -5.0]}, r"snr_db must be \[low, high\]"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            opened(folder, **options)


def test_shards_of_speech_mix_as_the_files_do(folder, tmp_path):
    prepare(
        str(folder), tmp_path / "shards", kind="speech", sample_rate=RATE,
        channels=1, dtype="float32", licence="none", quiet=True,
    )  # fmt: skip
    found = data.Examples(opened(tmp_path / "shards"), samples=9000).example(5)
    expected = data.Examples(opened(folder), samples=9000).example(5)
    np.testing.assert_allclose(found["sources"], expected["sources"], atol=1e-6)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux to count open files")
def test_shards_of_many_utterances_hold_no_files_open(folder, tmp_path):
    corpus = data.open_corpus("sources", path=str(folder), sample_rate=RATE, channels=1)
    examples = data.Examples(opened(data.prepare(corpus, tmp_path / "shards")), samples=9000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [examples.example(n) for n in range(40)]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    assert len(kept) == 40


def test_the_tests_of_a_configuration_are_written_as_tracks(folder, tmp_path):
    test = {"kind": "speech", "path": str(folder), "mixtures": 2, "seconds": 0.5}
    values = {"model": {"sources": ["one", "two"]}, "data": {"tests": {"a": test}}}
    config.dump_yaml(values, tmp_path / "c.yaml")
    mix(tmp_path / "c.yaml", ["data.tests.a.seed=3"], tmp_path / "out", quiet=True)
    track = tmp_path / "out" / "a" / "train_0001"
    parts = {p.stem: audio.read(p)[0] for p in track.iterdir()}
    assert sorted(parts) == ["mixture", "one", "two"]
    expected = data.open_corpus(**test, seed=3).read(1, 0, 4000)
    np.testing.assert_array_equal(parts["two"], expected["sources"][1])
    np.testing.assert_allclose(parts["mixture"], parts["one"] + parts["two"], atol=1e-6)
    config.dump_yaml({"data": {"train": {}}}, tmp_path / "none.yaml")
    with pytest.raises(ValueError, match=r"no section data\.tests"):
        mix(tmp_path / "none.yaml", [], tmp_path / "out", quiet=True)


@pytest.mark.parametrize("kind", ["librimix", "wsj0mix"])
def test_the_published_layouts_are_read(tmp_path, rng, kind):
    root, mixed, subset = {
        "librimix": (tmp_path, "mix_clean", "train-100"),
        "wsj0mix": (tmp_path / "2speakers", "mix", "tr"),
    }[kind]
    sound = 0.1 * rng.standard_normal((2, 4000))
    for name, signal in {mixed: sound.sum(axis=0), "s1": sound[0], "s2": sound[1]}.items():
        place = root / "wav8k" / "min" / subset / name
        place.mkdir(parents=True)
        soundfile.write(place / "11-22_33-44.wav", signal, RATE, subtype="FLOAT")
    corpus = data.open_corpus(kind, path=str(tmp_path))
    found = corpus.read(0, 100, 500)
    assert corpus.sources == ("speaker1", "speaker2")
    np.testing.assert_allclose(found["sources"][1, :, 0], sound[1, 100:600], atol=1e-7)
    np.testing.assert_allclose(found["mixture"][:, 0], sound.sum(axis=0)[100:600], atol=1e-7)
    with pytest.raises(ValueError, match="has no folder"):
        data.open_corpus(kind, path=str(tmp_path), subset="dev")
