"""The chart of the enhancers, whose figures are those of the cards, and those of errors."""

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from kzoo import audio, presets
from kzoo.data import STEPS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def charts(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import charts

    yield charts
    del sys.modules["charts"]


def test_cards_have_the_means_and_intervals_that_were_measured(charts):
    with charts.UNHEARD.open(encoding="utf-8") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    del rows[charts.NOISY]
    cards = {name: presets.load_card(name).get("scores", {}) for name in presets.list_presets()}
    assert set(rows) == {name for name, scores in cards.items() if "means" in scores}
    for name, row in rows.items():
        for measure, mean in cards[name]["means"].items():
            said = (mean, *cards[name]["intervals"][measure])
            measured = (row[measure], row[f"{measure} low"], row[f"{measure} high"])
            assert said == pytest.approx([float(x) for x in measured], abs=6e-4), (name, measure)


def test_every_cost_names_its_machine_and_day():
    costs = [presets.load_card(name).get("cost") for name in presets.list_presets()]
    for cost in filter(None, costs):
        assert cost["cpu_ms_per_second"] > 0
        assert set(cost) == {"cpu_ms_per_second", "of", "machine", "date"}


def test_the_chart_shows_the_cost_of_the_cards(charts, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    load_card, drawn = presets.load_card, []
    cost = {"cpu_ms_per_second": 24.53}
    monkeypatch.setattr(
        presets, "load_card", lambda name: {**load_card(name), "cost": name == "dtln" and cost}
    )
    figure = charts.figure
    monkeypatch.setattr(charts, "figure", lambda *size: drawn.append(figure(*size)) or drawn[0])
    charts.enhancers(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    panels = drawn[0].axes
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    texts = {round(text.get_position()[1]): text.get_text().strip() for text in panels[-1].texts}
    assert texts.pop(names.index("dtln")) == "24.5"
    assert set(texts.values()) == {"not measured"}


def test_each_ratio_follows_its_own_error(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import errors

    quiet, loud = errors.grow("interference", (-30, -10))
    assert quiet.sir == pytest.approx(30, abs=1)
    assert loud.sir == pytest.approx(10, abs=1)
    assert quiet.sar == pytest.approx(loud.sar, abs=1)
    quiet, loud = errors.grow("artefacts", (-30, -10))
    assert quiet.sar == pytest.approx(30, abs=1)
    assert loud.sar == pytest.approx(10, abs=1)
    assert quiet.sir == pytest.approx(loud.sir, abs=1)
    assert loud.sdr < quiet.sdr
    del sys.modules["errors"]


def test_a_card_with_curves_has_them_drawn_on_its_page(charts, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    import preset_pages

    card = presets.load_card("gtcrn_speech")
    assert "![Loss" not in preset_pages.page(card)
    charts.learning(card, tmp_path / "none.png")
    card["trained"]["curves"] = {"epoch": [1, 2], "loss": [0.5, 0.4], "val_sdr": [None, 3.1]}
    assert "](gtcrn_speech.png)" in preset_pages.page(card)
    charts.learning(card, tmp_path / "curves.png")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
    monkeypatch.delitem(sys.modules, "preset_pages")


def test_every_step_is_seen_and_heard(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    monkeypatch.syspath_prepend(ROOT / "docs")
    import variations

    monkeypatch.setattr(variations.data, "STEPS", {"pitch": None})
    before = variations.mixture()
    for name in STEPS:
        after = variations.mixture(name)
        assert after.shape == before.shape
        assert not np.array_equal(after, before), name
    variations.write(tmp_path)
    for path in re.findall(r"steps/([a-z_]+[.][a-z]+)", variations.shown("pitch")):
        assert (tmp_path / path).stat().st_size > 1000
    sound, rate = audio.read(tmp_path / "pitch.ogg")
    assert (len(sound), rate) == (len(before), variations.RATE)


def test_a_page_says_where_weights_come_from_and_what_is_published_of_them(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import preset_pages

    page = preset_pages.page(presets.load_card("umxl"))
    bag = preset_pages.page(presets.load_card("htdemucs_ft"))
    monkeypatch.delitem(sys.modules, "preset_pages")
    assert "are those of [htdemucs_ft_drums](htdemucs_ft_drums.md), [htdemucs_ft_bass]" in bag
    assert "`https://zenodo.org/records/5069601/files/vocals-bccbd9aa.pth`" in page
    assert "; not yet verified by kzoo |" in page
    assert "non-commercial use: `kzoo presets download umxl --accept-licence` |" in page
    assert "Not measured here; from the authors' README of version 1.3.0." in page
    assert "| vocals | 7.21 |" in page
