"""What can be read and written, the words for tags, and the one kind of error."""

import os
import sys
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

# Extensions for help texts and folder scans; reading goes by content, so others may well work.
READABLE = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".mp4", ".aif", ".aiff",
    ".caf", ".w64", ".au", ".webm", ".mka", ".mkv", ".mov", ".wma", ".ac3", ".mp2", ".g722",
)  # fmt: skip

TAGS = (
    "title", "artist", "album", "date", "tracknumber", "genre", "comment", "composer", "copyright",
)  # fmt: skip
_TAG_SYNONYMS = {"track": "tracknumber", "author": "artist", "year": "date", "tyer": "date"} | {
    "imus": "composer",  # RIFF INFO has no composer of its own; this chunk is the usual stand-in
}


class AudioError(ValueError):
    """One line for the user: the file's name, what was found, the way out."""


class PastTheEnd(AudioError):
    """The stretch begins where a whole, undamaged recording has ended."""


@dataclass(frozen=True)
class OutputFormat:
    """What one extension takes: sample rates in Hz and channel counts, and how loss is chosen."""

    name: str
    channels: Container[int]
    sample_rates: Container[int]
    bit_depths: tuple[int | str, ...] = ()  # empty: lossy, a bit depth means nothing
    loss_option: str | None = None  # "bitrate" or "quality"


_WAV = OutputFormat("WAV", range(1, 1025), range(1, 2**31), (16, 24, "float32"))
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
WRITABLE = {
    ".wav": _WAV,
    ".wave": _WAV,
    ".flac": OutputFormat("FLAC", range(1, 9), range(1, 655351), (16, 24)),
    ".ogg": OutputFormat("Ogg Vorbis", range(1, 256), range(8000, 192001), (), "quality"),
    ".opus": OutputFormat("Opus", range(1, 9), (8000, 12000, 16000, 24000, 48000), (), "quality"),
    ".mp3": OutputFormat("MP3", (1, 2), _MP3_RATES, (), "bitrate"),
    ".m4a": OutputFormat("AAC", (1, 2, 6, 8), (*_AAC_RATES, 64000, 88200, 96000), (), "bitrate"),
}


def safe_track_name(path: str | os.PathLike) -> str:
    """The name under which a recording's results are written: its file's without the extension.

    "song.stem.mp4" is "song". A name of dots alone would be a folder above ("...wav"): it keeps its
    extension. Bytes that are not UTF-8 become "_".
    """
    name = Path(path).name
    short = name.removesuffix(Path(name).suffix).removesuffix(".stem")
    name = short if short.strip(". ") else name
    name = name if name.strip(". ") else "recording"
    return name.encode(errors="surrogateescape").decode(errors="replace").replace("\ufffd", "_")


def error(path: str | os.PathLike, text: str, kind: type[AudioError] = AudioError) -> AudioError:
    """Make the one line; line breaks and bytes that are no UTF-8 in a name show as escapes."""
    name = os.fspath(path).replace("\n", "\\n").replace("\r", "\\r")
    name = name.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return kind(f"{name}: {text}".encode(errors="replace").decode())


def refuse_undecodable(path: str | os.PathLike) -> None:
    """AudioError for a name that is not UTF-8, which libsndfile and FFmpeg are not given here."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise error(path, "its name is not UTF-8; rename it") from None


def foreign_errors() -> tuple[type[BaseException], ...]:
    """What the system, soundfile and PyAV raise; a library not yet imported has raised nothing."""
    errors: list[type[BaseException]] = [OSError]
    if "soundfile" in sys.modules:
        errors.append(sys.modules["soundfile"].SoundFileError)
    if "av" in sys.modules:
        errors.append(sys.modules["av"].error.FFmpegError)
    return tuple(errors)


def reason(failure: BaseException) -> str:
    """Say in the words of the library or system what went wrong, without paths and numbers."""
    text = getattr(failure, "strerror", None) or getattr(failure, "error_string", None)
    return " ".join(str(text or failure).split()).rstrip(".")


def canonical_tags(*sources: Mapping[str, str]) -> dict[str, str]:
    """Those of TAGS that any source holds, the first source winning."""
    tags: dict[str, str] = {}
    for source in sources:
        for key, value in source.items():
            word = key.lower()
            word = _TAG_SYNONYMS.get(word, word)
            if word in TAGS and value.strip():
                tags.setdefault(word, value.strip())
    return tags
