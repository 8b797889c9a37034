import importlib.util
import os
import struct
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from audio_signals import by_pyav, lag, tones
from scipy.io import wavfile

from kzoo.audio import AudioError, AudioReader, decoders, info, read, write

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def refusal(path, **options) -> str:
    with pytest.raises(AudioError) as caught:
        read(path, **options)
    text = str(caught.value)
    assert text.startswith(str(path)), text
    assert "\n" not in text
    return text


@pytest.fixture
def sound():
    return tones(60_000)


def test_import_loads_no_audio_library():
    program = (
        "import sys, kzoo.audio; print([m for m in ('av', 'soundfile', 'soxr', 'scipy', "
        "'tensorflow') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def test_sixteen_bit_wav_reads_as_scipy_does(tmp_path):
    ints = np.arange(-32768, 32768, dtype=np.int16).reshape(-1, 2)
    wavfile.write(tmp_path / "a.wav", 22050, ints)
    waveform, sample_rate = read(tmp_path / "a.wav")
    assert sample_rate == 22050
    assert waveform.dtype == np.float32
    np.testing.assert_array_equal(waveform, ints / np.float32(32768))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_full_scale_is_one_whatever_the_sample_type(tmp_path, dtype):
    sound = tones(2000, 1)
    if dtype == "uint8":
        samples = np.round(sound * 128 + 128).astype(np.uint8)
    elif dtype == "int32":
        samples = np.round(sound.astype(np.float64) * 2**31).astype(np.int32)
    else:
        samples = sound.astype(dtype)
    wavfile.write(tmp_path / "a.wav", 8000, samples)
    np.testing.assert_allclose(
        read(tmp_path / "a.wav")[0], sound, atol=1 / 128 if dtype == "uint8" else 1e-7
    )


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "flac", "alac"])
def test_integers_of_any_width_reach_full_scale_through_ffmpeg(tmp_path, sound, codec):
    by_pyav(tmp_path / "a.mka", sound, 44100, codec, "matroska")
    waveform, _ = read(tmp_path / "a.mka")
    assert len(waveform) == len(sound)
    np.testing.assert_allclose(waveform, sound, atol=1 / 100 if codec == "pcm_u8" else 1e-4)


def test_mp3_equals_libsndfile_to_the_sample(tmp_path, sound):
    for sample_rate in (16000, 44100):
        soundfile.write(tmp_path / "a.mp3", sound, sample_rate, format="MP3")
        expected, _ = soundfile.read(tmp_path / "a.mp3", dtype="float32")
        waveform, rate = read(tmp_path / "a.mp3")
        assert (len(waveform), rate) == (len(sound), sample_rate)
        np.testing.assert_allclose(waveform, expected, atol=1e-5)
        assert info(tmp_path / "a.mp3").samples == len(sound)


def test_mp3_without_a_count_reads_to_its_end(tmp_path, sound):
    soundfile.write(tmp_path / "a.mp3", sound, 44100, format="MP3")
    whole = (tmp_path / "a.mp3").read_bytes()
    header = max(whole.find(b"Xing"), whole.find(b"Info"))
    second = whole.find(whole[:2], header)
    (tmp_path / "b.mp3").write_bytes(whole[second:])
    assert info(tmp_path / "b.mp3").samples is None
    waveform, _ = read(tmp_path / "b.mp3")
    assert len(waveform) >= len(sound)
    assert lag(sound[:, 0], waveform[:, 0]) == 1105  # the delay that only the header told


@pytest.mark.parametrize("samples", [60_000, 61_440, 60_417])
def test_m4a_is_aligned_and_as_long_as_what_was_encoded(tmp_path, samples):
    sound = tones(samples)
    by_pyav(tmp_path / "a.m4a", sound, 44100, "aac", "ipod")
    waveform, _ = read(tmp_path / "a.m4a")
    assert len(waveform) == info(tmp_path / "a.m4a").samples == samples
    assert lag(sound[:, 0], waveform[:, 0]) == 0
    inside = slice(2048, -2048)  # FFmpeg encodes its first frame badly
    np.testing.assert_allclose(waveform[inside], sound[inside], atol=0.02)


