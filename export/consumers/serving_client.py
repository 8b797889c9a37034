"""Separate a WAV of any length by a model that TensorFlow Serving serves, over gRPC or REST.

    pip install numpy grpcio protobuf            # of REST alone: numpy
    python serving_client.py NAME.json song.wav --grpc localhost:8500 -o out
    python serving_client.py NAME.json song.wav --rest localhost:8501 -o out

NAME.json says the rate, the sources and the blocks of the model. A model whose blocks stand for
themselves gets them one after another, and this program joins the answers along their fades, which
is what `kzoo separate` does: one request is small however long the recording is. The others get the
recording whole. Sound goes and comes in 16 bits, with --float in 32.
"""

import argparse
import base64
import contextlib
import io
import itertools
import json
import sys
import time
import urllib.error
import urllib.request
import wave
from pathlib import Path

import numpy as np


class Problem(Exception):
    """What the user can mend: one line."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("card", type=Path, help="NAME.json, which came with the model")
    parser.add_argument("wav", type=Path, help="PCM WAV at the card's sample rate")
    server = parser.add_mutually_exclusive_group(required=True)
    server.add_argument("--grpc", metavar="HOST:PORT", help="the server's port 8500")
    server.add_argument("--rest", metavar="HOST:PORT", help="the server's port 8501")
    parser.add_argument("-o", "--out", type=Path, default=Path(), help="folder for the stems")
    parser.add_argument("--model-version", type=int, help="default: the newest that is served")
    parser.add_argument("--batch", type=int, default=1, help="blocks a request, 1 to 8; default 1")
    parser.add_argument("--whole", action="store_true", help="send the recording in one request")
    parser.add_argument("--float", action="store_true", help="float32 instead of 16 bits; gRPC")
    parser.add_argument("--timeout", type=float, default=600, help="seconds a request; default 600")
    options = parser.parse_args()
    try:
        if not 1 <= options.batch <= 8:
            raise Problem(f"--batch must be 1 to 8; got {options.batch}")
        if options.float and options.rest:
            raise Problem("--float is for --grpc: REST takes 16-bit WAVs here")
        card = read_card(options.card)
        begun = time.perf_counter()
        seconds, requests = separate(options, card)
        spent = time.perf_counter() - begun
    except (Problem, OSError) as error:
        print(f"serving_client: {error}", file=sys.stderr)
        return 1
    names = ", ".join(f"{source}.wav" for source in card["sources"])
    print(f"{options.out}: {names}; {seconds:.2f} s, {requests} requests, {spent:.2f} s")
    return 0


def read_card(path):
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        card["name"], card["sample_rate"], card["channels"], card["sources"]
        card["signatures"]["int16"]["inputs"]
        if card["block"] is not None and card["block"]["fade_float32"] is not None:
            fade = base64.b64decode(card["block"]["fade_float32"])
            card["block"]["fade"] = np.frombuffer(fade, "<f4")[:, None]
        return card
    except (ValueError, KeyError, TypeError):
        raise Problem(f"{path}: is not the card of a served model") from None


def separate(options, card):
    """Write one WAV per source: (the seconds of sound in them, the requests that it took)."""
    rate, channels = card["sample_rate"], card["channels"]
    with contextlib.ExitStack() as files:
        reader = files.enter_context(open_wav(options.wav))
        if reader.getframerate() != rate:
            raise Problem(
                f"{options.wav}: has {reader.getframerate()} Hz, the model wants {rate}; "
                f"resample it first: ffmpeg -i {options.wav.name} -ar {rate} resampled.wav"
            )
        width = reader.getnchannels()
        if width not in (1, channels):
            raise Problem(f"{options.wav}: has {width} channels, the model takes {channels} or 1")
        ask = files.enter_context(
            grpc_server(options, card) if options.grpc else rest(options, card)
        )
        requests, total, writers = 0, 0, {}
        paths = {source: options.out / f"{source}.wav" for source in card["sources"]}
        for path in paths.values():
            if path.exists() and path.samefile(options.wav):
                raise Problem(f"{path}: is the recording itself; give another folder by -o")
        whole = options.whole or card["block"] is None
        pieces = all_at_once if whole else joined_blocks
        for stems, asked in pieces(ask, reader, card, options.batch):
            if not writers:  # the first answer has come
                options.out.mkdir(parents=True, exist_ok=True)
                for source, path in paths.items():
                    writers[source] = files.enter_context(wave.open(str(path), "wb"))
                    writers[source].setparams((width, 3, rate, 0, "NONE", None))
            requests, total = requests + asked, total + len(stems[card["sources"][0]])
            for source, writer in writers.items():
                stem = stems[source]
                stem = stem.mean(axis=1, keepdims=True) if width == 1 else stem
                writer.writeframes(to_pcm24(stem))
        return total / rate, requests


def all_at_once(ask, reader, card, _):
    """The stems, {source: [samples, channels]}, of one request."""
    waveform = read_pcm(reader, reader.getnframes(), card["channels"])
    if not len(waveform):
        raise Problem("the recording is empty")
    stems = ask(False, waveform[None])
    # A server that puts requests of different lengths together pads the shorter ones.
    yield {source: stem[0, : len(waveform)] for source, stem in stems.items()}, 1


def joined_blocks(ask, reader, card, batch):
    """The stems piece by piece, {source: [samples, channels]}, and the requests of each piece."""
    hop = card["block"]["hop"]
    overlap = card["block"]["samples"] - hop
    fade = card["block"].get("fade")  # None: blocks come faded, and are only added
    before = -card["block"]["start"]  # zeros before the recording, which are not given out
    tails = {}
    pieces = cut(reader, card)
    while group := list(itertools.islice(pieces, batch)):
        answers = ask(True, np.stack([block for block, _ in group]))
        for k, (_, new) in enumerate(group):
            first, stems = min(before, new), {}
            before -= first
            for source in card["sources"]:
                estimate = answers[source][k].copy()
                if source in tails:
                    entering = estimate[:overlap] * (1 if fade is None else fade)
                    estimate[:overlap] = entering + tails[source]
                tails[source] = estimate[hop:] * (1 if fade is None else 1 - fade)
                stems[source] = estimate[first:new]
            yield stems, int(k == 0)


def cut(reader, card):
    """The blocks [samples, channels], and how many samples of each no other block gives out."""
    samples, hop, channels = card["block"]["samples"], card["block"]["hop"], card["channels"]
    pending = np.zeros((-card["block"]["start"], channels), np.float32)
    first = True
    while True:
        heard = read_pcm(reader, samples - len(pending), channels)
        if first and not len(heard):
            raise Problem("the recording is empty")
        pending, first = np.concatenate([pending, heard]), False
        if not len(pending):
            return
        new = min(len(pending), hop)
        yield np.pad(pending, ((0, samples - len(pending)), (0, 0))), new
        pending = pending[new:]


@contextlib.contextmanager
def rest(options, card):
    """A function that asks over REST, with WAVs in base64: `ask(block, waveforms)`."""
    version = "" if options.model_version is None else f"/versions/{options.model_version}"
    url = f"http://{options.rest}/v1/models/{card['name']}{version}:predict"
    rate, names = card["sample_rate"], card["sources"]

    def ask(block, waveforms):
        rows = [{"b64": base64.b64encode(to_wav(x, rate)).decode()} for x in waveforms]
        body = {"signature_name": "block_wav" if block else "wav", "instances": rows}
        request = urllib.request.Request(
            url, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=options.timeout) as answer:
                predictions = json.load(answer)["predictions"]
            if len(names) == 1:  # a single output comes without its name
                predictions = [{f"{names[0]}_bytes": row} for row in predictions]
            return {
                name: np.stack([of_wav(row[f"{name}_bytes"]["b64"]) for row in predictions])
                for name in names
            }
        except urllib.error.HTTPError as error:
            raise Problem(f"{url}: {error.code}: {said_in(error.read())}") from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise Problem(f"{url}: {getattr(error, 'reason', error)}") from None
        except (ValueError, KeyError, TypeError, wave.Error):
            raise Problem(f"{url}: answers something else than {', '.join(names)}") from None

    yield ask


def said_in(body):
    """The message of an error's body, on one line."""
    try:
        return " ".join(str(json.loads(body)["error"]).split())
    except (ValueError, KeyError, TypeError):
        return "no message"


