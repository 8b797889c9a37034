"""What the demo asks of verbs that are slow are options that these have, by their names."""

import importlib.util
import inspect

import pytest

from kzoo.cli import demo, separate
from kzoo.cli.demo import song_path


class Asked(Exception):
    """The verb was called; `bound` are its arguments by the names of its parameters."""

    def __init__(self, bound):
        self.bound = bound


def test_the_demo_separates_by_a_preset_and_needs_no_program(monkeypatch, tmp_path):
    # stempeg is found, not imported, as it wants an ffmpeg program.
    if importlib.util.find_spec("stempeg") is None:
        pytest.skip("pip install 'kzoo[demo]'")
    monkeypatch.setenv("PATH", str(tmp_path))

    def asked(*args, **options):
        raise Asked(inspect.signature(separate.separate).bind(*args, **options).arguments)

    monkeypatch.setattr(demo, "separate", asked)
    with pytest.raises(Asked) as asking:
        demo.demo(out=tmp_path / "demo", quiet=True)
    bound = asking.value.bound
    assert bound["files"] == [str(song_path())]
    assert bound["preset"] == "spleeter_2stems"
    assert "method" not in bound
