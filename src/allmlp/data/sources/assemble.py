"""Construction of an `ImageDataset` from the paths and class names of a source's splits, with the checks common to all."""

import dataclasses
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from allmlp.data.dataset import ImageDataset, Reader, Split, SplitName, with_notes
from allmlp.data.sources.sample_ids import sample_id_of, shared_folders, unique_sample_ids
from allmlp.errors import DataError
from allmlp.io.display import bullets, escape, quote, summarise

__all__ = ["FoundSplit", "assemble", "raise_problems"]

_MAX_CLASS_NAME = 200  # characters; the longest names of ImageNet-21k have 175


@dataclasses.dataclass(frozen=True, eq=False)
class FoundSplit:
    """Photos of one split as listed by a source: photo i of `reader` has `paths[i]` and `class_names[i]`.

    `sample_ids` are the unique sample IDs of a source that keeps them; None derives them from the paths.
    """

    paths: Sequence[str | None]
    class_names: Sequence[str]
    reader: Reader
    sample_ids: Sequence[str] | None = None


def assemble(
    source: str,
    found: Mapping[SplitName, FoundSplit],
    class_names: Iterable[str],
    notes: Sequence[str] = (),
    *,
    problems: Sequence[str] = (),
    left_out: Mapping[SplitName, str] | None = None,
) -> ImageDataset:
    """Give every photo its sample ID, sort each split by sample ID, and number the classes.

    `class_names` may include classes without photos; they are checked and sorted here. `notes` and `left_out` are those of
    `ImageDataset`. A single class is accepted: photos of one class can be scored.

    Raises:
        DataError: the `problems` that the source found, a split without photos, invalid class names, or classes that train
            lacks; the message ends with the notes.
    """
    original = set(class_names)
    used = set().union(*(split.class_names for split in found.values()))
    problems = [*problems]
    if not problems:
        problems += [
            f"the {name} split has no photos; add photos or remove it" for name in found if not found[name].class_names
        ]
    name_problems = _class_name_problems(original)
    missing, lacking = _class_differences({split: found[split].class_names for split in found}, set(name_problems))
    raise_problems(source, [*dict.fromkeys(name_problems.values()), *problems, *missing], notes)
    notes = [*notes, *lacking]
    if unused := _sorted_class_names(original - used):
        notes.append(f"classes without photos: {summarise(unused)}")
    ordered = _sorted_class_names(unicodedata.normalize("NFC", name) for name in original)
    # Over all splits: all photos of a small split may happen to share a folder.
    shared = shared_folders([path for split in found.values() if split.sample_ids is None for path in split.paths])
    numbers = {name: number for number, name in enumerate(ordered)}
    splits = {
        name: _sorted_split(found[name], numbers, shared) for name in ("train", "validation", "test") if name in found
    }
    return ImageDataset(ordered, splits, source, tuple(notes), left_out=left_out or {})


def _sorted_split(found: FoundSplit, numbers: Mapping[str, int], shared: int) -> Split:
    normalised = {name: unicodedata.normalize("NFC", name) for name in set(found.class_names)}
    names = [normalised[name] for name in found.class_names]
    sample_ids = found.sample_ids
    if sample_ids is None:
        candidates = [
            None if path is None else sample_id_of(path, name, num_shared_folders=shared)
            for path, name in zip(found.paths, names, strict=True)
        ]
        sample_ids = unique_sample_ids(candidates, names, found.reader.read)
    labels = np.array([numbers[name] for name in names], dtype=np.int64)
    order = sorted(range(len(sample_ids)), key=sample_ids.__getitem__)
    return Split(tuple(sample_ids), labels, found.reader).subset(order)


def _sorted_class_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names in the order used everywhere: numeric if all are numbers, else by code point."""
    distinct = set(names)
    if all(name.isascii() and name.isdigit() for name in distinct):
        # By length, then by digit: Python's int() has a limit of digits.
        return tuple(sorted(distinct, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name)))
    return tuple(sorted(distinct))


def _class_name_problems(names: Iterable[str]) -> dict[str, str]:
    """Return the problem of each invalid class name: too long, unprintable, or like another one. Several may share one."""
    problems: dict[str, str] = {}
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        alike[_folded(name)].append(name)
        if len(name) > _MAX_CLASS_NAME:
            problems[name] = (
                f"class name {quote(name, limit=60)} has {len(name):,} characters; shorten it to {_MAX_CLASS_NAME} or fewer"
            )
        elif any("\udc80" <= c <= "\udcff" for c in name):  # bytes that the system's encoding lacks
            encoding = sys.getfilesystemencoding()
            remedy = "rename it" if encoding == "utf-8" else "set the environment variable PYTHONUTF8=1, or rename it"
            problems[name] = (
                f"class name {quote(name, limit=60)} is not text in {encoding}, the encoding in use; {remedy}"
            )
        elif not name.isprintable() or not name.strip():
            problems[name] = f"class name {quote(name, limit=60)} is empty or has unprintable characters; rename it"
    for names_alike in alike.values():
        group = [name for name in names_alike if name not in problems]
        if len(group) > 1:
            shown = ", ".join(ascii(name) for name in group)
            problem = f"class names that differ only by {_differences(group)}: {shown}; rename or merge these classes"
            problems |= dict.fromkeys(group, problem)
    return problems


_FOLDS: Mapping[str, Callable[[str], str]] = {
    "Unicode normalisation": lambda name: unicodedata.normalize("NFC", name),
    "case": str.casefold,
    "blanks": lambda name: " ".join(name.split()),
}


def _folded(name: str, *, without: str = "") -> str:
    """Return what is left of a name when these differences are ignored, except one of them."""
    for kind, fold in _FOLDS.items():
        name = name if kind == without else fold(name)
    return name


def _differences(names: Sequence[str]) -> str:
    """Return in what ways names differ that are alike when folded."""
    return " and ".join(kind for kind in _FOLDS if len({_folded(name, without=kind) for name in names}) > 1)


def _class_differences(classes: Mapping[SplitName, Iterable[str]], invalid: set[str]) -> tuple[list[str], list[str]]:
    """Return a problem for each split with classes that train lacks, and a note for each that lacks classes of others.

    A class that train lacks could not be learnt; rare classes may well be missing from a small split.
    """
    sets = {
        split: {unicodedata.normalize("NFC", name) for name in set(names) - invalid} for split, names in classes.items()
    }
    problems, notes = [], []
    everything = set().union(*sets.values())
    for split, names in sets.items():
        if "train" in sets and (missing := names - sets["train"]):
            problems.append(
                f"train lacks {_quoted(missing)}, which {split} has; add photos of them to train, or remove them from {split}"
            )
        if split != "train" and (missing := sets.get("train", everything) - names):
            notes.append(f"{split} has no photos of {_quoted(missing)}")
    return problems, notes


def _quoted(names: Iterable[str]) -> str:
    return summarise(map(quote, _sorted_class_names(names)))


def raise_problems(source: str, problems: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Raise one DataError that lists all problems, if there are any, and then the notes."""
    if len(problems) == 1:
        raise DataError(with_notes(f"{escape(source)}: {problems[0]}.", notes))
    if problems:
        raise DataError(with_notes(f"{escape(source)}: {len(problems)} problems:\n{bullets(problems)}", notes))
