"""Packages of Demucs v3, as demucs 4.1 writes them, against the outputs of its own classes."""

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from made_torch_files import checkpoint, integer, mapping, name, tensor, text

from kzoo import convert, models
from kzoo.convert import demucs as on_waveforms
from kzoo.convert import htdemucs
from kzoo.convert._torch_layers import summed_biases
from kzoo.convert.torch_files import read_torch_content
from kzoo.models import demucs
from kzoo.separation import BlockSeparator, System

VECTORS = Path(__file__).parents[1] / "vectors"


@pytest.fixture(scope="module")
def recorded(vectors):
    return vectors("demucs_v3")


def package(case):
    return VECTORS / f"demucs_v3_{case}.th.gz"


@functools.cache
def network(case, **options):
    """The converted network, told what the file says of itself, and `options` over that."""
    converter = convert.converter("demucs" if case.startswith("time") else "htdemucs")
    said = converter.said_in(package(case)) if converter.said_in else {}
    told = {key: value for key, value in said.items() if key in converter.told}
    return converter.from_weights(converter.read(package(case)), **{**told, **options})


def decibels(model, recorded, case):
    """How far below the reference's stems, the first and the last, the difference lies."""
    found = np.asarray(model(recorded[f"{case}_in"].T[None]))[0, [0, -1]].transpose(0, 2, 1)
    reference = recorded[f"{case}_out"]
    return 10 * np.log10(np.sum(reference**2) / np.sum((found - reference) ** 2))


@pytest.mark.parametrize("case", ["time", "time_both", "magnitude", "bands"])
def test_the_authors_network_is_reproduced(recorded, case):
    """`time` on a length that leaves frames over: it is normalised before silence is put around."""
    assert decibels(network(case), recorded, case) > 110


def test_blocks_on_the_waveform_are_cut_and_joined_as_the_authors_program_does(recorded):
    """So quiet that it matters that the recording is normalised first; three blocks are full."""
    model = tf.function(network("time"), autograph=False)
    signal = recorded["time_in"].T
    size = demucs.Demucs(padded=True, block_seconds=1002 / 44100)  # 1002 leave no frame over
    system = System(
        function=lambda block: np.asarray(model(block)), sources=demucs.SOURCES, channels=2,
        sample_rate=size.sample_rate, grid=size.grid(), standardised=size.standardised,
    )  # fmt: skip
    sound = 1e-4 * np.concatenate([signal, signal[::-1]])[:2653]
    found = BlockSeparator(system).separate(sound, size.sample_rate)["vocals"].T
    reference, full = recorded["time_applied"], slice(3 * 751)  # before the last, shorter one
    np.testing.assert_allclose(found[:, full], reference[:, full], atol=1e-11)


def test_bands_that_weights_cannot_tell_must_be_told():
    weights = dict(htdemucs.read(package("bands")))  # without what the package says
    with pytest.raises(ValueError, match=r"of 3 bands: tell by `bands` where .* 2 shares .* \[\]"):
        htdemucs.from_weights(weights)
    assert htdemucs.options_of(weights)["banded_levels"] == 2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("htdemucs", {"bands": [0.5, 0.5]}, r"bands must rise between 0 and 1; got \[0.5, 0.5\]"),
        ("htdemucs", {"bands": [0.01], "banded_levels": 1}, "bands must each have bins of the 128"),
        ("htdemucs", {"bands": [0.5]}, "without norms and .* banded_levels=2; got norm_starts=1"),
        ("demucs", {"padded": True, "normalize": False, "lstm_layers": 0}, "hear the whole signal"),
        (
            "demucs",
            {"residual": "both", "residual_compress": 9},
            "must leave a channel .*, filters=4",
        ),
    ],
)
def test_sizes_that_the_networks_cannot_have_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        models.sizes(name, variant="tiny", **options)


def fraction(*parts):
    return name("fractions", "Fraction") + b"(" + b"".join(parts) + b"tR"


@pytest.mark.parametrize("parts", [(integer(39), integer(5)), (text("39/5"),)], ids=["two", "text"])
def test_a_fraction_of_a_second_is_read(tmp_path, parts):
    arguments = mapping({"segment": fraction(*parts)})
    state = mapping({"x": tensor("0", "FloatStorage", 1, (1,), (1,))})
    content = mapping({"kwargs": arguments, "state": state})
    path = checkpoint(tmp_path / "a.th", content, {"0": np.zeros(1, np.float32)})
    assert htdemucs.read(path).options == {"block_seconds": 7.8}


@pytest.mark.parametrize(
    "parts", [(integer(1), integer(0)), (text("1e999999999"),), (text("1/2/3"),), (text("1/0"),)]
)
def test_a_fraction_that_is_none_is_refused(tmp_path, parts):
    path = checkpoint(tmp_path / "a.th", mapping({"segment": fraction(*parts)}))
    with pytest.raises(ValueError, match="a fraction of it is none of two integers"):
        read_torch_content(path)


def test_what_diffq_has_packed_is_refused_of_networks_on_the_waveform_too(tmp_path):
    packed = mapping({"__quantized": b"\x88", "quantized": b"]", "meta": mapping({})})
    path = checkpoint(tmp_path / "a.th", mapping({"kwargs": mapping({}), "state": packed}))
    for read in (on_waveforms.read, htdemucs.read):
        with pytest.raises(ValueError, match=r"a.th: .* packed by DiffQ, .* of mdx_q"):
            read(path)


def test_biases_in_half_precision_are_added_in_single():
    halves = {f"lstm.bias_{way}_l0": np.float16([1.0, 2048.0]) for way in ("ih", "hh")}
    halves["lstm.bias_hh_l0"] = np.float16([0.0003, 1.0])
    (found,) = summed_biases(halves).values()
    np.testing.assert_array_equal(found, [1 + np.float32(np.float16(0.0003)), 2049])
