"""Pages of one file: what they embed is the sound, its picture and its loudness."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from kzoo import pages
from kzoo.pages.embedding import spectrum_db
from kzoo.pages.levels import _high_pass, _shelf

RATE = 16000


def sine(hertz, seconds=0.5, rate=RATE):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)[:, None]


def content(uri):
    kind, _, text = uri.partition(";base64,")
    return kind, base64.b64decode(text)


@pytest.mark.parametrize(("form", "kind", "least_db"), [("ogg", "ogg", 20), ("flac", "flac", 80)])
def test_embedded_audio_is_the_sound(form, kind, least_db):
    signal = 0.5 * np.hstack([sine(300), sine(1100)])
    found, file = content(pages.embedded_audio(signal, RATE, format=form))
    heard, rate = soundfile.read(io.BytesIO(file))
    assert (found, rate, heard.shape) == (f"data:audio/{kind}", RATE, signal.shape)
    assert 20 * np.log10(np.linalg.norm(signal) / np.linalg.norm(signal - heard)) > least_db


def test_a_spectrogram_shows_a_sine_at_its_frequency_its_level_and_its_time():
    signal = np.concatenate([sine(1000), np.zeros((RATE // 2, 1))])
    level_db = spectrum_db(0.1 * signal, RATE)
    rows_hz = np.geomspace(*pages.SPECTROGRAM_HZ, len(level_db))
    column = level_db[:, level_db.shape[1] // 4]
    assert abs(np.log2(rows_hz[np.argmax(column)] / 1000)) < 0.05
    assert column.max() == pytest.approx(-20, abs=2)
    assert level_db[:, -level_db.shape[1] // 4 :].max() < -120
    assert level_db[rows_hz > RATE / 2].max() == -140
    longer = spectrum_db(0.1 * signal, RATE, seconds=2.0)  # the same in half the width
    assert longer[:, : longer.shape[1] // 4 - 20].max() == pytest.approx(-20, abs=2)
    assert longer[:, longer.shape[1] // 4 + 30 :].max() < -120


def test_pictures_of_one_scale_can_be_compared():
    pytest.importorskip("PIL")
    from PIL import Image

    def brightest(signal, **scale):
        kind, file = content(pages.spectrogram(signal, RATE, **scale))
        assert kind == "data:image/webp"
        return np.asarray(Image.open(io.BytesIO(file)).convert("L")).max()

    loud, faint = sine(440), 0.01 * sine(440)
    assert abs(int(brightest(loud)) - int(brightest(faint))) < 5
    assert brightest(loud, top_db=0.0) > brightest(faint, top_db=0.0) + 60


def test_loudness_is_that_of_bs_1770():
    """The recommendation prints these coefficients for 48 kHz, and the level of a sine."""
    b, a = _shelf(48000)
    np.testing.assert_allclose(
        b, [1.53512485958697, -2.69169618940638, 1.19839281085285], rtol=1e-9
    )
    np.testing.assert_allclose(a, [1, -1.69065929318241, 0.73248077421585], rtol=1e-9)
    np.testing.assert_allclose(_high_pass(48000)[1], [1, -1.99004745483398, 0.99007225036621])
    for rate in (16000, 48000):
        assert pages.loudness_db(sine(997, 2.0, rate), rate) == pytest.approx(-3.01, abs=0.05)
    both = np.repeat(sine(997, 2.0), 2, axis=1)
    assert pages.loudness_db(both, RATE) == pytest.approx(0.0, abs=0.05)
    assert pages.loudness_db(np.zeros((0, 2)), RATE) == -np.inf


def test_levels_are_matched_to_the_quietest_that_is_not_silent():
    assert pages.matched_db([-20.0, -26.0, -np.inf, -23.0]) == [-6.0, 0.0, 0.0, -3.0]
    assert pages.matched_db([-20.0, -60.0]) == [-12.0, 0.0]


def test_a_document_runs_its_own_scripts_and_shows_text_as_text():
    sound = pages.Sound("<b>", audio="data:audio/ogg;base64,AA==", note="a & b", match_db=-3.0)
    page = pages.document("A <title>", pages.player({"vocals": [sound, sound], "": [sound]}, 61.25))
    assert page.count("<audio") == page.count('class="track"') == 3
    assert page.count('class="row"') == 2
    assert "A &lt;title&gt;" in page
    assert "<b>" not in page
    assert "1:01.2" in page
    addresses = re.findall(r"(?:src|href)=\"(?!data:)|url\(|@import|https?://", page)
    assert addresses == []
