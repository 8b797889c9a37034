"""Networks that their authors publish, enhancers mostly: from a mirror, their own bytes alone.

And what they make, with these weights, of any sound and of ten minutes.
"""

import os
import urllib.parse

import made_checkpoints
import numpy as np
import pytest
from made_streams import resident_bytes, snr_db

from kzoo import Separator, audio, config, presets
from kzoo.deploy.examples import parity_sound
from kzoo.engines import tensorflow
from kzoo.presets import PresetError
from kzoo.separation.live import Live

# Where the bytes of each are beside the project, and how many numbers are in them.
FILES = {
    "dtln": ("dtln/model.h5", 986_753),
    "gtcrn_dns3": ("gtcrn/model_trained_on_dns3.tar", None),
    "gtcrn_dns3_stream": ("gtcrn/stream_model_trained_on_dns3.tar", None),
    "gtcrn_vctk": ("gtcrn/model_trained_on_vctk.tar", None),
    "ul_unas_dns3": ("ulunas/model_trained_on_dns3.tar", None),
    "deepfilternet3": ("deepfilternet3/DeepFilterNet3_onnx.tar.gz", None),
    "deep_salience_melody": ("deep_salience/melody1.h5", 406_921),
    "deep_salience_multif0": ("deep_salience/multif0.h5", 406_921),
    "choi_crnn": ("choi_crnn/music_tagger_crnn_weights_tensorflow.h5", 400_562),
    "deep_salience_vocal": ("deep_salience/vocal.h5", 406_921),
}


@pytest.fixture
def mirror(monkeypatch, shared, tmp_path):
    """A server of the published files at the paths of their addresses; its log of requests."""
    for name, (file, _) in FILES.items():
        path = urllib.parse.urlsplit(presets.load_card(name)["weights"]["url"]).path
        place = tmp_path / "www" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(shared / "data" / "weights" / file, place)
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KZOO_OFFLINE", "0")
    with made_checkpoints.served(tmp_path / "www") as (url, log):
        monkeypatch.setenv("KZOO_MIRROR", url)
        yield log


@pytest.mark.parametrize(
    "name",
    [
        "dtln",
        "gtcrn_vctk",
        "deep_salience_melody",
        "choi_crnn",
        pytest.param("deep_salience_multif0", marks=pytest.mark.slow),
        pytest.param("deep_salience_vocal", marks=pytest.mark.slow),
        pytest.param("gtcrn_dns3", marks=pytest.mark.slow),
        pytest.param("gtcrn_dns3_stream", marks=pytest.mark.slow),
        pytest.param("ul_unas_dns3", marks=pytest.mark.slow),
        pytest.param("deepfilternet3", marks=pytest.mark.slow),
    ],
)
def test_a_published_file_becomes_a_preset(name, mirror):
    assert presets.download(name).is_file()
    card = presets.load_card(name)
    assert [path for path, _ in mirror] == [urllib.parse.urlsplit(card["weights"]["url"]).path]
    arrays = presets.verified_weights(name)
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert FILES[name][1] in (None, sum(array.size for array in arrays.values()))
    fetched = config.load_yaml(presets.weights_path(name).with_name("card.yaml"))
    assert fetched["weights"]["fetched_sha256"] == card["weights"]["url_sha256"]


def test_other_bytes_are_refused_and_not_kept(mirror, tmp_path):
    path = urllib.parse.urlsplit(presets.load_card("dtln")["weights"]["url"]).path
    place = tmp_path / "www" / path.lstrip("/")
    place.unlink()
    place.write_bytes(b"something else")
    with pytest.raises(PresetError, match=r"sha256 is .*, not b6e9ecb8140f"):
        presets.from_preset("dtln")
    assert presets.weights_path("dtln") is None


def test_offline_each_is_refused_in_one_line(monkeypatch):
    monkeypatch.setenv("KZOO_OFFLINE", "1")
    with pytest.raises(PresetError, match="'deepfilternet3' is not on this machine"):
        presets.download("deepfilternet3")


@pytest.fixture(scope="module")
def talk(shared):
    """Sentences in noise, `[samples, 1]` at 16 kHz."""
    folder = shared / "data" / "speech_noisy_pairs" / "voicebank_demand" / "noisy"
    files = sorted(folder.glob("*.wav"))
    return np.concatenate([audio.read(path, sample_rate=16000)[0] for path in files])


def level_db(sound):
    return 10 * np.log10(max(np.mean(np.square(sound, dtype=np.float64)), 1e-30))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dtln", "gtcrn_dns3", "ul_unas_dns3", "deepfilternet3"])
def test_speech_outlives_what_was_done_to_it_and_no_sound_breaks_anything(name, mirror, talk):
    separator = Separator.from_preset(name)

    def change_db(sound, sample_rate=16000):
        found = separator.separate(np.float32(sound), sample_rate)["speech"]
        assert found.shape == sound.shape
        assert np.isfinite(found).all()
        return level_db(found) - level_db(sound)

    telephone = audio.resample(talk, 16000, 8000)
    for lost_db, *sound in (
        (6, talk), (6, telephone, 8000), (10, np.clip(20 * talk, -1, 1)), (6, 1e-3 * talk),
        (6, np.concatenate([talk, 0 * talk], axis=1)),
    ):  # fmt: skip
        assert -lost_db < change_db(*sound) < 1
    seconds = np.arange(60 * 16000) / 16000
    for sound, sample_rate in (
        (parity_sound(44100, 2, 4 * 44100)[0], 44100),
        (0.5 * np.sin(2 * np.pi * 440 * seconds)[:, None], 16000),
        (np.full((1, 1), 0.5), 16000),
        (np.full((2, 2), 0.5), 192_000),
    ):
        assert change_db(sound, sample_rate) < 1
    assert not separator.separate(0 * talk, 16000)["speech"].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dtln", "gtcrn_dns3"])
def test_ten_minutes_live_neither_drift_nor_grow(name, mirror, talk):
    opened = presets.open_preset(name)
    live = Live(tensorflow.live_system(opened), "speech")
    minute = 60 * live.sample_rate
    hops = np.resize(talk, (10 * minute // live.hop, live.hop))
    found, resident = np.ones_like(hops), []
    for number, hop in enumerate(hops, 1):
        found[number - 1] = live(hop)[:, 0]
        if number in (len(hops) // 10, len(hops)):
            resident.append(resident_bytes())
    del opened.card["level_db"]  # live sound is brought to none
    whole = Separator(tensorflow.system(opened)).separate(hops.ravel(), live.sample_rate)["speech"]
    whole, found = whole[: len(whole) - live.delay], found.ravel()[live.delay :]
    first, last = (snr_db(whole[part], found[part]) for part in (np.s_[:minute], np.s_[-minute:]))
    assert min(first, last) > 100
    assert abs(first - last) < 6
    assert resident[1] - resident[0] < 8e6
