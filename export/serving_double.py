"""A stand-in of TensorFlow Serving, by the rules that its documentation gives of its two APIs.

    python -m export.serving_double out --rest-port 8501 --grpc-port 8500

It serves the folder that `export.tf_serving` writes, from its models.config, and shows that
requests are understood and answered where the server's own program is not at hand. It is no server
for a service: it parses JSON in Python.

REST, https://www.tensorflow.org/tfx/serving/api_rest: predict in rows (`instances`) and columns
(`inputs`), binary values as {"b64": ...}, outputs called `..._bytes` in the same form, a single
output without its name, {"error": ...} with 400 and 404; status and metadata of a model. gRPC:
`PredictionService.Predict`. Batching, where the folder has batching.config: requests to one
signature that come within the timeout are run as one, the shorter ones filled with zeros and not
cut again.
"""

from __future__ import annotations

import argparse
import base64
import concurrent.futures
import http.server
import json
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format, text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

Arrays = dict[str, np.ndarray]
_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict|/metadata)?")


class Refused(Exception):
    """A request that is answered with an error: `code` as of gRPC, and one line."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


class Server:
    """The models of a folder, in all versions that its models.config names.

    Raises ValueError for a folder without that file.
    """

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        config = model_server_config_pb2.ModelServerConfig()
        try:
            text_format.Parse((folder / "models" / "models.config").read_text(), config)
        except (OSError, text_format.ParseError) as error:
            raise ValueError(f"{folder}: no folder of export.tf_serving ({error})") from None
        self.models = {
            one.name: {
                version: _Version(folder / one.base_path.lstrip("/") / str(version))
                for version in one.model_version_policy.specific.versions
            }
            for one in config.model_config_list.config
        }
        batching = folder / "batching.config"
        self._batching = _parameters(batching.read_text()) if batching.is_file() else None
        self._queues: dict[tuple, _Queue] = {}
        self._lock = threading.Lock()

    def predict(self, name: str, version: int | None, signature: str, inputs: Arrays) -> Arrays:
        """Run a signature ("" for serving_default). Raises Refused."""
        signature = signature or "serving_default"
        model = self.version(name, version)
        model.check(signature, inputs)
        if self._batching is None:
            return model.run(signature, inputs)
        with self._lock:
            queue = self._queues.setdefault(
                (id(model), signature), _Queue(model, signature, **self._batching)
            )
        return queue.run(inputs)

    def version(self, name: str, number: int | None) -> _Version:
        """A version of a model, by default the newest. Raises Refused."""
        versions = self.models.get(name, {})
        newest = max(versions, default=0)
        found = versions.get(newest if number is None else number)
        if found is None:
            wanted = f"Latest({name})" if number is None else f"Specific({name}, {number})"
            message = f"Servable not found for request: {wanted}"
            raise Refused(grpc.StatusCode.NOT_FOUND, message)
        return found

    def rest(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """(HTTP status, what the JSON of the answer holds)."""
        try:
            match = _PATH.fullmatch(path)
            action = match and match[3]
            if not match or (method == "POST") != (action == ":predict"):
                return 404, {"error": f"Malformed request: {method} {path}"}
            name, number = match[1], match[2] and int(match[2])
            if action == ":predict":
                return 200, self._rest_predict(name, number, body)
            model = self.version(name, number)
            if action == "/metadata":
                return 200, model.metadata(name)
            numbers = [number] if number else sorted(self.models[name], reverse=True)
            return 200, {"model_version_status": [_available(one) for one in numbers]}
        except Refused as error:
            missing = error.code == grpc.StatusCode.NOT_FOUND
            return 404 if missing else 400, {"error": str(error)}

    def _rest_predict(self, name: str, number: int | None, body: bytes) -> dict[str, Any]:
        try:
            request = json.loads(body)
        except ValueError as error:
            raise _invalid(f"JSON Parse error: {error}") from None
        if not isinstance(request, dict):
            raise _invalid("JSON Value: is not object")
        forms = {"instances", "inputs"} & set(request)
        if len(forms) != 1:
            raise _invalid("Request must have one of 'instances' and 'inputs'")
        [form] = forms
        signature = request.get("signature_name", "") or "serving_default"
        specs = self.version(name, number).inputs(signature)
        values = _columns(request[form], specs) if form == "inputs" else _rows(request[form], specs)
        arrays = {key: _tensor(value, key, specs.get(key)) for key, value in values.items()}
        outputs = self.predict(name, number, signature, arrays)
        found = {key: _json_of(key, array) for key, array in outputs.items()}
        if form == "inputs":
            return {"outputs": found if len(found) > 1 else next(iter(found.values()))}
        if len(found) == 1:
            return {"predictions": next(iter(found.values()))}
        rows = zip(*found.values(), strict=True)
        return {"predictions": [dict(zip(found, row, strict=True)) for row in rows]}


class _Version:
    """One SavedModel, its signatures and the warm-up that TensorFlow Serving would send it."""

    def __init__(self, folder: Path):
        self._loaded = tf.saved_model.load(str(folder))
        self.folder = folder

    def inputs(self, signature: str) -> dict[str, tf.TensorSpec]:
        if signature not in self._loaded.signatures:
            raise _invalid(f'Serving signature name: "{signature}" not found in signature def')
        return self._loaded.signatures[signature].structured_input_signature[1]

    def check(self, signature: str, inputs: Arrays) -> None:
        specs = self.inputs(signature)
        if set(specs) != set(inputs):
            raise _invalid(
                f"input size does not match signature: {sorted(inputs)} are no {sorted(specs)}"
            )
        for name, spec in specs.items():
            array = inputs[name]
            dtype = tf.as_dtype(array.dtype if array.dtype != object else np.bytes_)
            if dtype != spec.dtype or not spec.shape.is_compatible_with(array.shape):
                raise _invalid(
                    f"{name} must be {spec.dtype.name} {spec.shape}; got {dtype.name} {array.shape}"
                )

    def run(self, signature: str, inputs: Arrays) -> Arrays:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        try:
            outputs = self._loaded.signatures[signature](**tensors)
        except tf.errors.OpError as error:
            raise _invalid(" ".join(error.message.split())) from None
        return {name: tensor.numpy() for name, tensor in outputs.items()}

    def warm_up(self) -> list[tuple[str, Arrays]]:
        """Run the records of assets.extra/tf_serving_warmup_requests: [(signature, answer)].

        Raises Refused where one is not what its signature takes.
        """
        path = self.folder / "assets.extra" / "tf_serving_warmup_requests"
        answers = []
        for record in tf.data.TFRecordDataset(str(path)):
            log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
            signature, inputs = log.predict_log.request.model_spec.signature_name, {}
            for name, tensor in log.predict_log.request.inputs.items():
                inputs[name] = tf.make_ndarray(tensor)
            self.check(signature, inputs)
            answers.append((signature, self.run(signature, inputs)))
        return answers

    def metadata(self, name: str) -> dict[str, Any]:
        content = (self.folder / "saved_model.pb").read_bytes()
        [graph] = saved_model_pb2.SavedModel.FromString(content).meta_graphs
        found = {key: json_format.MessageToDict(one) for key, one in graph.signature_def.items()}
        spec = {"name": name, "signature_name": "", "version": self.folder.name}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": found}}}


class _Queue:
    """Requests to one signature, run together where they come close together."""

    def __init__(
        self, model: _Version, signature: str, *, max_batch_size: int, batch_timeout_micros: int,
        **_: int,
    ):  # fmt: skip
        self._model, self._signature = model, signature
        self._most, self._timeout = max_batch_size, batch_timeout_micros / 1e6
        self._waiting: list[tuple[Arrays, concurrent.futures.Future]] = []
        self._changed = threading.Condition()

    def run(self, inputs: Arrays) -> Arrays:
        size = len(next(iter(inputs.values())))
        if size > self._most:
            raise _invalid(f"Task size {size} is larger than maximum batch size {self._most}")
        future: concurrent.futures.Future = concurrent.futures.Future()
        with self._changed:
            leads = not self._waiting
            self._waiting.append((inputs, future))
            self._changed.notify_all()
        if leads:
            self._lead()
        return future.result()

    def _lead(self) -> None:
        """Wait for others, at most until the timeout, and answer them all."""
        ends = time.monotonic() + self._timeout
        with self._changed:
            while (left := ends - time.monotonic()) > 0 and self._size() < self._most:
                self._changed.wait(left)
            waiting, self._waiting = self._waiting, []
        while waiting:
            batch, size = [], 0
            while waiting and size + _size(waiting[0]) <= self._most:
                size += _size(waiting[0])
                batch.append(waiting.pop(0))
            try:
                outputs = self._model.run(self._signature, _together([one for one, _ in batch]))
            except Refused as error:
                for _, future in batch:
                    future.set_exception(error)
                continue
            at = 0
            for one in batch:
                part = slice(at, at + _size(one))
                one[1].set_result({name: array[part] for name, array in outputs.items()})
                at = part.stop

    def _size(self) -> int:
        return sum(map(_size, self._waiting))


def _size(waiting: tuple[Arrays, Any]) -> int:
    return len(next(iter(waiting[0].values())))


def _together(requests: Sequence[Arrays]) -> Arrays:
    """One batch of several, the shorter filled with zeros."""
    found = {}
    for name in requests[0]:
        arrays = [request[name] for request in requests]
        longest = np.max([array.shape[1:] for array in arrays], axis=0).astype(int)
        padded = [
            np.pad(x, [(0, 0), *((0, n - m) for n, m in zip(longest, x.shape[1:], strict=True))])
            for x in arrays
        ]
        found[name] = np.concatenate(padded)
    return found


def _parameters(text: str) -> dict[str, int]:
    """The numbers of a batching.config."""
    return {name: int(value) for name, value in re.findall(r"(\w+) \{ value: (\d+) \}", text)}


def _invalid(message: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, message)


def _available(number: int) -> dict[str, Any]:
    status = get_model_status_pb2.ModelVersionStatus.State.Name(30)
    ok = {"error_code": "OK", "error_message": ""}
    return {"version": str(number), "state": status, "status": ok}


def _columns(value: Any, specs: Mapping[str, Any]) -> dict[str, Any]:
    """{input: value} of `inputs`: an object of the names, or the value of a single input."""
    if isinstance(value, dict) and set(value) != {"b64"}:
        return value
    if len(specs) != 1:
        raise _invalid(f"inputs must be an object of {', '.join(specs)}")
    return {next(iter(specs)): value}


def _rows(value: Any, specs: Mapping[str, Any]) -> dict[str, Any]:
    """{input: list} of `instances`: a list of objects, or of the values of a single input."""
    if not isinstance(value, list) or not value:
        raise _invalid("Request for 'instances' must be a list with something in it")
    named = isinstance(value[0], dict) and set(value[0]) != {"b64"}
    if not named:
        if len(specs) != 1:
            raise _invalid(f"instances must be objects of {', '.join(specs)}")
        return {next(iter(specs)): value}
    if any(not isinstance(row, dict) or set(row) != set(value[0]) for row in value):
        raise _invalid("all instances must name the same inputs")
    return {name: [row[name] for row in value] for name in value[0]}


def _tensor(value: Any, name: str, spec: tf.TensorSpec | None) -> np.ndarray:
    """An input's array of a nested list; spec: None for what the signature does not name."""
    if spec is None:
        raise _invalid(f"{name!r} is no input of the signature")
    try:
        if spec.dtype == tf.string:
            return np.array(_decoded(value), object)
        array = np.array(value)
        whole = np.issubdtype(array.dtype, np.integer)
        if array.dtype == object or not (whole or spec.dtype.is_floating):
            raise ValueError
        wanted = spec.dtype.as_numpy_dtype
        if whole and not spec.dtype.is_floating and array.size:
            limits = np.iinfo(wanted)
            if array.min() < limits.min or array.max() > limits.max:
                raise ValueError
        return array.astype(wanted)
    except (ValueError, TypeError, AttributeError):
        message = f"JSON Value of {name!r} is no tensor of type {spec.dtype.name}"
        raise _invalid(message) from None


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    if not isinstance(value, str):
        raise ValueError
    return value.encode()


