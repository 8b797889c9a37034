"""Noisy speech is scored by the measures of speech, clip by clip, and averaged by their means."""

import json
import shutil
import sys

import numpy as np
import pytest
import soundfile

from kzoo import audio, cli, metrics
from kzoo.data.tracks import find_tracks
from kzoo.evaluation import EstimatesFolder, Separation, Speech, evaluate
from kzoo.evaluation.measures import what_to_score

RATE = 16000

pytestmark = pytest.mark.usefixtures("pesq_package")


def spoken(rng, seconds=1.2):
    """Voiced syllables over a faint noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    voice = sum(np.sin(2 * np.pi * 130 * k * time) / k for k in range(1, 25))
    return 0.05 * voice * np.clip(np.sin(2 * np.pi * 2 * time), 0, 1) + 1e-4 * rng.standard_normal(
        len(time)
    )


def write(path, sound, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, subtype="FLOAT")


def read(path):
    return soundfile.read(path, dtype="float32")[0]


@pytest.fixture
def pairs(tmp_path, rng):
    """VoiceBank-DEMAND's layout: two clips, noisy and clean."""
    for name, gain in (("p1_001", 0.02), ("p1_002", 0.005)):
        clean = spoken(rng)
        write(tmp_path / "pairs" / "clean" / f"{name}.wav", clean)
        noisy = clean + gain * rng.standard_normal(len(clean))
        write(tmp_path / "pairs" / "noisy" / f"{name}.wav", noisy)
    return tmp_path / "pairs"


@pytest.fixture
def estimates(pairs, tmp_path):
    """A folder of enhanced speech: half of the noise is gone."""
    for path in (pairs / "noisy").iterdir():
        halfway = (read(path) + read(pairs / "clean" / path.name)) / 2
        write(tmp_path / "mine" / path.name, halfway)
    return EstimatesFolder("mine", tmp_path / "mine")


def scored(corpus, systems, **options):
    sources, speech = what_to_score(corpus, systems)
    return evaluate(corpus, systems, sources=sources, speech=speech, **options)


