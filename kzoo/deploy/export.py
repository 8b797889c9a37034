"""An artefact and its card: written, reloaded in its own runtime, compared, then moved into place.

saved_model   FOLDER/NAME/VERSION/   as TF Serving wants it; the card in assets.extra/card.json
onnx          FOLDER/NAME.onnx and NAME.json, the card
tflite        FOLDER/NAME_PRECISION.tflite and NAME_PRECISION.json, the card; of a model that
              streams FOLDER/NAME_stream.tflite too, which keeps its state, and of a separator its
              twin FOLDER/NAME_step.tflite, whose state its caller keeps: see `formats.streaming`
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kzoo
from kzoo.deploy import parity, request
from kzoo.deploy.formats import half, onnx, saved_model, tflite
from kzoo.deploy.formats.layers import AXES, troubles
from kzoo.deploy.formats.search import faintest
from kzoo.deploy.formats.streaming import StateTwin, Stream, write_stream
from kzoo.deploy.placing import beside, move
from kzoo.deploy.proof import Proof
from kzoo.deploy.signature import SIGNATURE, STATE, check, named_outputs

_FORMATS = {"saved_model": saved_model, "tflite": tflite, "onnx": onnx}
# Numbers that Keras gets as one batch: half a minute of stereo, which one recording may have alone.
_MOST_AT_ONCE = 30 * 2 * 44_100
_MOST_STEPS = 1000  # of a recurrent network, at 1 ms for each
_OF_THE_PRESET = (
    "summary", "bandwidth_hz", "level_db", "interchangeable", "licences", "paper", "trained",
)  # fmt: skip
# Of those, what its metadata tells.
_IN_THE_FILE = ("summary", "level_db", "interchangeable", "licences", "paper")

Answers = dict[str, np.ndarray]


class Original:
    """What the exports of one model are made of and compared with, each made when first asked for.

    model: of static shape for `content`. allow_flex: as in `export`. fft, target: as in
    `tflite.converted`.
    """

    def __init__(
        self,
        model: keras.Model,
        proof: Proof,
        *,
        allow_flex: bool = False,
        fft: str = "auto",
        target: str = "cpu",
    ):
        check(model, proof)
        self.model, self.proof, self.target = model, proof, target
        self._form = {"allow_flex": allow_flex, "fft": fft, "target": target}

    @functools.cached_property
    def content(self) -> bytes:
        """The TFLite file in fp32, whose tensors have names."""
        return tflite.converted(self.model, self.proof, **self._form)

    @functools.cached_property
    def expected(self) -> list[Answers]:
        """What Keras says of the proof's example and of each of its probes."""
        return _keras(self.model, self.proof)

    @functools.cached_property
    def faintest(self) -> tuple[Mapping[str, np.ndarray], Answers]:
        """(the passage of the proof in which an output is faintest, what `content` says of it)."""
        return faintest(self.content, self.proof)


