"""The curves of a run: what is drawn, how often, and what a card keeps of them."""

import builtins
import math

import pytest

from kzoo.pictures import training as pictures
from kzoo.training import callbacks


def rows(count):
    """A history whose loss falls and whose rate halves after the third epoch."""
    return [
        {"epoch": k, "loss": 1 / k, "val_loss": 2 / k, "learning_rate": 0.005 if k > 3 else 0.01}
        for k in range(1, count + 1)
    ]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn."""
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    figures, figure = [], pictures.figure
    monkeypatch.setattr(
        pictures, "figure", lambda *a, **k: figures.append(figure(*a, **k)) or figures[-1]
    )
    return figures


def test_the_picture_has_each_curve_the_best_epoch_and_the_steps_of_the_rate(drawn, tmp_path):
    history = rows(6)
    history[1] |= {"val_sdr": 1.0, "val_si_sdr": math.nan}
    history[5] |= {"val_sdr": 3.0}
    pictures.draw_history(history, tmp_path / "a.png", best_epoch=5)
    loss, scores, rate = drawn[0].axes
    curves = {line.get_label(): line for line in (*loss.get_lines(), *scores.get_lines())}
    assert list(curves["validation"].get_ydata()) == [row["val_loss"] for row in history]
    assert list(curves["SDR"].get_xdata()) == [2, 6]
    assert "SI-SDR" not in curves
    for axis in (loss, scores, rate):
        upright = {line.get_xdata()[0] for line in axis.get_lines() if len(line.get_xdata()) == 2}
        assert {3.5, 5} <= upright
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_card_keeps_some_forty_epochs_and_those_that_matter():
    history = rows(200)
    history[122]["val_sdr"] = 12.3456
    history[7]["val_loss"] = math.inf
    curves = pictures.card_curves(history, best_epoch=8)
    assert {1, 8, 123, 200} <= set(curves["epoch"])
    assert 40 <= len(curves["epoch"]) <= 44
    back = {row["epoch"]: row for row in pictures.epochs_of(curves)}
    assert back[123]["val_sdr"] == 12.35
    assert back[8]["val_loss"] is None
    assert back[200]["loss"] == 0.005
    assert pictures.card_curves(rows(3))["epoch"] == [1, 2, 3]


def test_a_picture_takes_a_twentieth_of_the_time_and_the_last_is_drawn(monkeypatch, tmp_path):
    now, drawn = [100.0], []

    def draw(history, path, **_):
        now[0] += 2.0
        drawn.append(len(history))
        path.write_bytes(b"")

    monkeypatch.setattr(callbacks, "draw_history", draw)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    picture = callbacks.Picture(tmp_path / "history.png", print)
    for count in range(1, 11):
        now[0] += 10.0
        picture.draw(rows(count), 1, last=count == 10)
    assert drawn == [2, 6, 10]


def test_without_matplotlib_a_line_says_so_once(monkeypatch, tmp_path):
    importing = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return importing(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    lines = []
    picture = callbacks.Picture(tmp_path / "history.png", lines.append)
    for count in (2, 3):
        picture.draw(rows(count), 1, last=False)
    assert len(lines) == 1
    assert "kzoo[plot]" in lines[0]
    assert not list(tmp_path.iterdir())
