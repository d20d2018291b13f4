"""Where commands write: nothing of the user's is ever overwritten."""

import os
import tempfile
from pathlib import Path

from allmlp.errors import ConfigError
from allmlp.io.atomic_write import reason_of

__all__ = ["new_output_path"]


def new_output_path(destination: str, *, is_folder: bool, name: str, example: str) -> Path:
    """Return where to write, at which nothing may lie: the user's files are never overwritten. A folder above may be missing.

    `name` is what the command calls it, `example` a file's name for advice.

    Raises:
        ConfigError: something is there, or nothing can be.
    """
    if not destination:
        raise ConfigError(f"{name} is empty: a variable of the shell may not be set. Expected a new folder or file.")
    path = Path(destination)
    try:
        found_folder = path.is_dir()
        is_free = not os.path.lexists(path) or (is_folder and found_folder and not any(path.iterdir()))
        if is_free:
            _check_writable(path if found_folder else path.parent)
            return path
    except OSError as error:
        raise ConfigError(f"{destination}: cannot be written to ({reason_of(error)}). Choose another place.") from error
    except ValueError as error:
        raise ConfigError(f"{destination}: cannot be written to ({error}).") from error
    if found_folder and not is_folder:
        raise ConfigError(f"{destination}: a folder; this form is one file. Name it, such as {path / example}.")
    what = "this folder is not empty" if found_folder else "this file exists"
    raise ConfigError(f"{destination}: {what}, and nothing is overwritten. Choose a new name, or remove it first.")


def _check_writable(folder: Path) -> None:
    """Raise OSError where no file can be written to a folder, or to the nearest one above that is there."""
    nearest = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    with tempfile.TemporaryFile(dir=nearest):  # modes alone do not tell: of root, of a network's or a read-only disk
        pass
