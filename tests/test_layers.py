"""Imports point one way: between packages, between the sub-packages of one package, and in no circle (ARCHITECTURE.md)."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "allmlp"

# From the top down. A layer may import those below it, and not its neighbours in the same line.
LAYERS = (
    ("cli",),
    ("studies",),
    ("bench", "bulk", "serve"),
    ("recipes",),
    ("training",),
    ("report", "quantisation"),
    ("evaluation",),
    ("explanations",),
    ("inference",),
    ("exports",),
    ("checkpoints",),
    ("metrics",),
    ("model", "data"),
    ("provenance", "runs"),
    ("config", "hardware", "photo_page"),
    ("io",),
    ("errors",),
)
# Folders of independent modules, each of which is imported by its own name: `allmlp.io.atomic_write`.
TOOLBOXES = ("io", "hardware", "runs")

# The same inside packages that have sub-packages: the sub-packages and the modules next to them, from the top down.
INNER_LAYERS = {
    "checkpoints": (
        ("arrays", "publish"),
        ("load",),
        ("assumptions",),
        ("sources",),
        ("formats",),
        ("checkpoint", "naming"),
        ("containers", "description", "torch_module", "validation"),
        ("unknown_rule",),
    ),
    "cli": (
        ("main",),
        ("commands",),
        ("outputs",),
        ("processes", "training_request"),
        ("quality",),
        ("arguments", "progress"),
        ("console", "habits"),
    ),
    "data": (
        ("cleaning", "quality"),
        ("augmentation", "bad_photos", "label_sets", "opening", "unlabelled"),
        ("loading", "public"),
        ("sources",),
        ("content", "decoding", "preprocessing", "sampling"),
        ("laws", "resizing"),
        ("completeness",),
        ("folder_tree",),
        ("split_names",),
        ("digests",),
        ("dataset", "thumbnail"),
    ),
    "exports": (
        ("writing",),
        ("reading",),
        ("openvino_model", "web_page"),
        ("litert_model", "onnx_model", "torch_program"),
        ("integer_products", "metadata", "runtimes", "small_environment"),
    ),
    "inference": (
        ("embedder", "predictor"),
        ("opening", "photos", "speed"),
        ("backends", "photo_folder", "prediction", "sort_photos"),
        ("folder_names", "nearest", "runnable", "tuned"),
        ("engine_settings",),
    ),
    "studies": (
        ("run",),
        ("arm_files", "command", "full_scale", "opening", "page", "registry"),
        ("paper",),
        ("tasks",),
        ("table3",),
        ("study",),
        ("learning",),
        ("drawing", "folder", "frontier", "spreads"),
    ),
    "serve": (
        ("ray_deployment", "server"),
        ("application", "workers"),
        ("routes",),
        ("service",),
        ("answers", "batching", "http"),
        ("instruments", "models", "options", "page", "problems"),
    ),
    "report": (
        ("cleaning", "comparison", "page", "sheet", "weight_pictures"),
        ("context",),
        ("heat_maps",),
        ("advice", "galleries", "scores"),
        ("facts",),
        ("pictures",),
        ("plots",),
        ("rendering", "summary"),
        ("formatting",),
    ),
    "training": (
        ("several_runs",),
        ("loop",),
        ("finish", "progress_display", "setup", "tracking"),
        ("reporting", "session"),
        ("length",),
        ("validation",),
        ("cached_features",),
        ("input_pipeline",),
        ("step",),
        ("distributed",),
        ("run_folder", "stored_run"),
        ("progress", "recipe", "snapshots", "stop_signals"),
        ("loggers",),
    ),
}
HEIGHT = {name: -number for number, names in enumerate(LAYERS) for name in names}
INNER_HEIGHT = {
    package: {name: -number for number, names in enumerate(layers) for name in names}
    for package, layers in INNER_LAYERS.items()
}

# `allmlp` itself hands out names of every layer, when asked; inside the package it stands for its version only.
ROOT_NAMES = {"__version__"}


class Import(NamedTuple):
    """`from target import name`, or `import target` with name None."""

    line: int
    target: str
    name: str | None


def imports_in(source: str) -> Iterator[Import]:
    """Yield every import, those inside functions and for type checkers too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            target = "." * node.level + (node.module or "")
            yield from (Import(node.lineno, target, alias.name) for alias in node.names)


