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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import charts
import docstrings
import errors
import preset_pages
import trainings
import variations
from markdown_tables import code, table

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
        "presets/index.md": preset_pages.index(),
        "api/index.md": short_way_in(),
        "trainings.md": trainings.page(),
    }
    for name in presets.list_presets():
        made[f"presets/{name}.md"] = preset_pages.page(presets.load_card(name))
    for name in PACKAGES:
        made[f"api/{name}.md"] = package(f"kzoo.{name}")
    return made


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
