"""Every configuration of the project builds its network and takes one step on sound as it asks.

The recipes of papers, which say what they would take, take a step of their smallest variant on a
corpus of the true layout too, and two in their own size where memory allows.

All sizes are the configuration's own but how long an example is: as short as the network can be.
Spleeter's network is built in its own size, and takes its step in a smaller one; Deep Karaoke's is
too large for either. Of configurations that differ in figures or in the kind of network alone, all
but one are slow.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from made_rendered import write_track

from kzoo import config, data, models
from kzoo.data import solo
from kzoo.dsp.phones import PHONES
from kzoo.models import ballroom_cnn, music_translation, sincnet
from kzoo.models.base.listener import MAGNATAGATUNE
from kzoo.training import resolved, train
from kzoo.training.settings import sizes

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*/*.yaml"))
FAST = ("ddsp_violin", "own_stems", "segan_speech", "wave_u_net_2stems_small")
SHORTEST_SECONDS = 0.13  # 2048 samples at 16 kHz, the longest window of a loss
NAMED_VOICES = ("en_1", "it_1", "fr_1", "ru_1", "cs_m/1", "cs_v/1", "nl_m/1", "nl_v/1")
MORE_VOICES = [f"fillets_{actor}/1" for actor in ("cs_big", "cs_small", "nl_big", "nl_small")]
MORE_VOICES += [f"ktuberling_{name}/1" for name in ("ca", "da", "el", "lt", "nn", "sl", "uk", "wa")]
TWO = ["vocals", "accompaniment"]
FOUR = ["vocals", "drums", "bass", "other"]
RECIPES = [path for path in CONFIGS if "# Estimates of --dry-run" in path.read_text("utf-8")]
FAST_RECIPES = ("wave_u_net_m4_musdb18", "gtcrn_dns3", "segan_voicebank")
slow = pytest.mark.slow
RECORDED_NOISES = ("recorded", "music", "keyboard", "impacts")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A folder with the data of all configurations, a second or two of each, where they look."""
    root = tmp_path_factory.mktemp("recordings")
    for name, sources in {
        "mobile": TWO,
        "own": TWO,
        "songs": TWO,
        "validation": TWO,
        "four": FOUR,
    }.items():
        write_shards(root / "shards" / name, sources)
    for held in ("", "_held"):
        write_shards(root / f"shards/voice{held}", TWO, sample_rate=16000, channels=1)
        write_shards(root / f"shards/four_mono{held}", FOUR, channels=1)
    for folder, rate in (("data/voices", 8000), ("data/noisy_speech/speech", 16000)):
        for voice in NAMED_VOICES:
            write_noise(root / folder / voice, rate, count=12)
    (causal,) = (path for path in CONFIGS if path.stem == "conv_tasnet_2speakers_causal")
    for patterns in config.load_yaml(causal)["data"]["train"]["speakers"].values():
        for pattern in patterns:
            write_noise(root / "data/many_voices" / pattern.replace("*", "1"), 8000, count=12)
    for subset in ("train-100", "dev"):
        for part in ("mix_clean", "s1", "s2"):
            write_noise(root / "data/Libri2Mix/wav8k/min" / subset / part, 8000, count=1)
    write_noise(root / "data/solo_recordings", 16000, count=1, seconds=SHORTEST_SECONDS)
    solo.prepare(root / "data/solo_recordings", root / "data/solo", estimate=constant_pitch,
                 sample_rate=16000, hop_length=64)  # fmt: skip
    for rate in (16000, 48000):
        write_noise(root / f"{rate}/data/dns/speech/read", rate, count=24, seconds=0.31)
        write_noise(root / f"{rate}/data/dns/noise/street", rate, count=1)
    for place in ("tr", "cv"):
        for part in ("mix", "s1", "s2"):
            folder = root / "data/wsj0_mix/2speakers/wav8k/min" / place / part
            write_noise(folder, 8000, count=1)
    for voice in [*NAMED_VOICES[:4], *MORE_VOICES]:
        write_noise(root / "data/student/speech" / voice, 16000, count=1)
    for kind in RECORDED_NOISES:
        write_noise(root / "data/noisy_speech/noise" / kind, 16000, count=1)
    write_noise(root / "speech" / "one", 16000, count=12)
    write_noise(root / "noise" / "street", 16000, count=1)
    for kind in (*RECORDED_NOISES, "city"):
        write_noise(root / "data/student/noise" / kind, 16000, count=1)
    taught = root / "taught" / "train_0000"
    write_noise(taught, 16000, count=1)
    (taught / "speech.wav").write_bytes((taught / "0.wav").read_bytes())
    (taught / "0.wav").rename(taught / "mixture.wav")
    lessons = data.open_corpus("stems", path=str(taught.parent), sources=["speech"])
    for made in ("student", "segan", "dcunet"):
        data.prepare(lessons, root / "data" / made / "lessons", licence="none: made by a program")
    for folder in ("noisy", "clean"):
        pairs = root / "data/voicebank_demand" / f"{folder}_trainset_28spk_wav"
        write_noise(pairs, 16000, count=3)
        for number, name in enumerate(("p226_001", "p227_001", "p287_001")):
            (pairs / f"{number}.wav").rename(pairs / f"{name}.wav")
    for place, name in (("onset_db", "a"), ("data/onset_pieces/piece", "mixture")):
        write_noise(root / place, 44100, count=1)
        (root / place / "0.wav").rename(root / place / f"{name}.wav")
        (root / place / f"{name}.onsets").write_text("0.5\n")
    stems = ("bass", "drums", "guitar", "piano", "strings", "brass")
    for subset in ("train", "validation"):
        write_track(root / f"data/onset_pieces/{subset}/piece_0",
                    [(0, 1, 60, stem) for stem in stems], rate=44100)  # fmt: skip
        row = "piece/mixture.wav,piece/mixture.onsets"
        (root / f"data/onset_pieces/{subset}.csv").write_text(f"file,events\n{row}\n")
    write_stems(root / "songs/first", 44100, TWO)
    for clip in ("abjones_1_01", "amy_1_01"):
        write_noise(root / "MIR-1K/Wavfile", 16000, count=1, channels=2)
        (root / "MIR-1K/Wavfile/0.wav").rename(root / f"MIR-1K/Wavfile/{clip}.wav")
    write_noise(root / "MedleyDB/V1/A_Song/A_Song_STEMS", 44100, count=2)
    stems = {
        f"S0{number}": {"filename": f"{number}.wav", "instrument": instrument}
        for number, instrument in enumerate(("male singer", "piano"))
    }
    (root / "MedleyDB/V1/A_Song/A_Song_METADATA.yaml").write_text(yaml.safe_dump({"stems": stems}))
    songs = root / "musdb18hq/train"
    write_stems(songs / "first", 44100, [*FOUR, "mixture"], seconds=SHORTEST_SECONDS)
    (music,) = (path for path in CONFIGS if path.stem == "open_unmix_musdb18")
    for track in config.load_yaml(music)["data"]["validation"]["include"]:
        (songs / track).symlink_to("first")
    write_noise(root / "ccmixter/song", 44100, count=3, seconds=SHORTEST_SECONDS)
    for number, part in enumerate(("mix", "source-01", "source-02")):
        (root / f"ccmixter/song/{number}.wav").rename(root / f"ccmixter/song/{part}.wav")
    for name, rate, channels, sources in (
        ("songs_8k", 8192, 1, TWO),
        ("songs_22k", 22050, 2, TWO[::-1]),
        ("musdb18_8k", 8192, 1, ["bass", "drums", "other", "vocals"]),
        ("musdb18_22k", 22050, 2, ["bass", "drums", "other", "vocals"]),
    ):
        corpora = {"musdb": "musdb18hq", **({"ccmixter": "ccmixter"} if "songs" in name else {})}
        for kind, place in corpora.items():
            songs = data.open_corpus(
                kind, path=str(root / place), sources=sources, sample_rate=rate, channels=channels
            )
            data.prepare(songs, root / "shards" / name, licence="none: made by a program")
    for kind in ("noisy", "clean"):
        folder = root / f"VoiceBank-DEMAND/{kind}_trainset_28spk_wav"
        write_noise(folder, 16000, count=3)
        for number, speaker in enumerate(("p226", "p287")):
            (folder / f"{number}.wav").rename(folder / f"{speaker}_001.wav")
    write_stems(root / "DSD100/Sources/Dev/first", 44100, FOUR)
    write_stems(root / "DSD100/Mixtures/Dev/first", 44100, ["mixture"])
    write_noise(root / "violin", 16000, count=2, seconds=SHORTEST_SECONDS)
    (root / "violin" / "0.wav").rename(root / "violin" / "minji-kim_bwv1003_mov4.wav")
    solo.prepare(root / "violin", root / "data/violin", estimate=constant_pitch,
                 sample_rate=16000, hop_length=64)  # fmt: skip
    write_tags(root / "data/magnatagatune")
    write_noise(root / "utterances", 16000, count=1)
    for part in ("train", "test"):
        (root / "data/timit_speakers" / part).mkdir(parents=True)
        for speaker in sincnet.TIMIT_SPEAKERS:
            (root / "data/timit_speakers" / part / speaker).symlink_to(root / "utterances")
        (root / "data/ballroom" / part).mkdir(parents=True)
        for dance in ballroom_cnn.DANCES:
            (root / "data/ballroom" / part / dance).symlink_to(root / "utterances")
    (voices,) = (path for path in CONFIGS if path.stem == "sincnet_speakers")
    for part in ("train", "validation"):
        (root / "data/speakers" / part).mkdir(parents=True)
        for voice in config.load_yaml(voices)["model"]["names"]:
            (root / "data/speakers" / part / voice).symlink_to(root / "utterances")
    for corpus in ("phones", "timit"):
        for place in ("DR1/fbelinda/si1", "DR1/mm8/si1", "DR1/mm1/si1", "DR8/mbcg0/sx57"):
            folder = root / "data" / corpus / "TRAIN" / Path(place).parent
            write_noise(folder, 16000, count=1)
            (folder / "0.wav").rename(folder / f"{Path(place).name}.WAV")
            (folder / f"{Path(place).name}.PHN").write_text("0 8000 h#\n8000 16000 ix\n")
    for domain in music_translation.MusicTranslation().domains:
        for part in ("musicnet", "musicnet_held"):
            write_noise(root / "data" / part / domain, 16000, count=1)
    for domain in ("violin", "guitar", "piano"):
        write_noise(root / "data/domains" / domain, 8000, count=2)
        held = root / "data/domains" / domain / "1.wav"
        held.rename(held.with_stem("held_1"))
    write_noise(root / "data/LJSpeech-1.1/wavs", 22050, count=2)
    for number, name in enumerate(("LJ001-0001", "LJ050-0001")):
        (root / f"data/LJSpeech-1.1/wavs/{number}.wav").rename(
            root / f"data/LJSpeech-1.1/wavs/{name}.wav"
        )
    for part in ("train", "valid"):
        write_noise(root / "data/beethoven" / part / "piano", 16000, count=1)
    write_noise(root / "texts", 16000, count=1)
    (root / "texts/0.wav").rename(root / "texts/any_006.wav")
    (many,) = (path for path in CONFIGS if path.stem == "wavenet_vctk")
    (root / "data/VCTK-Corpus/wav48").mkdir(parents=True)
    first, *others = config.load_yaml(many)["model"]["speakers"]
    write_noise(root / "data/VCTK-Corpus/wav48" / first, 16000, count=1)
    held = root / "data/VCTK-Corpus/wav48" / first / "0.wav"
    held.rename(held.with_stem("any_001"))
    for speaker in others:  # each would be validated, which takes longer than the step
        (root / "data/VCTK-Corpus/wav48" / speaker).symlink_to(root / "texts")
    for phone in "bdg":
        write_noise(root / "bdg" / phone, 12000, count=1)
    for folder in ("TRAIN/DR1/FCJF0", "TEST/DR1/MDAB0"):
        write_noise(root / "data/timit" / folder, 16000, count=1, seconds=4.0)
        (root / "data/timit" / folder / "0.wav").rename(root / "data/timit" / folder / "SI1.wav")
        phones = ["h#", *(phone for phone in PHONES if phone != "sil")]
        rows = [f"{1600 * k} {1600 * (k + 1)} {phone}" for k, phone in enumerate(phones)]
        (root / "data/timit" / folder / "SI1.PHN").write_text("\n".join(rows))
    return root


