"""Who may import whom: the table of the design, read off the source by its syntax trees."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Unit of kzoo -> the units below it that it may import, in functions too; `files`, which writes
# them whole or not at all, `hints`, which ends errors, and `extras` are everybody's.
MAY = {
    "audio": "",
    "config": "",
    "files": "",
    "hints": "",
    "extras": "",
    "dsp": "",
    "metrics": "",
    "models": "layers dsp config",  # config: options are named in a YAML
    "losses": "config dsp",  # config: a loss is named, with options, in a YAML
    "layers": "dsp",
    # config: a corpus is named, with options, in a YAML; batches: tracks are prepared by workers
    "data": "audio batches dsp config",
    "batches": "audio",
    "classical": "audio dsp separation",  # dsp: the grid on which blocks lie
    "convert": "models dsp",  # dsp: a filterbank that is a transform is known by it
    "deploy": "dsp audio metrics layers",  # layers: the names that the last one carries
    "presets": "convert models config",
    "separation": "audio dsp",  # dsp: the grid on which blocks lie
    "evaluation": "audio data metrics separation classical pages",
    # dsp: losses on spectra; layers: what an adversary asks of its networks
    # generation: what a file of a generator computes
    "tasks": "audio config data deploy dsp evaluation generation",
    # separation, engines: by which it scores; pictures: of its history
    "training": "config data losses models metrics presets dsp layers tasks separation engines "
    "pictures",
    # layers: loops for this processor; audio: the pieces of a recording
    "engines": "audio dsp layers models presets separation deploy",
    "pitch_tracking": "audio presets engines",
    "listening": "audio dsp presets engines",
    # data: the statistics that a synthesiser's card keeps of its corpus
    "synthesis": "audio data dsp presets engines pitch_tracking",
    # data: the reader of MIDI
    "generation": "audio config data dsp engines models presets synthesis",
    "pictures": "dsp listening pitch_tracking separation synthesis",
    "downloads": "presets",
    "web": "presets",
    "pages": "audio web",  # web: the style of its page
    "comparison": "audio data evaluation pages",
}
# May import everything, and nothing below may import them; `cli` has no importer at all.
TOP = {"api", "cli", "__init__"}
BACKENDS = {"tensorflow", "keras"}
# `layers.recurrent` imports it on that backend alone, and is Keras's layers on the others.
FOR_TENSORFLOW = {"layers/recurrent_loops.py"}


@functools.cache
def parsed(path):
    """The syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


@pytest.fixture(scope="module", autouse=True)
def trees_are_let_go():
    """What takes long to look through for garbage is not left to the tests that follow."""
    yield
    parsed.cache_clear()


def imports(tree):
    """(imported name with dots, line), lazy imports included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def on_import(tree):
    """What runs when the module is imported: function bodies and TYPE_CHECKING left out."""
    for node in tree.body:
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not isinstance(node, ast.FunctionDef) and not checking:
            yield node


def sources():
    """(path, unit of kzoo, syntax tree) of every module in the package."""
    for path in sorted((ROOT / "kzoo").rglob("*.py")):
        inside = path.relative_to(ROOT / "kzoo")
        yield inside, inside.parts[0].removesuffix(".py"), parsed(path)


def named_modules():
    """(dotted name, syntax tree) of every module but `kzoo` itself, and of the recipes."""
    for path in sorted([*(ROOT / "kzoo").rglob("*.py"), *(ROOT / "export").glob("*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts).removesuffix(".__init__")
        if name != "kzoo":  # everybody's, for its version: it imports nothing by itself
            yield name, parsed(path)


def targets(tree, modules):
    """The modules that a syntax tree imports, in functions and for type hints too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                name = full if full in modules else node.module
                yield from [name] if name in modules else []


def rings(imported):
    """Groups of modules of which each leads to all others (Tarjan, 1972)."""
    found, index, low, stack = [], {}, {}, []

    def visit(name):
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in imported[name]:
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            ring = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(ring) > 1:
                found.append(sorted(ring))

    for name in imported:
        if name not in index:
            visit(name)
    return found


UNITS = {
    path.relative_to(ROOT / "kzoo").parts[0].removesuffix(".py")
    for path in (ROOT / "kzoo").rglob("*.py")
}


def test_every_package_has_a_place_in_the_table():
    assert UNITS - TOP - set(MAY) == set()


def test_imports_go_down_the_table_only():
    wrong = []
    for path, unit, tree in sources():
        below = UNITS - {"cli"} if unit in TOP else set(MAY.get(unit, "").split())
        allowed = {unit, "extras", "files", "hints", *below}
        for name, line in imports(tree):
            head, _, rest = name.partition(".")
            imported = rest.partition(".")[0]
            relative = not head
            # `import kzoo`, for its version, is everybody's: it imports nothing by itself.
            above = head == "kzoo" and imported in UNITS and imported not in allowed
            if relative or above or head in ("export", "tests", "benchmarks"):
                wrong.append(f"kzoo/{path}:{line} imports {name}")
    assert wrong == []


def test_no_two_modules_import_each_other():
    """Nor do three in a ring, imports in functions included."""
    modules = {name: tree for name, tree in named_modules()}
    imported = {
        name: {module for module in targets(tree, modules) if module != name}
        for name, tree in modules.items()
    }
    assert rings(imported) == []


def test_no_module_bears_the_name_of_a_public_function():
    import kzoo

    # Importing kzoo.pitch.tracking, say, would make kzoo.pitch that package for good.
    assert not {unit for unit in UNITS if unit in kzoo.__all__}


def test_signal_processing_and_networks_know_keras_and_not_tensorflow():
    wrong = [
        f"kzoo/{path}:{line} imports {name}"
        for path, unit, tree in sources()
        if unit in ("dsp", "layers", "models", "losses") and path.as_posix() not in FOR_TENSORFLOW
        for name, line in imports(tree)
        if name.partition(".")[0] == "tensorflow"
    ]
    assert wrong == []


def test_files_scores_and_untrained_methods_are_imported_without_a_backend():
    wrong = [
        f"kzoo/{path}:{line} imports {name}"
        for path, unit, tree in sources()
        if unit in ("metrics", "classical", "audio", "config", "separation", "cli", "__init__")
        for node in on_import(tree)
        for name, line in imports(node)
        if name.partition(".")[0] in BACKENDS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "code",
    [
        "import kzoo, kzoo.api; kzoo.list_models(), kzoo.list_presets()",
        "import kzoo.metrics, kzoo.audio, kzoo.separation, kzoo.config",
        "from kzoo import cli; sys.argv = ['kzoo', '--help']\n"
        "try: cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code",
    ],
    ids=["kzoo", "ground", "help"],
)
def test_a_first_look_loads_no_backend(code):
    code = f"import sys\n{code}\nsys.exit(', '.join({BACKENDS} & set(sys.modules)) or 0)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr
    assert ("separate" in run.stdout) == ("cli" in code)  # the help has really been printed


def test_no_two_layers_are_registered_under_one_name():
    registered = [
        node.name
        for _, _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any("register_keras_serializable" in ast.dump(d) for d in node.decorator_list)
    ]
    assert len(registered) > 20
    assert sorted(registered) == sorted(set(registered))
