"""The study of front ends: its clips, scores and page, and that what stopped goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmarks import representations, representations_data, representations_page
from kzoo import config

SETTINGS = config.load_yaml(Path(representations.__file__).with_suffix(".yaml"))
FONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
needs_programs = pytest.mark.skipif(
    not (shutil.which("fluidsynth") and shutil.which("espeak-ng") and FONT.is_file()),
    reason="needs fluidsynth, espeak-ng and timgm6mb-soundfont",
)


def record(task, front, clips, seed, test):
    about = {"task": task, "front": front, "clips": clips, "seed": seed, "steps": 7}
    about |= {"parameters": 1234, "multiply_adds": 26_400_000, "step": 0.05}
    return {**about, "trained_seconds": 30.0, "scores": {"validation": test + 0.1, "test": test}}


def page(records):
    sizes = representations_page.sizes_of(SETTINGS)
    baseline = {task: {str(n): 0.2 for n in sizes} for task in SETTINGS["tasks"]}
    return representations_page.page(
        records, baseline, SETTINGS, expected=len(records) + 2, pictures=[Path("curves.png")]
    )


def test_the_page_says_what_the_records_carry():
    largest, fewest = SETTINGS["clips"]["train"], min(SETTINGS["sizes"])
    records = [record("tags", "log_mel", largest, seed, 0.5 + 0.1 * seed) for seed in (0, 1)]
    records += [record("tags", "sinc", largest, seed, 0.3 + 0.1 * seed) for seed in (0, 1)]
    records += [record("tags", "log_mel", fewest, 0, 0.4), record("tags", "sinc", fewest, 0, 0.15)]
    text = page(records)
    assert "\nTrainings still missing: 2;" in text
    assert "| `log_mel` | 1,234 | 26.4 | 50 | 0.550 ± 0.050 |  |  | 0 to 2 |" in text
    assert "| MFCC, logistic regression |  |  |  | 0.200 | 0.200 | 0.200 |  |" in text
    assert (
        "`log_mel` has the highest average precision of the 2 with two seeds or more, 0.550 ± "
        "0.050; the seeds of no other reach into its range. MFCC with logistic regression has 0.2"
        in text
    )
    assert "tags 0.450 to 0.650" in text
    assert "| `sinc` | 0.150 |  |  | 0.350 ± 0.050 |" in text
    assert "| tags |  |  |  |  |" in text  # of two front ends, nothing is said of all
    one = {**SETTINGS, "fronts": {name: SETTINGS["fronts"][name] for name in ("log_mel", "sinc")}}
    assert "| tags | +0.250 |  |  | +0.200 |" in representations_page.few(records, one)
    assert "![curves](curves.png)" in text
    near = [
        *records,
        record("tags", "gabor", largest, 0, 0.5),
        record("tags", "gabor", largest, 1, 0.5),
    ]
    assert "the seeds of `gabor` reach into its range" in page(near)


def test_onsets_are_right_within_50_ms_and_counted_once():
    truth = np.zeros((2, 100, 1))
    truth[0, [20, 60], 0] = truth[1, 50, 0] = 1
    heard = 0.1 * truth
    heard[0, [20, 64, 80], 0] = 0.9, 0.6, 0.9  # one right, one 40 ms late, one that is none
    found = representations.onset_f(truth, heard, 0.01, 0.5)
    assert found == 2 * 2 / (3 + 3)
    assert representations.onset_f(truth, heard, 0.01, 0.7) == 2 * 1 / (3 + 2)
    assert representations.onset_f(truth, 0 * heard, 0.01, 0.5) == 0.0


def test_a_filter_s_response_has_its_peak_where_it_passes():
    taps = np.arange(-50, 51)
    tones = (
        np.stack([np.cos(2 * np.pi * f * taps) for f in (0.3, 0.1)], axis=1)
        * np.hanning(101)[:, None]
    )
    levels = representations_page.responses(tones)
    assert levels.max() == 0.0
    peaks = levels.argmax(axis=1) / (levels.shape[1] - 1) / 2
    np.testing.assert_allclose(peaks, [0.1, 0.3], atol=0.005)
    turned = np.exp(-2j * np.pi * 0.2 * taps)[:, None] * np.hanning(101)[:, None]
    peak = representations_page.responses(turned).argmax() / (levels.shape[1] - 1) / 2
    assert abs(peak - 0.2) < 0.005


def test_pictures_are_drawn(tmp_path):
    (tmp_path / "filters").mkdir()
    kernel = np.random.default_rng(0).normal(size=(31, 4))
    np.savez(tmp_path / "filters" / "tags-sinc.npz", before=kernel, after=1j * kernel)
    found = representations_page.draw(
        [record("tags", "log_mel", 32, 0, 0.5)], tmp_path / "filters", SETTINGS, tmp_path / "p.md"
    )
    assert [path.name for path in found] == ["p.png", "p_filters.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Settings of a study of moments."""
    music = {**SETTINGS["music"], "pieces": 14, "seconds": 1.5, "tags": ["guitar", "bass"]}
    music["soundfonts"] = {"learned": str(FONT), "test": str(FONT)}
    return {
        **SETTINGS, "clips": {"train": 12, "validation": 4, "test": 6}, "sizes": [6],
        "batch_size": 4, "music": music,
        "voices": {**SETTINGS["voices"], "variants": ["f1", "m3", "croak"]},
        "fronts": {name: SETTINGS["fronts"][name] for name in ("log_mel", "whitened", "sinc")},
    }  # fmt: skip


