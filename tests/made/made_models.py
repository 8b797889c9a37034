"""The models that the tests of conformance take through their gauntlets."""

from kzoo.models import architecture, list_models


def tiny(name):
    """The sizes of the smallest variant."""
    return architecture(name).VARIANTS["tiny"]


# The last is that of tests/conformance/plain.
MODELS = [*(name for name in list_models() if tiny(name).task != "synthesis"), "gain_net"]
