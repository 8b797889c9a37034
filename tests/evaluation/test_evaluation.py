"""Scores of a corpus: every system and track, medians, resumed, and honest about failures."""

import json

import numpy as np
import pytest
import soundfile

from kzoo import cli, config
from kzoo.api.systems import evaluation_systems
from kzoo.evaluation import EstimatesFolder, Separation, evaluate
from kzoo.metrics import bss_eval

RATE = 8000


def write_track(folder, rng, channels=1):
    """Two stems whose spectra differ, so that masks can tell them apart."""
    folder.mkdir(parents=True, exist_ok=True)
    time = np.arange(3 * RATE)[:, None] / RATE
    tone = np.sin(2 * np.pi * rng.uniform(300, 900, channels) * time) * (time % 1 < 0.7)
    stems = {"vocals": 0.3 * tone, "accompaniment": 0.1 * rng.standard_normal(tone.shape)}
    for stem, sound in stems.items():
        soundfile.write(folder / f"{stem}.wav", sound, RATE, subtype="FLOAT")


@pytest.fixture
def corpus(tmp_path, rng):
    """Two tracks of one channel, as scores of two take eight times as long."""
    for name in ("one", "two"):
        write_track(tmp_path / "corpus" / name, rng)
    return tmp_path / "corpus"


def half_and_half(calls=None):
    """A separator that gives every stem half of the mixture."""

    def separate(waveform, sample_rate):
        if calls is not None:
            calls.append(len(waveform))
        return {"vocals": 0.5 * waveform, "accompaniment": 0.5 * waveform}

    return separate


SOURCES = ("vocals", "accompaniment")


def system(calls=None, known_by=None):
    return Separation("half", SOURCES, half_and_half(calls), known_by)


def test_systems_stand_between_the_mixture_and_the_oracle(corpus, tmp_path):
    report = evaluate(corpus, [system()], sources=SOURCES, out=tmp_path / "out")
    for source in SOURCES:
        oracle, mixture = (report.scores(name, source) for name in ("irm", "mixture"))
        assert oracle["SDR"] > mixture["SDR"] + 3
    text = (tmp_path / "out" / "scores.txt").read_text()
    for part in ("median over frames", "median over tracks", "SI-SDR", "512-tap", "command:"):
        assert part in text


def test_the_scores_are_those_of_the_metric(corpus, tmp_path, rng):
    write_track(corpus / "two", rng, channels=2)
    report = evaluate(corpus, [system()], sources=SOURCES, out=tmp_path / "out", baselines=())
    medians = []
    for track in ("one", "two"):
        truth = np.stack(
            [soundfile.read(corpus / track / f"{s}.wav", dtype="float32")[0] for s in SOURCES]
        )
        half = np.stack([0.5 * truth.sum(axis=0)] * 2)
        frames = bss_eval(truth, half, window=RATE, hop=RATE).sdr[0]
        medians.append(np.nanmedian(frames))
        document = json.loads((tmp_path / "out" / "half" / "test" / f"{track}.json").read_text())
        written = [f["metrics"]["SDR"] for f in document["targets"][0]["frames"]]
        np.testing.assert_allclose(written, frames, atol=1e-5)
    assert report.scores("half", "vocals")["SDR"] == pytest.approx(np.median(medians), abs=1e-4)


def test_finished_scores_are_kept_and_others_made(corpus, tmp_path):
    calls = []
    known = {"weights": "a"}
    for _ in range(2):
        evaluate(corpus, [system(calls, known)], sources=SOURCES, out=tmp_path, baselines=())
    assert len(calls) == 2
    (tmp_path / "half" / "test" / "two.json").unlink()
    evaluate(corpus, [system(calls, known)], sources=SOURCES, out=tmp_path, baselines=())
    assert len(calls) == 3
    evaluate(corpus, [system(calls, {"weights": "b"})], sources=SOURCES, out=tmp_path, baselines=())
    assert len(calls) == 5


def test_scores_are_made_again_where_the_card_of_a_preset_says_something_else(
    tiny_preset, tmp_path
):
    folder = tiny_preset(tmp_path / "preset")
    card = config.load_yaml(folder / "card.yaml")
    options = {**card["model"]["options"], "dropout": 0.25}
    known_by = []
    for changes in ({}, {"summary": "another"}, {"level_db": -26.0},
                    {"model": {**card["model"], "options": options}}):  # fmt: skip
        config.dump_yaml({**card, **changes}, folder / "card.yaml")
        [found] = evaluation_systems([str(folder)], {})
        known_by.append(found.known_by)
    assert known_by[0] == known_by[1]
    assert known_by[0] not in known_by[2:]
    assert known_by[2] != known_by[3]


