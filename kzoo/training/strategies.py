"""How the devices of one machine or several train one network: tf.distribute under plain `fit`."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.config import ConfigError
from kzoo.training import cluster as clusters
from kzoo.training.cluster import Cluster
from kzoo.training.settings import Fit

_GONE = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Workers(tf.distribute.MultiWorkerMirroredStrategy):
    """TensorFlow's strategy for several machines, made fit for `fit` of Keras 3.

    Keras averages what a step logs over axis 0, though these are scalars, and hands whole
    structures of a first batch to `reduce`, which takes single values: the first raises in every
    step, the second before it. Nothing else in Keras 3.15 stands in the way.
    """

    def reduce(self, reduce_op, value, axis):
        """Reduce every value of a structure, scalars over the replicas alone."""

        def one(part):
            scalar = all(local.shape.rank == 0 for local in self.experimental_local_results(part))
            return super(Workers, self).reduce(reduce_op, part, None if scalar else axis)

        return keras.tree.map_structure(one, value)


@dataclass
class Team:
    """A strategy, and what the workers of a cluster do together; without one, what needs no other.

    Every worker does the same in the same order. The chief, worker 0, has the run's folder; the
    others get a copy of what a run goes on from, so that no file system needs to be shared.
    """

    strategy: tf.distribute.Strategy
    cluster: Cluster | None = None

    @property
    def chief(self) -> bool:
        """Whether this process writes the run."""
        return self.index == 0

    @property
    def index(self) -> int:
        """Which of the workers this is."""
        return 0 if self.cluster is None else self.cluster.index

    @property
    def workers(self) -> int:
        """How many processes there are."""
        return 1 if self.cluster is None else len(self.cluster.addresses)

    @contextlib.contextmanager
    def place(self, folder: Path) -> Iterator[Path]:
        """The folder to work in: the chief's is the run's, that of others is gone afterwards."""
        if self.chief:
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="kzoo.") as scratch:
            yield Path(scratch) / folder.name

    def share(self, folder: Path, names: Sequence[str]) -> None:
        """Give the others the chief's files of those names, where it has all of them."""
        complete = all((folder / name).is_file() for name in names)
        for name in names if self.workers > 1 else ():
            content = self._from_chief((folder / name).read_bytes() if complete else b"")
            if content and not self.chief:
                (folder / name).write_bytes(content)

    def agree(self, described: Mapping[str, Any]) -> None:
        """Raise ConfigError, on every worker, where not all were given the same."""
        if self.workers == 1:
            return
        rows = {key: _digest(value) for key, value in described.items()}  # each of [4]
        table = np.zeros((self.workers, len(rows), 4), np.int64)
        table[self.index] = list(rows.values())
        table = self._sum(table)
        for key, column in zip(rows, table.swapaxes(0, 1), strict=True):
            others = [n for n in range(self.workers) if (column[n] != column[0]).any()]
            if others:
                raise ConfigError(
                    f"{self.cluster.name(others[0])} has another {key} than "
                    f"{self.cluster.name(0)}: give every worker the same configuration, data and "
                    "version of kzoo"
                )

    def wait(self) -> None:
        """Return when every worker is here."""
        if self.workers > 1:
            self._sum(np.zeros(1, np.int64))

    def distributed(self, dataset: tf.data.Dataset, batch_size: int):
        """`dataset` of this worker's parts of the batches, as `fit` takes it."""
        if self.workers == 1:
            return dataset
        replicas = self.strategy.num_replicas_in_sync
        if replicas > self.workers:
            dataset = dataset.rebatch(batch_size // replicas)
        return self.strategy.distribute_datasets_from_function(lambda context: dataset)

    def _from_chief(self, content: bytes) -> bytes:
        size = int(self._sum(np.array([len(content) if self.chief else 0], np.int64))[0])
        words = np.zeros(-(-size // 8), np.int64)
        if self.chief:
            words.view(np.uint8)[:size] = np.frombuffer(content, np.uint8)
        return self._sum(words).tobytes()[:size] if size else b""

    def _sum(self, array: np.ndarray) -> np.ndarray:
        return self.strategy.reduce("SUM", tf.constant(array), axis=None).numpy()


@contextlib.contextmanager
def team(
    settings: Fit, devices: Sequence[str] | None, *, say: Callable[[str], None]
) -> Iterator[Team]:
    """The strategy that `settings` names, within which a worker that is gone ends in one line.

    devices: TensorFlow's names, for `mirrored`; by default every GPU, or the CPU.
    Raises ConfigError where the environment does not fit.
    """
    if settings.strategy != "multi_worker":
        cluster = clusters.declared(os.environ)
        if cluster is not None and len(cluster.addresses) > 1:
            name = "TF_CONFIG" if os.environ.get("TF_CONFIG") else "KZOO_WORKERS"
            raise ConfigError(
                f"{name} makes this one of {len(cluster.addresses)} workers, and fit.strategy is "
                f"{settings.strategy}: say fit.strategy=multi_worker, or unset {name}"
            )
    if settings.strategy == "mirrored":
        yield Team(_mirrored(devices))
        return
    if devices is not None:
        raise ConfigError(
            f"fit.strategy={settings.strategy} takes every device that a worker sees; got "
            f"{', '.join(devices)}: leave --devices out, and hide GPUs by CUDA_VISIBLE_DEVICES"
        )
    if settings.strategy == "tpu":
        yield Team(_tpu())
        return
    cluster = clusters.from_environment(os.environ)
    if cluster is None:
        raise ConfigError(
            "fit.strategy=multi_worker finds no other workers: set TF_CONFIG, or start it by srun "
            "or in Kubernetes as configs/cluster shows"
        )
    if len(cluster.addresses) == 1:
        yield Team(_mirrored(None))
        return
    clusters.meet(cluster, settings.meeting_seconds, say=say)
    with _survived(cluster):
        yield Team(_workers(cluster), cluster)


@contextlib.contextmanager
def _survived(cluster: Cluster) -> Iterator[None]:
    """One line in place of TensorFlow's many where another worker has ended."""
    try:
        yield
    except _GONE as error:
        found = {int(number) for number in re.findall(r"replica:0/task:(\d+)", error.message)}
        gone = sorted(number for number in found if number < len(cluster.addresses))
        gone = cluster.names(number for number in gone if number != cluster.index)
        if not gone and isinstance(error, tf.errors.InternalError | tf.errors.CancelledError):
            raise
        raise ValueError(
            f"{gone or 'another worker'} is gone, and {cluster.name(cluster.index)} "
            "cannot go on alone: its own last lines say why; the same commands on all of them go "
            "on after the last whole epoch"
        ) from None


def _mirrored(devices: Sequence[str] | None) -> tf.distribute.Strategy:
    if devices is None:
        devices = [device.name for device in tf.config.list_logical_devices("GPU")]
    devices = list(devices)
    twice = sorted({name for name in devices if devices.count(name) > 1})
    if twice:
        raise ConfigError(f"a device is named once; got {', '.join(twice)} more often")
    if len(devices) > 1:
        return _several(tuple(devices))
    return tf.distribute.OneDeviceStrategy(devices[0]) if devices else tf.distribute.get_strategy()


@functools.cache
def _several(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    # One for all runs of a process: those of a second strategy have the keys of the first one's
    # collective operations, and TensorFlow waits for ever or gives up.
    return tf.distribute.MirroredStrategy(list(devices))


@functools.cache
def _workers(cluster: Cluster) -> Workers:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    try:
        return Workers(resolver)
    except RuntimeError as error:
        raise ConfigError(
            "fit.strategy=multi_worker must come before any other use of TensorFlow in its process "
            f"({error})"
        ) from None


def _tpu() -> tf.distribute.Strategy:
    name = os.environ.get("TPU_NAME", "local")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(name)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, OSError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        raise ConfigError(
            f"fit.strategy=tpu finds no TPU called {name!r} ({reason}): start it on a TPU machine, "
            "name one by TPU_NAME, or say fit.strategy=mirrored"
        ) from None


def _digest(value: Any) -> list[int]:
    text = json.dumps(value, sort_keys=True, default=str)
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.int64).tolist()
