"""Examples that prove an export: sounds for what hears, a melody for what is played."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from kzoo.deploy.proof import Proof, Streaming
from kzoo.dsp.notes import midi_to_hz
from kzoo.dsp.quantisation import codes_of, mu_law_codes
from kzoo.layers.masks import source_names

WAVEFORM, AUDIO = "waveform", "audio"
_DEFAULT_SECONDS, _LONGEST_SECONDS = 4, 30  # of sound to compare on, where any length is taken
_PASSAGES = 4  # as long as a block, of the sound to compare on
_FRAMES = 250  # of controls to compare on, where any number is taken


def sound_proof(
    model: keras.Model,
    *,
    sample_rate: int,
    sources: Sequence[str] | None = None,
    sound: np.ndarray | None = None,
    description: str | None = None,
    speech_db: float | None = None,
    stream: Streaming | None = None,
    conditions: Sequence[str] = (),
    size: Any = None,
) -> Proof:
    """Prove a model that separates: `[batch, samples, channels]` to one such per source.

    sources: by default those that the model's last layer names. The model's output may have no
        axis of sources where there is one.
    sound: float32 `[samples, channels]` to compare on, repeated or cut to the model's length, or to
        its first 30 s, and what it is; by default `parity_sound`.
    speech_db: the level of `noisy_speech`, which takes the place of `parity_sound`, for models that
        are made for speech; that music is then one of the probes. stream: its streaming form.
    conditions: what the numbers of its second input ask for, each of which must hold alone, and a
        mix of all.
    size: its sizes; the card has `joining` where their recordings are standardised, or their blocks
        joined linearly or centred.
    Further inputs, such as the random numbers of a generative model, bear their own names and get
    standard normal numbers. Raises ValueError for a model without names of its sources, one that
    has no waveform first, and further inputs of open shapes.
    """
    first, *others = model.inputs
    if len(first.shape) != 3 or any(None in x.shape[1:] for x in others):
        shapes = ", ".join(str(tuple(x.shape)) for x in model.inputs)
        raise ValueError(
            f"{model.name!r} must take a waveform [batch, samples, channels] and further inputs of "
            f"fixed shapes; it takes {shapes}"
        )
    _, block, channels = first.shape
    further_sounds = {}
    if sound is None:
        length = block or _DEFAULT_SECONDS * sample_rate
        song, description = parity_sound(sample_rate, channels, _PASSAGES * length)
        sound, *passages = np.split(song, _PASSAGES)
        if speech_db is not None:
            further_sounds[description] = sound
            sound, description = noisy_speech(sample_rate, channels, length, level_db=speech_db)
    else:
        length, passages = block or min(len(sound), _LONGEST_SECONDS * sample_rate), []
        sound = fitted_to(np.asarray(sound), channels, length)
    further_sounds |= probes(channels, length)
    rng = np.random.default_rng(0)
    further = {x.name: rng.standard_normal((1, *x.shape[1:])).astype(x.dtype) for x in others}
    description = description or "given by the caller"
    also, told = {}, {}
    if conditions:
        (asked,) = further
        first, *rest = asked_for(conditions).items()
        also = {what: {WAVEFORM: sound[None], asked: vector} for what, vector in rest}
        description, further = f"{description}, asked for {first[0]}", {asked: first[1]}
        told = {"condition": {"input": asked, "names": list(conditions)}}
    sources = list(source_names(model) if sources is None else sources)
    return Proof(
        inputs={WAVEFORM: sound[None], **further},
        outputs=sources,
        stacked=len(model.outputs[0].shape) == 4,
        description=description,
        also=also,
        reference=WAVEFORM,
        stream=stream,
        passages=[{WAVEFORM: passage[None], **further} for passage in passages],
        probes={
            what: {WAVEFORM: probe[None], **further}
            for what, probe in further_sounds.items()
        },
        card={
            "block_samples": block,
            "latency_ms": block and 1000 * block / sample_rate,
            "channels": channels,
            "sources": sources,
            **_joined(block, sample_rate, size),
            "input": WAVEFORM,
            **told,
        },
    )  # fmt: skip


def _joined(block: int | None, sample_rate: int, size: Any) -> dict[str, Any]:
    """The card's `overlap_samples`, and its `joining` where blocks do not fade as is the rule."""
    if size is not None:
        grid = size.grid()
        told = {
            "linear": grid.linear, "centred": grid.centred, "standardised": size.standardised,
        }  # fmt: skip
        if any(told.values()):
            return {
                "overlap_samples": block and block * grid.overlap // grid.samples,
                "joining": told,
            }
    return {"overlap_samples": block and min(sample_rate, block // 4)}


def asked_for(conditions: Sequence[str]) -> dict[str, np.ndarray]:
    """{what: condition `[1, conditions]`}: each alone, and a mix of all in falling shares."""
    count = len(conditions)
    alone = dict(zip(conditions, np.eye(count, dtype=np.float32)[:, None], strict=True))
    return {**alone, "a mix of all": np.linspace(1, 1 / count, count, dtype=np.float32)[None]}


def melody_proof(
    model: keras.Model,
    *,
    hop_length: int,
    stream: Streaming | None = None,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> Proof:
    """Prove a model that is played: named controls `[batch, frames, 1]` to "audio".

    hop_length: samples of a frame. stream: its streaming form. told: more fields of the card.
    """
    return Proof(
        inputs=melody(model, hop_length=hop_length),
        outputs=[AUDIO],
        description="a melody, seed 0",
        stream=stream,
        card={"block_samples": model.outputs[0].shape[1], "channels": 1, **told},
    )


def frames_proof(
    model: keras.Model,
    output: str,
    *,
    sample_rate: int,
    hop_length: int,
    sound: np.ndarray | None = None,
    description: str | None = None,
) -> Proof:
    """Prove a model that says something of frames: `[batch, samples, channels]` to `output`.

    output: what that is called, `[batch, frames, ...]`: "activations" of pitch, or "embeddings".
    sound: as in `sound_proof`; by default a made-up voice in noise, whose pitch glides.
    """
    card = {"frames": model.outputs[0].shape[1], "hop_length": hop_length}
    return _of_waveform(model, output, sample_rate, sound, description, card)


def samples_proof(
    model: keras.Model,
    size: Any,
    *,
    sound: np.ndarray | None = None,
    description: str | None = None,
    stream: Streaming | None = None,
) -> Proof:
    """Prove a generator of these sizes: what was heard in "past" to "next_sample".

    Its other inputs are a melody's, or of bands and notes noise; the first speaker speaks.
    The card has all of `size` that whoever draws by the file needs. sound, stream: as in
    `sound_proof`.
    """
    block = model.inputs[0].shape[1]
    length = block or size.whole(size.sample_rate)
    if sound is None:
        sound, description = parity_sound(size.sample_rate, 1, length)
    sounds = {description: fitted_to(np.asarray(sound), 1, length), **probes(1, length)}
    if size.output == "softmax":
        sounds = {k: codes_of(x, size.levels, size.quantisation) for k, x in sounds.items()}
    further, frames = {}, length // size.frame_samples
    if size.conditions == "controls":
        further = melody(model, hop_length=size.frame_samples, frames=frames)
    elif size.conditions == "mel":
        bands = np.random.default_rng(0).uniform(0, 1, (1, frames, size.bands))
        further["mel"] = bands.astype(np.float32)
    elif size.conditions == "piano_roll":
        played = np.random.default_rng(0).random((1, frames, 128)) < 0.03  # about four at once
        further["piano_roll"] = played.astype(np.float32)
    if size.speakers:
        further["speaker"] = np.zeros((1, 1), np.int32)
    order = [x.name for x in model.inputs]
    given = {k: {n: {"past": x[None], **further}[n] for n in order} for k, x in sounds.items()}
    names = ["output", "levels", "quantisation", "speakers", "conditions", "frame_samples"]
    names += ["bands"] if size.conditions == "mel" else []
    told = {name: getattr(size, name) for name in names}
    return Proof(
        inputs=given.pop(description),
        outputs=["next_sample"],
        description=f"{description or 'given by the caller'}, heard as its past",
        stream=stream,
        probes=given,
        card={
            "block_samples": block,
            "channels": 1,
            "draws": {**told, "hears_samples": size.context_samples()},
        },
    )


def translation_proof(
    model: keras.Model,
    size: Any,
    *,
    sound: np.ndarray | None = None,
    description: str | None = None,
) -> Proof:
    """Prove a translator of these sizes: "heard" and "past" of a "domain" to "next_sample".

    sound: as in `sound_proof`, which is heard, and has been played by each of the domains.
    """
    block = next(x.shape[1] for x in model.inputs if x.name == "past")
    length = 1 + (block or size.whole(size.sample_rate))
    if sound is None:
        sound, description = parity_sound(size.sample_rate, 1, length)
    codes = mu_law_codes(fitted_to(np.asarray(sound), 1, length), size.levels, rounding="down")
    given = {"heard": codes[None, 1:], "past": codes[None, :-1]}
    order = [x.name for x in model.inputs]
    played = [
        {name: {**given, "domain": np.full((1, 1), number, np.int32)}[name] for name in order}
        for number in range(len(size.domains))
    ]
    return Proof(
        inputs=played[0],
        outputs=["next_sample"],
        description=f"{description or 'given by the caller'}, played by {size.domains[0]}",
        also={
            f"played by {name}": one for name, one in zip(size.domains[1:], played[1:], strict=True)
        },
        card={"block_samples": block, "channels": 1, "domains": list(size.domains)},
    )


def names_proof(
    model: keras.Model,
    *,
    names: Sequence[str],
    sample_rate: int,
    hop_length: int | None = None,
    hop_seconds: float | None = None,
    sound: np.ndarray | None = None,
    description: str | None = None,
    stream: Streaming | None = None,
) -> Proof:
    """Prove a listener: `[batch, samples, channels]` to "probabilities" `[batch, ..., names]`.

    The card has the names. hop_length: of one that tells of frames, in samples. hop_seconds: of one
    that tells of windows, where those overlap. sound: as in `frames_proof`. stream: its streaming
    form.
    """
    card: dict = {"names": list(names)}
    if hop_seconds is not None:
        card["hop_seconds"] = hop_seconds
    if hop_length is not None:
        card |= {"frames": model.outputs[0].shape[1], "hop_length": hop_length}
    return _of_waveform(
        model, "probabilities", sample_rate, sound, description, card, stream=stream
    )


def _of_waveform(
    model, output: str, sample_rate: int, sound, description, card, *, stream=None
) -> Proof:
    _, block, channels = model.inputs[0].shape
    length = block or _DEFAULT_SECONDS * sample_rate
    if sound is None:
        sound, description = noisy_speech(sample_rate, channels, length, level_db=-26.0)
    sound = fitted_to(np.asarray(sound), channels, length)
    return Proof(
        inputs={WAVEFORM: sound[None]},
        outputs=[output],
        description=description or "given by the caller",
        stream=stream,
        probes={what: {WAVEFORM: probe[None]} for what, probe in probes(channels, length).items()},
        card={"block_samples": block, "channels": channels, "input": WAVEFORM, **card},
    )


def melody(
    model: keras.Model, *, hop_length: int, frames: int | None = None
) -> dict[str, np.ndarray]:
    """Make the controls `[1, frames, 1]` that `model` takes: a melody that swells, seed 0.

    A state is none. An input called "waveform" gets noise `[1, frames * hop_length, 1]`. frames: by
    default the model's, or 250 where it takes any number.
    """
    rng = np.random.default_rng(0)
    shapes = {x.name: x.shape[1] for x in model.inputs}
    count = frames or shapes["f0_hz"] or _FRAMES
    notes = 57 + np.repeat(rng.integers(0, 25, -(-count // 50)), 50)[:count]
    vibrato = 0.2 * np.sin(np.arange(count) / 7)
    controls = {
        "f0_hz": midi_to_hz(notes + vibrato),
        "loudness_db": -40 + 20 * np.sin(np.arange(count) / 25),
        WAVEFORM: 0.1 * rng.standard_normal(count * hop_length),
    }
    return {
        name: control[None, :, None].astype(np.float32)
        for name, control in controls.items()
        if name in shapes
    }


def probes(channels: int, samples: int) -> dict[str, np.ndarray]:
    """Make sounds on which rounding shows, {what: float32 `[samples, channels]`}, seed 0."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((samples, channels))
    clicks = np.zeros((samples, channels))
    clicks[:: max(1, samples // 8)] = 0.9
    sounds = {
        "silence": np.zeros((samples, channels)),
        "impulses": clicks,
        "noise at full scale": np.clip(noise, -1, 1),
        "noise of 1e-6": 1e-6 * noise,
    }
    if channels > 1:
        side = np.arange(channels)
        sounds["antiphase"] = 0.1 * noise[:, :1] * np.where(side % 2, -1, 1)
        sounds["the first channel alone"] = 0.1 * noise * (side == 0)
    return {what: sound.astype(np.float32) for what, sound in sounds.items()}


def parity_sound(sample_rate: int, channels: int, samples: int) -> tuple[np.ndarray, str]:
    """float32 `[samples, channels]` to compare on, and a line that says what it is.

    The song excerpt of the stempeg package where that is installed, repeated to the length;
    otherwise notes and drum hits from a seeded generator, which the line calls synthetic.
    """
    song = stempeg_song()
    if song is None:
        waveform, source = _synthetic(sample_rate, channels, samples), "synthetic notes and hits"
        return waveform, f"{source}, seed 0, {sample_rate} Hz"
    description = f"{song.stem.removesuffix('.stem')} (stempeg's excerpt)"
    return fitted_to(_read(song, sample_rate), channels, samples), description


@functools.lru_cache(maxsize=1)  # of one preset there may be several exports
def _read(song: Path, sample_rate: int) -> np.ndarray:
    from kzoo import audio

    return audio.read(song, sample_rate=sample_rate)[0]


def noisy_speech(
    sample_rate: int, channels: int, samples: int, *, level_db: float
) -> tuple[np.ndarray, str]:
    """float32 `[samples, channels]` of a made-up voice in noise, and a line that says what it is.

    Five syllables a second, of which each fourth is a pause: harmonics of a gliding pitch below
    8 kHz, formants that glide, and a hiss at the onset. The noise is pink, 10 dB below the voice,
    and another one in each channel. level_db: of both together, 0 being a mean square of 1.
    """
    rng = np.random.default_rng(0)
    seconds = np.arange(samples) / sample_rate
    syllable, within = np.divmod(5 * seconds, 1)
    count = int(5 * samples / sample_rate) + 2
    formants_hz = [
        np.interp(5 * seconds, np.arange(count), rng.uniform(low, high, count))
        for low, high in ((300, 800), (900, 2000), (2300, 3200))
    ]
    pitch_hz = 120 * 2 ** (0.4 * np.sin(2 * np.pi * 0.7 * seconds))  # at most 159
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate
    vowels = np.zeros(samples)
    for k in range(1, int(min(sample_rate / 2, 8000) / 160) + 1):
        level = sum(np.exp(-(((k * pitch_hz - formant) / 250) ** 2)) for formant in formants_hz)
        vowels += (level + 0.1 / k) * np.sin(k * phase)
    hiss = np.diff(rng.standard_normal(samples), prepend=0.0) * np.exp(-within / 0.15)
    voice = (vowels * np.sin(np.pi * within) ** 2 + 0.5 * hiss) * (syllable % 4 != 3)
    spectrum = np.fft.rfft(rng.standard_normal((samples, channels)), axis=0)
    pink = spectrum / np.sqrt(1 + np.arange(len(spectrum)))[:, None]
    noise = np.fft.irfft(pink, samples, axis=0)
    waveform = voice[:, None] / _rms(voice) + 10 ** (-10 / 20) * noise / _rms(noise)
    waveform *= 10 ** (level_db / 20) / _rms(waveform)
    said = f"a made-up voice in noise 10 dB below it, {level_db:g} dBFS, seed 0, {sample_rate} Hz"
    return waveform.astype(np.float32), said


def _rms(signal: np.ndarray) -> float:
    return np.sqrt(np.mean(signal**2))


def fitted_to(waveform: np.ndarray, channels: int, samples: int) -> np.ndarray:
    """`[samples, channels]` repeated or cut to that length; mono is the mean."""
    if not len(waveform):
        raise ValueError("the sound to compare on is empty")
    if channels == 1:
        waveform = waveform.mean(axis=1, keepdims=True)
    waveform = waveform[:, np.arange(channels) % waveform.shape[1]]
    return np.resize(waveform, (samples, channels)).astype(np.float32)


def stempeg_song() -> Path | None:
    """The song of the stempeg package, a `.stem.mp4`; None where that is not installed."""
    # Located, not imported: stempeg refuses to be imported where the ffmpeg program is missing.
    spec = importlib.util.find_spec("stempeg")
    folders = spec.submodule_search_locations or [] if spec else []
    return next((path for f in folders for path in Path(f).glob("data/*.stem.mp4")), None)


def _synthetic(sample_rate: int, channels: int, samples: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    waveform = np.zeros((samples, channels))
    for onset in range(0, samples, max(1, sample_rate // 4)):
        seconds = np.arange(min(samples - onset, sample_rate)) / sample_rate
        pitch_hz = 110.0 * 2 ** (rng.integers(0, 25) / 12)
        partials = np.arange(1, 9)
        partials = partials[partials * pitch_hz < sample_rate / 2]
        note = np.sin(2 * np.pi * pitch_hz * np.outer(seconds, partials)) @ (1.0 / partials)
        hit = rng.standard_normal(len(seconds)) * np.exp(-40 * seconds)
        for sound, level, decay in ((note, 0.1, 3.0), (hit, 0.2, 1.0)):
            gains = rng.uniform(0.3, 1.0, channels)
            waveform[onset : onset + len(seconds)] += (
                level * (sound * np.exp(-decay * seconds))[:, None] * gains
            )
    return np.clip(waveform, -1, 1).astype(np.float32)
