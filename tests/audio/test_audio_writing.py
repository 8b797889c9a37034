import subprocess
import sys
import wave

import av
import numpy as np
import pytest
import soundfile
from audio_signals import lag, tones
from scipy.io import wavfile

from kzoo.audio import AudioError, AudioWriter, check_writable, encoders, read, write

TAGS = {
    "title": "Größe", "artist": "B", "album": "C", "date": "1999", "tracknumber": "3",
    "genre": "Rock", "comment": "d", "composer": "Bäch", "copyright": "e",
}  # fmt: skip


def refusal(path, *arguments, **options) -> str:
    with pytest.raises(AudioError) as caught:
        AudioWriter(path, *arguments, **options)
    text = str(caught.value)
    assert text.startswith(str(path)), text
    assert "\n" not in text
    return text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("bits", "extension"), [(16, "wav"), (16, "flac"), (24, "wav"), (24, "flac")]
)
def test_integers_survive_reading_and_writing(tmp_path, bits, extension):
    full = 2 ** (bits - 1)
    ints = np.random.default_rng(0).integers(-full, full, (5000, 2))
    ints[:2] = [[-full, full - 1], [0, -1]]
    shift = 32 - bits
    soundfile.write(tmp_path / "a.wav", (ints << shift).astype(np.int32), 44100, f"PCM_{bits}")
    waveform, rate = read(tmp_path / "a.wav")
    target = tmp_path / f"b.{extension}"
    report = write(target, waveform, rate, bit_depth=bits)
    assert (report.gain, report.clipped_samples) == (1.0, 0)
    back, _ = soundfile.read(target, dtype="int32")
    np.testing.assert_array_equal(back >> shift, ints)


def test_rounding_is_to_nearest_and_full_scale_does_not_wrap(tmp_path):
    steps = np.array([[32768, -32768, 32767.4, 0.4, 0.6, -0.6, 1.4]], np.float32).T
    write(tmp_path / "a.wav", steps / 32768, 8000)
    _, ints = wavfile.read(tmp_path / "a.wav")
    assert ints.tolist() == [32767, -32768, 32767, 0, 1, -1, 1]


def test_python_and_scipy_read_the_wav(tmp_path):
    sound = tones(1001, 1)  # an odd count of 24-bit samples: the chunk needs its padding byte
    write(tmp_path / "a.wav", sound, 44100, bit_depth=24, tags=TAGS)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (1, 3, 44100, 1001)
    write(tmp_path / "b.wav", sound, 44100, bit_depth="float32")
    rate, floats = wavfile.read(tmp_path / "b.wav")
    assert rate == 44100
    np.testing.assert_array_equal(floats, sound[:, 0])


def test_wav_past_the_limit_is_rf64(tmp_path, monkeypatch):
    sound = tones(4000)
    for depth in (16, 24, "float32"):
        target = tmp_path / f"{depth}.wav"
        write(target, sound, 44100, bit_depth=depth)
        assert target.read_bytes()[:4] == b"RIFF"
        size = target.stat().st_size
        monkeypatch.setattr(encoders, "RIFF_LIMIT", size - 9)
        write(target, sound, 44100, bit_depth=depth, overwrite=True)
        monkeypatch.undo()
        assert target.read_bytes()[:4] == b"RF64"
        assert target.stat().st_size == size
        assert soundfile.info(str(target)).format == "RF64"
        np.testing.assert_allclose(soundfile.read(target)[0], sound, atol=2e-5)
        with av.open(str(target)) as container:
            assert container.streams.audio[0].duration == 4000


@pytest.mark.parametrize("extension", ["flac", "ogg", "opus", "mp3", "m4a"])
def test_every_format_keeps_length_and_time(tmp_path, extension):
    for samples in (577, 48_000, 133_077):  # LAME inside FFmpeg miscounts the first and last
        sound = tones(samples, 2, 48000)
        write(tmp_path / f"a.{extension}", sound, 48000, overwrite=True)
        waveform, rate = read(tmp_path / f"a.{extension}")
        assert (rate, waveform.shape) == (48000, sound.shape)
        if samples > 1000:
            assert abs(lag(sound[:, 0], waveform[:, 0])) <= (extension == "opus")
            inside = slice(4096, -4096)
            np.testing.assert_allclose(waveform[inside], sound[inside], atol=0.08)


