"""`kzoo transfer` and `kzoo.transfer`: what a recording sings, played by a synthesiser."""

import shutil
import sys

import keras
import librosa
import numpy as np
import pytest
import soundfile

import kzoo
from kzoo import cli, config, models, presets
from kzoo.data import solo
from kzoo.dsp.loudness import loudness_db
from kzoo.pitch_tracking import Pitch
from kzoo.synthesis import player, transfer
from kzoo.synthesis.following import LoudnessMeter, follow
from kzoo.synthesis.transfer import TimbreTransfer, Watcher

RATE, HOP = 8000, 32
IN_A_ROOM = {"variant": "tiny", "reverb_seconds": 0.2}
NOTES = [67.0, 68.0, 70.0, 76.0, 80.0, 84.0, 88.0]
LEVELS = [-45.0, -40.0, -32.0, -26.0, -22.0, -18.0, -15.0]


def table(values):
    return {"quantiles": dict(zip(solo.QUANTILES, values, strict=True))}


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """The player of an instrument, which all of its recordings can share, and copies of it."""
    build, built = player.instrument, {}

    def instrument(preset, *, dry=False, engine="auto"):
        key = (str(preset.card["model"]), preset.card["weights"]["sha256"], dry)
        if key not in built:
            built[key] = build(preset, dry=dry)
        return built[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(player, "instrument", instrument)
        yield


@pytest.fixture(scope="module")
def wet():
    """A tiny synthesiser of random weights, in a room that answers 0.1 s later."""
    keras.utils.set_random_seed(0)
    model = models.build("ddsp", **IN_A_ROOM)
    model.get_layer("reverb").response.assign(np.eye(1, 1600, 800)[0])
    return model


@pytest.fixture(scope="module")
def dry(wet):
    """The same without its room."""
    return keras.Model(wet.input, wet.get_layer("reverb").input)


@pytest.fixture(scope="module")
def instrument(dry, tmp_path_factory):
    """Its preset, whose card says what it was trained on."""
    statistics = {"midi": table(NOTES), "loudness_db": table(LEVELS), "voiced": 0.9}
    card = {
        "name": "organ", "task": "synthesis", "sample_rate": RATE,
        "model": {"name": "ddsp", "options": {"variant": "tiny"}},
        "trained": {"steps": 1, "data": {"statistics": statistics}},
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("presets") / "organ"
    return presets.save_to_preset(dry, folder, card)


@pytest.fixture(scope="module")
def in_a_room(instrument, wet, tmp_path_factory):
    """The preset of the one in its room."""
    card = {**presets.load_card(instrument), "model": {"name": "ddsp", "options": IN_A_ROOM}}
    return presets.save_to_preset(wet, tmp_path_factory.mktemp("presets") / "room", card)


class Ear:
    """A pitch tracker that knows: 220 Hz in the first half of each second, else nothing."""

    def __init__(self, *_, hop_ms, engine="auto", progress=None):
        assert hop_ms == 4.0

    def track(self, blocks, sample_rate):
        heard = sum(len(block) for block in blocks)
        for start in range(0, 1 + heard // 64, 100):
            seconds = np.arange(start, min(start + 100, 1 + heard // 64)) * 64 / sample_rate
            sure = seconds % 1 < 0.5
            yield Pitch(seconds, np.where(sure, 220.0, 999.0), 0.9 * sure, np.zeros(len(seconds)))


@pytest.fixture
def ear(monkeypatch):
    monkeypatch.setattr(transfer, "PitchTracker", Ear)


class Record(Watcher):
    def __init__(self):
        self.played, self.levels, self.sounds = [], [], []

    def play(self, played, recorded_loudness_db):
        self.played.append(played)
        self.levels.append(recorded_loudness_db)

    def sound(self, signal):
        self.sounds.append(signal)


def voice(seconds=2.0, rate=RATE, channels=1):
    """220 Hz that swells, in the first half of each second."""
    n = np.arange(round(seconds * rate)) / rate
    wave = (0.05 + 0.2 * (n % 1)) * np.sin(2 * np.pi * 220 * n) * (n % 1 < 0.5)
    return np.repeat(wave[:, None], channels, axis=1).astype(np.float32)


@pytest.fixture
def run(monkeypatch, capfd):
    """Run `kzoo transfer WORDS...`; (exit status, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", "transfer", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capfd.readouterr().err

    return call


@pytest.mark.parametrize("samples", [0, 5, 900, 20000])
def test_loudness_in_blocks_is_loudness(rng, samples):
    signal = (0.1 * rng.standard_normal(samples)).astype(np.float32)
    meter, at, found = LoudnessMeter(RATE, HOP), 0, []
    while at < samples:
        size = int(rng.integers(1, 3000))
        found.append(meter.push(signal[at : at + size]))
        at += size
    found = np.concatenate([*found, meter.flush()])
    expected = np.asarray(loudness_db(signal[None], sample_rate=RATE, hop_length=HOP))[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("samples", [5, 900, 20000])
def test_the_loudness_of_before_2022_is_the_mean_of_levels(rng, samples):
    """As magenta/ddsp had it: frames of 2048 samples from their place on, 120 dB of range."""
    signal = (0.1 * rng.standard_normal(samples)).astype(np.float32)
    signal[samples // 2 :] = 0
    meter, found = LoudnessMeter(RATE, HOP, 120.0), []
    for at in range(0, samples, 777):
        found.append(meter.push(signal[at : at + 777]))
    found = np.concatenate([*found, meter.flush()])
    count = samples // HOP + 1
    padded = np.pad(signal, (0, (count - 1) * HOP + 2048 - samples))
    spectra = librosa.stft(padded, n_fft=2048, hop_length=HOP, center=False)
    levels = 20 * np.log10(np.maximum(np.abs(spectra.T), 1e-20))
    with np.errstate(divide="ignore"):  # at 0 Hz
        levels += librosa.A_weighting(librosa.fft_frequencies(sr=RATE, n_fft=2048)) - 20.7
    expected = np.maximum(levels, -120).mean(axis=1)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert meter.silence_db == -120


class Given:
    """A pitch tracker that says what it was given."""

    def __init__(self, f0_hz, confidence):
        self.pitch = f0_hz, confidence

    def track(self, blocks, sample_rate):
        for _ in blocks:
            pass
        yield Pitch(np.zeros(len(self.pitch[0])), *self.pitch, np.zeros(len(self.pitch[0])))


def followed(f0_hz, confidence, sound):
    """What a tracker that says so, and this sound, are as controls."""
    return follow(
        np.array_split(np.stack([sound, sound]), 3, axis=1), Given(f0_hz, confidence), gate=0.3,
        sample_rate=RATE, hop_length=HOP, hear=lambda pitch: None,
    )  # fmt: skip


def test_controls_are_drawn_and_summed_up_as_those_of_the_corpus_are(rng):
    frames = 400
    f0_hz = rng.uniform(200, 400, frames)
    confidence = np.repeat(rng.random(frames // 20) < 0.4, 20) * 0.8
    sound = (0.1 * rng.standard_normal((frames - 1) * HOP)).astype(np.float32)
    controls = followed(f0_hz, confidence, sound)
    assert controls.frames == frames
    drawn, voiced = controls.f0_hz, controls.voiced
    gates = np.concatenate([controls.gate(k, k + 7) for k in range(0, frames, 7)])[:frames]
    whole = controls.gate(0, frames)
    summary = controls.summary()
    notes = 69 + 12 * np.log2(f0_hz[voiced] / 440)
    np.testing.assert_allclose(summary.midi, np.quantile(notes, solo.QUANTILES), rtol=1e-5)
    assert summary.voiced == pytest.approx(voiced.mean())
    np.testing.assert_array_equal(voiced, confidence > 0.3)
    np.testing.assert_allclose(drawn, solo.interpolate_unvoiced(f0_hz, voiced), rtol=1e-6)
    np.testing.assert_allclose(gates, whole, atol=1e-9)
    deep = np.convolve(voiced, np.ones(13), "same")
    assert whole[deep == 13] == pytest.approx(1)
    assert whole[deep == 0] == pytest.approx(0)


def test_the_gate_bridges_a_consonant_and_ignores_a_click():
    confidence = np.zeros(200)
    confidence[50:100] = 0.9
    confidence[70:77] = 0.0  # 28 ms
    confidence[150:153] = 0.9
    sound = np.full(199 * HOP, 0.1, np.float32) * np.sin(np.arange(199 * HOP))
    gate = followed(np.full(200, 220.0), confidence, sound).gate(0, 200)
    assert gate[56:94] == pytest.approx(1)
    assert gate[:45] == pytest.approx(0)
    assert gate[140:] == pytest.approx(0)
    assert np.abs(np.diff(gate)).max() < 0.25


def test_levels_move_along_the_quantiles_and_never_in_leaps():
    found = np.array([-70.0, -65, -50, -40, -30, -20, -10])
    curve = transfer.matched(found, np.array(LEVELS))
    np.testing.assert_allclose(curve(found), LEVELS)
    assert curve(np.array(-5.0)) == pytest.approx(LEVELS[-1] + 5)
    held = transfer.matched(np.linspace(-30.3, -29.7, 7), np.array(LEVELS))
    assert held(np.array(-30.0)) == pytest.approx(-26.0)
    assert held(np.array(-29.7)) == pytest.approx(-25.4)  # not -15
    same = transfer.matched(np.full(7, -30.0), np.array(LEVELS))
    assert same(np.array([-31.0, -30.0, -29.0])) == pytest.approx([-27.0, -26.0, -25.0])


def test_the_sound_is_what_the_model_plays_where_the_gate_is_open(instrument, dry, ear):
    record = Record()
    player = TimbreTransfer(instrument)
    sound, rate = player(voice(1.5), RATE, watcher=record)
    assert (rate, sound.shape, sound.dtype) == (RATE, (1.5 * RATE,), np.float32)
    played = np.concatenate(record.played).astype(np.float32)
    assert played[:, 1] == pytest.approx(880.0)  # A3 is nearest to E5 two octaves up
    assert np.median(played[played[:, 3] == 1, 2]) == pytest.approx(-26, abs=0.3)
    whole = dry({"f0_hz": played[None, :, 1:2], "loudness_db": played[None, :, 2:3]})
    gate = np.interp(np.arange(len(sound)) / HOP, np.arange(len(played)), played[:, 3])
    expected = np.asarray(whole)[0, : len(sound), 0] * gate
    np.testing.assert_allclose(sound, expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(sound[RATE // 2 + 400 : RATE - 400]).max() == 0
    again, _ = player(voice(1.5), RATE)
    np.testing.assert_array_equal(sound, again)


def test_a_note_that_has_ended_goes_on_sounding_in_the_room(instrument, in_a_room, ear):
    dry, _ = TimbreTransfer(instrument)(voice(), RATE)
    record = Record()
    wet, _ = TimbreTransfer(in_a_room)(voice(), RATE, watcher=record)
    without, _ = TimbreTransfer(in_a_room, dry=True)(voice(), RATE)
    np.testing.assert_allclose(without, dry, atol=1e-5 * np.abs(dry).max())
    echo = np.pad(dry, (800, 0))[: len(dry)]
    np.testing.assert_allclose(wet, dry + echo, atol=1e-4 * np.abs(dry).max())
    np.testing.assert_array_equal(np.concatenate(record.sounds)[: len(wet)], wet)


def test_blocks_rates_and_channels_make_no_difference(instrument, ear):
    player = TimbreTransfer(instrument)
    wave = voice(2.013, rate=22050, channels=2)
    sound, rate = player(wave, 22050)
    assert (rate, len(sound)) == (RATE, round(len(wave) * RATE / 22050))
    pieces = np.concatenate(list(player.stream(np.array_split(wave, 17), 22050)))
    np.testing.assert_allclose(pieces, sound, atol=1e-5)
    like, rate = kzoo.transfer(wave[:, 0], 22050, instrument, input_rate=True)
    assert (rate, like.shape) == (22050, (len(wave),))
    second = slice(22050, 33075)
    spectrum = np.abs(np.fft.rfft(like[second] * np.hanning(11025)))
    assert 2 * np.argmax(spectrum[:600]) == pytest.approx(880, abs=4)


def test_octaves_and_levels_by_hand(instrument, ear):
    record = Record()
    TimbreTransfer(instrument, octaves=-1, match=False, loudness_db=6)(
        voice(), RATE, watcher=record
    )
    played, levels = np.concatenate(record.played), np.concatenate(record.levels)
    assert played[:, 1] == pytest.approx(110.0)
    open_ = played[:, 3] == 1
    np.testing.assert_allclose(played[open_, 2], levels[open_] + 6, atol=1e-4)


def test_a_file_its_picture_and_what_was_done(run, instrument, ear, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    soundfile.write(tmp_path / "voice.wav", voice(2.0, 44100, 2), 44100)
    words = (tmp_path / "voice.wav", "-p", instrument, "--method", "pyin",
             "-o", tmp_path / "out" / "o.wav", "--picture", tmp_path / "out" / "o.png")  # fmt: skip
    status, err = run(*words)
    assert status == 0, err
    assert "+2 octaves" in err
    assert "to -26 dB" in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["o.png", "o.wav"]
    assert (tmp_path / "out" / "o.png").stat().st_size > 30_000
    assert soundfile.info(tmp_path / "out" / "o.wav").samplerate == RATE
    status, err = run(*words)
    assert (status, "--overwrite replaces it" in err) == (1, True)
    assert run(*words[:-2], "--overwrite", "--input-rate", "-q") == (0, "")
    assert soundfile.info(tmp_path / "out" / "o.wav").frames == 88200


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-p", "spleeter_2stems"), "no synthesiser"),
        (("-p", "ddsp_violni"), "no preset is called"),
        (("--method", "unet"), "no preset is called"),
        (("--octaves", 20), "between -8 and 8"),
        (("--gate", 2), "between 0 and 1"),
        (("-o", "o.xyz"), "names no format"),
        (("--picture", "o.jpg"), "is a .png"),
        (("--gate", 0.95), "nothing has a pitch"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    run, instrument, ear, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)
    soundfile.write("voice.wav", voice(), RATE)
    status, err = run("voice.wav", "-o", "o.wav", "-p", instrument, "--method", "pyin", *words)
    assert status != 0
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["voice.wav"]


def test_an_instrument_of_before_2022_hears_loudness_as_its_authors_measured_it(
    instrument, ear, tmp_path
):
    """Its middle note is known, not its quantiles, as of a file that was published."""
    folder, sound = shutil.copytree(instrument, tmp_path / "old"), voice(1.0)
    card = config.load_yaml(folder / "card.yaml")
    card["model"]["options"]["loudness_range_db"] = 120.0
    statistics = {"midi": {"mean": 75.0}, "loudness_db": table(LEVELS)}
    config.dump_yaml(
        {**card, "trained": "elsewhere", "statistics": statistics}, folder / "card.yaml"
    )
    record, meter = Record(), LoudnessMeter(RATE, HOP, 120.0)
    TimbreTransfer(folder, octaves=0, match=False)(sound, RATE, watcher=record)
    played, levels = np.concatenate(record.played), np.concatenate(record.levels)
    expected = np.concatenate([meter.push(sound[:, 0]), meter.flush()])
    np.testing.assert_allclose(levels, expected, atol=1e-3)
    assert played[:, 2].min() == -120  # where the gate is closed
    assert transfer.target(presets.open_preset(folder)).midi == 75


def test_without_statistics_there_is_a_way_and_it_is_said(instrument, ear, tmp_path):
    folder = shutil.copytree(instrument, tmp_path / "bare")
    card = config.load_yaml(folder / "card.yaml")
    config.dump_yaml({**card, "trained": "by hand"}, folder / "card.yaml")
    with pytest.raises(ValueError, match="--octaves 0 --no-match"):
        TimbreTransfer(folder)
    sound, _ = TimbreTransfer(folder, octaves=0, match=False)(voice(1.0), RATE)
    assert len(sound) == RATE


def test_the_default_ships_or_is_one_clear_error(monkeypatch):
    if presets.SYNTHESISER in presets.list_presets():
        assert transfer.check_request(None).name == presets.SYNTHESISER
        return
    with pytest.raises(presets.PresetError, match="configs/synthesis"):
        kzoo.transfer(voice(), RATE)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((4, 2, 2), np.float32), "shape"),
        (np.zeros(0, np.float32), "shape"),
        (np.zeros(4, np.int16), "floating"),
        (np.full(4, np.nan, np.float32), "NaN"),
        (np.zeros((1, 16000), np.float32), "transpose"),
    ],
)
def test_wrong_waveforms_are_refused(instrument, ear, waveform, message):
    with pytest.raises(ValueError, match=message):
        TimbreTransfer(instrument)(waveform, RATE)
