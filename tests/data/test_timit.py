"""TIMIT by its layout: which sentences, which phones, when, and as frames, states or windows."""

import numpy as np
import pytest
import soundfile

from kzoo.config import ConfigError
from kzoo.data import Examples, Windows, open_corpus
from kzoo.data.timit import FOLD, read_phones
from kzoo.dsp.phones import PHONES, phone_of, state_names

LINES = "0 1600 h#\n1600 3200 ix\n3200 3520 tcl\n3520 4000 t\n4000 4800 q\n4800 8000 zh\n"


@pytest.fixture
def corpus(tmp_path):
    """A small tree of the true names; each sentence is a ramp, whose values tell the place."""
    for place in ("TRAIN/DR1/FCJF0/SI1027", "TRAIN/DR1/FCJF0/SA1", "TEST/DR1/MDAB0/SX139",
                  "TEST/DR2/MABW0/SX314"):  # fmt: skip
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        ramp = np.arange(8000, dtype=np.int16)
        soundfile.write(path.with_suffix(".WAV"), ramp, 16000, "PCM_16", format="NIST")
        path.with_suffix(".PHN").write_text(LINES)
    return tmp_path


def opened(corpus, **options):
    return open_corpus("timit", path=str(corpus), **options)


def test_61_phones_are_folded_to_39():
    assert len(FOLD) == 61
    assert set(FOLD.values()) == {*PHONES, None}
    assert len(PHONES) == 39
    assert list(PHONES) == sorted(PHONES)
    assert [phone_of(name) for name in state_names(["aa", "b"], 2)] == [
        ("aa", 1), ("aa", 2), ("b", 1), ("b", 2)
    ]  # fmt: skip
    assert [phone_of(name) for name in state_names(["aa", "b"], 1)] == [("aa", 1), ("b", 1)]


def test_sentences_are_those_of_a_subset_without_the_two_that_all_read(corpus):
    assert [name for name, _ in opened(corpus).tracks] == ["dr1/fcjf0/si1027"]
    tested = [name for name, _ in opened(corpus, subset="test").tracks]
    assert tested == ["dr1/mdab0/sx139", "dr2/mabw0/sx314"]
    assert [name for name, _ in opened(corpus, subset="core").tracks] == ["dr1/mdab0/sx139"]


def test_phones_have_their_times_and_the_glottal_stop_is_left_out(corpus):
    path = corpus / "TRAIN/DR1/FCJF0/SI1027.PHN"
    folded = read_phones(path, 16000)
    assert [phone.name for phone in folded] == ["sil", "ih", "sil", "t", "sh"]
    assert folded[1][:2] == (0.1, 0.2)
    assert [p.name for p in read_phones(path, 16000, fold=False)][-2:] == ["q", "zh"]
    path.write_text(LINES + "8000 8800 pau\n8800 9600 h#\n")
    assert read_phones(path, 16000)[-1] == (0.5, 0.6, "sil")


def test_frames_are_labelled_by_phones_and_by_their_states(corpus):
    framed = opened(corpus).in_frames(160, 0, 160)
    labels = framed.read(0, 0, 8000)["labels"]
    assert labels.shape == (50, 39)
    spoken = [PHONES[k] for k in labels[:25].argmax(axis=1)]
    assert spoken == ["sil"] * 10 + ["ih"] * 10 + ["sil"] * 2 + ["t"] * 3
    assert not labels[25:30].any()  # the glottal stop
    states = opened(corpus, states=2)
    assert states.labels[:3] == ("aa.1", "aa.2", "ae.1")
    labels = states.in_frames(160, 0, 160).read(0, 0, 8000)["labels"]
    assert [states.labels[k] for k in labels[8:17].argmax(axis=1)] == (
        ["sil.2"] * 2 + ["ih.1"] * 5 + ["ih.2"] * 2
    )


def test_each_phone_has_its_window_once_whatever_its_length(corpus):
    phones = opened(corpus, each="phone").in_windows(1000)
    windows = Windows(phones, samples=1000)
    assert len(windows) == 5
    found = [windows.example(k) for k in range(5)]
    assert [PHONES[one["labels"].argmax()] for one in found] == ["sil", "ih", "sil", "t", "sh"]
    middles = [one["mixture"][500, 0] * 32768 for one in found]
    np.testing.assert_allclose(middles, [800, 2400, 3360, 3760, 6400], atol=1)
    drawn = Examples(phones, samples=1000, seed=1)
    heard = {PHONES[drawn.example(k)["labels"].argmax()] for k in range(40)}
    assert heard == {"sil", "ih", "t", "sh"}


def test_names_choose_phones_and_their_order(corpus):
    corpus = opened(corpus, each="phone", names=["sh", "t"])
    assert corpus.labels == ("sh", "t")
    assert len(Windows(corpus.in_windows(100), samples=100)) == 2


@pytest.mark.parametrize(("options", "message"), [
    ({"names": ["t", "x"]}, "TIMIT has no x among its 39 phones"),
    ({"names": ["aa"]}, "no sentence has a phone of aa"),
    ({"states": 0}, "states must be at least 1; got 0"),
    ({"states": 3, "each": "phone"}, "with each=phone they must be 1; got 3"),
    ({"channels": 2}, "TIMIT has one channel; got channels=2"),
    ({"include": ["dr9/*"]}, "has no track 'dr9/\\*'"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(corpus, options, message):
    with pytest.raises(ValueError, match=message):
        opened(corpus, **options)


def test_a_folder_without_sentences_and_a_damaged_text_are_named(corpus, tmp_path):
    with pytest.raises(ValueError, match=r"needs TRAIN/DR1/<speaker>/<sentence>\.WAV"):
        opened(tmp_path / "TRAIN")
    with pytest.raises(ConfigError, match="subset"):
        opened(corpus, subset="dev")
    path = corpus / "TRAIN/DR1/FCJF0/SI1027.PHN"
    path.write_text(LINES + "8000 8100 xx\n")
    with pytest.raises(ValueError, match=r"SI1027\.PHN: line 7 is none .* '8000 8100 xx'"):
        opened(corpus)