def test_mp3_keeps_every_length(tmp_path):
    for samples in (1, 577, 1153, 22_827, 133_077 // 4):
        for sample_rate in (16000, 44100):
            write(tmp_path / "a.mp3", tones(samples), sample_rate, overwrite=True)
            assert len(read(tmp_path / "a.mp3")[0]) == samples


def test_bitrate_is_obeyed(tmp_path):
    for extension in ("mp3", "m4a"):
        for bitrate in (96_000, 256_000):
            noise = np.random.default_rng(0).standard_normal((4 * 44100, 2)) * 0.1
            target = tmp_path / f"{bitrate}.{extension}"
            write(target, noise, 44100, bitrate=bitrate)
            assert target.stat().st_size * 8 / 4 == pytest.approx(bitrate, rel=0.05)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "m4a"])
def test_ffmpeg_reads_the_tags(tmp_path, extension):
    target = tmp_path / f"a.{extension}"
    write(target, tones(5000), 44100, tags=TAGS)
    with av.open(str(target)) as container:
        found = {**container.streams.audio[0].metadata, **container.metadata}
    found = {key.lower(): value for key, value in found.items()}
    for name in ("title", "artist", "album", "date", "genre", "comment", "copyright"):
        assert found[name] == TAGS[name], name
    assert found["track"] == "3"


def test_rescaling_is_by_the_peak_and_said(tmp_path):
    sound = 2.5 * tones(100_000)
    with AudioWriter(tmp_path / "a.wav", 44100, 2) as writer:
        for block in np.array_split(sound, 7):
            writer.write(block)
    assert writer.peak == np.abs(sound).max()
    assert writer.gain == pytest.approx(1 / writer.peak)
    assert writer.clipped_samples == 0
    np.testing.assert_allclose(read(tmp_path / "a.wav")[0], sound / writer.peak, atol=4e-5)


def test_stems_with_a_shared_gain_still_sum(tmp_path):
    stems = [3 * tones(5000), 0.5 * tones(5000, 4)[:, 2:]]
    writers = [AudioWriter(tmp_path / f"{i}.wav", 44100, 2, bit_depth=24) for i in range(2)]
    for writer, stem in zip(writers, stems, strict=True):
        writer.write(stem)
    gain = 1 / max(writer.peak for writer in writers)
    for writer in writers:
        writer.finish(gain=gain)
    total = sum(read(tmp_path / f"{i}.wav")[0] for i in range(2))
    np.testing.assert_allclose(total, gain * sum(stems), atol=1e-6)


def test_clamping_is_counted(tmp_path):
    sound = np.array([[0.5], [1.5], [-2.0], [1.0]], np.float32)
    report = write(tmp_path / "a.wav", sound, 8000, bit_depth="float", clip="clamp")
    assert (report.clipped_samples, report.gain, report.peak) == (2, 1.0, 2.0)
    assert read(tmp_path / "a.wav")[0][:, 0].tolist() == [0.5, 1.0, -1.0, 1.0]


@pytest.mark.parametrize("clip", ["none", "rescale"])
def test_floats_beyond_full_scale_are_left_alone(tmp_path, clip):
    sound = 3 * tones(1000)
    report = write(tmp_path / "a.wav", sound, 8000, bit_depth="float32", clip=clip)
    assert (report.clipped_samples, report.gain) == (0, 1.0)
    np.testing.assert_array_equal(read(tmp_path / "a.wav")[0], sound)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a"])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_after_an_exception(tmp_path, name, failure):
    with pytest.raises(failure), AudioWriter(tmp_path / name, 44100, 2) as writer:  # noqa: PT012
        writer.write(tones(50_000))
        assert all(hidden.startswith(".a.") for hidden in names(tmp_path))
        raise failure
    assert names(tmp_path) == []


def test_existing_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "a.wav"
    write(target, tones(100), 44100)
    before = target.read_bytes()
    assert "exists already" in refusal(target, 44100, 2)
    with AudioWriter(target, 44100, 2, overwrite=True) as writer:
        writer.write(tones(200))
        assert target.read_bytes() == before
    assert names(tmp_path) == ["a.wav"]
    assert len(read(target)[0]) == 200


