"""The training of conv_tasnet_2speakers_causal on one GPU, in JAX.

    export KERAS_BACKEND=jax
    python configs/separation/conv_tasnet_2speakers_causal.py CONFIG gather FOLDER
    python configs/separation/conv_tasnet_2speakers_causal.py CONFIG train FOLDER SECONDS

`gather` writes what the voices of CONFIG say, and the mixtures of its validation. `train` mixes
anew for every step, all on the GPU: two voices, each at a speed of its own, with a timbre and a
level drawn by chance, and faint noise. It ends after SECONDS, over which the learning rate falls
along a cosine, and writes CONFIG's name + .npz, weights averaged over the steps, by their paths.
It takes any Conv-TasNet of two speakers, and needs jax and optax.
"""

import functools
import multiprocessing
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from kzoo import config

VOICES, UNHEARD = "voices.npz", "unheard.npy"
MOST_SECONDS = 1200  # of one voice
SPEEDS = [Fraction(k, 20) for k in (16, 17, 18, 19, 20, 21, 22, 23, 25)]
TIMBRE_DB, TIMBRE_BANDS = 4.0, 8
NOISE_DB = (20.0, 60.0)  # below the mixture
LEVEL = 0.05  # of a mixture: the network divides by it
STEPS_AT_ONCE, SAVE_SECONDS = 20, 45.0
SCALE = 32767  # of int16


def gather(settings: dict, folder: Path) -> None:
    """Write {speaker: what is said in training}, and int16 `[mixtures, 2, samples]`."""
    from kzoo import data

    corpora = {
        part: data.open_corpus(sources=settings["model"]["sources"], **settings["data"][part])
        for part in ("train", "validation")
    }
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(settings["seed"])
    said = {}
    for name, voice in corpora["train"].voices.items():
        tracks = rng.permutation(voice.tracks)
        ends = np.cumsum([voice.corpus.tracks[track][1] for track in tracks])
        tracks = tracks[: np.searchsorted(ends, MOST_SECONDS * voice.corpus.sample_rate)]
        each = [voice.read(track, 0, voice.corpus.tracks[track][1])[:, 0] for track in tracks]
        said[name] = as_int16(np.concatenate(each))
    np.savez(folder / VOICES, **said)
    unheard = corpora["validation"]
    each = [unheard.read(n, 0, count)["sources"] for n, (_, count) in enumerate(unheard.tracks)]
    np.save(folder / UNHEARD, as_int16(np.stack(each)[..., 0]))


def as_int16(waveform):
    """Full scale 1.0 to `SCALE`."""
    return (waveform * SCALE).round().clip(-SCALE, SCALE).astype("int16")


def at_speed(voice: np.ndarray, speed: Fraction) -> np.ndarray:
    """Resampled, so that pitch and formants move with the speed."""
    from scipy.signal import resample_poly

    if speed == 1:
        return voice
    return as_int16(resample_poly(voice / np.float32(SCALE), speed.denominator, speed.numerator))


