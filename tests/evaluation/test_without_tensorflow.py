"""Evaluation needs none of the networks: it all runs where TensorFlow cannot be imported."""

import subprocess
import sys

import soundfile

PROGRAM = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None  # importing them is an error
import kzoo.classical, kzoo.metrics
from kzoo.cli.app import main
main()
"""


def test_metrics_methods_tables_and_the_page(tmp_path, rng):
    for source in ("vocals", "bass"):
        sound = 0.1 * rng.standard_normal((8000, 1))
        for folder in ("corpus", "mine"):
            path = tmp_path / folder / "song" / f"{source}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sound + 0.01 * rng.standard_normal((8000, 1)), 8000, "FLOAT")
    words = [
        "evaluate",
        "mine",
        "wfm",
        "--corpus",
        "corpus",
        "--sources",
        "vocals,bass",
        "-o",
        "out",
    ]
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert "tensorflow" not in found.stdout
    written = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert written == {
        "scores.txt", "scores.json", "medians.csv", "tracks.csv", "comparisons.csv", "report.html",
    }  # fmt: skip
