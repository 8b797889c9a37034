"""The one table of losses, and how a configuration's word for one is looked up in it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kzoo import config
from kzoo.losses.compressed import compressed_stft
from kzoo.losses.loudness import loudness_l1
from kzoo.losses.multi_resolution import multi_resolution_stft
from kzoo.losses.next_sample import code_cross_entropy, gaussian_mixture, logistic_mixture
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
from kzoo.losses.waveform import mixture_l1, mixture_l2, sd_sdr, si_sdr, snr, weighted_sdr

LOSSES: dict[str, Callable] = {
    function.__name__: function
    for function in (
        l1, l2, compressed_l2, l1_mask, weighted_l1_mask, si_sdr, sd_sdr, snr, weighted_sdr,
        mixture_l1, mixture_l2, multi_resolution_stft, compressed_stft, spectrum_rmse, loudness_l1,
        log_likelihood_ratio, discriminative, code_cross_entropy, logistic_mixture,
        gaussian_mixture, binary_cross_entropy,
        categorical_cross_entropy, weighted_cross_entropy,
    )
}  # fmt: skip


def looked_up(
    section: str | Mapping[str, Any], names: Iterable[str], what: str
) -> tuple[Callable, dict[str, Any]]:
    """(The loss, all of its options) of a name, or of a mapping of a name and options.

    names: those of LOSSES that may stand here. what: the singular noun for an error.
    Raises config.ConfigError for another name, and as `checked`.
    """
    options = {"name": section} if isinstance(section, str) else dict(section)
    function = LOSSES[config.named(names, options.pop("name", None), what)]
    return function, checked(function, options, what)


def checked(function: Callable, options: Mapping[str, Any], what: str) -> dict[str, Any]:
    """`options` with the defaults of the others; tuples are lists, as in YAML.

    Raises config.ConfigError for an option that the loss does not take, with the nearest one, for
    one that is missing, and for a value of another type.
    """
    where = f"{what} {function.__name__}"
    parameters = inspect.signature(function).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind == p.KEYWORD_ONLY}
    for option in options:
        config.named(known, option, f"option of the {where}", listing="it takes")
    config.check(function, options, where=where, given=("target", "estimate", "mixture"))
    defaults = {
        name: list(default) if isinstance(default, tuple) else default
        for name, default in known.items()
        if default is not inspect.Parameter.empty
    }
    return {**defaults, **options}
