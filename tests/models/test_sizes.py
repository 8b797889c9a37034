"""Sizes: every option once, whole in runs and cards, and heard by everything that follows."""

import copy
import dataclasses
import functools
import json
import shutil

import numpy as np
import pytest

import kzoo
from kzoo import config, models, presets
from kzoo.config import ConfigError
from kzoo.engines import tensorflow
from kzoo.models import unet
from kzoo.training import resolved, train
from kzoo.training.folder import check_folder

SOURCES = ["vocals", "accompaniment"]


@functools.cache
def untrained(name, **options):
    """The tiny model, which no test changes."""
    return models.build(name, sources=SOURCES, variant="tiny", **options)


def saved(folder, name, *, sample_rate=8000, **options):
    """A preset of a tiny model."""
    card = {
        "model": {"name": name, "options": {"sources": SOURCES, "variant": "tiny", **options}},
        "sources": SOURCES,
        "sample_rate": sample_rate,
        "trained": "not at all: random weights, for tests",
    }
    return presets.save_to_preset(untrained(name, **options), folder, card)


def settings(**model):
    """A training of one step on made-up sound."""
    return {
        "name": "one_step",
        "model": {"sources": SOURCES, "variant": "tiny", **model},
        "data": {"train": {"kind": "synthetic", "tracks": 1, "seconds": 3.0}},
        "fit": {"batch_size": 1, "epochs": 1, "steps_per_epoch": 1},
    }


@functools.cache
def begun(name, base):
    """(values, folder, what was said) of a training of one step on segments of a second."""
    smaller = {"trunk": "shared"} if name == "unet" else {}
    values, lines = settings(name=name, **smaller), []
    values["fit"]["segment_seconds"] = 1.0
    return values, train(values, base / f"begun_{name}", say=lines.append), lines


@pytest.fixture
def run(eagerly, tmp_path, tmp_path_factory):
    """(values, folder) of such a training of the tiny U-Net, to go on with."""
    values, folder, _ = begun("unet", tmp_path_factory.getbasetemp())
    return copy.deepcopy(values), shutil.copytree(folder, tmp_path / "run")


def test_blocks_that_do_not_fit_in_memory_are_halved(tmp_path):
    system = tensorflow.system(saved(tmp_path / "preset", "conv_tasnet", blocks=1, repeats=1))
    smaller = system.smaller()
    assert smaller.grid.samples < system.grid.samples
    block = np.zeros((1, smaller.grid.samples, 1), np.float32)
    assert smaller.function(block).shape == (1, 2, smaller.grid.samples, 1)


def test_the_shipped_model_for_two_speakers_has_smaller_blocks():
    preset = presets.open_preset("conv_tasnet_2speakers")
    size, _ = preset.sizes()
    smaller = size.smaller()
    assert smaller.grid().samples < size.grid().samples
    assert smaller.block()["samples"] == smaller.grid().samples


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", ["unet", pytest.param("cunet", marks=pytest.mark.slow)])
def test_networks_on_spectrograms_train_on_segments_of_any_length(tmp_path_factory, name):
    _, folder, lines = begun(name, tmp_path_factory.getbasetemp())
    # 128 frames of hop 64 are 8384 samples, and 8000 are too many for 64 frames.
    assert [line for line in lines if "segments last 1.048 s" in line]
    assert presets.load_card(folder)["trained"]["steps"] == 1


def test_none_is_a_value_that_undoes_a_variants_own():
    assert models.sizes("unet", variant="mobile").linear_bins == 128
    assert models.sizes("unet", variant="mobile", linear_bins=None).linear_bins is None
    assert models.sizes("conv_tasnet", variant="music", input_norm=None).input_norm is None
    values = settings(name="unet", linear_bins=None)
    values["model"]["variant"] = "mobile"
    assert resolved(values)["model"]["sizes"]["linear_bins"] is None


def test_lists_of_a_yaml_file_are_tuples():
    size = models.sizes("unet", variant="tiny", filters=[2, 3])
    assert size.filters == (2, 3)
    assert size.step == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": 64}, "model unet has no option 'frame'; did you mean 'frames'"),
        ({"activation": "gelu"}, "activation must be one of leaky_relu, elu; got 'gelu'"),
        ({"dropout": "1e-3"}, "got '1e-3' .YAML reads 1e-3 as text"),
        ({"frames": None}, "frames: Input should be a valid integer; got None"),
        ({"variant": "tinny"}, "no variant of unet is called 'tinny'; did you mean 'tiny'"),
    ],
)
def test_options_that_a_model_does_not_have_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        models.sizes("unet", **options)


def test_sizes_made_by_hand_are_checked_as_those_by_name():
    with pytest.raises(ValueError, match="masks must be one of sigmoid, softmax, none; got 'relu'"):
        unet.UNet(masks="relu")


