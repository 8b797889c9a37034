"""Convolutions of a TFLite file in whole numbers of 8 bits, by scales that real sound gave.

ai-edge-quantizer does it: the operators named to it hear, multiply and give int8, with a QUANTIZE
before and a DEQUANTIZE behind. All others stay as they are: transforms, norms and masks in 8 bits
cost more than any network is worth (a DFT's matrix in 8 bits alone leaves 39 dB).
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from kzoo.deploy.formats.kernels import HALF, Kernel, kernels, stored, unpacked
from kzoo.deploy.request import QUANTIZER_MISSING
from kzoo.deploy.signature import SIGNATURE


class WholeNumbers:
    """A TFLite model whose tensors have names, to be made of whole numbers in part.

    candidates: the kernels whose operators may compute so. passages: {input: `[1, ...]`} that say
    how large everything gets, on which the file is run once. Raises ImportError where
    ai-edge-quantizer is missing, and as `refuse_loops` does.
    """

    def __init__(
        self,
        content: bytes,
        candidates: Sequence[Kernel],
        passages: Sequence[Mapping[str, np.ndarray]],
    ):
        self._content = content
        heard = [{name: array[0] for name, array in inputs.items()} for inputs in passages]
        refuse_loops(content)
        with _silent():
            self._scales = self._quantizer(candidates).calibrate({SIGNATURE: heard}, num_threads=2)

    def of(self, chosen: Sequence[Kernel]) -> bytes:
        """The file with the operators of these kernels in whole numbers, all others' in 16 bits."""
        if not chosen:
            return stored(self._content, dict.fromkeys(kernels(self._content), HALF))
        with _silent():
            found = self._quantizer(chosen).quantize(
                self._scales, enable_progress_bar=False, enable_progress_report=False
            )
        content = bytes(found.quantized_model)
        return stored(content, dict.fromkeys(kernels(content), HALF))

    def _quantizer(self, chosen: Sequence[Kernel]):
        try:
            from ai_edge_quantizer import qtyping, quantizer
        except ImportError:
            raise ImportError(QUANTIZER_MISSING) from None
        made = quantizer.Quantizer(bytearray(self._content))
        for kernel in chosen:
            made.add_static_config(
                regex=f"^{re.escape(kernel.output)};?$",
                operation_name=qtyping.TFLOperationName(kernel.operator),
                activation_num_bits=8,
                weight_num_bits=8,
            )
        return made


def refuse_loops(content: bytes) -> None:
    """Raise ValueError for a network with loops: the quantiser sees no tensor inside of one."""
    from tensorflow.lite.python import schema_py_generated as schema

    codes = unpacked(content).operatorCodes
    if any(code.builtinCode == schema.BuiltinOperator.WHILE for code in codes):
        raise ValueError(
            "ai-edge-quantizer finds no fixed scales inside of loops, which the recurrent layers "
            "of this network are: use dynamic_int8 or int8"
        )


@contextlib.contextmanager
def _silent():
    """Without the bars and the warnings of a library that takes every program for a notebook."""
    with (
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
