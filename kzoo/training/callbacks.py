"""What happens between the steps: checkpoints, averaged validation, TensorBoard, waiting time."""

from __future__ import annotations

import csv
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.config import ConfigError
from kzoo.files import replacing
from kzoo.pictures.training import draw_history
from kzoo.training import checkpoint
from kzoo.training.folder import CHECKPOINT, HISTORY, PICTURE
from kzoo.training.optimizers import averaged

# Attributes in which Keras's own callbacks remember what they have seen.
_MEMORY = ("wait", "best", "cooldown_counter", "stopped_epoch")


class AveragedValidation(keras.callbacks.Callback):
    """Validates with the averaged weights, and puts the others back, bit by bit."""

    def on_test_begin(self, logs=None):
        """Put the averaged weights in."""
        self._within = averaged(self.model)
        self._within.__enter__()

    def on_test_end(self, logs=None):
        """Put the trained weights back."""
        self._within.__exit__(None, None, None)


class Meter:
    """Counts the seconds in which the training had to wait for its next batch."""

    def __init__(self):
        self.waited = 0.0

    def through(self, batches: Iterable) -> Iterator:
        """Pass the same batches on."""
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
    save_preset(state): writes the weights as they are in the model. data: what the run learns
    from, as sha256s; a checkpoint that learned from something else is not taken up. latest: the
    preset is always that of the last epoch.
    diverged: None, or a line about how the run ended.
    """

    def __init__(
        self,
        folder: Path,
        *,
        others: list[keras.callbacks.Callback],
        save_preset: Callable[[dict[str, Any]], None],
        meter: Meter,
        say: Callable[[str], None],
        data: dict[str, str | None],
        latest: bool = False,
    ):
        super().__init__()
        self.folder, self.others, self.save_preset = folder, others, save_preset
        self.meter, self.say, self.latest = meter, say, latest
        self._picture = Picture(folder / PICTURE, say)
        self.state: dict[str, Any] = {
            "epoch": 0,
            "epochs": 0,
            "steps": 0,
            "seconds": 0.0,
            "best": None,
            "best_epoch": None,
            "finished": False,
            "callbacks": {},
            "history": [],
            "data": data,
        }
        self.diverged: str | None = None

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / CHECKPOINT

    def resume(self, model: keras.Model, epochs: int) -> None:
        """Take up the checkpoint of the folder where there is one, to go on to `epochs`.

        Raises ConfigError where the data are others than those of the checkpoint.
        """
        if not self.path.is_file():
            return
        state = {**self.state, **checkpoint.restore(self.path, model)}
        for part, found in self.state["data"].items():
            if found != state["data"][part]:
                raise ConfigError(
                    f"{self.folder}: data.{part} is not what this run began with (sha256 "
                    f"{str(found)[:12]}, its checkpoint has {str(state['data'][part])[:12]}): bring"
                    " the old data back, or name a new folder"
                )
        # A run that is over began to be so under the epochs of that time; more of them open it.
        state["finished"] = state["finished"] and epochs <= max(state["epochs"], state["epoch"])
        if state["epoch"] < state["epochs"] < epochs:
            state["callbacks"].pop("EarlyStopping", None)  # its patience had run out
        self.state = state

    def on_train_begin(self, logs=None):
        """Give the other callbacks their memory back: Keras empties it here."""
        for callback in self.others:
            if getattr(callback, "best", 0) is None:
                callback.best = np.inf  # else the first loss would be the best, NaN or not
            for name, value in self.state["callbacks"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clocks."""
        self._began, self._waited = time.perf_counter(), self.meter.waited

    def on_epoch_end(self, epoch, logs=None):
        """Write history, checkpoint and, where the loss is best, the preset."""
        logs = {key: float(value) for key, value in (logs or {}).items()}
        seconds = time.perf_counter() - self._began
        # Several devices fetch ahead: some of the wait may have been before the epoch.
        share = min((self.meter.waited - self._waited) / seconds, 1.0)
        state = self.state
        steps = self.params["steps"]
        row = {"epoch": epoch + 1, **logs, "learning_rate": learning_rate(self.model)}
        state["history"].append({**row, "seconds": round(seconds, 3), "waiting": round(share, 4)})
        state["epoch"], state["steps"] = epoch + 1, state["steps"] + steps
        state["seconds"] += seconds
        state["epochs"] = self.params["epochs"]
        state["finished"] = bool(self.model.stop_training) or epoch + 1 >= self.params["epochs"]
        for callback in self.others:
            kept = {name: getattr(callback, name) for name in _MEMORY if hasattr(callback, name)}
            kept = {name: _number(value) for name, value in kept.items()}
            state["callbacks"][type(callback).__name__] = kept
        if not np.isfinite(logs.get("loss", np.nan)):
            self.model.stop_training = True
            kept = f"the checkpoint of epoch {epoch} is" if self.path.is_file() else "nothing is"
            self.diverged = (
                f"the loss is {logs.get('loss')} in epoch {epoch + 1}, and {kept} kept: lower the "
                "learning rate, or clip the gradients (optimizer.global_clipnorm)"
            )
            return
        # Without validation there is nothing to choose by: the preset is the latest weights.
        monitored = logs.get("val_loss", logs["loss"])
        if self.latest or "val_loss" not in logs or _better(monitored, state["best"]):
            state["best"], state["best_epoch"] = monitored, epoch + 1
            with averaged(self.model):
                self.save_preset(state)
        checkpoint.save(self.path, self.model, state)
        write_history(self.folder / HISTORY, state["history"])
        self._picture.draw(state["history"], state["best_epoch"], last=state["finished"])
        text = ", ".join(f"{key} {value:.5g}" for key, value in logs.items())
        self.say(f"epoch {epoch + 1}: {text} ({seconds:.1f} s, {100 * share:.0f} % waiting)")
        if share > 0.1:
            self.say(
                f"the run waits for its data {100 * share:.0f} % of the time ({share * seconds:.1f}"
                f" of {seconds:.1f} s): prepare shards (kzoo data prepare) or raise data.workers"
            )