def problems_in(source: str, *, module: str, public: dict[str, set[str]]) -> list[str]:
    """Return what is wrong with the imports of `source`, the module "data/decoding/decode.py" or "config.py" of the package."""
    home = module.removesuffix(".py").removesuffix("/__init__").split("/")
    return [
        f"{module}:{line}: {problem}"
        for line, target, name in imports_in(source)
        if (problem := _problem(home, target, name, public))
    ]


def _problem(home: list[str], target: str, name: str | None, public: dict[str, set[str]]) -> str:
    if target.startswith("."):
        return "a relative import; write the package's name"
    first, _, rest = target.partition(".")
    if first != "allmlp":
        return ""
    if not rest and name in public:  # `from allmlp import data`
        rest, name = name, None
    if not rest:
        return "" if name in ROOT_NAMES or name is None else f"{name} comes from allmlp itself; import it from its home"
    other = rest.split(".")
    if other[0] == home[0]:
        return _inner_problem(home, other, name, public)
    if other[0] not in HEIGHT or home[0] not in HEIGHT:
        return f"{other[0] if other[0] not in HEIGHT else home[0]} has no place in LAYERS"
    if HEIGHT[other[0]] >= HEIGHT[home[0]]:
        return f"{home[0]} imports {other[0]}, which is not below it"
    if other[0] not in TOOLBOXES and len(other) > 1:
        return f"{target} is inside another package; import the name from allmlp.{other[0]}"
    if name is not None and name not in public.get(rest, set()):
        return f"{name} is not a public name of allmlp.{rest}"
    return ""


def _inner_problem(home: list[str], other: list[str], name: str | None, public: dict[str, set[str]]) -> str:
    """Return what is wrong with an import between two modules of one package."""
    package = home[0]
    if len(other) == 1 and f"{package}.{name}" in public:  # `from allmlp.report import plots`
        other, name = [package, str(name)], None
    if len(other) == 1:
        return f"{package} imports itself; import the name from the module that defines it"
    if home[:2] == other[:2] == ["cli", "commands"] and home != other:
        return "a sibling command; what commands share stands in cli/ or cli/arguments/"
    is_init = len(home) < 2  # a package's __init__ hands out what is in it
    if is_init or home[1] == other[1] or package not in INNER_HEIGHT:
        return ""
    heights = INNER_HEIGHT[package]
    for part in (home[1], other[1]):
        if part not in heights:
            return f"{package}/{part} has no place in INNER_LAYERS"
    if heights[other[1]] >= heights[home[1]]:
        return f"{package}/{home[1]} imports {package}/{other[1]}, which is not below it"
    path = ".".join(other)
    if name is not None and name not in public.get(path, set()) and f"{path}.{name}" not in public:
        return f"{name} is not in __all__ of allmlp.{path}"
    return ""


def modules() -> dict[str, str]:
    """Return the source of every module below the package's root, by relative path."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.name.startswith("__"))
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def public_names() -> dict[str, set[str]]:
    """Return `__all__` of every package and module below the package's root, by dotted path."""
    return {
        module.removesuffix(".py").removesuffix("/__init__").replace("/", "."): _all_of(source)
        for module, source in modules().items()
    }


