"""kzoo compare: one recording, several systems, and a page that plays them in step."""

import re
import time

import numpy as np
import pytest
import soundfile
from made_browser import browser

from kzoo import api, comparison, evaluation
from kzoo.api.systems import comparison_systems
from kzoo.cli import terminal

RATE = 8000


def signal(seed, seconds=1.0, channels=2):
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal((round(seconds * RATE), channels)).astype(np.float32)


def separation(name, stems, **options):
    return evaluation.Separation(name, tuple(stems), lambda *_: stems, **options)


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A recording of 2 s, and a folder of two stems that are the same stretch of it."""
    folder = tmp_path_factory.mktemp("material")
    vocals, rest = signal(0, 2.0), signal(1, 2.0)
    soundfile.write(folder / "song.wav", vocals + rest, RATE, subtype="FLOAT")
    for place in (folder / "stems", folder / "written" / "song"):
        place.mkdir(parents=True)
        soundfile.write(place / "vocals.wav", 0.5 * vocals, RATE, subtype="FLOAT")
        soundfile.write(place / "accompaniment.wav", rest, RATE, subtype="FLOAT")
        soundfile.write(place / "mixture.wav", vocals + rest, RATE, subtype="FLOAT")
    (folder / "empty").mkdir()
    return folder


def rows_of(text):
    """{row: names of its sounds} of a page."""
    rows = re.findall(
        r'<div class="row".*?<h2>(.*?)</h2>(.*?)(?=<div class="row"|</section>)', text, re.S
    )
    return {title: re.findall(r'class="listen".*?>(.*?)<', inside) for title, inside in rows}


def test_a_row_has_each_system_that_gives_a_stem_or_sums_it_up():
    two = {"vocals": np.float32([1]), "accompaniment": np.float32([6])}
    four = {
        "drums": np.float32([2]),
        "bass": np.float32([3]),
        "other": np.float32([4]),
        "vocals": np.float32([5]),
    }
    rows = comparison.rows({"four": four, "two": two})
    assert list(rows) == ["vocals", "accompaniment", "drums", "bass", "other"]
    assert {title: list(row) for title, row in rows.items()}["drums"] == ["four"]
    assert list(rows["accompaniment"]) == ["four", "two"]
    assert rows["accompaniment"]["four"] == [9]


def test_a_page_holds_mixture_stems_and_residual_of_the_stretch(material, tmp_path):
    song = material / "song.wav"
    written = api.compare(
        song, [f"a={material / 'stems'}", f"b={material / 'written'}"], tmp_path / "page.html",
        start_seconds=0.5, duration_seconds=0.5, format="flac",
    )  # fmt: skip
    text = written.path.read_text("utf-8")
    assert rows_of(text) == {
        "mixture": ["mixture"], "vocals": ["a", "b"], "accompaniment": ["a", "b"],
        "residual": ["a", "b"],
    }  # fmt: skip
    assert 'data-seconds="0.5' in text
    assert "0.5 to 1.0 s" in text
    assert written.notes == []


def test_speakers_stand_in_the_order_of_the_first_system(material, tmp_path):
    one, other = signal(0, 2.0), signal(1, 2.0)
    first = separation("first", {"a": one, "b": other}, interchangeable=True)
    swapped = separation("swapped", {"a": 0.5 * other, "b": 0.5 * one}, interchangeable=True)
    heard = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            comparison, "page", lambda title, mix, systems, *_, **__: heard.update(systems) or ""
        )
        comparison.compare(material / "song.wav", [first, swapped], tmp_path / "page.html")
    np.testing.assert_array_equal(heard["swapped"]["a"], 0.5 * one)
    np.testing.assert_array_equal(heard["first"]["a"], one)


@pytest.mark.parametrize(
    ("systems", "options", "message"),
    [
        (["stems"], {}, "at least two systems; got stems"),
        (["stems", "stems"], {}, "two systems are called 'stems'"),
        (["stems", "mixture"], {}, "mixture cannot be compared by ear"),
        (["stems", "nothing"], {}, "nothing"),
        (["stems", "a=empty"], {}, "holds no stems"),
        (["stems", "a=written"], {"format": "mp3"}, "format must be ogg or flac; got 'mp3'"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_said(
    material, monkeypatch, tmp_path, systems, options, message
):
    monkeypatch.chdir(material)
    with pytest.raises(ValueError, match=re.escape(message)):
        api.compare("song.wav", systems, tmp_path / "page.html", **options)
    assert not list(tmp_path.iterdir())


def test_a_method_without_training_is_a_system_that_waits_for_no_tensorflow():
    (method,) = comparison_systems(["repet_sim"])
    assert isinstance(method, evaluation.Separation)
    assert terminal.quietly(method) is method
    preset = separation("model", {"vocals": signal(0)}, known_by={"preset": "model"})
    assert terminal.quietly(preset) is not preset


def test_a_page_that_is_there_is_kept(material, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    systems = [f"a={material / 'stems'}", f"b={material / 'written'}"]
    with pytest.raises(FileExistsError, match="overwrite"):
        api.compare(material / "song.wav", systems, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"


def test_stems_of_another_length_are_told_of(material, tmp_path):
    short = separation("short", {"vocals": signal(0, 1.0), "accompaniment": signal(1, 2.0)})
    folder = comparison.StemsFolder("whole", material / "stems")
    written = comparison.compare(material / "song.wav", [folder, short], tmp_path / "page.html")
    assert written.notes == [
        "short: vocals lasts 1.0 s and the stretch 2.0 s; both are taken to begin together"
    ]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A page of two systems whose stems are constants, so that what is heard can be measured."""
    folder = tmp_path_factory.mktemp("page")
    rate = 44100
    ramp = np.linspace(0, 0.5, rate, dtype=np.float32)[:, None].repeat(2, axis=1)
    tone = 0.25 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate, dtype=np.float32)[:, None]
    systems = {
        "loud": {"vocals": ramp, "accompaniment": tone.repeat(2, axis=1)},
        "quiet": {"vocals": ramp, "accompaniment": 0.5 * tone.repeat(2, axis=1)},
    }
    text = comparison.page("A <song>", ramp, systems, rate, format="flac", facts=["1 s"])
    (folder / "page.html").write_text(text, encoding="utf-8")
    with browser(folder / "browser") as page:
        page.call("Network.enable")
        page.open((folder / "page.html").as_uri())
        yield page
        assert page.errors == []


