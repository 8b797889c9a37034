"""A synthesiser through `kzoo train`: it learns a made-up instrument, and says what it heard."""

import json

import numpy as np
import pytest
import soundfile
from made_runs import copies_after_the_first_epoch

from kzoo import presets
from kzoo.data import solo
from kzoo.training import resolved, train
from kzoo.training.compiling import compiled

RATE, HOP = 8000, 32


@pytest.fixture(scope="module")
def instrument(tmp_path_factory):
    """An organ of three harmonics, at two pitches that are known."""
    folder = tmp_path_factory.mktemp("organ")
    n = np.arange(2 * RATE)
    for name, f0_hz in (("low", 220.0), ("high", 330.0)):
        wave = sum(a * np.sin(2 * np.pi * k * f0_hz * n / RATE) for k, a in ((1, 0.3), (3, 0.1)))
        soundfile.write(folder / f"{name}.wav", wave * (0.6 + 0.4 * np.sin(n / 2000)), RATE)

    def estimate(waveform, sample_rate):
        f0_hz = 220.0 if np.argmax(np.abs(np.fft.rfft(waveform))) < 500 else 330.0
        frames = 1 + len(waveform) // HOP
        return np.full(frames, f0_hz), np.ones(frames)

    prepared = tmp_path_factory.mktemp("prepared")
    solo.prepare(folder, prepared, estimate=estimate, sample_rate=RATE, hop_length=HOP)
    return prepared


def settings(instrument, **changes):
    corpus = {"kind": "solo", "path": str(instrument)}
    return {
        "name": "organ", "model": {"name": "ddsp", "variant": "tiny"},
        "data": {"train": {**corpus, "exclude": ["high"]},
                 "validation": {**corpus, "include": ["high"]}},
        "loss": {"name": "multi_resolution_stft", "fft_sizes": [256], "log_floor": 1e-3},
        "optimizer": {"learning_rate": 1e-2},
        "fit": {"batch_size": 2, "epochs": 2, "steps_per_epoch": 20, "segment_seconds": 0.128},
        **changes,
    }  # fmt: skip


def test_the_loss_falls_and_the_folder_is_a_preset_with_statistics(instrument, tmp_path):
    folder = train(settings(instrument), tmp_path / "run", say=lambda line: None)
    with np.load(folder / "checkpoint.npz") as arrays:
        history = json.loads(str(arrays["state"]))["history"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    card = presets.load_card(folder)
    assert card["task"] == "synthesis"
    assert "sources" not in card
    assert card["channels"] == 1
    statistics = card["trained"]["data"]["statistics"]
    assert statistics["midi"]["mean"] == pytest.approx(57, abs=0.01)  # of what was learned from
    assert set(statistics["loudness_db"]) == {"mean", "std", "quantiles"}
    model = presets.from_preset(folder)
    controls = {"f0_hz": np.full((1, 50, 1), 220.0, np.float32),
                "loudness_db": np.full((1, 50, 1), -15.0, np.float32)}  # fmt: skip
    sound = np.asarray(model(controls))
    assert sound.shape == (1, 50 * HOP, 1)


@pytest.mark.usefixtures("eagerly")
def test_a_run_goes_on_where_it_was(instrument, tmp_path):
    fit = {"batch_size": 1, "epochs": 2, "steps_per_epoch": 1, "segment_seconds": 0.032}
    values = settings(instrument, fit=fit)
    del values["data"]["validation"]
    straight, parts = tmp_path / "straight", tmp_path / "parts"
    train(values, straight, say=copies_after_the_first_epoch(straight, "parts"))
    lines = []
    train(values, parts, say=lines.append)
    assert any("goes on after epoch 1" in line for line in lines)
    with np.load(straight / "checkpoint.npz") as one, np.load(parts / "checkpoint.npz") as other:
        # Seeds are numbered by process, so names are of no use; noise is drawn on from them.
        for name, again in zip(one.files, other.files, strict=True):
            if name != "state":
                np.testing.assert_array_equal(one[name], other[again], err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"train": {"kind": "synthetic"}}}, "kind synthetic and has no f0_hz"),
        ({"fit": {"segment_seconds": 0.512, "tensorboard": 1}}, "tensorboard"),
    ],
)
def test_what_cannot_be_trained_is_refused(instrument, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(settings(instrument, **changes), tmp_path / "run", say=lambda line: None)


def test_a_segment_is_as_many_whole_frames_as_hold_what_is_asked_for(instrument):
    made = compiled(resolved(settings(instrument, fit={"segment_seconds": 0.51})))
    assert made.task.samples % made.size.hop_length == 0
    assert 0 <= made.task.samples / made.size.sample_rate - 0.51 < 0.01
    assert "fit.segment_seconds" in made.started[-1]


def test_steps_that_vary_sources_are_refused(instrument, tmp_path):
    values = settings(instrument)
    values["data"]["steps"] = [{"name": "gain"}]
    with pytest.raises(ValueError, match=r"data\.steps"):
        train(values, tmp_path / "run", say=lambda line: None)


def test_a_separator_refuses_solo_recordings(instrument, tmp_path):
    values = settings(
        instrument, model={"name": "conv_tasnet", "sources": ["a"], "variant": "tiny"}
    )
    values["fit"]["segment_seconds"] = 0.5
    with pytest.raises(ValueError, match="no option 'sources'"):
        train(values, tmp_path / "run", say=lambda line: None)


def test_the_autoencoder_is_told_the_sound_as_well(instrument):
    values = settings(
        instrument, model={"name": "ddsp", "variant": "tiny", "z_dims": 2},
        fit={"segment_seconds": 0.064},
    )  # fmt: skip
    made = compiled(resolved(values))
    examples, _ = made.open_data(resolved(values))
    inputs, target = made.pair({k: v[None] for k, v in examples.example(0).items()})
    assert set(inputs) == {"f0_hz", "loudness_db", "waveform"}
    np.testing.assert_array_equal(inputs["waveform"], target)
    assert made.graph(inputs).shape == target.shape