def run(*words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["kzoo", *map(str, words)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
    return caught.value.code


def test_the_scores_are_the_means_of_the_metrics_over_clips(pairs, estimates, tmp_path):
    report = scored(pairs, [estimates], out=tmp_path / "out")
    clips = [(read(pairs / "clean" / f), read(pairs / "noisy" / f)) for f in sorted(
        path.name for path in (pairs / "noisy").iterdir()
    )]  # fmt: skip
    mixture = report.scores("mixture", "speech")
    for name, measure in [
        ("PESQ-WB", metrics.pesq),
        ("PESQ-NB", lambda *given: metrics.pesq(*given, band="nb")),
        ("STOI", metrics.stoi),
        ("ESTOI", lambda *given: metrics.stoi(*given, extended=True)),
        ("SI-SDR", lambda true, guess, _: metrics.si_sdr(true, guess)),
        ("SSNR", metrics.ssnr),
        ("CSIG", lambda *given: metrics.composite(*given).csig),
        ("CBAK", lambda *given: metrics.composite(*given).cbak),
        ("COVL", lambda *given: metrics.composite(*given).covl),
    ]:
        expected = np.mean([measure(true, guess, RATE) for true, guess in clips])
        assert mixture[name] == pytest.approx(expected, abs=1e-4), name
        assert report.scores("mine", "speech")[name] >= mixture[name]
    assert report.measures == tuple(mixture)
    text = (tmp_path / "out" / "scores.txt").read_text()
    for part in ("mean over the clips", "P.862.2", "pystoi 0", "Hu and Loizou", "SSNR"):
        assert part in text
    means = (tmp_path / "out" / "means.csv").read_text().splitlines()
    assert means[0].startswith("system,source,tracks,PESQ-WB,")
    assert len(json.loads((tmp_path / "out" / "scores.json").read_text())["means"]) == 3


def test_the_oracle_masks_speech_against_the_noise_that_it_leaves(pairs):
    report = scored(pairs, [], baselines=("mixture", "irm"))
    oracle, mixture = (report.scores(name, "speech") for name in ("irm", "mixture"))
    assert oracle["SI-SDR"] > mixture["SI-SDR"] + 3


def test_the_archives_as_published_are_a_corpus(pairs, tmp_path):
    root = tmp_path / "voicebank"
    for kind in ("noisy", "clean"):
        shutil.copytree(pairs / kind, root / f"{kind}_testset_wav")
        shutil.copytree(pairs / kind, root / f"{kind}_trainset_28spk_wav")
    (root / "clean_trainset_28spk_wav" / "p1_002.wav").unlink()
    assert [(t.name, t.subset, *t.stems) for t in find_tracks(root)] == [
        ("p1_001", "test", "speech"),
        ("p1_002", "test", "speech"),
    ]
    assert len(find_tracks(root, subset="all")) == 4
    report = scored(root, [], subset="train")
    assert {failure.track for failure in report.failures} == {"p1_002"}
    assert {row.track for row in report.tracks} == {"p1_001"}


def test_estimates_may_lie_in_folders_of_their_clips(pairs, estimates, tmp_path):
    for path in estimates.folder.iterdir():
        write(tmp_path / "tree" / path.stem / "speech.wav", read(path))
    report = scored(pairs, [estimates, EstimatesFolder("tree", tmp_path / "tree")], baselines=())
    assert report.scores("mine", "speech") == report.scores("tree", "speech")


def test_one_bad_clip_does_not_lose_the_others(pairs, estimates, capsys):
    write(estimates.folder / "p1_001.wav", np.zeros(1000))
    (pairs / "noisy" / "p1_003.wav").write_text("no sound")
    (pairs / "clean" / "p1_003.wav").write_text("no sound")
    assert run("evaluate", estimates.folder, "--corpus", pairs, "--baselines", "mixture", "-q") == 1
    out = capsys.readouterr().out
    assert "not scored: p1_001 (mine): the estimate is silent throughout" in out
    assert "not scored: p1_003 (mixture)" in out
    rows = [line.split()[:3] for line in out.splitlines() if line.startswith("speech ")]
    compared = ["speech", "mine", "1"]  # the one clip that both have
    assert rows == [["speech", "mine", "1"], ["speech", "mixture", "1"], compared]
    assert "scored were mine 1, mixture 2" in out


def test_what_a_clip_does_not_have_is_noted_and_left_out_of_the_mean(pairs, estimates):
    write(estimates.folder / "p1_001.wav", read(pairs / "clean" / "p1_001.wav"))
    report = scored(pairs, [estimates], baselines=())
    assert report.notes == ["p1_001: speech: no SI-SDR"]
    other = next(row for row in report.tracks if row.track == "p1_002")
    assert report.scores("mine", "speech")["SI-SDR"] == other.scores["SI-SDR"]


@pytest.mark.slow
def test_several_processes_give_the_same_scores(pairs, estimates):
    one = scored(pairs, [estimates], baselines=())
    two = scored(pairs, [estimates], baselines=(), processes=2)
    assert [row.scores for row in one.tracks] == [row.scores for row in two.tracks]


def test_recordings_at_48_khz_are_heard_at_16(pairs, tmp_path):
    for path in pairs.rglob("*.wav"):
        high = audio.resample(read(path)[:, None], RATE, 48000)
        write(tmp_path / "high" / path.relative_to(pairs), high, 48000)
    rates = []

    def separate(waveform, sample_rate):
        rates.append(sample_rate)
        return {"speech": waveform}

    system = Separation("same", ("speech",), separate)
    high = scored(tmp_path / "high", [system], baselines=())
    assert rates == [RATE, RATE]
    heard = [
        [audio.read(tmp_path / "high" / kind / f"{name}.wav", sample_rate=RATE)[0][:, 0]
         for kind in ("clean", "noisy")]
        for name in ("p1_001", "p1_002")
    ]  # fmt: skip
    found = high.scores("same", "speech")
    assert found["PESQ-WB"] == pytest.approx(
        np.mean([metrics.pesq(*p, RATE) for p in heard]), abs=1e-4
    )
    assert found["SSNR"] == pytest.approx(
        np.mean([metrics.ssnr(*p, RATE) for p in heard]), abs=1e-4
    )


def test_recordings_at_8_khz_have_no_wideband_measures(pairs, tmp_path):
    for path in pairs.rglob("*.wav"):
        low = audio.resample(read(path)[:, None], RATE, 8000)
        write(tmp_path / "low" / path.relative_to(pairs), low, 8000)
    report = scored(tmp_path / "low", [], baselines=("mixture",))
    found = report.scores("mixture", "speech")
    lacking = {name for name, value in found.items() if np.isnan(value)}
    assert lacking == {"PESQ-WB", "CSIG", "CBAK", "COVL"}
    assert "PESQ-WB, CSIG, CBAK, COVL" in report.notes[0]


def test_scores_are_made_again_only_by_other_measures(pairs, tmp_path):
    calls = []

    def separate(waveform, sample_rate):
        calls.append(sample_rate)
        return {"speech": waveform}

    system = Separation("same", ("speech",), separate, {"weights": "a"})
    for speech in (Speech(), Speech(), None, None):
        evaluate(pairs, [system], sources=("speech",), speech=speech, out=tmp_path, baselines=())
    assert len(calls) == 4  # two clips, by two sets of measures


def test_speech_is_recognised_by_the_corpus_or_its_sources(pairs, tmp_path, rng):
    assert what_to_score(pairs, []) == (("speech",), Speech())
    assert what_to_score(pairs, [], dnsmos="net.onnx")[1] == Speech("net.onnx")
    assert what_to_score(pairs, [], sources=("speech",), measures="separation")[1] is None
    for stem in ("speech", "noise"):
        write(tmp_path / "tracks" / "one" / f"{stem}.wav", 0.1 * rng.standard_normal(RATE))
    enhancer = Separation("e", ("speech", "noise"), lambda waveform, rate: {})
    assert what_to_score(tmp_path / "tracks", [enhancer]) == (("speech",), Speech())
    (tmp_path / "tracks" / "one" / "speech.wav").rename(tmp_path / "tracks" / "one" / "vocals.wav")
    singer = Separation("s", ("vocals", "noise"), lambda waveform, rate: {})
    assert what_to_score(tmp_path / "tracks", [singer]) == (("vocals", "noise"), None)
    with pytest.raises(ValueError, match="one source, got vocals, noise"):
        what_to_score(tmp_path / "tracks", [singer], measures="speech")
    with pytest.raises(ValueError, match="got 'pesq'"):
        what_to_score(pairs, [], measures="pesq")
    with pytest.raises(ValueError, match="one source"):
        evaluate(pairs, [], sources=("speech", "noise"), speech=Speech())


def test_a_missing_package_or_network_stops_before_anything_is_scored(pairs, monkeypatch, capsys):
    assert run("evaluate", "mixture", "--corpus", pairs, "--dnsmos", "nowhere.onnx") == 1
    assert "nowhere.onnx: there is no such file" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pesq", None)
    assert run("evaluate", "mixture", "--corpus", pairs) == 1
    err = capsys.readouterr().err
    assert "pip install 'kzoo[speech]'" in err
    assert len(err.strip().splitlines()) == 1
