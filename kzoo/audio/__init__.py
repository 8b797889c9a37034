"""Audio files are read and written, and resampled where asked, without an ffmpeg program.

Sound is float32 `[samples, channels]` with full scale 1.0, beside its `sample_rate` in Hz.
libsndfile (through soundfile) reads what it reads well, FFmpeg's libraries (inside PyAV's wheel)
the rest; what a file is, is told by its content and never by its name. Whatever is wrong with a
file is an `AudioError` of one line: its name, what was found, the way out.

    waveform, sample_rate = read("song.mp3")
    with AudioReader("song.stem.mp4", stream=4) as reader, AudioWriter("vocals.wav",
            reader.sample_rate, reader.channels) as writer:
        for block in reader.blocks():
            writer.write(block)
"""

from kzoo.audio.arrays import checked_rate, checked_waveform
from kzoo.audio.formats import (
    READABLE,
    WRITABLE,
    AudioError,
    OutputFormat,
    PastTheEnd,
    safe_track_name,
)
from kzoo.audio.layouts import channel_groups, speaker_mask
from kzoo.audio.reading import AudioInfo, AudioReader, info, read
from kzoo.audio.resampling import StreamResampler, mono, pieces, resample
from kzoo.audio.writing import AudioWriter, Written, check_writable, write

__all__ = [
    "READABLE",
    "WRITABLE",
    "AudioError",
    "AudioInfo",
    "AudioReader",
    "AudioWriter",
    "OutputFormat",
    "PastTheEnd",
    "StreamResampler",
    "Written",
    "channel_groups",
    "check_writable",
    "checked_rate",
    "checked_waveform",
    "info",
    "mono",
    "pieces",
    "read",
    "resample",
    "safe_track_name",
    "speaker_mask",
    "write",
]
