"""The course and the study of augmentation: pages say what records carry; what stopped goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks import augmentation_page, course_page
from kzoo import config, data

SETTINGS = {
    "sound": {"sample_rate": 8000, "channels": 1},
    "sources": ["vocals", "drums"],
    "test": {"start_seconds": 0.0, "duration_seconds": 4.0},
    "segment_seconds": 2.0,
    "batch_size": 4,
    "full": {"steps": 1000, "seeds": 3},
    "systems": {
        name: {"input": "magnitude", "output": "mask", "networks": "one"} for name in "abc"
    },
    "contrasts": [
        {"question": "A or B?", "change": "One changes.", "systems": ["a", "b"]},
        {"question": "A or C?", "change": "Another changes.", "systems": ["a", "c"]},
        {"question": "A or D?", "change": "None is there.", "systems": ["a", "d"]},
    ],
}
SOURCES = SETTINGS["sources"]
BOUNDS = {"mixture": {s: {"SDR": 0.0, "SI-SDR": 0.5} for s in ("vocals", "drums")}}


def record(system, seed, score):
    vocals, drums = ({"SDR": value, "SI-SDR": value + 1.0} for value in (score, score + 4.0))
    about = {"parameters": 1234, "multiply_adds": 26_400_000, "step": 0.36, "steps": 50}
    found = {"system": system, "seed": seed, "real_time_factor": 0.01 * (1 + seed), **about}
    return {**found, "scores": {"vocals": vocals, "drums": drums}}


def page(records):
    return course_page.page(
        records, BOUNDS, SETTINGS, chart="course.png", expected=4, step=0.72, test=["song"]
    )


def test_a_system_has_its_means_and_half_the_range_of_its_seeds():
    text = page([record("a", 0, 1.0), record("a", 1, 2.0), record("b", 0, 3.0)])
    assert (
        "| `a` | magnitude | mask | one | 1,234 | 26.4 | 1.50 ± 0.50 | 2.50 ± 0.50 | 5.50 ± 0.50 | "
        "6.50 ± 0.50 | 0.0150 | 2 |"
    ) in text
    assert "| `b` | magnitude | mask | one | 1,234 | 26.4 | 3.00 | 4.00 | 7.00 | 8.00 |" in text
    assert "| `mixture` |  |  |  |  |  | 0.00 | 0.50 | 0.00 | 0.50 |  |  |" in text
    assert "\nTrainings still missing: 1;" in text
    assert "take 1 hours" in text  # 0.72 s a step of both, 1000 steps, 3 seeds


def test_a_question_is_answered_where_its_figures_carry_an_answer():
    apart = [record("a", 0, 3.0), record("a", 1, 3.2), record("b", 0, 1.0), record("b", 1, 1.1)]
    alike = [record("c", 0, 2.0), record("c", 1, 4.0)]
    text = page(apart + alike)
    assert "- SDR: `a` is better than `b`; `a` gains +2.05 dB on average (+2.00, +2.10)." in text
    assert (
        "- SDR: no difference is seen; `a` gains +0.10 dB on average (+1.00, -0.80), and seeds of "
        "one system are up to 2.00 dB apart."
    ) in text
    assert "A or D?" not in text
    assert "with one seed, which says little" in page([apart[0], apart[2]])
    assert "no seed is common" in page([apart[0], apart[3]])


def test_the_chart_is_drawn(tmp_path):
    records = [record("a", 0, 1.0), record("a", 1, 2.0), record("b", 0, 3.0)]
    path = course_page.draw(records, BOUNDS, SETTINGS, tmp_path / "course.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_multiply_adds_are_those_of_every_step_and_filter():
    import keras

    from kzoo.training.graph_costs import multiply_adds

    waveform = keras.Input((None, 2))
    x = keras.layers.Conv1D(6, 8, strides=4)(waveform)
    x = keras.layers.Bidirectional(keras.layers.LSTM(5, return_sequences=True))(x)
    x = keras.layers.Dense(3)(x)
    x = keras.layers.Conv1DTranspose(2, 8, strides=4)(x)
    frames = 1 + (40 - 8) // 4
    each = 8 * 2 * 6 + 2 * (6 + 5) * 4 * 5 + 10 * 3 + 3 * 8 * 2
    assert multiply_adds(keras.Model(waveform, x), 40) == frames * each


@pytest.mark.slow
def test_every_system_costs_what_the_page_says(tmp_path):
    from benchmarks import course

    options = course.parsed([str(tmp_path), "--steps", "1"])
    settings = config.load_yaml(course.SETTINGS)
    for contrast in settings["contrasts"]:
        assert set(contrast["systems"]) <= set(settings["systems"])
    for name in settings["systems"]:
        cost = course.Course(settings, options).cost(name)
        assert 20e6 < cost["multiply_adds"] < 32e6, name


QUICK = {
    "segment_seconds": 0.5,
    "batch_size": 2,
    "epochs": 2,
    "test": {"start_seconds": 0.0, "duration_seconds": 3.0},
}


def write_songs(folder):
    rng = np.random.default_rng(0)
    for song in ("one", "two", "held"):
        for stem in ("vocals", "other"):
            path = folder / song / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(40_000), 8000)


@pytest.mark.slow
def test_the_study_trains_with_each_augmentation_and_goes_on(tmp_path):
    from benchmarks import augmentation_study

    write_songs(tmp_path / "music")
    found = Path(augmentation_study.__file__).with_suffix(".yaml")
    settings = config.load_yaml(found) | QUICK
    for system in settings["systems"].values():
        system["model"] = {"name": system["model"]["name"], "variant": "tiny"}
    path, out = tmp_path / "study.yaml", tmp_path / "study.md"
    config.dump_yaml(settings, path)
    arguments = [tmp_path / "music", "--held-out", "held", "--without", "--settings", path]
    arguments = [*arguments, "-o", out, "--work", tmp_path / "work", "--steps", "2"]
    arguments = [*map(str, [*arguments, "--seeds", "1", "--systems", "unet", "unet_all"])]
    augmentation_study.main(arguments)
    text = out.read_text()
    assert "| `unet_all` | all | " in text
    assert "`unet_all` gains " in text
    card = config.load_yaml(tmp_path / "work" / "unet_all_0" / "card.yaml")
    steps = card["trained"]["data"]["steps"]
    assert [step["name"] for step in steps] == ["stretch", "envelope", "pitch"]
    written = (tmp_path / "work" / "unet_0" / "checkpoint.npz").stat().st_mtime_ns
    augmentation_study.main([*arguments, "wave_u_net_pitch"])
    assert (tmp_path / "work" / "unet_0" / "checkpoint.npz").stat().st_mtime_ns == written
    assert "| `wave_u_net_pitch` | pitch | " in out.read_text()


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_takes_new_systems(tmp_path, monkeypatch):
    from benchmarks import course

    write_songs(tmp_path / "music")
    settings = config.load_yaml(course.SETTINGS) | QUICK
    systems = {name: settings["systems"][name] for name in ("unet", "wave_u_net")}
    systems["unet"]["model"] = {"name": "unet", "variant": "tiny"}
    systems["wave_u_net"]["model"] = {"name": "wave_u_net", "variant": "tiny"}
    settings["systems"] = {"unet": systems["unet"]}
    path, out, work = tmp_path / "course.yaml", tmp_path / "course.md", tmp_path / "work"
    config.dump_yaml(settings, path)
    arguments = [tmp_path / "music", "--held-out", "held", "--without", "--settings", path]
    arguments = [*map(str, [*arguments, "-o", out, "--work", work])]

    def interrupted(self, *_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(course.Course, "_real_time_factor", interrupted)
        with pytest.raises(KeyboardInterrupt):
            course.main([*arguments, "--steps", "4"])
    trained = (work / "unet_0" / "checkpoint.npz").stat().st_mtime_ns
    assert not out.exists()
    settings["systems"] = systems
    config.dump_yaml(settings, path)
    course.main(arguments)  # of as many steps as the folder's runs have
    assert (work / "unet_0" / "checkpoint.npz").stat().st_mtime_ns == trained
    records = [json.loads(found.read_text()) for found in (work / "records").glob("*_?.json")]
    assert {(r["system"], r["seed"], r["steps"]) for r in records} == {
        (name, seed, 4) for name in systems for seed in (0, 1)
    }
    text = out.read_text()
    assert "| `wave_u_net` | waveform | source | one |" in text
    assert "Magnitude or waveform?" in text
    assert "still missing" not in text
    assert out.with_suffix(".png").is_file()
    with pytest.raises(SystemExit, match="holds runs of 4 steps"):
        course.main([*arguments, "--steps", "5"])


def study_record(system, seed, sdr):
    cells = {"SDR": sdr, "SIR": sdr + 3.0, "SAR": sdr + 5.0}
    cells |= {f"{name} MAD": 1.5 for name in ("SDR", "SIR", "SAR")}
    about = {"steps": 50, "step": 0.36, "trained_seconds": 30.0}
    return {"system": system, "seed": seed, **about, "scores": dict.fromkeys(SOURCES, cells)}


def test_the_study_takes_medians_and_deviations_over_the_seconds_of_all_songs():
    def document(*seconds):
        frames = [{"metrics": {"SDR": v, "SIR": v + 1, "SAR": float("nan")}} for v in seconds]
        return {"targets": [{"name": "vocals", "frames": frames}]}

    documents = [document(1.0, 2.0, float("nan")), document(4.0, 9.0, 10.0)]
    found = augmentation_page.over_seconds(documents, SOURCES)
    values = np.array([1.0, 2.0, 4.0, 9.0, 10.0])
    assert found["vocals"]["SDR"] == np.median(values) == found["vocals"]["SIR"] - 1
    assert found["vocals"]["SDR MAD"] == np.median(np.abs(values - np.median(values)))
    assert np.isnan(found["vocals"]["SAR"])
    assert np.isnan(found["drums"]["SDR"])  # came out silent


def test_the_study_s_page_says_what_augmentation_gained():
    settings = {**SETTINGS, "systems": {name: {"augmentation": name} for name in "abc"}}
    records = [study_record("a", 0, 2.0), study_record("a", 1, 3.0)]
    records += [study_record("b", 0, 0.0), study_record("b", 1, 0.5)]
    text = augmentation_page.page(
        records, {"mixture": records[0]["scores"]}, settings, expected=6, step=0.72, test=["song"]
    )
    row = "| `a` | a | 2.50 ± 0.50 (1.50) | 5.50 ± 0.50 (1.50) | 7.50 ± 0.50 (1.50) |"
    assert row in text
    assert "Trainings still missing: 2;" in text
    assert "- SIR: `a` is better than `b`; `a` gains +2.25 dB on average (+2.00, +2.50)." in text
    assert "2 minutes in all" in text


def test_the_study_has_every_line_of_the_course_s_table():
    path = Path(augmentation_page.__file__).with_name("augmentation_study.yaml")
    settings = config.load_yaml(path)
    for options in settings["augmentations"]:
        data.step(**options)
    steps = {
        name: [step["name"] for step in system.get("data", {"steps": []})["steps"]]
        for name, system in settings["systems"].items()
    }
    assert set(steps) >= {"unet_no_skips", "unet_no_mask"}
    for network in ("unet", "wave_u_net"):
        assert steps[network] == []
        for name in ("stretch", "envelope", "pitch"):
            assert steps[f"{network}_{name}"] == [name]
        assert set(steps[f"{network}_all"]) == {"stretch", "envelope", "pitch"}
    for contrast in settings["contrasts"]:
        assert set(contrast["systems"]) <= set(settings["systems"])