def test_folders_on_the_way_are_made(tmp_path):
    write(tmp_path / "song" / "stems" / "vocals.wav", tones(100), 44100)
    assert names(tmp_path / "song" / "stems") == ["vocals.wav"]


def test_unknown_extension_lists_the_known_ones(tmp_path):
    text = refusal(tmp_path / "a.flca", 44100, 2)
    assert ".wav" in text
    assert "did you mean '.flac'?" in text


def test_what_a_format_cannot_take_is_refused_before_any_file(tmp_path):
    assert "44100 or 48000 Hz; got 96000 Hz" in refusal(tmp_path / "a.mp3", 96000, 2)
    assert "1 or 2 channels; got 6" in refusal(tmp_path / "a.mp3", 44100, 6)
    assert "16 or 24" in refusal(tmp_path / "a.flac", 44100, 2, bit_depth="float32")
    assert "bit_depth must be" in refusal(tmp_path / "a.wav", 44100, 2, bit_depth=20)
    assert "takes no bitrate; .mp3 and .m4a do" in refusal(
        tmp_path / "a.wav", 44100, 2, bitrate=9000
    )
    with pytest.raises(AudioError, match="rescale, clamp, none"):
        check_writable(tmp_path / "a.wav", 44100, 2, clip="wrap")
    assert names(tmp_path) == []


def test_nan_is_not_written(tmp_path):
    sound = tones(44100)
    sound[22050, 0] = np.nan
    with pytest.raises(AudioError, match=r"NaN or infinity at 0\.500 s"):
        write(tmp_path / "a.wav", sound, 44100)
    assert names(tmp_path) == []


def test_no_samples_are_no_file(tmp_path):
    for name in ("a.wav", "a.m4a"):
        with pytest.raises(AudioError, match="0 samples"):
            write(tmp_path / name, np.zeros((0, 2)), 44100)
    assert names(tmp_path) == []


def test_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "song").write_text("x")
    assert "cannot be written" in refusal(tmp_path / "song" / "a.wav", 44100, 2)


@pytest.mark.parametrize("kinds", [("wav", "flac", "ogg", "m4a"), ("mp3",)], ids=" ".join)
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, kinds):
    resource = pytest.importorskip("resource")  # a limit on file size stands for the disk
    del resource
    program = (
        "import resource, sys, numpy as np, kzoo.audio as audio\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "noise = np.random.default_rng(0).uniform(-1, 1, (200_000, 2))\n"
        "for path in sys.argv[1:]:\n"
        "    try: audio.write(path, noise, 44100, clip=path.split('.')[-2])\n"
        "    except audio.AudioError as error: print(error)\n"
    )
    files = [f"a.{clip}.{kind}" for kind in kinds for clip in ("rescale", "clamp")]
    command = [sys.executable, "-c", program, *(str(tmp_path / file) for file in files)]
    run = subprocess.run(command, capture_output=True, text=True)
    for file, line in zip(files, run.stdout.splitlines(), strict=True):
        assert f"{file}: cannot be written" in line
    if kinds != ("mp3",):  # libsndfile's mpg123 puts in a word of its own
        assert run.stderr == ""
    assert names(tmp_path) == []


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint8])
def test_integers_are_refused_and_not_normalised(tmp_path, dtype):
    sound = np.ones((1000, 2), dtype)
    with pytest.raises(AudioError, match=r"floating point with full scale 1\.0; got"):
        write(tmp_path / "a.wav", sound, 44100)
    with (
        pytest.raises(ValueError, match="floating point"),
        AudioWriter(tmp_path / "a.wav", 44100, 2) as writer,
    ):
        writer.write(sound)
    assert names(tmp_path) == []


def test_channels_first_and_wrong_rates_are_refused_before_any_file(tmp_path):
    with pytest.raises(AudioError, match=r"transpose it, waveform\.T"):
        write(tmp_path / "a.wav", tones(1000).T, 44100)
    for rate in (44.1, 0, -44100, "44100", None, float("nan")):
        with pytest.raises(AudioError, match="a sample rate must be a whole number of Hz"):
            write(tmp_path / "a.wav", tones(1000), rate)
        with pytest.raises(AudioError, match="a sample rate must be a whole number of Hz"):
            check_writable(tmp_path / "a.wav", rate, 2)
    assert names(tmp_path) == []
