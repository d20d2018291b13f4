"""Output paths of commands, which never overwrite a file."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from allmlp.errors import ConfigError
from allmlp.io.atomic_write import reason_of
from allmlp.io.path_problem import path_problem
from allmlp.io.remote_address import is_address

__all__ = ["check_different", "check_writable", "new_output_path"]


def new_output_path(destination: str, *, is_folder: bool, name: str, example: str) -> Path:
    """Return the path to write to, after checking that it is free and writable. Its parent folders may be missing.

    `name` is the command's name for the argument, `example` a file name for the advice in a message.

    Raises:
        ConfigError: the path exists already or cannot be written.
    """
    if not destination:
        raise ConfigError(f"{name} is empty: a shell variable may be unset. Expected a new folder or file.")
    path = Path(destination)
    if problem := "it is an address" if is_address(destination) else path_problem(path):
        raise ConfigError(f"{destination}: cannot be written to ({problem}). Choose another path.")
    try:
        is_existing_folder = path.is_dir()
        is_free = not os.path.lexists(path) or (is_folder and is_existing_folder and not any(path.iterdir()))
        if is_free:
            check_writable(path if is_existing_folder else path.parent)
            return path
    except OSError as error:
        raise ConfigError(f"{destination}: cannot be written to ({reason_of(error)}). Choose another path.") from error
    if is_existing_folder and not is_folder:
        raise ConfigError(
            f"{destination}: this is a folder, but the output is a single file. Name the file, such as {path / example}."
        )
    problem = "this folder is not empty" if is_existing_folder else "this file exists"
    raise ConfigError(f"{destination}: {problem}, and nothing is overwritten. Choose a new name, or remove it first.")


def check_different(paths: Mapping[str, Path | None]) -> None:
    """Check that the outputs of a command are different files or folders; `paths` maps options to them, None if not given.

    Raises:
        ConfigError: two are the same.
    """
    options: dict[str, str] = {}
    for option, path in paths.items():
        if path is None:
            continue
        real = os.path.realpath(path)
        if real in options:
            raise ConfigError(f"{options[real]} and {option} are the same file, {path}; give them two names.")
        options[real] = option


def check_writable(folder: Path) -> None:
    """Raise OSError if no file can be created in a folder, or in its nearest existing parent."""
    nearest = next(candidate for candidate in (folder, *folder.parents) if os.path.lexists(candidate))
    # File modes are not enough: the user may be root, the disk read-only or on a network.
    with tempfile.TemporaryFile(dir=nearest):
        pass
