"""ONNX Runtime for browsers: what a page needs of the npm package onnxruntime-web, from its folder or its .tgz file."""

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allmlp.errors import ConfigError, MissingExtraError
from allmlp.io.display import escape, quote, shorten
from allmlp.io.path_problem import path_problem, path_text

__all__ = ["PACKAGE", "TESTED_VERSION", "BrowserRuntime", "read_browser_runtime"]

PACKAGE = "onnxruntime-web"
"""The name of the npm package."""

TESTED_VERSION = "1.30.0"
"""Its version in the tests, whose files are known by their digests."""

_MANIFEST = "package.json"
# Of the builds in the package, that for the CPU alone, and of these the one with its loader inside: no other file is fetched.
_SCRIPT, _WASM = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"
_NAMES: Mapping[str, str] = {
    _SCRIPT: "ort.wasm.bundle.min.js",  # not .mjs, which some web servers do not send as JavaScript
    _WASM: "ort-wasm-simd-threaded.wasm",
}
_TESTED_SHA256: Mapping[str, str] = {
    _SCRIPT: "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    _WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}

_INSTALLED = Path("node_modules") / PACKAGE  # where npm installs it
_GET = (
    f"Get it with: npm pack {PACKAGE}@{TESTED_VERSION}, and name the file: --runtime {PACKAGE}-{TESTED_VERSION}.tgz "
    "(runtime=... in Python)."
)
_MAX_FILE_BYTES = 256 << 20
_MAX_UNPACKED_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class BrowserRuntime:
    """ONNX Runtime for browsers.

    Attributes:
        version: of the npm package.
        files: the content of each file, by its name in the page's folder.
        remark: that another version was tested, for people; "" if it was this one.
    """

    version: str
    files: Mapping[str, bytes]
    remark: str


def read_browser_runtime(source: object = None) -> BrowserRuntime:
    """Read the npm package onnxruntime-web: a folder or a .tgz file; None means node_modules/onnxruntime-web.

    Raises:
        ConfigError: nothing at `source`, or it is another package, damaged, or changed.
        MissingExtraError: None, and the package is not in node_modules.
    """
    if source is None:
        if not _INSTALLED.is_dir():
            raise MissingExtraError(
                f"A page needs ONNX Runtime for browsers, the npm package {PACKAGE}, and there is no "
                f"{_INSTALLED.as_posix()} here. {_GET}"
            )
        path = _INSTALLED
    else:
        text = path_text(source)
        if text is None:
            raise ConfigError(f"runtime is {quote(source)}; expected a path.")
        path = Path(text)
    where = shorten(escape(path), 300)
    if (problem := path_problem(path)) or not path.exists():
        raise ConfigError(f"{where}: {problem or 'there is no such file or folder'}. {_GET}")
    try:
        contents = _of_folder(path) if path.is_dir() else _of_archive(path)
    except (tarfile.TarError, zlib.error, OSError, EOFError, ValueError) as error:
        what = shorten(escape(error), 200)
        raise ConfigError(
            f"{where}: could not be read as the npm package {PACKAGE}, a folder or a .tgz file ({what}). {_GET}"
        ) from error
    return _checked(contents, where)


def _of_folder(folder: Path) -> dict[str, bytes]:
    """Return the files that are needed, as far as they are there."""
    contents = {}
    for name in (_MANIFEST, *_NAMES):
        file = folder / name
        if file.is_file():
            _check_size(name, file.stat().st_size)
            contents[name] = file.read_bytes()
    return contents


def _of_archive(path: Path) -> dict[str, bytes]:
    """Return the files that are needed, as far as they are there; npm packs all files into a folder "package"."""
    wanted = {f"package/{name}": name for name in (_MANIFEST, *_NAMES)}
    contents: dict[str, bytes] = {}
    num_bytes = 0
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            num_bytes += member.size
            if num_bytes > _MAX_UNPACKED_BYTES:
                raise ValueError("it unpacks to over 2 GiB")
            name = wanted.get(member.name)
            if name is not None and (file := archive.extractfile(member)) is not None:
                _check_size(name, member.size)
                contents[name] = file.read()
            if len(contents) == len(wanted):
                break
    return contents


def _check_size(name: str, num_bytes: int) -> None:
    if num_bytes > _MAX_FILE_BYTES:
        raise ValueError(f"{name} has {num_bytes:,} bytes")


def _checked(contents: Mapping[str, bytes], where: str) -> BrowserRuntime:
    name, version = _identity(contents.get(_MANIFEST))
    if name != PACKAGE:
        found = f"it is {quote(name)}" if name else f"it has no {_MANIFEST} of a package"
        raise ConfigError(f"{where}: not the npm package {PACKAGE}: {found}. {_GET}")
    if missing := [file for file in _NAMES if file not in contents]:
        raise ConfigError(f"{where}: {PACKAGE} {version} lacks {' and '.join(missing)}. {_GET}")
    if version != TESTED_VERSION:
        remark = (
            f"This page has {PACKAGE} {version}; allmlp was tested with {TESTED_VERSION}. Try it before you share it."
        )
    else:
        remark = ""
        for file, expected in _TESTED_SHA256.items():
            if hashlib.sha256(contents[file]).hexdigest() != expected:
                raise ConfigError(
                    f"{where}: {file} is not that of {PACKAGE} {version}: its SHA-256 differs. It is damaged, or was changed. "
                    f"{_GET}"
                )
    return BrowserRuntime(
        version=version, files={page_name: contents[file] for file, page_name in _NAMES.items()}, remark=remark
    )


def _identity(manifest: bytes | None) -> tuple[str, str]:
    """Return the name and the version in a package.json; "" for what it does not say."""
    try:
        values: Any = json.loads(manifest or b"")
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(values, dict):
        return "", ""
    name, version = values.get("name"), values.get("version")
    if not isinstance(version, str) or not re.fullmatch(r"[\w.+-]{1,80}", version):
        version = "of an unknown version"
    return name if isinstance(name, str) else "", version
