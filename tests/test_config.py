"""Configurations: every key is an argument, and a wrong one is answered with advice."""

import pytest

from kzoo import config


def paint(colour: str = "red", width: float = 1.0):
    return colour, width


def test_a_call_passes_every_option():
    assert config.call(paint, {"colour": "blue"}) == ("blue", 1.0)


def test_a_misspelt_option_is_answered_with_the_nearest():
    with pytest.raises(config.ConfigError, match="did you mean 'colour'"):
        config.call(paint, {"color": "blue"})


def test_a_foreign_option_is_answered_with_the_list():
    with pytest.raises(config.ConfigError, match="it takes colour, width"):
        config.call(paint, {"zzz": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML at line"),
        ("- 1", "must hold a mapping"),
        ("", "must hold a mapping"),
    ],
)
def test_broken_yaml_is_one_line(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=message) as caught:
        config.load_yaml(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(config.ConfigError, match=r"nowhere\.yaml"):
        config.load_yaml(tmp_path / "nowhere.yaml")


def test_yaml_survives_the_round_trip(tmp_path):
    values = {"b": [1, 2.5], "a": {"ü": None}}
    config.dump_yaml(values, tmp_path / "x.yaml")
    assert config.load_yaml(tmp_path / "x.yaml") == values
    assert list(config.load_yaml(tmp_path / "x.yaml")) == ["b", "a"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": "1e-3"}, "write 0.001"),
        ({"width": "wide"}, "width.*number.*'wide'"),
        ({"colour": 3}, "colour.*string.*3"),
    ],
)
def test_a_value_of_another_type_is_refused(options, message):
    with pytest.raises(config.ConfigError, match=message):
        config.call(paint, options)


def test_a_whole_number_is_a_float_too():
    assert config.call(paint, {"width": 2}) == ("red", 2)


def test_what_is_missing_is_named():
    def needs(size: int, *, depth: int):
        return size, depth

    with pytest.raises(config.ConfigError, match="needs size"):
        config.call(needs, {"depth": 1})
    assert config.call(needs, {"depth": 1}, size="unchecked") == ("unchecked", 1)


def test_a_function_that_takes_further_keys_is_asked_for_its_own_alone():
    def step(name: str, **options):
        return name, options

    assert config.call(step, {"name": "gain", "low_db": 1}) == ("gain", {"low_db": 1})
    with pytest.raises(config.ConfigError, match="step needs name"):
        config.call(step, {"low_db": 1})
    with pytest.raises(config.ConfigError, match=r"name.*string.*3"):
        config.call(step, {"name": 3})


def test_an_empty_section_takes_a_setting():
    assert config.override({"fit": None}, ["fit.epochs=2"]) == {"fit": {"epochs": 2}}


def test_settings_override_what_a_file_says():
    values = {"train": {"rate": 1.0, "steps": [{"name": "gain"}]}}
    changed = config.override(values, ["train.rate=1e-3", "train.steps.0.name=shift", "new.on=yes"])
    assert changed == {"train": {"rate": 1e-3, "steps": [{"name": "shift"}]}, "new": {"on": True}}
    assert values["train"]["rate"] == 1.0


@pytest.mark.parametrize("setting", ["train.rate", "=1", "train.rate.deeper=1", "train.steps.7=1"])
def test_a_setting_that_leads_nowhere_is_one_line(setting):
    with pytest.raises(config.ConfigError) as caught:
        config.override({"train": {"rate": 1.0, "steps": []}}, [setting])
    assert "\n" not in str(caught.value)
