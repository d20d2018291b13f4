"""The size and the signposts of every room: files, folders, and what an `__init__` says (CONTRIBUTING.md)."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "allmlp"
FOLDERS = sorted({path.parent for path in PACKAGE.rglob("*.py")})
MAX_LINES = 320
MAX_FILES = 14


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE.parent).as_posix()


def test_no_file_is_too_long():
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_no_folder_holds_too_many_files():
    counts = {relative(folder): sum(path.is_file() for path in folder.iterdir()) for folder in FOLDERS}
    assert not {name: count for name, count in counts.items() if count > MAX_FILES}


@pytest.mark.parametrize("folder", FOLDERS, ids=relative)
def test_every_folder_says_what_it_is_for(folder: Path):
    """In about five lines: what is here, what may be touched and what not, where a new one goes."""
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert docstring
    if folder == PACKAGE:
        return
    assert 4 <= len(docstring.splitlines()) <= 9
    for word in ("Safe to change:", "Invariants:", "To add one:"):
        assert f"\n{word} " in docstring, word


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=relative)
def test_every_module_begins_with_what_it_contains(path: Path):
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "a module without a docstring"
    assert docstring.splitlines()[0].rstrip()[-1] in ".:", "the first line is a phrase of its own"