@contextlib.contextmanager
def grpc_server(options, card):
    """A function that asks over gRPC, with 16-bit or float32 tensors: `ask(block, waveforms)`."""
    try:
        import grpc

        request_class, response_class = messages()
    except ImportError:
        raise Problem("gRPC is not installed: pip install grpcio protobuf") from None
    form = "float32" if options.float else "int16"
    told = "samples" in card["signatures"]["int16"]["inputs"]  # where stems depend on the length
    sizes = {f"grpc.max_{way}_message_length": -1 for way in ("send", "receive")}  # not 4 MB
    with grpc.insecure_channel(options.grpc, options=list(sizes.items())) as channel:
        predict = channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_class.FromString,
        )

        def ask(block, waveforms):
            request = request_class()
            request.model_spec.name = card["name"]
            if options.model_version is not None:
                request.model_spec.version.value = options.model_version
            name = {"float32": ("serving_default", "block"), "int16": ("int16", "block_int16")}
            request.model_spec.signature_name = name[form][block]
            fill(request.inputs["waveform"], waveforms if options.float else to_int16(waveforms))
            if told and not block:
                fill(request.inputs["samples"], np.full(len(waveforms), waveforms.shape[1], "<i4"))
            try:
                outputs = predict(request, timeout=options.timeout).outputs
            except grpc.RpcError as error:
                details = " ".join(error.details().split())
                raise Problem(f"{options.grpc}: {error.code().name}: {details}") from None
            if not set(card["sources"]) <= set(outputs):
                raise Problem(f"{options.grpc}: answers {', '.join(outputs)}")
            return {source: array_of(outputs[source]) for source in card["sources"]}

        yield ask


