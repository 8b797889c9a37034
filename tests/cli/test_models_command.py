"""`kzoo models`: the architectures, and what each of them takes."""

import dataclasses

import pytest

from kzoo import cli
from kzoo.models import list_models, unet


def test_every_architecture_is_listed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kzoo", "models"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert capsys.readouterr().out.split() == list_models()


def test_a_model_tells_every_option_its_default_and_its_variants(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kzoo", "models", "unet"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    told = capsys.readouterr().out
    for field in dataclasses.fields(unet.UNet):
        assert f"  {field.name}: " in told
    assert "  n_fft: int = 4096\n" in told
    assert "  spleeter: the defaults\n" in told
    assert "  mobile: " in told
    assert "linear_bins=128" in told.partition("  mobile: ")[2].splitlines()[0]


def test_what_a_large_network_takes_of_memory_is_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kzoo", "models", "deep_karaoke"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert "  paper: the defaults; 840,541,000 weights, 3.36 GB\n" in capsys.readouterr().out


def test_an_unknown_model_is_one_line_with_the_nearest_name(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kzoo", "models", "unnet"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "kzoo: no model is called 'unnet'; did you mean 'unet'?\n"
