"""What happens between the steps: checkpoints, averaged validation, TensorBoard, waiting time."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.training import checkpoint
from kzoo.training.optimizers import averaged

# Attributes in which Keras's own callbacks remember what they have seen.
_MEMORY = ("wait", "best", "cooldown_counter", "stopped_epoch")


class AveragedValidation(keras.callbacks.Callback):
    """Validates with the averaged weights, and puts the others back, bit by bit."""

    def on_test_begin(self, logs=None):
        """Averages in."""
        self._within = averaged(self.model)
        self._within.__enter__()

    def on_test_end(self, logs=None):
        """And out."""
        self._within.__exit__(None, None, None)


class Meter:
    """Counts the seconds in which the training had to wait for its next batch."""

    def __init__(self):
        self.waited = 0.0

    def through(self, batches: Iterable) -> Iterator:
        """The same batches."""
        iterator = iter(batches)
        while True:
            began = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self.waited += time.perf_counter() - began
            yield batch


class Checkpoints(keras.callbacks.Callback):
    """After each epoch: history, checkpoint, and the preset where the monitored loss is best.

    Comes last in the list, so that it sees the other callbacks' memory as the epoch leaves it.
    save_preset(state): writes the weights as they are in the model.
    """

    def __init__(
        self,
        folder: Path,
        *,
        others: list[keras.callbacks.Callback],
        save_preset: Callable[[dict[str, Any]], None],
        meter: Meter,
        say: Callable[[str], None],
    ):
        super().__init__()
        self.folder, self.others, self.save_preset = folder, others, save_preset
        self.meter, self.say = meter, say
        self.state: dict[str, Any] = {
            "epoch": 0, "steps": 0, "seconds": 0.0, "best": None, "best_epoch": None,
            "finished": False, "callbacks": {}, "history": [],
        }  # fmt: skip
        self.interrupted = False

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / "checkpoint.npz"

    def resume(self, model: keras.Model) -> None:
        """Take up the checkpoint of the folder where there is one."""
        if self.path.is_file():
            self.state = checkpoint.restore(self.path, model)

    def on_train_begin(self, logs=None):
        """Give the other callbacks their memory back: Keras empties it here."""
        for callback in self.others:
            for name, value in self.state["callbacks"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clocks."""
        self._began, self._waited = time.perf_counter(), self.meter.waited

    def on_epoch_end(self, epoch, logs=None):
        """Write it all down."""
        logs = {key: float(value) for key, value in (logs or {}).items()}
        seconds = time.perf_counter() - self._began
        share = (self.meter.waited - self._waited) / seconds
        state = self.state
        steps = self.params["steps"]
        state["history"].append(
            {"epoch": epoch + 1, **logs, "seconds": round(seconds, 3), "waiting": round(share, 4)}
        )
        state["epoch"], state["steps"] = epoch + 1, state["steps"] + steps
        state["seconds"] += seconds
        state["finished"] = bool(self.model.stop_training) or epoch + 1 >= self.params["epochs"]
        for callback in self.others:
            kept = {name: getattr(callback, name) for name in _MEMORY if hasattr(callback, name)}
            kept = {name: _number(value) for name, value in kept.items()}
            state["callbacks"][type(callback).__name__] = kept
        monitored = logs.get("val_loss", logs.get("loss"))
        if not np.isfinite(logs.get("loss", np.nan)):
            self.model.stop_training = True
            self.say(f"epoch {epoch + 1}: the loss is {logs.get('loss')}; the run stops, and its "
                     "last good checkpoint is kept: lower the learning rate")  # fmt: skip
            return
        # Without validation there is nothing to choose by: the preset is the latest weights.
        if "val_loss" not in logs or state["best"] is None or monitored < state["best"]:
            state["best"], state["best_epoch"] = monitored, epoch + 1
            with averaged(self.model):
                self.save_preset(state)
        checkpoint.save(self.path, self.model, state)
        write_history(self.folder / "history.csv", state["history"])
        text = ", ".join(f"{key} {value:.5g}" for key, value in logs.items())
        self.say(f"epoch {epoch + 1}: {text} ({seconds:.1f} s, {100 * share:.0f} % waiting)")
        if share > 0.1:
            self.say(
                f"the run waits for its data {100 * share:.0f} % of the time ({share * seconds:.1f}"
                f" of {seconds:.1f} s): prepare shards (kzoo data prepare) or set data.workers"
            )


class TensorBoardExamples(keras.callbacks.Callback):
    """Losses and learning rate of each epoch, and what the model makes of a fixed batch.

    Spectrograms of the target and the estimate of every source, and the estimates' sound through
    `system`. Needs the tensorboard package for the summaries' plugins.
    """

    def __init__(
        self,
        folder: Path,
        *,
        graph: keras.Model,
        system: keras.Model,
        batch: tuple[Any, np.ndarray],
        sources: list[str],
        sample_rate: int,
        every: int,
    ):
        super().__init__()
        import tensorflow as tf

        self.summary = tf.summary
        self.folder, self.graph, self.system, self.batch = folder, graph, system, batch
        self.sources, self.sample_rate, self.every = sources, sample_rate, every

    def on_train_begin(self, logs=None):
        """One writer a run: a resumed one adds to the same folder."""
        self.writer = self.summary.create_file_writer(str(self.folder))

    def on_epoch_end(self, epoch, logs=None):
        """Scalars each epoch, examples every `every` epochs."""
        with self.writer.as_default(step=epoch + 1):
            for key, value in (logs or {}).items():
                self.summary.scalar(key, float(value))
            self.summary.scalar("learning_rate", float(self.model.optimizer.learning_rate))
            if epoch % self.every == 0:
                self._examples()
        self.writer.flush()

    def _examples(self):
        inputs, targets = self.batch
        estimates = np.asarray(self.system(inputs, training=False))
        for number, source in enumerate(self.sources):
            for kind, waveforms in (("target", targets), ("estimate", estimates)):
                sound = np.clip(waveforms[:, number], -1, 1)  # [batch, samples, channels]
                self.summary.audio(
                    f"{source}/{kind}", sound, self.sample_rate, max_outputs=1, encoding="wav"
                )
                self.summary.image(f"{source}/{kind}", spectrogram_image(sound[0]), max_outputs=1)

    def on_train_end(self, logs=None):
        """Close the file."""
        self.writer.close()


def spectrogram_image(waveform: np.ndarray) -> np.ndarray:
    """`[samples, channels]` to `[1, bins, frames, 1]` in 0 to 1: 80 dB of log magnitude."""
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    transform = ShortTimeFFT(hann(1024, sym=False), hop=512, fs=1)
    level = 20 * np.log10(np.abs(transform.stft(waveform.mean(axis=1))) + 1e-6)
    return np.clip((level[::-1, :, None][None] + 40) / 80, 0, 1).astype(np.float32)


def write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """The epochs as CSV, whole or not at all."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def _number(value):
    return value.item() if hasattr(value, "item") else value
