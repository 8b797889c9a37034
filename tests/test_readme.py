"""The README's tables and commands are those of the program."""

import importlib
import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from made_once import once

from kzoo import audio, cli, presets
from kzoo.cli.app import command as program
from kzoo.engines import tensorflow
from kzoo.models import list_models

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPES = README + (ROOT / "export" / "README.md").read_text(encoding="utf-8")


def section(title):
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title):
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def commands():
    blocks = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
    blocks += [f"kzoo {line}" for line in re.findall(r"`kzoo ([^`]+)`", README)]
    lines = [line.split("#")[0] for block in blocks for line in block.splitlines()]
    found = [re.search(r"\bkzoo (?!\[).*", line) for line in lines]
    return [
        match.group().split(">")[0] for match in found if match and "import" not in match.group()
    ]


def test_the_models_table_names_every_model():
    assert [row[0].strip("`") for row in rows("Models")] == list_models()


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one_that_the_program_parses(line):
    words, command = shlex.split(line)[1:], program
    while hasattr(command, "commands") and words:
        command, words = command.commands[words[0]], words[1:]
    context = command.make_context("kzoo", [w for w in words if w != "|"], resilient_parsing=False)
    assert context.command is command


@pytest.mark.parametrize("line", re.findall(r"python -m (export\.[^`\n]+)`", RECIPES))
def test_every_recipe_is_one_that_its_program_parses(line, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # export/ is no package: recipes run from the root
    module, *words = shlex.split(line)
    importlib.import_module(module).parser().parse_args(words)


@pytest.fixture(scope="module")
def preset(tiny_preset, tmp_path_factory):
    """A preset folder, whose system is built once for all songs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow, "system", once(tensorflow.system))
        yield tiny_preset(tmp_path_factory.mktemp("presets") / "mine")


@pytest.mark.parametrize(
    "line", [line for line in commands() if "separate" in line and "song.mp3" in line]
)
def test_a_song_is_separated_as_shown(line, preset, tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(preset, "runs/mine")
    audio.write("song.mp3", 0.1 * rng.standard_normal((4000, 2)).astype(np.float32), 8000)
    words = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [*words, *([] if "-p" in words else ["-p", "runs/mine"])])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    two = "no_vocals.wav" if "--two-stems" in words else "accompaniment.wav"
    assert sorted(path.name for path in Path("out/song").iterdir()) == sorted([two, "vocals.wav"])


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("kzoo train")])
def test_a_clone_trains_on_a_folder_of_stems_as_shown(line, tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", "configs")
    for stem in ("vocals", "drums", "bass"):
        path = Path("songs/song", f"{stem}.wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        audio.write(path, 0.1 * rng.standard_normal((88200, 2)).astype(np.float32), 44100)
    small = ["model.filters=[2,2]", "fit.epochs=1", "fit.steps_per_epoch=1"]
    words = [*shlex.split(line), *small, "fit.batch_size=1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert presets.load_card(words[words.index("-o") + 1])["sources"] == ["vocals", "accompaniment"]


def test_pictures_and_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert any(target.endswith(".png") for target in targets)
    for target in targets:
        if not target.startswith("http"):
            assert (Path(__file__).parent.parent / target).exists(), target
