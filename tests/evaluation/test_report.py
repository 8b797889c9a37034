"""The report says how sure every average is, and what each system gains over the others."""

import csv
import json

import numpy as np
import pytest

from kzoo.evaluation import Baseline, Settings, Speech, difference, estimate, evaluate
from kzoo.evaluation.averages import make_report

SYSTEMS = ("good", "fair", "mixture")
SONGS, CLIPS = Settings(("vocals",)), Settings(("speech",), speech=Speech())


def document(system, track, target, subset="test"):
    return {
        "targets": [target],
        "kzoo": {
            "system": system, "track": track, "subset": subset, "notes": [], "data_sha256": track,
            "samples": 8000, "sample_rate": 8000,
        },
    }  # fmt: skip


def song(system, track, frames, si_sdr):
    """Scores of a track, of which SDR has a value a frame, and SIR, ISR and SAR have the same."""
    metrics = [dict.fromkeys(("SDR", "SIR", "ISR", "SAR"), value) for value in frames]
    target = {"name": "vocals", "SI-SDR": si_sdr, "frames": [{"metrics": m} for m in metrics]}
    return document(system, track, target)


def clip(system, track, value, **others):
    measures = {**dict.fromkeys(CLIPS.measures, value), **others}
    return document(system, track, {"name": "speech", "measures": measures, "frames": []})


def report(documents, settings, against=("mixture", "good")):
    return make_report(
        documents, [], settings, corpus="corpus", systems=SYSTEMS, against=against, command=None
    )


@pytest.fixture
def songs(rng):
    """12 tracks of 3 frames: good is above fair, and both above the mixture, by what varies."""
    found = []
    for number in range(12):
        frames = rng.standard_normal(3)
        for system, gain in zip(SYSTEMS, (5, 4 + 2 * rng.standard_normal(), 0), strict=True):
            found.append(song(system, f"song {number:02}", frames + gain, gain))
    return found


def of(documents, system, score):
    return [score(d) for d in documents if d["kzoo"]["system"] == system]


def test_of_songs_it_is_the_interval_of_the_median_over_tracks(songs):
    def median_over_frames(document):
        return np.median([f["metrics"]["SDR"] for f in document["targets"][0]["frames"]])

    found = report(songs, SONGS)
    sdr = {system: of(songs, system, median_over_frames) for system in SYSTEMS}
    for row in found.averages:
        expected = estimate(sdr[row.system], np.median)
        assert row.scores["SDR"] == expected.value
        assert row.intervals["SDR"] == (expected.low, expected.high)
    gains = {(row.system, row.against): row.measures["SDR"] for row in found.comparisons}
    assert gains == {
        pair: difference(sdr[pair[0]], sdr[pair[1]], np.median)
        for pair in [("good", "mixture"), ("fair", "mixture"), ("fair", "good")]
    }
    text = found.text()
    assert "interval: level 0.95, of the median over tracks, method percentile bootstrap" in text
    assert "comparison: median of the differences track by track" in text
    assert "SI-SDRi" in found.averages[0].intervals
    assert "SI-SDRi" not in found.comparisons[0].measures  # it is SI-SDR's, once more


def test_of_clips_it_is_the_interval_of_the_mean(rng):
    values = {system: rng.standard_normal(8).tolist() for system in SYSTEMS}
    documents = [clip(s, f"c{k}", v) for s in SYSTEMS for k, v in enumerate(values[s])]
    found = report(documents, CLIPS, against=("mixture",))
    row, compared = found.averages[0], found.comparisons[0]
    expected = estimate(values["good"])
    assert (row.scores["STOI"], *row.intervals["STOI"]) == (
        expected.value, expected.low, expected.high,
    )  # fmt: skip
    assert compared.measures["STOI"] == difference(values["good"], values["mixture"])
    assert [(row.system, row.against) for row in found.comparisons] == [
        ("good", "mixture"), ("fair", "mixture"),
    ]  # fmt: skip


def test_pairs_are_of_the_same_clip_however_they_come_and_whichever_are_missing():
    documents = [
        clip("good", "c2", 5.0), clip("good", "c1", 2.0), clip("good", "c3", 9.0),
        clip("mixture", "c1", 1.0), clip("mixture", "c2", 3.0), clip("mixture", "c4", 0.0),
    ]  # fmt: skip
    documents.append({**clip("good", "c1", 0.0)})  # another of the name, in the other subset
    documents[-1]["kzoo"]["subset"] = "train"
    (compared,) = report(documents, CLIPS, against=("mixture",)).comparisons
    assert compared.tracks == 2
    assert compared.measures["STOI"].value == 1.5
    assert compared.measures["STOI"].better == 1.0


def test_the_table_shows_them_below_and_none_of_a_single_clip():
    one = [clip("good", "c1", 2.0), clip("mixture", "c1", 1.0, STOI=0.5)]
    two = [*one, clip("good", "c2", 4.0), clip("mixture", "c2", 2.0, STOI=np.nan)]
    single, text = (report(d, CLIPS, against=("mixture",)).text() for d in (one, two))
    assert "95 %  " not in single
    table = [line.split() for line in text.splitlines()]
    start = table.index(["source", "system", "tracks", *CLIPS.measures])
    stoi = CLIPS.measures.index("STOI")
    assert table[start + 1][:4] == ["speech", "good", "2", "3.00"]
    assert table[start + 2][:3] == ["95", "%", "2.00..4.00"]
    assert table[start + 4][2 + stoi] == "-"
    assert table[start + 5 : start + 7] == [[], ["against", "mixture"]]
    assert table[start + 7][:4] == ["speech", "good", "2", "+1.50"]
    assert table[start + 8][:3] == ["95", "%", "1.00..2.00"]
    assert table[start + 9][:3] == ["better", "100", "%"]


