"""Training a generator against a discriminator: one keras.Model, two networks, two optimizers.

    model = AdversarialModel(generator, discriminator, shown=..., latent=True)
    model.compile(optimizer, discriminator_optimizer=..., loss="mae", weight=0.01)
    model.fit(batches)      # of (inputs, targets)

Nothing here knows what the networks are for. The step is TensorFlow's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

from kzoo import losses
from kzoo.layers.virtual_batch_norm import reference_layers, set_reference

SATURATED = 0.98  # accuracy on both real and fake
CHANCE = 0.05  # of the sum of both accuracies around 1
DOMINANT = 0.95  # of the gradient at the estimates, where there is another loss
IGNORED = 1e-3  # change of the estimates with z, and the adversary's share of their gradient


class AdversarialModel(keras.Model):
    """The generator, where it is called; its adversary, where it is trained.

    generator: a model of the inputs; one tensor out. discriminator: logits `[batch, ...]` of what
    `shown(signal, inputs)` makes of an estimate or a target, by default the signal itself.
    target: what of a batch's targets is real, by default all of it.
    latent: whether the generator draws random numbers in training, whose effect is then measured.

    A step logs, beside the `loss` of compile, which is also what validation measures: both
    adversarial losses and gradient norms, the discriminator's accuracies, `adversarial_share`, what
    part of the gradient at the estimate is its doing, and `z_effect`, the relative change of the
    estimate when z is drawn anew.
    """

    MEASURED = (
        "adversarial_loss", "discriminator_loss", "generator_gradient", "discriminator_gradient",
        "real_accuracy", "fake_accuracy", "adversarial_share",
    )  # fmt: skip

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model,
        *,
        shown: Callable | None = None,
        target: Callable | None = None,
        latent: bool = False,
        name: str = "adversarial",
    ):
        super().__init__(name=name)
        self.generator, self.discriminator = generator, discriminator
        self.shown = shown or (lambda signal, inputs: signal)
        self.target = target or (lambda targets: targets)
        self.noise_seed = keras.random.SeedGenerator()
        self.measured = {n: keras.metrics.Mean(n) for n in (*self.MEASURED, *["z_effect"] * latent)}
        self.built = True

    def compile(
        self,
        optimizer,
        *,
        discriminator_optimizer: keras.optimizers.Optimizer,
        loss=None,
        adversarial: str = "least_squares",
        weight: float = 1.0,
        steps: int = 1,
        label_smoothing: float = 0.0,
        noise_std: float = 0.0,
        noise_decay: float = 0.7,
        noise_steps: int = 1000,
        jit_compile: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Both optimizers are built here: under a tf.distribute strategy, call it in the scope.

        loss: None, or one for (targets, estimates) as in any model. weight: of the adversarial loss
        beside it. adversarial: a name in `losses.adversarial`. steps: of the discriminator before
        each of the generator. label_smoothing: of what is real.
        noise_std: of white noise on all that the discriminator sees, multiplied by noise_decay
        every noise_steps of its steps, smoothly.
        Raises ValueError for options out of range and weight regularisers, which it would not see.
        """
        if steps < 1 or noise_steps < 1:
            raise ValueError(
                f"steps and noise_steps must be at least 1; got {steps} and {noise_steps}"
            )
        if min(weight, noise_std, noise_decay) < 0 or not 0 <= label_smoothing < 1:
            raise ValueError(
                "weight, noise_std and noise_decay must not be negative, and label_smoothing from 0"
                f" to below 1; got {weight}, {noise_std}, {noise_decay} and {label_smoothing}"
            )
        if self.generator.losses or self.discriminator.losses:
            raise ValueError(
                "an adversarial model takes no notice of losses that layers add; use the "
                "optimizers' weight_decay"
            )
        super().compile(
            optimizer=optimizer,
            loss=loss,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
        )
        wrapped = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if wrapped and not isinstance(discriminator_optimizer, type(self.optimizer)):
            discriminator_optimizer = keras.optimizers.LossScaleOptimizer(discriminator_optimizer)
        self.discriminator_optimizer = discriminator_optimizer
        self.adversarial, self.weight = losses.get_adversarial(adversarial), weight
        self.steps, self.label_smoothing = steps, label_smoothing
        self.noise = (noise_std, noise_decay, noise_steps)
        self.optimizer.build(self.generator.trainable_weights)
        self.discriminator_optimizer.build(self.discriminator.trainable_weights)

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """Both optimizers, for a checkpoint."""
        return [self.optimizer, self.discriminator_optimizer]

    @property
    def trainable_weights(self) -> list:
        """The weights that `optimizer` trains; the discriminator's belong to its own optimizer."""
        return self.generator.trainable_weights

    @property
    def reference_examples(self) -> int:
        """How many examples `set_reference` wants; 0 for a discriminator without virtual norms."""
        return max((layer.examples for layer in reference_layers(self.discriminator)), default=0)

    def set_reference(self, inputs, targets) -> None:
        """Give the discriminator's virtual batch norms their reference, before the first step."""
        set_reference(self.discriminator, self.shown(self.target(targets), inputs))

    def call(self, inputs, training=False):
        """Return the generator's estimates."""
        return self.generator(inputs, training=training)

    def train_step(self, data):
        """Take some steps of the discriminator and one of the generator on the same batch."""
        inputs, targets, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if sample_weight is not None:
            raise ValueError("an adversarial model takes no sample weights")
        real = self.target(targets)
        for _ in range(self.steps):
            fake = self._discriminator_step(inputs, real)
        self._generator_step(inputs, targets, fake)
        return self.get_metrics_result()

    def test_step(self, data):
        """The loss of compile alone: it can be compared with that of any other training."""
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        loss = self._reconstruction(inputs, targets, self(inputs, training=False), training=False)
        self._track_loss(loss, inputs)
        return {"loss": self._loss_tracker.result()}

    def complaints(self, history: Sequence[Mapping[str, float]], epoch: int) -> dict[str, str]:
        """What is wrong after `epoch`, by the logs of all epochs so far: {kind: line}."""
        return complaints(history[-1])

    def _discriminator_step(self, inputs, real):
        fake = self.generator(inputs, training=True)
        optimizer, weights = self.discriminator_optimizer, self.discriminator.trainable_weights
        with tf.GradientTape() as tape:
            on_real, on_fake = self._judged(real, inputs), self._judged(fake, inputs)
            loss = self._mean(
                self.adversarial.discriminator(
                    on_real, on_fake, label_smoothing=self.label_smoothing
                )
            )
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, weights)
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        boundary = self.adversarial.boundary
        self._measure("discriminator_loss", loss * _replicas())
        self._measure("discriminator_gradient", _norm(gradients, optimizer))
        self._measure("real_accuracy", tf.reduce_mean(tf.cast(on_real > boundary, tf.float32)))
        self._measure("fake_accuracy", tf.reduce_mean(tf.cast(on_fake < boundary, tf.float32)))
        return fake

    def _generator_step(self, inputs, targets, before):
        """`before`: estimates of the same weights, from another z."""
        weights = self.generator.trainable_weights
        with tf.GradientTape() as tape:
            estimate = self.generator(inputs, training=True)
        # In two parts, so that what each loss asks of the estimate is known, at no cost.
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as asked:
            asked.watch(estimate)
            loss = self._reconstruction(inputs, targets, estimate)
            fooling = self._mean(self.adversarial.generator(self._judged(estimate, inputs)))
            weighted = self.weight * fooling
        zero = tf.UnconnectedGradients.ZERO
        plain = asked.gradient(loss, estimate, unconnected_gradients=zero)
        adverse = asked.gradient(weighted, estimate, unconnected_gradients=zero)
        del asked
        wanted = self.optimizer.scale_loss(1.0) * tf.cast(plain + adverse, tf.float32)
        gradients = tape.gradient(
            estimate, weights, output_gradients=tf.cast(wanted, estimate.dtype)
        )
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self._track_loss(loss, inputs)
        self._measure("adversarial_loss", fooling * _replicas())
        self._measure("generator_gradient", _norm(gradients, self.optimizer))
        both = tf.norm(tf.cast(plain, tf.float32)), tf.norm(tf.cast(adverse, tf.float32))
        self._measure("adversarial_share", tf.math.divide_no_nan(both[1], both[0] + both[1]))
        if "z_effect" in self.measured:
            change, size = (tf.norm(tf.cast(x, tf.float32)) for x in (estimate - before, estimate))
            self._measure("z_effect", tf.math.divide_no_nan(change, size))

    def _reconstruction(self, inputs, targets, estimate, training=True):
        if self.loss is None:
            return tf.constant(0.0)
        return self.compute_loss(inputs, targets, estimate, training=training)

    def _judged(self, signal, inputs):
        seen = self.shown(signal, inputs)
        std, decay, steps = self.noise
        if std:
            passed = tf.cast(self.discriminator_optimizer.iterations, tf.float32) / steps
            drawn = keras.random.normal(tf.shape(seen), dtype=seen.dtype, seed=self.noise_seed)
            seen += tf.cast(std * decay**passed, seen.dtype) * drawn
        return self.discriminator(seen, training=True)

    def _mean(self, values):
        # Keras adds up the replicas' gradients, and divides its own losses as here.
        return tf.reduce_mean(values) / _replicas()

    def _track_loss(self, loss, inputs):
        examples = tf.shape(tf.nest.flatten(inputs)[0])[0]
        self._loss_tracker.update_state(loss * _replicas(), sample_weight=examples)

    def _measure(self, name: str, value):
        # A half-precision step that overflowed, and is skipped, says nothing.
        finite = tf.math.is_finite(value)
        self.measured[name].update_state(
            tf.where(finite, value, 0.0), sample_weight=tf.cast(finite, tf.float32)
        )


