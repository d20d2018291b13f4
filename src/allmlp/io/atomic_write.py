"""Atomic writes of files and folders: each appears complete or not at all."""

import contextlib
import errno
import json
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

from allmlp.errors import ConfigError

__all__ = [
    "advice_for",
    "leftovers",
    "reason_of",
    "remedy_for",
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


def write_bytes(path: Path, content: bytes, *, owner: str = "") -> Path:
    """Write `content` to `path` so that a crash leaves the old file or the new one, never a partial one.

    The bytes are written to a temporary file next to `path`, synced to disk (fsync) and renamed to `path`; then the folder
    is synced too. The name of the temporary file is ".name.random.part", with an `owner` ".name.owner.random.part".

    Raises:
        ConfigError: the disk is full or the folder is not writable; nothing is left behind.
    """
    write_together({path: content}, owner=owner)
    return path


def write_together(contents: Mapping[Path, Content], *, owner: str = "") -> None:
    """Write files that belong together, as `write_bytes` does: none gets its name before all of them are on disk.

    Content that should not be in memory twice is given as a function that writes to an open file.

    Raises:
        ConfigError: the disk is full or a folder is not writable; nothing is left behind.
    """
    temporaries: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            _make_folders(path.parent)
            if path.is_dir():  # otherwise detected only after other files have been replaced
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            prefix = f".{path.name}.{owner}." if owner else f".{path.name}."
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".part")
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
            f"{path}: could not be written ({reason_of(error)}). {advice_for(error)} Existing files are unchanged."
        ) from error
    finally:  # also after Ctrl-C
        for temporary_path in temporaries.values():
            with contextlib.suppress(OSError):
                temporary_path.unlink()


def write_text(path: Path, content: str) -> Path:
    """Write UTF-8 text as `write_bytes` does; undecodable bytes of a path become escapes such as "\\udce9"."""
    return write_bytes(path, content.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Any) -> Path:
    """Write indented JSON as `write_bytes` does. NaN and infinity are bugs of ours and raise ValueError."""
    return write_bytes(path, to_json(content))


def to_json(content: Any) -> bytes:
    """Return the bytes that `write_json` writes."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A path that is not UTF-8 holds lone surrogates. Written as "\\udce9", JSON's own escape, they are read back unchanged.
    return text.encode("utf-8", "backslashreplace")


def write_folder(path: Path, contents: Mapping[str, Content] | Iterable[tuple[str, Content]]) -> None:
    """Write a new folder with files of these names, in this order, so that `path` appears complete or not at all.

    `contents` may be pairs of which each is produced when the file before it has been written.
    The files are written to a folder ".name.random.part" next to `path`. Each file is synced to disk before the next one is
    started. Then the folder is synced and renamed to `path`, and its parent is synced. After a failure, the partial folder
    is removed.

    Raises:
        OSError: the disk is full, the parent folder is not writable, or `path` exists and is not an empty folder, or is one
            that cannot be replaced: a link, or the current folder.
    """
    _check_replaceable(path)
    _make_folders(path.parent)
    part = _sibling_path(path, "part")
    _mkdir(part)
    try:
        for name, content in contents.items() if isinstance(contents, Mapping) else contents:
            with _create(part / name) as file:
                _fill(file, content)
        _sync_folder(part)
        rename(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            _delete(part)
        raise


def rename(old: Path, new: Path) -> None:
    """Rename a file or folder within its parent folder, and sync the parent so that the new name survives a crash."""
    _rename(old, new)
    _sync_folder(new.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder with its contents, so that `path` is complete until it is gone.

    It is renamed to ".name.random.gone" first.

    Raises:
        OSError: it cannot be deleted.
    """
    gone = _sibling_path(path, "gone")
    rename(path, gone)
    _delete(gone)


def leftovers(folder: Path, *, prefix: str) -> list[Path]:
    """Return what interrupted writes and `remove` calls left in `folder`, for names that start with `prefix` ("": all)."""
    pattern = re.compile(rf"\.{re.escape(prefix)}.*\.[0-9a-z_]{{8}}\.(part|gone)")  # tempfile's letters
    try:
        return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))
    except OSError:
        return []


def remove_leftovers(folder: Path, *, prefix: str) -> None:
    """Delete the `leftovers`. No other process may be using the folder; those that cannot be deleted stay, harmless."""
    for path in leftovers(folder, prefix=prefix):
        with contextlib.suppress(OSError):
            _delete(path)


def reason_of(error: OSError) -> str:
    """Return a readable reason why writing failed."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "a file is where its folder should be"
    return str(error.strerror or error)


# What helps at the folder itself, by the kind of error.
_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Free some disk space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Make the folder writable"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "Raise the limit of open files (ulimit -n)"),
    **dict.fromkeys((errno.EFBIG,), "Raise the limit of the size of a file (ulimit -f)"),
    **dict.fromkeys((errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO), "Check the disk, or the connection to it"),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR), "Move away what is in the way"),
}


def remedy_for(error: OSError) -> str:
    """Return what to do about a failed write if the folder cannot be changed, without a full stop."""
    return _REMEDIES.get(error.errno or 0, "Make the folder writable")


def advice_for(error: OSError) -> str:
    """Return what to do about a failed write. Only a full disk, or a full quota, needs free space."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "Free some disk space or choose another folder." if is_full else "Choose another folder or name."


def _umask() -> int:
    # The umask can be read only by setting it. mkstemp's mode 0600 would lock colleagues out of a shared run.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sibling_path(path: Path, kind: str) -> Path:
    # Not tempfile.mkdtemp: its mode 0700 would lock colleagues out.
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.{kind}")


def _check_replaceable(path: Path) -> None:
    # A shell whose current folder was replaced stands in a folder that no longer has a name.
    if path.name in ("", "..") or (path.is_dir() and path.samefile(os.curdir)):
        raise OSError(errno.EBUSY, "it is the current folder, or one above it")
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a link")


def _make_folders(path: Path) -> None:
    """Create a folder and its missing parents, and sync each to disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # just created by another process, or a file, which fails later
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


# The operations that change the disk, one per function: tests record and replay them to see what a crash in between leaves.


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
    # A rename is durable only once its folder is synced. Windows cannot open folders and needs no such sync, and some
    # network file systems refuse it. The file already has its name by then, so a refusal is not an error.
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