def test_an_interrupted_evaluation_ends_in_the_same_tables(corpus, tmp_path):
    def tables(names=()):
        evaluate(
            corpus, [system(known_by={"weights": "a"})], sources=SOURCES, out=tmp_path / "out",
            tracks=names, duration_seconds=1, baselines=("mixture",),
        )  # fmt: skip
        names = ("scores.json", "medians.csv", "comparisons.csv")
        return [(tmp_path / "out" / name).read_text() for name in names]

    assert '"one"' not in tables(["two"])[0]
    partly_new, kept = tables(), tables()
    assert partly_new == kept


def test_several_processes_give_the_same_figures(corpus):
    options = {"sources": SOURCES, "baselines": ("mixture",), "duration_seconds": 2}
    one = evaluate(corpus, [system()], **options)
    two = evaluate(corpus, [system()], **options, processes=2)
    assert [row.scores for row in one.tracks] == [row.scores for row in two.tracks]
    assert (one.averages, one.comparisons) == (two.averages, two.comparisons)


def test_several_corpora_are_averaged_together(corpus, tmp_path, rng):
    write_track(tmp_path / "another" / "one", rng)
    corpora = [corpus, tmp_path / "another"]
    options = {"sources": SOURCES, "baselines": (), "duration_seconds": 1}
    known = system(known_by={"weights": "a"})
    pooled = evaluate(corpora, [known], out=tmp_path / "out", **options)
    alone = [row for one in corpora for row in evaluate(one, [system()], **options).tracks]
    assert {row.track for row in pooled.tracks} == {"corpus/one", "corpus/two", "another/one"}
    expected = np.median([row.scores["SI-SDR"] for row in alone if row.source == "vocals"])
    assert pooled.scores("half", "vocals")["SI-SDR"] == pytest.approx(expected)
    assert f"{corpora[0]}, {corpora[1]}: 3 tracks, 3.0 s" in pooled.text()
    calls = []
    again = evaluate(
        corpora, [system(calls, {"weights": "a"})], out=tmp_path / "out", **options,
        tracks=["another/one"],
    )  # fmt: skip
    assert not calls
    assert [row.track for row in again.tracks] == 2 * ["another/one"]
    with pytest.raises(ValueError, match="folders of different names; got corpus, corpus"):
        evaluate([corpus, corpus], [known], **options)


def test_one_bad_track_does_not_lose_the_others(corpus):
    (corpus / "one" / "vocals.wav").write_text("no sound")
    report = evaluate(corpus, [system()], sources=SOURCES)
    assert {failure.track for failure in report.failures} == {"one"}
    assert {row.track for row in report.tracks} == {"two"}
    assert "not scored: one" in report.text()


def test_estimates_can_come_from_a_folder_and_be_summed(corpus, tmp_path):
    for track in ("one", "two"):
        folder = tmp_path / "mine" / track
        folder.mkdir(parents=True)
        sound, _ = soundfile.read(corpus / track / "vocals.wav")
        soundfile.write(folder / "vocals.wav", sound, RATE, subtype="PCM_16")
        rest, _ = soundfile.read(corpus / track / "accompaniment.wav")
        for part in ("drums", "bass"):  # halves of the accompaniment
            soundfile.write(folder / f"{part}.wav", 0.5 * rest, RATE, subtype="PCM_16")
    estimates = EstimatesFolder("mine", tmp_path / "mine")
    report = evaluate(corpus, [estimates], sources=SOURCES, baselines=())
    assert report.scores("mine", "accompaniment")["SDR"] > 50  # what 16 bits leave


def run(*words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["kzoo", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    return caught.value.code


def test_the_verb_scores_a_preset_and_the_baselines(corpus, tiny_preset, tmp_path, capsys):
    preset = tiny_preset(tmp_path / "preset")
    assert run("evaluate", preset, "--corpus", corpus, "--track", "two", "-q") == 0
    out = capsys.readouterr().out
    assert "irm" in out
    assert "1 tracks" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no_such_preset",), "nor is it a folder of estimates"),
        ((), "--sources"),
        (("--sources", "vocals,accompaniment", "--baselines", "imr"), "got 'imr'"),
        (("--sources", "vocals,accompaniment", "--track", "onee"), "did you mean 'one'"),
        (("--sources", "vocals,accompaniment", "--against", "wfm"), "mixture, irm; got 'wfm'"),
    ],
)
def test_mistakes_are_one_line(corpus, capsys, words, message):
    assert run("evaluate", *words, "--corpus", corpus) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
