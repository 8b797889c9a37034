"""Commands as users give them, run within this process, and what stands in for what takes long."""

import contextlib
import functools
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple

import made_crepe
import numpy as np
import pytest
from made_once import once
from made_runs import without_graphs

import kzoo.cli.demo
import kzoo.cli.presets
from kzoo import api, cli, training, web
from kzoo.deploy.formats import tflite
from kzoo.engines import tensorflow
from kzoo.evaluation import scoring
from kzoo.pitch_tracking import Pitch
from kzoo.synthesis import player, transfer

EXPORT, TRAIN, FETCH = api.export, training.train, kzoo.cli.presets.fetch


class Terminal(io.StringIO):
    """A stderr on which progress is shown."""

    def isatty(self):
        return True


class Outcome(NamedTuple):
    status: int
    files: dict[str, bytes]
    out: bytes
    err: str


def execute(words, folder, material):
    """The Outcome of `kzoo WORDS...` in `folder`, where {name} is a path of `material`."""
    words = [word.format(**material) for word in words]
    out, err = io.TextIOWrapper(io.BytesIO()), Terminal()
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", ["kzoo", *words])
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.setenv("TERM", "xterm")
        with pytest.raises(SystemExit) as stop:
            cli.main()
    out.flush()
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return Outcome(stop.value.code or 0, files, out.buffer.getvalue(), err.getvalue())


def shorten(patch, material):
    """What takes long is replaced.

    Models are built and converted once, filters of scores have few taps, pitch is known in
    `transfer`, and demo writes down what it was asked for.
    """
    patch.setattr(tensorflow, "system", once(tensorflow.system))
    patch.setattr(player, "instrument", once(player.instrument))
    made_crepe.networks_once(patch)
    patch.setattr(scoring, "bss_eval", functools.partial(scoring.bss_eval, filters_len=16))
    patch.setattr(tflite, "converted", converted_once(tflite.converted))
    patch.setattr(transfer, "PitchTracker", Ear)
    patch.setattr(api, "export", exported)
    patch.setattr(api, "export_page", lambda preset, *_, **__: asked(Path("out"), of=preset))
    patch.setattr(web, "serve", Served)
    patch.setattr(api, "export_all", lambda _, out, *, pairs, **__: asked(out, pairs=pairs))
    patch.setattr(training, "train", trained)
    patch.setattr(kzoo.cli.demo, "song_path", lambda: material["song"])
    patch.setattr(kzoo.cli.demo, "_STREAMS", dict.fromkeys(kzoo.cli.demo._STREAMS, 0))
    patch.setattr(kzoo.cli.demo, "separate", demonstrated)
    patch.setattr(kzoo.cli.presets, "fetch", fetched)


class Ear:
    """A pitch tracker that takes no time: 220 Hz, an octave higher by another method."""

    def __init__(self, method, *, hop_ms, engine="auto", progress=None):
        self.hop_ms, self.f0_hz = hop_ms, 440.0 if "wide" in str(method) else 220.0

    def track(self, blocks, sample_rate):
        frames = 1 + int(sum(map(len, blocks)) / sample_rate / self.hop_ms * 1000)
        seconds = np.arange(frames) * self.hop_ms / 1000
        confidence = np.where(seconds < 0.3, 0.9, 0.6)
        yield Pitch(seconds, np.full(frames, self.f0_hz), confidence, np.zeros(frames))


class Served:
    """In place of a server, which would not end."""

    def __init__(self, folder, port):
        self.server_address, self.socket = ("", port), io.StringIO()

    def serve_forever(self):
        pass


def asked(folder, **options):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "asked.json").write_text(json.dumps(options, default=str))


def converted_once(converted):
    """`tflite.converted` with a memory of the files of a model's weights and length."""
    files = {}

    def call(model, proof, **options):
        weights = tuple(weight.tobytes() for weight in model.get_weights())
        key = (weights, model.input_shape)
        if key not in files:
            files[key] = converted(model, proof, **options)
        return files[key]

    return call


def exported(preset, to, out, *, allow_flex, **options):
    """What Flex would be needed for is another test's: that it is allowed is written down."""
    card = EXPORT(preset, to, out, allow_flex=allow_flex, **options)
    asked(out, allow_flex=allow_flex)
    return card


def trained(values, folder, *, devices, **options):
    """One device is as good as another: its name is written down."""
    with without_graphs():
        TRAIN(values, folder, devices=devices, **options)
    asked(folder, devices=devices)


def demonstrated(files, preset, out, *, quiet, **options):
    asked(Path(out))
    if not quiet:
        print("a song", file=sys.stderr)
    raise SystemExit(0)  # what comes after is proven where its verbs are


def fetched(preset, *, show, **options):
    if show:
        print("fetching", file=sys.stderr)
    return FETCH(preset, show=False, **options)
