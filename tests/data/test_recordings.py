"""Folders as people have them: stems that end early, damaged files, what is nobody's recording."""

import numpy as np
import pytest
import soundfile

from kzoo import audio, cli, data
from kzoo.data import solo

RATE = 8000


@pytest.fixture
def write(tmp_path, rng):
    """Float32 mono wav files of noise: `write("music/one/vocals.wav", samples)`."""

    def make(place, samples=4000):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = 0.1 * rng.standard_normal(samples)
        soundfile.write(path, sound, RATE, subtype="FLOAT")
        return sound.astype(np.float32)

    return make


@pytest.mark.parametrize("kind", ["stems", "pairs"])
def test_a_recording_that_ends_early_is_followed_by_silence(write, tmp_path, kind):
    paths = {"stems": ("music/one/drums.wav", "music/one/vocals.wav"),
             "pairs": ("noisy/one.wav", "clean/one.wav")}[kind]  # fmt: skip
    long, short = (write(f"root/{p}", n) for p, n in zip(paths, (16000, 3000), strict=True))
    root = tmp_path / "root" / ("music" if kind == "stems" else "")
    sources = ["drums", "vocals"] if kind == "stems" else ["clean"]
    corpus = data.open_corpus(kind, path=str(root), sources=sources)
    for start in (2500, 3000, 12000):
        found = corpus.read(0, start, 1000)
        left = short[start : start + 1000]
        np.testing.assert_array_equal(found["sources"][-1][: len(left), 0], left)
        assert not found["sources"][-1][len(left) :].any()
        whole = found["sources"][0] if kind == "stems" else found["mixture"]
        np.testing.assert_array_equal(whole[:, 0], long[start : start + 1000])
    examples = data.Examples(corpus, samples=1000)
    assert all(np.isfinite(examples.example(n)["mixture"]).all() for n in range(20))


def test_a_file_that_was_cut_off_is_no_recording_that_ends_early(write, tmp_path):
    for stem in ("drums", "vocals"):
        write(f"music/one/{stem}.wav", 16000)
    path = tmp_path / "music" / "one" / "vocals.wav"
    path.write_bytes(path.read_bytes()[:20000])
    corpus = data.open_corpus("stems", path=str(tmp_path / "music"))
    with pytest.raises(audio.AudioError, match=r"vocals\.wav: .*cut short"):
        corpus.read(0, 12000, 1000)


@pytest.mark.parametrize(
    "hidden", ["voice/.ipynb_checkpoints/a.wav", "voice/._a.wav", "__MACOSX/voice/a.wav", "._b.wav"]
)
def test_hidden_and_resource_files_are_in_no_corpus(write, tmp_path, hidden):
    for place in ("voice/a.wav", hidden):
        write(f"root/{place}")
    root = tmp_path / "root"
    assert list(solo.find_recordings(root)) == ["voice/a"]
    for kind in ("sources", "stems"):
        corpus = data.open_corpus(kind, path=str(root))
        assert len(corpus.tracks) == 1
        assert corpus.sources == (("voice",) if kind == "sources" else ("a",))


def test_check_takes_the_sources_that_the_tracks_are_to_have(write, tmp_path, capsys, monkeypatch):
    for place in ("one/vocals", "one/drums", "two/drums"):
        write(f"music/{place}.wav")

    def check(sources):
        words = ["kzoo", "data", "check", str(tmp_path / "music"), "--sources", sources]
        monkeypatch.setattr("sys.argv", words)
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    status, out, err = check("vocals,accompaniment")
    assert status == 0, err
    assert "two: has no vocals" in out
    assert "one: has no" not in out
    status, _, err = check("vocals,bass")
    assert status == 1
    assert "two: has none of vocals, bass; its stems are drums" in err
