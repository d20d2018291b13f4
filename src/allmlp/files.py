"""Files that are either whole or not there."""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from allmlp.errors import ConfigError

__all__ = ["write_bytes", "write_json", "write_text"]


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a part.

    The bytes go to a temporary file beside `path`, reach the disk (fsync), and take the name in one
    rename; then the folder's entry is synced too.

    Raises:
        ConfigError: the disk is full or the folder is not writable; nothing is left behind.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise ConfigError(
            f"{path}: could not be written ({error.strerror or error}). "
            "Free some space or choose another folder; nothing that was there has changed."
        ) from error
    return path


def write_text(path: Path, content: str) -> Path:
    """Write UTF-8 text like `write_bytes`."""
    return write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: Any) -> Path:
    """Write indented JSON like `write_bytes`. NaN and infinity are our bug: they raise ValueError."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _umask() -> int:
    # There is no way to read the umask but to set it; mkstemp's 0600 would lock colleagues out of a shared run.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # A rename is durable only when its folder is; Windows cannot open folders and needs no such sync.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
