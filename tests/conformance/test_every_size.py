"""The sizes of every architecture that takes a waveform, before any network is drawn."""

import dataclasses
import json
import typing

import pytest
from made_models import MODELS, tiny

from kzoo import models
from kzoo.models import architecture

pytestmark = pytest.mark.parametrize("name", MODELS)


def test_an_unknown_variant_or_option_is_refused_with_its_name(name):
    with pytest.raises(ValueError, match=f"no variant of {name} is called 'gigantic'"):
        models.build(name, variant="gigantic")
    with pytest.raises(ValueError, match=f"model {name} has no option 'chanels'.*'channels'"):
        models.build(name, variant="tiny", chanels=1)


def test_the_whole_of_the_sizes_builds_the_variant_again(name):
    for variant, size in architecture(name).VARIANTS.items():
        written = json.loads(json.dumps(dataclasses.asdict(size)))
        assert models.sizes(name, **written) == models.sizes(name, variant=variant) == size


def others(size):
    """The same sizes with one field changed, for each field for which another value is known."""
    hints = typing.get_type_hints(type(size))
    for field in dataclasses.fields(size):
        value, choices = getattr(size, field.name), typing.get_args(hints[field.name])
        if isinstance(value, bool):
            value = not value
        elif isinstance(value, int | float):
            value *= 2
        elif isinstance(value, str):
            value = next((x for x in choices if isinstance(x, str) and x != value), value)
        elif isinstance(value, tuple) and value and isinstance(value[0], int):
            value = tuple(n + 1 for n in value)
        try:
            yield dataclasses.replace(size, **{field.name: value})
        except ValueError:  # another field would have to follow
            continue


def test_sizes_of_any_options_lay_blocks_and_lengths(name):
    changed = list(others(tiny(name)))
    assert len(changed) > 2
    for size in changed:
        grid, samples = size.grid(), size.block()["samples"]
        assert samples == grid.samples
        static, length = size.static(5000)
        assert isinstance(static, type(size))
        assert length > 0
        less = size.smaller()
        assert less is None or less.grid().samples < grid.samples
        assert 0 < size.bandwidth_hz() <= size.sample_rate // 2
        segment, arguments = size.segment(5000)
        assert isinstance(segment, type(size))
        assert arguments["samples"] > 0