def export(
    model: keras.Model,
    to: str,
    folder: str | Path,
    *,
    name: str,
    proof: Proof,
    sample_rate: int,
    precision: str = "fp32",
    base_card: Mapping[str, Any] | None = None,
    allow_flex: bool = False,
    limit_db: float | None = None,
    overwrite: bool = False,
    version: int = 1,
    original: Original | None = None,
    **search: Any,
) -> dict[str, Any]:
    """Write `model` as `to` ("saved_model", "tflite" or "onnx") under `folder`; returns the card.

    The card's `path` (not in the file) is where the artefact lies.
    model: of static shape for TFLite. proof: the names of its tensors, and the example on which the
        artefact must say what Keras says.
    precision: of TFLite alone. base_card: its licences, paper and summary go into the card.
    allow_flex: lets Flex operators through; where no interpreter here runs them the artefact is
        written all the same, and the card's parity.not_compared says why nothing was measured.
    limit_db: by default `parity.LIMITS_DB`. version: of a SavedModel, as TF Serving counts them.
    original: of this model and proof, where several exports share one. search: options of
        `formats.search.shrink`, which finds the kernels that have 8 bits or fewer.
    Raises ParityError, FlexError, FileExistsError (without `overwrite`), ValueError, or ImportError
    where LiteRT is missing; whatever it raises, `folder` is as it was.
    """
    request.check(to, precision=precision, allow_flex=allow_flex)
    places = request.places(
        to, folder, name=name, precision=precision, version=version, overwrite=overwrite
    )
    original = original or Original(model, proof, allow_flex=allow_flex)
    limit_db = parity.LIMITS_DB[precision] if limit_db is None else limit_db
    form = _FORMATS[to]
    with beside(places["artefact"]) as temporary:
        artefact = temporary / places["artefact"].name
        known = {
            "name": name,
            "format": to,
            "precision": precision,
            "sample_rate": sample_rate,
            **proof.card,
            "signature": SIGNATURE,
        }
        of_preset = {key: base_card[key] for key in _OF_THE_PRESET if key in (base_card or {})}
        told = {key: value for key, value in of_preset.items() if key in _IN_THE_FILE}
        told |= _trained_on(of_preset)
        arguments = {} if to == "saved_model" else {"metadata": {**known, **told}}
        if to == "tflite":
            arguments |= {
                "precision": precision, "allow_flex": allow_flex, "content": original.content,
                "limit_db": limit_db, **search,
            }  # fmt: skip
        form.write(model, artefact, proof, **arguments)
        described = form.describe(artefact)
        expected = original.expected
        with _said_of(places["artefact"], proof):
            compared = _compare(
                expected, artefact, form.load, proof, limit_db, repeat=to == "tflite"
            )
            if precision != "fp32" and not compared["not_compared"]:
                compared["faint"] = _compare_faint(original, form.load(artefact))
            if original.target == "gpu" and not compared["not_compared"]:
                compared["half_precision"] = _compare_in_half(original, artefact)
        card = {
            **known,
            **described,
            "parity": {
                "against": f"Keras {keras.__version__}",
                "sound": proof.description,
                "limit_db": limit_db,
                **compared,
            },
            "files": _files(artefact),
            "runtime": form.runtime(described["operators"]),
            "versions": _versions(),
            "date": datetime.date.today().isoformat(),
        }
        card["bytes"] = _bytes(card["files"])
        if proof.stream is not None:
            streams = {
                "frames": proof.stream.frames,
                "hop_length": proof.stream.hop_length,
                "delay_samples": proof.stream.delay_samples,
                "latency_ms": 1000 * proof.stream.latency_samples / sample_rate,
            }
        if to == "saved_model" and proof.stream is not None:
            with _said_of(places["artefact"], proof):
                card["parity"]["sources"]["step"] = _compare_stream(
                    expected[0], saved_model.load_step(artefact), proof
                )
            card["stream"] = streams
        if to == "tflite":
            card["more_than_4_axes"] = troubles(original.content)[AXES]
        if to == "tflite" and proof.stream is not None:
            places["stream"] = Path(folder) / f"{name}_stream.tflite"  # of every precision the same
            stream = temporary / places["stream"].name
            twin = None
            if proof.stream.twin:
                places["twin"] = Path(folder) / f"{name}_step.tflite"
                twin = temporary / places["twin"].name
            begun = {STATE + k: x for k, x in proof.stream.state.items() if np.any(x)}
            streams |= {"begins_with": {k: x.tolist() for k, x in begun.items()} if twin else {}}
            write_stream(
                proof.stream.step, stream, state=proof.stream.state, twin=twin,
                metadata={**known, "precision": "fp32", "stream": streams, **told},
            )  # fmt: skip
            _refuse_another(places["stream"], stream, overwrite=overwrite)
            with _said_of(places["artefact"], proof):
                card["parity"]["sources"]["stream"] = _compare_stream(
                    expected[0], Stream(stream).step, proof
                )
            card["files"] |= _files(stream)
            card["stream"] = {"file": stream.name, **streams, "bytes": _bytes(_files(stream))}
            if twin is not None:
                _refuse_another(places["twin"], twin, overwrite=overwrite)
                with _said_of(places["artefact"], proof):
                    card["parity"]["sources"]["step"] = _compare_stream(
                        expected[0], StateTwin(twin, proof.stream.state).step, proof
                    )
                card["files"] |= _files(twin)
                card["stream"]["twin"] = twin.name
        card |= of_preset
        if "card" in places:
            kept = temporary / places["card"].name
        else:
            kept = artefact / "assets.extra" / "card.json"
            kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        for place in places.values():
            move(temporary / place.name, place, temporary)
    return {**card, "path": str(places["artefact"])}


def _trained_on(card: Mapping[str, Any]) -> dict[str, Any]:
    """Of a synthesiser's card the pitch and loudness that `kzoo transfer` moves recordings to."""
    match card.get("trained"):
        case {"data": {"statistics": statistics}}:
            return {"trained": {"data": {"statistics": statistics}}}
    return {}