@pytest.fixture
def later(monkeypatch):
    """The tiny U-Net of a later version, with other filters."""

    def change():
        other = dataclasses.replace(unet.VARIANTS["tiny"], filters=(3, 4, 5, 6, 7, 8), dropout=0.1)
        monkeypatch.setitem(unet.VARIANTS, "tiny", other)

    return change


def test_a_card_keeps_the_whole_of_the_sizes(tmp_path, later):
    folder = saved(tmp_path / "preset", "unet")
    noise = np.random.default_rng(0).standard_normal((1, 2000, 2)).astype(np.float32)
    before = untrained("unet")(noise)
    section = presets.load_card(folder)["model"]
    assert section["variant"] == "tiny"
    assert set(section["options"]) == {"sources", *vars(unet.VARIANTS["tiny"])}
    later()
    np.testing.assert_array_equal(kzoo.from_preset(folder)(noise), before)


def test_a_run_goes_on_with_the_sizes_that_it_began_with(run, later):
    values, folder = run
    before = presets.load_card(folder)["model"]["options"]
    later()
    values["fit"]["epochs"] = 2
    train(values, folder, say=lambda line: None)
    card = presets.load_card(folder)
    assert card["model"]["options"] == before
    assert card["trained"]["steps"] == 2
    assert models.sizes("unet", variant="tiny").filters != tuple(before["filters"])


def test_another_variant_on_the_command_line_is_not_the_kept_one():
    values = resolved(settings(name="unet"))
    values["model"]["variant"] = "speech"
    assert resolved(values)["model"]["sizes"]["sample_rate"] == 16000


def test_a_preset_runs_at_the_rate_of_its_card_even_if_that_names_its_variant_alone(tmp_path):
    folder = saved(tmp_path / "other", "unet", sample_rate=11025)
    card = presets.load_card(folder)
    assert card["model"]["options"]["sample_rate"] == 11025
    assert presets.open_preset(folder).sizes()[0].sample_rate == 11025
    card["model"] = {"name": "unet", "options": {"sources": SOURCES, "variant": "tiny"}}
    (folder / "card.yaml").write_text(json.dumps(card))
    assert tensorflow.system(folder).sample_rate == 11025


def test_a_variant_beside_a_cards_options_is_where_they_begin(tmp_path):
    causal = {"filters": 4, "hidden": 4, "bottleneck": 4, "skip": 4, "blocks": 1, "repeats": 1}
    model = models.build("conv_tasnet", variant="causal", sources=SOURCES, **causal)
    section = {"name": "conv_tasnet", "variant": "causal"}
    card = {
        "model": {**section, "options": {"sources": SOURCES, **causal}},
        "sources": SOURCES,
        "sample_rate": 8000,
        "trained": "not at all: random weights, for tests",
    }
    folder = presets.save_to_preset(model, tmp_path / "causal", card)
    assert presets.load_card(folder)["model"]["options"]["norm"] == "cumulative"
    assert presets.open_preset(folder).sizes()[0].causal


def test_another_variant_of_a_preset_is_refused():
    with pytest.raises(presets.PresetError, match="has sizes of its own; got variant='tiny'"):
        kzoo.from_preset("unet_2stems_mobile", variant="tiny")


def test_a_run_goes_on_when_its_variant_has_gone(run, monkeypatch):
    _, folder = run
    filters = unet.VARIANTS["tiny"].filters
    monkeypatch.delitem(unet.VARIANTS, "tiny")
    kept = config.load_yaml(folder / "config.yaml")
    kept["fit"]["epochs"] = 2
    train(kept, folder, say=lambda line: None)
    assert presets.load_card(folder)["trained"]["steps"] == 2
    assert presets.open_preset(folder).sizes()[0].filters == filters


def test_sizes_of_a_run_are_not_a_place_for_options():
    values = settings(name="unet", sizes={"frames": 128})
    with pytest.raises(ConfigError, match=r"got frames: say model\.frames="):
        resolved(values)


def test_kept_sizes_that_are_changed_are_another_run(tmp_path, monkeypatch):
    values = resolved(settings(name="unet"))
    (tmp_path / "checkpoint.npz").touch()
    config.dump_yaml(values, tmp_path / "config.yaml")
    changed = {**values, "model": {**values["model"], "frames": 128}}
    with pytest.raises(ConfigError, match="holds a run with another section 'model'"):
        check_folder(resolved(changed), tmp_path, sizes_given=True)


def test_fields_of_a_base_are_checked_by_the_names_of_its_own_file(monkeypatch):
    names = {"__module__": __name__, "__annotations__": {}}
    other = dataclasses.dataclass(frozen=True, kw_only=True)(type("Other", (unet.UNet,), names))
    assert "Literal" not in globals()
    size = models.changed(other(), {"masking": "direct"}, where="model other")
    assert size.masking == "direct"
    with pytest.raises(ConfigError, match="masking must be one of ratio, direct; got 'hard'"):
        models.changed(other(), {"masking": "hard"}, where="model other")