def write_tags(folder):
    """A clip of the training and one of the validation that have all tags, as MagnaTagATune."""
    clips = ("0/clip.mp3", "c/clip.mp3")
    for place in ("0", "c"):
        write_noise(folder / place, 16000, count=1)
        (folder / place / "0.wav").rename(folder / place / "clip.mp3")
    rows = [["clip_id", *MAGNATAGATUNE, "mp3_path"]]
    rows += [["1", *["1"] * len(MAGNATAGATUNE), clip] for clip in clips]
    table = "\n".join("\t".join(row) for row in rows)
    (folder / "annotations_final.csv").write_text(table + "\n", encoding="utf-8")


def write_shards(folder, sources, **options):
    corpus = data.open_corpus("synthetic", sources=sources, tracks=1, seconds=2.0, **options)
    data.prepare(corpus, folder, licence="none: made by a program")


def write_stems(folder, rate, names, **options):
    write_noise(folder, rate, count=len(names), **options)
    for number, name in enumerate(names):
        (folder / f"{number}.wav").rename(folder / f"{name}.wav")


def write_noise(folder, rate, *, count, seconds=1.0, channels=1):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        waveform = 0.1 * rng.standard_normal((round(seconds * rate) + 100 * number, channels))
        soundfile.write(folder / f"{number}.wav", waveform, rate, subtype="FLOAT")