def _keras(model: keras.Model, proof: Proof) -> list[Answers]:
    """What Keras says of the proof's example, of those also to hold, and of each of its probes."""
    examples = [proof.inputs, *proof.also.values(), *proof.probes.values()]
    batches = [list(example.values()) for example in examples]
    alike = len({tuple(array.shape for array in batch) for batch in batches}) == 1
    numbers = sum(array.size for batch in batches for array in batch)
    if alike and numbers <= _MOST_AT_ONCE and all(x.shape[0] is None for x in model.inputs):
        batches = [[np.concatenate(arrays) for arrays in zip(*batches, strict=True)]]

    def call(*tensors):
        return named_outputs(model, proof, tensors)

    # Step by step a recurrent network takes minutes of a longer example; all else takes less than
    # to be drawn.
    long = max(array.shape[1] for array in proof.inputs.values()) > _MOST_STEPS
    call = tf.function(call, autograph=False) if long and _recurs(model) else call
    answers = []
    for batch in batches:
        outputs = {name: tensor.numpy() for name, tensor in call(*map(tf.constant, batch)).items()}
        answers += [
            {name: array[i : i + 1] for name, array in outputs.items()}
            for i in range(len(batch[0]))
        ]
    return answers


def _recurs(model: keras.Model) -> bool:
    return any(weight.path.endswith("recurrent_kernel") for weight in model.weights)


def _compare(
    expected: Sequence[Answers],
    artefact: Path,
    load: Callable,
    proof: Proof,
    limit_db: float,
    *,
    repeat: bool,
) -> dict[str, Any]:
    """What the card's `parity` says of the artefact; ParityError where it fails on the example.

    expected: as `_keras` gives it. repeat: it must say the same of the example, bit by bit, after
    other calls, and when it is loaded again: what a runtime keeps may hang on where memory lies.
    """
    try:
        run = load(artefact)
    except (
        tflite.FlexUnavailable
    ) as error:  # the caller allowed Flex: the card says what is unknown
        return {"not_compared": str(error), "sources": {}, "worst": None}

    first = run(proof.inputs)
    on_example = parity.compare(expected[0], first, proof.inputs.get(proof.reference))
    parity.check(on_example, limit_db)
    sources = {name: _figures(difference) for name, difference in on_example.items()}
    others, probed = expected[1 : 1 + len(proof.also)], expected[1 + len(proof.also) :]
    for answer, (what, inputs) in zip(others, proof.also.items(), strict=True):
        compared = parity.compare(answer, run(inputs), inputs.get(proof.reference))
        compared = {f"{name} ({what})": difference for name, difference in compared.items()}
        parity.check(compared, limit_db)
        sources |= {name: _figures(difference) for name, difference in compared.items()}
    found = [
        {"sound": what, "output": output, **_figures(difference)}
        for answer, (what, inputs) in zip(probed, proof.probes.items(), strict=True)
        for output, difference in parity.compare(
            answer, run(inputs), inputs.get(proof.reference)
        ).items()
    ]
    if repeat:
        loaded_again = load(artefact)
        loaded_again({name: np.flip(array) for name, array in proof.inputs.items()})
        for answer in (run(proof.inputs), loaded_again(proof.inputs)):
            parity.check_same(first, answer)
    measured = [row for row in found if row["snr_db"] is not None]
    return {
        "not_compared": None,
        "sources": sources,
        "worst": min(measured, key=lambda row: row["snr_db"], default=None),
    }


def _compare_in_half(original: Original, artefact: Path) -> dict[str, Any]:
    """The card's `half_precision`; ParityError where it gives what is no number.

    `snr_db` is of the worst output on the proof's example, None where LiteRT cannot compute so;
    `guards` are those of the artefact that half precision takes for nothing.
    """
    proof = original.proof
    told = {"snr_db": None, "guards": half.vanishing(original.content)}
    if (run := half.load(artefact)) is None:
        return told
    sounds = {proof.description: proof.inputs, **proof.also, **proof.probes}
    for (sound, inputs), expected in zip(sounds.items(), original.expected, strict=True):
        found = run(inputs)
        broken = [name for name, output in found.items() if not np.isfinite(output).all()]
        if broken:
            guards = ", ".join(f"{g['layer']} ({g['value']:g})" for g in told["guards"])
            raise parity.ParityError(
                f"in half precision {', '.join(broken)} is no number on {sound}; guards under "
                f"{half.SMALLEST:g}: {guards or 'none'}"
            )
        if inputs is proof.inputs:
            differences = parity.compare(expected, found, proof.inputs.get(proof.reference))
            told["snr_db"] = min(_figures(d)["snr_db"] or math.inf for d in differences.values())
    return told


