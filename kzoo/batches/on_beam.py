"""A manifest done by Apache Beam: the rows of `running.run` spread over many workers.

All workers must see the recordings and the folder of the results under the same paths, as by NFS.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from kzoo.batches.manifest import Manifest
from kzoo.batches.once import Job, Worker
from kzoo.batches.running import DEAD_LETTERS, Counts, alone, result
from kzoo.hints import nearest

# Of each runner: its name in Beam, what it cannot do without, what it is given by default.
RUNNERS: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, str]]] = {
    "direct": (
        "",
        (),
        {
            "direct_running_mode": "multi_processing",
            "direct_num_workers": "0",  # as many as processors
        },
    ),
    "flink": ("FlinkRunner", ("flink_master",), {}),
    "spark": ("SparkRunner", ("spark_master_url",), {}),
    "dataflow": ("DataflowRunner", ("project", "region", "temp_location"), {}),
}

_NAMESPACE = "kzoo"
_WORKERS: dict[str, Worker] = {}
_LOCK = threading.Lock()


def pipeline_options(runner: str, given: Sequence[str]) -> PipelineOptions:
    """Beam's options from lines KEY=VALUE, checked; KEY alone is an option that takes no value.

    Raises ValueError for a runner, key or value that is not known, and for one that is missing.
    """
    if runner not in RUNNERS:
        raise ValueError(f"--runner must be one of local, {', '.join(RUNNERS)}; got {runner!r}")
    name, needed, defaults = RUNNERS[runner]
    values = dict(defaults)
    for option in given:
        key, _, value = option.partition("=")
        values[key] = value
    known = PipelineOptions([]).get_all_options()
    for key in values:
        if key not in known or key == "runner":
            hint = nearest(key, [*known], "Beam's PipelineOptions lists them")
            raise ValueError(f"--runner-option {key}: Beam has no such option; {hint}")
    if missing := [key for key in needed if not values.get(key)]:
        wanted = " ".join(f"--runner-option {key}=VALUE" for key in missing)
        raise ValueError(f"--runner {runner} needs {wanted}")
    flags = [f"--{key}={value}" if value else f"--{key}" for key, value in values.items()]
    try:
        with contextlib.redirect_stderr(io.StringIO()) as usage:
            options = PipelineOptions([*flags, *([f"--runner={name}"] if name else [])])
            options.get_all_options()
    except SystemExit:
        said = usage.getvalue().strip().splitlines()[-1].partition("error: ")[2]
        raise ValueError(f"--runner-option: {said}") from None
    return options


class DoOnce(beam.DoFn):
    """A line of the manifest to what became of it: letters as "dead", everything as a count.

    The job is loaded once a process, however many of these it has.
    """

    def __init__(self, manifest: Manifest, job: Job, out: str, *, overwrite: bool):
        self.manifest, self.job, self.out, self.overwrite = manifest, job, out, overwrite

    def setup(self) -> None:
        """Find the worker of this process."""
        key = json.dumps([self.out, self.job.settings], sort_keys=True)
        with _LOCK:
            self.worker = _WORKERS.setdefault(key, Worker(self.job))

    def process(self, line: bytes) -> Iterator[str]:
        """Yield the letter about a row that cannot be done."""
        text = line.decode("utf-8", "surrogateescape")
        if not text.strip():
            return
        what, letter = result(
            text, self.manifest, self.worker, self.out, overwrite=self.overwrite
        )  # fmt: skip
        Metrics.counter(_NAMESPACE, what).inc()
        if letter is not None:
            yield letter


def run(
    manifest: Manifest, job: Job, out: str | Path, *, options: PipelineOptions,
    overwrite: bool = False,
) -> Counts:  # fmt: skip
    """Same as `batches.run`, by the workers of a runner; options: of `pipeline_options`."""
    out = str(Path(out).absolute())
    # Beam's own choice may be a runner that it fetches from the network.
    runner = None if options.get_all_options()["runner"] else FnApiRunner()
    with alone(out):
        for left in Path(out).glob(f"beam-temp-{DEAD_LETTERS}-*"):  # by a run that was killed
            shutil.rmtree(left)
        pipeline = beam.Pipeline(runner, options=options)
        _ = (
            pipeline
            | beam.io.ReadFromText(
                str(manifest.path), coder=BytesCoder(),
                skip_header_lines=int(manifest.columns is not None),
            )
            | beam.Reshuffle()
            | beam.ParDo(DoOnce(manifest, job, out, overwrite=overwrite))
            | beam.io.WriteToText(
                str(Path(out, DEAD_LETTERS)), shard_name_template="", num_shards=1
            )
        )  # fmt: skip
        done = pipeline.run()
        state = done.wait_until_finish()
        if state not in (None, "DONE"):
            raise ValueError(f"the runner ended in the state {state}: its log tells why")
        counters = done.metrics().query(MetricsFilter().with_namespace(_NAMESPACE))["counters"]
    return Counts(**{c.key.metric.name: c.committed or c.attempted for c in counters})
