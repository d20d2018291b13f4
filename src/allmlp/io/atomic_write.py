"""Atomic writes: files and folders that are either whole or not there."""

import contextlib
import errno
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from allmlp.errors import ConfigError

__all__ = [
    "reason_of",
    "remove",
    "remove_leftovers",
    "rename",
    "to_json",
    "write_bytes",
    "write_folder",
    "write_json",
    "write_text",
    "write_together",
]

Content = bytes | Callable[[IO[bytes]], object]


def write_bytes(path: Path, content: bytes) -> Path:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a part.

    The bytes go to a temporary file next to `path`, reach the disk (fsync), and take the name in one
    rename; then the folder's entry is synced too.

    Raises:
        ConfigError: the disk is full or the folder is not writable; nothing is left behind.
    """
    write_together({path: content})
    return path


def write_together(contents: Mapping[Path, Content]) -> None:
    """Write files that belong together like `write_bytes`: none takes its name before all have reached the disk.

    What is larger than memory should hold twice is given as a function that writes it to an open file.

    Raises:
        ConfigError: the disk is full or a folder is not writable; nothing is left behind.
    """
    temporaries: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            _make_folders(path.parent)
            if path.is_dir():  # else found out after other files have changed
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
            temporaries[path] = Path(temporary)
            with os.fdopen(handle, "wb") as file:
                _fill(file, content)
            temporaries[path].chmod(0o666 & ~_umask())
        for path in contents:
            _rename(temporaries[path], path)
            del temporaries[path]
            _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(
            f"{path}: could not be written ({reason_of(error)}). "
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


def write_folder(path: Path, contents: Mapping[str, Content]) -> None:
    """Write a new folder with files of these names, in this order, so that `path` is there whole or not at all.

    They are written into a folder ".name.random.part" next to `path`. Each file reaches the disk before the next is begun,
    then the folder, which takes its name in one rename, then the folder above. What is left of a failure is removed.

    Raises:
        OSError: the disk is full, the folder above is not writable, or `path` is there and not an empty folder.
    """
    _make_folders(path.parent)
    part = _name_beside(path, "part")
    _mkdir(part)
    try:
        for name, content in contents.items():
            with _create(part / name) as file:
                _fill(file, content)
        _sync_folder(part)
        rename(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            _delete(part)
        raise


def rename(old: Path, new: Path) -> None:
    """Give a file or a folder another name in the same folder; when this returns, the disk knows."""
    _rename(old, new)
    _sync_folder(new.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder with all that is in it, so that `path` is there whole or not at all.

    It is renamed to ".name.random.gone" first.

    Raises:
        OSError: it cannot be deleted.
    """
    gone = _name_beside(path, "gone")
    rename(path, gone)
    _delete(gone)


def remove_leftovers(folder: Path, *, prefix: str) -> None:
    """Delete what a crash left of writing and of `remove` in `folder`, with names that start with `prefix`; "" is any.

    No other process may use the folder. What cannot be deleted stays; it does no harm.
    """
    pattern = re.compile(rf"\.{re.escape(prefix)}.*\.[0-9a-z_]{{8}}\.(part|gone)")  # tempfile's letters
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if pattern.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    _delete(path)


def reason_of(error: OSError) -> str:
    """Return why writing failed, in words."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file is where its folder should be"
    return str(error.strerror or error)


def _umask() -> int:
    # There is no way to read the umask but to set it; mkstemp's 0600 would lock colleagues out of a shared run.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _name_beside(path: Path, kind: str) -> Path:
    # Not tempfile.mkdtemp: its 0700 would lock colleagues out.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{kind}")


def _make_folders(path: Path) -> None:
    """Create a folder and those above it that are missing, each known to the disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # made by another process just now, or a file: that fails below
            _mkdir(folder)
        _sync_folder(folder.parent)


def _fill(file: IO[bytes], content: Content) -> None:
    if isinstance(content, bytes):
        file.write(content)
    else:
        content(file)
    _sync_file(file)


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        _unlink(path)
        return
    for child in list(path.iterdir()):
        _delete(child)
    _rmdir(path)


# What changes the disk, one operation per function: tests record and replay them, to see what a crash in between leaves.


def _mkdir(path: Path) -> None:
    path.mkdir()


def _create(path: Path) -> IO[bytes]:
    return path.open("xb")


def _sync_file(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _rename(old: Path, new: Path) -> None:
    old.replace(new)


def _unlink(path: Path) -> None:
    path.unlink()


def _rmdir(path: Path) -> None:
    path.rmdir()


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
