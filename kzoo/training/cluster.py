"""Several machines train one network: their workers by the environment, and how they meet.

TensorFlow's own word is TF_CONFIG, which clouds and operators of Kubernetes set. Beside it the
variables of SLURM's steps are read, and those of a Kubernetes Job or StatefulSet
(`configs/cluster` starts both). Nothing here imports TensorFlow.
"""

from __future__ import annotations

import collections
import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kzoo.config import ConfigError

_EXAMPLE = (
    '{"cluster": {"worker": ["one:2222", "two:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_JOBS = ("chief", "worker")
_SLURM = (
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_TASKS_PER_NODE",
    "SLURM_NODEID",
    "SLURM_LOCALID",
    "SLURM_JOB_ID",
)
# Below the ports that Linux gives to outgoing connections.
_FIRST_PORT, _PORTS = 12000, 20000
_WELCOME = "welcome to kzoo\n"


@dataclass(frozen=True)
class Cluster:
    """addresses: host:port of each worker, that of the chief first. index: of this process."""

    addresses: tuple[str, ...]
    index: int

    @property
    def own(self) -> str:
        """Where this process is reached."""
        return self.addresses[self.index]

    def name(self, index: int) -> str:
        """What to call a worker in a message."""
        return f"worker {index} ({self.addresses[index]})"

    def names(self, numbers: Iterable[int]) -> str:
        """What to call several."""
        return ", ".join(map(self.name, numbers))


def from_environment(environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that TF_CONFIG, KZOO_WORKERS or a step of SLURM describes; None without any.

    Raises ConfigError for a description that is wrong or incomplete.
    """
    cluster = declared(environment)
    if cluster is None and "SLURM_PROCID" in environment:
        cluster = _from_slurm(environment)
    return cluster


def declared(environment: Mapping[str, str]) -> Cluster | None:
    """The same without SLURM, whose tasks may also be trainings of their own."""
    cluster = _from_tf_config(environment)
    if cluster is None and "KZOO_WORKERS" in environment:
        cluster = _from_kubernetes(environment)
    return cluster


def _from_tf_config(environment: Mapping[str, str]) -> Cluster | None:
    """The chief and the workers, who train alike."""
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        described = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"TF_CONFIG is no JSON ({error}): got {text[:80]!r}, wanted such as {_EXAMPLE}"
        ) from None
    try:
        jobs, task = described.get("cluster", {}), described.get("task", {})
        if not jobs:
            return None
        job, number = task["type"], int(task["index"])
        addresses = {name: [*map(_checked, hosts)] for name, hosts in jobs.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"TF_CONFIG must say who works and which of them this is ({error}): got {text[:200]}, "
            f"wanted such as {_EXAMPLE}"
        ) from None
    if others := [name for name in [*addresses, job] if name not in _JOBS]:
        raise ConfigError(
            f"TF_CONFIG names {others[0]!r}, and a training has chief and worker alone: leave it "
            "out, and start no process for it"
        )
    own = addresses.get(job, [])
    if not 0 <= number < len(own):
        raise ConfigError(
            f"TF_CONFIG: this process is {job} {number}, and its cluster has {len(own)} of the type"
            f" {job}{', numbered from 0' if own else ''}: correct task.index or cluster.{job}"
        )
    chiefs = addresses.get("chief", [])
    index = number + (len(chiefs) if job == "worker" else 0)
    return _cluster([*chiefs, *addresses.get("worker", [])], index, "TF_CONFIG")


def _from_kubernetes(environment: Mapping[str, str]) -> Cluster:
    """The pods of an indexed Job, or of a StatefulSet, whose numbers end their names."""
    pattern, count = environment.get("KZOO_WORKER_HOST", ""), environment["KZOO_WORKERS"]
    number = environment.get("JOB_COMPLETION_INDEX")
    if number is None:
        ordinal = re.search(r"-(\d+)$", environment.get("HOSTNAME", ""))
        number = ordinal and ordinal.group(1)
    if not count.isdigit() or "{index}" not in pattern:
        raise ConfigError(
            "KZOO_WORKERS is the number of workers and KZOO_WORKER_HOST the host:port of each, such"
            f" as train-{{index}}.train:2222; got {count!r} and {pattern!r}"
        )
    if number is None or not number.isdigit() or int(number) >= int(count):
        raise ConfigError(
            f"KZOO_WORKERS={count}: JOB_COMPLETION_INDEX, or the end of HOSTNAME in a StatefulSet, "
            f"must be one of 0 to {int(count) - 1}; got {number!r}"
        )
    addresses = [pattern.replace("{index}", str(index)) for index in range(int(count))]
    return _cluster([*map(_checked, addresses)], int(number), "KZOO_WORKER_HOST")


def _from_slurm(environment: Mapping[str, str]) -> Cluster | None:
    """The tasks of a step, in SLURM's order of them.

    Not TensorFlow's SlurmClusterResolver: it sorts the hosts by their letters, so that n10 comes
    before n9, while SLURM numbers its tasks in the order of the list.
    """
    if int(environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", 1))) == 1:
        return None
    if missing := [name for name in _SLURM if name not in environment]:
        raise ConfigError(
            f"this is SLURM, but no step of it ({missing[0]} is not set): start every worker by "
            "srun kzoo train ..."
        )
    from tensorflow.python.distribute.cluster_resolver import slurm_cluster_resolver as slurm

    values = {name: environment[name] for name in _SLURM}
    nodes, tasks, node, task, job = values.values()
    try:
        hosts = slurm.expand_hostlist(nodes)
        counts = slurm.expand_tasks_per_node(tasks)
        port = _FIRST_PORT + int(job) % _PORTS  # two jobs on one machine seldom meet
        places = [(n, k) for n, many in enumerate(counts) for k in range(many)]
        addresses = [f"{hosts[n]}:{port + k}" for n, k in places]
        own, index = (int(node), int(task)), int(environment["SLURM_PROCID"])
    except (IndexError, ValueError) as error:
        raise ConfigError(f"SLURM's variables cannot be read ({error}); got {values}") from None
    if places[index : index + 1] != [own]:
        raise ConfigError(
            f"SLURM gave task {index} to node {own[0]} as its number {own[1]}, which is not its "
            "place where nodes are filled in turn: start the step with srun --distribution=block"
        )
    return _cluster(addresses, index, "SLURM_STEP_NODELIST")


def _cluster(addresses: list[str], index: int, source: str) -> Cluster:
    address, count = collections.Counter(addresses).most_common(1)[0]
    if count > 1:
        raise ConfigError(f"{source} names {address} {count} times: each worker needs its own port")
    return Cluster(tuple(addresses), index)


def _checked(address: str) -> str:
    if not isinstance(address, str) or not all(_host_and_port(address)):
        raise ValueError(f"a worker is host:port, and not {address!r}")
    return address


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    parts = urlsplit(f"//{address}")
    return parts.hostname, parts.port


def meet(cluster: Cluster, seconds: float, *, say: Callable[[str], None] = print) -> None:
    """Return when every worker of `cluster` has come, or raise ConfigError after so many seconds.

    The others report at the chief's port, where TensorFlow listens afterwards: it would itself wait
    for an hour, not say for whom, and take a worker that was started again for one of a run whose
    other workers have yet to notice that they are to end. Raises ConfigError where a port is taken.
    """
    deadline = time.monotonic() + seconds
    _, port = _host_and_port(cluster.own)
    own = cluster.name(cluster.index)
    try:
        door = socket.create_server(("", port), backlog=len(cluster.addresses))
    except OSError as error:
        raise ConfigError(
            f"{own} cannot listen at its port ({error.strerror}): end what listens there, or give "
            "the workers another"
        ) from None
    with door:
        missing = _gather(door, cluster, deadline, say) if cluster.index == 0 else []
    if cluster.index != 0:
        missing = _report(cluster, deadline, say)
    if missing:
        raise ConfigError(
            f"{own} has waited {seconds:g} s in vain for {cluster.names(missing)}: start every "
            "worker, and let their ports through between them (fit.meeting_seconds is how long "
            "to wait)"
        )


def _gather(door: socket.socket, cluster: Cluster, deadline: float, say) -> list[int]:
    """Receive the others, and tell them who did not come."""
    guests: dict[int, socket.socket] = {}
    others, told = range(1, len(cluster.addresses)), False
    door.settimeout(0.2)
    try:
        while missing := [n for n in others if n not in guests or not _waits(guests[n])]:
            if time.monotonic() > deadline:
                break
            try:
                guest, _ = door.accept()
            except TimeoutError:
                if not told:
                    say(f"waiting for {cluster.names(missing)}")
                    told = True
                continue
            number = _introduced(guest, cluster)
            if number is None:
                guest.close()
                continue
            if number in guests:
                guests[number].close()  # it has been started again
            guests[number] = guest
        for guest in guests.values():
            with contextlib.suppress(OSError):
                guest.sendall(f"{json.dumps(missing)}\n".encode())
    finally:
        for guest in guests.values():
            guest.close()
    return missing


def _introduced(guest: socket.socket, cluster: Cluster) -> int | None:
    """Which worker of this cluster has come; None for somebody else."""
    guest.settimeout(2)
    try:
        with guest.makefile("r", encoding="utf-8") as words:
            number, *addresses = json.loads(words.readline(100_000))
        if tuple(addresses) != cluster.addresses or number not in range(1, len(addresses)):
            return None
        guest.sendall(_WELCOME.encode())
    except (OSError, TypeError, ValueError):
        return None
    guest.setblocking(False)
    return number


def _waits(guest: socket.socket) -> bool:
    """Whether a worker that has come is still there."""
    try:
        return guest.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _report(cluster: Cluster, deadline: float, say) -> list[int]:
    """Come to the chief, and return who else did not."""
    told = False
    while True:
        # TensorFlow's server of a run that is about to end gives another answer, or none.
        with (
            contextlib.suppress(OSError, ValueError),
            socket.create_connection(_host_and_port(cluster.addresses[0]), timeout=2) as chief,
            chief.makefile("r", encoding="utf-8") as words,
        ):
            chief.sendall(f"{json.dumps([cluster.index, *cluster.addresses])}\n".encode())
            if words.readline(100) == _WELCOME:
                chief.settimeout(max(deadline - time.monotonic(), 0) + 5)
                return json.loads(words.readline())
        if time.monotonic() > deadline:
            return [0]
        if not told:
            say(f"waiting for {cluster.names([0])}")
            told = True
        time.sleep(0.2)
