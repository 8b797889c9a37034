"""Folders of estimates that are not as they should be: one line that says which, and what to do."""

import numpy as np
import pytest
import soundfile

from kzoo.api.systems import evaluation_systems
from kzoo.evaluation import EstimatesFolder, evaluate
from kzoo.evaluation.scoring import Settings, targets

RATE = 8000
SOURCES = ("vocals", "bass")
SETTINGS = Settings(SOURCES)


def write(path, sound, rate=RATE, subtype="FLOAT"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, subtype=subtype)


@pytest.fixture
def corpus(tmp_path, rng):
    """Two stereo tracks of a second, and estimates of them that are nearly right."""
    for track in ("good", "odd"):
        for source in SOURCES:
            sound = 0.1 * rng.standard_normal((RATE, 2))
            write(tmp_path / "corpus" / track / f"{source}.wav", sound)
            write(tmp_path / "mine" / track / f"{source}.wav", sound + 0.01 * sound[::-1])
    return tmp_path / "corpus"


@pytest.fixture
def scored(corpus, tmp_path, monkeypatch):
    """The report of both tracks after `odd` was changed; only SI-SDR is computed, for speed."""
    monkeypatch.setattr("kzoo.evaluation.scoring.bss_eval", lambda truth, *_, **__: Zeros(truth))

    def run(**options):
        return evaluate(
            corpus, [EstimatesFolder("mine", tmp_path / "mine")], sources=SOURCES, baselines=(),
            **options,
        )  # fmt: skip

    return run


class Zeros:
    def __init__(self, truth):
        self.sdr = self.sir = self.isr = self.sar = np.zeros((len(truth), 1))
        self.condition = 1.0


def test_shorter_longer_and_single_channel_estimates_are_scored_and_noted(scored, tmp_path):
    place = tmp_path / "mine" / "odd"
    sound, _ = soundfile.read(place / "vocals.wav")
    write(place / "vocals.wav", sound[: RATE // 2])
    write(place / "bass.wav", np.pad(sound.mean(1, keepdims=True), ((0, RATE // 4), (0, 0))))
    report = scored()
    assert report.notes == [
        "odd: mine: bass: has 1 channel, which is played on all 2",
        "odd: mine: bass: is 0.25 s longer than the track, and is cut",
        "odd: mine: vocals: ends 0.5 s early, and is silent there",
    ]
    assert len(report.tracks) == 4
    crop = scored(start_seconds=0.25, duration_seconds=0.5).notes
    assert "odd: mine: vocals: ends 0.25 s early, and is silent there" in crop
    assert not any("longer" in note for note in crop)


def test_estimates_in_few_bits_are_noted_once(scored, tmp_path):
    for path in (tmp_path / "mine").rglob("*.wav"):
        write(path, soundfile.read(path)[0], subtype="PCM_16")
    assert scored().notes == [
        "good, odd: mine: estimates in pcm_16: its rounding counts where it is quiet"
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda p: (p / "bass.wav").unlink(), "no estimate of bass; it has vocals"),
        (lambda p: (p / "bass.wav").write_bytes(b"no sound"), "not audio"),
        (
            lambda p: write(p / "bass.wav", np.ones((9, 2)), rate=4000),
            "bass 4000 Hz",
        ),
        (
            lambda p: [write(p / f"{s}.wav", np.ones((9, 2)), rate=4000) for s in SOURCES],
            "must be at the references' rate, 8000 Hz; got 4000 Hz",
        ),
        (
            lambda p: [write(p / f"{s}.wav", np.ones((RATE, 3))) for s in SOURCES],
            "the estimate of vocals has 3 channels and the track 2",
        ),
        (lambda p: write(p / "bass.wav", np.ones((RATE, 3))), "bass 3 channels"),
        (
            lambda p: write(p / "bass.wav", np.full((RATE, 2), np.nan)),
            "not a number (NaN or infinite)",
        ),
        (
            lambda p: [write(p / f"{s}.wav", np.zeros((RATE, 2))) for s in SOURCES],
            "every estimate is silent throughout",
        ),
    ],
)
def test_a_bad_track_is_one_line_and_does_not_lose_the_other(scored, tmp_path, change, line):
    change(tmp_path / "mine" / "odd")
    report = scored()
    [failure] = map(str, report.failures)
    assert failure.startswith("odd (mine): ")
    assert line in failure
    assert "\n" not in failure
    assert {row.track for row in report.tracks} == {"good"}


def test_a_silent_estimate_does_not_lose_the_others(rng):
    truth = {source: 0.1 * rng.standard_normal((RATE, 1)) for source in SOURCES}
    guess = {
        source: sound + 0.01 * rng.standard_normal(sound.shape) for source, sound in truth.items()
    }
    both = targets(truth, guess, RATE, SETTINGS)
    [bass] = targets(truth, {**guess, "vocals": np.zeros((RATE, 1))}, RATE, SETTINGS)
    assert bass == both[1]


def test_a_silent_estimate_is_named(scored, tmp_path):
    write(tmp_path / "mine" / "odd" / "vocals.wav", np.zeros((RATE, 2)))
    report = scored()
    assert "odd: mine: vocals: the estimate is silent, not scored" in report.notes
    assert sorted((row.track, row.source) for row in report.tracks) == [
        ("good", "bass"), ("good", "vocals"), ("odd", "bass"),
    ]  # fmt: skip


def test_two_systems_of_one_name_are_told_apart_by_the_user(corpus, tmp_path):
    mine = tmp_path / "mine"
    with pytest.raises(ValueError, match="got mine, mine: name them yourself, as in before=FOLDER"):
        evaluate(corpus, evaluation_systems([str(mine)] * 2, {}), sources=SOURCES, baselines=())
    systems = evaluation_systems([f"before={mine}", f"after={mine}"], {})
    assert [(system.name, system.folder) for system in systems] == [
        ("before", mine),
        ("after", mine),
    ]
    folder = tmp_path / "a=b"
    folder.mkdir()
    assert evaluation_systems([str(folder)], {})[0].folder == folder
    for given in (f"=../{mine}", f"a/b={mine}", f"..={mine}", "a="):
        with pytest.raises(ValueError, match="expected NAME=PATH"):
            evaluation_systems([given], {})
    with pytest.raises(ValueError, match="a baseline is called mixture or"):
        evaluation_systems(["best=irm"], {})
