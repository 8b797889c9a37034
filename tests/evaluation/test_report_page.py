"""Report.html: excerpts are what was scored, rows sort, plots are drawn, and nothing is fetched."""

import base64
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from made_browser import browser

from kzoo import audio
from kzoo.data.tracks import find_tracks
from kzoo.evaluation import Separation, Settings, evaluate, excerpts, page, scoring

RATE = 8000
SOURCES = ("vocals", "bass")
ODD = "<b>'&<script>"  # a name that HTML and JavaScript could trip over
# SDR of the frames of each track: stretches of 5 s have means 4, 2, and -1 (of what is a number).
FRAMES = {"a": [4.0] * 5 + [2.0] * 5, "b": [np.nan, -1.0, -1.0, -1.0, -1.0, 9.0]}


def bss_eval(truth, guess, **_):
    frames = FRAMES["a" if truth.shape[1] == 10 * RATE else "b"]
    measures = dict.fromkeys(("sdr", "isr", "sir", "sar"), np.array([frames] * 2))
    return SimpleNamespace(**measures, condition=1.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder of the report, corpus) of two tracks with a separator whose name is no HTML."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(1)
    for track, seconds in (("a", 10), ("b", 6)):
        for source in SOURCES:
            sound = 0.1 * rng.standard_normal((seconds * RATE, 1))
            path = folder / "corpus" / track / f"{source}.wav"
            audio.write(path, sound, RATE, bit_depth="float32")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "bss_eval", bss_eval)
        patch.setattr(page, "_picture", lambda *_: None)
        half = Separation(
            ODD, SOURCES, lambda mixture, rate: dict.fromkeys(SOURCES, 0.5 * mixture),
            parameters=1000,
        )  # fmt: skip
        evaluate(
            folder / "corpus", [half], sources=SOURCES, baselines=("mixture",),
            out=folder / "out", page=True,
        )  # fmt: skip
    return folder / "out", folder / "corpus"


def test_the_best_the_median_and_the_worst_are_those_stretches_of_the_tracks(made):
    out, corpus = made
    text = (out / "report.html").read_text("utf-8")
    titles = re.findall("<h3>(.*?)</h3>", text)
    assert titles == 2 * [
        "best: SDR 4.00, a from 0 s",
        "median: SDR 2.00, a from 5 s",
        "worst: SDR -1.00, b from 0 s",
    ]
    sounds = re.findall(r'src="data:audio/ogg;base64,([^"]*)"', text)
    each = len(sounds) // len(titles)
    reference, _ = soundfile.read(io.BytesIO(base64.b64decode(sounds[each])))  # of the second title
    true, _ = soundfile.read(corpus / "a" / "vocals.wav", start=5 * RATE)
    assert len(reference) == len(true) == 5 * RATE
    assert np.corrcoef(reference, true)[0, 1] > 0.8
    assert np.corrcoef(reference[:-1], true[1:])[0, 1] < 0.2


def test_what_went_wrong_with_an_excerpt_is_a_note(made):
    _, corpus = made
    tracks, told = find_tracks(corpus), []
    broken = Separation("half", SOURCES, lambda *_: {"vocals": np.zeros((9, 1))})
    report = SimpleNamespace(shown=("SDR",))
    documents = [
        {
            "targets": [{"name": "bass", "frames": [{"metrics": {"SDR": 1.0}}]}],
            "kzoo": {"system": "half", "track": "a", "subset": "test"},
        }
    ]
    made = excerpts.excerpts(
        report, documents, tracks, [broken], Settings(SOURCES), failed=told.append
    )
    assert list(made) == []
    assert told == ["a: no excerpt of half: half: no estimate of bass; it has vocals"]


def test_the_parts_of_an_estimate_sum_to_it(rng):
    true, other = 0.1 * rng.standard_normal((2, RATE, 2))
    noise = 0.001 * rng.standard_normal((RATE, 2))
    estimate = true + 0.1 * other + noise
    for others in ({"bass": other, "drums": 0 * other}, {}):
        parts = excerpts.error_parts(true, estimate, others, true + other)
        np.testing.assert_allclose(sum(parts.values()), estimate, atol=1e-12)
        for part, expected in zip(parts.values(), (true, 0.1 * other, noise), strict=True):
            assert np.linalg.norm(part - expected) < 0.2 * np.linalg.norm(expected)
    [error] = excerpts.error_parts(0 * true, estimate, {"bass": other}, other).values()
    np.testing.assert_array_equal(error, estimate)


def test_clips_of_speech_are_ranked_as_wholes():
    documents = [
        {
            "targets": [{"name": "speech", "measures": {"PESQ-WB": value}}],
            "kzoo": {"system": "s", "track": f"c{k}", "subset": "test"},
        }
        for k, value in enumerate((2.0, np.nan, 3.0, 1.0))
    ]
    found = excerpts.ranked(
        SimpleNamespace(shown=("PESQ-WB",)), documents, "s", "speech", Settings(("speech",))
    )
    assert [(s.rank, s.track) for s in found] == [("best", "c2"), ("median", "c0"), ("worst", "c3")]


def test_it_is_one_file_and_names_are_text(made):
    text = (made[0] / "report.html").read_text("utf-8")
    assert "http:" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in text
    assert "<b>'" not in text
    assert "corpus" in text
    assert "BSS Eval v4" in text


def test_a_browser_draws_the_plots_and_sorts_the_rows(made, tmp_path):
    def column(number):
        return (
            f"[...document.querySelectorAll('.tracks tbody tr')].map((r) => r.cells[{number}]"
            ".firstChild.textContent)"
        )

    with browser(tmp_path) as shown:
        shown.open((made[0] / "report.html").as_uri())
        dots = "document.querySelectorAll('#boxes circle').length"
        assert shown.evaluate(dots) == 2 * 2 * len(SOURCES)
        assert shown.evaluate("document.querySelectorAll('#cost figure').length") == 4
        assert (
            shown.evaluate("document.querySelector('#boxes figcaption').textContent")
            == "vocals: SDR"
        )
        shown.evaluate(
            "(() => { const m = document.querySelector('#measure'); m.value = 'SI-SDR';"
            "m.dispatchEvent(new Event('change')); })()"
        )
        assert (
            shown.evaluate("document.querySelector('#boxes figcaption').textContent")
            == "vocals: SI-SDR"
        )
        for order in ("descending", "ascending"):
            shown.click(".tracks th:nth-child(4) button")
            values = [float(value) for value in shown.evaluate(column(3))]
            assert values == sorted(values, reverse=order == "descending")
        shown.click(".tracks th:nth-child(1) button")
        assert shown.evaluate(column(0)) == ["a"] * 4 + ["b"] * 4
        shown.click(".player .play")
        shown.wait("document.querySelector('.player').classList.contains('playing')")
        shown.look(400, 800)
        assert shown.evaluate("document.documentElement.scrollWidth") == 400
        assert not shown.errors