def _all_of(source: str) -> set[str]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Return which modules each module imports, by dotted path, imports inside functions included.

    Imports for type checkers alone are left out: they run nowhere.
    """
    names = {module.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for module in sources}
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        own = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        found = graph.setdefault(own, set())
        for _, target, name in imports_in(_without_type_checking(source)):
            path = target.removeprefix("allmlp.")
            if target.startswith("allmlp.") and name is not None:
                found |= {candidate for candidate in (f"{path}.{name}",) if candidate in names} or {path} & names
            elif target.startswith("allmlp."):
                found |= {path} & names
        found.discard(own)
    return graph


def _without_type_checking(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle of imports, or an empty list."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            if circle := visit(target, [*path, module]):
                return circle
        done.add(module)
        return []

    return next((circle for module in sorted(graph) if (circle := visit(module, []))), [])


def test_imports_point_down_and_at_public_names():
    public = public_names()
    found = [
        problem for module, source in modules().items() for problem in problems_in(source, module=module, public=public)
    ]
    assert not found, "\n" + "\n".join(found)


def test_no_circle_of_imports():
    assert not circle_in(import_graph(modules()))


def test_a_circle_is_seen():
    sources = {
        "data/a.py": "from allmlp.data.b import x",
        "data/b.py": "def f():\n    from allmlp.data.c import y",
        "data/c.py": "from allmlp.data import a",
        "data/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from allmlp.data.e import z",
        "data/e.py": "from allmlp.data.d import w",
    }
    assert circle_in(import_graph(sources)) == ["data.a", "data.b", "data.c", "data.a"]
    del sources["data/a.py"]
    assert circle_in(import_graph(sources)) == []


def test_the_check_sees_the_whole_package():
    assert {"cli/main.py", "data/decoding/decode.py", "model/mixer.py", "errors.py"} <= set(modules())
    assert len(modules()) > 40
    assert {"MlpMixer", "create"} <= public_names()["model"]


def test_every_part_of_the_package_has_a_place():
    parts = [Path(module).with_suffix("").parts for module in modules()]
    assert {part[0] for part in parts} <= set(HEIGHT)
    packages = {part[0] for part in parts if len(part) > 2 and part[0] not in TOOLBOXES}
    assert packages == set(INNER_LAYERS)
    for package in packages:
        inner = {part[1] for part in parts if part[0] == package and len(part) > 1} - {"__init__"}
        assert inner == set(INNER_HEIGHT[package]), package


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("data/x.py", "from allmlp.training import train", "training, which is not below"),
        ("data/x.py", "def f():\n    from allmlp.cli.main import main", "cli, which is not below"),
        ("model/x.py", "from allmlp.data import decode", "data, which is not below"),
        ("model/x.py", "from allmlp import data", "data, which is not below"),
        ("io/x.py", "import allmlp.config", "config, which is not below"),
        ("cli/x.py", "from allmlp.data.decoding.decode import decode", "inside another package"),
        ("cli/x.py", "import allmlp.data.decoding.decode", "inside another package"),
        ("cli/x.py", "from allmlp.io.atomic_write import _private", "not a public name"),
        ("cli/x.py", "from allmlp.io import anything", "not a public name"),
        ("cli/x.py", "from allmlp.data import _private", "not a public name"),
        ("cli/x.py", "from allmlp import Predictor", "from its home"),
        ("cli/x.py", "from .console import note", "relative import"),
        ("utils/x.py", "from allmlp.data import decode", "no place"),
        ("data/decoding/x.py", "from allmlp.data import decode", "imports itself"),
        ("data/decoding/x.py", "from allmlp.data.sources.folder import list_folder", "sources, which is not below"),
        ("data/sources/x.py", "from allmlp.data.decoding.decode import _private", "not in __all__"),
        ("cli/commands/x.py", "from allmlp.cli.commands.train import train", "a sibling command"),
        ("data/news/x.py", "from allmlp.data.decoding.decode import decode", "no place in INNER_LAYERS"),
        (
            "checkpoints/containers/x.py",
            "from allmlp.checkpoints.naming.schemes import NAMING_SCHEMES",
            "naming, which is not below",
        ),
        ("cli/arguments/x.py", "from allmlp.cli.commands.train import train", "commands, which is not below"),
    ],
)
def test_a_wrong_import_is_seen(module, source, words):
    (problem, *_) = problems_in(source, module=module, public=public_names())
    assert words in problem


@pytest.mark.parametrize(
    "source",
    [
        "from allmlp.data import decode",
        "from allmlp.cli.console import note",
        "from allmlp.io.atomic_write import write_json",
        "from allmlp import __version__",
        "import allmlp",
        "import torch.nn",
        "from allmlp.errors import DataError",
    ],
)
def test_a_right_import_passes(source):
    assert problems_in(source, module="cli/commands/x.py", public=public_names()) == []
