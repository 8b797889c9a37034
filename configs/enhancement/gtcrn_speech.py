"""The training of gtcrn_speech on one GPU, in JAX: mixtures, their teacher, the steps.

    export KERAS_BACKEND=jax
    python configs/enhancement/gtcrn_speech.py configs/enhancement/gtcrn_speech.yaml mix FOLDER
    python configs/enhancement/gtcrn_speech.py configs/enhancement/gtcrn_speech.yaml teach FOLDER
    python configs/enhancement/gtcrn_speech.py configs/enhancement/gtcrn_speech.yaml train FOLDER

`mix` makes what `data.tests.taught` says, on all processors; `teach` has deepfilternet3 hear the
first of it; `train` writes weights.npz, averaged over the steps, by paths. What is learned from
lies in the memory of the GPU, 11 GB, and twenty steps are one program. It needs jax and optax.
"""

import functools
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np

from kzoo import config, data

MIXTURES, TAUGHT = "mixtures.npy", "taught.npy"
TAUGHT_MIXTURES, TEACHER_BATCH = 8000, 32
STEPS_AT_ONCE = 20
SCALE = 32767  # of int16


def opened(settings: dict, part: dict) -> data.Corpus:
    """Open a corpus of the configuration."""
    return data.open_corpus(**{"sources": settings["model"]["sources"], **part})


def example(corpus: data.Corpus, number: int) -> np.ndarray:
    """Mixture and speech, `[2, samples]`."""
    found = corpus.read(number, 0, corpus.tracks[number][1])
    return np.stack([found["mixture"][:, 0], found["sources"][0, :, 0]])


def as_int16(waveform):
    """Full scale 1.0 to `SCALE`."""
    return (waveform * SCALE).round().clip(-SCALE, SCALE).astype("int16")


def mix(settings: dict, folder: Path, part: str = "taught") -> None:
    """Write the mixtures of a part of `data.tests`, int16 `[mixtures, 2, samples]`."""
    tracks = opened(settings, settings["data"]["tests"][part]).tracks
    folder.mkdir(parents=True, exist_ok=True)
    shape = len(tracks), 2, tracks[0][1]
    np.lib.format.open_memmap(folder / MIXTURES, "w+", np.int16, shape)
    shares = [range(first, len(tracks), os.cpu_count()) for first in range(os.cpu_count())]
    with multiprocessing.Pool() as pool:
        pool.map(functools.partial(mix_share, settings, folder, part), shares)


def mix_share(settings: dict, folder: Path, part: str, numbers: range) -> None:
    """Write some of the mixtures."""
    corpus = opened(settings, settings["data"]["tests"][part])
    out = np.load(folder / MIXTURES, mmap_mode="r+")
    for number in numbers:
        out[number] = as_int16(example(corpus, number))


def teach(settings: dict, folder: Path) -> None:
    """Write what deepfilternet3 makes of the first mixtures, int16 `[mixtures, samples]`."""
    import jax

    from kzoo import presets

    mixtures = np.load(folder / MIXTURES, mmap_mode="r")[:TAUGHT_MIXTURES, 0]
    teacher = presets.open_preset("deepfilternet3")
    level_db = teacher.card["level_db"]
    model = teacher.model(samples=3 * mixtures.shape[1])  # at 48 kHz

    @jax.jit
    def estimate(variables, mixture):
        waveform = mixture.astype("float32") / SCALE
        gain = gain_to(waveform, level_db)
        speech, _ = model.stateless_call(*variables, resampled(waveform * gain, 3)[..., None])
        return as_int16(resampled(speech[:, 0, :, 0], 1 / 3) / gain)

    starts = range(0, len(mixtures), TEACHER_BATCH)
    batches = (mixtures[start : start + TEACHER_BATCH] for start in starts)
    np.save(folder / TAUGHT, np.concatenate([estimate(values(model), x) for x in batches]))


def values(model) -> tuple[list, list]:
    """Of the weights that learn, and of the others."""
    groups = model.trainable_variables, model.non_trainable_variables
    return tuple([variable.value for variable in group] for group in groups)


def gain_to(waveform, level_db: float):
    """What brings `[batch, samples]` to a level, as `kzoo.separation.levels` has it."""
    power = (waveform.reshape(len(waveform), -1, 800) ** 2).mean(axis=-1)  # of 50 ms
    loud = power >= 1e-3 * power.max(axis=1, keepdims=True)
    mean = (power * loud).sum(axis=1, keepdims=True) / loud.sum(axis=1, keepdims=True)
    return 10 ** (level_db / 20) * (mean + 1e-12) ** -0.5


