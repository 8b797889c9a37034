"""Scores that museval has written are systems, too: of each track, and of a whole store."""

import importlib
import importlib.util
import json
import sys
import types

import numpy as np
import pytest
import soundfile

from kzoo.api.systems import evaluation_systems
from kzoo.evaluation import EstimatesFolder, evaluate

RATE = 8000


def aggregate():
    """`museval.aggregate` alone: importing the package asks for an ffmpeg program."""
    found = importlib.util.find_spec("museval")
    if found is None:
        pytest.skip("pip install 'kzoo[eval]'", allow_module_level=True)
    package = types.ModuleType("museval")
    package.__path__ = list(found.submodule_search_locations)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "museval", package)
        patch.delitem(sys.modules, "museval.aggregate", raising=False)
        patch.delitem(sys.modules, "museval.version", raising=False)
        return importlib.import_module("museval.aggregate")


museval = aggregate()


@pytest.fixture
def corpus(tmp_path, rng):
    for track in ("one", "two"):
        path = tmp_path / "corpus" / track / "vocals.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, 0.1 * rng.standard_normal(2 * RATE), RATE, subtype="FLOAT")
    return tmp_path / "corpus"


def store(track, sdr):
    """Scores by museval of two frames, of which the second has no SIR."""
    scores = museval.TrackStore(track)
    values = {"SDR": [sdr, sdr + 2], "SIR": [1.0, np.inf], "ISR": [2.0, 2.0], "SAR": [3.0, 3.0]}
    scores.add_target("vocals", values)
    return scores


@pytest.fixture
def made(tmp_path):
    """theirs/test/<track>.json as museval leaves them."""
    folder = tmp_path / "theirs" / "test"
    folder.mkdir(parents=True)
    for track, sdr in (("one", 4.0), ("two", 8.0)):
        store(track, sdr).save(folder / f"{track}.json")
    return folder.parent


def scored(corpus, *names, **options):
    systems = evaluation_systems([str(name) for name in names], {})
    return evaluate(corpus, systems, sources=["vocals"], baselines=(), **options)


def test_files_of_tracks_have_the_medians_of_museval(corpus, made):
    report = scored(corpus, made)
    theirs = museval.EvalStore()
    theirs.add_eval_dir(made)
    expected = theirs.agg_frames_tracks_scores()
    found = report.scores("theirs", "vocals")
    for measure in ("SDR", "SIR", "ISR", "SAR"):
        assert found[measure] == expected["vocals", measure]
    assert np.isnan(found["SI-SDR"])
    assert "one, two: theirs: made before, by 0.4.1" in report.notes


@pytest.mark.parametrize("orient", ["columns", "records"])
def test_the_table_of_a_store_has_a_system_for_each_method(corpus, made, tmp_path, orient):
    methods = museval.MethodStore()
    methods.add_eval_dir(made)
    better = museval.EvalStore()
    better.add_track(store("one", 5.0))
    better.add_track(store("two", 9.0))
    methods.add_evalstore(better, "better")
    path = tmp_path / "table.json"
    methods.df.to_json(path, orient=orient)
    report = scored(corpus, path)
    medians = methods.agg_frames_tracks_scores()
    for method in ("theirs", "better"):
        assert report.scores(method, "vocals")["SDR"] == medians[method, "vocals", "SDR"]
    with pytest.raises(ValueError, match="has several systems, theirs, better: give it no name"):
        scored(corpus, f"a={path}")
    better.df.drop(columns="method", errors="ignore").to_json(path)
    assert scored(corpus, f"a={path}").scores("a", "vocals")["SDR"] == 8.0


def test_kzoo_s_own_scores_are_compared_with_those_of_today(corpus, tmp_path, made):
    for track in ("one", "two"):
        (tmp_path / "mine" / track).mkdir(parents=True)
        sound, _ = soundfile.read(corpus / track / "vocals.wav")
        soundfile.write(tmp_path / "mine" / track / "vocals.wav", sound + 0.01, RATE, "FLOAT")
    mine = EstimatesFolder("mine", tmp_path / "mine")
    evaluate(corpus, [mine], sources=["vocals"], baselines=(), out=tmp_path / "out")
    report = scored(corpus, f"today={tmp_path / 'mine'}", tmp_path / "out" / "mine", made)
    assert report.scores("mine", "vocals") == pytest.approx(
        report.scores("today", "vocals"), nan_ok=True
    )
    assert {row.measures["SDR"].value for row in report.comparisons if row.system == "mine"} == {0}
    other = scored(corpus, tmp_path / "out" / "mine", duration_seconds=1.0)
    assert "another stretch of the tracks" in str(other.failures[0])
    soundfile.write(corpus / "two" / "vocals.wav", np.ones(RATE), RATE)
    [failure] = scored(corpus, tmp_path / "out" / "mine").failures
    assert "its scores of 'two' are of other recordings" in str(failure)


def test_what_is_no_museval_is_refused_in_a_line(corpus, made, tmp_path):
    (made / "test" / "one.json").write_text(json.dumps({"targets": [{"name": "vocals"}]}))
    (made / "test" / "two.json").unlink()
    reasons = [str(failure) for failure in scored(corpus, made).failures]
    assert "the scores of 'one' are not museval's" in reasons[0]
    assert "has no scores of the track 'two'" in reasons[1]
    (made / "test" / "one.json").write_text("{")
    with pytest.raises(ValueError, match=r"one\.json: is no JSON"):
        scored(corpus, made)
    table = tmp_path / "table.json"
    table.write_text('{"SDR": 3}')
    with pytest.raises(ValueError, match="no table of scores; expected the columns track, target"):
        scored(corpus, table)
    pickle = tmp_path / "store.pandas"
    pickle.write_bytes(b"\x80")
    with pytest.raises(ValueError, match="is a pickle, which may run anything"):
        scored(corpus, pickle)
