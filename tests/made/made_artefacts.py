"""A tiny U-Net of fixed length and its artefacts, for the tests of exports and of their readers."""

from __future__ import annotations

import dataclasses
import functools
import types
from unittest import mock

import keras
import numpy as np
from keras import layers, ops

from kzoo import models
from kzoo.deploy import examples
from kzoo.deploy.export import export
from kzoo.deploy.formats import tflite
from kzoo.models import htdemucs
from kzoo.separation import BlockSeparator, System
from kzoo.tasks.separation import Separation

SOURCES = ("vocals", "accompaniment")
RATE = 8000
OPTIONS = {"sources": SOURCES, "variant": "tiny", "filters": (4, 24), "frames": 32}
BLOCK = 32 * 64 - 256


def song():
    """Three blocks of notes and hits, `[samples, 2]`."""
    return examples._synthetic(RATE, 2, 3 * BLOCK)


@functools.cache
def tiny_unet():
    """A U-Net of one block, from a seed; no test changes it."""
    keras.utils.set_random_seed(1)
    return models.build("unet", **OPTIONS, samples=BLOCK)


@functools.cache
def bundle(place):
    """(a folder in `place` with both TFLite files of `tiny_unet`, their cards by precision)."""
    folder, model, sound = place / "tiny_unet", tiny_unet(), song()
    base = {"licences": {"weights": "none"}, "weights": {"secret": 1}}
    proof = examples.sound_proof(model, sample_rate=RATE, sound=sound, description="notes")
    convert, converted = tflite.convert, []

    def once(*arguments, **options):
        """What the converter gives is the same for both: fp16 is made of it."""
        if not converted:
            converted.append(convert(*arguments, **options))
        return converted[0]

    with mock.patch.object(tflite, "convert", once):
        cards = {
            precision: export(
                model, "tflite", folder, name="tiny", proof=proof, sample_rate=RATE,
                precision=precision, base_card=base,
            )
            for precision in ("fp32", "fp16")
        }  # fmt: skip
    return folder, cards


@functools.cache
def joined(place):
    """(card of a TFLite file in `place`, separator) whose blocks are joined as hybrid Demucs's are.

    The network in its place is louder or fainter by the place in a block, and not linear. The
    separator runs it in Keras, in the blocks of the model's own sizes.
    """
    sources = ("vocals", "rest")  # blocks so long that a quarter is above a second
    size = dataclasses.replace(htdemucs.VARIANTS["tiny"], sample_rate=250, block_seconds=5.0)
    grid = size.grid()
    assert grid.overlap > size.sample_rate
    waveform = keras.Input((grid.samples, 2), name="waveform")
    rising = np.linspace(0, 1, grid.samples, dtype=np.float32)[:, None]
    model = keras.Model(waveform, ops.tanh(waveform)[:, None] * np.stack([rising, 1 - rising]))
    preset = types.SimpleNamespace(sources=sources, card={})
    proof = Separation.prove(preset, size, sound=None, stream=True)(model, sources=sources)
    card = export(
        model, "tflite", place / "joined", name="joined", proof=proof, sample_rate=size.sample_rate,
        base_card={"trained": {"data": {"level_db": -9.0, "interchangeable": True}}},
    )  # fmt: skip
    separator = BlockSeparator(
        System(
            function=lambda block: np.asarray(model(block)), sources=sources, channels=2,
            sample_rate=size.sample_rate, grid=grid, standardised=size.standardised,
        )
    )  # fmt: skip
    return card, separator


@functools.cache
def fickle(place):
    """The card of a TFLite file in `place` of speakers, made for recordings at a level.

    Its sources change places by the sum of a block; it is not linear, and not silent in silence.
    """
    waveform = keras.Input((800, 2), name="waveform")
    bent = ops.tanh(4 * waveform) + 0.01
    parts = ops.stack([ops.relu(bent), -ops.relu(-bent)], axis=1)
    swapped = ops.sum(waveform, axis=(1, 2), keepdims=True)[:, None] > 0
    model = keras.Model(waveform, ops.where(swapped, parts[:, ::-1], parts))
    proof = examples.sound_proof(model, sample_rate=1000, sources=("one", "two"))
    return export(
        model, "tflite", place / "fickle", name="fickle", proof=proof, sample_rate=1000,
        base_card={"level_db": -26.0, "interchangeable": True},
    )  # fmt: skip


def small_model(layer, samples=256):
    """One layer as a model of stereo sound with one source."""
    waveform = keras.Input((samples, 2), name="waveform")
    return keras.Model(waveform, ops.expand_dims(layer(waveform), 1), name="small")


def proof_of(model, sources=("a",), **options):
    """A proof of a model that names no sources."""
    return examples.sound_proof(model, sample_rate=RATE, sources=sources, **options)


class InverseFFT(layers.Layer):
    """What TFLite's built-in operators cannot express: its inverse FFT is none of them."""

    def call(self, waveform):
        signal = ops.swapaxes(waveform, 1, 2)
        return ops.swapaxes(ops.irfft(ops.rfft(signal)), 1, 2)


class Fickle(layers.Layer):
    """Says something else each time it is called, so the graph differs from the eager model."""

    calls = 0

    def call(self, waveform):
        self.calls += 1
        return waveform * (1 + 1e-3 * self.calls)


def decibels(reference, estimate):
    """Energy of the reference over energy of the difference."""
    error = np.sum((np.float64(reference) - np.float64(estimate)) ** 2)
    return 10 * np.log10(np.sum(np.float64(reference) ** 2) / error)
