"""The examples of the guides run as they stand there, and the reference lists what there is."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from made_once import once

from kzoo import audio, cli, config, models, presets
from kzoo.cli.app import command as program
from kzoo.engines import tensorflow

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
# What they do is tested where its modules are.
SLOW = ("fit", "phone", "serve", "train", "untrained")
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def joined(block):
    """A block of commands with each on one line, without that which installs kzoo."""
    return block.replace("pip install kzoo\n", "").replace("\\\n", " ")


SHOWN = [
    command.strip()
    for path in PAGES
    for block in re.findall(r"```sh\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    for command in re.findall(r"\bkzoo (?!\[)[^|>#\n]*", joined(block))
]
BLOCK = re.compile(r'```(python|console|yaml|csv)(?: title="(.*?)")?\n(.*?)```', re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch, rng):
    """A folder like the one that a reader of the guides has: a song, stems, configurations."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tensorflow, "system", once(tensorflow.system))
    shutil.copytree(ROOT / "configs", "configs")
    monkeypatch.setattr(models, "__path__", [*models.__path__, "kzoo/models"])

    def noise(seconds):
        return 0.1 * rng.standard_normal((round(44100 * seconds), 2)).astype(np.float32)

    audio.write("song.mp3", noise(0.3), 44100)
    for song in ("first", "second"):
        Path("songs", song).mkdir(parents=True)
        for stem in ("vocals", "accompaniment"):
            audio.write(f"songs/{song}/{stem}.wav", noise(4), 44100)
    yield tmp_path
    for name in set(sys.modules) - {f"kzoo.models.{name}" for name in models.list_models()}:
        if name.startswith("kzoo.models.") and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def shrink(name):
    """A folder of this name is taken for the preset: the same network with two of its levels.

    So has the network that a guide tunes from it.
    """
    card = presets.load_card(name)
    options = {**card["model"]["options"], "filters": [4, 8]}
    model = models.build("unet", **options)
    card = {**card, "model": {"name": "unet", "options": options}, "trained": "not at all"}
    presets.save_to_preset(model, name, card)
    tuned = Path("configs", "separation", "own_stems.yaml")
    values = config.load_yaml(tuned)
    config.dump_yaml({**values, "model": {**values["model"], "filters": [4, 8]}}, tuned)


def run_command(line, monkeypatch):
    words = shlex.split(line)
    assert words[0] == "kzoo", f"the guides run no other program: {line}"
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code, line


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in SLOW else ())
        for path in GUIDES
    ],
)
def test_the_examples_of_a_guide_run_one_after_the_other(path, workplace, monkeypatch, request):
    if path.stem == "midi" and shutil.which("fluidsynth") is None:
        pytest.skip("needs fluidsynth: apt-get install fluidsynth timgm6mb-soundfont")
    text = path.read_text(encoding="utf-8")
    blocks = BLOCK.findall(text)
    assert blocks or "```sh" in text
    if any("unet_2stems_mobile" in text for _, _, text in blocks):
        shrink("unet_2stems_mobile")
    if not any("kzoo export" in text for _, _, text in blocks):
        request.getfixturevalue("eagerly")
    names = {"__name__": "guide"}
    for number, (language, title, text) in enumerate(blocks):
        file = Path(title or f"example_{number}.py").absolute()
        if language != "console":  # TensorFlow's AutoGraph wants the source of a function in a file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        if language == "python" and not title:
            exec(compile(text, file, "exec"), names)
        elif language == "console":
            for line in text.splitlines():
                run_command(line.removeprefix("$ "), monkeypatch)


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_is_only_shown_is_one_that_the_program_parses(line):
    words, command = shlex.split(line)[1:], program
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    assert command.make_context("kzoo", words, resilient_parsing=False).command is command


def test_the_page_of_the_environment_names_every_variable_that_the_code_reads():
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "kzoo").rglob("*.py"))
    variable = re.compile(r"KZOO_[A-Z]+")
    assert set(variable.findall(page)) == set(variable.findall(code))
