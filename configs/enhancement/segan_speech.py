"""The training of segan_speech on one GPU, in JAX: mixtures, then the steps of both networks.

    export KERAS_BACKEND=jax
    python configs/enhancement/segan_speech.py configs/enhancement/segan_speech.yaml mix FOLDER
    python configs/enhancement/segan_speech.py configs/enhancement/segan_speech.yaml train FOLDER

`mix` makes what `data.tests.made` says, on all processors, 256 KB a mixture; `train` writes
weights.npz, averaged over the steps, by paths. A step is that of `kzoo.training.adversarial`: the
discriminator's on a batch, then the generator's against it. In the memory of the GPU, 8 GB and
twice that for a moment, are the newest mixtures, which further ones replace as if they were made
meanwhile. It needs jax and optax.
"""

import functools
import sys
import time
from pathlib import Path

import numpy as np
from gtcrn_speech import MIXTURES, SCALE, example, mix, opened, save, values

from kzoo import config

STEPS_AT_ONCE = 50
FIRST, MOST = 5000, 32000  # mixtures before the first step, and at once


def train(settings: dict, folder: Path) -> None:
    """Write the weights after `fit.epochs` times `fit.steps_per_epoch` steps."""
    import jax
    import keras
    import optax
    from jax import numpy as jnp

    from kzoo import losses, models

    keras.utils.set_random_seed(settings["seed"])
    adversary, options, fit = (settings[name] for name in ("adversary", "optimizer", "fit"))
    size, rest = models.split(settings["model"].pop("name"), settings["model"])
    generator, domain = size.training(models.build("segan", size, **rest, **size.block()))
    segan = models.architecture("segan")
    discriminator = segan.discriminator(
        models.changed(
            segan.DISCRIMINATORS[settings["model"]["variant"]],
            adversary["network"],
            where="adversary",
        ),
        window=size.window,
    )
    loss, contest = losses.get(**settings["loss"]), losses.get_adversarial("least_squares")
    steps = fit["epochs"] * fit["steps_per_epoch"]
    rate = optax.warmup_cosine_decay_schedule(
        0.0, options["learning_rate"], options["warmup_steps"], steps
    )
    optimizer = adam(rate, options)
    second = adam(adversary["optimizer"]["learning_rate"], adversary["optimizer"])

    def judged(critic, signal, heard):
        pair = jnp.concatenate([signal[:, 0], heard[:, 0]], axis=-1)
        return discriminator.stateless_call(critic, [], pair, training=True)[0]

    def step(state, key, mixtures, count):
        weights, others, moments, critic, critic_moments, averages = state
        keys = jax.random.split(key)
        which = jax.random.randint(keys[0], (fit["batch_size"], 1), 0, count)
        begin = jax.random.randint(keys[1], which.shape, 0, mixtures.shape[2] - size.window + 1)
        samples = begin + jnp.arange(size.window)
        both = mixtures[which, :, samples].astype("float32") / SCALE  # [batch, window, 2]
        mixture, real = both[..., :1], domain(both[:, None, :, 1:])
        heard = domain(mixture[:, None])
        estimate, slopes_of, others = jax.vjp(
            lambda weights: generator.stateless_call(weights, others, mixture, training=True),
            weights,
            has_aux=True,
        )

        def critic_loss(critic):
            on_real, on_fake = (judged(critic, x, heard) for x in (real, estimate))
            return jnp.mean(contest.discriminator(on_real, on_fake))

        def generator_loss(estimate):
            fooling = jnp.mean(contest.generator(judged(critic, estimate, heard)))
            plain = jnp.mean(loss(real, estimate))
            return plain + adversary["weight"] * fooling, plain

        updates, critic_moments = second.update(jax.grad(critic_loss)(critic), critic_moments)
        critic = optax.apply_updates(critic, updates)
        asked, plain = jax.grad(generator_loss, has_aux=True)(estimate)
        updates, moments = optimizer.update(slopes_of(asked)[0], moments)
        weights = optax.apply_updates(weights, updates)
        averages = optax.incremental_update(weights, averages, 1 - options["ema_momentum"])
        return (weights, others, moments, critic, critic_moments, averages), plain

    @functools.partial(jax.jit, donate_argnums=0)
    def several(state, keys, mixtures, count):
        return jax.lax.scan(lambda state, key: step(state, key, mixtures, count), state, keys)

    @jax.jit
    def renewed(mixtures, further, begin):
        at = (begin + jnp.arange(len(further))) % len(mixtures)
        return mixtures.at[at].set(further)

    @jax.jit
    def validate(weights, others, mixture, speech):
        estimate, _ = generator.stateless_call(weights, others, mixture, training=False)
        return jnp.mean(loss(domain(speech[:, None]), estimate))

    held_out = opened(settings, settings["data"]["validation"])
    unseen = np.stack([example(held_out, n) for n in range(len(held_out.tracks))], axis=1)
    unseen = unseen[..., : unseen.shape[2] // size.window * size.window]
    unseen = unseen.reshape(2, -1, size.window, 1)  # whole windows of all
    made = np.load(folder / MIXTURES, mmap_mode="r")
    count, parts = min(FIRST, len(made)), steps // STEPS_AT_ONCE
    mixtures = jnp.zeros((min(MOST, len(made)), *made.shape[1:]), "int16")
    mixtures = renewed(mixtures, made[:count], 0)
    further = (len(made) - count) // parts
    weights, others = values(generator)
    critic, _ = values(discriminator)
    averages = jax.tree.map(jnp.copy, weights)
    state = weights, others, optimizer.init(weights), critic, second.init(critic), averages
    keys, began = (
        jax.random.split(jax.random.key(settings["seed"]), (parts, STEPS_AT_ONCE)),
        time.time(),
    )
    for number, some in enumerate(keys, 1):
        state, found = several(state, some, mixtures, min(count, len(mixtures)))
        mixtures = renewed(mixtures, made[count : count + further], count)
        count += further
        if number % 20 == 0 or number == parts:
            value = validate(state[5], state[1], *unseen)
            told = f"step {number * STEPS_AT_ONCE}: loss {found.mean():.4f}, val_loss {value:.4f}"
            print(f"{told}, {time.time() - began:.0f} s", flush=True)
    save(generator, state[5], state[1], folder)


def adam(rate, options: dict):
    """An optimizer as Keras's, with its gradients clipped."""
    import optax

    clip = optax.clip_by_global_norm(options["global_clipnorm"])
    return optax.chain(clip, optax.adam(rate, b1=options.get("beta_1", 0.9), eps=1e-7))


if __name__ == "__main__":
    parts = {"mix": functools.partial(mix, part="made"), "train": train}
    if len(sys.argv) != 4 or sys.argv[2] not in parts:
        sys.exit(__doc__)
    parts[sys.argv[2]](config.load_yaml(sys.argv[1]), Path(sys.argv[3]))
