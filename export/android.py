"""An Android project around a preset: pick a recording, separate it, hear its stems; or clean live.

    python -m export.android -p spleeter_2stems -o out

    out/spleeter_2stems_android/
        settings.gradle.kts, app/, ...        for Android Studio, or Gradle 8.9 and its wrapper
        app/src/main/assets/NAME_fp16.tflite  the file, as `export.mobile` makes and proves it
        README.md, LICENCES.txt

The project is written and not built: this program needs no Android SDK. Of a model that streams the
screen has a button for the microphone, too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export import app_classes, mobile, programs

_TEMPLATES = Path(__file__).parent / "templates" / "android"
_SOURCES = Path("app") / "src" / "main"
_PLACES = {
    "README.md": Path("README.md"),
    "settings.gradle.kts": Path("settings.gradle.kts"),
    "build.gradle.kts": Path("build.gradle.kts"),
    "gradle.properties": Path("gradle.properties"),
    "gradle-wrapper.properties": Path("gradle") / "wrapper" / "gradle-wrapper.properties",
    "app.gradle.kts": Path("app") / "build.gradle.kts",
    "AndroidManifest.xml": _SOURCES / "AndroidManifest.xml",
}
_KOTLIN = _SOURCES / "java" / "kzoo"
_LIVE = {
    "LIVE_FIELDS": """\
    private var live: Live? = null
    private lateinit var microphone: Button
""",
    "LIVE_VIEWS": """\
        microphone = Button(this).apply {
            text = "Clean the microphone, with headphones"
            setOnClickListener { if (live == null) speak() else hush() }
        }
        column.addView(microphone)
""",
    "LIVE_METHODS": """
    private fun speak() {
        if (checkSelfPermission(RECORD_AUDIO) != PackageManager.PERMISSION_GRANTED) {
            requestPermissions(arrayOf(RECORD_AUDIO), 0) // and press again
            return
        }
        stop()
        microphone.text = "Stop"
        live = Live(__CLASS__Stream(model("__STREAM__"))) { say(it) }
    }

    private fun hush() {
        live?.stop()
        live = null
        microphone.text = "Clean the microphone, with headphones"
    }
""",
    "LIVE_END": """\
        hush()
""",
    "LIVE_IMPORTS": """\
import android.Manifest.permission.RECORD_AUDIO
""",
    "LIVE_PACKAGES": """\
import android.content.pm.PackageManager
""",
    "LIVE_ROWS": """\
| `__CLASS__Stream.kt` | runs the stream step after step; made for this very file |
| `Live.kt` | from the microphone through the stream to the headphones |
""",
    "PERMISSIONS": """\
    <uses-permission android:name="android.permission.RECORD_AUDIO" />
""",
}


_MEASURE = """\
            separator.measure { sound, index, most ->
                mixture.read(at, sound, index, most).also { at += it }
            }
            at = 0
"""


def main(arguments: list[str] | None = None) -> int:
    return programs.run("android", project, parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """What the program's words mean: those of `export.mobile`, and one precision."""
    parser = argparse.ArgumentParser(
        prog="python -m export.android", description=__doc__.split("\n")[0],
        parents=[mobile.parser()], conflict_handler="resolve",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, required=True,
        help="The project is written to OUT/NAME_android.",
    )  # fmt: skip
    parser.add_argument(
        "--precision", default="fp16", choices=["fp32", "fp16", "int8"],
        help="Storage of the weights; by default %(default)s.",
    )  # fmt: skip
    return parser


def project(options: argparse.Namespace) -> Iterator[str]:
    """Write the project; yields what is to be said on the way.

    Raises ValueError as `mobile.bundle` does and for a model that hears no sound, FileExistsError
    without --overwrite; whatever it raises, OUT is as it was.
    """
    from kzoo import presets
    from kzoo.deploy.placing import beside, move

    preset = presets.open_preset(options.preset)
    target = options.out / f"{preset.card['name']}_android"
    if preset.task != "separation":
        raise ValueError(f"{preset} is for {preset.task}; there are projects for separation")
    if options.condition:
        raise ValueError("the screen of the project has the stems of a file that gives all of them")
    if target.exists() and not options.overwrite:
        raise FileExistsError(f"{target}: is there already; --overwrite it or name another folder")
    with beside(target) as scratch:
        bundle = argparse.Namespace(**vars(options))
        bundle.out, bundle.precision = scratch / "bundle", [options.precision]
        yield from (line for line in mobile.bundle(bundle) if not line.endswith(": complete"))
        folder = scratch / target.name
        write(bundle.out / preset.card["name"], folder)
        move(folder, target, scratch)
    yield f"{target}: complete, and not built here: open it in Android Studio"


def write(bundle: Path, folder: Path) -> None:
    """Write the project of a bundle of `export.mobile` of one precision to `folder`."""
    [path] = bundle.glob("*.json")
    card = json.loads(path.read_text(encoding="utf-8"))
    file = path.with_suffix(".tflite").name
    words = _words(card, file)
    assets, kotlin = folder / _SOURCES / "assets", folder / _KOTLIN
    assets.mkdir(parents=True)
    kotlin.mkdir(parents=True)
    for template in _TEMPLATES.iterdir():
        if template.name == "Live.kt" and "stream" not in card:
            continue
        place = folder / _PLACES.get(template.name, _KOTLIN / template.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(_filled(template.read_text(encoding="utf-8"), words), encoding="utf-8")
    for source in (bundle / "kotlin").iterdir():
        shutil.copyfile(source, kotlin / source.name)
    for name in (file, *([card["stream"]["file"]] if "stream" in card else [])):
        shutil.copyfile(bundle / name, assets / name)
    shutil.copyfile(bundle / "LICENCES.txt", folder / "LICENCES.txt")


def _words(card: Mapping[str, Any], file: str) -> dict[str, str]:
    """What stands for each word of the templates; those of later ones may be in earlier ones."""
    streams = "stream" in card
    return {
        **{word: text if streams else "" for word, text in _LIVE.items()},
        "MEASURE": _MEASURE if app_classes.measures(card) else "",
        "STREAM": card["stream"]["file"] if streams else "",
        "LIVE_OUTPUT": card["sources"][0],
        "FILES": file,
        "FILE": file,
        "SUMMARY": " ".join(card.get("summary", "a model of kzoo").split()),
        "APPLICATION": card["name"],
        "CLASS": app_classes.class_name(card),
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"__{word}__", value)
    return text


if __name__ == "__main__":
    sys.exit(main())