class AdversaryWatch(keras.callbacks.Callback):
    """Says, when it begins, that one of the two networks does not do its part."""

    def __init__(self, say: Callable[[str], None]):
        super().__init__()
        self.say, self.before, self.history = say, set(), []

    def on_epoch_end(self, epoch, logs=None):
        """Compare the epoch's means with what they should be."""
        self.history.append(logs or {})
        found = self.model.complaints(self.history, epoch)
        for kind, line in found.items():
            if kind not in self.before:
                self.say(f"epoch {epoch + 1}: {line}")
        self.before = set(found)


def complaints(logs) -> dict[str, str]:
    """What is wrong with an epoch of an AdversarialModel, by its logs: {kind: line}."""
    real, fake, found = logs.get("real_accuracy", 0.5), logs.get("fake_accuracy", 0.5), {}
    share, effect = logs.get("adversarial_share", 0.5), logs.get("z_effect", 1.0)
    if min(real, fake) > SATURATED:
        found["saturated"] = (
            f"the discriminator is saturated: it knows {100 * real:.1f} % of the real and "
            f"{100 * fake:.1f} % of the fake; smooth its labels, add noise, or lower its rate"
        )
    if abs(real + fake - 1) < CHANCE:
        found["chance"] = (
            f"the discriminator does no better than chance: it takes {100 * real:.0f} % of the real"
            f" and {100 - 100 * fake:.0f} % of the fake for real; raise its rate or its steps"
        )
    if share < IGNORED:
        found["weight"] = (
            f"the adversary makes {100 * share:.2g} % of the gradient at the estimates, so it does "
            "nothing: raise adversary.weight"
        )
    if DOMINANT < share < 1:
        found["dominant"] = (
            f"the adversary makes {100 * share:.0f} % of the gradient at the estimates, so the"
            " other loss hardly counts: lower adversary.weight, or the discriminator's rate"
        )
    if effect < IGNORED:
        found["z"] = (
            f"the generator ignores z: drawn anew, it changes the estimates by {100 * effect:.2g} %"
        )
    return found


def _norm(gradients, optimizer):
    """Of all replicas' sum, about, and without the scale of mixed precision."""
    return tf.linalg.global_norm(gradients) * _replicas() / optimizer.scale_loss(1.0)


def _replicas() -> int:
    return tf.distribute.get_strategy().num_replicas_in_sync
