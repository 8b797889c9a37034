"""A narrow U-Net taught by a wider one on any sound, with any backend of Keras.

    KERAS_BACKEND=torch python configs/separation/distilled.py SOUNDS TEACHER STUDENT STEPS OUT

SOUNDS: a folder of sound files in folders: songs/*/ go as they are, music/*/ goes without a voice
    or with one of voices/*/ over it. The folders of a kind are heard equally often, however much
    they hold. Rates other than half the teacher's are resampled to that, since no network of
    Spleeter's kind hears more.
TEACHER: a preset of Spleeter's kind. STUDENT: one as pruned.py writes it, with its `residual`.
STEPS: of 16 items of 12 s, each at a speed, level, balance and tone of its own, drawn by a seed.
Writes OUT, a preset, and OUT-1 to OUT-3 after each quarter, all of averaged weights.

The student's masks are to give what the teacher's give, by l1 of magnitudes after the ratio of
powers that both are run with, and before it.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from kzoo import audio, config, presets
from kzoo.dsp.stft import magnitude, stft
from kzoo.layers.masks import RatioMasks
from kzoo.models import unet

SEED = 0
BATCH = 16
SPEEDS = (48, 86)  # in parts of 64
TONES = (0.0, 0.1, 0.25, 0.45, 0.7, 1.0)  # of the square root of the band, gains between them
SILENCE_DB = -200.0


class Mixtures(layers.Layer):
    """All sounds, `[samples, 2]`, and magnitudes of mixtures of their spans, as `size` hears them.

    The sounds have half of the sample rate, and so has their transform.
    """

    def __init__(self, sounds: np.ndarray, size: unet.UNet, **options) -> None:
        super().__init__(**options)
        self.sounds = self.add_weight(
            shape=sounds.shape, dtype="int16", initializer="zeros", trainable=False, name="sounds"
        )
        self.sounds.assign(sounds)
        self.size = size
        self.samples = (size.frames - 1) * size.hop_length // 2 + size.n_fft // 2
        places = np.sqrt(np.arange(size.bins) / size.bins)
        curves = [np.interp(places, TONES, row) for row in np.eye(len(TONES))]
        self.curves = np.stack(curves).astype("float32")

    def call(self, starts, speeds, levels, tones):
        """Draw `[items, frames, bins, 2]` from what `Draws` gives of `[items, pieces, ...]`."""
        size = self.size
        pieces = ops.swapaxes(self.spans(starts, speeds, levels), -2, -1)
        curve = 10.0 ** (ops.matmul(tones, self.curves) / 20.0)
        curve = ops.expand_dims(curve, (2, 3))  # [items, pieces, 1, 1, bins]
        real, imag = (
            ops.sum(part[..., : size.bins] * curve, axis=1)
            for part in stft(pieces, size.n_fft // 2, size.hop_length // 2, padding="valid")
        )
        # A window of half as many samples sums up half as much.
        return ops.transpose(2.0 * magnitude(real, imag), (0, 2, 3, 1))

    def spans(self, starts, speeds, levels):
        """Sounds `[items, pieces, samples, 2]`; a cubic goes through the four nearest samples."""
        steps = ops.expand_dims(speeds, -1) * ops.arange(self.samples, dtype="int32")
        whole = ops.expand_dims(starts, -1) + steps // 64
        part = ops.expand_dims(ops.cast(steps % 64, "float32") / 64.0, -1)
        a, b, c, d = (
            ops.cast(ops.take(self.sounds, whole + k, axis=0), "float32") / 32768 for k in range(4)
        )
        cubic = 3.0 * (b - c) + d - a
        sound = b + 0.5 * part * (c - a + part * (2.0 * a - 5.0 * b + 4.0 * c - d + part * cubic))
        power = ops.mean(ops.square(sound), axis=(-2, -1), keepdims=True)
        sound = sound / ops.maximum(ops.sqrt(power), 3e-3)
        return sound * ops.expand_dims(10.0 ** (levels / 20.0), -2)


class Draws(keras.utils.PyDataset):
    """What each step hears, drawn by the step's number."""

    def __init__(self, spans: dict[str, list[tuple[int, int]]], samples: int, steps: int) -> None:
        super().__init__(workers=4, use_multiprocessing=False, max_queue_size=32)
        self.spans, self.steps = spans, steps
        self.reach = samples * SPEEDS[1] // 64 + 4

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int):
        draw = np.random.default_rng([SEED, step])
        shape = (BATCH, 2)
        starts = np.zeros(shape, "int32")
        levels = draw.uniform(-28.0, -13.0, (BATCH, 1)) + np.zeros(shape)
        for item in range(BATCH):
            chance = draw.random()
            kinds = ("songs",) if chance < 0.5 else ("music", "voices")
            for piece, kind in enumerate(kinds):
                begin, end = self.spans[kind][draw.integers(len(self.spans[kind]))]
                starts[item, piece] = draw.integers(begin, end - self.reach)
            levels[item, 1] += draw.uniform(-14.0, 6.0)
            if chance < 0.55:
                levels[item, 1] = SILENCE_DB
        balance = draw.uniform(-3.0, 3.0, (*shape, 1)) * [1.0, -1.0]
        tones = draw.normal(0.0, 3.0, (*shape, len(TONES)))
        speeds = draw.integers(SPEEDS[0], SPEEDS[1] + 1, shape)
        speeds = np.where(draw.random(shape) < 0.3, 64, speeds)
        return (
            {
                "starts": starts,
                "speeds": speeds.astype("int32"),
                "levels": (levels[..., None] + balance).astype("float32"),
                "tones": tones.astype("float32"),
            },
        )


