"""Recordings to files: what is refused, what is left behind, and what the Wiener filter surveys."""

import struct

import numpy as np
import pytest
import soundfile

from kzoo.audio import AudioError
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines import tensorflow
from kzoo.separation import BlockSeparator, System, selection, separate_file

RATE = 8000


def separator(function=lambda block: np.stack([block, 0 * block], axis=1)):
    return BlockSeparator(
        System(
            function=function, sources=("vocals", "rest"), sample_rate=RATE, channels=1,
            grid=BlockGrid(400, 400),
        )
    )  # fmt: skip


@pytest.fixture
def song(tmp_path, rng):
    path = tmp_path / "song.wav"
    soundfile.write(path, 0.1 * rng.standard_normal(4000), RATE)
    return path


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_recording_that_failed_leaves_no_empty_folder(song, tmp_path, error):
    def failing(block):
        raise error

    (tmp_path / "out").mkdir()
    targets = {name: tmp_path / "out" / "a" / "song" / f"{name}.wav" for name in ("vocals", "rest")}
    with pytest.raises(error):
        separate_file(separator(failing), song, targets)
    assert list((tmp_path / "out").iterdir()) == []


def test_folders_that_hold_something_stay_where_a_recording_fails(song, tmp_path):
    def failing(block):
        (tmp_path / "new" / "note.txt").write_text("kept")
        raise MemoryError

    targets = {name: tmp_path / "new" / "song" / f"{name}.wav" for name in ("vocals", "rest")}
    with pytest.raises(MemoryError):
        separate_file(separator(failing), song, targets)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["note.txt"]


def test_a_target_that_exists_is_refused_and_stays(song, tmp_path):
    targets = {name: tmp_path / f"{name}.wav" for name in ("vocals", "rest")}
    targets["rest"].write_text("mine")
    with pytest.raises(AudioError, match="exists already"):
        separate_file(separator(), song, targets)
    assert targets["rest"].read_text() == "mine"
    assert not targets["vocals"].exists()


def test_two_stems_of_a_single_source_make_no_sense():
    with pytest.raises(ValueError, match="speech is the only one"):
        selection(["speech"], two_stems="speech")


def test_the_wiener_filters_survey_keeps_the_highest_peak_of_all_blocks(tiny_preset, tmp_path, rng):
    system = tensorflow.system(tiny_preset(tmp_path / "tiny"), mwf=True)
    noise = rng.standard_normal((1, system.grid.samples, 2)).astype(np.float32)
    loud, quiet = 0.5 * noise, 0.01 * noise
    peak = system.survey(None, loud)[2]
    assert np.all(peak > 10 * system.survey(None, quiet)[2])
    for blocks in ([loud, quiet], [quiet, loud], [quiet, loud, quiet]):
        state = None
        for block in blocks:
            state = system.survey(state, block)
        np.testing.assert_array_equal(state[2], peak)


def test_what_is_wrong_with_the_recording_is_a_note(tmp_path, rng):
    system = System(
        function=lambda block: np.stack([0.75 * block, 0.25 * block], axis=1),
        sources=("loud", "soft"),
        sample_rate=RATE,
        channels=1,
        grid=BlockGrid(400, 300, 0),
    )
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    sound = rng.integers(-9000, 9000, 1000).astype("<i2").tobytes()
    recording = tmp_path / "killed.wav"  # the recorder never came to write the sizes
    recording.write_bytes(b"RIFF\0\0\0\0WAVEfmt " + form + b"data\0\0\0\0" + sound)
    targets = {name: tmp_path / f"{name}.wav" for name in system.sources}
    report = separate_file(BlockSeparator(system), recording, targets)
    assert report.notes == ["its header says 0 bytes of sound; 2000 are read"]
    assert report.seconds == 1000 / RATE
