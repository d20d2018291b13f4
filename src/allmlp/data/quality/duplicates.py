"""Copies: photos with the same bytes, within a split, across splits and under several classes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from allmlp.data.dataset import ImageDataset
from allmlp.io.display import summarise

__all__ = ["PhotoRecord", "copy_notes", "exact_groups", "has_label_conflict", "is_leak"]

_MAX_NAMED = 3


@dataclass(frozen=True, slots=True)
class PhotoRecord:
    """A photo of a data set: its split, its name for messages, its class, and the digest of its bytes ("" if unknown)."""

    split: str
    name: str
    class_name: str
    digest: str


def exact_groups(photos: Sequence[PhotoRecord]) -> list[list[int]]:
    """Return the groups of two or more photos with the same bytes, as indices, in order of their first photo."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        if photo.digest:
            groups[photo.digest].append(index)
    return [group for group in groups.values() if len(group) > 1]


def is_leak(photos: Iterable[PhotoRecord]) -> bool:
    """Return whether copies are in more than one split."""
    return len({photo.split for photo in photos}) > 1


def has_label_conflict(photos: Iterable[PhotoRecord]) -> bool:
    """Return whether copies are in more than one class."""
    return len({photo.class_name for photo in photos}) > 1


def copy_notes(dataset: ImageDataset, digests: Mapping[str, Sequence[str]]) -> list[str]:
    """Return notes on copies in a data set: leaks between splits, photos with several labels, and copies within a split.

    `digests` are those of the photos by split, in their order. Validation photos that were held out of train count as train:
    no copy of them is left there.
    """
    records = [
        PhotoRecord("train" if dataset.is_held_out and split == "validation" else split, sample_id, class_name, digest)
        for split, photos in dataset.splits.items()
        for sample_id, class_name, digest in zip(
            photos.sample_ids, (dataset.class_names[label] for label in photos.labels), digests[split], strict=True
        )
    ]
    groups = [[records[index] for index in group] for group in exact_groups(records)]
    return [*_leak_notes(groups), *_label_notes(groups), *_repetition_notes(groups)]


def _leak_notes(groups: Sequence[Sequence[PhotoRecord]]) -> list[str]:
    leaks: dict[tuple[str, str], list[str]] = defaultdict(list)
    for group in groups:
        splits = sorted({photo.split for photo in group}, key=("train", "validation", "test").index)
        for number, split in enumerate(splits):
            for other in splits[number + 1 :]:
                leaks[split, other].append(next(photo.name for photo in group if photo.split == split))
    return [
        f"{_photos(len(names))} of {split} {_are(names)} in {other}: {_named(names)}. The {other} score will be too high"
        for (split, other), names in leaks.items()
    ]


def _label_notes(groups: Sequence[Sequence[PhotoRecord]]) -> list[str]:
    conflicts = [group for group in groups if has_label_conflict(group)]
    if not conflicts:
        return []
    have_two = all(len({photo.class_name for photo in group}) == 2 for group in conflicts)
    count = f"one photo has {'two' if have_two else 'several'} labels"
    if len(conflicts) > 1:
        count = f"{len(conflicts):,} photos have {'two' if have_two else 'several'} labels"
    shown = [_one_per_class(group) for group in conflicts]
    return [f"{count}: {_named(shown)}"]


def _one_per_class(group: Sequence[PhotoRecord]) -> str:
    first = {photo.class_name: photo.name for photo in reversed(group)}
    return " = ".join(first[name] for name in sorted(first))


def _repetition_notes(groups: Sequence[Sequence[PhotoRecord]]) -> list[str]:
    repeated: dict[str, list[str]] = defaultdict(list)
    for group in groups:
        for split in dict.fromkeys(photo.split for photo in group):
            members = [photo for photo in group if photo.split == split]
            if len(members) > 1 and not has_label_conflict(members):
                repeated[split].append(" = ".join(photo.name for photo in members[:_MAX_NAMED]))
    return [
        f"{_photos(len(names))} {'occurs' if len(names) == 1 else 'occur'} more than once in {split}: {_named(names)}"
        for split, names in repeated.items()
    ]


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count:,} photos"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _named(names: Sequence[str]) -> str:
    return summarise(names, limit=_MAX_NAMED)
