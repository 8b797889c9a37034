"""What the verbs of the command line do, once their words have been parsed."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo import audio, presets
from kzoo.deploy import request
from kzoo.stem_files import OutputOptions, Report, enhancement, selection, separate_file
from kzoo.terminal import OUR_ERRORS, bar, one_line, quiet_tensorflow, say

EXTRAS = {
    "ai_edge_litert": ("tflite", "run and prove TFLite exports"),
    "matplotlib": ("plot", "draw the pictures of demo, pitch and transfer"),
    "museval": ("eval", "compare scores with museval's"),
    "musdb": ("eval", "read MUSDB18"),
    "pesq": ("speech", "score speech by PESQ, CSIG, CBAK and COVL"),
    "pystoi": ("speech", "score speech by STOI"),
    "onnxruntime": ("speech", "score speech by DNSMOS"),
    "tensorboard": ("train", "show what kzoo train logs"),
    "stempeg": ("eval", "a real song with its stems, for exports and the demo"),
    "librosa": ("librosa", "pYIN, kzoo pitch without weights"),
    "tensorflow_io": ("tfio", "spectrogram masking and fades"),
}


def separate_files(
    files: Sequence[str],
    *,
    preset: str,
    out: str,
    two_stems: str | None,
    only: str | None,
    output: OutputOptions,
    start_seconds: float,
    duration_seconds: float | None,
    show: bool,
    options: Mapping[str, Any],
) -> None:
    """Separate `files` with one build of the model; a bad file does not lose the others.

    Everything that can be refused is refused before TensorFlow is loaded. Raises SystemExit(1)
    after the last file when any of them failed.
    """
    card = presets.load_card(preset)
    presets.refuse_untrained(preset, card)
    stems = selection(presets.sources(preset, card), two_stems=two_stems, only=only)
    if out == "-" and (len(files) != 1 or len(stems) != 1):
        raise ValueError("stdout takes one stem of one recording: name it with --only")
    _each_file(
        files, preset=preset, out=out, stems=stems, place=lambda track, stem: f"{track}/{stem}",
        output=output, start_seconds=start_seconds, duration_seconds=duration_seconds, show=show,
        options=options,
    )  # fmt: skip


def enhance_files(
    files: Sequence[str],
    *,
    preset: str | None,
    out: str,
    noise: bool,
    output: OutputOptions,
    start_seconds: float,
    duration_seconds: float | None,
    show: bool,
    options: Mapping[str, Any],
) -> None:
    """Write the speech of `files` to OUT/<track>; with `noise` the rest to OUT/noise/<track>.

    The rules are those of `separate_files`.
    """
    preset, card = presets.enhancer(preset)
    presets.refuse_untrained(preset, card)
    if out == "-" and (len(files) != 1 or noise):
        raise ValueError("stdout takes one recording, and no --noise")
    places = {"speech": "", "noise": "noise/"}
    stems = enhancement(presets.sources(preset, card), noise=noise)
    _each_file(
        files, preset=str(preset), out=out, stems=stems,
        place=lambda track, stem: places[stem] + track, output=output, start_seconds=start_seconds,
        duration_seconds=duration_seconds, show=show, options=options,
        bandwidth_hz=card["sample_rate"] / 2,
    )  # fmt: skip


def fetch(name: str, *, show: bool) -> Path:
    """Make sure that a preset's weights are here, with a progress bar where they must come."""
    if (here := presets.weights_path(name)) is not None:
        return here
    presets.load_card(name)
    quiet_tensorflow()
    with bar(f"fetching {name}", unit="bytes", show=show) as progress:
        return presets.download(name, progress=progress)


def export_preset(
    preset: str,
    to: str,
    out: Path,
    *,
    precision: str,
    block_seconds: float | None,
    sound: Path | None,
    allow_flex: bool,
    overwrite: bool,
    show: bool,
) -> None:
    """Export a preset and print its card's main lines; what can be refused is so at once."""
    card = presets.load_card(preset)
    if card.get("task") != "synthesis":
        presets.sources(preset, card)
    request.check(to, precision=precision, block_seconds=block_seconds, allow_flex=allow_flex)
    request.places(to, out, name=card["name"], precision=precision, overwrite=overwrite)
    presets.refuse_untrained(preset, card)
    if sound is not None:
        audio.info(sound)
    fetch(preset, show=show)
    quiet_tensorflow()
    from kzoo import api

    card = api.export(
        preset, to, out, precision=precision, block_seconds=block_seconds, sound=sound,
        allow_flex=allow_flex, overwrite=overwrite,
    )  # fmt: skip
    if show:
        for line in _export_lines(card):
            print(line)


def describe_installation() -> list[str]:
    """Versions of what kzoo needs, the state of its extras, and where it keeps things."""
    lines = [f"python {sys.version.split()[0]}"]
    for package in ("kzoo", "tensorflow", "keras", "numpy", "scipy", "soundfile", "soxr", "av"):
        try:
            lines.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            lines.append(f"{package} MISSING: pip install kzoo")
    for module, (extra, use) in EXTRAS.items():
        found = importlib.util.find_spec(module) is not None
        way = "" if found else f" - pip install 'kzoo[{extra}]'"
        lines.append(f"{module} {'present' if found else 'absent'}: {use}{way}")
    if shutil.which("ffmpeg") is None:
        lines.append("no ffmpeg on PATH: kzoo needs none; musdb, museval and stempeg do")
    lines.append(f"cache {presets.cache_folder()}")
    return lines


