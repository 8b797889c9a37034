"""Weights of the instruments that DDSP's authors published, out of their TensorFlow 2 checkpoints.

https://github.com/magenta/ddsp: a folder of ckpt-N.index, ckpt-N.data-00000-of-00001,
operative_config-0.gin and dataset_statistics.pkl. The decoder's stacks are in the order of its
`input_keys`, loudness first, where pitch is first here; its GRU and the layers behind it hear them
side by side.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert._checkpoints import read_checkpoint
from kzoo.convert._numpy_pickle import read_numbers
from kzoo.convert._torch_layers import Place, shape_of, whole
from kzoo.models import ddsp

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)  # those of `data.solo`
_DECODER = "model/decoder"
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_ROOM = "model/processor_group/reverb/ir"
_SAID = {
    "RnnFcDecoder.input_keys",
    "RnnFcDecoder.output_splits",
    "F0LoudnessPreprocessor.time_steps",
    *(
        f"{kind}.{what}"
        for kind in ("Harmonic", "Additive")
        for what in ("n_samples", "sample_rate")
    ),
}
_STACKS = {"f0_scaled": "f0_stack", "ld_scaled": "loudness_stack"}


def read(folder: str | Path) -> dict[str, np.ndarray]:
    """{key of the object graph: array} of the model's variables; FileNotFoundError for none."""
    return {
        name.removesuffix(_SUFFIX).replace("/_ir", "/ir"): array
        for name, array in read_checkpoint(folder).items()
        if name.startswith("model/") and ".OPTIMIZER_SLOT" not in name
    }


def said_in(folder: str | Path) -> dict[str, Any]:
    """What the folder's operative_config-0.gin says: inputs, harmonics, rate and hop."""
    path = Path(folder) / "operative_config-0.gin"
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    said = {
        name.replace("Additive.", "Harmonic."): ast.literal_eval(value)  # as it was called before
        for name, value in re.findall(r"^([\w.]+) = (.+)$", text, re.MULTILINE)
        if name in _SAID
    }
    found = {}
    if "RnnFcDecoder.input_keys" in said:
        found["inputs"] = list(said["RnnFcDecoder.input_keys"])
    if "RnnFcDecoder.output_splits" in said:
        found["harmonics"] = dict(said["RnnFcDecoder.output_splits"])["harmonic_distribution"]
    if {"Harmonic.n_samples", "F0LoudnessPreprocessor.time_steps"} <= said.keys():
        frames = said["F0LoudnessPreprocessor.time_steps"]
        found["hop_length"] = said["Harmonic.n_samples"] // frames
    if "Harmonic.sample_rate" in said:
        found["sample_rate"] = said["Harmonic.sample_rate"]
    return found


def statistics_in(folder: str | Path) -> dict[str, Any]:
    """What the folder's dataset_statistics.pkl says of the training, as `data.solo` has it.

    {"midi": {"mean", "std"}, "loudness_db": {"mean", "std", "quantiles": {share: dB}}}, loudness
    being that of the network. Nothing in the pickle is called but what makes numbers of NumPy.
    Empty without the file. Raises ValueError for one that is damaged, or wants anything else.
    """
    path = Path(folder) / "dataset_statistics.pkl"
    if not path.is_file():
        return {}
    found = read_numbers(path)
    try:
        levels = found["quantile_transform"]
        shares, quantiles = (np.ravel(levels[name]) for name in ("references_", "quantiles_"))
        loudness = {
            share: round(float(np.interp(share, shares, quantiles)), 3) for share in QUANTILES
        }
        midi, known = (
            {kind: float(found[f"{kind}_{name}"]) for kind in ("mean", "std")}
            for name in ("pitch", "loudness")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: holds no statistics of DDSP ({error})") from None
    return {"midi": midi, "loudness_db": {**known, "quantiles": loudness}}


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    loudness_range_db: float,
    inputs: Sequence[str] = ("ld_scaled", "f0_scaled"),
    harmonics: int = 60,
    sample_rate: int = 16000,
    hop_length: int = 64,
) -> keras.Model:
    """`ddsp.build` with the reference's weights.

    weights: arrays as `read` gives them; all widths are read off them.
    loudness_range_db: by which loudness is scaled, 120 until January 2022, as in all that is
        published, and 80 since: nothing in a checkpoint tells.
    inputs: the order of the stacks, RnnFcDecoder.input_keys. harmonics, sample_rate, hop_length: of
        the published instruments by default.
    Raises ValueError that names every weight which is missing, of another shape, or left over, and
    for a checkpoint with an encoder.
    """
    if set(inputs) != set(_STACKS):
        raise ValueError(f"inputs must be {' and '.join(_STACKS)}; got {', '.join(inputs)}")
    size = models.sizes(
        "ddsp",
        sample_rate=sample_rate,
        hop_length=hop_length,
        loudness_range_db=loudness_range_db,
        **options_of(weights, harmonics=harmonics, sample_rate=sample_rate),
    )
    model = ddsp.build(size)
    assign(_places(model, size, inputs), weights)
    return model


