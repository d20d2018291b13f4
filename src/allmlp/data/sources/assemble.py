"""Construction of an `ImageDataset` from the paths and class names of a source's splits, with the checks common to all."""

import dataclasses
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from allmlp.data.dataset import ImageDataset, Reader, Split, SplitName
from allmlp.data.sources.sample_ids import sample_id_of, shared_folders, unique_sample_ids
from allmlp.errors import DataError
from allmlp.io.display import bullets, escape, summarise

__all__ = [
    "FoundSplit",
    "assemble",
    "class_difference_problems",
    "class_name_problems",
    "raise_problems",
    "sorted_class_names",
]


@dataclasses.dataclass(frozen=True, eq=False)
class FoundSplit:
    """Photos of one split as listed by a source: photo i of `reader` has `paths[i]` and `class_names[i]`."""

    paths: Sequence[str | None]
    class_names: Sequence[str]
    reader: Reader


def assemble(
    source: str, found: Mapping[SplitName, FoundSplit], class_names: Iterable[str], notes: Sequence[str] = ()
) -> ImageDataset:
    """Give every photo its sample ID, sort each split by sample ID, and number the classes.

    `class_names` may include classes without photos; they are checked and sorted here.

    Raises:
        DataError: a split without photos, fewer than two classes with photos, or invalid class names.
    """
    original = set(class_names)
    used = sorted(set().union(*(split.class_names for split in found.values())))
    problems = [
        f"the {name} split has no photos; add photos or remove it" for name in found if not found[name].class_names
    ]
    problems += class_name_problems(original)
    if len(used) == 1:
        problems.append(
            f"only one class has photos, '{escape(used[0])}'; a classifier needs at least two classes, "
            "each with its own folder or label"
        )
    raise_problems(source, problems)
    if unused := sorted_class_names(original - set(used)):
        notes = [*notes, f"classes without photos: {summarise(unused)}"]
    ordered = sorted_class_names(unicodedata.normalize("NFC", name) for name in original)
    # Over all splits: all photos of a small split may happen to share a folder.
    shared = shared_folders([path for split in found.values() for path in split.paths])
    numbers = {name: number for number, name in enumerate(ordered)}
    splits = {
        name: _sorted_split(found[name], numbers, shared) for name in ("train", "validation", "test") if name in found
    }
    return ImageDataset(ordered, splits, source, tuple(notes))


def _sorted_split(found: FoundSplit, numbers: Mapping[str, int], shared: int) -> Split:
    normalised = {name: unicodedata.normalize("NFC", name) for name in set(found.class_names)}
    names = [normalised[name] for name in found.class_names]
    candidates = [
        None if path is None else sample_id_of(path, name, num_shared_folders=shared)
        for path, name in zip(found.paths, names, strict=True)
    ]
    sample_ids = unique_sample_ids(candidates, names, found.reader.read)
    labels = np.array([numbers[name] for name in names], dtype=np.int64)
    order = sorted(range(len(sample_ids)), key=sample_ids.__getitem__)
    return Split(tuple(sample_ids), labels, found.reader).subset(order)


def sorted_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names in the order used everywhere: numeric if all are numbers, else by code point."""
    distinct = set(names)
    if all(name.isascii() and name.isdigit() for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def class_name_problems(names: Iterable[str]) -> list[str]:
    """Return the problems of class names: unprintable, or different only by case or Unicode normalisation."""
    problems = []
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        alike[unicodedata.normalize("NFC", name).casefold()].append(name)
        if not name.isprintable() or not name.strip():
            problems.append(f"class name '{escape(name)}' is empty or has unprintable characters; rename it")
    for group in alike.values():
        if len(group) > 1:
            shown = ", ".join(ascii(name) for name in group)
            problems.append(
                f"class names {shown} differ only by case or Unicode normalisation; rename or merge these classes"
            )
    return problems


def class_difference_problems(classes: Mapping[SplitName, Iterable[str]]) -> list[str]:
    """Return one problem per split that lacks classes of another split."""
    sets = {split: set(names) for split, names in classes.items()}
    problems = []
    for split, names in sets.items():
        if missing := set().union(*sets.values()) - names:
            holders = [other for other in sets if sets[other] & missing]
            problems.append(
                f"the splits have different classes: {split} lacks {summarise(sorted(missing))}, "
                f"which {' and '.join(holders)} {'has' if len(holders) == 1 else 'have'}; "
                "add photos of them, or open only the folder or file of one split"
            )
    return problems


def raise_problems(source: str, problems: Sequence[str]) -> None:
    """Raise one DataError that lists all problems, if there are any."""
    if len(problems) == 1:
        raise DataError(f"{escape(source)}: {problems[0]}.")
    if problems:
        raise DataError(f"{escape(source)}: {len(problems)} problems:\n{bullets(problems)}")
