"""Kotlin and Swift for apps: made of cards, and compiled and run where there is a compiler."""

import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import BlockSeparator, System
from kzoo.separation.levels import GatedLevel

ROOT = Path(__file__).parents[2]
STAND_IN = Path(__file__).parent / "kotlin"  # for LiteRT, and a program that runs the classes
BLOCK, OVERLAP = 6, 2
CARD = {
    "name": "small", "path": "out/small_fp32.tflite", "sample_rate": 40, "channels": 2,
    "block_samples": BLOCK, "overlap_samples": OVERLAP, "sources": ["low", "high"],
    "signature": "serving_default", "input": "waveform", "versions": {"kzoo": "0.1"},
    "licences": {"code": "Apache-2.0 (kzoo)"}, "summary": "halves and\n  quarters",
    "level_db": -26.0,
}  # fmt: skip
STREAM = {"file": "small_stream.tflite", "frames": 2, "hop_length": 3, "delay_samples": 12}
JOINING = {"linear": True, "centred": True, "standardised": True}
ASKED = {"input": "condition", "names": ["vocals", "drums"]}


class Runner:
    """What LiteRT says of the file of the stream."""

    def get_input_details(self):
        return {"waveform": {"shape": np.array([1, BLOCK, 2])}}

    def get_output_details(self):
        return {"speech": {"shape": np.array([1, BLOCK, 2])}}

    def get_signature_runner(self, name):
        assert name == "step"
        return self


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The classes of separators that stream, that join blocks, and that are told what to give."""
    folder = tmp_path_factory.mktemp("classes")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)
        from export import app_classes

        patch.setattr("kzoo.deploy.interpreter.open_litert", lambda *_, **__: Runner())
        app_classes.write([{**CARD, "stream": STREAM}], folder)
        speakers = {"name": "speakers", "sources": ["one", "two"], "interchangeable": True}
        app_classes.write([{**CARD, **speakers}], folder)
        joined = {**CARD, "name": "joined", "sources": ["bent"], "joining": JOINING}
        app_classes.write([{**joined, "name": "late", "joining": {"centred": True}}], folder)
        del joined["level_db"]
        app_classes.write([joined], folder)
        with pytest.raises(ValueError, match="joined: its blocks are joined mirrored, which"):
            app_classes.write([{**joined, "joining": {"mirrored": True}}], folder)
        told = {**CARD, "name": "told", "sources": ["estimate"], "condition": ASKED}
        said = app_classes.write([told], folder)
    assert said == "classes for apps: kotlin/Told.kt, swift/Told.swift"
    return folder


def test_classes_hold_the_numbers_of_this_very_file(folder):
    names = {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}
    assert names == {
        f"{language}/{name}.{suffix}"
        for language, suffix in (("kotlin", "kt"), ("swift", "swift"))
        for name in ("Joined", "Late", "Small", "SmallStream", "Speakers", "Told")
    }
    kotlin, swift, stream, told = (
        (folder / name).read_text()
        for name in ("kotlin/Small.kt", "swift/Small.swift", "kotlin/SmallStream.kt",
                     "swift/Told.swift")
    )  # fmt: skip
    assert "small_fp32.tflite: halves and quarters; made for recordings at -26 dBFS\n" in kotlin
    assert "// code: Apache-2.0 (kzoo)\n" in kotlin
    for line in ("SAMPLE_RATE = 40", "BLOCK = 6", "OVERLAP = 2", 'listOf("low", "high")'):
        assert line in kotlin
    assert 'public static let outputs = ["low", "high"]' in swift
    assert "public static let block = 6" in swift
    for line in ("HOP = 6", "DELAY = 12", 'linkedMapOf("waveform" to 12)'):
        assert line in stream
    assert 'data(waveform), "condition": data(shares)]' in told
    assert not [path for path in folder.glob("*/*") if "__" in path.read_text()]


@pytest.mark.parametrize("language", ["kotlin", "swift"])
def test_classes_and_the_sample_are_grammatical(language, folder):
    tree_sitter = pytest.importorskip("tree_sitter", reason="pip install 'kzoo[dev]'")
    grammar = pytest.importorskip(f"tree_sitter_{language}", reason="pip install 'kzoo[dev]'")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    for path in (folder / language).iterdir():
        assert not parser.parse(path.read_bytes()).root_node.has_error, path


@pytest.fixture(scope="module")
def said(folder):
    """What the classes say of 13 samples: {what: lines of numbers or words}."""
    if shutil.which("kotlinc") is None:
        pytest.skip("no kotlinc: apt-get install kotlin")
    resampler = (ROOT / "export" / "templates" / "android" / "Resampler.kt").read_text()
    (folder / "kotlin" / "Resampler.kt").write_text(resampler)
    sources = [*(folder / "kotlin").iterdir(), *STAND_IN.iterdir()]
    jar = folder / "app.jar"
    subprocess.run(["kotlinc", *sources, "-d", jar], check=True, capture_output=True)
    sound = np.random.default_rng(0).normal(size=(13, 2)).astype(np.float32)
    run = subprocess.run(
        ["kotlin", "-cp", str(jar), "MainKt"], input=" ".join(map(str, sound.reshape(-1))) + "\n",
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    lines = [line.partition(" ") for line in run.stdout.splitlines()]
    found = {}
    for what, _, rest in lines:
        found.setdefault(what, []).append(rest)
    return sound, found


def numbers(said, what):
    return np.array(said[what][0].split(), np.float64).reshape(-1, 2)


@pytest.mark.slow
def test_kotlin_separates_in_blocks_that_fade_into_each_other(said):
    """The stand-in multiplies by the number of its call, so that every block is another."""
    sound, said = said
    hop = BLOCK - OVERLAP
    fade = np.sin(0.5 * np.pi * (np.arange(OVERLAP) + 0.5) / OVERLAP) ** 2
    factor, starts = np.zeros(13 + BLOCK), (0, 4, 8)
    for call, start in enumerate(starts, 1):
        weight = np.ones(BLOCK)
        weight[:OVERLAP] = fade if start else 1
        weight[hop:] = 1 - fade if start < starts[-1] else 1
        factor[start : start + BLOCK] += call * weight
    for name, share in (("low", 0.25), ("high", 0.75)):
        expected = share * factor[:13, None] * sound
        np.testing.assert_allclose(numbers(said, name), expected, atol=1e-5)


@pytest.mark.slow
def test_kotlin_joins_blocks_as_the_card_says(said):
    """Its last block has one sample, and is centred in what is there."""
    sound, said = said
    calls = itertools.count(1)
    separator = BlockSeparator(
        System(
            function=lambda block: next(calls) * np.tanh(block)[:, None], sources=("bent",),
            sample_rate=40, channels=2, standardised=True,
            grid=BlockGrid(BLOCK, BLOCK - OVERLAP, linear=True, centred=True),
        )
    )  # fmt: skip
    [expected] = separator.separate(sound, 40).values()
    np.testing.assert_allclose(numbers(said, "bent"), expected, atol=1e-5)


def gain_of(recording):
    """What brings a recording, silent behind its end, to the card's level."""
    level = GatedLevel(40)
    level.add(np.pad(recording, ((0, len(recording) % 2), (0, 0))))
    return 10 ** ((CARD["level_db"] - level.db) / 20)


