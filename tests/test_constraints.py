"""constraints.txt pins every package that allmlp and its extras reach."""

import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
    names = [canonicalize_name(pin.partition("==")[0]) for pin in pins]
    assert len(set(names)) == len(names)
    return set(names)


def reached(package: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> Iterator[str]:
    """Yield the names of all packages that an installed package needs here; those that are not installed are left out."""
    for text in importlib.metadata.requires(package) or []:
        need = Requirement(text)
        name, needed = canonicalize_name(need.name), frozenset(need.extras)
        if need.marker and not any(need.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            continue
        if (name, needed) in seen:
            continue
        seen.add((name, needed))
        try:
            importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        yield name
        yield from reached(name, needed, seen)


def test_every_package_that_an_installation_reaches_is_pinned():
    try:
        metadata = importlib.metadata.metadata("allmlp")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("allmlp is not installed")
    extras = frozenset(metadata.get_all("Provides-Extra") or [])
    names = set(reached("allmlp", extras, set())) - {"allmlp"}
    assert {"torch", "sympy", "markupsafe"} <= names  # the last two are needed by others
    assert names - pinned() == set()
