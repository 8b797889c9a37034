"""Training an encoder to give away no domain: one keras.Model, as `adversarial` has it.

Ganin et al., 2016, https://arxiv.org/abs/1505.07818, with two updates a step as in Mor et al.,
2019, https://arxiv.org/abs/1805.07848: the classifier learns to tell the domain from the encoder's
codes; then encoder and decoders learn to give the targets, minus the classifier's loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf

from kzoo.losses.adversarial import domain_cross_entropy
from kzoo.training.adversarial import AdversarialModel, _norm, _replicas

KNOWN = 0.05  # of accuracy above chance, under which nothing was told
FALL = 0.02  # of accuracy, above which the encoder has begun to give less away
PATIENCE = 5  # epochs in which it should have fallen


class DomainConfusion(AdversarialModel):
    """The translator, where it is called; its domain classifier, where it is trained.

    generator: a model of {"heard", "past", "domain"} with a layer "encoder", and behind it
        "latents". discriminator: the encoder's codes to logits `[batch, domains]`. The
        classifier is shown the codes of the targets, and the encoder is judged by those of what it
        heard.

    A step logs what AdversarialModel does, and for the accuracies of real and fake
    `domain_accuracy`, which validation measures too; `adversarial_share` is of the gradient at the
    codes.
    """

    MEASURED = (
        "adversarial_loss", "discriminator_loss", "generator_gradient", "discriminator_gradient",
        "domain_accuracy", "adversarial_share",
    )  # fmt: skip

    def __init__(self, generator: keras.Model, discriminator: keras.Model, **kwargs):
        super().__init__(generator, discriminator, **kwargs)
        self.encoder = generator.get_layer("encoder")
        codes = generator.get_layer("latents").output
        self._both = keras.Model(generator.inputs, [codes, generator.output])

    def compile(self, optimizer, *, adversarial: str = "cross_entropy", **options) -> None:
        """Same as that of AdversarialModel; of losses there is `cross_entropy` alone."""
        if adversarial != "cross_entropy":
            raise ValueError(f"a domain classifier has the loss cross_entropy; got {adversarial!r}")
        super().compile(optimizer, **options)

    def complaints(self, history, epoch: int) -> dict[str, str]:
        accuracies = [logs["domain_accuracy"] for logs in history]
        return complaints(accuracies, self.discriminator.output_shape[-1], epoch)

    def test_step(self, data):
        found = super().test_step(data)
        inputs, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        logits = self.discriminator(self.encoder(targets), training=False)
        self._measure_accuracy(logits, inputs["domain"])
        return {**found, "domain_accuracy": self.measured["domain_accuracy"].result()}

    def _discriminator_step(self, inputs, real):
        optimizer, weights = self.discriminator_optimizer, self.discriminator.trainable_weights
        codes = self.encoder(real, training=True)
        with tf.GradientTape() as tape:
            logits = self._judged(codes, inputs)
            loss = self._mean(
                domain_cross_entropy(logits, inputs["domain"], label_smoothing=self.label_smoothing)
            )
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, weights)
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self._measure("discriminator_loss", loss * _replicas())
        self._measure("discriminator_gradient", _norm(gradients, optimizer))
        self._measure_accuracy(logits, inputs["domain"])

    def _generator_step(self, inputs, targets, before):
        loss, confusing, gradients, shares = self._generator_gradients(inputs, targets)
        weights = self.generator.trainable_weights
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        self._track_loss(loss, inputs)
        self._measure("adversarial_loss", confusing * _replicas())
        self._measure("generator_gradient", _norm(gradients, self.optimizer))
        self._measure("adversarial_share", tf.math.divide_no_nan(shares[1], sum(shares)))

    def _generator_gradients(self, inputs, targets):
        """(loss, the adversarial one, gradients of the weights, norms at the codes of both)."""
        with tf.GradientTape(persistent=True) as tape:
            codes, estimate = self._both(inputs, training=True)
            loss = self._reconstruction(inputs, targets, estimate)
            confusing = -self._mean(
                domain_cross_entropy(self._judged(codes, inputs), inputs["domain"])
            )
            adverse = self.optimizer.scale_loss(self.weight * confusing)
            scaled = self.optimizer.scale_loss(loss) + adverse
        weights = self.generator.trainable_weights
        *gradients, at_codes = tape.gradient(scaled, [*weights, codes])
        by_adversary = tape.gradient(adverse, codes)
        del tape
        shares = [tf.norm(tf.cast(x, tf.float32)) for x in (at_codes - by_adversary, by_adversary)]
        return loss, confusing, gradients, shares

    def _measure_accuracy(self, logits, domain):
        right = tf.argmax(logits, axis=-1) == tf.cast(domain[:, 0], tf.int64)
        self._measure("domain_accuracy", tf.reduce_mean(tf.cast(right, tf.float32)))


def complaints(accuracies: Sequence[float], domains: int, epoch: int) -> dict[str, str]:
    """What is wrong with a training after `epoch`, the first being 0: {kind: line}.

    accuracies: of the classifier, of the epochs so far; of a training that goes on, since then.
    """
    now, recent, found = accuracies[-1], accuracies[-PATIENCE:], {}
    told = now > 1 / domains + KNOWN
    if not epoch and not told:
        found["chance"] = (
            f"the domain classifier is at chance from the start: it knows {100 * now:.0f} % of "
            f"{domains} domains, and the encoder learns nothing of it: raise its rate or "
            "adversary.steps"
        )
    if told and len(recent) == PATIENCE and max(recent) - now < FALL:
        found["known"] = (
            f"the codes give the domain away: the classifier's accuracy, {100 * now:.0f} %, has "
            f"not fallen for {PATIENCE} epochs: raise adversary.weight"
        )
    return found
