"""Functions that are called once for each of their arguments, where building anew is not tested."""

import functools

import pytest


def once(function):
    """`function` with a memory; `progress` is passed over, as what is there makes none."""
    results = {}

    @functools.wraps(function)
    def call(*arguments, progress=None, **options):
        key = (*map(str, arguments), str(sorted(options.items())))
        if key not in results:
            results[key] = function(*arguments, **options)
        return results[key]

    return call


def drawn_once(*functions):
    """The fixture of a file in which each (module, name) draws a network once for its arguments.

    What is refused has assigned nothing, and what is taken has assigned every weight.
    """

    @pytest.fixture(scope="module", autouse=True)
    def each_network_is_drawn_once():
        with pytest.MonkeyPatch.context() as patch:
            for module, name in functions:
                patch.setattr(module, name, once(getattr(module, name)))
            yield

    return each_network_is_drawn_once
