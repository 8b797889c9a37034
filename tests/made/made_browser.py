"""Headless Chromium, told by its own protocol through two pipes what a user would do."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream", "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """One page of a browser; what it writes to its console as an error is kept in `errors`."""

    def __init__(self, to: int, of: int, downloads: Path):
        self._to, self._of, self._rest, self._number = to, of, b"", 0
        self.errors: list[str] = []
        self.downloads, self._session = downloads, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(downloads))

    def call(self, method: str, **parameters):
        """The result of one command; what happens meanwhile is looked at for errors."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self._rest:
            if not (read := os.read(self._of, 1 << 20)):
                raise RuntimeError("the browser has gone")
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        event = json.loads(message)
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(parameters["exceptionDetails"])[:500])
        if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url')}")
        if event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(
                str([a.get("value", a.get("description")) for a in parameters["args"]])
            )
        return event

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def evaluate(self, expression: str):
        """The value of JavaScript, or of its promise, as JSON has it."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 60):
        """The first value of `expression` that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.05)
        raise TimeoutError(f"{expression}: not in {seconds} s; {self.errors}")

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent.trim()")

    def click(self, selector: str) -> None:
        """Press it as a mouse does, where it can be seen."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )  # fmt: skip

    def choose(self, selector: str, path: Path) -> None:
        """Give a file to an <input type=file>."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def downloaded(self, name: str, seconds: float = 60) -> Path:
        """The file that a click has begun to save, when it is whole."""
        path, end = self.downloads / name, time.monotonic() + seconds
        while not path.is_file() or not path.stat().st_size:  # its name is taken first
            if time.monotonic() > end:
                raise TimeoutError(f"{name} was not saved; {self.errors}")
            self.evaluate("0")
            time.sleep(0.05)
        return path

    def look(self, width: int = 1100, height: int = 900, *, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        time.sleep(0.3)  # what was asked for by `look` is painted in the next frames
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(image))


@contextlib.contextmanager
def browser(folder: Path, *flags: str) -> Iterator[Page]:
    """A page in a Chromium of its own, whose profile and downloads lie in `folder`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed: apt install chromium")
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    (its_in, our_out), (our_in, its_out) = os.pipe(), os.pipe()

    def pipes() -> None:  # which Chromium wants as 3 and 4
        a, b = os.dup(its_in), os.dup(its_out)
        a, b = os.dup2(a, 203), os.dup2(b, 204)
        os.dup2(a, 3)
        os.dup2(b, 4)

    process = subprocess.Popen(
        [program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", *flags],
        preexec_fn=pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    os.close(its_in)
    os.close(its_out)
    try:
        page = Page(our_out, our_in, downloads)
        yield page
        with contextlib.suppress(RuntimeError):
            page.call("Browser.close")
        process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(our_out)
        os.close(our_in)