class Distance(layers.Layer):
    """How far the student is from the teacher, l1 in shares of the mixture's, as the loss.

    Both are heard as they will be run: no dropout, and batch norms with the statistics they have.
    """

    def __init__(self, teacher: keras.Model, student: keras.Model, **options) -> None:
        super().__init__(**options)
        self.teacher, self.student, self.shares = teacher, student, RatioMasks()
        self.teacher.trainable = False

    def call(self, mixture):
        """Magnitudes `[items, frames, bins, 2]` to the loss of each."""
        share = self.shares(self.teacher(mixture, training=False))[:, 0]
        stems = self.student(
            ops.reshape(mixture, (-1, *self.student.input.shape[1:])), training=False
        )
        vocals, found = (
            ops.reshape(part[:, 0], ops.shape(mixture)) for part in (stems, self.shares(stems))
        )
        odds = ops.sqrt(share), ops.sqrt(ops.maximum(1.0 - share, 0.0))
        before = mixture * odds[0] / (odds[0] + odds[1]) - vocals
        after = mixture * (share - found)
        scale = ops.mean(mixture, axis=(1, 2, 3)) + 1e-3
        loss = ops.mean(ops.abs(before) + ops.abs(after), axis=(1, 2, 3)) / scale
        self.add_loss(ops.mean(loss))
        return loss


class Keep(keras.callbacks.Callback):
    """Write the student after each epoch."""

    def __init__(self, student, out: Path, card: dict, epochs: int, steps: int) -> None:
        super().__init__()
        self.student, self.out, self.card = student, out, card
        self.epochs, self.steps, self.began = epochs, steps, time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Write it with the steps done, the time and the loss so far."""
        done = (epoch + 1) * self.steps
        trained = {**self.card["trained"], "steps": done, "seconds": int(time.time() - self.began)}
        trained["loss"] = float(logs["loss"])
        last = epoch + 1 == self.epochs
        out = self.out if last else self.out.with_name(f"{self.out.name}-{epoch + 1}")
        presets.save_to_preset(self.student, out, {**self.card, "trained": trained})


def main(sounds: str, teacher: str, student: str, steps: str, out: str) -> None:
    """Train and write the student."""
    keras.utils.set_random_seed(SEED)
    taught, narrow = presets.open_preset(teacher), presets.open_preset(student)
    wide, size = taught.sizes()[0], narrow.sizes()[0]
    rate = wide.sample_rate // 2
    heard, spans = _read(Path(sounds), rate)
    mixtures = Mixtures(heard, wide)
    core = narrow.model(size).get_layer("unet_core")
    drawn = {
        "starts": keras.Input((2,), dtype="int32", name="starts"),
        "speeds": keras.Input((2,), dtype="int32", name="speeds"),
        "levels": keras.Input((2, 2), name="levels"),
        "tones": keras.Input((2, len(TONES)), name="tones"),
    }
    distance = Distance(taught.model(wide).get_layer("unet_core"), core)
    system = keras.Model(drawn, distance(mixtures(**drawn)), name="distillation")
    epochs = 4
    each = int(steps) // epochs
    system.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                0.0, int(steps), alpha=1e-5, warmup_target=1e-3, warmup_steps=int(steps) // 50
            ),
            global_clipnorm=1.0, use_ema=True, ema_momentum=0.999,
        ),
    )  # fmt: skip
    options = {"sources": narrow.sources, **config.plain(asdict(size))}
    card = {
        **{key: narrow.card[key] for key in ("task", "sources", "sample_rate", "channels")},
        "name": Path(out).name,
        "summary": f"{Path(student).name} taught by {teacher}",
        "model": {"name": "unet", "options": options},
        "licences": dict(narrow.card["licences"]),
        "trained": {
            "command": f"configs/separation/distilled.py {' '.join(sys.argv[1:])}",
            "backend": keras.backend.backend(),
            "seed": SEED,
            "minutes": round(len(heard) / rate / 60, 1),
        },
    }
    system.fit(
        Draws(spans, mixtures.samples, each * epochs),
        epochs=epochs, steps_per_epoch=each, verbose=2,
        callbacks=[
            keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
            Keep(core, Path(out), card, epochs, each),
        ],
    )  # fmt: skip


def _read(folder: Path, rate: int) -> tuple[np.ndarray, dict[str, list[tuple[int, int]]]]:
    """All sounds `[samples, 2]` in 16 bits, and where the folders of each kind lie in them."""
    groups = {
        kind: [
            sorted(path for path in group.rglob("*") if path.is_file())
            for group in sorted(path for path in (folder / kind).iterdir() if path.is_dir())
        ]
        for kind in ("songs", "music", "voices")
    }

    def read(path: Path) -> np.ndarray:
        sound, _ = audio.read(path, sample_rate=rate)
        sound = np.clip(np.broadcast_to(sound, (len(sound), 2)), -1.0, 1.0)
        return np.round(sound * 32767).astype("int16")

    parts, ends, spans = [], [0], {}
    with ThreadPoolExecutor() as pool:
        for kind, paths in groups.items():
            for group in paths:
                parts += pool.map(read, group)
                ends.append(sum(map(len, parts)))
            spans[kind] = list(pairwise(ends[-len(paths) - 1 :]))
    return np.concatenate(parts), spans


if __name__ == "__main__":
    if len(sys.argv) != 6:
        sys.exit(__doc__)
    main(*sys.argv[1:])
