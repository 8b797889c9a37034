"""What half precision, in which delegates for GPUs and NPUs compute, would make of a TFLite file.

XNNPACK can be told to compute so on a CPU, through LiteRT's CompiledModel alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from kzoo.deploy.formats.kernels import unpacked
from kzoo.deploy.formats.layers import layer_of
from kzoo.deploy.signature import SIGNATURE

SMALLEST = 1e-4  # next to nothing in float16, whose last digit of 1 is 1e-3
_FORCE_FP16 = 4  # of XNNPACK's flags


def vanishing(content: bytes) -> list[dict[str, str | float]]:
    """The guards of a file that are under 1e-4: {"layer", "operator", "value"} each.

    They are constants of one number that an operator adds to something, or compares it with.
    layer: that of what the operator gives, where the file's tensors have names.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = unpacked(content)
    codes = ("ADD", "SUB", "MAXIMUM", "MINIMUM", "DIV")
    names = {getattr(schema.BuiltinOperator, name): name for name in codes}
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            name = names.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            for index in operator.inputs if name else ():
                tensor = graph.tensors[int(index)]
                data = model.buffers[tensor.buffer].data
                if tensor.type != schema.TensorType.FLOAT32 or data is None or len(data) != 4:
                    continue
                value = float(np.asarray(data, np.uint8).view("<f4")[0])
                if 0 < abs(value) < SMALLEST:
                    layer = layer_of((graph.tensors[int(operator.outputs[0])].name or b"").decode())
                    found.append({"layer": layer, "operator": name, "value": value})
    return found


def load(path: str | Path) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None:
    """Load a file as `tflite.load` does, to be computed in half precision.

    None where LiteRT cannot: for want of the processor's instructions, or of kernels.
    """
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.options import CpuOptions, Options

    options = Options(cpu_options=CpuOptions(num_threads=1, xnnpack_flags=_FORCE_FP16))
    try:
        model = CompiledModel.from_file(os.fspath(path), options=options)
        given, taken = model.create_input_buffers(0), model.create_output_buffers(0)
    except RuntimeError:
        return None
    names = model.get_signature_list()[SIGNATURE]
    shapes = {
        name: detail["shape"] for name, detail in model.get_output_tensor_details(SIGNATURE).items()
    }

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, buffer in zip(names["inputs"], given, strict=True):
            buffer.write(np.ascontiguousarray(inputs[name][0]))
        model.run_by_index(0, given, taken)
        return {
            name: buffer.read(int(np.prod(shapes[name])), np.float32).reshape(1, *shapes[name])
            for name, buffer in zip(names["outputs"], taken, strict=True)
        }

    return run