def test_raw_g722_is_as_long_as_its_bytes_say(tmp_path):
    sound = tones(30_000, 1, 16000)
    by_pyav(tmp_path / "a.g722", sound, 16000, "g722", "g722", layout="mono")
    found = info(tmp_path / "a.g722")
    assert (found.samples, found.sample_rate, found.channels) == (30_000, 16000, 1)
    waveform, _ = read(tmp_path / "a.g722")
    assert len(waveform) == 30_000
    delay = lag(sound[:, 0], waveform[:, 0])  # of the codec's filters
    assert 0 <= delay < 32
    np.testing.assert_allclose(waveform[delay:], sound[: len(sound) - delay], atol=0.05)
    part, _ = read(tmp_path / "a.g722", start_seconds=1.5, duration_seconds=0.2)
    np.testing.assert_array_equal(part, waveform[24_000:27_200])


FILES = {
    "wav": lambda path, sound: soundfile.write(path, sound, 48000, format="WAV"),
    "flac": lambda path, sound: soundfile.write(path, sound, 48000),
    "ogg": lambda path, sound: soundfile.write(path, sound, 48000),
    "opus": lambda path, sound: soundfile.write(path, sound, 48000, format="OGG", subtype="OPUS"),
    "mp3": lambda path, sound: soundfile.write(path, sound, 48000, format="MP3"),
    "m4a": lambda path, sound: by_pyav(path, sound, 48000, "aac", "ipod"),
    "mp4": lambda path, sound: by_pyav(path, sound, 48000, "libopus", "mp4"),
    "webm": lambda path, sound: by_pyav(path, sound, 48000, "libopus", "webm"),
    "aac": lambda path, sound: by_pyav(path, sound, 48000, "aac", "adts"),
    "mp2": lambda path, sound: by_pyav(path, sound, 48000, "mp2", "mp2"),
    "flv": lambda path, sound: by_pyav(path, sound, 48000, "aac", "flv"),
}


@pytest.mark.parametrize("extension", FILES)
def test_a_stretch_equals_the_same_stretch_of_the_whole(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    FILES[extension](path, tones(200_000, 2, 48000))
    whole, _ = read(path)
    for start, samples in ((0, 1), (47, 1000), (99_999, 33_333), (190_000, None)):
        part, _ = read(
            path,
            start_seconds=start / 48000,
            duration_seconds=None if samples is None else samples / 48000,
        )
        expected = whole[start:] if samples is None else whole[start : start + samples]
        assert part.shape == expected.shape
        # The AAC decoder fills some bands with noise of its own, the MP2 decoder dithers, and
        # Opus keeps a memory, which fades before the start.
        tolerance = 1e-3 if extension in ("m4a", "aac", "mp2", "mp4") else 0
        np.testing.assert_allclose(part, expected, atol=tolerance)


@pytest.mark.parametrize("codec", ["ac3", "eac3"])
def test_a_stretch_of_raw_ac3_stays_in_place_however_late(tmp_path, codec):
    path = tmp_path / "a.ac3"
    by_pyav(path, tones(300_000, 2, 44100), 44100, codec, codec)
    whole, _ = read(path)
    for start in (90_000, 250_000):
        part, _ = read(path, start_seconds=start / 44100, duration_seconds=0.1)
        np.testing.assert_array_equal(part, whole[start : start + 4410])


@pytest.mark.parametrize("extension", ["wav", "mp3", "m4a"])
def test_blocks_have_the_asked_length_and_join_to_the_whole(tmp_path, extension):
    FILES[extension](tmp_path / "a", tones(50_000, 2, 48000))
    whole, _ = read(tmp_path / "a")
    with AudioReader(tmp_path / "a", block_samples=7000) as reader:
        blocks = list(reader.blocks())
        again = list(reader.blocks())
        assert reader.samples == 50_000
    assert [len(block) for block in blocks] == [7000] * 7 + [1000]
    np.testing.assert_array_equal(np.concatenate(blocks), whole)
    np.testing.assert_array_equal(np.concatenate(again), whole)


def test_five_channels_and_a_subwoofer_at_any_rate(tmp_path):
    for sample_rate in (8000, 96000, 192000):
        sound = tones(3000, 6, sample_rate)
        for extension in ("wav", "flac"):
            soundfile.write(tmp_path / f"a.{extension}", sound, sample_rate, subtype="PCM_24")
            waveform, rate = read(tmp_path / f"a.{extension}")
            assert rate == sample_rate
            np.testing.assert_allclose(waveform, sound, atol=2**-23)


def test_eight_planar_channels(tmp_path):
    sound = tones(5000, 8, 48000)
    by_pyav(tmp_path / "a.m4a", sound, 48000, "alac", "ipod", layout="7.1(wide)")
    waveform, _ = read(tmp_path / "a.m4a")
    assert waveform.shape == sound.shape
    powers = np.abs(waveform.T @ sound)
    assert sorted(powers.argmax(axis=1)) == list(range(8))  # every channel arrives, once


def test_each_stream_of_an_mp4_is_found(tmp_path):
    sounds = [tones(20_000) * gain for gain in (1.0, 0.5, 0.25)]
    by_pyav(tmp_path / "a.stem.mp4", sounds, 44100, "alac", "mp4")
    assert info(tmp_path / "a.stem.mp4").n_streams == 3
    for stream, sound in enumerate(sounds):
        np.testing.assert_allclose(
            read(tmp_path / "a.stem.mp4", stream=stream)[0], sound, atol=1e-4
        )
    assert "3 audio streams, 0 to 2" in refusal(tmp_path / "a.stem.mp4", stream=3)


def test_native_instruments_stems_sum_to_their_mix():
    package = importlib.util.find_spec("stempeg")
    files = list(Path(package.origin).parent.glob("data/*.stem.mp4")) if package else []
    if not files:
        pytest.skip("stempeg, which carries a stem.mp4, is not installed")
    assert info(files[0]).n_streams == 5
    mix, *stems = (read(files[0], stream=stream)[0] for stream in range(5))
    assert all(stem.shape == mix.shape for stem in stems)
    # Lossy each, and mastered: correlated, not equal.
    assert np.corrcoef(sum(stems).ravel(), mix.ravel())[0, 1] > 0.95


def test_resampled_reading_keeps_pitch_and_length(tmp_path):
    seconds = np.arange(44100)[:, None] / 44100
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 1000 * seconds), 44100, "FLOAT")
    waveform, sample_rate = read(tmp_path / "a.wav", sample_rate=16000)
    assert (sample_rate, waveform.shape) == (16000, (16000, 1))
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000)[:, None] / 16000)
    np.testing.assert_allclose(waveform[1000:-1000], expected[1000:-1000], atol=1e-4)


