"""Losses: one number an example, on `keras.ops`, by name in a configuration.

    loss = losses.get("si_sdr", zero_mean=True)   # loss(target, estimate) -> [batch]
    model.compile(optimizer, loss=loss)           # Keras takes the mean over the batch

The names are the public functions of this package's modules: `l1`, `l2`, `compressed_l2`,
`l1_mask`, `weighted_l1_mask` (`spectral`); `si_sdr`, `sd_sdr`, `snr`, `weighted_sdr`, `mixture_l1`,
`mixture_l2` (`waveform`); `multi_resolution_stft`; `loudness_l1` (`loudness`); `weighted_sum`
(`weighted`) of others; `pit` (`permutation`), for sources that have no order: the least of another
loss over all orders of the estimates. `adversarial` has what a GAN's two networks lose.
Estimates are `[batch, sources, samples, channels]` or, as magnitudes,
`[batch, sources, frames, bins, channels]`. Half-precision input is computed in float32.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from kzoo import config
from kzoo.losses.adversarial import get_adversarial
from kzoo.losses.loudness import loudness_l1
from kzoo.losses.multi_resolution import multi_resolution_stft
from kzoo.losses.permutation import best_permutation, pairwise_loss, pit, reorder
from kzoo.losses.spectral import compressed_l2, l1, l1_mask, l2, weighted_l1_mask
from kzoo.losses.waveform import mixture_l1, mixture_l2, sd_sdr, si_sdr, snr, weighted_sdr
from kzoo.losses.weighted import resolved_terms, weighted_sum

_LOSSES = {
    function.__name__: function
    for function in (
        l1, l2, compressed_l2, l1_mask, weighted_l1_mask, si_sdr, sd_sdr, snr, weighted_sdr,
        mixture_l1, mixture_l2, multi_resolution_stft, loudness_l1, pit, weighted_sum,
    )
}  # fmt: skip

__all__ = [
    "Loss", "best_permutation", "get", "get_adversarial", "list_losses", "reorder", *_LOSSES
]  # fmt: skip


def list_losses() -> list[str]:
    """Names that `get` knows."""
    return sorted(_LOSSES)


def get(name: str, **options: Any) -> Loss:
    """The loss called `name` with its options fixed: (target, estimate) -> `[batch]`.

    Raises ValueError for an unknown name or option, with the nearest known one, and for a value of
    another type than the option's.
    """
    return Loss(name, **options)


@keras.saving.register_keras_serializable("kzoo")
class Loss:
    """A loss by name, for `compile(loss=...)`; a compiled model can be saved with it."""

    def __init__(self, name: str, **options: Any):
        self._function = _known(name, _LOSSES, "loss", "there are")
        defaults = _defaults(self._function)
        for option in options:
            _known(option, dict.fromkeys(defaults), f"option of the loss {name}", "it takes")
        given = ("target", "estimate", "mixture")
        config.check(self._function, options, where=f"loss {name}", given=given)
        if "pairwise" in options:
            _pairwise(options["pairwise"])  # its mistakes are known before the first batch
        if "terms" in options:
            resolved_terms(options["terms"])
        self.__name__ = self.name = name
        self.options = options

    @property
    def permutation_invariant(self) -> bool:
        """Whether the order of the estimates does not matter to it."""
        return self._function is pit

    @property
    def takes_mixture(self) -> bool:
        """Whether it is called with (target, estimate, mixture)."""
        return "mixture" in inspect.signature(self._function).parameters

    def __call__(self, target, estimate, *mixture):
        return self._function(target, estimate, *mixture, **self.options)

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"losses.get({self.name!r}{options})"

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}

    def resolved(self) -> dict[str, Any]:
        """As `get_config`, with the defaults of all options; tuples are lists, as in YAML."""
        found = {**_defaults(self._function), **self.options}
        if "pairwise" in found and not callable(found["pairwise"]):
            found["pairwise"] = _pairwise(found["pairwise"])
        if "terms" in found:
            found["terms"] = resolved_terms(found["terms"])
        return {"name": self.name, **found}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        return cls(**config)


def _pairwise(pairwise: str | Mapping[str, Any] | Callable) -> dict[str, Any]:
    """A pairwise loss, checked, as its name and all of its options."""
    found = pairwise_loss(pairwise)
    if callable(pairwise):  # not from a configuration: nothing is known of its options
        return {}
    name = found.func.__name__
    config.check_types(found.func, found.keywords, where=f"pairwise loss {name}")
    return {"name": name, **_defaults(found.func), **found.keywords}


def _defaults(function: Callable) -> dict[str, Any]:
    accepted = inspect.signature(function).parameters.values()
    return {
        parameter.name: list(parameter.default)
        if isinstance(parameter.default, tuple)
        else parameter.default
        for parameter in accepted
        if parameter.kind == parameter.KEYWORD_ONLY
    }


def _known(name: str, known: dict[str, Callable | None], what: str, listing: str):
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"{listing} {', '.join(known) or 'none'}"
    raise ValueError(f"no {what} is called {name!r}; {hint}")
