"""`kzoo reproduce` tells how results are made again, and whether short forms still come out so."""

from pathlib import Path

import pytest

from kzoo import config, presets, training
from kzoo.cli import reproduction
from kzoo.cli.app import program

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(
    path for path in ROOT.glob("configs/*/*.yaml") if "expected" in config.load_yaml(path)
)
PRESETS = [name for name in presets.list_presets() if "expected" in presets.load_card(name)]
FAST = ("demucs_2stems_small", "unet_2stems_mobile")
slow = pytest.mark.slow


def reproduce(*words):
    program("reproduce")(["reproduce", *map(str, words)], standalone_mode=False)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem == FAST[0] else slow)
        for path in CONFIGS
    ],
)
def test_the_short_form_of_a_training_comes_to_what_is_recorded(path, capsys):
    reproduce(path, "--quick", "--quiet")
    assert "as recorded" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == FAST[1] else slow) for name in PRESETS]
)
def test_a_preset_scores_what_its_card_records(name, capsys):
    if presets.weights_path(name) is None:
        pytest.skip("its weights are not here")
    reproduce(name, "--quick")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(presets.load_card(name)["sources"])
    assert all(line.endswith(": as recorded") for line in lines)


def test_what_comes_to_something_else_fails(monkeypatch, capsys):
    found = {
        "loss": (1.021, 1.0, 0.02),
        "again": (float("nan"), 1.0, 0.02),
        "or": (0.99, 1.0, 0.02),
    }
    monkeypatch.setattr(reproduction, "train", lambda path, tell: found)
    with pytest.raises(SystemExit) as error:
        reproduce("made.yaml", "--quick")
    assert error.value.code == 1
    verdicts = [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()]
    assert verdicts == ["NOT AS RECORDED", "NOT AS RECORDED", "as recorded"]


def test_another_loss_and_other_data_are_noticed(monkeypatch, tmp_path):
    path = next(path for path in CONFIGS if path.stem == "unet_2stems_mobile")
    expected = config.load_yaml(path)["expected"]["quick"]
    found = {"best": 1.1 * expected["loss"], "data": {"sha256": expected["data_sha256"]}}
    seen = []

    def train(values, folder, *, say):
        seen.append(values)
        config.dump_yaml({"trained": found}, tmp_path / "card.yaml")
        return tmp_path

    monkeypatch.setattr(training, "train", train)
    ((value, recorded, tolerance),) = reproduction.train(path, print).values()
    assert abs(value - recorded) > tolerance
    assert seen[0]["fit"]["steps_per_epoch"] == 4
    assert seen[0]["data"]["train"]["kind"] == "synthetic"
    found["data"]["sha256"] = "0" * 64
    with pytest.raises(ValueError, match="learns from other data than recorded"):
        reproduction.train(path, print)


def test_without_a_short_form_the_missing_data_are_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"no short form; .*data/voicebank_demand"):
        reproduce(ROOT / "configs/enhancement/segan_voicebank.yaml", "--quick")
    with pytest.raises(ValueError, match="preset crepe_tiny has nothing recorded"):
        reproduce("crepe_tiny", "--quick")


def test_commands_data_and_figures_are_told(capsys):
    path = ROOT / "configs/separation/conv_tasnet_libri2mix.yaml"
    reproduce(path)
    printed = capsys.readouterr().out
    assert "kzoo train configs/separation/conv_tasnet_libri2mix.yaml" in printed
    assert "Expected" in printed
    reproduce("unet_2stems_mobile")
    printed = capsys.readouterr().out
    assert "command: kzoo train configs/separation/unet_2stems_mobile.yaml" in printed
    assert "sha256" in printed
    assert "definition: BSS Eval v4" in printed