def train(settings: dict, folder: Path, seconds: float) -> None:
    """Train for so long and write the weights; once a minute those so far."""
    import jax
    import keras
    import optax
    from jax import numpy as jnp

    from kzoo import losses, models

    began = time.time()
    with np.load(folder / VOICES) as said, multiprocessing.get_context("spawn").Pool() as pool:
        work = [(said[name], speed) for name in said.files for speed in SPEEDS]
        tracks = pool.starmap(at_speed, work, chunksize=4)
    unheard = np.load(folder / UNHEARD).astype("float32")[..., None] / SCALE
    print(f"{len(tracks)} tracks, {time.time() - began:.0f} s", flush=True)

    run_fast()
    keras.utils.set_random_seed(settings["seed"])
    keras.config.set_dtype_policy("mixed_bfloat16")
    options, fit = settings["optimizer"], settings["fit"]
    size = models.sizes(**{k: v for k, v in settings["model"].items() if k != "sources"})
    size, block = size.segment(round(fit["segment_seconds"] * size.sample_rate))
    model = models.build(**settings["model"], **block)
    loss = losses.get(**settings["loss"])
    samples, n_speeds = block["samples"], len(SPEEDS)
    long_enough = [
        i for i in range(0, len(tracks), n_speeds)
        if min(map(len, tracks[i : i + n_speeds])) > samples
    ]  # fmt: skip
    tracks = [tracks[i + k] for i in long_enough for k in range(n_speeds)]
    lengths = np.array([len(track) for track in tracks])
    ends = jnp.asarray(np.cumsum(lengths))
    lengths, sound = jnp.asarray(lengths), jax.device_put(np.concatenate(tracks))
    chances = jnp.log(jnp.sqrt(lengths[::n_speeds]))

    def drawn(key):
        """A mixture `[samples, 1]` and its sources `[2, samples, 1]`."""
        keys = jax.random.split(key, 7)
        who = jax.lax.top_k(chances + jax.random.gumbel(keys[0], chances.shape), 2)[1]
        track = who * n_speeds + jax.random.randint(keys[1], (2,), 0, n_speeds)
        start = jax.random.uniform(keys[2], (2,)) * (lengths[track] - samples)
        start = ends[track] - lengths[track] + start.astype("int32")
        voices = jax.vmap(lambda at: jax.lax.dynamic_slice(sound, (at,), (samples,)))(start)
        spectrum = jnp.fft.rfft(voices.astype("float32") / SCALE)
        gains = TIMBRE_DB * jax.random.normal(keys[3], (2, TIMBRE_BANDS))
        pitch = jnp.log1p(jnp.linspace(0.0, 20.0, spectrum.shape[1])) / jnp.log(21.0)
        bands = jnp.linspace(0.0, 1.0, TIMBRE_BANDS)
        gains = jax.vmap(lambda gain: jnp.interp(pitch, bands, gain))(gains)
        voices = jnp.fft.irfft(spectrum * 10 ** (gains / 20), samples)
        voices = voices / jnp.maximum(jnp.sqrt(jnp.mean(voices**2, axis=1, keepdims=True)), 1e-3)
        low, high = settings["data"]["train"]["snr_db"]
        snr_db = jax.random.uniform(keys[4], (), minval=low, maxval=high)
        sources = voices * 10 ** (jnp.stack([snr_db, -snr_db]) / 40)[:, None]
        sources = sources * LEVEL / jnp.sqrt(jnp.mean(sources.sum(axis=0) ** 2) + 1e-6)
        noise_db = jax.random.uniform(keys[5], (), minval=NOISE_DB[0], maxval=NOISE_DB[1])
        noise = LEVEL * 10 ** (-noise_db / 20) * jax.random.normal(keys[6], (samples,))
        return (sources.sum(axis=0) + noise)[:, None], sources[..., None]

    clip = optax.clip_by_global_norm(options["global_clipnorm"])
    optimizer = optax.chain(clip, optax.scale_by_adam())

    def mean_loss(weights, others, mixture, sources):
        estimate, _ = model.stateless_call(weights, others, mixture, training=True)
        return jnp.mean(loss(sources, estimate))

    def step(state, key, others, rate):
        weights, moments, averages = state
        batch = jax.vmap(drawn)(jax.random.split(key, fit["batch_size"]))
        value, slopes = jax.value_and_grad(mean_loss)(weights, others, *batch)
        updates, moments = optimizer.update(slopes, moments)
        weights = [weight - rate * update for weight, update in zip(weights, updates, strict=True)]
        averages = optax.incremental_update(weights, averages, 1 - options["ema_momentum"])
        return (weights, moments, averages), value

    @functools.partial(jax.jit, donate_argnums=0)
    def several(state, key, others, rate):
        keys = jax.random.split(key, STEPS_AT_ONCE)
        return jax.lax.scan(lambda state, key: step(state, key, others, rate), state, keys)

    @jax.jit
    def gained(weights, others, sources):
        """SI-SDR over that of the mixtures, in dB."""
        mixture = sources.sum(axis=1)
        estimate, _ = model.stateless_call(weights, others, mixture)
        before = loss(sources, jnp.broadcast_to(mixture[:, None], sources.shape))
        return jnp.mean(before - loss(sources, estimate))

    weights = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    state = weights, optimizer.init(weights), jax.tree.map(jnp.copy, weights)
    unheard, key = unheard[:, :, :samples], jax.random.key(settings["seed"])
    steps, saved = 0, time.time()
    while (passed := time.time() - began) < seconds:
        rate = options["learning_rate"] * min(1.0, (steps + 1) / options["warmup_steps"])
        rate *= 0.5 + 0.5 * np.cos(np.pi * passed / seconds)
        state, values = several(state, jax.random.fold_in(key, steps), others, rate)
        value, steps = float(values.mean()), steps + STEPS_AT_ONCE
        if steps == STEPS_AT_ONCE or time.time() - saved > SAVE_SECONDS:
            write(folder / f"{settings['name']}.npz", model, state[2])
            gain, saved = gained(state[2], others, unheard), time.time()
            told = f"step {steps}: loss {value:.2f}, unheard SI-SDR +{gain:.2f} dB"
            print(f"{told}, {saved - began:.0f} s", flush=True)
    write(folder / f"{settings['name']}.npz", model, state[2])
    gain = gained(state[2], others, unheard)
    print(f"step {steps}: unheard SI-SDR +{gain:.2f} dB, {time.time() - began:.0f} s", flush=True)


def write(path: Path, model, values: list) -> None:
    """The weights by their paths, whole or not at all."""
    names = [variable.path for variable in model.trainable_variables]
    unfinished = path.with_name(f"unfinished_{path.name}")
    np.savez(unfinished, **dict(zip(names, map(np.asarray, values), strict=True)))
    unfinished.replace(path)


def run_fast() -> None:
    """Let convolutions of one frame be products, and depthwise ones sums of shifted inputs."""
    from keras import layers, ops

    def convolution(self, inputs, kernel):
        if self.kernel_size == (1,):
            return inputs @ kernel[0]
        return ops.conv(inputs, kernel, strides=list(self.strides), padding=self.padding)

    def depthwise(self, inputs):
        (length,), (dilation,) = self.kernel_size, self.dilation_rate
        span = (length - 1) * dilation
        if self.padding == "same":
            inputs = ops.pad(inputs, ((0, 0), (span // 2, span - span // 2), (0, 0)))
        frames = inputs.shape[1] - span
        shifted = [inputs[:, k * dilation :][:, :frames] for k in range(length)]
        kernel = ops.convert_to_tensor(self.kernel)
        outputs = sum(x * kernel[k, :, 0] for k, x in enumerate(shifted))
        return outputs + self.bias if self.use_bias else outputs

    layers.Conv1D.convolution_op = convolution
    layers.DepthwiseConv1D.call = depthwise


if __name__ == "__main__":
    parts = {"gather": gather, "train": train}
    if len(sys.argv) not in (4, 5) or sys.argv[2] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[2]](config.load_yaml(sys.argv[1]), Path(sys.argv[3]), *map(float, sys.argv[4:]))
