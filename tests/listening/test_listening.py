"""What is heard in recordings: windows, tables, the verb, and what is refused."""

import csv
import json
import sys

import numpy as np
import pytest
import soundfile

from kzoo import api, cli, config, listening, models, presets
from kzoo.data import labelled
from kzoo.engines import litert

RATE = 8000
WINDOW = 4000


@pytest.fixture(scope="module")
def ear(tmp_path_factory):
    """A preset of the tiny tagger, whose weights are random."""
    import keras

    keras.utils.set_random_seed(3)
    card = {
        "name": "ear", "task": "listening", "sample_rate": RATE, "channels": 1,
        "trained": "not at all", "model": {"name": "choi", "options": {"variant": "tiny"}},
    }  # fmt: skip
    model = models.build("choi", variant="tiny")
    return presets.save_to_preset(model, tmp_path_factory.mktemp("ear") / "preset", card)


@pytest.fixture(scope="module")
def listener(ear):
    return listening.Listener(ear, hop_seconds=0.3)


@pytest.fixture
def wave():
    """Two seconds and a bit, louder all the time."""
    samples = 17_000
    noise = np.random.default_rng(0).normal(0, 0.2, (samples, 1))
    return (noise * np.linspace(0.01, 1, samples)[:, None]).astype(np.float32)


def test_windows_are_those_of_the_recording_and_the_last_ends_with_it(listener, wave, ear):
    heard = listener(wave, RATE)
    starts = [0, 2400, 4800, 7200, 9600, 12000, 13000]
    np.testing.assert_allclose(heard.starts_seconds * RATE, starts, atol=0.01)
    np.testing.assert_allclose(heard.ends_seconds[-1] * RATE, len(wave), atol=0.01)
    model = presets.from_preset(ear, samples=WINDOW)
    expected = model(np.stack([wave[k : k + WINDOW] for k in starts]))
    np.testing.assert_allclose(heard.probabilities, expected, atol=1e-5)
    np.testing.assert_allclose(heard.mean, np.mean(expected, axis=0), atol=1e-5)
    assert heard.embeddings.shape == (7, 8)


