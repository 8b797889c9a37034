"""The `adversary` section of a configuration: a second network, and how it is trained."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any, Literal

import keras
from pydantic import Field

from kzoo import config, models
from kzoo.config import ConfigError
from kzoo.layers.latent import Latent
from kzoo.losses.adversarial import ADVERSARIAL
from kzoo.training import kept_sizes
from kzoo.training.adversarial import AdversarialModel
from kzoo.training.confusion import DomainConfusion
from kzoo.training.optimizers import optimizer

# Arguments of `discriminator` that the graph decides.
_OF_THE_GRAPH = ("window", "channels", "latent", "domains", "frames")
# Keys of the section `network` that are no sizes.
_NO_SIZES = ("name", "variant", "sizes")


@dataclass
class Adversary:
    """The section itself. Without it, or with weight 0, there is no adversary, and no cost of one.

    weight: of the adversarial loss beside that of the section `loss`, whose own weight is 1.
    network: the discriminator's name, that of the model in whose file it is, by default the one
        that is trained; its variant, by default that of this model; and changes of its sizes.
    loss: "least_squares" or "hinge"; of a domain classifier "cross_entropy".
    optimizer: as the section of that name, for the discriminator.
    steps, label_smoothing, noise_std, noise_decay, noise_steps: as in `AdversarialModel.compile`.
    choose: whether the preset has the "latest" weights, or the "best" by the validation's loss,
        which is only that of the section `loss`.
    """

    weight: Annotated[float, Field(ge=0)] = 1.0
    network: dict | None = None
    loss: str | None = None
    optimizer: dict | None = None
    steps: int = 1
    label_smoothing: float = 0.0
    noise_std: float = 0.0
    noise_decay: float = 0.7
    noise_steps: int = 1000
    choose: Literal["latest", "best"] = "latest"


def resolved(section: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """`section` with all of its defaults; `model` is the resolved section of that name.

    Raises ConfigError and ValueError for whatever is wrong without a look at the networks.
    """
    found = dataclasses.asdict(config.call(Adversary, section, where="adversary"))
    network = {"name": model["name"], **(found["network"] or {})}
    module = _module(network["name"])
    default = next(iter(module.DISCRIMINATORS))
    if network["name"] == model["name"]:
        default = model["variant"]
    network["variant"] = network.get("variant") or default
    network["sizes"] = kept_sizes.keep(network["variant"], _sizes(network))
    known = ["cross_entropy"] if _tells_domains(module) else list(ADVERSARIAL)
    found["loss"] = config.named(known, found["loss"] or known[0], "adversarial loss")
    config.call(optimizer, found["optimizer"] or {}, where="adversary: optimizer")
    found["optimizer"] = {**config.defaults(optimizer), **(found["optimizer"] or {})}
    return {**found, "network": network}


def active(values: Mapping[str, Any]) -> bool:
    """Whether a resolved configuration has an adversary that counts."""
    return bool(values.get("adversary")) and values["adversary"]["weight"] > 0


def adversarial_model(
    graph: keras.Model, domain: Callable, section: Mapping[str, Any], sources: int
) -> AdversarialModel:
    """`graph` as a generator, and the discriminator of a resolved section.

    A domain classifier is shown what the graph's layer "encoder" gives: see `DomainConfusion`.
    Another is shown the sources and the mixture side by side, in the domain of the estimates
    `[batch, sources, samples, channels]`: `[batch, samples, (sources + 1) * channels]`.
    Raises ValueError for a graph that estimates something else.
    """
    network = section["network"]
    module, shape = _module(network["name"]), graph.output_shape
    if _tells_domains(module):
        if "encoder" not in [layer.name for layer in graph.layers]:
            raise ConfigError(
                f"adversary: that of {network['name']} tells domains from what a layer encoder "
                "gives, and the model that is trained has none"
            )
        codes = graph.get_layer("latents").output.shape
        classifier = module.discriminator(
            _sizes(network), domains=graph.get_layer("output2").domains,
            frames=codes[1], latent=codes[2],
        )  # fmt: skip
        return DomainConfusion(graph, classifier, name=f"{graph.name}_adversarial")
    if len(shape) != 4 or shape[2] is None:
        raise ValueError(
            "an adversary judges waveforms of a fixed length, [batch, sources, samples, channels]; "
            f"the model trains on {shape}"
        )
    discriminator = module.discriminator(
        _sizes(network), window=shape[2], channels=(shape[1] + 1) * shape[3]
    )

    def shown(signal, inputs):
        mixture = inputs[0] if isinstance(inputs, list | tuple) else inputs
        mixture = domain(keras.ops.expand_dims(mixture, 1))
        both = keras.ops.concatenate([signal, mixture], axis=1)
        both = keras.ops.transpose(both, (0, 2, 1, 3))  # [batch, samples, sources + 1, channels]
        return keras.ops.reshape(both, (-1, shape[2], (shape[1] + 1) * shape[3]))

    return AdversarialModel(
        graph,
        discriminator,
        shown=shown,
        # Behind the sources there may be the mixture, for losses that take it.
        target=lambda targets: domain(targets[:, :sources]),
        latent=any(isinstance(layer, Latent) for layer in graph._flatten_layers()),
        name=f"{graph.name}_adversarial",
    )


def compile_adversarial(model: AdversarialModel, section: Mapping[str, Any], **options) -> None:
    """Compile with the discriminator's side of a resolved section; options: of the generator's."""
    second = config.call(optimizer, section["optimizer"], where="adversary: optimizer")
    names = ("weight", "steps", "label_smoothing", "noise_std", "noise_decay", "noise_steps")
    model.compile(
        discriminator_optimizer=second,
        adversarial=section["loss"],
        **{name: section[name] for name in names},
        **options,
    )


def _sizes(network: Mapping[str, Any]):
    """The discriminator's sizes: those of its variant, or those that a run has kept, changed."""
    where = f"adversary: discriminator of {network['name']}"
    changes = {key: value for key, value in network.items() if key not in _NO_SIZES}
    taken = [key for key in changes if key in _OF_THE_GRAPH]
    if taken:
        raise ConfigError(f"{where}: {taken[0]} is that of what it is shown; leave it out")
    known = _module(network["name"]).DISCRIMINATORS
    kept = kept_sizes.kept(network, network["variant"])
    if kept is not None:
        base, changes = next(iter(known.values())), {**kept, **changes}
    else:
        base = config.named(known, network["variant"], f"discriminator of {network['name']}")
    return models.changed(base, changes, where=where)


def _tells_domains(module: ModuleType) -> bool:
    return "domains" in inspect.signature(module.discriminator).parameters


def _module(name: str) -> ModuleType:
    module = models.architecture(name)
    if not hasattr(module, "discriminator"):
        raise ConfigError(
            f"the model {name} has no discriminator: say whose is meant, such as "
            "adversary.network.name=segan"
        )
    return module