TYPES = {"float32": 1, "int32": 3, "int16": 5}  # of tensorflow's types.proto


def messages():
    """(PredictRequest, PredictResponse): their fields that are used here, without TensorFlow."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    F = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="predict.proto", package="p", syntax="proto3")

    def message(name, *fields, inside=None):
        made = (inside.nested_type if inside else file.message_type).add(name=name)
        for number, field, kind, repeated in fields:
            label = F.LABEL_REPEATED if repeated else F.LABEL_OPTIONAL
            made.field.add(number=number, name=field, label=label)
            if isinstance(kind, str):
                made.field[-1].type, made.field[-1].type_name = F.TYPE_MESSAGE, f".p.{kind}"
            else:
                made.field[-1].type = kind
        return made

    message("Version", (1, "value", F.TYPE_INT64, False))
    message("Spec", (1, "name", F.TYPE_STRING, False), (2, "version", "Version", False),
            (3, "signature_name", F.TYPE_STRING, False))  # fmt: skip
    message("Dim", (1, "size", F.TYPE_INT64, False))
    message("Shape", (2, "dim", "Dim", True))
    message("Tensor", (1, "dtype", F.TYPE_INT32, False), (2, "tensor_shape", "Shape", False),
            (4, "tensor_content", F.TYPE_BYTES, False), (5, "float_val", F.TYPE_FLOAT, True),
            (7, "int_val", F.TYPE_INT32, True))  # fmt: skip
    request = message("Request", (1, "model_spec", "Spec", False),
                      (2, "inputs", "Request.InputsEntry", True))  # fmt: skip
    response = message("Response", (1, "outputs", "Response.OutputsEntry", True))
    for owner, name in ((request, "InputsEntry"), (response, "OutputsEntry")):
        entry = message(name, (1, "key", F.TYPE_STRING, False), (2, "value", "Tensor", False),
                        inside=owner)  # fmt: skip
        entry.options.map_entry = True
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    found = (pool.FindMessageTypeByName(f"p.{name}") for name in ("Request", "Response"))
    return tuple(map(message_factory.GetMessageClass, found))


def fill(tensor, array):
    tensor.dtype = TYPES[array.dtype.name]
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = array.astype(array.dtype.newbyteorder("<")).tobytes()


def array_of(tensor):
    """float32 of a tensor's message: its bytes, or numbers one by one, as the server likes."""
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.dtype == TYPES["int16"]:
        values = np.frombuffer(tensor.tensor_content, "<i2") if tensor.tensor_content else None
        values = np.array(tensor.int_val, np.int16) if values is None else values
        return values.reshape(shape).astype(np.float32) / 32768
    values = np.frombuffer(tensor.tensor_content, "<f4") if tensor.tensor_content else None
    values = np.array(tensor.float_val, np.float32) if values is None else values
    return values.reshape(shape)


def to_int16(waveform):
    return np.rint(np.clip(waveform * 32768.0, -32768, 32767)).astype("<i2")


def to_wav(waveform, rate):
    """The bytes of a 16-bit WAV of `[samples, channels]`."""
    content = io.BytesIO()
    with wave.open(content, "wb") as writer:
        writer.setparams((waveform.shape[1], 2, rate, 0, "NONE", None))
        writer.writeframes(to_int16(waveform).tobytes())
    return content.getvalue()


def of_wav(text):
    with wave.open(io.BytesIO(base64.b64decode(text))) as reader:
        return read_pcm(reader, reader.getnframes(), reader.getnchannels())


def open_wav(path):
    try:
        return wave.open(str(path), "rb")
    except (wave.Error, EOFError) as error:
        raise Problem(
            f"{path}: not a plain PCM WAV ({error}); convert it first: "
            f"ffmpeg -i {path.name} -c:a pcm_s16le plain.wav"
        ) from None


def read_pcm(reader, samples, channels):
    """float32 [samples or fewer, channels], full scale 1; mono is repeated."""
    data, width = np.frombuffer(reader.readframes(samples), np.uint8), reader.getsampwidth()
    data = data[: len(data) // (width * reader.getnchannels()) * width * reader.getnchannels()]
    if width == 1:
        values = (data.astype(np.float32) - 128) / 128
    else:
        raw = np.zeros((len(data) // width, 4), np.uint8)  # the highest bytes of an int32
        raw[:, 4 - width :] = data.reshape(-1, width)
        values = raw.view("<i4")[:, 0].astype(np.float32) / 2**31
    values = values.reshape(-1, reader.getnchannels())
    return np.repeat(values, channels // values.shape[1], axis=1)


def to_pcm24(waveform):
    values = np.rint(np.clip(waveform, -1, 1 - 2**-23).astype(np.float64) * 2**23)
    return values.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()


if __name__ == "__main__":
    sys.exit(main())
