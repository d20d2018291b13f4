"""Files that are either whole or not there."""

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from allmlp.errors import ConfigError

__all__ = ["to_json", "write_bytes", "write_json", "write_text", "write_together"]


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a part.

    The bytes go to a temporary file beside `path`, reach the disk (fsync), and take the name in one
    rename; then the folder's entry is synced too.

    Raises:
        ConfigError: the disk is full or the folder is not writable; nothing is left behind.
    """
    write_together({path: content})
    return path


def write_together(contents: Mapping[Path, bytes | Callable[[IO[bytes]], object]]) -> None:
    """Write files that belong together like `write_bytes`: none takes its name before all have reached the disk.

    What is larger than memory should hold twice is given as a function that writes it to an open file.

    Raises:
        ConfigError: the disk is full or a folder is not writable; nothing is left behind.
    """
    temporaries: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():  # else found out after other files have changed
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
            temporaries[path] = Path(temporary)
            with os.fdopen(handle, "wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    content(file)
                file.flush()
                os.fsync(file.fileno())
            temporaries[path].chmod(0o666 & ~_umask())
        for path in contents:
            temporaries[path].replace(path)
            del temporaries[path]
            _sync_folder(path.parent)
    except OSError as error:
        a_file = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is where its folder should be" if a_file else error.strerror or error
        raise ConfigError(
            f"{path}: could not be written ({reason}). "
            "Free some space or choose another folder; nothing that was there has changed."
        ) from error
    finally:  # also after Ctrl-C
        for temporary_path in temporaries.values():
            with contextlib.suppress(OSError):
                temporary_path.unlink()


def write_text(path: Path, content: str) -> Path:
    """Write UTF-8 text like `write_bytes`; bytes of a path that are not UTF-8 become escapes such as "\\udce9"."""
    return write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> Path:
    """Write indented JSON like `write_bytes`. NaN and infinity are our bug: they raise ValueError."""
    return write_bytes(path, to_json(content))


def to_json(content: Any) -> bytes:
    """Return what `write_json` writes."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A path that is not UTF-8 holds lone surrogates; as "\\udce9" they are JSON's own escape and come back as they were.
    return text.encode("utf-8", "backslashreplace")


def _umask() -> int:
    # There is no way to read the umask but to set it; mkstemp's 0600 would lock colleagues out of a shared run.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    # A rename is durable only when its folder is; Windows cannot open folders and needs no such sync, and some network
    # file systems refuse it. The file has its name by then, so that is no failure.
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
