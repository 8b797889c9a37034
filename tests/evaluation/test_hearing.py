"""What is heard of recordings against what is true: figures of the kept libraries, resumed."""

import csv
import itertools
import json

import made_crepe
import mir_eval
import numpy as np
import pytest
import soundfile
from sklearn.metrics import average_precision_score, roc_auc_score

import kzoo
from kzoo import cli, listening, models, presets
from kzoo.api import hearing_systems
from kzoo.data import annotated
from kzoo.evaluation import Hearing, evaluate_hearing
from kzoo.listening.phones import PhoneRecogniser

RATE = 8000
TAGS = {"a": ["low"], "b": ["high"], "c": ["low", "high"], "d": [], "e": ["low", "loud"]}


@pytest.fixture(scope="module")
def ear(tmp_path_factory):
    """A preset of the tiny tagger, whose weights are random."""
    import keras

    keras.utils.set_random_seed(3)
    card = {
        "name": "ear", "task": "listening", "sample_rate": RATE, "trained": "not at all",
        "model": {"name": "choi", "options": {"variant": "tiny"}},
    }  # fmt: skip
    model = models.build("choi", variant="tiny")
    return presets.save_to_preset(model, tmp_path_factory.mktemp("ear") / "preset", card)


def write_sound(path, seed, seconds=0.7):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))
    soundfile.write(path, noise * np.linspace(1, seed + 1, len(noise)) / 5, RATE)


@pytest.fixture
def table(tmp_path):
    """Five recordings, and a table of their tags."""
    for k, name in enumerate(TAGS):
        write_sound(tmp_path / f"{name}.wav", k)
    rows = [{"file": f"{name}.wav", "tags": tags} for name, tags in TAGS.items()]
    (tmp_path / "tags.json").write_text(json.dumps(rows))
    return tmp_path / "tags.json"


@pytest.fixture
def folders(tmp_path):
    """Three recordings of each of two names."""
    for k, name in enumerate(("low", "high")):
        for number in range(3):
            write_sound(tmp_path / "folders" / name / f"{number}.wav", 3 * k + number)
    return tmp_path / "folders"


def test_the_scores_of_tags_are_those_of_scikit_learn_by_hand(ear, table, tmp_path):
    report = kzoo.evaluate(table, [ear], out=tmp_path / "out")
    said = [
        dict(kzoo.tag(*soundfile.read(table.with_name(f"{name}.wav")), ear, top=None))
        for name in TAGS
    ]
    true = np.array([[tag in TAGS[n] for tag in ("low", "high")] for n in TAGS])
    probabilities = np.array([[one[tag] for tag in ("low", "high")] for one in said])
    scores = report.scores("ear", "all names")
    for measure, function in (("ROC-AUC", roc_auc_score), ("AP", average_precision_score)):
        expected = function(true, probabilities, average="macro")
        assert scores[measure] == pytest.approx(expected, abs=1e-9)
    with open(tmp_path / "out" / "names.csv", newline="") as file:
        rows = {(row["system"], row["name"]): row for row in csv.DictReader(file)}
    high = roc_auc_score(true[:, 1], probabilities[:, 1])
    assert float(rows["ear", "high"]["ROC-AUC"]) == pytest.approx(high, abs=1e-5)
    assert rows["ear", "high"]["positive"] == "2"
    assert report.scores("majority", "all names")["ROC-AUC"] == 0.5
    assert report.scores("majority", "all names")["AP"] == pytest.approx(true.mean())
    text = (tmp_path / "out" / "scores.txt").read_text()
    for part in ("scikit-learn", "the mean over names", "names: 2: low, high", "data_sha256"):
        assert part in text


def test_of_exclusive_names_accuracy_is_that_of_the_likeliest(ear, folders):
    report = kzoo.evaluate(folders, [ear], baselines=("majority", "random"))
    right = []
    for path in sorted(folders.rglob("*.wav")):
        [(name, _)] = kzoo.tag(*soundfile.read(path), ear, top=1)
        right.append(name == path.parent.name)
    assert report.scores("ear", "all names")["accuracy"] == np.mean(right)
    assert report.scores("majority", "all names")["accuracy"] == 0.5
    assert 0 < report.scores("random", "all names")["ROC-AUC"] < 1
    assert {row.against for row in report.comparisons} == {"majority"}
    again = kzoo.evaluate(folders, [], baselines=("random",))
    assert again.scores("random", "all names") == report.scores("random", "all names")