@needs_programs
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Label not:UserWarning")
@pytest.mark.filterwarnings("ignore:No positive class:UserWarning")
def test_an_interrupted_study_goes_on(quick, tmp_path, monkeypatch):
    path, out, work = tmp_path / "quick.yaml", tmp_path / "page.md", tmp_path / "work"
    config.dump_yaml(quick, path)
    arguments = ["--settings", path, "-o", out, "--work", work, "--steps", "3", "--seeds", "2"]
    arguments = [*map(str, arguments)]
    scored, calls = representations.Study._scored, []

    def interrupted(self, *given, **named):
        calls.append(given)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scored(self, *given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(representations.Study, "_scored", interrupted)
        patched.setattr(representations.Study, "_without_network", lambda self: {
            task: {"6": 0.0, "12": 0.0} for task in SETTINGS["tasks"]
        })  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            representations.main(arguments)
    records = {p: p.stat().st_mtime_ns for p in (work / "records").glob("*_?.json")}
    assert len(records) == 2
    representations.main(arguments)
    assert all(p.stat().st_mtime_ns == written for p, written in records.items())
    found = [json.loads(p.read_text()) for p in (work / "records").glob("*_?.json")]
    assert len(found) == 3 * 3 * (2 + 1)  # two seeds of all clips, one of fewer
    assert all(0 <= one["scores"]["test"] <= 1 for one in found)
    text = out.read_text()
    assert "still missing" not in text
    assert "| `whitened` | " in text
    again = representations.Study(quick, representations_options(arguments))
    again.prepare()
    again.steps, again.probes = 3, json.loads((work / "plan.json").read_text())["probes"]
    name = "speakers-log_mel-12"
    repeated = again._trained(name, 1)["scores"]
    assert repeated == pytest.approx(
        json.loads((work / "records" / f"{name}_1.json").read_text())["scores"], abs=1e-6
    )


def representations_options(arguments):
    import argparse

    from benchmarks import course

    parser = argparse.ArgumentParser()
    parser.add_argument("midi", nargs="*", type=Path)
    return course.with_length(parser, representations.__file__).parse_args(arguments)


@needs_programs
@pytest.mark.slow
def test_clips_are_of_their_seed_and_of_their_options(quick, tmp_path):
    options = {**quick["voices"], "clips": quick["clips"], "rate": 8000, "samples": 4000}
    one = representations_data.prepared(tmp_path / "a.npz", representations_data.voices, options)
    again = representations_data.prepared(tmp_path / "b.npz", representations_data.voices, options)
    kept = representations_data.prepared(tmp_path / "a.npz", None, options)
    for part, clips in one.items():
        assert clips.sound.shape == (quick["clips"][part], 4000)
        np.testing.assert_array_equal(clips.sound, again[part].sound)
        np.testing.assert_array_equal(clips.sound, kept[part].sound)
        assert np.abs(clips.waveforms()).max() <= 1
    assert set(one["train"].truth["speakers"][:3]) == {0, 1, 2}
    with pytest.raises(SystemExit, match=r"a\.npz: was made with other options"):
        representations_data.prepared(tmp_path / "a.npz", None, {**options, "seed": 1})


@needs_programs
def test_notes_are_where_they_are_heard(quick, tmp_path):
    options = {**quick["music"], "snr_db": [60.0, 60.0]}
    with pytest.raises(SystemExit, match=r"no piece falls to validation, test: give more MIDI"):
        representations_data.music(
            tmp_path / "few", midi_files=[], **{**options, "pieces": 3}, clips=quick["clips"],
            rate=16000, samples=16000, hop=160,
        )  # fmt: skip
    counts = {"train": 8, "validation": 2, "test": 2}
    clips = representations_data.music(
        tmp_path / "music", midi_files=[], **options, clips=counts, rate=16000, samples=16000,
        hop=160,
    )["train"]  # fmt: skip
    sound = clips.waveforms()[..., 0].reshape(8, 100, 160)
    assert clips.truth["onsets"].shape == (8, 100)
    assert clips.truth["onsets"].sum() > 8
    level = 10 * np.log10(np.mean(sound**2, axis=2) + 1e-9)
    rise = level[:, 2:] - level[:, :-2]
    at_onsets = clips.truth["onsets"][:, 1:-1] == 1
    assert rise[at_onsets].mean() > rise[~at_onsets].mean() + 1
    assert clips.truth["tags"].any(axis=0).all()
