"""What runs in the processes of separators.py: one network, or one file, in one runtime.

    python benchmarks/separators_sides.py SIDE FOLDER THREADS

The first line on stdin is the case as JSON. prepare(case, folder, threads) makes a function that
runs once and returns the estimates `[batch, sources, samples, channels]`, or the loss of a step.
The first result goes to the folder; each further line on stdin is answered by a line of figures.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.machinery
import json
import os
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np

# kzoo's names and those of the peers
CONV_TASNET = {
    "filters": "n_filters",
    "filter_length": "kernel_size",
    "bottleneck": "bn_chan",
    "hidden": "hid_chan",
    "skip": "skip_chan",
    "kernel_size": "conv_kernel_size",
    "blocks": "n_blocks",
    "repeats": "n_repeats",
    "mask": "mask_act",
}
DUAL_PATH = {
    "filters": "n_filters",
    "filter_length": "kernel_size",
    "bottleneck": "bn_chan",
    "hidden": "hid_size",
    "segment_frames": "chunk_size",
    "repeats": "n_repeats",
    "mask": "mask_act",
}
_SAME = "depth growth kernel_size stride context glu rewrite lstm_layers resample normalize rescale"
DEMUCS = {
    "filters": "channels",
    "channels": "audio_channels",
    **{name: name for name in _SAME.split()},
}
SCNET = {
    "channels": "audio_channels",
    "n_fft": "nfft",
    "hop_length": "hop_size",
    "band_shares": "band_SR",
    "band_strides": "band_stride",
    "band_kernels": "band_kernel",
    "band_depths": "conv_depths",
    "conv_kernel": "conv_kernel",
    "compress": "compress",
    "dual_paths": "num_dplayer",
    "expand": "expand",
}
LEARNING = {"learning_rate": 1e-3, "global_clipnorm": 5.0}


def torch_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The peer's network with new weights, which it writes with the input for the other side."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = {"demucs": _demucs, "scnet": _scnet}.get(case["model"], _asteroid)(case)
    samples = round(case["seconds"] * case["sizes"]["sample_rate"])
    if case["model"] == "demucs":
        samples = network.valid_length(samples)
    channels = case["sizes"]["channels"]
    targets = 0.1 * torch.randn(case["batch"], len(case["sources"]), channels, samples)
    mixture = targets.sum(1)
    network.eval()
    with torch.inference_mode():
        estimates = network(mixture[:1])
    kept = estimates.shape[-1]
    start = (samples - kept) // 2
    targets = targets[..., start : start + kept].contiguous()
    np.save(folder / "mixture.npy", mixture.transpose(1, 2).numpy())
    np.save(folder / "targets.npy", targets.transpose(2, 3).numpy())
    torch.save(network.state_dict(), folder / "weights.pth")
    if case["task"] == "LiteRT":
        torch.onnx.export(
            network, (mixture,), str(folder / "torch.onnx"), opset_version=18, dynamo=False
        )
    if case["task"] != "step":

        def forward():
            with torch.inference_mode():
                found = network(mixture).numpy()
            return found.reshape(targets.shape).swapaxes(2, 3)  # asteroid has no axis of channels

        return forward

    network.train()
    if case["model"] == "scnet":
        from scnet.loss import spec_rmse_loss

        def loss(estimates, targets):
            return spec_rmse_loss(estimates, targets, network.stft_config)

    elif case["model"] != "demucs":
        from asteroid.losses import PITLossWrapper, pairwise_neg_sisdr

        loss, targets = PITLossWrapper(pairwise_neg_sisdr, pit_from="pw_mtx"), targets[:, :, 0]
    else:
        loss = torch.nn.L1Loss()
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING["learning_rate"])

    def step():
        optimizer.zero_grad()
        value = loss(network(mixture), targets)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), LEARNING["global_clipnorm"])
        optimizer.step()
        return np.float64(value.item())

    return step


def convert_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The peer's weights into a file of Keras, in a process whose memory nobody counts."""
    from kzoo.convert import asteroid, demucs, scnet
    from kzoo.convert.torch_files import read_torch

    sizes, options = case["sizes"], {"sources": case["sources"]}
    weights = read_torch(folder / "weights.pth")
    if case["model"] == "scnet":
        options |= {"normalize": sizes["normalize"], "band_shares": sizes["band_shares"]}
        model = scnet.from_weights(weights, **options)
    elif case["model"] != "demucs":
        untold = {
            "conv_tasnet": ["blocks", "norm", "mask", "encoder_activation"],
            "tasnet": ["mask"],
            "dual_path_rnn": ["segment_frames", "norm", "mask"],
            "dcunet": ["mask"],
        }
        untold = untold.get(case["model"], ())
        options |= {name: sizes[name] for name in untold}
        model = asteroid.from_weights(weights, **options)
    else:
        options |= {"resample": sizes["resample"], "normalize": sizes["normalize"]}
        model = demucs.from_weights(weights, **options)
    model.save_weights(case["weights"])
    return lambda: np.asarray(model.count_params())