def test_a_wav_of_nothing_but_sound_needs_no_second_decoder(tmp_path, sound, monkeypatch):
    monkeypatch.setattr(decoders, "av_open", None)
    write(tmp_path / "bare.wav", sound, 44100)
    assert info(tmp_path / "bare.wav").tags == {}
    write(tmp_path / "tagged.wav", sound, 44100, tags={"title": "A"})
    with pytest.raises(TypeError):
        info(tmp_path / "tagged.wav")


def test_tags_have_the_same_names_in_every_container(tmp_path, sound):
    tags = {"title": "Größe", "artist": "B", "date": "1999", "tracknumber": "3", "comment": "c"}
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.m4a"):
        write(tmp_path / name, sound, 44100, tags=tags)
        assert info(tmp_path / name).tags == tags, name


def test_format_is_told_by_content(tmp_path, sound):
    soundfile.write(tmp_path / "a.flac", sound, 44100)
    (tmp_path / "a.flac").rename(tmp_path / "a.mp3")
    assert info(tmp_path / "a.mp3").format == "flac"
    np.testing.assert_allclose(read(tmp_path / "a.mp3")[0], sound, atol=1e-4)


def hollow_wav(path, size, tail, stated):
    """A mono WAV at 48 kHz whose `size` bytes of sound are a hole up to the tail."""
    form = struct.pack("<HHIIHH", 1, 1, 48000, 96000, 2, 16)
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", stated) + b"WAVEfmt " + struct.pack("<I", 16) + form)
        file.write(b"data" + struct.pack("<I", stated))
        file.seek(size - tail.nbytes, 1)
        file.write(tail.tobytes())


@pytest.mark.parametrize("stated", [0xFFFFFFFF, 0, 5_000_000_000 - 2**32])
def test_wav_beyond_four_gigabytes_with_a_wrong_size_is_read_to_its_tail(tmp_path, stated):
    path, samples = tmp_path / "pipe.wav", 2_500_000_000
    tail = np.arange(1, 1001, dtype="<i2")
    hollow_wav(path, 2 * samples, tail, stated)
    assert info(path).samples == samples
    with AudioReader(path, start_seconds=(samples - 1000) / 48000) as reader:
        (block,) = reader.blocks()
        assert len(reader.warnings) == (stated != 0xFFFFFFFF)  # which pipes leave by custom
    np.testing.assert_array_equal(block[:, 0], tail / np.float32(32768))


