"""Cards hold the whole of their sizes; those that named a variant still mean the same."""

import dataclasses

import pytest

from kzoo import config, models, presets

# The models of the cards that version 0.1 shipped, as they stood there.
BEFORE = {
    "conv_tasnet_2speakers": (
        "conv_tasnet",
        {"sources": ["speaker1", "speaker2"], "variant": "small", "filter_length": 20, "blocks": 7},
    ),
    "crepe_full": ("crepe", {"variant": "full"}),
    "crepe_tiny": ("crepe", {"variant": "tiny"}),
    "ddsp_violin": ("ddsp", {"variant": "phone", "reverb_seconds": 1.0}),
    "spleeter_2stems": (
        "unet",
        {
            "sources": ["vocals", "accompaniment"],
            "variant": "spleeter",
            "activation": "leaky_relu",
            "masks": "sigmoid",
            "bins": 1024,
        },
    ),
    "spleeter_2stems_16khz": (
        "unet",
        {
            "sources": ["vocals", "accompaniment"],
            "variant": "spleeter",
            "activation": "leaky_relu",
            "masks": "sigmoid",
            "bins": 1536,
        },
    ),
    "spleeter_4stems": (
        "unet",
        {
            "sources": ["vocals", "drums", "bass", "other"],
            "variant": "spleeter",
            "activation": "elu",
            "masks": "sigmoid",
            "bins": 1024,
        },
    ),
    "spleeter_4stems_16khz": (
        "unet",
        {
            "sources": ["vocals", "drums", "bass", "other"],
            "variant": "spleeter",
            "activation": "elu",
            "masks": "sigmoid",
            "bins": 1536,
        },
    ),
    "spleeter_5stems": (
        "unet",
        {
            "sources": ["vocals", "piano", "drums", "bass", "other"],
            "variant": "spleeter",
            "activation": "elu",
            "masks": "softmax",
            "bins": 1024,
        },
    ),
    "spleeter_5stems_16khz": (
        "unet",
        {
            "sources": ["vocals", "piano", "drums", "bass", "other"],
            "variant": "spleeter",
            "activation": "elu",
            "masks": "softmax",
            "bins": 1536,
        },
    ),
    "unet_2stems_mobile": (
        "unet",
        {
            "sources": ["vocals", "accompaniment"],
            "variant": "mobile",
            "frames": 128,
            "trunk": "shared",
            "masks": "softmax",
            "log_input": True,
            "dropout": 0.1,
        },
    ),
}


@pytest.mark.parametrize("name", presets.list_presets())
def test_a_shipped_card_holds_every_size_of_its_model(name):
    size, _ = presets.open_preset(name).sizes()
    whole = config.plain(dataclasses.asdict(size))
    options = presets.load_card(name)["model"]["options"]
    assert {key: options[key] for key in whole} == whole
    assert "variant" not in options


@pytest.mark.parametrize("name", BEFORE)
def test_a_card_of_before_means_what_it_meant(name):
    architecture, options = BEFORE[name]
    assert models.split(architecture, options) == presets.open_preset(name).sizes()
