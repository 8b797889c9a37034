"""The programs beside the configurations that make corpora of speakers."""

import runpy
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kzoo import data

CONFIGS = Path(__file__).parents[2] / "configs" / "listening"


def test_timits_speakers_are_cut_to_their_words_and_numbered(tmp_path, rng, capsys):
    timit = tmp_path / "TIMIT"
    for speaker, sentence in (("DR2/MZZZ0", "SX37"), ("DR2/MZZZ0", "SA1"), ("DR1/FCJF0", "SX127"),
                              ("DR1/FCJF0", "SI648")):  # fmt: skip
        stem = timit / "TRAIN" / speaker / sentence
        stem.parent.mkdir(parents=True, exist_ok=True)
        sound = rng.uniform(-0.3, 0.3, 4000)
        with open(f"{stem}.WAV", "wb") as file:
            soundfile.write(file, sound, 16000, format="NIST", subtype="PCM_16")
        Path(f"{stem}.WRD").write_text("1000 1600 she\n1600 3500 had\n")
    (timit / "TEST/DR1/FAKS0").mkdir(parents=True)
    soundfile.write(timit / "TEST/DR1/FAKS0/SX43.wav", sound, 16000)
    program = runpy.run_path(str(CONFIGS / "timit_speakers.py"))
    program["main"](str(timit), str(tmp_path / "out"))
    assert "2 speakers" in capsys.readouterr().out
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in tmp_path.glob("out/*/*/*"))
    assert found == [
        "test/speaker000/si648.wav", "train/speaker000/sx127.wav", "train/speaker001/sx37.wav",
    ]  # fmt: skip
    corpus = data.open_corpus("labelled", path=str(tmp_path / "out/train"))
    assert corpus.tracks == [("speaker000/sx127", 2500), ("speaker001/sx37", 2500)]
    assert np.abs(corpus.read(0, 0, 2500)["mixture"]).max() == pytest.approx(1)
    (timit / "TRAIN/DR1/FCJF0/SX127.WRD").unlink()
    with pytest.raises(SystemExit, match=r"SX127\.WAV: needs its words beside it, SX127\.WRD"):
        program["main"](str(timit), str(tmp_path / "again"))
    with pytest.raises(SystemExit, match=r"needs recordings like TRAIN/DR1/FCJF0/SX127\.WAV"):
        program["main"](str(tmp_path / "out"), str(tmp_path / "again"))


@pytest.mark.skipif(find_library("espeak-ng") is None, reason="apt-get install libespeak-ng1")
def test_voices_read_sentences_of_which_no_part_has_anothers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(CONFIGS)
    program = runpy.run_path(str(CONFIGS / "speakers.py"))
    read, spoken = {}, program["spoken"]

    def remembered(speaker, line, voice, rng):
        read.setdefault(voice, []).append(line)
        return spoken(speaker, line, voice, rng)

    program["main"].__globals__.update(spoken=remembered, VOICES=("Annie", "max"))
    program["main"](tmp_path, 3)
    for lines in read.values():
        assert len(set(lines)) == len(lines) == 5
    corpus = data.open_corpus("labelled", path=str(tmp_path / "train"))
    assert corpus.labels == ("annie", "max")
    assert corpus.sample_rate == 8000
    assert [name for name, _ in corpus.tracks] == [
        f"{voice}/0{number}" for voice in ("annie", "max") for number in range(3)
    ]
    sound = corpus.read(0, 0, corpus.tracks[0][1])["mixture"]
    level = 20 * np.log10(np.sqrt(np.mean(np.square(sound))))
    assert -26.1 < level < -24.5  # the voice at -26 dB, and noise 5 to 20 dB below it