def test_wav_of_a_recorder_that_was_killed_is_read_and_warned_of(tmp_path):
    tail = np.arange(-500, 501, dtype="<i2")
    hollow_wav(tmp_path / "a.wav", tail.nbytes, tail, 0)
    with pytest.warns(UserWarning, match="says 0 bytes of sound; 2002 are read"):
        waveform, _ = read(tmp_path / "a.wav")
    np.testing.assert_array_equal(waveform[:, 0], tail / np.float32(32768))


def test_rf64_beyond_four_gigabytes_is_read_to_its_tail(tmp_path):
    path = tmp_path / "long.wav"
    samples = 2_500_000_000  # 16 bits, mono: 5 GB, nearly all of it a hole in the file
    tail = np.arange(1, 1001, dtype="<i2")
    size = 2 * samples
    form = struct.pack("<HHIIHH", 1, 1, 48000, 96000, 2, 16)
    with open(path, "wb") as file:
        file.write(
            b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<IQQQI", 28, size + 72, size, samples, 0)
        )
        file.write(b"fmt " + struct.pack("<I", 16) + form + b"data\xff\xff\xff\xff")
        file.seek(size - tail.nbytes, 1)
        file.write(tail.tobytes())
    assert info(path).samples == samples
    with AudioReader(path, start_seconds=(samples - 1000) / 48000) as reader:
        assert reader.samples == 1000
        (block,) = reader.blocks()
    np.testing.assert_array_equal(block[:, 0], tail / np.float32(32768))


def test_missing_file_is_named(tmp_path):
    assert "no such file" in refusal(tmp_path / "none.wav")


def test_folder_is_named(tmp_path):
    assert "is a folder" in refusal(tmp_path)


def test_empty_file_is_named(tmp_path):
    (tmp_path / "a.wav").touch()
    assert "0 bytes" in refusal(tmp_path / "a.wav")


def test_text_renamed_to_wav_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("Liebe Grüße, " * 200)
    assert "is text" in refusal(tmp_path / "a.wav")


def test_playlist_is_text_and_fetches_nothing(tmp_path):
    (tmp_path / "a.mp3").write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.mp3\n")
    assert "is text" in refusal(tmp_path / "a.mp3")


def test_wav_without_samples_is_named(tmp_path):
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 44100, 0, "NONE", ""))
    assert "0 samples" in refusal(tmp_path / "a.wav")
    with open(tmp_path / "a.wav", "ab") as file:
        file.write(b"LIST" + struct.pack("<I", 14) + b"INFOIART" + struct.pack("<I", 2) + b"B\0")
    assert "0 samples" in refusal(tmp_path / "a.wav")


def test_picture_is_named(tmp_path):
    import av

    with av.open(str(tmp_path / "a.png"), "w", format="image2") as output:
        stream = output.add_stream("png", rate=1)
        stream.width = stream.height = 16
        stream.pix_fmt = "rgb24"
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert "no audio stream, only video (png)" in refusal(tmp_path / "a.png")


