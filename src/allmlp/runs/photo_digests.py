"""The digests of a run's photos, by which it knows them again under any name: photos.csv in the run folder."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from allmlp.errors import ConfigError
from allmlp.io.atomic_write import write_bytes
from allmlp.io.path_problem import check_regular
from allmlp.runs.layout import RunLayout

__all__ = ["read_photo_digests", "trained_digests", "write_photo_digests"]

_HEADER = ["split", "sample_id", "sha256"]
_SHA256 = re.compile("[0-9a-f]{64}")


def write_photo_digests(
    path: Path, sample_ids: Mapping[str, Sequence[str]], digests: Mapping[str, Sequence[str]]
) -> None:
    """Write one row per photo: its split, its sample ID, and the SHA-256 of its bytes.

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_HEADER)
    for name, names in sorted(sample_ids.items()):
        rows.writerows((name, sample_id, digest) for sample_id, digest in zip(names, digests[name], strict=True))
    write_bytes(path, text.getvalue().encode("utf-8", "surrogateescape"))


def read_photo_digests(path: Path) -> dict[str, dict[str, str]] | None:
    """Return the SHA-256 of each photo by split and sample ID; None if there is no file, as in runs of older versions.

    Raises:
        ConfigError: the file cannot be read, or is not what `write_photo_digests` writes.
    """
    if not path.exists():
        return None
    digests: dict[str, dict[str, str]] = {}
    try:
        check_regular(path)
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            rows = csv.reader(file, strict=True)
            if next(rows, None) != _HEADER:
                raise ValueError(f"its first line is not {','.join(_HEADER)}")
            for row in rows:
                if len(row) != len(_HEADER) or not _SHA256.fullmatch(row[2]):
                    raise ValueError(f"line {rows.line_num:,} is not a split, a sample ID and a SHA-256")
                split, sample_id, digest = row
                digests.setdefault(split, {})[sample_id] = digest
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"{path}: cannot be read as the photos of a run ({error}). Restore it, or delete it to go on without knowing "
            "whether photos have changed."
        ) from error
    return digests


def trained_digests(checkpoint: Path) -> frozenset[str]:
    """Return the SHA-256 of every photo that a checkpoint's run trained on; empty if that is unknown.

    `checkpoint` is any path that `RunLayout.around` takes; it need not exist.
    """
    if not checkpoint.exists():
        return frozenset()
    for run in RunLayout.around(checkpoint):
        if run.recipe.is_file():
            digests = read_photo_digests(run.photos) or {}
            return frozenset(digests.get("train", {}).values())
    return frozenset()
