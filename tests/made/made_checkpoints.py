"""Small checkpoints in Spleeter's naming, and a server that hands them out."""

import contextlib
import http.server
import tarfile
import threading
from pathlib import Path

import numpy as np

from kzoo.convert import spleeter

FILTERS = (2, 3, 4, 5, 6, 7)


def weights(instruments: int, *, channels: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights under the names that Spleeter's TensorFlow 1 graph gives them."""
    rng = np.random.default_rng(seed)
    found = {}

    def conv(kind, index, shape, filters):
        name = f"{kind}_{index}" if index else kind
        found[f"{name}/kernel"] = (0.3 * rng.standard_normal(shape)).astype(np.float32)
        found[f"{name}/bias"] = (0.1 * rng.standard_normal(filters)).astype(np.float32)

    def norm(index, filters):
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            value = 0.5 + rng.random(filters)
            found[f"{name}/{part}"] = value.astype(np.float32)

    for i in range(instruments):
        before = channels
        for level, n in enumerate(FILTERS):
            conv("conv2d", 7 * i + level, (5, 5, before, n), n)
            norm(12 * i + level, n)  # the sixth is the one that nothing uses
            before = n
        ups = (*reversed(FILTERS[:-1]), 1)
        for level, n in enumerate(ups):
            wide = FILTERS[-1] if level == 0 else 2 * ups[level - 1]
            conv("conv2d_transpose", 6 * i + level, (5, 5, n, wide), n)
            norm(12 * i + 6 + level, n)
        conv("conv2d", 7 * i + 6, (4, 4, 1, channels), channels)
    return found


def write_checkpoint(folder: Path, arrays: dict[str, np.ndarray], name: str = "model") -> Path:
    """A TensorFlow checkpoint of exactly these names, with training state beside them.

    name: of its files, before their endings.
    """
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    first, value = next(iter(arrays.items()))
    arrays = {**arrays, "global_step": np.int64(7), f"{first}/Adam": value}
    tf.raw_ops.SaveV2(
        prefix=f"{folder}/{name}",
        tensor_names=list(arrays),
        shape_and_slices=[""] * len(arrays),
        tensors=[tf.constant(value) for value in arrays.values()],
    )
    (folder / "checkpoint").write_text('model_checkpoint_path: "/elsewhere/model"\n')
    return folder


def write_archive(path: Path, folder: Path) -> Path:
    """The checkpoint as Deezer packs its releases."""
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, arcname=f"./{file.name}")
    return path


def small_card(name: str, instruments: int, **more) -> dict:
    """A card like those of the package, for a network of the made checkpoints' size."""
    sources = list(spleeter.INSTRUMENTS[instruments])
    return {
        "name": name,
        "summary": "made for a test",
        "model": {
            "name": "unet",
            "options": {
                "sources": sources,
                "filters": list(FILTERS),
                "frames": 64,
                "bins": 64,
                "n_fft": 256,
                "hop_length": 64,
                "activation": "leaky_relu" if instruments == 2 else "elu",
                "masks": "softmax" if instruments == 5 else "sigmoid",
            },
        },
        "sources": sources,
        "sample_rate": 8000,
        "channels": 2,
        "trained": "not at all: random weights from a seed",
        "licences": {"code": "MIT", "weights": "MIT", "data": "none"},
        "weights": {"archive": f"{name}.tar.gz", "archive_sha256": None},
        **more,
    }


@contextlib.contextmanager
def served(
    folder: Path,
    *,
    drop_after: int | None = None,
    status: int | None = None,
    etag: str | None = None,
    content_type: str = "application/octet-stream",
    length: bool = True,
):
    """Serve `folder` with byte ranges; the first answer may break off after some bytes.

    length: whether it says how long a file is.
    """
    log: list[tuple[str, str | None]] = []
    state = {"drop": drop_after}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            log.append((self.path, self.headers.get("Range")))
            path = folder / self.path.lstrip("/")
            if status or not path.is_file():
                self.send_error(status or 404)
                return
            data = path.read_bytes()
            start = int((self.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
            if self.headers.get("If-Range", etag) != etag:
                start = 0
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if length:
                self.send_header("Content-Length", str(len(data) - start))
            self.send_header("Content-Type", content_type)
            if etag:
                self.send_header("ETag", etag)
            self.end_headers()
            part = data[start:]
            if state["drop"] is not None:
                part, state["drop"] = part[: state["drop"]], None
            self.wfile.write(part)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # It looks for its end every so many seconds; by default the caller waits for half a one.
    poll = {"poll_interval": 0.01}
    thread = threading.Thread(target=server.serve_forever, kwargs=poll, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