def test_noise_bytes_are_named(tmp_path):
    (tmp_path / "a.wav").write_bytes(np.random.default_rng(3).bytes(5000))
    assert "no audio that can be read" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_is_named_with_its_time(tmp_path, bad):
    sound = tones(60_000)
    sound[48_000, 1] = bad
    soundfile.write(tmp_path / "a.wav", sound, 48000, "FLOAT")
    assert "1.000 s is not a number" in refusal(tmp_path / "a.wav")
    assert "1.000 s is not a number" in refusal(tmp_path / "a.wav", start_seconds=0.5)
    assert len(read(tmp_path / "a.wav", duration_seconds=1.0)[0]) == 48_000


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_file_cut_short_is_named_and_its_remains_can_be_read(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    if extension == "m4a":  # with the index in front, as in a download that broke off
        import av

        FILES[extension](tmp_path / "b.m4a", tones(200_000, 2, 48000))
        with (
            av.open(str(tmp_path / "b.m4a")) as source,
            av.open(str(path), "w", format="ipod", options={"movflags": "faststart"}) as output,
        ):
            stream = output.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(source.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
    else:
        FILES[extension](path, tones(200_000, 2, 48000))
    whole, _ = read(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    text = refusal(path)
    assert "cut short" in text
    seconds = float(text.rpartition("a duration of ")[2].removesuffix(" s"))
    assert 1 < seconds < 3.5
    remains, _ = read(path, duration_seconds=seconds)
    np.testing.assert_allclose(remains, whole[: len(remains)], atol=1e-6)
    assert len(remains) == round(seconds * 48000)


@pytest.mark.parametrize("extension", ["flac", "ogg", "m4a"])
def test_damage_inside_a_file_is_named(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    FILES[extension](path, tones(200_000, 2, 48000))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(5).bytes(3000)
    path.write_bytes(content)
    assert "cut short" in refusal(path)


def test_wav_of_unknown_length_is_read_to_its_end(tmp_path, sound):
    soundfile.write(tmp_path / "a.wav", sound, 44100)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = b"\xff\xff\xff\xff"  # as a pipe leaves it
    (tmp_path / "a.wav").write_bytes(content)
    assert len(read(tmp_path / "a.wav")[0]) == len(sound)


@pytest.mark.parametrize("extension", ["wav", "m4a", "aac"])
def test_start_past_the_end_is_named(tmp_path, extension):
    FILES[extension](tmp_path / "a", tones(48_000, 2, 48000))
    assert "past its end" in refusal(tmp_path / "a", start_seconds=5.0)


@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.flac"])
def test_every_link_of_a_chain_is_read(tmp_path, name):
    path = tmp_path / name
    rest = {"subtype": "OPUS"} if name == "a.opus" else {}
    form = "FLAC" if name == "a.flac" else "OGG"
    links = []
    for samples in (30_000, 5_000, 70_001):
        soundfile.write(path, tones(samples, 2, 48000), 48000, format=form, **rest)
        links.append((path.read_bytes(), read(path)[0]))
    path.write_bytes(b"".join(content for content, _ in links))
    expected = np.concatenate([waveform for _, waveform in links])
    with AudioReader(path) as reader:
        assert reader.samples == len(expected) == 105_001
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), expected)
    for start in (29_990, 30_000, 34_999, 60_000):
        part, _ = read(path, start_seconds=start / 48000, duration_seconds=0.25)
        np.testing.assert_array_equal(part, expected[start : start + 12_000])


def test_a_chain_that_changes_its_rate_is_named(tmp_path):
    for name, rate in (("a.flac", 48000), ("b.flac", 44100)):
        soundfile.write(tmp_path / name, tones(10_000), rate)
    (tmp_path / "c.flac").write_bytes(
        (tmp_path / "a.flac").read_bytes() + (tmp_path / "b.flac").read_bytes()
    )
    assert "changes from 48000 Hz, 2 channels to 44100 Hz" in refusal(tmp_path / "c.flac")


def test_telephone_wav_of_a_codec_that_cannot_be_sought(tmp_path):
    sound = tones(30_000, 1, 8000)
    soundfile.write(tmp_path / "a.wav", sound, 8000, subtype="GSM610")
    waveform, rate = read(tmp_path / "a.wav")
    assert rate == 8000
    assert 0 <= len(waveform) - len(sound) < 320  # whole blocks of the codec
    np.testing.assert_allclose(waveform[:30_000], sound, atol=0.2)
    part, _ = read(tmp_path / "a.wav", start_seconds=1.0, duration_seconds=0.5)
    np.testing.assert_array_equal(part, waveform[8000:12_000])


def test_pipes_are_refused_at_once_and_devices_too(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    assert "is a pipe, but containers are read back and forth; give -" in refusal(
        tmp_path / "a.wav"
    )
    with pytest.raises(AudioError, match="is no regular file"):
        read("/dev/zero")


def test_second_stream_of_a_wav_is_refused(tmp_path, sound):
    soundfile.write(tmp_path / "a.wav", sound, 44100)
    assert "1 audio stream, stream 0" in refusal(tmp_path / "a.wav", stream=1)


def test_names_with_colons_spaces_and_umlauts(tmp_path, sound):
    for name in ("http:a b.wav", "Über ä#%d?.mp3", "-a.m4a"):
        write(tmp_path / name, sound, 44100)
        assert len(read(tmp_path / name)[0]) == len(sound)


def test_real_recordings_read_as_libsndfile_does():
    files = sorted((SHARED / "mixtures").glob("*.mp3"))
    if not files:
        pytest.skip(f"no recordings in {SHARED}")
    for file in files:
        expected, rate = soundfile.read(file, dtype="float32", always_2d=True)
        waveform, sample_rate = read(file)
        assert sample_rate == rate
        np.testing.assert_allclose(waveform, expected, atol=2e-5)
