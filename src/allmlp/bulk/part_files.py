"""The files of parts: their names, their states, and writing one. A part is done if its file carries the plan's digest."""

import json
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from allmlp.bulk.plan import Plan
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.display import escape, summarise

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PartState", "check_foreign_files", "part_path", "part_state", "write_part"]

_KEY = b"allmlp"
_NAME = re.compile(r"part-(\d{5,})\.parquet")


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
        raise ConfigError(f"{escape(path)}: cannot be read ({error.strerror or error}). Move it away.") from error
    if start not in (b"", b"PAR1"):
        raise ConfigError(
            f"{escape(path)}: this is not a part of the plan next to it. Move it away, or choose another folder."
        )
    try:
        with pq.ParquetFile(path) as parquet:
            stored = json.loads((parquet.schema_arrow.metadata or {}).get(_KEY, b"{}"))
            num_rows = parquet.metadata.num_rows
    except Exception:  # whatever a file that was cut short causes in pyarrow
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
    write_bytes(part_path(folder, part), content.getvalue().to_pybytes())
