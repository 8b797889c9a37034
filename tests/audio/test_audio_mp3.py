"""MP3 as it is found: joined, tagged by others, damaged; made here by LAME inside libsndfile."""

import struct

import numpy as np
import pytest
import soundfile
from audio_signals import lag, tones

from kzoo.audio import AudioError, AudioReader, info, read

RATE = 44100


def encoded(path, samples=60_000, **options) -> bytes:
    soundfile.write(path, tones(samples, 2, RATE), RATE, format="MP3", **options)
    return path.read_bytes()


def frames(content: bytes) -> tuple[int, list[int]]:
    """Offsets of the frames of a whole file that LAME wrote, the counting one first."""
    kilobits = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
    offsets, at = [], 0
    while content[at : at + 1] == b"\xff":
        offsets.append(at)
        at += 144_000 * kilobits[content[at + 2] >> 4] // RATE + (content[at + 2] >> 1 & 1)
    return offsets


def headerless(content: bytes) -> bytes:
    return content[frames(content)[1] :]


def id3(content: bytes) -> bytes:
    size = bytes(len(content) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + size + content


def ape(content: bytes) -> bytes:
    size = struct.pack("<II", len(content) + 32, 1)
    head, foot = (struct.pack("<I", flags) for flags in (0xA0000000, 0x80000000))
    mark = b"APETAGEX" + struct.pack("<I", 2000)
    return mark + size + head + bytes(8) + content + mark + size + foot + bytes(8)


NOISE = np.random.default_rng(0).bytes(200_000)  # a cover, in which syncs are found by chance
TRAILERS = {
    "APE with a cover": ape(NOISE),
    "Lyrics3": b"LYRICSBEGININD0000200LYR" + b"la " * 5000 + b"000015026LYRICS200",
    "ID3v1": b"TAG" + bytes(125),
    "Lyrics3 and ID3v1": b"LYRICSBEGIN" + b"la " * 5000 + b"LYRICSEND" + b"TAG" + bytes(125),
    "padding": bytes(100_000),
    "ID3v2": id3(NOISE),
}


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("trailer", TRAILERS)
def test_tags_behind_the_sound_change_nothing(tmp_path, mode, trailer):
    path = tmp_path / "a.mp3"
    content = encoded(path, bitrate_mode=mode, compression_level=0.5)
    expected, _ = read(path)
    path.write_bytes(id3(NOISE) + content + TRAILERS[trailer])
    with AudioReader(path) as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks())), expected)
        assert (reader.samples, reader.warnings) == (60_000, [])


@pytest.mark.parametrize("between", ["nothing", "ID3v2", "APE with a cover", "ID3v1"])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_chunks_behind_the_first_ones_count_are_read_to_the_end(tmp_path, mode, between):
    path = tmp_path / "a.mp3"
    first = encoded(path, 100_000, bitrate_mode=mode, compression_level=0.5)
    second = headerless(encoded(path, 50_000, bitrate_mode=mode, compression_level=0.9))
    path.write_bytes(first + TRAILERS.get(between, b"") + second)
    count = len(frames(first)) - 1 + len(frames(second))
    with pytest.warns(UserWarning, match=r"header counts 2\.27 s, but it goes on to 3\.4. s"):
        waveform, _ = read(path)
    assert len(waveform) == info(path).samples == count * 1152 - 1105
    np.testing.assert_allclose(waveform[2000:98_000], tones(100_000)[2000:98_000], atol=0.05)
    tail = waveform[-52_000:, 0]
    assert 0 <= lag(tones(50_000)[:, 0], tail) < 3000
    assert np.sqrt(np.mean(tail**2)) > 0.2


def test_the_count_of_a_second_file_is_no_sound(tmp_path):
    path = tmp_path / "a.mp3"
    content = encoded(path)
    path.write_bytes(content + content)
    with pytest.warns(UserWarning, match="goes on to"):
        waveform, _ = read(path)
    assert len(waveform) == 2 * (len(frames(content)) - 1) * 1152 - 1105


def test_a_stretch_of_a_joined_file_equals_that_of_the_whole(tmp_path):
    path = tmp_path / "a.mp3"
    path.write_bytes(encoded(path) + headerless(encoded(path, 200_000)))
    with pytest.warns(UserWarning, match="goes on to"):
        whole, _ = read(path)
    for start in (100, 59_000, 150_000):
        with pytest.warns(UserWarning, match="goes on to"):
            part, _ = read(path, start_seconds=start / RATE, duration_seconds=0.5)
        np.testing.assert_allclose(part, whole[start : start + 22_050], atol=1e-6)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_damage_in_the_middle_is_a_warning_and_moves_nothing(tmp_path, mode):
    path = tmp_path / "a.mp3"
    content = bytearray(encoded(path, 200_000, bitrate_mode=mode, compression_level=0.5))
    whole, _ = read(path)
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(5).bytes(3000)
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"a\.mp3: damaged near 2\.\d\d s"):
        waveform, _ = read(path)
    assert len(waveform) == len(whole)
    np.testing.assert_array_equal(waveform[:80_000], whole[:80_000])
    if mode == "CONSTANT":
        np.testing.assert_allclose(waveform[-80_000:], whole[-80_000:], atol=1e-6)
    else:
        assert abs(lag(whole[-80_000:, 0], waveform[-80_000:, 0])) <= 2 * 1152


def test_a_frame_that_cannot_be_decoded_is_silent(tmp_path):
    path = tmp_path / "a.mp3"
    content = bytearray(encoded(path, 200_000, bitrate_mode="CONSTANT", compression_level=0.5))
    whole, _ = read(path)
    at, behind = frames(content)[80:82]
    content[at + 4 : behind] = bytes(255 for _ in range(behind - at - 4))
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=r"damaged near 2\.\d\d s"):
        waveform, _ = read(path)
    assert len(waveform) == len(whole)
    np.testing.assert_allclose(waveform[-80_000:], whole[-80_000:], atol=1e-6)


def test_a_download_that_broke_off_is_still_refused_behind_its_tags(tmp_path):
    path = tmp_path / "a.mp3"
    content = encoded(path, 200_000)
    path.write_bytes(id3(NOISE) + content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"cut short: it ends at 2\.\d\d s of the 4\.54 s"):
        read(path)


def test_half_a_file_of_zeros_is_cut_short(tmp_path):
    path = tmp_path / "a.mp3"
    content = encoded(path, 200_000)
    half = len(content) // 2
    path.write_bytes(content[:half] + bytes(len(content) - half))
    with pytest.raises(AudioError, match="cut short"):
        read(path)
