"""Parquet files of a data set: which they are, the split of each, and whether parts are missing."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from allmlp.data.dataset import SplitName
from allmlp.data.sources.assemble import raise_problems
from allmlp.data.split_names import split_named
from allmlp.errors import DataError
from allmlp.io.display import escape, summarise

__all__ = ["find_parquet", "parquet_splits", "part_notes", "partial_notes"]

_MAX_DEPTH = 4  # data/, default/train/, default/partial-train/
# "train-00000-of-00003", in older files of the hub also with a digest: "train-00000-of-00003-0a1b2c3d4e5f6071"
_PART = re.compile(r"(.*?)(\d{1,6})[-_]of[-_](\d{1,6})(?:[-_][0-9a-f]{8,})?")
_NUMBERED = re.compile(r"(.*?)(0\d{2,5})")  # "0000", as the hub converts data sets
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
        if split is None and _NUMBERED.fullmatch(path.stem):
            split = split_named(path.parent.name)
        if split is None and len(files) > 1:
            problems.append(
                f"{escape(path.name)} is not named after a split; expected train*, validation* (or val*, valid*), test*"
            )
        splits.setdefault(split or "train", []).append(path)
    if root is not None:
        for paths in splits.values():
            problems += _missing_parts(paths)
        raise_problems(str(root), problems)
    return splits


def part_notes(path: Path) -> list[str]:
    """Return a note on a file that is one of several parts by its name, such as train-00001-of-00003.parquet."""
    match = _PART.fullmatch(path.name.partition(".")[0])
    if match is None or int(match[3]) < 2:
        return []
    return [f"by its name, this file is one of {int(match[3]):,} parts; the others are not read"]


def partial_notes(files: Iterable[Path]) -> list[str]:
    """Return a note on each folder that holds only a part of a split: "partial-train"."""
    folders = sorted({path.parent.name for path in files if path.parent.name.startswith(_PARTIAL)})
    return [f"{escape(folder)}/ holds only the first part of its split" for folder in folders]


def _split_of(path: PurePosixPath) -> SplitName | None:
    """Return the split in the name of a file, or else of the folder that holds it."""
    match = _PART.fullmatch(path.stem)
    whole = match[1] if match else path.stem
    return split_named(re.split(r"[-_.]", path.name)[0]) or split_named(whole) or _folder_split(path)


def _folder_split(path: PurePosixPath) -> SplitName | None:
    return split_named(path.parent.name.removeprefix(_PARTIAL)) if path.parent.name else None


def _missing_parts(paths: Sequence[Path]) -> list[str]:
    parts: dict[str, dict[int, str]] = {}
    for path in paths:
        folder = f"{path.parent.name}/" if path.parent.name and _NUMBERED.fullmatch(path.stem) else ""
        if match := _PART.fullmatch(path.stem):
            parts.setdefault(f"{match[1]}{{}}-of-{match[3]}", {})[int(match[2])] = match[2]
        elif match := _NUMBERED.fullmatch(path.stem):
            parts.setdefault(f"{folder}{match[1]}{{}}", {})[int(match[2])] = match[2]
    problems = []
    for pattern, present in parts.items():
        _, is_counted, count = pattern.rpartition("-of-")
        width = len(next(iter(present.values())))
        is_from_one = 0 not in present and (not is_counted or int(count) in present)
        last = int(count) - 1 + is_from_one if is_counted else max(present)
        missing = [number for number in range(int(is_from_one), last + 1) if number not in present]
        if missing:
            names = (pattern.format(f"{number:0{width}d}") + ".parquet" for number in missing)
            problems.append(f"shards are missing: {summarise(names)}; download them too")
    return problems
