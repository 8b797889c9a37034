"""`kzoo separate` and `kzoo evaluate` of a preset that separates by clusters, without a network."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kzoo import audio, cli, config
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines import tensorflow
from kzoo.models import deep_clustering
from kzoo.presets import open_preset
from kzoo.separation import System
from kzoo.separation.clusters import clusters_survey

RATE, HOP = 8000, 100
LEVELS = (0.1, 0.3, 0.8)


def embed(block):
    """A hop's embedding says which of the levels it has; two bins a frame."""
    levels = np.abs(block[0, :, 0]).reshape(-1, HOP).max(axis=1)
    vectors = np.eye(3, dtype=np.float32)[np.searchsorted([0.2, 0.5], levels)]
    return np.stack([vectors] * 2, axis=1)[None], np.stack([levels] * 2, axis=1)[None]


def system(preset, **_):
    """In place of a network: each hop belongs to one source."""
    count = len(open_preset(preset).sources)

    def function(block, state):
        nearest = (embed(block)[0][0, :, 0] @ state.model.centres.T).argmax(axis=1)
        chosen = np.repeat(nearest, HOP)[:, None] == np.arange(count)[:, None, None]
        return (chosen * block[0])[None]

    return System(
        function=function, sources=open_preset(preset).sources, sample_rate=RATE, channels=1,
        grid=BlockGrid(20 * HOP, 20 * HOP), survey=clusters_survey(count, 20, embed),
        joint_survey=True,
    )  # fmt: skip


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Run `kzoo WORDS...` beside a preset, a talk of three and a corpus: (status, out, err)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tensorflow, "system", system)
    (tmp_path / "preset").mkdir()
    np.savez(tmp_path / "preset" / "weights.npz", some=np.zeros(3))
    options = dataclasses.asdict(deep_clustering.VARIANTS["tiny"])
    card = {
        "name": "clusters", "sources": ["speaker1", "speaker2"], "sample_rate": RATE,
        "model": {"name": "deep_clustering", "options": options}, "interchangeable": True,
        "trained": "not at all",
    }  # fmt: skip
    config.dump_yaml(card, tmp_path / "preset" / "card.yaml")
    whose = np.random.default_rng(0).integers(0, 3, 200)
    speakers = [np.repeat(np.where(whose == k, LEVELS[k], 0), HOP) for k in range(3)]
    soundfile.write("talk.wav", sum(speakers), RATE, subtype="FLOAT")
    Path("corpus/a").mkdir(parents=True)
    for k, speaker in enumerate(speakers):
        soundfile.write(f"corpus/a/speaker{k + 1}.wav", speaker, RATE, subtype="FLOAT")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", *words])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        return status, *capfd.readouterr()

    return call


def test_as_many_sources_as_are_asked_for_and_their_picture(run):
    words = ("separate", "talk.wav", "-p", "preset", "--bit-depth", "float32")
    status, _, err = run(*words)
    assert status == 0, err
    files = sorted(path.name for path in Path("out/talk").iterdir())
    assert files == ["speaker1.wav", "speaker2.wav"]
    status, _, err = run(*words, "--n-sources", "3", "--plot", "-o", "three")
    assert status == 0, err
    for k, level in enumerate(sorted(LEVELS, reverse=True)):
        stem, _ = audio.read(f"three/talk/speaker{k + 1}.wav")
        assert set(np.unique(stem)) == {0, np.float32(level)}
    assert Path("three/talk/clusters.png").read_bytes().startswith(b"\x89PNG")
    status, _, err = run(*words, "--n-sources", "3", "--plot", "-o", "three")
    assert (status, "exists already" in err) == (1, True)
    status, _, err = run(*words, "--n-sources", "4", "-o", "four")
    assert status == 1
    assert err.strip().endswith("it is too short, or too much alike")
    assert "talk.wav: its embeddings tell 3 sources apart, and 4 are asked for" in err
    assert not Path("four").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-p", "conv_tasnet_2speakers", "--n-sources", "3"), "no other number of sources: n_sour"),
        (("-p", "conv_tasnet_2speakers", "--plot"), "--plot draws clusters, and preset conv_tasn"),
        (("--method", "repet", "--plot"), "--plot is of presets"),
        (("-p", "preset", "--n-sources", "1"), "n_sources must be at least 2; got 1"),
        (("-p", "preset", "--only", "speaker1", "-o", "-", "--plot"), "leave --plot out"),
        (("-p", "preset", "--mwf"), "no multichannel Wiener filter"),
    ],
)
def test_what_does_not_go_together_is_one_line(run, words, message):
    status, _, err = run("separate", "talk.wav", *words)
    assert status == 1
    (line,) = err.splitlines()
    assert message in line


def test_evaluation_asks_presets_that_cluster_for_so_many_sources(run):
    words = ("evaluate", "preset", "mixture", "--corpus", "corpus", "--no-page")
    status, out, err = run(*words, "--measures", "SI-SDR", "--n-sources", "3", "--baselines", "")
    assert status == 0, err
    assert "clusters" in out
    assert "speaker3" in out
    status, out, err = run(
        *words, "--measures", "SI-SDR", "--sources", "speaker1,speaker2,speaker3"
    )
    assert status == 1
    assert "gives 2 sources, and 3 are scored" in out + err
    status, _, err = run("evaluate", "mixture", "--corpus", "corpus", "--n-sources", "3")
    assert (status, "none of these systems gives 3 sources" in err) == (1, True)
