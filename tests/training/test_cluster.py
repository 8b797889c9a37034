"""Which workers there are by TF_CONFIG, SLURM and Kubernetes, and that they find each other."""

import concurrent.futures
import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
import test_training
import yaml
from made_runs import assert_same_runs, without_graphs

from kzoo.config import ConfigError
from kzoo.training import resolved, train
from kzoo.training.cluster import Cluster, from_environment, meet

FILES = Path(__file__).parents[2] / "configs" / "cluster"
SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "n[9-10]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_JOB_ID": "40001",
}


def tf_config(task_type="worker", index=1, **jobs):
    """An environment of TF_CONFIG alone."""
    jobs = jobs or {"worker": ["one:2222", "two:2222"]}
    task = {"type": task_type, "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": jobs, "task": task})}


def test_tf_config_names_the_workers_and_which_of_them_this_is():
    assert from_environment(tf_config()) == Cluster(("one:2222", "two:2222"), 1)
    assert from_environment({}) is None
    assert from_environment({"TF_CONFIG": "{}"}) is None


def test_the_chief_of_tf_config_is_the_first_worker():
    jobs = {"worker": ["two:1", "three:1"], "chief": ["one:1"]}
    assert from_environment(tf_config("worker", 1, **jobs)).own == "three:1"
    assert from_environment(tf_config("chief", 0, **jobs)) == Cluster(
        ("one:1", "two:1", "three:1"), 0
    )


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"TF_CONFIG": "{'cluster': 1}"}, "is no JSON .* got \"{'cluster': 1}\""),
        ({"TF_CONFIG": "[1]"}, "must say who works"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "must say who works .*'type'"),
        (tf_config(index=2), "this process is worker 2, and its cluster has 2 of the type"),
        (tf_config("chief", 0), "this process is chief 0, and its cluster has 0"),
        (tf_config(worker=["one", "two:1"]), "a worker is host:port, and not 'one'"),
        (tf_config(worker=["one:1", "two:99999"]), "must say who works .*[Pp]ort"),
        (tf_config(worker=["one:1", "one:1"]), "names one:1 2 times"),
        (tf_config(worker=["one:1", "two:1"], ps=["three:1"]), "names 'ps'"),
    ],
)
def test_a_wrong_tf_config_is_refused_in_one_line(environment, words):
    with pytest.raises(ConfigError, match=words) as refused:
        from_environment(environment)
    assert "\n" not in str(refused.value)


def test_tasks_of_slurm_are_numbered_as_slurm_numbers_them():
    addresses = ("n9:12001", "n9:12002", "n10:12001")
    assert from_environment(SLURM) == Cluster(addresses, 2)
    assert from_environment({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}) is None
    first = {**SLURM, "SLURM_PROCID": "0", "SLURM_NODEID": "0"}
    assert from_environment(first).own == "n9:12001"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SLURM_STEP_NODELIST": None}, "no step of it .* srun kzoo train"),
        ({"SLURM_STEP_NODELIST": "n[9-"}, "cannot be read"),
        ({"SLURM_STEP_TASKS_PER_NODE": "x"}, "cannot be read"),
        ({"SLURM_NODEID": "0", "SLURM_LOCALID": "1"}, "srun --distribution=block"),
    ],
)
def test_slurm_that_cannot_be_read_is_refused(changes, words):
    environment = {**SLURM, **changes}
    environment = {name: value for name, value in environment.items() if value is not None}
    with pytest.raises(ConfigError, match=words):
        from_environment(environment)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"KZOO_WORKERS": "two"}, "got 'two'"),
        ({"KZOO_WORKER_HOST": "train-0:2222"}, "host:port of each, such as train-{index}"),
        ({"HOSTNAME": "train"}, "must be one of 0 to 1; got None"),
        ({"JOB_COMPLETION_INDEX": "2"}, "must be one of 0 to 1; got '2'"),
    ],
)
def test_kubernetes_that_cannot_be_read_is_refused(changes, words):
    environment = {"KZOO_WORKERS": "2", "KZOO_WORKER_HOST": "t-{index}.t:1", "HOSTNAME": "t-1"}
    assert from_environment(environment) == Cluster(("t-0.t:1", "t-1.t:1"), 1)
    with pytest.raises(ConfigError, match=words):
        from_environment({**environment, **changes})


