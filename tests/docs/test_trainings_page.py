"""The page of trainings that became no presets, made of the headers of configurations."""

import sys
from pathlib import Path

import pytest

from kzoo import config, presets

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trainings(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import trainings

    yield trainings
    del sys.modules["trainings"]


@pytest.fixture
def configs(tmp_path):
    folder = tmp_path / "configs" / "separation"
    folder.mkdir(parents=True)
    headers = {
        "unet_2stems_mobile": "# A preset.\n# 2026-11-26\n",
        "planned": "# Not measured here.\n",
        "timed": "# Not trained here: a step takes 5 s, 2026-11-26.\n",
        "measured": "# Vocals -3.6 | -0.8 dB,\n#   and 2 < 3, 2026-11-26\n",
        "with_curves": "# Scored on 2026-11-26.\n",
    }
    for name, header in headers.items():
        text = f"{header}name: {name}\nsummary: a <small> one\n# not of the header\n"
        (folder / f"{name}.yaml").write_text(text)
    (folder / "with_curves.csv").write_text("epoch,loss,val_loss\n1,0.9,0.8\n2,0.7,\n3,0.6,0.9\n")
    return folder.parent


def test_the_page_says_what_each_header_says_and_leaves_out_presets_and_plans(trainings, configs):
    text = trainings.page(configs)
    assert [line for line in text.split("\n") if line.startswith("## ")] == [
        "## measured",
        "## with_curves",
    ]
    assert "```text\nVocals -3.6 | -0.8 dB,\n  and 2 < 3, 2026-11-26\n```" in text
    assert "a &lt;small&gt; one; `configs/separation/measured.yaml`" in text
    assert "not of the header" not in text
    assert text.count("![") == 1
    assert text.index("trainings/with_curves.png") > text.index("## with_curves")


def test_recorded_curves_are_drawn_with_their_best_epoch(trainings, configs, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    best, draw_history = [], trainings.draw_history

    def drawn(rows, path, *, best_epoch):
        best.append(best_epoch)
        draw_history(rows, path, best_epoch=best_epoch)

    monkeypatch.setattr(trainings, "draw_history", drawn)
    trainings.draw(tmp_path / "pictures", configs)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["with_curves.png"]
    assert best == [1]


def test_every_recorded_curve_is_that_of_a_training_on_the_page(trainings):
    curves = sorted((ROOT / "configs").glob("*/*.csv"))
    measured = {path.with_suffix("") for path in trainings.unshipped()}
    assert curves
    assert {path.with_suffix("") for path in curves} <= measured
    for path in curves:
        fit = config.load_yaml(path.with_suffix(".yaml"))["fit"]
        epochs = [row["epoch"] for row in trainings.history(path)]
        assert epochs == list(range(1, fit["epochs"] + 1)), path


def test_no_preset_is_called_one_that_was_not_shipped(trainings):
    names = {path.stem for path in trainings.unshipped()}
    assert "cdae_4stems_small" in names
    assert not names & set(presets.list_presets())
