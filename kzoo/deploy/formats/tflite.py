"""TFLite: one file for phones, browsers and small boards, read by LiteRT.

Built-in operators only, static shapes, named tensors. The road is Keras -> traced function ->
SavedModel -> converter.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy.formats import saved_model
from kzoo.deploy.formats.axes import without_first_axis
from kzoo.deploy.formats.kernels import halve, kinds_stored, operator_names
from kzoo.deploy.formats.layers import (
    AXES,
    DOUBLE,
    MOST_AXES,
    OPEN,
    layers_with,
    listed,
    troubles,
)
from kzoo.deploy.formats.metadata import finished
from kzoo.deploy.formats.search import shrink
from kzoo.deploy.forms import for_tflite
from kzoo.deploy.interpreter import open_litert
from kzoo.deploy.proof import Proof
from kzoo.deploy.request import PRECISIONS
from kzoo.deploy.signature import SIGNATURE, serving_function
from kzoo.dsp import dft
from kzoo.layers import recurrent


class FlexUnavailable(RuntimeError):
    """A file with Flex operators where no interpreter runs them; it cannot be compared here."""


class FlexError(ValueError):
    """A model that TFLite's built-in operators cannot express; names those that it would need.

    layers: where it needs them.
    """

    def __init__(self, model: str, operators: Sequence[str], layers: Sequence[str] = ()):
        self.operators, self.layers = tuple(operators), tuple(layers)
        where = f", in {listed(layers)}" if layers else ""
        super().__init__(
            f"{model!r} needs operators that TFLite does not have: {', '.join(operators)}{where}; "
            "rewrite the layers on real tensors (kzoo.dsp.stft has the STFT and its inverse) "
            "or allow Flex, which brings hundreds of MB into the app and excludes GPU and browsers"
        )


def write(
    model: keras.Model,
    path: str | Path,
    proof: Proof,
    *,
    precision: str = "fp32",
    allow_flex: bool = False,
    metadata: Mapping[str, Any] | None = None,
    content: bytes | None = None,
    **search: Any,
) -> Path:
    """Write one file of a model of static shape, the proof's inputs to its outputs.

    There is no batch axis: an app fills one interleaved buffer and reads one per output. Tensors
    inside have no names.
    precision: "fp32"; "fp16": kernels are stored so and half the size, computation is as ever; or
        what `search.shrink`, which takes the options `search`, makes of them.
    metadata: goes into the file, where `metadata.read_metadata` and apps find it.
    content: what `converted` made of the model, if it was called before.
    Raises FlexError for operators outside the built-ins unless `allow_flex`, and ValueError for
    anything that came out without static shapes, inside too, or without names.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}; got {precision!r}")
    if content is None:
        content = converted(model, proof, allow_flex=allow_flex)
    if precision == "fp16":
        content = halve(content)
    elif precision != "fp32":
        content = shrink(content, proof, precision, **search)
    path = Path(path)
    path.write_bytes(finished(content, metadata))
    return path


def converted(
    model: keras.Model,
    proof: Proof,
    *,
    allow_flex: bool = False,
    fft: str = "auto",
    target: str = "cpu",
) -> bytes:
    """The file of `write` in fp32, whose tensors have names, as quantisers want them.

    fft: "rfft2d" computes all Fourier transforms by TFLite's own, "matmul" none, and "auto" those
        that `forms` has nothing faster for. target: for a "gpu" layers are safe in half precision,
        and tensors have no more than four axes.
    Raises what `write` does, and ValueError for a GPU where more axes are left.
    """
    products = dft.as_products() if fft == "matmul" else contextlib.nullcontext()
    with recurrent.tflite_forms(), products:
        form = for_tflite(model, fft=fft, half_safe=target == "gpu")
        function = serving_function(form, proof, batched=False)
    content = convert({SIGNATURE: function}, model.name, allow_flex=allow_flex)
    found = description(content)
    if not allow_flex:
        check_operators(found, model.name)
    _check(found, proof, model.name)
    if target == "gpu":
        content = without_first_axis(content)
        if wide := troubles(content)[AXES]:
            raise ValueError(
                f"the TFLite file of {model.name!r} has tensors of more than {MOST_AXES} axes, in "
                f"{listed(wide)}, which delegates for GPUs refuse; leave target gpu out"
            )
    if not _foreign(found):
        check_tensors(content, model.name)
    return content


