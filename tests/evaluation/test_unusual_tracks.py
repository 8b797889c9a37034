"""Silence, dying processes, TensorFlow's errors: what they cost, and how a table is made again."""

import os
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from kzoo import cli
from kzoo.api.systems import evaluation_systems
from kzoo.evaluation import Baseline, Separation, evaluate
from kzoo.evaluation.scoring import Settings, targets
from kzoo.metrics import bss_eval

RATE = 8000
SOURCES = ("vocals", "bass", "drums")


@pytest.fixture
def corpus(tmp_path, rng):
    """Three tracks of three noises; in the second nobody sings."""
    for track in ("one", "two", "three"):
        folder = tmp_path / "corpus" / track
        folder.mkdir(parents=True)
        for source in SOURCES:
            sound = 0.1 * rng.standard_normal((2 * RATE, 1))
            sound *= (track, source) != ("two", "vocals")
            soundfile.write(folder / f"{source}.wav", sound, RATE, subtype="FLOAT")
    return tmp_path / "corpus"


def read(corpus, track, source):
    return soundfile.read(corpus / track / f"{source}.wav", dtype="float32", always_2d=True)[0]


def test_a_silent_source_does_not_lose_the_others(corpus):
    report = evaluate(corpus, [], sources=SOURCES, tracks=["two"], baselines=("mixture",))
    assert not report.failures
    assert report.notes == ["two: vocals: silent in all that is scored, not scored"]
    truth = np.stack([read(corpus, "two", source) for source in SOURCES[1:]])
    mixture = np.stack([truth.sum(axis=0)] * 2)
    expected = np.nanmedian(bss_eval(truth, mixture, window=RATE, hop=RATE).sdr, axis=1)
    found = [report.scores("mixture", source)["SDR"] for source in SOURCES[1:]]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    with pytest.raises(KeyError):
        report.scores("mixture", "vocals")


def test_a_source_that_is_alone_has_no_interference(rng):
    sound = rng.standard_normal((RATE, 1))
    noisy = sound + 0.1 * rng.standard_normal((RATE, 1))
    [found] = targets({"bass": sound}, {"bass": noisy}, RATE, Settings(("bass",)))
    [frame] = found["frames"]
    assert np.isnan(frame["metrics"]["SIR"])
    assert frame["metrics"]["SDR"] == pytest.approx(20, abs=0.5)


def test_figures_that_rest_on_rounding_are_noted(tmp_path, rng):
    sound = 0.1 * rng.standard_normal((RATE, 1))
    for source, samples in (("bass", sound), ("drums", 0.5 * sound)):
        path = tmp_path / "corpus" / "one" / f"{source}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, RATE, subtype="FLOAT")
    report = evaluate(tmp_path / "corpus", [], sources=("bass", "drums"), baselines=("mixture",))
    [note] = report.notes
    assert note.startswith("one: SIR and SAR rest on rounding")


class Deadly(Baseline):
    """Kills the process that scores the track of this name, as a lack of memory would."""

    def estimates(self, track, sound, crop):
        if track.name == "three":
            os._exit(9)
        return super().estimates(track, sound, crop)


def test_a_process_that_dies_costs_its_track_alone(corpus):
    report = evaluate(corpus, [Deadly("mixture")], sources=SOURCES, baselines=(), processes=2)
    assert [failure.track for failure in report.failures] == ["three"]
    assert "died" in str(report.failures[0])
    assert {row.track for row in report.tracks} == {"one", "two"}


def test_errors_of_tensorflow_are_those_of_a_track(corpus, monkeypatch):
    import tensorflow as tf

    from kzoo import api

    failing = {0: tf.errors.ResourceExhaustedError, 1: tf.errors.InternalError}
    calls = []

    def separate(waveform, sample_rate):
        calls.append(1)
        if error := failing.get(len(calls) - 1):
            raise error(None, None, "out of\nmemory")
        return {source: waveform for source in SOURCES}

    made = SimpleNamespace(separate=separate)
    monkeypatch.setattr(api.Separator, "from_preset", lambda *a, **k: made)
    [system] = evaluation_systems(["unet_2stems_mobile"], {})
    assert isinstance(system, Separation)
    report = evaluate(corpus, [system], sources=SOURCES, baselines=())
    assert [failure.reason for failure in report.failures] == ["out of memory"] * 2
    assert {row.track for row in report.tracks} == {"two"}  # the last by name


def run(*words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["kzoo", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    return caught.value.code


def test_the_command_in_the_header_makes_the_table_again(corpus, capsys):
    words = ["--sources", "bass,drums", "--track", "one", "--start", "0.5", "--duration", "1.25",
             "--baselines", "wfm", "--interchangeable", "--against", ""]  # fmt: skip
    assert run("evaluate", "--corpus", corpus, *words) == 0
    table = capsys.readouterr().out
    command = shlex.split(table.splitlines()[0].removeprefix("command: "))
    assert sorted(command[2:]) == sorted(["--corpus", str(corpus), *words])
    assert run(*command[1:]) == 0
    assert capsys.readouterr().out == table


def test_every_option_is_in_the_command():
    from kzoo.cli.evaluate import _command

    given = {"sources": "a,b", "subset": "test", "baselines": "", "overlap": 0.5, "mwf": True,
             "jobs": 2, "out": "x y", "track": ["t"], "start": 0.0, "duration": None}  # fmt: skip
    assert _command(systems=["p"], **given) == (
        "kzoo evaluate p --sources a,b --subset test --baselines '' --overlap 0.5 --mwf --jobs 2 "
        "--out 'x y' --track t"
    )


def test_baselines_are_systems_too(corpus, capsys):
    words = ("--corpus", corpus, "--track", "one", "--against", "")
    assert run("evaluate", "irm", *words) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split()[:2] for line in lines if line.startswith(SOURCES)]
    assert sorted(rows) == sorted([s, name] for s in SOURCES for name in ("irm", "mixture"))
