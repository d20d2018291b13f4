"""What a wheel carries: every file of the package that is not Python is package data in pyproject.toml."""

import fnmatch
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_data_file_of_the_package_is_declared():
    package = ROOT / "src" / "allmlp"
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    patterns = tool["setuptools"]["package-data"]["allmlp"]
    files = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert "data/public/class_lists/imagenet_synsets.txt" in files
    undeclared = [
        file
        for file in files
        if not any(fnmatch.fnmatch(file, pattern) and file.count("/") == pattern.count("/") for pattern in patterns)
    ]
    assert not undeclared
    assert all(any(fnmatch.fnmatch(file, pattern) for file in files) for pattern in patterns)
