"""The files of parts: their names, their states, and writing one. A part is done if its file carries the plan's digest.

While it is written, its name is ".part-00001.parquet.HOST-PROCESS.XXXXXXXX.part".
"""

import json
import os
import re
import socket
import time
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from allmlp.bulk.plan import Plan
from allmlp.errors import ConfigError, shortage
from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import escape, summarise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PartState", "check_foreign_files", "is_leftover", "owner", "part_path", "part_state", "write_part"]

_KEY = b"allmlp"
_NAME = re.compile(r"part-(\d{5,})\.parquet")
_MAX_WRITING_S = 3600


class Kind(Enum):
    """What is at the path of a part."""

    MISSING = "missing"
    DONE = "done"
    DAMAGED = "damaged"
    FOREIGN = "foreign"


class PartState(NamedTuple):
    """What is at the path of a part, and of a part that is done, how many of its photos have an error."""

    kind: Kind
    num_errors: int = 0

    @property
    def is_done(self) -> bool:
        """Whether the part need not be computed."""
        return self.kind is Kind.DONE

    @property
    def is_damaged(self) -> bool:
        """Whether it is a part that was cut short, which is computed again."""
        return self.kind is Kind.DAMAGED


def part_path(folder: Path, part: int) -> Path:
    """Return the path of a part's file."""
    return folder / f"part-{part:05d}.parquet"


def part_state(folder: Path, plan: Plan, part: int) -> PartState:
    """Return the state of a part, from the footer of its file.

    Raises:
        ConfigError: the file is not a part of this plan, or cannot be read.
    """
    import pyarrow.parquet as pq

    path = part_path(folder, part)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError:
        return PartState(Kind.MISSING)
    except OSError as error:
        advice = "Try again." if shortage(error) else "Move it away."
        raise ConfigError(f"{escape(path)}: cannot be read ({error.strerror or error}). {advice}") from error
    # A power cut may leave fewer bytes than the first four, or zeros in their place.
    if not b"PAR1".startswith(start) and start.strip(b"\0"):
        raise ConfigError(
            f"{escape(path)}: this is not a part of the plan next to it. Move it away, or choose another folder."
        )
    try:
        with pq.ParquetFile(path) as parquet:
            stored = json.loads((parquet.schema_arrow.metadata or {}).get(_KEY, b"{}"))
            num_rows = parquet.metadata.num_rows
    except Exception as error:  # whatever a file that was cut short causes in pyarrow
        if lacking := shortage(error):
            raise ConfigError(f"{escape(path)}: cannot be read: {lacking}.") from error
        return PartState(Kind.DAMAGED)
    if stored.get("plan") != plan.digest or stored.get("part") != part or num_rows != len(plan.rows_of(part)):
        raise ConfigError(f"{escape(path)}: this is a part of another plan. Move it away, or choose another folder.")
    return PartState(Kind.DONE, int(stored.get("errors", 0)))


def check_foreign_files(folder: Path, plan: Plan) -> None:
    """Check that every file named like a part is one of the plan's: readers of the folder would read the others, too.

    Raises:
        ConfigError: one is not.
    """
    numbers = {path.name: int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    strange = sorted(
        name for name, part in numbers.items() if part >= plan.num_parts or name != part_path(folder, part).name
    )
    if strange:
        raise ConfigError(
            f"{escape(folder)}: {summarise(strange, limit=3)}: not of the plan, which has {plan.num_parts:,} parts. "
            "Move them away, or choose another folder."
        )


def write_part(folder: Path, plan: Plan, part: int, table: "pa.Table", *, num_errors: int) -> None:
    """Write a part, so that it appears complete or not at all. The same table gives the same bytes.

    Raises:
        ConfigError: the disk is full, or the folder cannot be written to.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = json.dumps({"plan": plan.digest, "part": part, "errors": num_errors})
    # In memory first: a part is small, and an error of the disk is ours to report.
    content = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({_KEY: stored}), content, compression="zstd", write_page_checksum=True)
    write_bytes(part_path(folder, part), content.getvalue().to_pybytes(), owner=owner())


def owner() -> str:
    """Return what the names of this process's temporary files hold: its host and its number."""
    return f"{_host()}-{os.getpid()}"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64]


def is_leftover(path: Path) -> bool:
    """Return whether a temporary file that no process of this machine is writing was left by a killed one.

    The processes of other machines may be at work though no lock says so, as locks may hold for one machine only. They write
    such a file at once, so that one that is an hour old is not being written.
    """
    is_own = re.search(rf"\.{re.escape(_host())}-\d+\.[^.]*\.part$", path.name) is not None
    try:
        return is_own or time.time() - path.stat().st_mtime > _MAX_WRITING_S
    except OSError:  # just renamed or removed
        return False
