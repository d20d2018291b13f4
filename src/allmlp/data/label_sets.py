"""Label sets: the classes that count as correct for each photo, from a JSON file such as ImageNet's ReaL labels.

ReaL (Beyer et al., "Are we done with ImageNet?", arXiv 2006.07159) is a list of 50,000 sets of ImageNet-1k class numbers, in
the order of the validation photos' file names (ILSVRC2012_val_00000001.JPEG, ...). A photo with an empty set is not scored.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from allmlp.data.public.imagenet_classes import NUM_IMAGENET_CLASSES, label_names, synsets
from allmlp.errors import DataError
from allmlp.io.display import bullets, escape, quote, summarise
from allmlp.io.path_problem import path_advice, path_text

__all__ = ["read_label_sets"]

_IMAGENET_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.[A-Za-z]+")

LabelSets = tuple[tuple[int, ...], ...]


def read_label_sets(
    path: str | Path, sample_ids: Sequence[str], class_numbers: Mapping[str, int], *, num_classes: int
) -> LabelSets:
    """Return the class numbers of each photo's label set, in the order of `sample_ids`.

    Args:
        path: a JSON file: ImageNet's ReaL list, or an object {photo: [class, ...]}, where a photo is a sample ID such as
            "dress/x.jpg" or a unique file name, and a class is a name or a number.
        sample_ids: the photos' sample IDs.
        class_numbers: class number by class name or alias.
        num_classes: K. Numbers are 0 to K - 1: the checkpoint's in an object, ImageNet's in the ReaL list.

    Raises:
        DataError: the file cannot be read, the list is not for the checkpoint's classes, or photos have no entry or an invalid
            one (all are reported).
    """
    if (text := path_text(path)) is None:
        raise DataError(f"The file of label sets is {quote(path)}; expected a path.")
    values, repeated = _read(Path(text))
    problems = {"more than one entry": repeated} if repeated else {}
    numbers: Sequence[int] = range(num_classes)
    if isinstance(values, list):
        numbers = _imagenet_numbers(class_numbers, num_classes, where=path)
        entries = _entries_by_number(values, sample_ids)
    else:
        entries = _entries_by_name(values, sample_ids)
    sets = []
    for sample_id, (entry, problem) in zip(sample_ids, entries, strict=True):
        found, bad = ((), problem) if problem else _classes(entry, class_numbers, numbers)
        sets.append(found)
        if bad:
            problems.setdefault(bad, []).append(sample_id)
    if problems:
        number = sum(map(len, problems.values()))
        lines = [f"{summarise(names, limit=3)}: {problem}" for problem, names in problems.items()]
        known = f"0 to {num_classes - 1:,}" + (f", or {summarise(class_numbers)}" if class_numbers else "")
        known = "" if isinstance(values, list) else f" The classes are {known}."
        raise DataError(
            f"{escape(path)}: {number:,} {'entry' if number == 1 else 'entries'} of the label sets cannot be used:\n"
            f'{bullets(lines)}\nExpected an object such as {{"dress/x.jpg": ["dress", "skirt"], ...}} with one entry per '
            f"photo (an empty list for a photo that is not scored), or ImageNet's ReaL list.{known}"
        )
    if not any(sets):
        raise DataError(
            f"{escape(path)}: all {len(sets):,} label sets of these photos are empty; there is nothing to score."
        )
    return tuple(sets)


def _read(path: Path) -> tuple[Any, list[str]]:
    """Return the file's list or object, and the keys that occur more than once in the object."""
    repeated: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs = [(_composed(name), value) for name, value in pairs]  # as sample IDs are
        repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        if not path.is_file():  # opening a pipe would block
            problem = "this is not a file." if path.exists() else f"there is no such file. {path_advice(path)}"
            raise DataError(f"{escape(path)}: {problem}".rstrip())
        values = json.loads(path.read_bytes(), object_pairs_hook=keep)  # UTF-8, or what its BOM says
    except OSError as error:
        raise DataError(f"{escape(path)}: could not be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{escape(path)}: could not be read as JSON: {error}.") from error
    if not isinstance(values, list | dict):
        raise DataError(
            f"{escape(path)}: holds JSON of type {type(values).__name__}; expected an object or a list of label sets."
        )
    return values, repeated


# The value of an entry, and what is wrong with it ("" if nothing).
_Entry = tuple[Any, str]


def _imagenet_numbers(class_numbers: Mapping[str, int], num_classes: int, *, where: str | Path) -> list[int]:
    """Return the checkpoint's number for each ImageNet class; the checkpoint may order its classes differently."""
    start = f"{escape(where)}: a list refers to ImageNet's 1,000 classes by number; this checkpoint"
    if num_classes != NUM_IMAGENET_CLASSES["imagenet-1k"]:
        raise DataError(f"{start} has {num_classes:,} classes. For other classes, use an object with class names.")
    names = list(zip(synsets("imagenet-1k"), label_names("imagenet-1k"), strict=True))
    missing = [name for synset, name in names if not class_numbers.keys() & {synset, name}]
    if missing:
        raise DataError(
            f"{start} lacks {len(missing):,} of them by name and synset: {summarise(missing)}. For other classes, or "
            "for a checkpoint without class names, use an object."
        )
    return [class_numbers[synset if synset in class_numbers else name] for synset, name in names]


def _entries_by_number(values: list[Any], sample_ids: Sequence[str]) -> list[_Entry]:
    entries: list[_Entry] = []
    for sample_id in sample_ids:
        match = _IMAGENET_NAME.fullmatch(sample_id.rpartition("/")[2])
        number = int(match[1]) if match else 0
        if match is None:
            entries.append(([], "not named like ILSVRC2012_val_00000001.JPEG, so its position in the list is unknown"))
        elif not 1 <= number <= len(values):
            entries.append(([], f"the list has only {len(values):,} entries"))
        else:
            entries.append((values[number - 1], ""))
    return entries


def _entries_by_name(values: Mapping[str, Any], sample_ids: Sequence[str]) -> list[_Entry]:
    counts = Counter(sample_id.rpartition("/")[2] for sample_id in sample_ids)
    entries: list[_Entry] = []
    for sample_id in sample_ids:
        name = sample_id.rpartition("/")[2]
        if sample_id in values:
            entries.append((values[sample_id], ""))
        elif name not in values:
            entries.append(([], "no entry"))
        elif counts[name] > 1:
            entries.append(([], f"{counts[name]} photos are named {escape(name)}; use sample IDs, such as dress/x.jpg"))
        else:
            entries.append((values[name], ""))
    return entries


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _classes(entry: Any, class_numbers: Mapping[str, int], by_number: Sequence[int]) -> tuple[tuple[int, ...], str]:
    if not isinstance(entry, list):
        return (), f"expected a list of classes, got {quote(entry, limit=60)}"
    numbers, bad = set(), []
    for name in entry:
        if isinstance(name, str) and (known := name if name in class_numbers else _composed(name)) in class_numbers:
            numbers.add(class_numbers[known])
        elif isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(by_number):
            numbers.add(by_number[name])
        else:
            bad.append(quote(name, limit=60))
    if bad:
        return (), f"not classes of the checkpoint: {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}"
    return tuple(sorted(numbers)), ""
