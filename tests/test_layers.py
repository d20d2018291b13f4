"""Imports point one way, and sub-packages use each other's public names only (ARCHITECTURE.md)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "allmlp"

# From the top down. A layer may import those below it, and not its neighbours in the same line.
LAYERS = (
    ("cli",),
    ("recipes",),
    ("training",),
    ("report",),
    ("evaluation",),
    ("inference",),
    ("metrics",),
    ("checkpoints",),
    ("model", "data"),
    ("provenance", "runs"),
    ("config", "hardware"),
    ("io",),
    ("errors",),
)
# Folders of independent modules, each of which is imported by its own name: `allmlp.io.atomic_write`.
TOOLBOXES = ("io", "hardware", "runs")
HEIGHT = {name: -number for number, names in enumerate(LAYERS) for name in names}

# `allmlp` itself hands out names of every layer, when asked; inside the package it stands for its version only.
ROOT_NAMES = {"__version__"}


def problems_in(source: str, *, module: str, public: dict[str, set[str]]) -> list[str]:
    """Return what is wrong with the imports of `source`, the module "data/decode.py" or "files.py" of the package."""
    home = Path(module).parts[0].removesuffix(".py")
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            prefix = "allmlp" if node.level else ""
            if node.level:
                found.append(f"{module}:{node.lineno}: a relative import; write the package's name")
            targets = [(node.module or prefix, alias.name) for alias in node.names]
        else:
            continue
        found += [
            f"{module}:{node.lineno}: {problem}"
            for target, name in targets
            if (problem := _problem(home, target, name, public))
        ]
    return found


def _problem(home: str, target: str, name: str | None, public: dict[str, set[str]]) -> str:
    first, _, rest = target.partition(".")
    if first != "allmlp":
        return ""
    if not rest and name in public:  # `from allmlp import data`
        rest, name = name, None
    if not rest:
        return "" if name in ROOT_NAMES or name is None else f"{name} comes from allmlp itself; import it from its home"
    other, _, inner = rest.partition(".")
    if other == home:
        return ""
    if other not in HEIGHT or home not in HEIGHT:
        return f"{other if other not in HEIGHT else home} has no place in LAYERS"
    if HEIGHT[other] >= HEIGHT[home]:
        return f"{home} imports {other}, which is not below it"
    if other in TOOLBOXES and inner:
        other, inner = f"{other}.{inner}", ""
    if inner:
        return f"{target} is inside another sub-package; import the name from allmlp.{other}"
    if name is not None and name not in public.get(other, set()):
        return f"{name} is not a public name of allmlp.{other}"
    return ""


def modules() -> dict[str, str]:
    """Return the source of every module below the package's root, by relative path."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not path.name.startswith("__"))
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def public_names() -> dict[str, set[str]]:
    """Return `__all__` of every sub-package and module directly below the package's root."""
    homes = {path.parent.name: path for path in PACKAGE.glob("*/__init__.py")}
    homes |= {path.stem: path for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    for name in TOOLBOXES:
        homes |= {f"{name}.{path.stem}": path for path in (PACKAGE / name).glob("[!_]*.py")}
    return {name: _all_of(path.read_text(encoding="utf-8")) for name, path in homes.items()}


def _all_of(source: str) -> set[str]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def test_imports_point_down_and_at_public_names():
    public = public_names()
    found = [
        problem for module, source in modules().items() for problem in problems_in(source, module=module, public=public)
    ]
    assert not found, "\n" + "\n".join(found)


def test_the_check_sees_the_whole_package():
    assert {"cli/main.py", "data/decoding/decode.py", "model/mixer.py", "errors.py"} <= set(modules())
    assert len(modules()) > 40
    assert {"MlpMixer", "create"} <= public_names()["model"]


def test_every_part_of_the_package_has_a_place():
    assert {module.partition("/")[0].removesuffix(".py") for module in modules()} <= set(HEIGHT)


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("data/x.py", "from allmlp.training import train", "training, which is not below"),
        ("data/x.py", "def f():\n    from allmlp.cli.main import main", "cli, which is not below"),
        ("model/x.py", "from allmlp.data import decode", "data, which is not below"),
        ("model/x.py", "from allmlp import data", "data, which is not below"),
        ("io/x.py", "import allmlp.config", "config, which is not below"),
        ("cli/x.py", "from allmlp.io.atomic_write import _private", "not a public name"),
        ("cli/x.py", "from allmlp.io import anything", "not a public name"),
        ("cli/x.py", "from allmlp.data.decoding.decode import decode", "inside another sub-package"),
        ("cli/x.py", "import allmlp.data.decoding.decode", "inside another sub-package"),
        ("cli/x.py", "from allmlp.data import _private", "not a public name"),
        ("cli/x.py", "from allmlp import Predictor", "from its home"),
        ("cli/x.py", "from .console import note", "relative import"),
        ("utils/x.py", "from allmlp.data import decode", "no place"),
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
    assert problems_in(source, module="cli/x.py", public=public_names()) == []
