"""What runs in the processes of recurrent.py: one LSTM or GRU of one library, or a TFLite file.

    python benchmarks/recurrent_sides.py SIDE FOLDER THREADS

As in separators_sides.py, whose lines it speaks. Before the first run a side writes what it finds
into <label>.npz: "outputs", and in a step the gradients "x", "kernel", "recurrent_kernel" and
"bias", in the layout of Keras and both directions behind each other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from separators_sides import serve

GATES = {"LSTM": 4, "GRU": 3}


def arrays(case: dict) -> dict[str, np.ndarray]:
    """The same input and weights for every side; "y" weighs the outputs in the loss."""
    rng = np.random.default_rng(0)
    units, directions = case["units"], 1 + case["bidirectional"]
    shape, width = (case["batch"], case["steps"]), GATES[case["layer"]] * units

    def drawn(*shape):
        return rng.uniform(-(units**-0.5), units**-0.5, shape).astype(np.float32)

    return {
        "x": rng.standard_normal((*shape, units)).astype(np.float32),
        "y": rng.standard_normal((*shape, directions * units)).astype(np.float32),
        "kernel": drawn(directions, units, width),
        "recurrent_kernel": drawn(directions, units, width),
        "bias": drawn(directions, *([2] if case["layer"] == "GRU" else []), width),
    }


def keras_side(case: dict, folder: Path, threads: int, layers=None) -> Callable[[], np.ndarray]:
    """keras.layers."""
    if case["task"] == "LiteRT":
        return litert_side(case, folder, threads, by_kzoo=layers is not None)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    data = arrays(case)
    layer = getattr(layers or keras.layers, case["layer"])(case["units"], return_sequences=True)
    if case["bidirectional"]:
        layer = keras.layers.Bidirectional(layer)
    layer.build((None, None, case["units"]))
    names = ("kernel", "recurrent_kernel", "bias")
    directions = 1 + case["bidirectional"]
    layer.set_weights([data[name][number] for number in range(directions) for name in names])
    x, y = tf.constant(data["x"]), tf.constant(data["y"])

    @tf.function(jit_compile=False)
    def forward(x):
        outputs = layer(x, training=True)
        return tf.reduce_sum(outputs * y), outputs

    @tf.function(jit_compile=False)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss, outputs = forward(x)
        gradients = tape.gradient(loss, [x, *(w.value for w in layer.trainable_weights)])
        return loss, outputs, *gradients

    function = step if case["task"] == "step" else forward

    def run():
        loss, *results = function(x)
        if not run.written:
            outputs, *gradients = (np.asarray(result) for result in results)
            by_name = {"x": gradients[:1]}
            by_name |= {name: gradients[1 + number :: 3] for number, name in enumerate(names)}
            _write(case, folder, outputs, by_name if gradients else {})
            run.written = True
        return np.float64(loss)

    run.written = False
    return run


def kzoo_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """kzoo.layers.recurrent."""
    from kzoo.layers import recurrent

    return keras_side(case, folder, threads, layers=recurrent)


def litert_side(
    case: dict, folder: Path, threads: int, *, by_kzoo: bool
) -> Callable[[], np.ndarray]:
    """A model's file, with the forms of kzoo's layers or those of Keras."""
    import contextlib

    import keras

    from kzoo import models
    from kzoo.deploy.examples import sound_proof
    from kzoo.deploy.formats import tflite

    if not by_kzoo:
        tflite.recurrent.tflite_forms = contextlib.nullcontext
    keras.utils.set_random_seed(0)
    size = models.sizes(case["model"], variant=case["variant"])
    size, samples = size.static(4 * size.sample_rate)
    model = models.build(case["model"], size, samples=samples)
    proof = sound_proof(model, sample_rate=size.sample_rate)
    path = tflite.write(model, folder / f"{case['label']}.tflite", proof)
    file = tflite.load(path, threads=threads)

    def run():
        return np.stack(list(file(proof.inputs).values()))

    _write(case, folder, run(), {})
    return run


def torch_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """torch.nn; its second bias of an LSTM is zero."""
    import torch

    torch.set_num_threads(threads)
    data, units = arrays(case), case["units"]
    layer = getattr(torch.nn, case["layer"])(
        units, units, batch_first=True, bidirectional=case["bidirectional"]
    )

    def swapped(array):
        """The update gate behind the reset gate, or back."""
        if case["layer"] == "LSTM":
            return array
        z, r, h = np.split(array, 3, axis=-1)
        return np.concatenate([r, z, h], axis=-1)

    with torch.no_grad():
        for number in range(1 + case["bidirectional"]):
            end = "l0_reverse" if number else "l0"
            bias = np.atleast_2d(swapped(data["bias"][number]))
            second = bias[1] if len(bias) > 1 else np.zeros_like(bias[0])
            for name, value in [
                ("weight_ih", swapped(data["kernel"][number]).T),
                ("weight_hh", swapped(data["recurrent_kernel"][number]).T),
                ("bias_ih", bias[0]),
                ("bias_hh", second),
            ]:
                getattr(layer, f"{name}_{end}").copy_(torch.from_numpy(value.copy()))
    x, y = torch.from_numpy(data["x"]), torch.from_numpy(data["y"])
    x.requires_grad_(case["task"] == "step")

    def run():
        with torch.set_grad_enabled(case["task"] == "step"):
            outputs, _ = layer(x)
            loss = (outputs * y).sum()
        if case["task"] == "step":
            layer.zero_grad()
            x.grad = None
            loss.backward()
        if not run.written:
            gradients = {}
            if case["task"] == "step":
                ends = ["l0", "l0_reverse"][: 1 + case["bidirectional"]]

                def found(name):
                    grads = [getattr(layer, f"{name}_{end}").grad.numpy() for end in ends]
                    return [swapped(grad.T) for grad in grads]

                both = [found("bias_ih"), found("bias_hh")]
                gradients = {
                    "x": [x.grad.numpy()],
                    "kernel": found("weight_ih"),
                    "recurrent_kernel": found("weight_hh"),
                    "bias": both[0] if case["layer"] == "LSTM" else np.stack(both, axis=1),
                }
            _write(case, folder, outputs.detach().numpy(), gradients)
            run.written = True
        return np.float64(loss.item())

    run.written = False
    return run


def _write(case, folder, outputs, gradients):
    named = {name: np.stack(parts) for name, parts in gradients.items()}
    np.savez(folder / f"{case['label']}.npz", outputs=outputs, **named)


SIDES = {"kzoo": kzoo_side, "Keras": keras_side, "PyTorch": torch_side}

if __name__ == "__main__":
    serve(SIDES[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]))
