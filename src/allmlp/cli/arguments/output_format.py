"""Output options, the same in every command: `--format` for what is printed, `--out` or `-o` for a file to write."""

import enum
from pathlib import Path
from typing import Annotated

import typer

from allmlp.cli.arguments.output_path import new_output_path
from allmlp.errors import ConfigError

__all__ = ["Format", "FormatOption", "PredictionFormat", "format_and_path"]


class Format(enum.StrEnum):
    """Formats of a command that prints one result."""

    TEXT = "text"
    JSON = "json"


class PredictionFormat(enum.StrEnum):
    """Formats of predictions; all except `text` are for programs, and `parquet` is only for files."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


FormatOption = Annotated[
    Format, typer.Option("--format", help="What is printed: text, or json for programs (short: --json).")
]

_ENDINGS = {
    ".txt": PredictionFormat.TEXT,
    **{f".{name}": PredictionFormat(name) for name in ("csv", "json", "jsonl", "parquet")},
}


def format_and_path(
    chosen: PredictionFormat | None, out: str | None, *, example: str
) -> tuple[PredictionFormat, Path | None]:
    """Return the format and the file of a result: by `--format` and `--out`, of which the file's ending may decide.

    Raises:
        ConfigError: the file exists or cannot be written, its ending is unknown or contradicts the format, or Parquet
            without a file.
    """
    if out is None:
        if chosen is PredictionFormat.PARQUET:
            raise ConfigError(f"--format parquet needs a file: add -o {Path(example).with_suffix('.parquet')}.")
        return chosen or PredictionFormat.TEXT, None
    path = new_output_path(out, is_folder=False, name="--out", example=example)
    ending = path.suffix.lower()
    by_ending = _ENDINGS.get(ending)
    if by_ending is None and chosen is None:
        raise ConfigError(
            f"--out {out}: expected a name that ends in {', '.join(_ENDINGS)}; for any other name, add --format."
        )
    if by_ending is not None and chosen not in (None, by_ending):
        raise ConfigError(f"--format {chosen} does not match --out {out}, which ends in {ending}. Omit one of them.")
    return chosen or by_ending or PredictionFormat.TEXT, path