@pytest.mark.slow
def test_kotlin_hears_what_comes_after_a_pause_in_a_block(said):
    sound, said = said
    recording = sound[:6] * (np.arange(6) >= 3)[:, None]
    calls, gain = itertools.count(1), gain_of(recording)
    separator = BlockSeparator(
        System(
            function=lambda block: next(calls) * np.tanh(gain * block)[:, None] / gain,
            sources=("bent",), sample_rate=40, channels=2,
            grid=BlockGrid(BLOCK, BLOCK - OVERLAP, centred=True),
        )
    )  # fmt: skip
    [expected] = separator.separate(recording, 40).values()
    assert np.abs(expected[3:]).min() > 0
    np.testing.assert_allclose(numbers(said, "late"), expected, atol=1e-5)


@pytest.mark.slow
def test_kotlin_keeps_speakers_in_order_and_brings_recordings_to_the_cards_level(said):
    sound, said = said
    pausing = sound[:12].copy()
    pausing[4:10] = 0
    calls, gain = itertools.count(1), 1.0

    def speakers(block):
        bent = np.tanh(4 * gain * block) + 0.01
        parts = [np.maximum(bent, 0), np.minimum(bent, 0)]
        return np.any(block) * np.stack(parts[:: 1 if next(calls) % 2 else -1], axis=1) / gain

    separator = BlockSeparator(
        System(
            function=speakers, sources=("one", "two"), sample_rate=40, channels=2,
            grid=BlockGrid(BLOCK, BLOCK - OVERLAP), interchangeable=True,
        )
    )  # fmt: skip
    for what, recording in (("sound", sound[:12]), ("pausing", pausing), ("short", sound[:1])):
        gain = gain_of(recording)
        for source, expected in separator.separate(recording, 40).items():
            np.testing.assert_allclose(numbers(said, f"{what}_{source}"), expected, atol=1e-5)
    assert not np.any(numbers(said, "silent_one"))


@pytest.mark.slow
def test_kotlin_asks_streams_resets_and_refuses(said):
    sound, said = said
    np.testing.assert_allclose(numbers(said, "remix"), 5 * sound, rtol=1e-5)  # drums by a half
    np.testing.assert_array_equal(numbers(said, "stream")[:, 0], np.repeat([0, 1, 2], BLOCK))
    np.testing.assert_array_equal(numbers(said, "reset"), 0)
    assert said["refused"] == [
        "this file takes 5 x 2 numbers, not 6 x 2",
        "waveform takes 12 numbers a step, not 3",
        "asked for [voice]; this file knows [vocals, drums]",
        "measure the recording first",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [48000, 22050])
def test_the_samples_resampler_keeps_a_tone_and_the_length(rate, said):
    """A tone of 1 kHz, in pieces of 1000 samples, to 44.1 kHz."""
    found = numbers(said[1], f"resampled{rate}")[:, 0]
    assert len(found) == -(-rate // 10 * 44100 // rate)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(found)) / 44100)
    inner = slice(200, -200)
    assert np.abs(found - expected)[inner].max() < 1e-3
