"""The configurations of the project: each is one that can be trained once its data are there."""

import fnmatch
from pathlib import Path

import pytest

from kzoo import config, data, models, presets
from kzoo.data.corpora import KINDS
from kzoo.training import resolved

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(ROOT.glob("configs/*/*.yaml"))


def load(path):
    return resolved({"name": path.stem, **config.load_yaml(path)})


def test_there_are_configurations():
    assert CONFIGS


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_a_configuration_fits_the_functions_that_it_calls(path):
    values = load(path)
    assert values["name"] == path.stem
    assert values == resolved(values)
    section = values["data"]
    corpora = [section["train"], section.get("validation"), *(section.get("tests") or {}).values()]
    for corpus in filter(None, corpora):
        options = {key: value for key, value in corpus.items() if key != "kind"}
        config.check(KINDS[corpus["kind"]], options, where=f"{path.name}: corpus")
    config.check(data.Conditioned, section.get("conditions") or {}, given=["examples"])


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if load(path)["start"]],
    ids=lambda path: path.stem,
)
def test_what_is_frozen_or_starts_from_a_preset_names_its_weights(path):
    values = load(path)
    start, card = values["start"], {}
    if "/" in (folder := start.get("preset", "")):
        assert f" {folder}\n" in path.read_text()  # a command of the header makes it
    elif folder:
        card = presets.load_card(start["preset"])
        assert card["model"]["name"] == values["model"]["name"]
        origins = {start.get("sources", {}).get(s, s) for s in values["model"]["sources"]}
        assert origins <= set(card["sources"])
    dropped = ("name", "bins", "sizes")
    options = {key: value for key, value in values["model"].items() if key not in dropped}
    # The weights of the smallest variant have the names of all.
    network = models.build(values["model"]["name"], **{**options, "variant": "tiny"})
    paths = [weight.path for weight in network.weights]
    rates = values["optimizer"]["rates"] or {}
    for pattern in (*start.get("freeze", ()), *start.get("new", ()), *rates):
        assert fnmatch.filter(paths, pattern), pattern
    if card.get("fixed_norms"):
        assert values["fit"]["inference_mode"]