class Picture:
    """Draws the learning curves of a run as it goes, in a twentieth of its time at most.

    From the second epoch on, as one is no curve. Without matplotlib nothing is drawn, which is
    said once.
    """

    def __init__(self, path: Path, say: Callable[[str], None]):
        self.path, self.say = path, say
        self._due = 0.0

    def draw(self, rows: list[dict[str, Any]], best_epoch: int | None, *, last: bool) -> None:
        """Draw where it is time to, or `last`."""
        began = time.monotonic()
        if len(rows) < 2 or (began < self._due and not last):
            return
        try:
            with replacing(self.path) as temporary:
                draw_history(rows, temporary, best_epoch=best_epoch)
        except ValueError as error:
            self.say(f"no {self.path.name} is drawn: {error}")
            self._due = math.inf
            return
        ended = time.monotonic()
        self._due = ended + 20 * (ended - began)


class TensorBoardExamples(keras.callbacks.Callback):
    """Losses and learning rate of each epoch, and what the model makes of a fixed batch.

    Spectrograms and sound of the target and the estimate of every source; batch: a mixture
    `[batch, samples, channels]` for `system`, and its sources `[batch, sources, ...]`.
    Needs the tensorboard package for the summaries' plugins.
    """

    def __init__(
        self,
        folder: Path,
        *,
        system: keras.Model,
        batch: tuple[np.ndarray, np.ndarray],
        sources: list[str],
        sample_rate: int,
        every: int,
    ):
        super().__init__()
        import tensorflow as tf

        self.summary = tf.summary
        self.folder, self.system, self.batch = folder, system, batch
        self.sources, self.sample_rate, self.every = sources, sample_rate, every

    def on_train_begin(self, logs=None):
        """Open one writer a run: a resumed run adds to the same folder."""
        self.writer = self.summary.create_file_writer(str(self.folder))

    def on_epoch_end(self, epoch, logs=None):
        """Scalars each epoch, examples every `every` epochs."""
        with self.writer.as_default(step=epoch + 1):
            for key, value in (logs or {}).items():
                self.summary.scalar(key, float(value))
            self.summary.scalar("learning_rate", learning_rate(self.model))
            if epoch % self.every == 0:
                self._examples()
        self.writer.flush()

    def _examples(self):
        mixture, targets = self.batch
        estimates = np.asarray(self.system(mixture, training=False))
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


def learning_rate(model: keras.Model) -> float:
    """The rate of the model's optimizer now, also of one that several devices share."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


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


def _better(loss: float, best: float | None) -> bool:
    """Whether a loss is below the best; NaN and infinity are worse than anything."""
    known = best is not None and np.isfinite(best)
    return bool(np.isfinite(loss)) and (not known or loss < best)


def _number(value):
    return value.item() if hasattr(value, "item") else value
