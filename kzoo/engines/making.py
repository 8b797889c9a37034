"""The LiteRT file of a preset, written by TensorFlow and proven to say what the model says."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from kzoo.deploy import parity
from kzoo.deploy.examples import frames_proof, melody, noisy_speech, sound_proof
from kzoo.deploy.export import export
from kzoo.deploy.formats.streaming import write_state_twin
from kzoo.deploy.proof import Proof
from kzoo.engines import folder as folders
from kzoo.engines import states
from kzoo.engines.blocks import Network, open_instrument, open_network, refuse_whole_blocks
from kzoo.engines.tensorflow import beginnings, open_listener, open_melody, playing
from kzoo.engines.windows import WindowNetwork
from kzoo.presets import Preset, PresetError

_LIMIT_DB = 90.0  # under which a file is not kept


def make_separator(preset: Preset, folder: Path, *, live: bool = False) -> None:
    """Write the file of a preset that separates, and how its blocks lie, into `folder`.

    live: of a stream, in the shortest blocks it runs on.
    Raises PresetError where the file would say something else than the model, and for a preset that
    cannot run live.
    """
    if live:
        refuse_whole_blocks(preset)
    network = open_network(preset, live=live)
    if network.survey is not None:
        raise PresetError(f"preset {preset} separates by clusters: that is engine tensorflow's")
    with _refusing(preset, folder / folders.FILE):
        if network.silence:
            _make_stream(network, folder)
        else:
            _make_block(network, folder, preset.card.get("level_db"))
    folders.write_blocks(folder, network.blocks, network.silence)


def make_pitch_tracker(preset: Preset, folder: Path, *, samples: int, hop_length: int) -> None:
    """Write the file of a pitch tracker on pieces of `samples`; raises as `make_separator`."""
    size, _ = preset.sizes(hop_length=hop_length)
    model = preset.model(size, samples=samples, padding="valid")
    proof = frames_proof(model, "activations", sample_rate=size.sample_rate, hop_length=hop_length)
    with _refusing(preset, folder / folders.PITCH_FILE):
        export(
            model, "tflite", folder, name="pitch", proof=proof, sample_rate=size.sample_rate,
            limit_db=_LIMIT_DB,
        )  # fmt: skip


def make_listener(preset: Preset, folder: Path) -> None:
    """Write the file of a listener's window and what it says of itself into `folder`.

    It gives "heard" `[names + features]`: probabilities and behind them the embedding. Raises as
    `make_separator`.
    """
    model = open_listener(preset)
    size, _ = preset.sizes()
    both = keras.Model(model.input, keras.ops.concatenate(model.outputs, axis=-1))
    rate, samples = size.sample_rate, size.whole(None)
    proof = frames_proof(both, "heard", sample_rate=rate, hop_length=samples)
    with _refusing(preset, folder / folders.LISTENER_FILE):
        export(
            both, "tflite", folder, name="hear", proof=proof, sample_rate=rate, limit_db=_LIMIT_DB
        )
        folders.write_heard(
            folder, WindowNetwork(size.names, rate, samples, size.hop_seconds, run=model)
        )
        (sound,) = proof.inputs.values()
        heard = folders.read_listener(folder, threads=1).run(sound[0, :, 0])
        kinds = ("probabilities", "embedding")  # of which one may be faint beside the other
        expected = {kind: np.array(x) for kind, x in zip(kinds, model(sound), strict=True)}
        found = {kind: x[None] for kind, x in zip(kinds, heard, strict=True)}
        parity.check(parity.compare(expected, found), _LIMIT_DB)


def make_melody(preset: Preset, folder: Path) -> None:
    """Write the two files of a tracker of melodies and how recordings are cut into `folder`.

    Raises as `make_separator`.
    """
    parts = open_melody(preset)
    rate, hop_length = parts.sample_rate, parts.hop_length
    proof = frames_proof(parts.transform, "magnitudes", sample_rate=rate, hop_length=hop_length)
    (sound,) = proof.inputs.values()
    heard = np.array(parts.transform(sound))
    inputs = {
        "magnitudes": heard[:, : parts.salience.inputs[0].shape[1]],
        "loudest": np.max(heard, axis=(1, 2, 3))[:, None],
    }
    salience_proof = Proof(inputs=inputs, outputs=["salience"], description=proof.description)
    for file, model, proven in (
        (folders.TRANSFORM_FILE, parts.transform, proof),
        (folders.SALIENCE_FILE, parts.salience, salience_proof),
    ):
        with _refusing(preset, folder / file):
            export(
                model, "tflite", folder, name=file.removesuffix("_fp32.tflite"), proof=proven,
                sample_rate=rate, limit_db=_LIMIT_DB,
            )  # fmt: skip
    folders.write_heard(folder, parts)


def make_instrument(preset: Preset, folder: Path, *, frames: int) -> None:
    """Write the file of a synthesiser's blocks of `frames` frames, and its room, into `folder`.

    Raises as `make_separator`, and ValueError for a model that hears the whole recording.
    """
    opened = open_instrument(preset, frames=frames)
    with _refusing(preset, folder / folders.INSTRUMENT_FILE):
        write_state_twin(opened.step, folder / folders.INSTRUMENT_FILE)
        folders.write_instrument(
            folder, opened.silence, hop_length=opened.hop_length, room=opened.room
        )
        tune = melody(opened.step, hop_length=opened.hop_length)
        expected, found = (
            _played(instrument, tune)
            for instrument in (playing(opened), folders.read_instrument(folder, threads=1))
        )
        parity.check(parity.compare(expected, found), _LIMIT_DB)


def _played(instrument: states.Instrument, tune: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What an instrument makes of three blocks of controls, all the same."""
    step = instrument.begin()
    blocks = [step(**tune) for _ in range(3)]
    return {name: np.concatenate([block[name] for block in blocks], axis=1) for name in blocks[0]}


@contextlib.contextmanager
def _refusing(preset: Preset, file: Path) -> Iterator[None]:
    """PresetError where `file` would say something else than the model."""
    try:
        yield
    except parity.ParityError as error:
        reason = str(error).replace(f"; {file} was not written", "")
        raise PresetError(
            f"preset {preset} needs engine tensorflow, as LiteRT says something else: {reason}"
        ) from None


def _make_block(network: Network, folder: Path, level_db: float | None) -> None:
    rate = network.blocks.sample_rate
    proof = sound_proof(network.model, sample_rate=rate, speech_db=level_db)
    export(
        network.model, "tflite", folder, name="separate", proof=proof, sample_rate=rate,
        limit_db=_LIMIT_DB,
    )  # fmt: skip


def _make_stream(network: Network, folder: Path) -> None:
    blocks, silence = network.blocks, network.silence
    path = write_state_twin(network.model, folder / folders.FILE)
    run = folders.runner(path, threads=1)
    count = max(3, blocks.sample_rate // blocks.grid.samples)  # a second of the shortest
    sound, _ = noisy_speech(
        blocks.sample_rate, blocks.channels, count * blocks.grid.samples, level_db=-27.0
    )
    expected, found = {}, {}
    for answers, separate in (
        (expected, beginnings(network.model, silence, blocks.sources)()),
        (found, folders.of_streams(states.beginnings(run, silence), blocks.sources)()),
    ):
        estimates = [separate(block[None]) for block in np.split(sound, count)]
        joined = np.concatenate(estimates, axis=2)
        answers |= {source: joined[:, i] for i, source in enumerate(blocks.sources)}
    parity.check(parity.compare(expected, found), _LIMIT_DB)
