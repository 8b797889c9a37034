"""The folder of a web page: what it holds, where LiteRT.js comes from, and how it is served."""

import json
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import kzoo
from kzoo import api, cli, presets, web

NODE_MODULES = Path(sys.prefix) / "litert-js" / "node_modules"


@pytest.fixture
def litert_js():
    if not NODE_MODULES.is_dir():
        pytest.skip("LiteRT.js is not installed: make puts it there by npm")
    return NODE_MODULES


@pytest.fixture
def exported(monkeypatch):
    """`kzoo.export` that writes small files, of a preset that streams where it is called voice."""

    def export(preset, to, folder, *, precision, **_):
        name = preset.card["name"]
        card = {"name": name, "precision": precision, "input": "waveform",
                "inputs": {"waveform": [8, 2]}, "files": {}}  # fmt: skip
        if name == "voice":
            card["stream"] = {"file": "voice_stream.tflite", "twin": "voice_step.tflite"}
        stem = folder / f"{name}_{precision}"
        folder.mkdir(exist_ok=True)
        for path in (f"{stem}.tflite", folder / f"{name}_step.tflite"):
            Path(path).write_bytes(b"network")
        stem.with_suffix(".json").write_text(json.dumps(card))
        return {**card, "path": f"{stem}.tflite"}

    monkeypatch.setattr(api.exporting, "export", export)


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("name", "networks"),
    [
        ("tiny", {"tiny_fp32.tflite", "tiny_fp32.json", "tiny_fp16.tflite", "tiny_fp16.json"}),
        ("voice", {"voice_step.tflite", "voice_fp32.json"}),  # a stream is of every precision
    ],
)
def test_the_folder_holds_the_page_its_networks_and_litert_js(
    tiny_preset, exported, litert_js, tmp_path, name, networks
):
    preset = tiny_preset(tmp_path / name, name=name)
    kzoo.export_page(preset, tmp_path / "page", node_modules=litert_js)
    found = contents(tmp_path / "page")
    page = {path.name for path in (Path(web.__file__).parent / "page").iterdir()}
    assert page | {"page.json", "LICENCES.txt", "_headers"} <= found
    assert {path for path in found if path.startswith("models/")} == {
        f"models/{n}" for n in networks
    }
    assert sum(path.startswith("litert/wasm/") for path in found) == 8
    for card in json.loads((tmp_path / "page" / "page.json").read_text())["cards"]:
        assert card in found
    assert "weights: none" in (tmp_path / "page" / "LICENCES.txt").read_text()
    with pytest.raises(FileExistsError, match="is there already"):
        kzoo.export_page(preset, tmp_path / "page", node_modules=litert_js)


def test_other_files_than_those_of_the_version_are_refused(litert_js, tmp_path):
    changed = shutil.copytree(litert_js, tmp_path / "node_modules")
    index = changed / "@litertjs" / "core" / "dist" / "index.js"
    index.write_text(index.read_text() + "fetch('https://example.com')\n")
    with pytest.raises(ValueError, match=r"index\.js: is not that of @litertjs/core 2"):
        web.litert_js.packages(changed)


def test_npm_is_asked_only_where_it_may_be(monkeypatch, tmp_path):
    with pytest.raises(presets.PresetError, match="KZOO_OFFLINE is set"):
        web.litert_js.packages()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImportError, match="by npm, which is not installed"):
        web.litert_js.install(tmp_path / "here")


def test_a_pitch_tracker_is_no_page(tmp_path):
    with pytest.raises(presets.PresetError, match="is for pitch; a page separates sound"):
        kzoo.export_page("crepe_tiny", tmp_path / "page")


def interruptible():
    """A shell has what runs in its background pass over interrupts, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_kzoo_serve_sends_what_threads_need_until_it_is_interrupted(tmp_path):
    (tmp_path / "page.json").write_text("{}")
    (tmp_path / "a.wasm").write_bytes(b"\0asm")
    command = [sys.executable, "-m", "kzoo.cli.app", "serve", "--page", tmp_path, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, preexec_fn=interruptible
    ) as process:
        try:
            url = process.stdout.readline().strip()
            with urllib.request.urlopen(f"{url}a.wasm") as answer:
                assert answer.read() == b"\0asm"
                assert answer.headers["Content-Type"] == "application/wasm"
                assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
                assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_kzoo_serve_serves_a_page_and_nothing_else(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kzoo", "serve"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("kzoo: --page serves a web page; TensorFlow Serving")


def test_a_folder_without_a_page_is_not_served(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no page\.json"):
        web.serve(tmp_path, 0)
