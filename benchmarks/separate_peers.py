"""What `separate.py` has the peers' own interpreters do: make weights, and run SCNet.

    TORCH benchmarks/separate_peers.py make htdemucs|umxhq|scnet FOLDER
    SPLEETER benchmarks/separate_peers.py make spleeter FOLDER
    TORCH benchmarks/separate_peers.py scnet FOLDER SONG OUT

Weights are drawn from a seed, as the peer's own class draws them, and written as its published
files are. SCNet's authors have no package and no command: their network hears the blocks that kzoo
cuts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

SOURCES = ("drums", "bass", "other", "vocals")
HTDEMUCS = {
    "bottom_channels": 512, "t_layers": 5, "dconv_mode": 3, "t_dropout": 0.02, "segment": 7.8,
}  # fmt: skip


def make_htdemucs(folder: Path) -> None:
    """A package of htdemucs' sizes in which every branch counts, for `demucs --repo`."""
    import torch
    from demucs.htdemucs import HTDemucs

    torch.manual_seed(0)
    arguments = {"sources": list(SOURCES), **HTDEMUCS}
    model = HTDemucs(**arguments)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("scale"):
                weight.uniform_(0.1, 0.3)
    package = {"klass": HTDemucs, "args": (), "kwargs": arguments, "state": model.state_dict()}
    torch.save(package, folder / "htdemucs.th")


def make_umxhq(folder: Path) -> None:
    """The folder of a model of umxhq's sizes, for `umx --model`."""
    import torch
    from openunmix.model import OpenUnmix

    torch.manual_seed(0)
    sizes = {"nb_channels": 2, "hidden_size": 512, "max_bin": 1487}
    for target in SOURCES:
        network = OpenUnmix(nb_bins=2049, **sizes)
        torch.save(network.state_dict(), folder / f"{target}.pth")
        told = {"args": {"nfft": 4096, "nb_channels": 2, "hidden_size": 512, "bandwidth": 16000}}
        (folder / f"{target}.json").write_text(json.dumps(told))
    transform = {"sample_rate": 44100, "nfft": 4096, "nhop": 1024, "nb_channels": 2}
    (folder / "separator.json").write_text(json.dumps(transform))


def make_scnet(folder: Path) -> None:
    """A checkpoint of the paper's sizes, as the authors' training writes it."""
    import torch
    from scnet.SCNet import SCNet

    torch.manual_seed(0)
    torch.save({"best_state": SCNet(sources=SOURCES).state_dict()}, folder / "scnet.th")


def make_spleeter(folder: Path) -> None:
    """A checkpoint of Spleeter's two stems, where its MODEL_PATH is `folder`."""
    import tensorflow as tf
    from spleeter.model import EstimatorSpecBuilder, InputProviderFactory
    from spleeter.utils.configuration import load_configuration

    settings = load_configuration("spleeter:2stems")
    tf.compat.v1.disable_eager_execution()
    tf.compat.v1.set_random_seed(0)
    features = InputProviderFactory.get(settings).get_input_dict_placeholders()
    EstimatorSpecBuilder(features, settings).build_predict_model()
    tf.compat.v1.train.get_or_create_global_step()
    model = folder / settings["model_dir"]
    model.mkdir(parents=True, exist_ok=True)
    with tf.compat.v1.Session() as session:
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, str(model / "model"))
    (model / ".probe").write_text("OK")  # else Spleeter downloads its own


def run_scnet(folder: Path, song: str, out: Path) -> None:
    """Separate a recording as the authors' `inference.py` does, in the blocks of `grid.npz`."""
    import soundfile
    import torch
    from scnet.SCNet import SCNet

    network = SCNet(sources=SOURCES).eval()
    network.load_state_dict(torch.load(folder / "scnet.th")["best_state"])
    sound, rate = soundfile.read(song, dtype="float32", always_2d=True)
    waveform = torch.from_numpy(sound.T.copy())
    mono = waveform.mean(0)
    mean, deviation = mono.mean(), mono.std()
    waveform = (waveform - mean) / deviation
    grid = np.load(folder / "grid.npz")
    samples, hop = int(grid["samples"]), int(grid["hop"])
    fade = torch.from_numpy(grid["fade"].astype(np.float32))
    length = waveform.shape[1]
    stems = torch.zeros(len(SOURCES), 2, length + samples)
    with torch.inference_mode():
        for start in range(0, length, hop):
            block = waveform[:, start : start + samples]
            block = torch.nn.functional.pad(block, (0, samples - block.shape[1]))
            estimate = network(block[None])[0]
            if start:
                estimate[..., : len(fade)] *= fade
            estimate[..., hop:] *= 1 - fade
            stems[..., start : start + samples] += estimate
    stems = stems[..., :length] * deviation + mean
    out.mkdir(parents=True, exist_ok=True)
    for name, stem in zip(SOURCES, stems, strict=True):
        soundfile.write(out / f"{name}.wav", stem.numpy().T, rate, subtype="FLOAT")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "make":
        globals()[f"make_{rest[0]}"](Path(rest[1]))
    else:
        run_scnet(Path(rest[0]), rest[1], Path(rest[2]))
