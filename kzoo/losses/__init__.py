"""Losses: one number an example, on `keras.ops`, by name in a configuration.

    loss = losses.get("si_sdr", zero_mean=True)   # loss(target, estimate) -> [batch]
    model.compile(optimizer, loss=loss)           # Keras takes the mean over the batch

The names are the public functions of this package's modules: `l1`, `l2`, `compressed_l2`,
`l1_mask`, `weighted_l1_mask`, `discriminative`, `binary_cross_entropy`, `weighted_cross_entropy`,
`categorical_cross_entropy` (`spectral`); `si_sdr`, `sd_sdr`, `snr`, `weighted_sdr`, `mixture_l1`,
`mixture_l2` (`waveform`); `multi_resolution_stft`; `spectrum_rmse`;
`compressed_stft` (`compressed`); `loudness_l1` (`loudness`);
`log_likelihood_ratio` (`predictors`); `code_cross_entropy`, `logistic_mixture`,
`gaussian_mixture` (`next_sample`) of samples under their distributions; `weighted_sum` (`weighted`)
of others; `pit` (`permutation`), for sources that have no order: the least of another loss over
all orders of the estimates;
`deep_clustering` and `chimera` (`clustering`), for embeddings. `adversarial` has what a GAN's two
networks lose.
Estimates are `[batch, sources, samples, channels]` or, as magnitudes,
`[batch, sources, frames, bins, channels]`. Half-precision input is computed in float32.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras

from kzoo import config
from kzoo.losses.adversarial import get_adversarial
from kzoo.losses.clustering import chimera, deep_clustering
from kzoo.losses.compressed import compressed_stft
from kzoo.losses.loudness import loudness_l1
from kzoo.losses.multi_resolution import multi_resolution_stft
from kzoo.losses.next_sample import code_cross_entropy, gaussian_mixture, logistic_mixture
from kzoo.losses.permutation import best_permutation, pit, reorder, resolved_pairwise
from kzoo.losses.predictors import log_likelihood_ratio
from kzoo.losses.spectral import (
    binary_cross_entropy,
    categorical_cross_entropy,
    compressed_l2,
    discriminative,
    l1,
    l1_mask,
    l2,
    weighted_cross_entropy,
    weighted_l1_mask,
)
from kzoo.losses.spectrum_rmse import spectrum_rmse
from kzoo.losses.table import LOSSES, checked
from kzoo.losses.waveform import mixture_l1, mixture_l2, sd_sdr, si_sdr, snr, weighted_sdr
from kzoo.losses.weighted import resolved_terms, weighted_sum

# Those that are the same for every order of the estimates.
_WITHOUT_ORDER = (pit, deep_clustering, chimera)
_LOSSES = {**LOSSES, **{loss.__name__: loss for loss in (*_WITHOUT_ORDER, weighted_sum)}}

__all__ = [
    "Loss", "best_permutation", "binary_cross_entropy", "categorical_cross_entropy", "chimera",
    "code_cross_entropy", "compressed_l2", "compressed_stft", "deep_clustering", "discriminative",
    "gaussian_mixture", "get", "get_adversarial", "l1", "l1_mask", "l2", "list_losses",
    "log_likelihood_ratio", "logistic_mixture", "loudness_l1",
    "mixture_l1", "mixture_l2", "multi_resolution_stft", "pit", "reorder", "sd_sdr", "si_sdr",
    "snr", "spectrum_rmse", "weighted_cross_entropy", "weighted_l1_mask", "weighted_sdr",
    "weighted_sum",
]  # fmt: skip


def list_losses() -> list[str]:
    """List the names that `get` knows."""
    return sorted(_LOSSES)


def get(name: str, **options: Any) -> Loss:
    """Return the loss `name` with its options fixed: (target, estimate) -> `[batch]`.

    Raises ValueError for an unknown name or option, with the nearest known one, and for a value of
    another type than the option's.
    """
    return Loss(name, **options)


@keras.saving.register_keras_serializable("kzoo")
class Loss:
    """A loss by name, for `compile(loss=...)`; a compiled model can be saved with it."""

    def __init__(self, name: str, **options: Any):
        self._function = config.named(_LOSSES, name, "loss")
        # Mistakes in any option are known before the first batch.
        self._resolved = checked(self._function, options, "loss")
        if "pairwise" in self._resolved:
            self._resolved["pairwise"] = resolved_pairwise(self._resolved["pairwise"])
        if "terms" in self._resolved:
            self._resolved["terms"] = resolved_terms(self._resolved["terms"])
        self.__name__ = self.name = name
        self.options = options

    @property
    def permutation_invariant(self) -> bool:
        """Whether the loss is the same for every order of the estimates."""
        return self._function in _WITHOUT_ORDER

    @property
    def takes_mixture(self) -> bool:
        """Whether the loss is called with (target, estimate, mixture)."""
        return "mixture" in inspect.signature(self._function).parameters

    def __call__(self, target, estimate, *mixture):
        return self._function(target, estimate, *mixture, **self.options)

    def __repr__(self) -> str:
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"losses.get({self.name!r}{options})"

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}

    def resolved(self) -> dict[str, Any]:
        """Return `get_config` with the defaults of all options; tuples are lists, as in YAML."""
        return {"name": self.name, **self._resolved}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        return cls(**config)
