"""The folder of a study: refused if something else is in it, and held by one process at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from allmlp.errors import ConfigError
from allmlp.io.display import escape
from allmlp.io.path_problem import path_problem

__all__ = ["hold_folder", "is_unused", "refuse_used_folder"]

_LOCK = ".lock"


def is_unused(folder: Path) -> bool:
    """Return whether a folder is missing or empty, so that a study may begin in it."""
    try:
        return all(entry.name == _LOCK for entry in folder.iterdir())
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # a file, not readable, or not a path
        return False


def refuse_used_folder(folder: Path, name: str) -> None:
    """Check that the study `name` may begin in `folder`.

    Raises:
        ConfigError: it is a file, is not empty, or cannot be created.
    """
    if problem := path_problem(folder):
        raise ConfigError(f"{escape(folder)}: {problem}. Choose another folder with --out.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{escape(folder)}: this is a file; a study needs a folder. Choose another name with --out.")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"{escape(folder)}: {escape(existing)} is not writable. Choose another folder with --out.")
    if not is_unused(folder):
        raise ConfigError(
            f"{escape(folder)}: this folder is not empty. Choose a new one, or continue the study in it: "
            f"allmlp study {name} --resume {escape(folder)}"
        )


@contextlib.contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Create the folder of a study if it is missing, and hold its lock.

    Raises:
        ConfigError: another process holds it, or the folder is not writable.
    """
    lock = FileLock(folder / _LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"{escape(folder)}: another process is running the study in this folder. Wait for it or stop it, then continue "
            "the study with --resume."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{escape(folder)}: cannot write to this folder ({error.strerror or error}). Make it writable, or take "
            "another one."
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / _LOCK).unlink()  # before the release: the next process creates a new one
        lock.release()
