"""Optimizers by name, with clipping, averaging, and slower rates for chosen layers."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Iterator, Mapping

import keras
import numpy as np

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "rmsprop": keras.optimizers.RMSprop,
}


def optimizer(
    name: str = "adam",
    *,
    learning_rate: float = 1e-3,
    beta_1: float | None = None,
    beta_2: float | None = None,
    rho: float | None = None,
    momentum: float | None = None,
    nesterov: bool | None = None,
    weight_decay: float | None = None,
    clipnorm: float | None = None,
    global_clipnorm: float | None = None,
    clipvalue: float | None = None,
    ema_momentum: float | None = None,
    warmup_steps: int = 0,
    decay_steps: int | None = None,
    decay_rate: float | None = None,
    rates: Mapping[str, float] | None = None,
) -> keras.optimizers.Optimizer:
    """Make an optimizer of Keras; what is None keeps its default.

    warmup_steps, decay_steps: the rate rises from 0 over the first and falls to 0 as a cosine over
        the second; not together with fit.plateau.
    nesterov: SGD's momentum looks a step ahead.
    rho: how much of the past RMSprop's mean square keeps.
    decay_rate: instead of the cosine, over each decay_steps the rate is multiplied by it, smoothly.
    ema_momentum: average the weights over time; validation and the preset use the average.
    rates: {pattern of weight paths: factor}, such as {"*_down*": 0.1}; the first that fits counts.
    Raises ValueError for an unknown name, and for an option that this optimizer does not have.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}; got {name!r}")
    rate: float | keras.optimizers.schedules.LearningRateSchedule = learning_rate
    if decay_rate is not None:
        if decay_steps is None or warmup_steps or not 0 < decay_rate <= 1:
            raise ValueError(
                "optimizer: decay_rate is above 0 and at most 1, needs decay_steps and takes no "
                f"warmup_steps; got {decay_rate}, {decay_steps} and {warmup_steps}"
            )
        rate = keras.optimizers.schedules.ExponentialDecay(learning_rate, decay_steps, decay_rate)
    elif decay_steps is not None:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup_steps else learning_rate,
            decay_steps,
            warmup_steps=warmup_steps,
            warmup_target=learning_rate if warmup_steps else None,
        )
    elif warmup_steps:
        raise ValueError("optimizer: warmup_steps needs decay_steps too")
    options = {
        "learning_rate": rate,
        "beta_1": beta_1,
        "beta_2": beta_2,
        "rho": rho,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": weight_decay,
        "clipnorm": clipnorm,
        "global_clipnorm": global_clipnorm,
        "clipvalue": clipvalue,
    }
    options = {key: value for key, value in options.items() if value is not None}
    if ema_momentum is not None:
        options.update(use_ema=True, ema_momentum=ema_momentum)
    kind = OPTIMIZERS[name]
    clipped = any(value is not None for value in (clipnorm, global_clipnorm, clipvalue))
    if clipped and keras.backend.backend() == "tensorflow":
        kind = _clipping_the_sum(kind)
    if rates:
        kind = _with_rates(kind, dict(rates))
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"optimizer {name}: {error}") from None


def _clipping_the_sum(kind: type) -> type:
    class Clipped(kind):
        """The optimizer, clipping the gradient of a batch that several devices share.

        Keras clips each device's part of it, which is smaller by their number, before the sum.
        """

        def _clip_gradients(self, grads):
            return grads

        def _all_reduce_sum_gradients(self, grads_and_vars):
            summed = super()._all_reduce_sum_gradients(grads_and_vars)
            gradients, variables = zip(*summed, strict=True)
            return list(zip(super()._clip_gradients(list(gradients)), variables, strict=True))

    Clipped.__name__ = kind.__name__
    return Clipped


def _with_rates(kind: type, rates: dict[str, float]) -> type:
    class Rated(kind):
        """The optimizer with a factor on the learning rate of some variables."""

        def build(self, variables):
            super().build(variables)
            self._factors = [
                next((f for pattern, f in rates.items() if fnmatch.fnmatch(v.path, pattern)), 1.0)
                for v in variables
            ]
            for pattern in rates:
                if not any(fnmatch.fnmatch(v.path, pattern) for v in variables):
                    raise ValueError(f"rates: no weight that learns is called {pattern!r}")

        def update_step(self, gradient, variable, learning_rate):
            factor = self._factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * factor)

    Rated.__name__ = kind.__name__
    return Rated


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Within, the model has its averaged weights where the optimizer keeps any."""
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    averages = getattr(inner, "_model_variables_moving_average", None) or []
    if not averages or not inner.use_ema:
        yield
        return
    # By copies, not by adding and subtracting in place: that would round the weights.
    own = inner._trainable_variables
    kept = [np.asarray(variable.value).copy() for variable in own]
    for variable, average in zip(own, averages, strict=True):
        variable.assign(np.asarray(average.value).copy())
    try:
        yield
    finally:
        for variable, value in zip(own, kept, strict=True):
            variable.assign(value)