def _compare_faint(original: Original, run: Callable) -> dict[str, float | None]:
    """How a file of fewer bits differs, at worst, where an output is faint; else ParityError."""
    inputs, expected = original.faintest
    compared = parity.compare(expected, run(inputs), inputs.get(original.proof.reference))
    parity.check(compared, parity.FAINT_LIMIT_DB)
    return _figures(min(compared.values(), key=lambda difference: difference.snr_db))


def _compare_stream(expected: Answers, step: Callable, proof: Proof) -> dict[str, float | None]:
    """How a stream's blocks, joined, differ from Keras at worst; ParityError where they do.

    step: of the stream, which begins in silence. expected: what Keras's whole model says; where the
    stream says something else by intent it is compared with Keras's own blocks.
    """
    own, block = proof.stream.differs, proof.stream.frames * proof.stream.hop_length
    inputs = {x.name: x for x in proof.stream.step.inputs}
    sizes = {name: inputs[name].shape[1] for name in proof.inputs}
    count = max(x.shape[1] // sizes[name] for name, x in proof.inputs.items())
    blocks = [
        {  # what is as long as in a block is of all blocks
            name: x if x.shape[1] == size else x[:, k * size : (k + 1) * size]
            for (name, x), size in zip(proof.inputs.items(), sizes.values(), strict=True)
        }
        | dict(proof.stream.further)
        for k in range(count)
    ]

    def joined(step: Callable) -> Answers:
        found = [step(**block) for block in blocks]
        return {name: np.concatenate([one[name] for one in found], 1) for name in proof.outputs}

    found = joined(step)
    if not own:
        late = {  # in what an output counts: samples, or frames
            name: proof.stream.delay_samples * (x.shape[1] // len(blocks)) // block
            for name, x in found.items()
        }
        found = {name: x[:, late[name] :] for name, x in found.items()}
    whole = joined(_keras_steps(proof)) if own else expected
    compared = parity.compare(
        {name: whole[name][:, : x.shape[1]] for name, x in found.items()}, found
    )
    parity.check(compared, parity.LIMITS_DB["fp32"])
    return _figures(min(compared.values(), key=lambda difference: difference.snr_db))


def _keras_steps(proof: Proof) -> Callable[..., Answers]:
    """The streaming form in Keras, which begins in silence and goes on with each call."""
    graph = tf.function(proof.stream.step, autograph=False)
    state = {STATE + name: tf.constant(value) for name, value in proof.stream.state.items()}

    def step(**block: np.ndarray) -> Answers:
        results = dict(graph({**{k: tf.constant(x) for k, x in block.items()}, **state}))
        state.update((name, results.pop(name)) for name in list(state))
        return {name: tensor.numpy() for name, tensor in results.items()}

    return step


def _figures(difference: parity.Difference) -> dict[str, float | None]:
    # JSON has no infinity: null where not one sample differs, or all of it is beside silence.
    level = round(difference.snr_db, 2) if math.isfinite(difference.snr_db) else None
    return {"snr_db": level, "max_abs_difference": difference.max_abs}


@contextlib.contextmanager
def _said_of(place: Path, proof: Proof) -> Iterator[None]:
    try:
        yield
    except parity.ParityError as error:
        raise parity.ParityError(
            f"compared on {proof.description}, {error}; {place} was not written"
        ) from None


def _refuse_another(there: Path, written: Path, *, overwrite: bool) -> None:
    if there.exists() and not overwrite and there.read_bytes() != written.read_bytes():
        raise FileExistsError(f"{there}: is there already, and is another; overwrite it")


def _files(written: Path) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of every file of an artefact."""
    if written.is_file():
        paths, base = [written], written.parent
    else:
        paths, base = sorted(p for p in written.rglob("*") if p.is_file()), written
    return {str(path.relative_to(base).as_posix()): _stamp(path) for path in paths}


def _stamp(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _bytes(files: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(file["bytes"] for file in files.values())


def _versions() -> dict[str, str]:
    modules = {"tensorflow": tf, "keras": keras, "numpy": np}
    return {"kzoo": kzoo.__version__, **{n: m.__version__ for n, m in modules.items()}}