def constant_pitch(waveform, sample_rate):
    frames = 1 + len(waveform) // 64
    return np.full(frames, 220.0), np.ones(frames)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in FAST_RECIPES else slow)
        for path in RECIPES
    ],
)
def test_a_recipe_takes_a_step_of_the_smallest_variant(path, recordings, tmp_path, monkeypatch):
    values = config.load_yaml(path)
    size, options = sizes(resolved({"name": path.stem, **values}))
    values["model"] = {
        "name": values["model"]["name"],
        "variant": "tiny",
        "sample_rate": size.sample_rate,
        "channels": size.channels,
        **{key: value for key, value in options.items() if key == "sources"},
        **({"names": list(size.names)} if size.task == "listening" else {}),
    }
    if values["model"]["name"] in ("unet", "cunet"):
        values["model"]["bins"] = 64
    if values["model"]["name"] == "ddsp":
        values["model"]["hop_length"] = size.hop_length
    if "adversary" in values:
        values["adversary"]["network"]["variant"] = "tiny"
    assert steps_taken(values, recordings, tmp_path, monkeypatch, steps=1) == 1


def steps_taken(values, recordings, tmp_path, monkeypatch, *, steps):
    """Those of a training of `values` on short segments where its data lie."""
    values["fit"] |= {"batch_size": 1, "epochs": 1, "steps_per_epoch": steps}
    values["fit"]["segment_seconds"] = SHORTEST_SECONDS
    validation = values["data"].get("validation", {})
    if "mixtures" in validation:
        validation |= {"mixtures": 1, "seconds": SHORTEST_SECONDS}
    if "pretraining" in values:
        values["pretraining"]["steps"] = 2
    at_48k = values["model"]["name"] == "deepfilternet"
    monkeypatch.chdir(
        recordings / ("48000" if at_48k else "16000")
        if "data/dns" in str(values["data"])
        else recordings
    )
    folder = train(values, tmp_path / "run", say=lambda line: None)
    return yaml.safe_load((folder / "card.yaml").read_text("utf-8"))["trained"]["steps"]


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=() if path.stem in FAST else slow) for path in CONFIGS],
)
def test_a_configuration_takes_a_step(path, recordings, tmp_path, monkeypatch):
    values = config.load_yaml(path)
    values.pop("start", None)  # published weights, which this machine need not have
    if values["model"].get("variant") == "spleeter":  # 80 MB, which a run writes five times
        size, options = sizes(resolved({"name": path.stem, **values}))
        assert models.build("unet", size, **options).count_params() > 19e6
        values["model"]["filters"] = [2, 4, 6, 8, 10, 12]
    if path.stem == "music_translation_musicnet":  # 170 MB
        values["model"] |= {"depth": 2, "residual": 4, "encoder_channels": 4}
    if path.stem == "wavenet_ljspeech":  # 100 MB
        values["model"] |= {"residual": 4, "gate": 4}
    if path.stem == "sample_rnn_beethoven":  # 80 MB
        values["model"]["width"] = 4
    if path.stem == "deep_clustering_wsj0_2mix":  # 140 MB
        values["model"]["hidden"] = 4
    if path.stem == "deep_karaoke_medleydb":  # 3.4 GB
        values["model"]["hidden"] = [4]
    if path.stem == "dual_path_rnn_wsj0_2mix":  # minutes of eager steps
        values["model"] |= {"filter_length": 16, "segment_frames": 8, "repeats": 1}
    if path.stem in ("demucs_v1_musdb18", "demucs_v2_musdb18"):  # 13 and 7 GB
        values["model"]["filters"] = 4
    if path.stem == "htdemucs_musdb18":  # 170 MB
        values["model"] |= {"filters": 8, "bottom": 16}
    steps = 2 if path in RECIPES else 1
    assert steps_taken(values, recordings, tmp_path, monkeypatch, steps=steps) == steps
