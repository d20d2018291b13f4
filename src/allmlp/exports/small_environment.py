"""Small environments: what runs an export without PyTorch, as requirements files of pip."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

from allmlp.io.atomic_write import write_bytes

__all__ = ["ENGINES", "requirements", "requirements_in_checkout", "write_requirements"]

ENGINES: Mapping[str, str] = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "ai-edge-litert"}
"""By format of export: the package of its small environment, whose file is requirements/PACKAGE.txt. torch has none."""


def requirements(to: str) -> bytes:
    """Return the requirements file for exports of a format: the complete list of packages, in the tested versions."""
    file = importlib.resources.files("allmlp.exports") / "requirements" / f"{ENGINES[to]}.txt"
    return file.read_bytes()


def requirements_in_checkout(to: str) -> str:
    """Return the path of the requirements file for exports of a format in a checkout of allmlp."""
    return f"src/allmlp/exports/requirements/{ENGINES[to]}.txt"


def write_requirements(to: str, path: Path) -> None:
    """Write the requirements file for exports of a format to a new file.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, requirements(to))