def test_the_files_hold_how_they_were_made(songs, tmp_path):
    found = report(songs, SONGS)
    found.write(tmp_path)
    kept = json.loads((tmp_path / "scores.json").read_text())
    assert kept["interval"] == {
        "level": 0.95, "of": "the median over tracks", "resamples": 2000, "seed": 0,
        "method": "percentile bootstrap, tracks drawn with replacement",
    }  # fmt: skip
    good = found.averages[0]
    assert kept["medians"][0]["intervals"]["SDR"] == pytest.approx(good.intervals["SDR"], abs=1e-5)
    with (tmp_path / "medians.csv").open(encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    bounds = [float(first[f"SDR {end}"]) for end in ("low", "high")]
    assert bounds == kept["medians"][0]["intervals"]["SDR"]
    with (tmp_path / "comparisons.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(kept["comparisons"]) == 3 * 5
    first, gain = lines[0], found.comparisons[0].measures["SDR"]
    assert {name: str(value) for name, value in kept["comparisons"][0].items()} == first
    assert float(first["low"]) == pytest.approx(gain.low, abs=1e-5)


@pytest.mark.parametrize(
    ("systems", "against", "pairs"),
    [
        (["mixture"], None, {"irm mixture"}),
        (["irm", "ibm"], None, {"irm mixture", "ibm mixture", "ibm irm"}),
        (["irm", "ibm"], ["ibm"], {"irm ibm", "mixture ibm"}),
        (["irm", "ibm"], [], set()),
    ],
)
def test_systems_are_compared_with_the_mixture_and_the_first_unless_told(
    tmp_path, rng, monkeypatch, systems, against, pairs
):
    from kzoo import audio
    from kzoo.evaluation import running

    monkeypatch.setattr(running, "score", lambda job: song(job.system.name, "a", [1.0], 1.0))
    audio.write(tmp_path / "a" / "vocals.wav", rng.standard_normal((80, 1)), 8000)
    found = evaluate(
        tmp_path, [Baseline(name) for name in systems], sources=["vocals"], against=against
    )
    assert {f"{row.system} {row.against}" for row in found.comparisons} == pairs


def test_averages_are_of_the_tracks_that_every_system_has():
    documents = [clip("good", f"c{k}", float(k)) for k in range(5)]
    documents += [clip("mixture", f"c{k}", 0.0) for k in (1, 2)]
    found = report(documents, CLIPS, against=("mixture",))
    assert [(row.system, row.tracks) for row in found.averages] == [("good", 2), ("mixture", 2)]
    assert found.scores("good", "speech")["STOI"] == 1.5
    assert found.notes == [
        "speech: averages are over the 2 tracks that were scored with every system that has any; "
        "scored were good 5, fair 0, mixture 2"
    ]
    documents = [clip("good", "c1", 1.0), clip("mixture", "c2", 2.0)]
    found = report(documents, CLIPS, against=())
    assert [row.tracks for row in found.averages] == [1, 1]
    assert found.notes == [
        "speech: no track was scored with every system: averages are of other tracks"
    ]


def test_a_note_names_a_few_of_its_tracks():
    documents = [clip("good", f"c{k}", 1.0) for k in range(5)]
    for document in documents:
        document["kzoo"]["notes"] = ["speech: no PESQ-NB"]
    assert report(documents, CLIPS, against=()).notes == [
        "c0, c1, c2 and 2 more: speech: no PESQ-NB"
    ]


def test_a_narrow_table_folds_into_tables_of_fewer_columns_and_loses_nothing():
    documents = [clip(s, f"c{k}", float(k)) for s in ("good", "mixture") for k in range(3)]
    found = report(documents, CLIPS, against=("mixture",))
    wide, narrow = found.text(), found.text(80)
    _, *lines = narrow.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line.split()[3:] for line in lines if line.startswith("source ")]
    assert len(heads) > 1
    assert [name for head in heads for name in head] == list(CLIPS.measures)
    wide = wide.splitlines()[1:]
    cells, expected = (
        sorted(w for line in t for w in line.split() if ".." in w) for t in (lines, wide)
    )
    assert cells == expected


def test_the_table_of_songs_has_few_columns_and_the_files_all(songs, tmp_path):
    found = report(songs, SONGS)
    [head] = [line for line in found.text().splitlines() if line.startswith("source ")]
    assert head.split() == ["source", "system", "tracks", "SDR", "SI-SDR", "SI-SDRi"]
    found.write(tmp_path)
    with (tmp_path / "tracks.csv").open(encoding="utf-8") as file:
        assert set(SONGS.measures) < set(next(csv.DictReader(file)))


def test_other_measures_are_averaged_as_they_are_published_and_lower_may_be_better():
    columns = Settings(("vocals",), columns=("SI-SDR", "uSDR", "LSD"))
    documents = []
    for k, (usdr, lsd) in enumerate([(1.0, 5.0), (2.0, 3.0), (6.0, 1.0)]):
        for system, gain in (("good", 1.0), ("mixture", 0.0)):
            made = song(system, f"song {k}", [], 10.0 * gain)
            made["targets"][0]["others"] = {"uSDR": usdr + gain, "LSD": lsd - gain}
            documents.append(made)
    found = report(documents, columns, against=("mixture",))
    assert found.measures == ("SI-SDR", "uSDR", "LSD")
    assert found.scores("good", "vocals") == {"SI-SDR": 10.0, "uSDR": 4.0, "LSD": 2.0}  # means
    assert [gain.better for gain in found.comparisons[0].measures.values()] == [1.0, 1.0, 1.0]
    assert found.comparisons[0].measures["LSD"].value == -1.0
    text = found.text()
    assert "BSS Eval" not in text
    assert "uSDR: mean over tracks" in text
    assert "LSD: log-spectral distance" in text
