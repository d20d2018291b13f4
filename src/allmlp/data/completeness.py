"""Whether a data set is complete: by the names of its parts, and by the numbers of photos that its description states."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from allmlp.data.dataset import ImageDataset
from allmlp.data.split_names import split_named
from allmlp.io.display import summarise

__all__ = ["Part", "count_notes", "missing_parts", "part_notes", "part_of"]

# "train-00000-of-00003", "train_1_of_3", "part 1 of 3", "(1of3)"; older files of the hub end with a digest
_COUNTED = re.compile(r"(.*?)(?<!\d)(\d{1,6})([-_. ]*of[-_. ]*)(\d{1,6})(?!\d)(\)?).*", re.IGNORECASE)
# "0000", as the hub converts data sets; "train_2"; "part-00000-<uuid>-c000", as Spark writes it
_UUID = r"-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:[-.]c\d+)?"
_NUMBERED = re.compile(rf"(.*?)(?<!\d)(\d{{1,6}})(?:{_UUID})?")
_COMPRESSION = re.compile(r"\.(snappy|zstd|gz|gzip|lz4|brotli|uncompressed)$", re.IGNORECASE)

_MAX_DESCRIPTION_BYTES = 1 << 22
_CARD_SPLIT = re.compile(
    r"^ *- name: *['\"]?([\w.-]+)['\"]? *\n(?: +num_bytes:.*\n)? +num_examples: *(\d{1,15}) *$", re.M
)


class Part(NamedTuple):
    """A part of a data set, by its name: "train-00001-of-00003" is number 1 of 3. `total` is None if the name has none."""

    before: str
    number: int
    width: int
    of: str
    total: int | None
    total_text: str

    @property
    def is_padded(self) -> bool:
        """Whether the number has leading zeros, as programs write them."""
        return self.width >= 3 and self.number < 10 ** (self.width - 1)

    def named(self, number: int) -> str:
        """Return the name of another part, without what may follow it."""
        return f"{self.before}{number:0{self.width}d}{self.of}{self.total_text}"


def part_of(stem: str) -> Part | None:
    """Return which part a file or folder is by its name, without its extension; None if the name has no number."""
    stem = _COMPRESSION.sub("", stem)
    if match := _COUNTED.fullmatch(stem):
        before, number, of, count, end = match.groups()
        return Part(before, int(number), len(number), of, int(count), count + end)
    if match := _NUMBERED.fullmatch(stem):
        return Part(match[1], int(match[2]), len(match[2]), "", None, "")
    return None


def part_notes(path: PurePath, what: str) -> list[str]:
    """Return a note on a file or folder (`what`) that is one of several parts, such as train-00001-of-00003.parquet."""
    part = part_of(path.name if what == "folder" else path.stem)
    if part is None or part.total is None or not 2 <= part.total >= part.number:
        return []
    return [f"by its name, this {what} is one of {part.total:,} parts; the others are not read"]


def missing_parts(root: Path, paths: Sequence[Path]) -> list[str]:
    """Return a problem for each group of files of a split, below `root`, whose names show that parts are missing."""
    groups: dict[tuple[str, str, str, str], dict[int, Part]] = defaultdict(dict)
    for path in paths:
        if part := part_of(path.stem):
            folder = f"{path.parent.name}/" if part.total is None and path.parent != root else ""
            groups[folder, part.before, part.total_text, path.suffix].setdefault(part.number, part)
    problems = []
    for (folder, _, _, suffix), parts in groups.items():
        if missing := _missing_numbers(parts):
            first = next(iter(parts.values()))
            names = (f"{folder}{first.named(number)}{suffix}" for number in missing)
            problems.append(f"shards are missing: {summarise(names)}; download them too")
    return problems


def _missing_numbers(parts: Mapping[int, Part]) -> list[int]:
    first = next(iter(parts.values()))
    is_from_one = 0 not in parts and (first.total is None or first.total in parts)
    last = max(parts) if first.total is None else first.total - 1 + is_from_one
    missing = [number for number in range(int(is_from_one), last + 1) if number not in parts]
    if first.total is None and not first.is_padded and (min(parts) > 1 or len(missing) >= len(parts)):
        return []  # years or versions
    return missing


def count_notes(folder: Path, dataset: ImageDataset) -> list[str]:
    """Return a note on each split with fewer photos than the description in `folder` states, as the hub's data sets have it.

    A description is the header of README.md, dataset_info.json or dataset_infos.json. One of several configurations is ignored:
    which of them the photos are is not known.
    """
    notes = []
    for path in (folder / name for name in ("README.md", "dataset_info.json", "dataset_infos.json")):
        stated = [(split_named(name), count) for name, count in _stated_counts(path)]
        if len({split for split, _ in stated}) < len(stated):
            continue
        for split, count in stated:
            if split is None or split in dataset.left_out:
                continue
            found = sum(photo.split == split for photo in dataset.skipped)
            found += len(dataset.splits[split]) if split in dataset.splits else 0
            if found < count:
                notes.append(
                    f"{path.name} states {count:,} photos of {split}, of which {found:,} are here; download the missing files"
                )
        if notes:
            break
    return notes


def _stated_counts(path: Path) -> Iterator[tuple[str, int]]:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_DESCRIPTION_BYTES:
            return
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".md":
            header = text.split("\n---", 1)[0] if text.startswith("---\n") else ""
            yield from ((name, int(count)) for name, count in _CARD_SPLIT.findall(header))
            return
        value: Any = json.loads(text)
        infos = [value] if "splits" in value else list(value.values())
        for info in infos:
            for name, split in info["splits"].items():
                yield name, int(split["num_examples"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return  # another tool's file
