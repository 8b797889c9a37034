"""Sound as it comes: a hop in and a hop out, in a pipe that stays open and from a microphone."""

import io
import os
import sys
import threading
import types

import numpy as np
import pytest

from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import System
from kzoo.separation.live import Live, from_microphone, through_pipe

RATE, HOP, DELAY = 8000, 80, 120


def late(begun):
    """A system whose speech is half of what it heard DELAY samples before, its noise the rest."""

    def begin():
        kept = np.zeros(DELAY, np.float32)
        begun.append(1)

        def function(block):
            nonlocal kept
            kept = np.concatenate([kept, block[0, :, 0]])
            said, kept = np.split(kept, [HOP])
            return 0.5 * np.stack([said, -said])[None, :, :, None]

        return function

    return System(
        function=None, begin=begin, delay=DELAY, sources=("speech", "noise"), sample_rate=RATE,
        channels=1, grid=BlockGrid(HOP, HOP, context=True),
    )  # fmt: skip


@pytest.fixture
def live():
    return Live(late([]), "speech")


def pcm(rng, samples):
    return rng.integers(-20000, 20000, samples).astype("<i2")


@pytest.mark.parametrize("samples", [0, 1, HOP, 10 * HOP, 10 * HOP + 33])
def test_a_pipe_gives_as_many_samples_as_it_takes(live, rng, samples):
    given, sink = pcm(rng, samples), io.BytesIO()
    report = through_pipe(live, io.BytesIO(given.tobytes()), sink)
    found = np.frombuffer(sink.getvalue(), "<i2")
    np.testing.assert_array_equal(found, np.rint(0.5 * given))
    assert report.dropped == 0


def test_several_sources_are_as_many_channels(rng):
    given, sink = pcm(rng, 10 * HOP + 33), io.BytesIO()
    through_pipe(Live(late([]), "noise", "speech"), io.BytesIO(given.tobytes()), sink)
    found = np.frombuffer(sink.getvalue(), "<i2").reshape(-1, 2)
    np.testing.assert_array_equal(found, np.rint(0.5 * np.stack([-given, given], axis=1)))


def test_the_first_output_leaves_while_the_pipe_is_open(live, rng):
    given = pcm(rng, 10 * HOP)
    read_end, write_end = os.pipe()
    out_read, out_write = os.pipe()
    with os.fdopen(read_end, "rb", 0) as source, os.fdopen(out_write, "wb", 0) as sink:
        worker = threading.Thread(target=through_pipe, args=(live, source, sink), daemon=True)
        worker.start()
        first = DELAY + HOP  # the latency, and one hop more at most
        os.write(write_end, given[: first + HOP].tobytes())
        found = np.frombuffer(os.read(out_read, 4 * HOP), "<i2")
        assert len(found)
        np.testing.assert_array_equal(found, np.rint(0.5 * given[: len(found)]))
        os.close(write_end)
        worker.join(10)
        assert not worker.is_alive()
    os.close(out_read)


def test_a_limit_leaves_a_share_of_what_was_heard(rng):
    live = Live(late([]), "noise", attenuation_limit_db=20.0)
    given, sink = pcm(rng, 5 * HOP), io.BytesIO()
    through_pipe(live, io.BytesIO(given.tobytes()), sink)
    found = np.frombuffer(sink.getvalue(), "<i2")
    np.testing.assert_allclose(found, (0.9 * -0.5 + 0.1) * given, atol=0.51)


def test_what_cannot_run_live_is_refused():
    with pytest.raises(ValueError, match="hears whole blocks cannot run live"):
        Live(
            System(
                function=lambda x: x,
                sources=("speech",),
                sample_rate=RATE,
                channels=1,
                grid=BlockGrid(4, 3),
            ),
            "speech",
        )


def test_a_microphone_is_heard_until_the_end_and_loses_what_does_not_fit(live, monkeypatch, rng):
    played = []

    class Stream:
        """Calls back with 20 hops at once, and later with one at a time."""

        def __init__(self, *, samplerate, blocksize, channels, dtype, device, callback):
            assert (samplerate, blocksize, channels, dtype) == (RATE, HOP, (1, 1), "float32")
            self.callback = callback

        def _call(self, *flags):
            status = types.SimpleNamespace(input_overflow=False, output_underflow=False)
            vars(status).update(dict.fromkeys(flags, True))
            entering = rng.uniform(-1, 1, (HOP, 1)).astype(np.float32)
            leaving = np.full((HOP, 1), np.nan, np.float32)
            self.callback(entering, leaving, HOP, None, status)
            played.append(leaving)

        def __enter__(self):
            for _ in range(20):
                self._call()

        def __exit__(self, *_):
            self._call("input_overflow")
            self._call("output_underflow")

    fake = types.SimpleNamespace(Stream=Stream, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    report = from_microphone(live, seconds=8 * HOP / RATE)
    assert (report.dropped, report.late) == (12 + 1, 19 + 1)  # the first of the 20 is never there
    assert np.all(played[0] == 0)
    assert np.any(played[-1] != 0)
    assert not np.isnan(np.concatenate(played)).any()
    assert "0.1 s of sound, real-time factor" in str(report)
    assert str(report).endswith("13 blocks dropped, 20 late")


def test_the_report_tells_the_share_of_time_and_the_slowest_block(live, monkeypatch, rng):
    durations = [0.002, 0.003, 0.014, *[0.001] * 9]  # of ten hops and two of silence behind them
    moments = iter(np.repeat(np.cumsum([0, *durations]), 2)[1:-1])
    clock = types.SimpleNamespace(perf_counter=lambda: next(moments))
    monkeypatch.setattr("kzoo.separation.live.time", clock)
    report = through_pipe(live, io.BytesIO(pcm(rng, 10 * HOP).tobytes()), io.BytesIO())
    assert next(moments, None) is None
    assert str(report) == (
        "0.1 s of sound, real-time factor 0.23, worst block 14.0 ms of 10.0, "
        "0 blocks dropped, 0 late"
    )


def test_without_sounddevice_the_extra_is_named(live, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ImportError, match=r"pip install 'kzoo\[live\]'"):
        from_microphone(live)
