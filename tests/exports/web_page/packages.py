"""Stand-ins for the npm package onnxruntime-web, as a folder and as npm packs it; and the package itself, if it is here."""

import json
import tarfile
from pathlib import Path

import pytest

from allmlp.exports.web_page.onnxruntime_web import PACKAGE, TESTED_VERSION

__all__ = ["FILES", "PACKAGE_FOLDER", "needs_package", "pack", "write_package"]

PACKAGE_FOLDER = Path(__file__).parents[3] / "node_modules" / PACKAGE
needs_package = pytest.mark.skipif(
    not PACKAGE_FOLDER.is_dir(), reason=f"no node_modules: npm install --no-save {PACKAGE}@{TESTED_VERSION}"
)

FILES = {"dist/ort.wasm.bundle.min.mjs": b"// script", "dist/ort-wasm-simd-threaded.wasm": b"\0asm"}


def write_package(folder: Path, *, name: object = PACKAGE, version: object = "0.1.2", without: str = "") -> Path:
    """Write a package with files that are too short to work, and with others that no page needs."""
    files = {**FILES, "dist/ort.webgpu.bundle.min.mjs": b"// not needed", "README.md": b"# not needed"}
    files["package.json"] = json.dumps({"name": name, "version": version}).encode()
    for path, content in files.items():
        if path != without:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
    return folder


def pack(folder: Path, path: Path, *, root: str = "package") -> Path:
    """Pack a folder as `npm pack` does."""
    with tarfile.open(path, "w:gz") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.add(file, f"{root}/{file.relative_to(folder).as_posix()}")
    return path
