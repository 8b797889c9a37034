"""The wheel is the whole program: installed elsewhere, away from the sources, it separates."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_programs import LEAN

from kzoo.presets import list_presets

ROOT = Path(__file__).parents[1]
# What pip asks of the project's build system, without what it does around it.
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
SCRIPT = "import runpy; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of the sources, as what an earlier build left among them would go along."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("kzoo", "export"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    subprocess.run([sys.executable, "-c", BUILD, out], cwd=source, check=True, capture_output=True)
    return next(out.glob("kzoo-*.whl"))


def test_the_wheel_holds_the_package_with_its_cards_and_nothing_beside(wheel):
    assert wheel.stat().st_size < 15e6
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert [top for top in tops if not top.endswith(".dist-info")] == ["kzoo"]
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("**/*.py", "presets/cards/*")
        for path in (ROOT / "kzoo").glob(pattern)
    }
    assert wanted <= names
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_installed_wheel_separates_far_from_the_sources(wheel, tmp_path):
    place = tmp_path / "place"
    subprocess.run(
        [*PIP, "install", "--no-compile", "--no-deps", "--no-index", "--target", place, wheel],
        check=True,
    )

    def run(*words):
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(place)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kzoo(*words):
        return run(place / "bin" / "kzoo", *words)

    where = run("-c", "import kzoo; print(kzoo.__file__)")
    assert Path(where.strip()).is_relative_to(place)
    assert "separate" in kzoo("--help")
    listed = kzoo("presets", "list", "--all")
    assert all(name in listed for name in list_presets())
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "song.wav", 0.1 * rng.standard_normal((22050, 2)), 44100)
    words = ("separate", "-p", "unet_2stems_mobile", "-o", "out", "song.wav")
    run("-c", LEAN + SCRIPT, place / "bin" / "kzoo", *words)
    for stem in ("vocals", "accompaniment"):
        sound, rate = soundfile.read(tmp_path / "out" / "song" / f"{stem}.wav")
        assert (sound.shape, rate) == ((22050, 2), 44100)
        assert np.abs(sound).max() > 1e-3
