"""Parquet files of a data set: which they are, the split of each, and whether parts are missing."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from allmlp.data.completeness import missing_parts, part_of
from allmlp.data.dataset import SplitName
from allmlp.data.sources.assemble import raise_problems
from allmlp.data.split_names import split_named
from allmlp.errors import DataError
from allmlp.io.display import escape, summarise

__all__ = ["find_parquet", "parquet_splits", "partial_notes"]

_MAX_DEPTH = 4  # data/, default/train/, default/partial-train/
_PARTIAL = "partial-"  # the hub's name for a split of which only the first part was converted


def find_parquet(paths: Iterable[str], *, has_photos: bool) -> list[str]:
    """Return those of the paths below a folder that are the Parquet files of one data set; [] if there are none.

    Next to photos, Parquet files count only if they or their folders are named after splits.

    Raises:
        DataError: several data sets; the message has neither the path nor a full stop.
    """
    groups: dict[str, list[str]] = {}
    for path in map(PurePosixPath, paths):
        if path.suffix.lower() == ".parquet" and not path.name.startswith(".") and len(path.parts) <= _MAX_DEPTH:
            folder = path.parent.parent if _folder_split(path) else path.parent
            groups.setdefault(str(folder), []).append(str(path))
    if has_photos:
        groups = {
            name: files for name, files in groups.items() if all(_split_of(PurePosixPath(path)) for path in files)
        }
    if len(groups) > 1:
        raise DataError(
            f"several data sets of Parquet files: {summarise(f'{name}/' for name in sorted(groups))}; open one of these folders"
        )
    return sorted(next(iter(groups.values()), []))


def parquet_splits(root: Path | None, files: Sequence[Path]) -> dict[SplitName, list[Path]]:
    """Group the files of a folder by split; a single file (`root` is None) may have any name.

    The split is in the name of a file ("train-00000-of-00002.parquet") or of its folder ("default/train/0000.parquet").

    Raises:
        DataError: one of several files is not named after a split, or a part is missing.
    """
    splits: dict[SplitName, list[Path]] = {}
    problems = []
    for path in sorted(files):
        split = _split_of(PurePosixPath(path.name if root is None else path.relative_to(root).as_posix()))
        part = part_of(path.stem)
        if split is None and part is not None and part.is_padded:
            split = split_named(path.parent.name)
        if split is None and len(files) > 1:
            problems.append(
                f"{escape(path.name)} is not named after a split; expected train*, validation* (or val*, valid*), test*"
            )
        splits.setdefault(split or "train", []).append(path)
    if root is not None:
        for paths in splits.values():
            problems += missing_parts(root, paths)
        raise_problems(str(root), problems)
    return splits


def partial_notes(files: Iterable[Path]) -> list[str]:
    """Return a note on each folder that holds only a part of a split: "partial-train"."""
    folders = sorted({path.parent.name for path in files if path.parent.name.startswith(_PARTIAL)})
    return [f"{escape(folder)}/ holds only the first part of its split" for folder in folders]


def _split_of(path: PurePosixPath) -> SplitName | None:
    """Return the split in the name of a file, or else of the folder that holds it."""
    part = part_of(path.stem)
    whole = part.before if part and part.total else path.stem
    return split_named(re.split(r"[-_. ]", path.name)[0]) or split_named(whole) or _folder_split(path)


def _folder_split(path: PurePosixPath) -> SplitName | None:
    return split_named(path.parent.name.removeprefix(_PARTIAL)) if path.parent.name else None