def kzoo_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The network as `kzoo separate` runs it and as `kzoo train` takes its steps."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from kzoo import losses
    from kzoo.engines import tensorflow
    from kzoo.training.compiling import DomainLoss
    from kzoo.training.optimizers import optimizer

    mixture, targets = np.load(folder / "mixture.npy"), np.load(folder / "targets.npy")
    model = _core(case, mixture.shape[1])
    if case["task"] != "step":
        function = tensorflow.compiled(model, None)
        return lambda: function(mixture)
    pit = {"name": "pit", "pairwise": {"name": "si_sdr", "zero_mean": True}}
    loss = {"demucs": {"name": "l1"}, "scnet": {"name": "spectrum_rmse"}}.get(case["model"], pit)
    loss = losses.get(**loss)
    adam = optimizer("adam", **LEARNING)
    adam.epsilon = 1e-8  # PyTorch's
    model.compile(optimizer=adam, loss=DomainLoss(loss, lambda sources: sources), jit_compile=False)
    adam.build(model.trainable_variables)
    return lambda: np.float64(model.train_on_batch(mixture, targets))


def export_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """Write the graph for LiteRT; run() is the Keras model's own."""
    from kzoo.deploy.examples import sound_proof
    from kzoo.deploy.formats import tflite

    mixture = np.load(folder / "mixture.npy")
    model = _core(case, mixture.shape[1])
    proof = sound_proof(model, sample_rate=case["sizes"]["sample_rate"], sources=case["sources"])
    tflite.write(model, folder / "model.tflite", proof)
    return lambda: model.predict_on_batch(mixture)


def export_onnx_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """Write the graph that LiteRT's converter gets, for ONNX Runtime."""
    from tf2onnx import convert  # before TensorFlow, which it sets up

    from kzoo.deploy.examples import sound_proof
    from kzoo.deploy.formats import saved_model
    from kzoo.deploy.forms import for_tflite

    mixture = np.load(folder / "mixture.npy")
    model = _core(case, mixture.shape[1])
    saved = folder / "saved_model"
    proof = sound_proof(model, sample_rate=case["sizes"]["sample_rate"], sources=case["sources"])
    saved_model.write(for_tflite(model), saved, proof, batched=False)
    sys.argv = [
        "convert",
        "--saved-model",
        str(saved),
        "--output",
        str(folder / "keras.onnx"),
        "--opset",
        "18",
    ]
    convert.main()
    return lambda: model.predict_on_batch(mixture)


def litert_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The file in LiteRT, XNNPACK and all."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    waveform = np.load(folder / "mixture.npy")[0]

    def run():
        found = runner(waveform=waveform)
        return np.stack([found[name] for name in case["sources"]])[None]

    return run