def options_of(
    weights: Mapping[str, np.ndarray], *, harmonics: int = 60, sample_rate: int = 16000
) -> dict[str, Any]:
    """The fields of `ddsp.DDSP` that the weights tell, the others being as in `from_weights`."""
    out = f"{_DECODER}/out_stack/layer_with_weights-{{}}/layer_with_weights-0/bias"
    rnn_units, _ = shape_of(weights, f"{_DECODER}/rnn/rnn/cell/recurrent_kernel")
    (controls,) = shape_of(weights, f"{_DECODER}/dense_out/bias")
    room = len(weights.get(_ROOM, ()))
    return {
        "rnn_units": rnn_units,
        "units": shape_of(weights, out.format(0))[0],
        "layers_per_stack": sum(out.format(n) in weights for n in range(len(weights))),
        "harmonics": harmonics,
        "noise_bands": controls - 1 - harmonics,
        "reverb_seconds": room / sample_rate,
    }


def _places(model: keras.Model, size: ddsp.DDSP, inputs: Sequence[str]) -> dict[str, Place]:
    decoder = model.get_layer("ddsp_decoder")
    stacks = {f"input_stacks/{n}": _STACKS[name] for n, name in enumerate(inputs)}
    places = {}
    for theirs, ours in {**stacks, "out_stack": "out_stack"}.items():
        for level in range(size.layers_per_stack):
            at = f"{_DECODER}/{theirs}/layer_with_weights-{level}/layer_with_weights-"
            dense = decoder.get_layer(f"{ours}_dense{level + 1}")
            norm = decoder.get_layer(f"{ours}_norm{level + 1}")
            places |= {
                f"{at}0/kernel": whole(dense.kernel),
                f"{at}0/bias": whole(dense.bias),
                f"{at}1/gamma": whole(norm.gamma),
                f"{at}1/beta": whole(norm.beta),
            }
    turned = _in_our_order(size.units, inputs)
    joined = decoder.get_layer("out_stack_dense1").kernel
    at = f"{_DECODER}/out_stack/layer_with_weights-0/layer_with_weights-0/kernel"
    places[at] = whole(joined, turned)
    cell, controls = decoder.get_layer("rnn").cell, decoder.get_layer("controls")
    places |= {
        f"{_DECODER}/rnn/rnn/cell/kernel": whole(cell.kernel, turned),
        f"{_DECODER}/rnn/rnn/cell/recurrent_kernel": whole(cell.recurrent_kernel),
        f"{_DECODER}/rnn/rnn/cell/bias": whole(cell.bias),
        f"{_DECODER}/dense_out/kernel": whole(controls.kernel),
        f"{_DECODER}/dense_out/bias": whole(controls.bias),
    }
    if size.reverb_seconds:
        places[_ROOM] = whole(model.get_layer("reverb").response)
    return places


def _in_our_order(units: int, inputs: Sequence[str]):
    """What puts the rows of a kernel that hears the stacks side by side into the order here."""

    def turned(kernel: np.ndarray) -> np.ndarray:
        stacks = dict(zip(inputs, np.split(kernel[: 2 * units], 2), strict=True))
        return np.concatenate([*(stacks[name] for name in _STACKS), kernel[2 * units :]])

    return turned
