"""Kotlin and Swift for the very files of a bundle: their names, shapes, blocks and joins.

    out/spleeter_2stems/
        kotlin/Spleeter2stems.kt          for org.tensorflow.lite.Interpreter (LiteRT)
        swift/Spleeter2stems.swift        for the pod TensorFlowLiteSwift

Of a model that streams NAMEStream.kt and .swift too, whose class runs the stream's file. The files
of `templates` are what they are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_TEMPLATES = Path(__file__).parent / "templates"
_LANGUAGES = {"kotlin": "kt", "swift": "swift"}
_SINE = {
    "kotlin": """\
        val sine = Math.sin(0.5 * Math.PI * (it + 0.5) / OVERLAP)
        (sine * sine).toFloat()
""",
    "swift": """\
            let sine = sin(0.5 * Double.pi * (Double(index) + 0.5) / Double(Self.overlap))
            return Float(sine * sine)
""",
}
_LINEAR = {
    "kotlin": """\
        (it + 1f) / (OVERLAP + 1)
""",
    "swift": """\
            return Float(index + 1) / Float(Self.overlap + 1)
""",
}
# Of a file whose recordings are scaled as a whole, which `measure` hears before `separate`.
_SCALE = {
    "CHECK": {
        "kotlin": """\
        check(measured) { "measure the recording first" }
        measured = false // the next one has another level
""",
        "swift": """\
        guard measured else { throw NotMeasured() }
        measured = false  // the next one has another level
""",
    },
    "IN": {
        "kotlin": """\
            for (i in at until at + count) heard[i] = (heard[i] - mean) / deviation
""",
        "swift": ".map { ($0 - mean) / deviation }",
    },
    "OUT": {
        "kotlin": """\
                for (i in stem.indices) stem[i] = stem[i] * deviation + mean
""",
        "swift": ".map { $0 * deviation + mean }",
    },
}
_STANDARDISE = {
    "FIELDS": {
        "kotlin": """\
    private var mean = 0f
    private var deviation = 1f
    private var measured = false
""",
        "swift": """\
    private var mean: Float = 0
    private var deviation: Float = 1
    private var measured = false
""",
    },
}
_LEVEL = {
    "CONSTANTS": {
        "kotlin": """\
        /** The level that recordings are made for, in dB below full scale. */
        const val LEVEL_DB = __LEVEL_DB__
""",
        "swift": """\
    /// The level that recordings are made for, in dB below full scale.
    public static let levelDb = __LEVEL_DB__
""",
    },
    "FIELDS": {
        "kotlin": """\
    private val mean = 0f
    private var deviation = 1f
    private var measured = false
    private var loud = true
""",
        "swift": """\
    private let mean: Float = 0
    private var deviation: Float = 1
    private var measured = false
    private var loud = true
""",
    },
    "QUIET": {
        "kotlin": """\
            val window = (PAST - early) * CHANNELS until (PAST + here) * CHANNELS
            if (!loud || window.all { heard[it] == 0f }) {
                for (stem in stems.values) stem.fill(0f) // a network may say something in silence
            }
""",
        "swift": """\
            if !loud || input.allSatisfy({ $0 == 0 }) {  // a network may say something in silence
                found = found.map { [Float](repeating: 0, count: $0.count) }
            }
""",
    },
}
_ORDER_CALL = {
    "kotlin": """\
            if (!first) putInOrder(stems.values.toList(), tails.values.toList())
""",
    "swift": """\
            if !tails.isEmpty {
                found = inOrder(found, after: Self.outputs.map { tails[$0]! })
            }
""",
}


def write(cards: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Write the classes of the bundle `folder`, which its cards describe; returns their names.

    A synthesiser has the class of its stream alone.
    """
    files = {}
    if "sources" in cards[0]:
        names = [Path(card["path"]).name for card in cards]
        files[class_name(cards[0])] = "separator", _separator(cards[0], names)
    if "stream" in cards[0]:
        stream = folder / cards[0]["stream"]["file"]
        files[f"{class_name(cards[0])}Stream"] = "stream", _stream(cards[0], stream)
    written = []
    for language, suffix in _LANGUAGES.items():
        (folder / language).mkdir(exist_ok=True)
        for name, (template, numbers) in files.items():
            text = (_TEMPLATES / f"{template}.{suffix}").read_text(encoding="utf-8")
            for key, value in {**numbers, "CLASS": name}.items():
                value = value.get(language, "") if isinstance(value, dict) else value
                text = text.replace(f"__{key}__", str(value))
            path = folder / language / f"{name}.{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path.relative_to(folder).as_posix())
    return f"classes for apps: {', '.join(written)}"


def class_name(card: Mapping[str, Any]) -> str:
    """The name of the class of a card's file, such as "Spleeter2stems" of "spleeter_2stems"."""
    return "".join(word[:1].upper() + word[1:] for word in card["name"].split("_"))


def measures(card: Mapping[str, Any]) -> bool:
    """Whether the class of a separator hears a recording before it separates it, by `measure`."""
    return "level_db" in card or card.get("joining", {}).get("standardised", False)