def describe(path: str | Path) -> dict[str, Any]:
    """What the file says of itself.

    `inputs` and `outputs` of the signature ({name: shape, -1 where open}), `operators` ({name:
    count}; names as in TFLite's schema, "FlexIRFFT" for one that is not built in),
    `dynamic_tensors`, the number of tensors inside whose shape is not fixed, and `kernels`, how
    many are stored as float16, int8 and int4. Raises ValueError for
    a file that is no TFLite model or has no signature.
    """
    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path}: is not a TFLite file")
    return description(content)


def operators(path: str | Path) -> dict[str, int]:
    """Operators by name and how often each is there."""
    return describe(path)["operators"]


def load(
    path: str | Path, *, threads: int = 1
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Load the artefact as a function of {input: `[1, ...]`} to {output: `[1, ...]`}.

    It is not thread-safe. LiteRT runs it; a file with Flex operators is run by TensorFlow's own
    interpreter, the one that may link them. Raises ImportError where LiteRT is not installed,
    FlexUnavailable where that interpreter does not link them (in TensorFlow 2.21's Python it does
    not), ValueError for an input of another shape.
    """
    flex = any(name.startswith("Flex") for name in operators(path))
    interpreter = open_interpreter(path, threads, flex)
    try:
        interpreter.allocate_tensors()
    except RuntimeError as error:
        if flex and "Select TensorFlow op" in str(error):
            raise FlexUnavailable(
                f"the interpreter of TensorFlow {tf.__version__} links no Flex delegate"
            ) from None
        raise
    runner = interpreter.get_signature_runner(SIGNATURE)
    details = runner.get_input_details()
    shapes = {name: (1, *map(int, detail["shape"])) for name, detail in details.items()}

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {name: np.shape(array) for name, array in inputs.items()}
        if given != shapes:
            raise ValueError(f"{path} takes {_listed(shapes)}; got {_listed(given)}")
        arrays = {
            name: np.ascontiguousarray(array[0], details[name]["dtype"])
            for name, array in inputs.items()
        }
        return {name: output[None] for name, output in runner(**arrays).items()}

    return run


def runtime(operators: Mapping[str, int]) -> dict[str, str | None]:
    """Name what `load` runs an artefact of these operators with; version None if not known."""
    if any(name.startswith("Flex") for name in operators):
        return {"name": "tf.lite.Interpreter", "version": tf.__version__}
    try:
        version = importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        version = None  # another distribution of the same module
    return {"name": "LiteRT", "version": version}


def convert(
    signatures: Mapping[str, tf.types.experimental.ConcreteFunction],
    name: str,
    *,
    allow_flex: bool,
) -> bytes:
    """The TFLite model of these traced functions, each a signature of its own.

    Raises FlexError for operators outside the built-ins unless `allow_flex`, ValueError for what
    the converter refuses else.
    """
    # The converter's exception has no public name.
    from tensorflow.lite.python.convert_phase import ConverterError

    with tempfile.TemporaryDirectory() as folder:
        saved_model.store(folder, signatures)
        converter = _converter(folder, signatures)
        # The card has the versions; the metadata would unpack and pack the whole file in Python.
        converter.exclude_conversion_metadata = True
        # Else a loop puts its steps together from slices of open shape, see `check_memory`.
        converter._experimental_enable_dynamic_update_slice = True
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if allow_flex:
            converter.target_spec.supported_ops.append(tf.lite.OpsSet.SELECT_TF_OPS)
        try:
            return converter.convert()
        except ConverterError as error:
            missing = sorted(set(re.findall(r"'tf\.(\w+)' op is neither a custom op", str(error))))
            if missing:
                layers = layers_with(signatures.values(), missing)
                # Details have "tf.Transpose(tensor<1x256x2xf64>, ...)", if not for all operators.
                if set(re.findall(r"tf\.(\w+)\([^)]*xf64>", str(error))) >= set(missing):
                    raise ValueError(_double(name, layers)) from None
                raise FlexError(name, missing, layers) from None
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"TFLite's converter refuses {name!r}: {reason}") from error


def _converter(folder: str, signatures: Iterable[str]) -> tf.lite.TFLiteConverter:
    """TensorFlow's converter of a SavedModel, without what it does in vain."""
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers
    from tensorflow.lite.python.lite import TFLiteSavedModelConverterV2

    class Converter(TFLiteSavedModelConverterV2):
        """Reads the SavedModel in C++ alone.

        `from_saved_model` and its `convert` load it into Python three times, for the places in
        source code that no message of this road tells: a third of the time, and of the memory.
        """

        def convert(self) -> bytes:
            return self._convert_from_saved_model(tf.compat.v1.GraphDef())

        def _optimize_tflite_model(self, model: bytes, *_, **__) -> bytes:
            return deduplicate_readonly_buffers(model)

    return Converter(folder, {tf.saved_model.SERVING}, list(signatures))


def check_operators(found: Mapping[str, Any], name: str) -> None:
    """FlexError for a file, as `description` has it, with operators outside the built-ins."""
    if foreign := _foreign(found):
        raise FlexError(name, foreign)


def check_tensors(content: bytes, name: str) -> None:
    """ValueError for tensors inside of float64 or whose shape is not fixed, with their layers.

    For open shapes LiteRT 2.3 moves its memory in mid call. It seems that where XNNPACK's own
    memory then comes to lie at the old place of a tensor that is reshaped, both look like one and
    the copy is left out for ever: later calls heard remains of earlier ones in 23 of 80
    interpreters with GTCRN, and in none of 240 without such tensors (2026-11-26).
    """
    found = troubles(content)
    if found[OPEN]:
        raise ValueError(
            f"the TFLite file of {name!r} has tensors inside whose shape is not fixed, in "
            f"{listed(found[OPEN])}, with which LiteRT may answer with remains of earlier calls; "
            "give the layers static shapes"
        )
    if found[DOUBLE]:
        raise ValueError(_double(name, found[DOUBLE]))


def _double(name: str, layers: Sequence[str]) -> str:
    return (
        f"{name!r} computes in float64, in {listed(layers)}, for which TFLite has no kernels: "
        "compute in float32"
    )


def _foreign(found: Mapping[str, Any]) -> list[str]:
    operators = found["operators"]
    return [name.removeprefix("Flex") for name in operators if name.startswith("Flex")]


def description(content: bytes) -> dict[str, Any]:
    """What `describe` says of a file, of its bytes."""
    # The flatbuffer's schema; it ships inside the wheel and is the same as LiteRT's own copy.
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(content, 0)
    if not model.SignatureDefsLength():
        raise ValueError("this TFLite file has no signature, so its tensors have no names")
    names, count, dynamic = operator_names(model), Counter(), 0
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        operators = (graph.Operators(i) for i in range(graph.OperatorsLength()))
        count.update(names[operator.OpcodeIndex()] for operator in operators)
        dynamic += sum(-1 in _shape(graph.Tensors(i)) for i in range(graph.TensorsLength()))
    signature = model.SignatureDefs(0)
    graph = model.Subgraphs(signature.SubgraphIndex())

    def shapes(length: int, get) -> dict[str, list[int]]:
        maps = [get(i) for i in range(length)]
        return {m.Name().decode(): _shape(graph.Tensors(m.TensorIndex())) for m in maps}

    return {
        "inputs": shapes(signature.InputsLength(), signature.Inputs),
        "outputs": shapes(signature.OutputsLength(), signature.Outputs),
        "operators": dict(sorted(count.items())),
        "dynamic_tensors": dynamic,
        "kernels": kinds_stored(content),
    }


def _shape(tensor) -> list[int]:
    if tensor.ShapeSignatureLength():
        return [int(n) for n in tensor.ShapeSignatureAsNumpy()]
    return [int(n) for n in tensor.ShapeAsNumpy()] if tensor.ShapeLength() else []


def _check(found: dict, proof: Proof, name: str) -> None:
    if set(found["inputs"]) != set(proof.inputs) or set(found["outputs"]) != set(proof.outputs):
        raise ValueError(
            f"the TFLite file of {name!r} should map {', '.join(proof.inputs)} to "
            f"{', '.join(proof.outputs)}; it maps "
            f"{', '.join(found['inputs'])} to {', '.join(found['outputs'])}"
        )
    for tensor, shape in {**found["inputs"], **found["outputs"]}.items():
        if min(shape, default=1) < 1:
            raise ValueError(
                f"the TFLite file of {name!r} has no static shape for {tensor!r}: {shape}; give "
                "`samples` when the model is built"
            )


def _listed(shapes: Mapping[str, tuple]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def open_interpreter(path: str | Path, threads: int, flex: bool):
    if flex:
        with warnings.catch_warnings():
            # It announces LiteRT as its successor, which cannot run these files from Python.
            warnings.simplefilter("ignore")
            return tf.lite.Interpreter(model_path=str(path), num_threads=threads)
    return open_litert(path, threads=threads)
