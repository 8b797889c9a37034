"""Kernels of half the size in a TFLite file, and nothing else in it."""

import keras
import numpy as np
import pytest
from keras import layers
from made_artefacts import decibels, proof_of

from kzoo.deploy.formats import tflite
from kzoo.deploy.formats.kernels import halve
from kzoo.dsp.stft import STFT, InverseSTFT


def bytes_of_kernels(path):
    """What the constant second operands of a file's convolutions take."""
    from tensorflow.lite.python import schema_py_generated as schema

    file = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (graph,) = file.subgraphs
    convolution = schema.BuiltinOperator.CONV_2D
    codes = [i for i, code in enumerate(file.operatorCodes) if code.builtinCode == convolution]
    kernels = {op.inputs[1] for op in graph.operators if op.opcodeIndex in codes}
    return sum(len(file.buffers[graph.tensors[i].buffer].data) for i in kernels)


def test_fp16_halves_the_kernels_and_nothing_else(bundle, tmp_path):
    full, half = (bundle[0] / f"tiny_{precision}.tflite" for precision in ("fp32", "fp16"))
    saved = full.stat().st_size - half.stat().st_size
    assert saved == pytest.approx(bytes_of_kernels(full) / 2, rel=0.1)

    transform = {"n_fft": 256, "hop_length": 64}
    waveform = keras.Input((1024, 2))
    real, imag = STFT(**transform)(waveform)
    stem = InverseSTFT(**transform)(real[:, None], imag[:, None], waveform)
    identity = keras.Model(waveform, stem)
    path = tflite.write(identity, tmp_path / "m", proof_of(identity, ["mix"]), precision="fp16")
    noise = np.random.default_rng(0).normal(0, 0.1, (1024, 2)).astype(np.float32)
    assert decibels(noise, tflite.load(path)({"waveform": noise[None]})["mix"][0]) > 120


def test_buffers_of_a_halved_file_lie_at_multiples_of_16_bytes(tmp_path):
    from tensorflow.lite.python import schema_py_generated as schema

    inputs = keras.Input((64, 2))
    doubled = layers.Conv1D(2, 3, padding="same")(layers.Conv1D(7, 3, padding="same")(inputs))
    model = keras.Model(inputs, doubled)
    content = halve(tflite.write(model, tmp_path / "m", proof_of(model)).read_bytes())
    read = schema.Model.GetRootAsModel(content, 0)
    starts = []
    for i in range(read.BuffersLength()):
        if read.Buffers(i).DataLength() >= 16:
            data = read.Buffers(i).DataAsNumpy()
            starts.append(data.ctypes.data - np.frombuffer(content, np.uint8).ctypes.data)
    assert starts
    assert not any(start % 16 for start in starts)


def test_kernel_too_large_for_float16_is_refused(tmp_path):
    inputs = keras.Input((64, 2))
    model = keras.Model(inputs, layers.Conv1D(2, 3, padding="same")(inputs))
    model.set_weights([np.full(w.shape, 1e5) for w in model.weights])
    with pytest.raises(ValueError, match=r"above 65504.*use precision fp32"):
        tflite.write(model, tmp_path / "m", proof_of(model), precision="fp16")


def test_names_inside_go_and_those_of_inputs_and_outputs_stay(bundle):
    from tensorflow.lite.python import schema_py_generated as schema

    file = schema.ModelT.InitFromPackedBuf((bundle[0] / "tiny_fp32.tflite").read_bytes(), 0)
    (graph,) = file.subgraphs
    named = {i for i, tensor in enumerate(graph.tensors) if tensor.name}
    assert named == {*graph.inputs, *graph.outputs}