def heard(calls, known_by, probabilities=(0.1, 0.9)):
    def answer(waveform, rate):
        calls.append(len(waveform))
        return dict(zip(("low", "high"), probabilities, strict=True))

    return Hearing("ear", annotated.NAMES, answer, known_by, ("low", "high"))


def test_what_is_scored_is_kept_until_system_or_truth_are_others(table, tmp_path):
    calls = []

    def score(known_by="a"):
        return evaluate_hearing(table, [heard(calls, {"weights": known_by})], out=tmp_path / "out")

    first, second = score(), score()
    assert len(calls) == 5
    assert first.averages[0].scores == second.averages[0].scores
    (tmp_path / "out" / "ear" / "test" / "b.json").unlink()
    score()
    assert len(calls) == 6
    table.write_text(table.read_text().replace('"loud"', '"quiet"'))
    score()
    assert len(calls) == 7
    score("b")
    assert len(calls) == 12


def test_a_file_that_cannot_be_read_loses_no_other(table):
    table.with_name("b.wav").write_text("no sound")
    report = evaluate_hearing(table, [heard([], None)])
    assert [failure.track for failure in report.failures] == ["b"]
    assert report.averages[0].tracks == 4


def test_a_recording_that_exhausts_the_memory_loses_no_other(ear, table, monkeypatch):
    tensorflow = pytest.importorskip("tensorflow")
    hear = listening.Listener.__call__

    def exhausted(self, waveform, rate):
        if np.abs(waveform).max() < 1e-3:
            raise tensorflow.errors.ResourceExhaustedError(None, None, "too\nlarge")
        return hear(self, waveform, rate)

    quiet = table.with_name("c.wav")
    soundfile.write(quiet, 1e-3 * soundfile.read(quiet)[0], RATE)
    monkeypatch.setattr(listening.Listener, "__call__", exhausted)
    report = kzoo.evaluate(table, [ear], baselines=())
    assert [str(failure) for failure in report.failures] == ["c (ear): too large"]
    assert report.averages[0].tracks == 4


def test_names_that_nothing_can_be_said_of_are_left_out_and_named(table):
    everything = Hearing(
        "all", annotated.NAMES, lambda w, r: {"low": w.std(), "high": w.std(), "loud": w.std()},
        None, ("low", "high", "loud"),
    )  # fmt: skip
    report = evaluate_hearing(table, [everything], tracks=["a", "b", "c"], names=["low", "high"])
    assert not report.notes
    report = evaluate_hearing(table, [everything], tracks=["a", "c", "d", "e"], names=["low"])
    assert not report.notes
    report = evaluate_hearing(table, [everything], tracks=["a", "c", "e"], names=["low", "loud"])
    assert report.notes == ["left out of the means, as no recording or every one has it: low"]
    [loud] = [row for row in report.tables["names"] if row["name"] == "loud"]
    assert report.scores("all", "all names")["ROC-AUC"] == loud["ROC-AUC"]


def test_what_cannot_be_scored_is_said_in_a_line(ear, table, folders, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="'rock' is no name that the corpus and every system have"):
        kzoo.evaluate(table, [ear], sources=["rock"])
    write_sound(tmp_path / "other" / "guitar" / "a.wav", 0)
    with pytest.raises(ValueError, match=r"has guitar, and the systems know low, high: no name"):
        kzoo.evaluate(tmp_path / "other", [ear])
    with pytest.raises(ValueError, match="measures is of what separates"):
        kzoo.evaluate(table, [ear], measures="SDR")
    with pytest.raises(ValueError, match="overlap of what separates"):
        kzoo.evaluate(table, [ear], overlap=0.5)
    with pytest.raises(ValueError, match="ear says something of recordings and unet"):
        kzoo.evaluate(table, [ear, "unet_2stems_mobile"])
    with pytest.raises(ValueError, match=r"say the same of a recording; got .*pyin \(melody\)"):
        kzoo.evaluate(table, [ear], baselines=["pyin"])
    with pytest.raises(ValueError, match="different names; got ear, ear"):
        kzoo.evaluate(table, [ear, ear], baselines=())
    with pytest.raises(ValueError, match="no recording has seconds and hertz beside it"):
        kzoo.evaluate(folders, ["pyin"])
    with pytest.raises(ValueError, match=r"phones are read of timit, and it is none of them"):
        evaluate_hearing(folders, [Hearing("a", annotated.PHONES, lambda w, r: [])])


