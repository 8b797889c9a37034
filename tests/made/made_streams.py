"""Streams and the insides of enhancers, for the tests of several of them."""

import os
from pathlib import Path

import numpy as np
import pytest

from kzoo.models.base.causal import STATE, silent_state


def snr_db(expected, found):
    """Energy of `expected` over that of its difference from `found`, in dB."""
    expected, found = np.asarray(expected, np.complex128), np.asarray(found, np.complex128)
    assert expected.shape == found.shape
    error = np.sum(np.abs(expected - found) ** 2)
    return 10 * np.log10(np.sum(np.abs(expected) ** 2) / max(error, 1e-300))


def resident_bytes():
    """The memory that this process holds now; skips where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.is_file():
        pytest.skip("/proc/self/statm tells the memory of a process on Linux alone")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def streamed(step, waveform):
    """(speech `[samples]`, the state after it) of `waveform` block after block, from silence."""
    state = {STATE + name: value for name, value in silent_state(step).items()}
    samples, blocks = step.input["waveform"].shape[1], []
    for at in range(0, waveform.shape[1], samples):
        results = dict(step({"waveform": waveform[:, at : at + samples], **state}))
        state = {name: np.asarray(results.pop(name)) for name in state}
        blocks.append(np.asarray(results["speech"])[0, :, 0])
    return np.concatenate(blocks), {k.removeprefix(STATE): v for k, v in state.items()}