def press(page, key):
    for kind in ("rawKeyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key)


NAMES = (
    "[...document.querySelectorAll('.row')[1].querySelectorAll('.listen')]"
    ".map((button) => button.textContent)"
)


@pytest.mark.slow
def test_switching_keeps_the_position_without_a_gap_or_a_click(page):
    """Rendered by the page's own player: two sounds that are the same ramp are one ramp."""
    heard = np.float32(page.evaluate("""(async () => {
      const context = new OfflineAudioContext(1, 44100, 44100);
      const uris = panel.tracks.slice(1, 3).map((track) => track.querySelector('audio').src);
      const buffers = await Promise.all(uris.map((uri) => context.decodeAudioData(bytesOf(uri))));
      const sounds = new Synchronised(context, buffers, 1);
      sounds.play();
      context.suspend(0.5).then(() => { sounds.hear(1); context.resume(); });
      return [...(await context.startRendering()).getChannelData(0)];
    })()"""))  # fmt: skip
    expected = np.linspace(0, 0.5, 44100)
    np.testing.assert_allclose(heard[4410:], expected[4410:], atol=2e-4)
    assert np.abs(np.diff(heard)).max() < 2e-4


@pytest.mark.slow
def test_all_sounds_play_in_step_and_one_is_heard(page):
    press(page, " ")
    page.wait("panel.playing && panel.position > 0.1")
    before = page.evaluate("panel.position")
    press(page, "ArrowDown")
    press(page, "2")
    after = page.evaluate("[panel.position, panel.tracks[panel.heard].dataset.name, panel.heard]")
    assert before <= after[0] < before + 0.7
    assert after[1:] == ["quiet", 2]
    assert page.evaluate("new Set(panel.sounds.buffers.map((buffer) => buffer.length)).size") == 1
    time.sleep(0.1)
    assert page.evaluate("panel.sounds.gains.map((gain) => Math.round(gain.gain.value))") == [
        0, 0, 1, 0, 0, 0, 0
    ]  # fmt: skip
    page.wait("!panel.playing")  # at the end
    assert page.evaluate("document.querySelector('.play').getAttribute('aria-label')") == "Play"
    press(page, "ArrowLeft")
    assert page.evaluate("panel.position") == pytest.approx(0.0, abs=0.01)


@pytest.mark.slow
def test_levels_are_matched_to_the_quieter(page):
    page.click("#match")
    levels = page.evaluate("panel.load().then(() => panel.sounds.levels)")
    assert levels[3] == pytest.approx(0.5, abs=0.01)
    assert levels[4] == 1
    page.click("#match")
    assert page.evaluate("panel.sounds.levels") == [1] * 7


@pytest.mark.slow
def test_a_blind_test_hides_the_names_and_counts_what_was_preferred(page):
    assert page.evaluate(NAMES) == ["loud", "quiet"]
    orders = set()
    for count in range(1, 13):
        page.click("#blind")
        assert page.evaluate(NAMES) == ["A", "B"]
        assert "loud" not in page.evaluate("document.querySelector('main').innerText")
        orders.add(
            page.evaluate(
                "document.querySelectorAll('.row')[1].querySelector('.track').dataset.name"
            )
        )
        page.evaluate(
            "document.querySelector('.row:nth-of-type(3) [data-name=quiet] .prefer').click()"
        )
        page.click("#reveal")
        assert page.text("#verdict").endswith(f"Preferred: loud 0, quiet {count}.")
        if len(orders) == 2:
            break
    assert orders == {"loud", "quiet"}  # by chance, once in 2000 runs not
    assert page.evaluate(NAMES) == ["loud", "quiet"]


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1100, False), (1100, True), (400, False)])
def test_nothing_is_wider_than_the_window(page, tmp_path, width, dark):
    page.look(width, 900, dark=dark)
    page.screenshot(tmp_path / "page.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_the_page_fetches_nothing(page):
    addresses = "performance.getEntriesByType('resource').map((entry) => entry.name)"
    assert [name for name in page.evaluate(addresses) if not name.startswith("data:")] == []
    assert (
        page.evaluate("fetch('https://example.org/').then(() => 'fetched', () => 'refused')")
        == "refused"
    )
    page.errors.clear()  # the refusal
