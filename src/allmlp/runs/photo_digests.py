"""Digests of a run's photos, which identify them under any name: photos.csv in the run folder."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from allmlp.runs.layout import RunLayout
from allmlp.runs.photo_table import read_table, write_table

__all__ = ["read_photo_digests", "trained_digests", "write_photo_digests"]

_HEADER = ("split", "sample_id", "sha256")
_SHA256 = re.compile("[0-9a-f]{64}")


def write_photo_digests(
    path: Path, sample_ids: Mapping[str, Sequence[str]], digests: Mapping[str, Sequence[str]]
) -> None:
    """Write one row per photo: its split, its sample ID, and the SHA-256 of its bytes.

    Raises:
        ConfigError: the disk is full or the folder is not writable.
    """
    rows = (
        (name, sample_id, digest)
        for name, names in sorted(sample_ids.items())
        for sample_id, digest in zip(names, digests[name], strict=True)
    )
    write_table(path, _HEADER, rows)


def read_photo_digests(path: Path) -> dict[str, dict[str, str]] | None:
    """Return the SHA-256 of each photo by split and sample ID; None if there is no file, as in runs of older versions.

    Raises:
        ConfigError: the file cannot be read, or is not what `write_photo_digests` writes.
    """
    if not path.exists():
        return None
    digests: dict[str, dict[str, str]] = {}
    advice = "Restore it, or delete it to go on without knowing whether photos have changed."
    rows = read_table(
        path, _HEADER, what="the photos", advice=advice, is_valid=lambda row: bool(_SHA256.fullmatch(row[2]))
    )
    for split, sample_id, digest in rows:
        digests.setdefault(split, {})[sample_id] = digest
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
