"""What commands are run on: small presets, recordings and corpora, each under its name."""

import shutil

import keras
import made_crepe
import numpy as np
import soundfile

from kzoo import config, models, presets
from kzoo.synthesis import transfer

RATE = 8000
MUSIC, SPEECH = ("vocals", "accompaniment"), ("speech", "noise")


def write_material(root):
    """Write presets, recordings and corpora: {name: path}."""
    rng = np.random.default_rng(0)

    def write(name, sound, **options):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, RATE, **options)
        return path

    def noise(seconds=2.0, level=0.1, channels=2):
        return level * rng.standard_normal((round(seconds * RATE), channels))

    with soundfile.SoundFile(root / "song.flac", "w", RATE, 2) as file:
        file.title = "A song"
        file.write(noise())
    write("loud.wav", noise(level=3.0), subtype="FLOAT")
    soundfile.write(
        root / "voice.wav",
        noise(1.0, channels=1) * np.linspace(0, 1, RATE)[:, None],
        2 * RATE,
        subtype="FLOAT",
    )
    for track, tree in (("a", "train"), ("b", "test")):
        stems = {name: noise(2.2, channels=1) for name in MUSIC}
        for name, other in (MUSIC, MUSIC[::-1]):
            for place in (f"stems/{track}", f"tree/{tree}/{track}"):
                write(f"{place}/{name}.wav", stems[name], subtype="FLOAT")
            swapped = 0.5 * stems[name] + stems[other] + 0.1 * stems[name] ** 2
            for place in (track, f"stems/{track}", f"tree/{track}"):
                write(f"estimates/{place}/{name}.wav", swapped, subtype="FLOAT")
    for name, seconds in (("clean", 0.5), ("noisy", 0.5), ("other", 0.3)):
        write(f"pairs/{name}/a.wav", noise(seconds))
    shutil.copytree(root / "stems" / "a", root / "recordings")
    lines = ["time,f0_hz,loudness_db", *(f"{k / 250},{200 + k},{-20 - k / 20}" for k in range(99))]
    (root / "controls.csv").write_text("\n".join(lines))
    tests = {"a": {"kind": "synthetic", "tracks": 1, "seconds": 0.5, "sample_rate": RATE}}
    values = {"model": {"sources": ["vocals", "bass"]}, "data": {"tests": tests}}
    config.dump_yaml(values, root / "config.yaml")
    training = {
        "model": {"name": "gain_net", "sources": list(MUSIC)},
        "data": {"train": {"kind": "synthetic", "tracks": 1, "seconds": 1.0}},
        "fit": {"batch_size": 1, "epochs": 1, "steps_per_epoch": 1, "segment_seconds": 0.5},
    }
    config.dump_yaml(training, root / "training.yaml")
    unet = {"variant": "tiny", "filters": [2, 3]}
    save(root / "preset", root / "other", "unet", MUSIC, **unet)
    save(root / "enhancer", root / "other_enhancer", "unet", SPEECH, **unet)
    save(root / "gains", root / "other_gains", "gain_net", MUSIC, variant="tiny")
    save_synthesisers(root)
    save_listeners(root)
    save_translators(root)
    save_generators(root)
    made_crepe.nano_preset(root / "nano", contrast=300.0)
    made_crepe.nano_preset(root / "wide", filters=(3, 2, 2, 2, 2, 4), contrast=300.0)
    return {path.stem: path for path in root.iterdir()}


def save(folder, other, name, sources, **options):
    """Two presets of a model, the second with other weights."""
    keras.utils.set_random_seed(0)
    options["sources"] = list(sources)
    card = {
        "name": "tiny", "sources": list(sources), "sample_rate": RATE, "channels": 2,
        "model": {"name": name, "options": options},
        "trained": "not at all: random weights from a seed",
    }  # fmt: skip
    model = models.build(name, **options)
    presets.save_to_preset(model, folder, card)
    presets.save_to_preset(halved(model), other, card)


def halved(model):
    model.set_weights([0.5 * weight for weight in model.get_weights()])
    return model


def _save_two(root, name, model, task, **told):
    """Two presets of the tiny `model`, the second, of other weights, called other_`name`."""
    keras.utils.set_random_seed(0)
    card = {
        "name": name, "task": task, "sample_rate": RATE,
        "model": {"name": model, "options": {"variant": "tiny"}}, "trained": "not at all", **told,
    }  # fmt: skip
    built = models.build(model, variant="tiny")
    presets.save_to_preset(built, root / name, card)
    presets.save_to_preset(halved(built), root / f"other_{name}", card)


def save_listeners(root):
    """Two taggers."""
    _save_two(root, "ear", "choi", "listening")


def save_translators(root):
    """Two translators between three domains."""
    _save_two(root, "band", "music_translation", "translation", domains=["a", "b", "c"])


def save_generators(root):
    """Two generators."""
    _save_two(root, "singer", "wavenet", "generation")


def save_synthesisers(root):
    """A preset in a room, the same without it, and the latter with other weights."""
    keras.utils.set_random_seed(0)
    options = {"variant": "tiny", "reverb_seconds": 0.2}
    model = models.build("ddsp", **options)
    model.get_layer("reverb").response.assign(np.eye(1, 1600, 800)[0])
    quantiles = {
        name: {
            "quantiles": dict(
                zip(transfer.solo.QUANTILES, np.linspace(*span, 7).tolist(), strict=True)
            )
        }
        for name, span in (("midi", (67.0, 88.0)), ("loudness_db", (-45.0, -15.0)))
    }
    card = {
        "name": "organ", "task": "synthesis", "sample_rate": RATE,
        "model": {"name": "ddsp", "options": options},
        "trained": {"steps": 1, "data": {"statistics": {**quantiles, "voiced": 0.9}}},
    }  # fmt: skip
    presets.save_to_preset(model, root / "room", card)
    card["model"]["options"] = {"variant": "tiny"}
    model = keras.Model(model.input, model.get_layer("reverb").input)
    presets.save_to_preset(model, root / "organ", card)
    presets.save_to_preset(halved(model), root / "other_organ", card)
