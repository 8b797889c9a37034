"""Steps that do to sources what happens to recordings: equalisers, rooms, codecs, clipping."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from kzoo import audio, config
from kzoo.data.examples import Step
from kzoo.data.mixing.signals import at_level, in_room, level_db, room_tail
from kzoo.data.steps.base import check_range, drawn

ROOMS = ("noise", "images")
CLIPS = ("hard", "soft")
CODECS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
}
# Hz at which they encode; Vorbis does at any.
_RATES = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}
# mp3 does not go to 1, and beyond 0.8 Opus turns into a codec of speech that is out of step by up
# to 0.07 ms.
_HARDEST = {"mp3": 0.99, "opus": 0.8}
_WRITTEN_SAMPLES = 65536  # at once: more overflow the stack of libsndfile's Vorbis encoder
_QUALITY = (0.5, 2.0)  # of a filter: how narrow it is
_DIRECT_DB = (0.0, 10.0)  # of a direct path over a tail of noise
# Of rooms whose reflections are computed: how many there are, places in each, metres.
_IMAGE_ROOMS, _PLACES, _WALL_METRES = 32, 6, 0.4
_SMALLEST_METRES, _LARGEST_METRES = (3.0, 3.0, 2.4), (9.0, 7.0, 3.5)
_EAR_METRES = 0.2  # from one microphone to the next
_MOST_ABSORPTION, _MOST_REFLECTIONS = 0.8, 40


def equalise(
    *, probability: float = 1.0, bands: int = 3, gain_db: float = 6.0, low_hz: float = 60.0,
    high_hz: float = 12000.0, sources: Sequence[str] | None = None, together: bool = False,
) -> Step:  # fmt: skip
    """Raise and lower bands of sources, by as many second-order filters.

    They are peaks of 0.7 to 2.5 octaves, and none is above nine tenths of what the sample rate can
    hold.

    bands: how many there are. gain_db: by how much one is raised or lowered at most.
    low_hz, high_hz: between which they lie, evenly in octaves. sources: these alone; all by
        default.
    together: one equaliser for all; else each has its own.
    """
    if bands < 1 or not gain_db > 0:
        raise ValueError(
            f"equalise: bands and gain_db must be above 0; got {bands} and {gain_db}: leave the "
            "step out for no change"
        )
    names = ("low_hz", "high_hz")
    check_range("equalise", low_hz, high_hz, least=1, most=100_000, names=names)

    def draw(rng):
        octaves = rng.uniform(np.log2(low_hz), np.log2(high_hz), bands)
        gains, qualities = rng.uniform(-gain_db, gain_db, bands), rng.uniform(*_QUALITY, bands)
        return [*zip(2**octaves, gains, qualities, strict=True)]

    def change(source, filters, rate):
        from scipy.signal import sosfilt

        return sosfilt([_peak(*numbers, rate) for numbers in filters], source, axis=0)

    return drawn(draw, change, probability, "equalise", sources, together=together)


def room(
    *, probability: float = 1.0, kind: str = "noise", low_seconds: float = 0.15,
    high_seconds: float = 0.5, sources: Sequence[str] | None = None,
) -> Step:  # fmt: skip
    """Put sources into a room, one for all, in which each has a place; their levels stay.

    kind: "noise" is a tail of white noise that dies away; "images" computes the reflections in a
        box with a microphone for each channel, up to the fortieth (pip install 'kzoo[rooms]'), in
        32 rooms, each of which is computed once.
    low_seconds, high_seconds: between which the time is drawn in which it falls by 60 dB.
    sources: these alone; all by default. What is learned to give back has the room, too.
    """
    config.named(ROOMS, kind, "kind of room")
    names = ("low_seconds", "high_seconds")
    check_range("room", low_seconds, high_seconds, least=0.02, most=5, names=names)
    if kind == "images":
        _pyroomacoustics()

    def draw_tail(rng):
        return rng.uniform(low_seconds, high_seconds), rng.spawn(1)[0]

    def in_noise(source, choice: tuple[float, np.random.Generator], rate):
        seconds, rng = choice
        tail = room_tail(rng, rate, seconds, _DIRECT_DB, source.shape[1])
        return at_level(in_room(source, tail, rate), level_db(source))

    def draw_place(rng):
        number = int(rng.integers(_IMAGE_ROOMS))
        return number, itertools.cycle(rng.permutation(_PLACES))

    def in_box(source, choice: tuple[int, Iterator[int]], rate):
        from scipy.signal import oaconvolve

        number, places = choice
        responses = _responses(number, low_seconds, high_seconds, rate, source.shape[1])
        wet = oaconvolve(source, responses[next(places)], axes=0)[: len(source)]
        return at_level(wet.astype(np.float32), level_db(source))

    choose, change = (draw_tail, in_noise) if kind == "noise" else (draw_place, in_box)
    return drawn(choose, change, probability, "room", sources, together=True)


def codec(
    *, probability: float = 1.0, codecs: Sequence[str] = tuple(CODECS), low: float = 0.3,
    high: float = 1.0, sources: Sequence[str] | None = None, together: bool = True,
) -> Step:  # fmt: skip
    """Encode and decode sources, each by itself, as mp3, Vorbis or Opus; nothing is delayed.

    codecs: of which one is drawn. low, high: between which its compression is drawn, from 0, the
    best and largest, to 1 (libsndfile's scale: 0.9 is 65 to 85 kbit/s for two channels at 44.1 kHz;
    mp3 ends at 0.99, Opus at 0.8). sources: these alone; all by default. together: one codec for
    all; else each has its own.
    """
    if not codecs:
        raise ValueError(f"codec: codecs must name one or more of {', '.join(CODECS)}; got none")
    for name in codecs:
        config.named(CODECS, name, "codec")
    check_range("codec", low, high, least=0, most=1)

    def draw(rng):
        return codecs[int(rng.integers(len(codecs)))], rng.uniform(low, high)

    return drawn(
        draw, lambda source, choice, rate: _coded(source, *choice, rate), probability, "codec",
        sources, together=together,
    )  # fmt: skip


def clip(
    *, probability: float = 1.0, low_db: float = 1.0, high_db: float = 12.0,
    kinds: Sequence[str] = CLIPS, sources: Sequence[str] | None = None, together: bool = False,
) -> Step:  # fmt: skip
    """Overdrive sources: what is above a limit is cut off.

    low_db, high_db: between which the limit is drawn, in dB below the source's peak.
    kinds: of which one is drawn; "hard" cuts at the limit, "soft" bends towards it (tanh).
    sources: these alone; all by default. together: all by the same; else each has its own.
    """
    check_range("clip", low_db, high_db, least=0, most=60, nothing=0, names=("low_db", "high_db"))
    if not kinds:
        raise ValueError(f"clip: kinds must name one or more of {', '.join(CLIPS)}; got none")
    for name in kinds:
        config.named(CLIPS, name, "kind of clipping")

    def change(source, choice, rate):
        kind, below_db = choice
        limit = np.abs(source).max() * np.float32(10 ** (-below_db / 20))
        if not limit:
            return source
        return source.clip(-limit, limit) if kind == "hard" else limit * np.tanh(source / limit)

    return drawn(
        lambda rng: (kinds[int(rng.integers(len(kinds)))], rng.uniform(low_db, high_db)),
        change, probability, "clip", sources, together=together,
    )  # fmt: skip


def _peak(centre_hz: float, gain_db: float, quality: float, sample_rate: int) -> list[float]:
    """The peaking filter of Bristow-Johnson's Audio EQ Cookbook as one section of SciPy's."""
    turn = 2 * np.pi * min(centre_hz / sample_rate, 0.45)
    factor, alpha = 10 ** (gain_db / 40), np.sin(turn) / (2 * quality)
    zeros = [1 + alpha * factor, -2 * np.cos(turn), 1 - alpha * factor]
    poles = [1 + alpha / factor, -2 * np.cos(turn), 1 - alpha / factor]
    return [coefficient / poles[0] for coefficient in (*zeros, *poles)]


def _coded(source: np.ndarray, name: str, compression: float, sample_rate: int) -> np.ndarray:
    import soundfile

    if name == "mp3" and source.shape[1] > 2:
        raise ValueError(
            f"codec: mp3 holds one or two channels; got {source.shape[1]}: name other codecs"
        )
    rates = _RATES.get(name, (sample_rate,))
    rate = min((r for r in rates if r >= sample_rate), default=rates[-1])
    # Encoders clip what is over full scale.
    loudest = max(1.0, float(np.abs(source).max()))
    sound = audio.resample(source / np.float32(loudest), sample_rate, rate)
    container, subtype = CODECS[name]
    about = {
        "samplerate": rate,
        "channels": sound.shape[1],
        "compression_level": min(compression, _HARDEST.get(name, 1.0)),
    }
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", format=container, subtype=subtype, **about) as file:
        for start in range(0, len(sound), _WRITTEN_SAMPLES):
            file.write(sound[start : start + _WRITTEN_SAMPLES])
    encoded.seek(0)
    decoded, _ = soundfile.read(encoded, dtype="float32", always_2d=True)
    decoded = audio.resample(decoded, rate, sample_rate)[: len(source)]
    return np.pad(decoded, ((0, len(source) - len(decoded)), (0, 0))) * np.float32(loudest)


def _pyroomacoustics():
    try:
        import pyroomacoustics
    except ImportError:
        raise ValueError(
            "room: kind=images needs pyroomacoustics: pip install 'kzoo[rooms]', or kind=noise"
        ) from None
    return pyroomacoustics


@functools.lru_cache(maxsize=2 * _IMAGE_ROOMS)
def _responses(
    number: int, low_seconds: float, high_seconds: float, sample_rate: int, channels: int
) -> list[np.ndarray]:
    """Room `number`'s responses `[taps, channels]` from its places, from the direct path on."""
    acoustics = _pyroomacoustics()
    rng = np.random.default_rng((number, sample_rate, channels))
    seconds = rng.uniform(low_seconds, high_seconds)
    size = rng.uniform(_SMALLEST_METRES, _LARGEST_METRES)
    absorption = 0.161 * size.prod() / (seconds * _surface(size))  # Sabine's
    size *= min(1.0, _MOST_ABSORPTION / absorption)
    absorption, reflections = acoustics.inverse_sabine(seconds, size)
    box = acoustics.ShoeBox(
        size, fs=sample_rate, materials=acoustics.Material(absorption),
        max_order=min(reflections, _MOST_REFLECTIONS),
    )  # fmt: skip
    wall = min(_WALL_METRES, size.min() / 4)
    for _ in range(_PLACES):
        box.add_source(rng.uniform(wall, size - wall))
    across = np.minimum(_EAR_METRES * np.arange(channels), size[0] / 2)
    first = rng.uniform(wall, size - wall) * (0.5, 1, 1)
    box.add_microphone_array(first[:, None] + across * np.array([[1.0], [0.0], [0.0]]))
    box.compute_rir()
    found = []
    for place in range(_PLACES):
        taps = [box.rir[microphone][place] for microphone in range(channels)]
        begin = min(int(np.abs(response).argmax()) for response in taps)
        response = np.zeros((max(map(len, taps)) - begin, channels), np.float32)
        for microphone, tap in enumerate(taps):
            response[: len(tap) - begin, microphone] = tap[begin:]
        found.append(response)
    return found


def _surface(size: np.ndarray) -> float:
    width, depth, height = size
    return 2 * (width * depth + width * height + depth * height)
