"""What two adversaries lose: a generator, and a discriminator that tells real from fake.

Least squares: Mao et al., 2017, https://arxiv.org/abs/1611.04076, without the halves, as in
SEGAN's program. Hinge: Lim and Ye, 2017, https://arxiv.org/abs/1705.02894.
Logits are `[batch, ...]`, one or many (patches) an example; losses are `[batch]`, in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from keras import ops

from kzoo import config
from kzoo.losses.shapes import over_examples


class Adversarial(NamedTuple):
    """discriminator(real, fake, label_smoothing=...) and generator(fake), of logits; logits above
    `boundary` call an example real.
    """

    discriminator: Callable
    generator: Callable
    boundary: float


def least_squares_discriminator(real, fake, *, label_smoothing: float = 0.0):
    """(real - 1)^2 + fake^2; with smoothing real logits are to be 1 - label_smoothing."""
    real, fake = _float32(real), _float32(fake)
    wanted = 1.0 - label_smoothing
    return over_examples(ops.square(real - wanted)) + over_examples(ops.square(fake))


def least_squares_generator(fake):
    """Return (fake - 1)^2."""
    return over_examples(ops.square(_float32(fake) - 1.0))


def hinge_discriminator(real, fake, *, label_smoothing: float = 0.0):
    """max(0, 1 - real) + max(0, 1 + fake); smoothing makes the real one's margin narrower."""
    real, fake = _float32(real), _float32(fake)
    wanted = 1.0 - label_smoothing
    return over_examples(ops.relu(wanted - real)) + over_examples(ops.relu(1.0 + fake))


def hinge_generator(fake):
    """Return -fake, which has no lower bound."""
    return over_examples(-_float32(fake))


ADVERSARIAL = {
    "least_squares": Adversarial(least_squares_discriminator, least_squares_generator, 0.5),
    "hinge": Adversarial(hinge_discriminator, hinge_generator, 0.0),
}


def get_adversarial(name: str) -> Adversarial:
    """Return the pair of losses `name`; ValueError with the nearest name for an unknown one."""
    return config.named(ADVERSARIAL, name, "adversarial loss")


def domain_cross_entropy(logits, domain, *, label_smoothing: float = 0.0):
    """Cross-entropy of logits `[batch, domains]` and numbers of domains `[batch, 1]`, in nats.

    What a domain classifier is to make small, and whose codes it is shown, large. label_smoothing:
    the share of the truth that is spread over all domains.
    """
    logits = _float32(logits)
    truth = ops.one_hot(ops.cast(domain[:, 0], "int32"), logits.shape[-1])
    truth = (1 - label_smoothing) * truth + label_smoothing / logits.shape[-1]
    return -ops.sum(truth * ops.log_softmax(logits), axis=-1)


def _float32(logits):
    # Squares of half-precision logits may overflow.
    return ops.cast(logits, "float32")