def _json_of(name: str, array: np.ndarray) -> Any:
    if array.dtype != object:
        return array.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(one).decode()} for one in array]
    return [one.decode() for one in array]


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Predict, with its outputs as the flag enable_serialization_as_tensor_content has them."""

    def __init__(self, server: Server):
        self._server = server

    def Predict(self, request, context):
        spec = request.model_spec
        number = spec.version.value if spec.HasField("version") else None
        if spec.version_label:
            message = f"Unrecognized servable version label: {spec.version_label}"
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, message)
        try:
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            outputs = self._server.predict(spec.name, number, spec.signature_name, inputs)
        except (Refused, ValueError) as error:
            code = getattr(error, "code", grpc.StatusCode.INVALID_ARGUMENT)
            context.abort(code, str(error))
        wanted = set(request.output_filter) or set(outputs)
        response = predict_pb2.PredictResponse(model_spec=spec)
        for name in wanted & set(outputs):
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response


class _Handler(http.server.BaseHTTPRequestHandler):
    served: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes) -> None:
        code, found = self.served.rest(self.command, self.path, body)
        content = json.dumps(found).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing of requests."""


class Listening:
    """A `Server` on ports of this machine (0: any that is free), until the with block ends."""

    def __init__(self, server: Server, *, rest_port: int = 0, grpc_port: int = 0):
        handler = type("Handler", (_Handler,), {"served": server})
        self._http = http.server.ThreadingHTTPServer(("127.0.0.1", rest_port), handler)
        self.rest = f"127.0.0.1:{self._http.server_address[1]}"
        sizes = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(16), options=sizes)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Service(server), self._grpc
        )
        self.grpc = f"127.0.0.1:{self._grpc.add_insecure_port(f'127.0.0.1:{grpc_port}')}"

    def __enter__(self) -> Listening:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self._grpc.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None).wait()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m export.serving_double", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="What export.tf_serving wrote.")
    parser.add_argument("--rest-port", type=int, default=8501, help="By default %(default)s.")
    parser.add_argument("--grpc-port", type=int, default=8500, help="By default %(default)s.")
    options = parser.parse_args(arguments)
    try:
        server = Server(options.folder)
    except (ValueError, OSError) as error:
        print(f"export.serving_double: {error}", file=sys.stderr)
        return 1
    for versions in server.models.values():
        for version in versions.values():
            version.warm_up()
    ports = {"rest_port": options.rest_port, "grpc_port": options.grpc_port}
    with Listening(server, **ports) as listening:
        print(f"REST at {listening.rest}, gRPC at {listening.grpc}", flush=True)
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