def _common(card: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    licences = card.get("licences", {}).items()
    summary = " ".join(card.get("summary", "a model of kzoo").split())
    if "level_db" in card:
        summary += f"; made for recordings at {card['level_db']:g} dBFS"
    return {
        "VERSION": card["versions"]["kzoo"],
        "FILES": " and ".join(files),
        "SUMMARY": summary,
        "LICENCE": "; ".join(f"{what}: {licence}" for what, licence in licences) or "No licence.",
        "SAMPLE_RATE": card["sample_rate"],
        "CHANNELS": card["channels"],
    }


def _separator(card: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
    numbers = {
        **_common(card, files),
        "BLOCK": card["block_samples"],
        "OVERLAP": card["overlap_samples"],
        "OUTPUTS": _quoted(card["sources"]),
        "SIGNATURE": card["signature"],
        "INPUT": card["input"],
        "SWIFT_INPUTS": f'["{card["input"]}": data(waveform)]',
    }
    parts = {"CONDITION_CONSTANTS": "", "CONDITION_FIELDS": "", "CONDITION_METHODS": ""}
    if condition := card.get("condition"):
        names, asked = _quoted(condition["names"]), condition["input"]
        numbers["SWIFT_INPUTS"] = f'["{card["input"]}": data(waveform), "{asked}": data(shares)]'
        parts = {key: _conditioned(key, names, asked) for key in parts}
    return {**numbers, **parts, **_joined(card)}


def _joined(card: Mapping[str, Any]) -> dict[str, Any]:
    """How a class joins blocks, and scales recordings, as its card says.

    Raises ValueError for a `joining` that is not known here.
    """
    joining = card.get("joining", {})
    if unknown := set(joining) - {"linear", "centred", "standardised"}:
        raise ValueError(
            f"{card['name']}: its blocks are joined {', '.join(sorted(unknown))}, which classes "
            "for apps do not know"
        )
    scale = {}
    if "level_db" in card:
        scale = {**_SCALE, **_LEVEL, "METHODS": _part("level")}
    elif joining.get("standardised"):
        scale = {**_SCALE, **_STANDARDISE, "METHODS": _part("standardise")}
    ordered = card.get("interchangeable", False)
    keys = ("CONSTANTS", "FIELDS", "METHODS", "CHECK", "IN", "OUT", "QUIET")
    return {
        "PAST": card["block_samples"] // 2 if joining.get("centred") else 0,
        # What has a joining begins a block at every hop, even behind one that hears the end.
        "LAST": {"kotlin": "HOP", "swift": "Self.hop"}
        if joining
        else {"kotlin": "BLOCK", "swift": "Self.block"},
        "FADE": _LINEAR if joining.get("linear") else _SINE,
        "FOUND": {"swift": "var" if ordered or "level_db" in card else "let"},
        **{f"SCALE_{key}": scale.get(key, "") for key in keys},
        "LEVEL_DB": float(card.get("level_db", 0)),
        "ORDER_CALL": _ORDER_CALL if ordered else "",
        "ORDER_METHODS": _part("order") if ordered else "",
    }


def _part(name: str) -> dict[str, str]:
    """{language: a part of the templates}."""
    return {
        language: (_TEMPLATES / "parts" / f"{name}.{suffix}").read_text(encoding="utf-8")
        for language, suffix in _LANGUAGES.items()
    }


def _conditioned(part: str, names: str, asked: str) -> dict[str, str]:
    """{language: what the class of a file with a condition has more}."""
    texts = {
        "CONDITION_CONSTANTS": {
            "kotlin": f"""\
        /** What the network can be asked for. */
        val CONDITIONS = listOf({names})
""",
            "swift": f"""\
    /// What the network can be asked for.
    public static let conditions = [{names}]
""",
        },
        "CONDITION_FIELDS": {
            "kotlin": f"""\
    private val asked = floats(CONDITIONS.size).also {{ inputs["{asked}"] = it }}
""",
            "swift": """\
    private var shares = [Float](repeating: 0, count: __CLASS__.conditions.count)
""",
        },
        "CONDITION_METHODS": {
            "kotlin": """
    /** Asks for [CONDITIONS], each by a share from 0 to 1: one is taken out, more are mixed. */
    fun ask(shares: Map<String, Float>) {
        require(CONDITIONS.containsAll(shares.keys)) {
            "asked for ${shares.keys}; this file knows $CONDITIONS"
        }
        asked.clear()
        for (name in CONDITIONS) asked.put(shares[name] ?: 0f)
    }
""",
            "swift": """
    /// Asks for `conditions`, each by a share from 0 to 1: one is taken out, more are mixed.
    public func ask(for wanted: [String: Float]) throws {
        guard Set(wanted.keys).isSubset(of: Self.conditions) else {
            throw ForeignFile(description: "asked for \\(wanted.keys), not \\(Self.conditions)")
        }
        shares = Self.conditions.map { wanted[$0] ?? 0 }
    }
""",
        },
    }
    return texts[part]


def _stream(card: Mapping[str, Any], path: Path) -> dict[str, Any]:
    from kzoo.deploy.interpreter import open_litert

    runner = open_litert(path, threads=1).get_signature_runner("step")
    sizes = {
        key: {name: int(detail["shape"].prod()) for name, detail in sorted(details.items())}
        for key, details in (
            ("INPUT_SIZES", runner.get_input_details()),
            ("OUTPUT_SIZES", runner.get_output_details()),
        )
    }
    inputs = {name: _camel(name) for name in sizes["INPUT_SIZES"]}
    stream = card["stream"]
    return {
        **_common(card, [path.name]),
        "HOP": stream["frames"] * stream["hop_length"],
        "DELAY": stream["delay_samples"],
        **{
            key: ", ".join(f'"{name}" to {size}' for name, size in found.items())
            for key, found in sizes.items()
        },
        "OUTPUTS": _quoted(sizes["OUTPUT_SIZES"]),
        "SWIFT_PARAMETERS": ", ".join(f"{argument}: [Float]" for argument in inputs.values()),
        "PARAMETERS": ", ".join(f"{argument}: FloatArray" for argument in inputs.values()),
        "SWIFT_PAIRS": ", ".join(f'"{name}": data({arg})' for name, arg in inputs.items()),
        "PAIRS": ", ".join(f'"{name}" to {argument}' for name, argument in inputs.items()),
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