def ort_side(case: dict, folder: Path, threads: int) -> Callable[[], np.ndarray]:
    """The file in ONNX Runtime, all its optimisations on."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(case["spin"])))
    session = onnxruntime.InferenceSession(
        str(folder / case["file"]), options, providers=["CPUExecutionProvider"]
    )
    (source,) = session.get_inputs()
    mixture = np.load(folder / "mixture.npy")
    if case["file"] == "torch.onnx":
        waveform = np.ascontiguousarray(mixture.transpose(0, 2, 1))
        return lambda: session.run(None, {source.name: waveform})[0][..., None]
    names = [output.name for output in session.get_outputs()]
    order = [names.index(name) for name in case["sources"]]

    def run():
        found = session.run(None, {source.name: mixture[0]})
        return np.stack([found[i] for i in order])[None]

    return run


SIDES = {
    "torch": torch_side,
    "convert": convert_side,
    "kzoo": kzoo_side,
    "export": export_side,
    "export_onnx": export_onnx_side,
    "LiteRT": litert_side,
    "ORT": ort_side,
}


def _asteroid(case):
    _stand_in("pytorch_lightning", "torch_optimizer", "pb_bss_eval", "torch_stoi", "torchaudio")
    from asteroid.models import ConvTasNet, DPRNNTasNet

    sizes = case["sizes"]
    if case["model"] == "dcunet":
        return _asteroid_dcunet(sizes)
    network, names = {
        "conv_tasnet": (ConvTasNet, CONV_TASNET), "dual_path_rnn": (DPRNNTasNet, DUAL_PATH),
    }[case["model"]]  # fmt: skip
    options = {theirs: sizes[ours] for ours, theirs in names.items()}
    return network(
        len(case["sources"]),
        norm_type="gLN",
        stride=sizes["filter_length"] // 2,
        sample_rate=sizes["sample_rate"],
        **options,
    )


def _asteroid_dcunet(sizes):
    """DCUNet-10 with kzoo's frames around the ends, and without the samples that they fade in."""
    import torch
    from asteroid.models import DCUNet

    class Centred(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = DCUNet(
                "DCUNet-10",
                stft_n_filters=sizes["n_fft"],
                stft_kernel_size=sizes["n_fft"],
                stft_stride=sizes["hop_length"],
                sample_rate=sizes["sample_rate"],
                fix_length_mode="pad",
            )

        def forward(self, mixture):
            n_fft = sizes["n_fft"]
            padded = torch.nn.functional.pad(mixture, (n_fft // 2, n_fft // 2))
            return self.network(padded)[..., n_fft:-n_fft]

        def state_dict(self):
            return self.network.state_dict()

    return Centred()


def _demucs(case):
    _stand_in("diffq", "lameenc", "museval", "musdb", "tqdm", "requests")
    from demucs.model import Demucs

    options = {theirs: case["sizes"][ours] for ours, theirs in DEMUCS.items()}
    return Demucs(case["sources"], **options)


def _scnet(case):
    from scnet.SCNet import SCNet

    sizes = case["sizes"]
    options = {theirs: sizes[ours] for ours, theirs in SCNET.items()}
    dims = [2 * sizes["channels"], *sizes["filters"]]
    return SCNet(case["sources"], dims=dims, win_size=sizes["n_fft"], **options)


def _core(case, samples: int):
    """The network of fixed length with the peer's weights."""
    import keras

    from kzoo import models
    from kzoo.layers.masks import Estimates

    size = models.sizes(case["model"], **case["sizes"])
    if case["model"] == "demucs":  # whose core takes some lengths only
        model = models.architecture("demucs").core(case["sources"], size, samples=samples)
        model.load_weights(case["weights"])
        return model
    if case["model"] == "dcunet":  # as the peer, without the samples of the outer windows
        system = models.build("dcunet", size, sources=case["sources"], samples=samples)
        system.load_weights(case["weights"])
        half = size.n_fft // 2
        inner = Estimates(case["sources"], name="inner_stems")
        estimates = inner(system.output[:, :, half:-half])
        return keras.Model(system.input, estimates, name=system.name)
    if case["model"] == "scnet":
        system = models.build("scnet", size, sources=case["sources"], samples=samples)
        system.load_weights(case["weights"])
        return system
    core = models.architecture(case["model"]).core(case["sources"], size)
    core.load_weights(case["weights"])
    waveform = keras.Input((samples, size.channels), name="waveform")
    estimates = Estimates(case["sources"], name="stems")(core(waveform))
    return keras.Model(waveform, estimates, name=core.name)


def _stand_in(*names: str) -> None:
    """Empty modules for imports of packages that are not there; any name in them is a class."""

    class Empty(types.ModuleType):
        __path__ = ()

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name.split(".")[0] not in names:
                return None
            return importlib.machinery.ModuleSpec(name, Finder, is_package=True)

        @staticmethod
        def create_module(spec):
            return Empty(spec.name)

        @staticmethod
        def exec_module(module):
            pass

    sys.meta_path.append(Finder)  # last: what is installed is found before


def memory(figure: str) -> float:
    """MB of this process: "VmRSS" now, "VmHWM" at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) / 1e3
    raise OSError(f"/proc/self/status has no {figure}")


def serve(prepare: Callable, folder: Path, threads: int) -> None:
    """Answer lines of stdin until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    def answer(**figures):
        print(json.dumps(figures), file=answers, flush=True)

    case = json.loads(sys.stdin.readline())
    run = prepare(case, folder, threads)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    rest = memory("VmRSS")
    value = run()
    np.save(folder / f"{case['label']}.npy", value)
    answer(rest=rest)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        value = run()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        loss = float(value) if np.ndim(value) == 0 else None
        answer(wall=wall, cpu=cpu, peak=memory("VmHWM"), loss=loss)


if __name__ == "__main__":
    serve(SIDES[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]))
