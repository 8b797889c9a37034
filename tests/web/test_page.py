"""The web page in headless Chromium: what it saves is what Python makes with the same files."""

import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import made_artefacts
import numpy as np
import pytest
import soundfile
from made_artefacts import BLOCK, RATE, SOURCES, decibels
from made_browser import browser

from kzoo import web
from kzoo.deploy import examples
from kzoo.separation.levels import GatedLevel

ROOT = Path(__file__).parents[2]
CONSUMERS = ROOT / "export" / "consumers"
NODE_MODULES = Path(sys.prefix) / "litert-js" / "node_modules"
READY = "document.querySelector('#runtime').textContent.startsWith('Ready')"
DONE = "import('./main.js').then(({ state }) => state.done && state.recording.name)"
SAID = "document.querySelector('#message').textContent"

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
if not NODE_MODULES.is_dir():
    pytest.skip("LiteRT.js is not installed: make puts it there by npm", allow_module_level=True)


@contextlib.contextmanager
def served(folder):
    """The address of a page that is served meanwhile."""
    server = web.serve(folder, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page of a tiny U-Net of blocks of 0.2 s, at 8 kHz."""
    _, cards = made_artefacts.bundle(tmp_path_factory.getbasetemp())
    place = tmp_path_factory.mktemp("page") / "tiny"
    return web.write_page(
        place, list(cards.values()), licences="none", node_modules=NODE_MODULES
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    with served(folder) as url, browser(tmp_path_factory.mktemp("browser")) as page:
        page.open(url)
        page.wait(READY)
        yield page
        assert not page.errors


def consumer(name):
    """A program of export/consumers as a module."""
    spec = importlib.util.spec_from_file_location(name, CONSUMERS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_blocks(model, wav):
    """{source: [samples, channels]} of a WAV, by the program that apps are shown."""
    program = consumer("separate_tflite")
    card = {**json.loads(model.with_suffix(".json").read_text()), "asked": None}
    run = program.load(model, card, threads=1)
    overlap = card.get("overlap_samples", min(card["sample_rate"], card["block_samples"] // 4))
    with contextlib.closing(program.open_wav(wav)) as reader:
        pieces = list(program.blocks(run, reader, card, overlap, program.count_samples(reader)))
    stems = {s: np.concatenate([piece[s] for piece in pieces]) for s in card["sources"]}
    width = soundfile.info(wav).channels
    return {s: x.mean(axis=1, keepdims=True) if width == 1 else x for s, x in stems.items()}


def separated(page, wav):
    """What the page saves of each track of a recording."""
    page.choose("#file", wav)
    assert page.wait(f"{SAID} || {DONE}") == wav.stem
    return {name: saved(page, wav, name) for name in page.evaluate(
        "[...document.querySelectorAll('.track h2')].map((title) => title.textContent)"
    )}  # fmt: skip


def saved(page, wav, name):
    path = page.downloads / f"{wav.stem}_{name}.wav"
    path.unlink(missing_ok=True)
    page.click(f"[aria-label='Download {name}']")
    sound, _ = soundfile.read(page.downloaded(path.name), dtype="float32", always_2d=True)
    return sound


@pytest.mark.parametrize(
    ("name", "samples", "channels"),
    [("song", 3 * BLOCK - 77, 2), ("voice", BLOCK + 1, 1), ("click", 5, 2)],
)
def test_stems_are_those_of_python_to_the_length_and_over_the_joins(
    folder, page, tmp_path, name, samples, channels
):
    wav = tmp_path / f"{name}.wav"
    soundfile.write(wav, made_artefacts.song()[:samples, :channels], RATE, subtype="PCM_16")
    expected = in_blocks(folder / "models" / "tiny_fp32.tflite", wav)
    found = separated(page, wav)
    heard, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    np.testing.assert_array_equal(found.pop("original"), heard)
    assert set(found) == set(SOURCES)
    for source, stem in expected.items():
        assert found[source].shape == (samples, channels)
        assert decibels(stem, found[source]) > 100


def test_what_is_heard_is_the_sum_of_what_is_not_muted(page, tmp_path):
    wav = tmp_path / "heard.wav"
    soundfile.write(wav, made_artefacts.song()[: 2 * BLOCK], RATE, subtype="PCM_16")
    stems = separated(page, wav)
    # The page's own player, which renders into a buffer in place of a loudspeaker.
    heard = np.float32(page.evaluate("""(async () => {
      const { state } = await import('./main.js'), { Player } = await import('./player.js');
      const context = new OfflineAudioContext(2, 4096, 8000);
      const player = await Player.on(context);
      player.reset(2);
      for (const piece of state.player.pieces) await player.add(piece);
      player.setGains([0, 1, 0.5]);
      await player.play(true);
      await new Promise((resolve) => setTimeout(resolve, 50));
      const sound = await context.startRendering();
      return [0, 1].map((c) => [...sound.getChannelData(c)]);
    })()""")).T  # fmt: skip
    mixed = stems["vocals"] + 0.5 * stems["accompaniment"]
    assert len(mixed) == 2 * BLOCK < len(heard)
    np.testing.assert_allclose(heard[: len(mixed)], mixed, atol=1e-6)
    assert not np.any(heard[len(mixed) :])


def test_solo_and_mute_say_which_tracks_are_heard(page, tmp_path):
    wav = tmp_path / "block.wav"
    soundfile.write(wav, made_artefacts.song()[:BLOCK], RATE, subtype="PCM_16")
    separated(page, wav)
    silent = "[...document.querySelectorAll('.track')].map((e) => e.classList.contains('silent'))"
    assert page.evaluate(silent) == [True, False, False]  # the original begins muted
    page.click("[aria-label='Solo vocals']")
    assert page.evaluate(silent) == [True, False, True]
    page.click("[aria-label='Solo vocals']")
    page.click("[aria-label='Mute vocals']")
    assert page.evaluate(silent) == [True, True, False]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("empty.wav", b"", "empty.wav is empty."),
        ("text.mp3", b"no sound at all", "text.mp3 is no sound that this browser can decode."),
        ("none.wav", None, "none.wav has no sound in it."),
    ],
)
def test_a_bad_file_is_one_line(page, tmp_path, name, content, line):
    path = tmp_path / name
    if content is None:
        soundfile.write(path, np.zeros((0, 2)), RATE)
    else:
        path.write_bytes(content)
    page.choose("#file", path)
    assert page.wait(SAID) == line
    page.evaluate("document.querySelector('#message').textContent = ''")


def test_a_broken_network_is_one_line(folder, page, tmp_path):
    broken = shutil.copytree(folder, tmp_path / "page")
    network = broken / "models" / "tiny_fp32.tflite"
    network.write_bytes(network.read_bytes()[:-100])
    there = page.evaluate("location.href")
    with served(broken) as url:
        page.open(url)
        assert page.wait(SAID) == (
            "tiny_fp32.tflite is broken or another file: its card names other bytes."
        )
    page.open(there)
    page.wait(READY)


@pytest.fixture(scope="module")
def real_page(tmp_path_factory):
    """A maker of the page of a preset that comes with kzoo, as the recipe writes it."""
    out = tmp_path_factory.mktemp("real")

    def make(preset):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(ROOT)  # export/ is no package: recipes run from the root
            recipe = importlib.import_module("export.web")
            words = ["-p", preset, "-o", str(out), "--node-modules", str(NODE_MODULES)]
            assert recipe.main([*words, "--precision", "fp32"]) == 0
        return out / preset

    return make


def noted(line):
    """Shown with -s: what the guide says was measured."""
    print(f"\n{line}")


@pytest.mark.slow
def test_a_song_of_a_minute_is_separated_as_python_does(real_page, tmp_path):
    folder, wav = real_page("unet_2stems_mobile"), tmp_path / "song.wav"
    song = examples._synthetic(44100, 2, 60 * 44100)
    soundfile.write(wav, song, 44100, subtype="PCM_16")
    expected = in_blocks(folder / "models" / "unet_2stems_mobile_fp32.tflite", wav)
    with served(folder) as url, browser(tmp_path / "browser") as page:
        page.look()
        page.open(url)
        page.wait(READY)
        found = separated(page, wav)
        noted(f"{page.text('#runtime')}: {page.text('#facts')}")
        page.click("#play")
        page.wait("document.querySelector('#clock').textContent > '0:01.0'")
        page.click("#play")
        if place := os.environ.get("KZOO_SCREENSHOTS"):
            screenshots(page, Path(place))
        assert not page.errors
    for source, stem in expected.items():
        assert found[source].shape == stem.shape == (60 * 44100, 2)
        level = decibels(stem, found[source])
        noted(f"{source}: {level:.1f} dB from LiteRT in Python, joins included")
        assert level > 100


def screenshots(page, place):
    """light.png, dark.png and phone.png of what the page shows."""
    place.mkdir(parents=True, exist_ok=True)
    for name, size, dark in (
        ("light", (1100, 900), False),
        ("dark", (1100, 900), True),
        ("phone", (390, 844), False),
    ):
        page.look(*size, dark=dark)
        page.screenshot(place / f"{name}.png")


@pytest.mark.slow
def test_a_voice_is_cleaned_by_the_stream_whole_and_live(real_page, tmp_path):
    folder, wav = real_page("gtcrn_speech"), tmp_path / "talk.wav"
    voice, _ = examples.noisy_speech(16000, 1, 10 * 16000, level_db=-20.0)
    soundfile.write(wav, voice, 16000, subtype="PCM_16")
    voice, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    level = GatedLevel(16000)
    level.add(voice)
    stream, card = consumer("stream_tflite"), folder / "models" / "gtcrn_speech_fp32.json"
    card = json.loads(card.read_text())

    def cleaned(sound):
        step = stream.load(folder / "models" / "gtcrn_speech_step.tflite", 1, {})
        return np.reshape(stream.through(step, sound, card)[0], -1)

    gain = np.float32(10 ** ((card["level_db"] - level.db) / 20))
    microphone = f"--use-file-for-fake-audio-capture={wav}"
    with (
        served(folder) as url,
        browser(tmp_path / "browser", "--use-fake-device-for-media-stream", microphone) as page,
    ):
        page.open(url)
        page.wait(READY)
        found = separated(page, wav)["speech"]
        noted(f"{page.text('#runtime')}: {page.text('#facts')}")
        assert found.shape == voice.shape
        whole = decibels(cleaned(gain * voice[:, 0]) / gain, found[:, 0])
        noted(f"speech: {whole:.1f} dB from LiteRT in Python")
        assert whole > 100
        for button in ("#as-live", "#live"):
            page.click(button)
            page.wait("document.querySelector('#latency').textContent.includes('Gaps')")
            time.sleep(4)
            noted(f"{button}: {page.text('#latency')}")
            page.click("#stop")
            live = Path("live.wav")
            noisy, clean = (saved(page, live, name)[:, 0] for name in ("original", "speech"))
            assert len(noisy) == len(clean) > 3 * 16000
            # As it comes, no level is known: the stream hears the sound as it is. What would have
            # come after the end is not there.
            late, end = card["stream"]["delay_samples"], len(clean) - 2048
            assert decibels(cleaned(noisy[late:])[: end - late], clean[late:end]) > 100
        assert not page.errors