def resampled(waveform, ratio: float):
    """`[batch, samples]` at `ratio` times its rate, by its spectrum."""
    from jax import numpy as jnp

    samples = round(waveform.shape[1] * ratio)
    spectrum = jnp.fft.rfft(waveform)[:, : samples // 2 + 1]
    spectrum = jnp.pad(spectrum, ((0, 0), (0, samples // 2 + 1 - spectrum.shape[1])))
    return jnp.fft.irfft(spectrum, samples) * ratio


def train(settings: dict, folder: Path) -> None:
    """Write the weights after `fit.epochs` times `fit.steps_per_epoch` steps."""
    import gpu_layers
    import jax
    import keras
    import optax
    from jax import numpy as jnp

    from kzoo import losses, models

    gpu_layers.use()
    keras.utils.set_random_seed(settings["seed"])
    mixtures, taught = np.load(folder / MIXTURES), np.load(folder / TAUGHT)
    mixture_of = jnp.concatenate([jnp.arange(len(mixtures)), jnp.arange(len(taught))])
    arrays = mixtures[:, 0], jnp.concatenate([mixtures[:, 1], taught]), mixture_of
    model = models.build(samples=mixtures.shape[2], **settings["model"])
    loss, options, fit = losses.get(**settings["loss"]), settings["optimizer"], settings["fit"]
    steps = fit["epochs"] * fit["steps_per_epoch"]
    rate = optax.warmup_cosine_decay_schedule(
        0.0, options["learning_rate"], options["warmup_steps"], steps
    )
    clip = optax.clip_by_global_norm(options["global_clipnorm"])
    optimizer = optax.chain(clip, optax.adam(rate))

    def mean_loss(weights, others, mixture, target, training):
        mixture, target = mixture[..., None], target[:, None, :, None]
        estimate, others = model.stateless_call(weights, others, mixture, training=training)
        return jnp.mean(loss(target, estimate)), others

    def step(state, key, mixtures, targets, mixture_of):
        weights, others, moments, averages = state
        which = jax.random.randint(key, fit["batch_size"], 0, len(targets))
        batch = (x.astype("float32") / SCALE for x in (mixtures[mixture_of[which]], targets[which]))
        value_and_slopes = jax.value_and_grad(mean_loss, has_aux=True)
        (value, others), slopes = value_and_slopes(weights, others, *batch, True)
        updates, moments = optimizer.update(slopes, moments)
        weights = optax.apply_updates(weights, updates)
        averages = optax.incremental_update(weights, averages, 1 - options["ema_momentum"])
        return (weights, others, moments, averages), value

    @functools.partial(jax.jit, donate_argnums=0)
    def several(state, keys, *arrays):
        return jax.lax.scan(lambda state, key: step(state, key, *arrays), state, keys)

    held_out = opened(settings, settings["data"]["validation"])
    unseen = np.stack([example(held_out, n) for n in range(len(held_out.tracks))], axis=1)
    validate = jax.jit(mean_loss, static_argnums=4)
    weights, others = values(model)
    state = weights, others, optimizer.init(weights), jax.tree.map(jnp.copy, weights)
    arrays, began = jax.device_put(arrays), time.time()
    keys = jax.random.split(
        jax.random.key(settings["seed"]), (steps // STEPS_AT_ONCE, STEPS_AT_ONCE)
    )
    for number, some in enumerate(keys, 1):
        state, found = several(state, some, *arrays)
        if number % 100 == 0 or number == len(keys):
            value, _ = validate(state[3], state[1], *unseen, False)
            told = f"step {number * STEPS_AT_ONCE}: loss {found.mean():.4f}, val_loss {value:.4f}"
            print(f"{told}, {time.time() - began:.0f} s", flush=True)
    save(model, state[3], state[1], folder)


def save(model, weights: list, others: list, folder: Path) -> None:
    """Write weights.npz: those that learn, and the others."""
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    for variable, value in zip(model.non_trainable_variables, others, strict=True):
        variable.assign(value)
    np.savez(
        folder / "weights.npz", **{weight.path: np.asarray(weight) for weight in model.weights}
    )


if __name__ == "__main__":
    parts = {"mix": mix, "teach": teach, "train": train}
    if len(sys.argv) != 4 or sys.argv[2] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[2]](config.load_yaml(sys.argv[1]), Path(sys.argv[3]))