def _each_file(
    files: Sequence[str],
    *,
    preset: str,
    out: str,
    stems: Mapping[str, Sequence[int] | None],
    place: Callable[[str, str], str],
    output: OutputOptions,
    start_seconds: float,
    duration_seconds: float | None,
    show: bool,
    options: Mapping[str, Any],
    bandwidth_hz: float | None = None,
) -> None:
    """The stems of each file to OUT/<place(track, stem)>; SystemExit(1) where any has failed.

    bandwidth_hz: above it nothing is left, which is said of recordings that have more.
    """
    to_stdout = out == "-"
    with tempfile.TemporaryDirectory(prefix="kzoo.") as spool:
        folder = Path(spool) / "out" if to_stdout else Path(out)
        recordings = {track: path for path, track in _tracks(files, Path(spool)).items()}
        jobs, failed = {}, 0
        for track, path in recordings.items():
            targets = {name: folder / f"{place(track, name)}.{output.format}" for name in stems}
            try:
                _refuse_early(path, targets, output)
            except OUR_ERRORS as error:
                say(f"kzoo: {one_line(error)}")
                failed += 1
            else:
                jobs[path] = targets
        if jobs:
            separator = _separator(preset, show=show, options=options)
            for note in separator.notes:
                say(f"kzoo: {note}")
        for path, targets in jobs.items():
            label = path.name if path.parent != Path(spool) else "stdin"
            try:
                with bar(label, unit="seconds", show=show) as progress:
                    report = separate_file(
                        separator, path, targets, stems=stems, output=output,
                        start_seconds=start_seconds, duration_seconds=duration_seconds,
                        progress=progress,
                    )  # fmt: skip
            except OUR_ERRORS as error:
                say(f"kzoo: {one_line(error)}")
                failed += 1
                continue
            if bandwidth_hz is not None and audio.info(path).sample_rate / 2 > bandwidth_hz:
                report.notes.append(f"nothing is left above {bandwidth_hz:g} Hz by this preset")
            _tell(label, report, show=show and not to_stdout)
            if to_stdout:
                with open(next(iter(targets.values())), "rb") as file:
                    shutil.copyfileobj(file, sys.stdout.buffer)
    if failed:
        raise SystemExit(1)


def _export_lines(card: Mapping[str, Any]) -> list[str]:
    block = card["block_samples"]
    length = f"{block} samples ({block / card['sample_rate']:.2f} s)" if block else "any length"
    lines = [
        f"{card['path']}: {card['bytes'] / 1e6:.1f} MB, {card['precision']}, {length} "
        f"at {card['sample_rate']} Hz, {card['channels']} channels",
        f"compared with {card['parity']['against']} on {card['parity']['sound']}:",
    ]
    if card["parity"]["not_compared"]:
        lines[1] = f"NOT compared with Keras: {card['parity']['not_compared']}"
    for source, found in card["parity"]["sources"].items():
        snr = "equal" if found["snr_db"] is None else f"{found['snr_db']:.1f} dB"
        lines.append(f"  {source:16} {snr:>9}   max {found['max_abs_difference']:.1e}")
    if "operators" in card:
        names = ", ".join(f"{name} x{count}" for name, count in card["operators"].items())
        lines.append(f"operators: {names}")
    return lines


def _tracks(files: Sequence[str], spool: Path) -> dict[Path, str]:
    """Path to track name; stdin is written down first, since containers are read back and forth."""
    tracks: dict[Path, str] = {}
    for file in files:
        if file == "-":
            path, track = spool / "stdin", "stdin"
            if path not in tracks:
                with open(path, "wb") as copy:
                    shutil.copyfileobj(sys.stdin.buffer, copy)
        else:
            path = Path(file)
            track = path.name.removesuffix(path.suffix).removesuffix(".stem") or path.name
        if track in tracks.values():
            raise ValueError(f"two recordings are called {track!r}; write them to two folders")
        tracks[path] = track
    return tracks


def _refuse_early(path: Path, targets: Mapping[str, Path], output: OutputOptions) -> None:
    info = audio.info(path)
    for target in targets.values():
        if target.exists() and target.samefile(path):
            raise audio.AudioError(f"{target}: is the recording itself; name another folder by -o")
        if target.exists() and not output.overwrite:
            raise audio.AudioError(f"{target}: exists already; --overwrite replaces it")
        audio.check_writable(
            target, info.sample_rate, info.channels, bit_depth=output.bit_depth, clip=output.clip
        )


def _separator(preset: str, *, show: bool, options: Mapping[str, Any]):
    fetch(preset, show=show)
    quiet_tensorflow()
    from kzoo import api

    return api.Separator.from_preset(preset, **options)


def _tell(label: str, report: Report, *, show: bool) -> None:
    for note in report.notes:
        say(f"{label}: {note}")
    if show:
        folder = next(iter(report.files.values())).parent
        names = " ".join(str(path.relative_to(folder)) for path in report.files.values())
        say(f"{label}: {report.seconds:.1f} s -> {folder}: {names}")