def test_the_verb_prints_the_table_and_refuses_options_of_separation(
    ear, folders, monkeypatch, capfd, tmp_path
):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["kzoo", "evaluate", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capfd.readouterr()

    status, out, _ = run(ear, "--corpus", folders, "--sources", "high,low", "-o", tmp_path / "out")
    assert status == 0
    assert "names: 2: high, low" in out
    assert "all names  majority" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>Names</h2>" in page
    assert page.count(">high</t") == 2  # of two systems
    assert ">3</td>" in page  # recordings that have it
    for words, option in ((("--duration", 1), "duration"), (("-j", 2), "jobs")):
        status, _, err = run(ear, "--corpus", folders, *words)
        assert status == 1
        assert f"{option} is of what separates" in err


@pytest.fixture
def melodies(tmp_path):
    """A tone that is silent for a third of a second, and its f0 beside it."""
    seconds = np.arange(RATE) / RATE
    sounds = np.abs(seconds - 0.5) > 1 / 6
    folder = tmp_path / "melodies"
    folder.mkdir()
    soundfile.write(folder / "a.wav", 0.3 * sounds * np.sin(2 * np.pi * 220 * seconds), RATE)
    rows = [f"{t:.3f},{220.0 * s}" for t, s in zip(seconds[::80], sounds[::80], strict=True)]
    (folder / "a.csv").write_text("\n".join(rows))
    return folder


def test_a_pitch_tracker_is_scored_by_its_melody(melodies, tmp_path):
    nano = made_crepe.nano_preset(tmp_path / "nano", contrast=300.0)
    report = kzoo.evaluate(melodies, [nano], baselines=())
    times, hz, confidence = kzoo.pitch(*soundfile.read(melodies / "a.wav"), nano)
    guesses = np.where(confidence >= 0.5, hz, -hz)
    truth = annotated.find(melodies, "melody")[0].read()
    expected = mir_eval.melody.evaluate(*truth, times, guesses)
    scores = report.scores("nano", "melody")
    assert scores["OA"] == pytest.approx(expected["Overall Accuracy"], abs=1e-5)
    assert scores["RCA"] == pytest.approx(expected["Raw Chroma Accuracy"], abs=1e-5)
    assert report.header["versions"]["mir_eval"]


@pytest.mark.slow  # what compiles pYIN takes ten seconds
def test_pyin_hears_a_tone(melodies):
    report = kzoo.evaluate(melodies, ["pyin"])
    assert report.scores("pyin", "melody")["RPA"] > 0.95


def test_pyin_stands_beside_a_tracker(monkeypatch, melodies, tmp_path):
    def hear(waveform, rate):
        return np.arange(100) / 100, np.full(100, 220.0), np.ones(100, bool)

    monkeypatch.setattr(hearing_systems, "_tracker", lambda *_: hear)
    monkeypatch.setitem(hearing_systems.RUNS, "pitch", lambda *_: hear)
    nano = made_crepe.nano_preset(tmp_path / "nano")
    report = kzoo.evaluate(melodies, [nano])
    assert [row.system for row in report.averages] == ["nano", "pyin"]
    assert [(row.system, row.against) for row in report.comparisons] == [("nano", "pyin")]
    assert report.scores("pyin", "melody")["RPA"] == 1


def test_librosa_hears_clicks_and_beside_it_nothing_is_heard(tmp_path):
    clicks = np.zeros(2 * RATE)
    for second in (0.5, 1.0, 1.5):
        clicks[round(second * RATE) :][:400] = np.random.default_rng(0).normal(0, 0.3, 400)
    (tmp_path / "drums").mkdir()
    soundfile.write(tmp_path / "drums" / "a.wav", clicks, RATE)
    (tmp_path / "drums" / "a.txt").write_text("0.5\n1.0\n1.5\n")
    deaf = Hearing("deaf", annotated.ONSETS, lambda waveform, rate: np.zeros(0))
    report = evaluate_hearing(tmp_path / "drums", [deaf], baselines=["librosa"])
    assert report.scores("librosa", "onsets")["F"] == 1
    assert report.scores("deaf", "onsets")["F"] == 0
    [row] = report.comparisons
    assert (row.system, row.against, row.measures["F"].value) == ("deaf", "librosa", -1)


def network_of_frames(name, names, folder):
    options = {"variant": "tiny", "names": names}
    card = {
        "name": "ear", "task": "listening", "sample_rate": RATE, "trained": "not at all",
        "model": {"name": name, "options": options},
    }  # fmt: skip
    return presets.save_to_preset(models.build(name, **options), folder / name, card)


def test_a_network_of_frames_is_scored_by_its_onsets(tmp_path):
    write_sound(tmp_path / "drums" / "a.wav", 5)
    (tmp_path / "drums" / "a.txt").write_text("0.1\n0.4\n")
    preset = network_of_frames("onset_cnn", ["onset"], tmp_path)
    report = kzoo.evaluate(tmp_path / "drums", [preset], baselines=())
    found, _ = kzoo.onsets(*soundfile.read(tmp_path / "drums" / "a.wav"), preset)
    assert len(found) > 1
    expected = mir_eval.onset.f_measure(np.array([0.1, 0.4]), found)[0]
    assert report.scores("ear", "onsets")["F"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", ["onset_cnn", "dnn_hmm"])
def test_a_network_of_frames_is_scored_by_its_phones_with_a_chain_of_states_or_without(
    name, tmp_path
):
    folder, names = tmp_path / "corpus" / "TRAIN" / "DR1" / "FCJF0", ["aa", "sil"]
    write_sound(folder / "SI1.WAV", 5)
    (folder / "SI1.PHN").write_text("0 2000 h#\n2000 5000 aa\n")
    preset = network_of_frames(name, names, tmp_path)
    report = kzoo.evaluate(tmp_path / "corpus", [preset], baselines=())
    waveform, rate = soundfile.read(folder / "SI1.WAV")
    if name == "dnn_hmm":
        spoken = [phone.name for phone in PhoneRecogniser(preset)(waveform, rate)]
    else:
        best = listening.FrameListener(preset)(waveform, rate).probabilities.argmax(axis=1)
        spoken = [names[k] for k, _ in itertools.groupby(best)]
    expected = kzoo.metrics.phone_errors(["sil", "aa"], spoken) / 2
    assert report.scores("ear", "phones")["PER"] == pytest.approx(expected, abs=1e-5)


def test_the_phone_error_rate_is_of_all_phones(tmp_path):
    folder = tmp_path / "TEST" / "dr1" / "faks0"
    spoken = {"si1": "h# t ix d h#", "si2": "h# aa h#"}  # folded: sil t ih d sil, sil aa sil
    for name, phones in spoken.items():
        write_sound(folder / f"{name}.wav", 0)
        lines = [f"{400 * k} {400 * k + 400} {p}" for k, p in enumerate(phones.split())]
        (folder / f"{name}.phn").write_text("\n".join(lines))
    heard = Hearing("ear", annotated.PHONES, lambda w, r: ["sil", "t", "ih", "b", "d", "sil"])
    report = evaluate_hearing(tmp_path, [heard], out=tmp_path / "out")
    # One too many of five phones; of three, one is wrong and three are too many.
    assert report.scores("ear", "phones")["PER"] == pytest.approx(5 / 8)
    rows = {row.track: row.scores["PER"] for row in report.tracks}
    assert rows == pytest.approx({"dr1/faks0/si1": 1 / 5, "dr1/faks0/si2": 4 / 3}, abs=1e-5)


def test_a_melody_is_scored_as_mir_eval_does():
    seconds = np.arange(0, 1, 0.01)
    true = np.where(seconds < 0.6, 440.0, 0.0)
    found = np.where(seconds < 0.3, 442.0, 880.0)
    scores = kzoo.metrics.melody_scores(seconds, true, seconds, found, seconds < 0.8)
    assert scores == pytest.approx({"OA": 0.5, "RPA": 0.5, "RCA": 1, "VR": 1, "VFA": 0.5}, abs=0.02)
    silent = kzoo.metrics.melody_scores(seconds, 0 * true, seconds, found, seconds < 0.8)
    assert np.isnan([silent["RPA"], silent["RCA"], silent["VR"]]).all()
    assert silent["OA"] == pytest.approx(0.2)


def test_onsets_count_once_and_within_50_ms():
    true, found = np.array([0.1, 0.5, 0.9]), np.array([0.06, 0.11, 0.56, 0.9])
    scores = kzoo.metrics.onset_scores(true, found)
    assert scores == pytest.approx({"F": 4 / 7, "precision": 2 / 4, "recall": 2 / 3})
    assert tuple(scores.values()) == mir_eval.onset.f_measure(true, found)
    assert kzoo.metrics.onset_scores(true, np.zeros(0))["F"] == 0
    assert np.isnan(kzoo.metrics.onset_scores(np.zeros(0), found)["F"])
