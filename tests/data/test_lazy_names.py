"""The names of `allmlp.data` are loaded on first use: a prediction loads few of its modules."""

import ast
import subprocess
import sys
from pathlib import Path

import allmlp.data


def test_the_names_are_those_that_type_checkers_see():
    tree = ast.parse(Path(allmlp.data.__file__).read_text(encoding="utf-8"))
    imports = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("allmlp.")
    ]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    assert seen == allmlp.data._HOMES
    assert set(allmlp.data.__all__) == set(seen)


def test_no_module_has_the_name_of_a_lazy_one():
    """Python would put the module in the place of a function when it is loaded."""
    folder = Path(allmlp.data.__file__).parent
    assert not {path.stem for path in folder.iterdir()} & set(allmlp.data.__all__)


def test_reading_a_photo_loads_no_data_sets():
    code = "import sys; from allmlp.data import Preprocessing, decode; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    parts = {".".join(name.split(".")[:3]) for name in run.stdout.split() if name.startswith("allmlp.data.")}
    assert parts <= {f"allmlp.data.{part}" for part in ("decoding", "laws", "preprocessing", "resizing")}, parts