@pytest.mark.parametrize("block", [1, 997, 4000, 12_345])
def test_blocks_of_any_length_give_what_the_whole_gives(listener, wave, block):
    wave = wave[:5000] if block == 1 else wave
    parts = [wave[k : k + block] for k in range(0, len(wave), block)]
    found, whole = listener.gathered(listener.windows(parts, RATE)), listener(wave, RATE)
    for ours, theirs in zip(found[1:], whole[1:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_short_recording_goes_on_in_silence(listener, wave, ear):
    heard = listener(wave[:1000], RATE)
    padded = np.pad(wave[:1000], ((0, WINDOW - 1000), (0, 0)))[None]
    np.testing.assert_allclose(
        heard.probabilities, presets.from_preset(ear, samples=WINDOW)(padded), atol=1e-5
    )
    assert heard.ends_seconds[0] == 0.125


def test_tags_are_the_likeliest_first(ear, wave):
    found = api.tag(wave, RATE, ear, top=None)
    assert sorted(name for name, _ in found) == ["high", "low"]
    assert found[0][1] >= found[1][1]
    assert api.tag(wave, RATE, ear, top=1) == found[:1]
    assert api.tag(wave, RATE, ear, threshold=1.0) == []
    assert api.embed(wave, RATE, ear).shape == (5, 8)


def test_litert_says_what_tensorflow_says_with_embeddings(ear, listener, wave):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    assert not litert.is_made(presets.open_preset(ear))
    by_litert = listening.Listener(ear, hop_seconds=0.3, engine="litert")
    assert litert.is_made(presets.open_preset(ear))  # so that "auto" takes it from now on
    found, expected = by_litert(wave, RATE), listener(wave, RATE)
    assert found.names == expected.names
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    with pytest.raises(ValueError, match="device needs TensorFlow; leave it or engine litert out"):
        listening.Listener(ear, engine="litert", device="cpu")


def test_an_exported_file_takes_the_place_of_its_preset(ear, listener, wave, tmp_path, run):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    card = presets.load_card(ear)
    card["model"]["options"]["hop_seconds"] = 0.3  # as windows overlap in the file's card, too
    model = presets.from_preset(ear)
    overlapping = presets.save_to_preset(model, tmp_path / "preset", card)
    file = api.export(overlapping, "tflite", tmp_path / "out")["path"]
    heard, expected = listening.Listener(file)(wave, RATE), listener(wave, RATE)
    np.testing.assert_allclose(heard.probabilities, expected.probabilities, atol=1e-4)
    np.testing.assert_array_equal(heard.starts_seconds, expected.starts_seconds)
    assert heard.embeddings is None
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    status, out, _ = run(tmp_path / "a.wav", "-p", file, "-o", tmp_path / "out")
    assert (status, out.startswith("a.wav: ")) == (0, True)
    assert (tmp_path / "out" / "a.csv").is_file()
    err = run(tmp_path / "a.wav", "-p", file, "-o", tmp_path / "out", "--embed")[2]
    assert "gives tags and no embeddings; leave --embed out" in err
    assert (
        "LiteRT runs; leave the engine out"
        in run(tmp_path / "a.wav", "-p", file, "--engine", "tensorflow")[2]
    )
    with pytest.raises(ValueError, match=r"gives tags and no embeddings"):
        api.embed(wave, RATE, file)


def test_presets_and_hops_that_do_not_fit_are_refused(ear):
    with pytest.raises(presets.PresetError, match="crepe_tiny is no listener; its task is pitch"):
        listening.Listener("crepe_tiny")
    with pytest.raises(ValueError, match=r"hop_seconds must be above 0 and at most 0.5"):
        listening.Listener(ear, hop_seconds=2.0)


@pytest.fixture
def run(monkeypatch, capfd):
    """Run `kzoo tag WORDS...`; returns (exit status, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", "tag", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capfd.readouterr()

    return call


@pytest.fixture
def recordings(tmp_path, wave):
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    soundfile.write(tmp_path / "b.flac", np.repeat(wave, 2, axis=1), 2 * RATE)
    (tmp_path / "bad.wav").write_text("no sound")
    return tmp_path


def test_one_bad_file_loses_nothing_and_files_hold_what_the_listener_says(run, recordings, ear):
    files = [recordings / name for name in ("a.wav", "bad.wav", "b.flac")]
    status, out, err = run(
        *files, "-p", ear, "-o", recordings / "out", "--embed", "--plot", "--hop", 0.3, "--top", 1
    )
    assert status == 1
    assert [line.split(": ")[0] for line in out.splitlines()] == ["a.wav", "b.flac"]
    assert "bad.wav" in err
    names = [f"{name}.{ending}" for name in "ab" for ending in ("csv", "npy", "png")]
    assert sorted(path.name for path in (recordings / "out").iterdir()) == names
    heard = listening.Listener(ear, hop_seconds=0.3)(*soundfile.read(files[0]))
    with open(recordings / "out" / "a.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["start_s", "end_s", "low", "high"]
    table = np.array(rows, float)
    np.testing.assert_allclose(table[:, 0], heard.starts_seconds, atol=6e-4)
    np.testing.assert_allclose(table[:, 2:], heard.probabilities, atol=6e-5)
    embeddings = np.load(recordings / "out" / "a.npy")
    np.testing.assert_allclose(embeddings, heard.embeddings, rtol=1e-5)
    ((name, mean),) = heard.top(1)
    assert out.startswith(f"a.wav: {name} {mean:.2f}\n")


def test_the_verb_says_what_it_cannot_do(run, recordings, ear):
    song = recordings / "a.wav"
    assert run(song, "-p", ear, "--embed")[2].count("--embed writes files: name their folder") == 1
    assert "is no listener; its task is pitch" in run(song, "-p", "crepe_tiny")[2]
    assert "no tag reaches 1" in run(song, "-p", ear, "--threshold", 1)[1]
    assert "-o is a folder here" in run(song, "-p", ear, "-o", "-")[2]


def test_a_tree_a_table_a_corpus_reads_the_same(tmp_path, wave):
    for label in ("low", "high"):
        (tmp_path / "tree" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "tree" / label / "x.wav", wave, RATE)
    (tmp_path / "tree" / "table.csv").write_text("file,tags\nlow/x.wav,low\nhigh/x.wav,high;odd\n")
    rows = [{"file": "low/x.wav", "tags": ["low"]}, {"file": "high/x.wav", "tags": ["high"]}]
    (tmp_path / "tree" / "table.json").write_text(json.dumps(rows))
    names = ["low", "high"]
    for place in ("", "table.csv", "table.json"):
        corpus = labelled.labelled(tmp_path / "tree" / place, names=names)
        truth = {name: corpus.truth[k].tolist() for k, (name, _) in enumerate(corpus.tracks)}
        assert truth == {"low/x": [1, 0], "high/x": [0, 1]}
    example = corpus.read(0, 16_000, 2000)  # half of it lies behind the end
    np.testing.assert_allclose(example["mixture"][:1000], wave[16_000:], atol=1e-4)
    assert not example["mixture"][1000:].any()
    half = labelled.labelled(tmp_path / "tree", names=["low"], include=["low/*"], sample_rate=4000)
    assert half.tracks == [("low/x", 8500)]


@pytest.mark.parametrize(("text", "message"), [
    ("file,genre\na.wav,low\n", "a table needs the columns file and tags"),
    ("file,tags\nnone.wav,low\n", "1 files are not there, such as"),
    ("file,tags\na.wav,other\n", "no recording is called low; there are other"),
])  # fmt: skip
def test_tables_that_are_none_are_refused(text, message, tmp_path, wave):
    soundfile.write(tmp_path / "a.wav", wave, RATE)
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        labelled.labelled(tmp_path / "table.csv", names=["low"])
    with pytest.raises((ValueError, config.ConfigError), match="is not there"):
        labelled.labelled(tmp_path / "nowhere")
