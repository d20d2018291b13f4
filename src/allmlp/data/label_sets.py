"""Label sets: the classes that count as correct for each photo, from a JSON file such as ImageNet's ReaL labels.

ReaL (Beyer et al., "Are we done with ImageNet?", arXiv 2006.07159) lists 50,000 sets of ImageNet-1k's classes by number,
in the order of the validation photos' names, ILSVRC2012_val_00000001.JPEG and so on. A photo with an empty set does not count.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from allmlp.data.public.imagenet_classes import NUM_IMAGENET_CLASSES, label_names, synsets
from allmlp.errors import DataError
from allmlp.io.display import bullets, escape, quote, summarise

__all__ = ["read_label_sets"]

_IMAGENET_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.[A-Za-z]+")

LabelSets = tuple[tuple[int, ...], ...]


def read_label_sets(
    path: str | Path, sample_ids: Sequence[str], class_numbers: Mapping[str, int], *, num_classes: int
) -> LabelSets:
    """Return the classes of each photo, by number, in the order of `sample_ids`.

    Args:
        path: a JSON file: ImageNet's ReaL list, or an object {photo: [class, ...]}, where a photo is a sample ID, such as
            "dress/x.jpg", or a file's name that only one photo has, and a class is a name or a number.
        sample_ids: of the photos.
        class_numbers: the classes' names, and any other names for them.
        num_classes: K; numbers are 0 to K - 1, in an object those of the checkpoint, in ImageNet's list ImageNet's.

    Raises:
        DataError: a file that cannot be read, a list for other classes than ImageNet's, photos without an entry, and invalid
            entries: all of them.
    """
    values, repeated = _read(Path(path))
    problems = {"more than one entry": repeated} if repeated else {}
    numbers: Sequence[int] = range(num_classes)
    if isinstance(values, list):
        numbers = _imagenet_numbers(class_numbers, num_classes, where=path)
        entries = _of_imagenet(values, sample_ids)
    else:
        entries = _of_names(values, sample_ids)
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
            f"{escape(path)}: {number:,} {'entry' if number == 1 else 'entries'} of label sets cannot be used:\n"
            f'{bullets(lines)}\nExpected an object such as {{"dress/x.jpg": ["dress", "skirt"], ...}} with an entry for every '
            f"photo, an empty one for a photo that does not count, or ImageNet's ReaL list.{known}"
        )
    if not any(sets):
        raise DataError(f"{escape(path)}: all {len(sets):,} sets of these photos are empty, so that no photo counts.")
    return tuple(sets)


def _read(path: Path) -> tuple[Any, list[str]]:
    """Return what the file holds, a list or an object, and the object's names that come more than once."""
    repeated: list[str] = []

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return dict(pairs)

    try:
        if not path.is_file():  # a pipe would hang whoever opens it
            raise DataError(f"{escape(path)}: there is no such file of label sets, or it is not a regular file.")
        values = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=keep)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{escape(path)}: could not be read as JSON: {error}.") from error
    if not isinstance(values, list | dict):
        raise DataError(f"{escape(path)}: holds a {type(values).__name__}; expected an object or a list of label sets.")
    return values, repeated


# An entry, or what is wrong.
_Entry = tuple[Any, str]


def _imagenet_numbers(class_numbers: Mapping[str, int], num_classes: int, *, where: str | Path) -> list[int]:
    """Return the checkpoint's number of each of ImageNet's classes, which it may have in another order."""
    start = f"{escape(where)}: a list is ImageNet's, by the numbers of its 1,000 classes; this checkpoint"
    if num_classes != NUM_IMAGENET_CLASSES["imagenet-1k"]:
        raise DataError(f"{start} has {num_classes:,}. For other classes give an object of names.")
    names = list(zip(synsets("imagenet-1k"), label_names("imagenet-1k"), strict=True))
    missing = [name for synset, name in names if not class_numbers.keys() & {synset, name}]
    if missing:
        raise DataError(
            f"{start} does not know {len(missing):,} of them by name or synset: {summarise(missing)}. For other classes, or "
            "for weights without the names of theirs, give an object."
        )
    return [class_numbers[synset if synset in class_numbers else name] for synset, name in names]


def _of_imagenet(values: list[Any], sample_ids: Sequence[str]) -> list[_Entry]:
    entries: list[_Entry] = []
    for sample_id in sample_ids:
        match = _IMAGENET_NAME.fullmatch(sample_id.rpartition("/")[2])
        number = int(match[1]) if match else 0
        if match is None:
            entries.append(([], "not named like ILSVRC2012_val_00000001.JPEG, so its position in the list is unknown"))
        elif not 1 <= number <= len(values):
            entries.append(([], f"the list ends at {len(values):,}"))
        else:
            entries.append((values[number - 1], ""))
    return entries


def _of_names(values: Mapping[str, Any], sample_ids: Sequence[str]) -> list[_Entry]:
    counts = Counter(sample_id.rpartition("/")[2] for sample_id in sample_ids)
    entries: list[_Entry] = []
    for sample_id in sample_ids:
        name = sample_id.rpartition("/")[2]
        if sample_id in values:
            entries.append((values[sample_id], ""))
        elif name not in values:
            entries.append(([], "no entry"))
        elif counts[name] > 1:
            entries.append(([], f"{counts[name]} photos are called {escape(name)}; name it by its class, too"))
        else:
            entries.append((values[name], ""))
    return entries


def _classes(entry: Any, class_numbers: Mapping[str, int], by_number: Sequence[int]) -> tuple[tuple[int, ...], str]:
    if not isinstance(entry, list):
        return (), f"expected a list of classes, got {quote(entry, limit=60)}"
    numbers, bad = set(), []
    for name in entry:
        if isinstance(name, str) and name in class_numbers:
            numbers.add(class_numbers[name])
        elif isinstance(name, int) and not isinstance(name, bool) and 0 <= name < len(by_number):
            numbers.add(by_number[name])
        else:
            bad.append(quote(name, limit=60))
    if bad:
        return (), f"no classes of the checkpoint: {', '.join(bad[:5])}{', ...' if len(bad) > 5 else ''}"
    return tuple(sorted(numbers)), ""
