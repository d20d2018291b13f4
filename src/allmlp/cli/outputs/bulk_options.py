"""Options of commands that write a folder of results, and the rule of what such a folder is."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from allmlp.errors import ConfigError
from allmlp.io.display import escape
from allmlp.io.remote_address import is_address, is_remote

__all__ = ["BulkOptions", "EngineName", "EngineOption", "PartSizeOption", "ProcessesOption", "bulk_folder"]

EngineName = Literal["local", "ray"]
"""The names in `ENGINES`, whose import here would load NumPy."""

EngineOption = Annotated[
    EngineName,
    typer.Option("--engine", help="With --out FOLDER/: who computes. ray: a Ray cluster (docs/bulk.md)."),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=1024, help="With --out FOLDER/: processes that compute at once.", show_default="1"
    ),
]
PartSizeOption = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=1_000_000, help="With --out FOLDER/: photos per file.", show_default="256 to 8,192"
    ),
]


class BulkOptions:
    """The options of a folder of results, as given."""

    def __init__(self, engine: EngineName, processes: int | None, part_size: int | None) -> None:
        self.engine: EngineName = engine
        self.processes = processes
        self.part_size = part_size


def bulk_folder(out: str | None, options: BulkOptions) -> Path | None:
    """Return the folder that `--out` names; None if it names a file: a folder ends in "/", or holds a plan already.

    Raises:
        ConfigError: options for folders with another output, or an address.
    """
    if out is not None and out.endswith("/") and (is_address(out) or is_remote(out)):
        raise ConfigError(f"{escape(out)}: cannot be written to (it is an address). Name a folder here, and upload it.")
    if out is not None and (out.endswith(("/", os.sep)) or _has_plan(out)):
        return Path(out)
    given = {
        "--engine": options.engine != "local",
        "--processes": options.processes is not None,
        "--part-size": options.part_size is not None,
    }
    if names := [name for name, is_given in given.items() if is_given]:
        raise ConfigError(f"{' and '.join(names)} without a folder would have no effect; add --out FOLDER/.")
    return None


def _has_plan(path: str) -> bool:
    if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises if a name is too long or inaccessible
        return False
    from allmlp.bulk import is_result_folder

    return is_result_folder(Path(path))