def test_the_kubernetes_manifest_yields_its_workers():
    service, job = yaml.safe_load_all((FILES / "kubernetes.yml").read_text())
    pods = job["spec"]["template"]["spec"]
    [container] = pods["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    environment["JOB_COMPLETION_INDEX"] = "1"  # Kubernetes sets it in an indexed Job
    found = from_environment(environment)
    assert job["spec"]["completionMode"] == "Indexed"
    assert found.index == 1
    assert len(found.addresses) == job["spec"]["completions"] == job["spec"]["parallelism"]
    # A pod of an indexed Job is called by its number, below the service that its pods name.
    host = f"{job['metadata']['name']}-1.{pods['subdomain']}"
    [port] = [port["containerPort"] for port in container["ports"]]
    assert found.own == f"{host}:{port}"
    assert service["metadata"]["name"] == pods["subdomain"]
    assert (
        service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    )
    assert "fit.strategy=multi_worker" in container["args"]


def test_the_slurm_script_is_one_and_starts_a_task_a_node():
    script = FILES / "slurm.sbatch"
    subprocess.run(["bash", "-n", script], check=True)
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --ntasks-per-node=1" in lines
    assert any(line.startswith("srun ") and "fit.strategy=multi_worker" in line for line in lines)


def pair(count=2):
    """Addresses of this machine that nobody listens at."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{door.getsockname()[1]}" for door in doors)
    for door in doors:
        door.close()
    return addresses


@contextlib.contextmanager
def started(*clusters, seconds=10):
    """The meetings of some workers under way, each in a thread; afterwards all have returned."""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        yield [threads.submit(meet, cluster, seconds) for cluster in clusters]


def test_workers_meet_whoever_comes_first():
    addresses = pair(3)
    with started(Cluster(addresses, 2)) as [early]:
        time.sleep(0.3)
        with started(Cluster(addresses, 0), Cluster(addresses, 1)):
            early.result()


def test_a_worker_is_not_taken_for_one_of_a_run_that_is_about_to_end():
    """At the chief's port there is TensorFlow's server still, and only then the chief."""
    addresses = pair()
    host, port = addresses[0].split(":")
    with socket.create_server((host, int(port))) as server, started(Cluster(addresses, 1)) as [own]:
        client, _ = server.accept()
        client.sendall(b"\0\0\x12\4\0\0\0\0\0")  # as HTTP/2 begins
        client.close()
        assert not own.done()
        server.close()
        meet(Cluster(addresses, 0), 10)


def test_a_worker_that_left_before_the_meeting_is_waited_for():
    addresses = pair(3)
    with started(Cluster(addresses, 0)) as [chief]:
        with called(addresses[0]) as killed:
            killed.sendall(f"{json.dumps([1, *addresses])}\n".encode())
            assert killed.recv(100) == b"welcome to kzoo\n"
        with started(Cluster(addresses, 2)):
            time.sleep(0.3)
            assert not chief.done()
            meet(Cluster(addresses, 1), 10)


def test_strangers_at_the_door_do_not_keep_workers_from_meeting():
    addresses = pair()
    with started(Cluster(addresses, 0)):
        for words in (b"GET / HTTP/1.1\r\n\r\n", b'[1, "one:1", "two:1"]\n', b"7\n"):
            stranger = called(addresses[0])
            stranger.sendall(words)
            stranger.close()
        meet(Cluster(addresses, 1), 10)


def called(address):
    """A connection to a worker that may not listen yet."""
    host, port = address.split(":")
    for _ in range(100):
        with contextlib.suppress(OSError):
            return socket.create_connection((host, int(port)))
        time.sleep(0.02)
    raise AssertionError(f"nothing listens at {address}")


def test_workers_that_never_come_are_named_to_all_that_did():
    addresses = pair(4)
    ways = Cluster(addresses, 0), Cluster(addresses, 2)
    with started(*ways, seconds=0.5) as both:
        for meeting in both:
            with pytest.raises(ConfigError) as refused:
                meeting.result()
            line = str(refused.value)
            assert (
                f"0.5 s in vain for worker 1 ({addresses[1]}), worker 3 ({addresses[3]}): " in line
            )
            assert "fit.meeting_seconds" in line
    with pytest.raises(ConfigError, match="in vain for worker 0"):
        meet(Cluster(addresses, 1), 0.1)


def test_a_port_that_is_taken_is_said():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127.0.0.1:{port}\) cannot listen .* in use"):
            meet(Cluster((f"127.0.0.1:{port}", pair()[0]), 0), 0.1)


def refused(monkeypatch, tmp_path, environment, *, devices=None, **changes):
    """The line with which a training ends before it begins; it leaves nothing."""
    for name in ("TF_CONFIG", "KZOO_WORKERS", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        train(test_training.settings(**changes), tmp_path / "run", devices=devices)
    assert not (tmp_path / "run").exists()
    return str(error.value)


def test_tf_config_and_another_strategy_do_not_pass_in_silence(monkeypatch, tmp_path):
    line = refused(monkeypatch, tmp_path, tf_config())
    assert "TF_CONFIG makes this one of 2 workers, and fit.strategy is mirrored" in line
    monkeypatch.delenv("TF_CONFIG")
    pods = {"KZOO_WORKERS": "3", "KZOO_WORKER_HOST": "t-{index}:1", "JOB_COMPLETION_INDEX": "0"}
    assert "KZOO_WORKERS makes this one of 3" in refused(monkeypatch, tmp_path, pods)


def test_several_workers_need_a_cluster(monkeypatch, tmp_path):
    line = refused(monkeypatch, tmp_path, {}, fit__strategy="multi_worker")
    assert "finds no other workers: set TF_CONFIG" in line


def test_a_device_is_named_once(monkeypatch, tmp_path):
    twice = ["/device:CPU:0", "/device:CPU:0"]
    assert "named once; got /device:CPU:0" in refused(monkeypatch, tmp_path, {}, devices=twice)


def test_several_workers_take_all_their_devices(monkeypatch, tmp_path):
    options = {"devices": ["/device:CPU:0"], "fit__strategy": "multi_worker"}
    assert "leave --devices out" in refused(monkeypatch, tmp_path, tf_config(), **options)


def test_without_a_tpu_the_strategy_is_refused(monkeypatch, tmp_path):
    line = refused(monkeypatch, tmp_path, {"TPU_NAME": "local"}, fit__strategy="tpu")
    assert line.startswith("fit.strategy=tpu finds no TPU called 'local' (TPUs not found")
    assert "\n" not in line


def test_a_worker_that_waits_in_vain_trains_nothing(monkeypatch, tmp_path):
    environment = tf_config(index=0, worker=list(pair()))
    options = {"fit__strategy": "multi_worker", "fit__meeting_seconds": 0.1}
    assert "in vain for worker 1" in refused(monkeypatch, tmp_path, environment, **options)


def test_steps_per_execution_changes_no_weight_and_is_for_one_worker(tmp_path):
    several = test_training.settings(
        fit__steps_per_execution=2, fit__steps_per_epoch=2, data__validation=None
    )
    with pytest.raises(ConfigError, match=r"must be 1 with fit.strategy=multi_worker"):
        resolved({**several, "fit": {**several["fit"], "strategy": "multi_worker"}})
    with pytest.raises(ConfigError, match=r"a multiple of fit.steps_per_exec.* 2 and 3"):
        resolved({**several, "fit": {**several["fit"], "steps_per_execution": 3}})
    with without_graphs():
        for name, steps in (("one", 1), ("two", 2)):
            fit = {**several["fit"], "steps_per_execution": steps, "epochs": 1}
            train({**several, "fit": fit}, tmp_path / name, say=lambda line: None)
    assert_same_runs(tmp_path / "one", tmp_path / "two")
