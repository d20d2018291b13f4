"""Findings about classes, names, folders, and files that are not part of the data set."""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from io import BufferedReader
from pathlib import Path

from allmlp.data.dataset import ImageDataset
from allmlp.data.quality.findings import CheckedPhoto, finding_of, not_widely_read, unread_formats
from allmlp.data.quality.report import Finding
from allmlp.data.sources.file_reader import FileReader
from allmlp.data.sources.folder import kind_of_path, list_folder
from allmlp.data.sources.folder_layout import Listing, is_in_hidden
from allmlp.data.sources.zip_folder import ZipReader, list_zip
from allmlp.io.display import counted, escape
from allmlp.io.file_kinds import PHOTO_KINDS, START_BYTES, FileKind, kind_of_file
from allmlp.io.zip_archive import ZIP_ERRORS, ZipMember, read_start

__all__ = ["class_findings", "class_sizes", "file_findings", "name_findings"]

# Files that are not in the data set with their kinds, paths that were skipped with the reason, and folders without photos.
_Surroundings = tuple[list[tuple[str, FileKind | None]], list[tuple[str, str]], list[str]]

_FEW_PHOTOS = 5
_MAX_IMBALANCE = 10


def class_sizes(dataset: ImageDataset) -> dict[str, dict[str, int]]:
    """Return the number of photos of each class, by split."""
    counts = {split: photos.labels.tolist() for split, photos in dataset.splits.items()}
    return {
        name: {split: labels.count(label) for split, labels in counts.items()}
        for label, name in enumerate(dataset.class_names)
    }


def class_findings(sizes: Mapping[str, Mapping[str, int]]) -> list[Finding]:
    """Return a single class, classes with few photos, and an imbalance of more than 10 to 1, in the train split."""
    split = "train" if any("train" in counts for counts in sizes.values()) else next(iter(sizes[next(iter(sizes))]))
    in_split = {name: counts.get(split, 0) for name, counts in sizes.items()}
    few = [
        (name, f"{counted(count, 'photo')} in {split}") for name, count in in_split.items() if 0 < count < _FEW_PHOTOS
    ]
    present = {name: count for name, count in in_split.items() if count}
    findings = finding_of(
        "few-photos",
        "note",
        f"{len(few)} {'class has' if len(few) == 1 else 'classes have'} fewer than {_FEW_PHOTOS} photos in {split}",
        few,
        why="a few photos show one class too little to learn it or to score it",
        advice="add photos, or merge classes",
    )
    if len(present) == 1:
        findings += finding_of(
            "one-class",
            "error",
            f"only one class has photos in {split}",
            [(name, f"{counted(count, 'photo')} in {split}") for name, count in present.items()],
            why="a classifier needs at least two classes, so training refuses the data set",
            advice="put the photos of each class into a folder of its own, or give the CSV file that has their labels",
        )
    if present and max(present.values()) > _MAX_IMBALANCE * min(present.values()):
        low, high = min(present, key=lambda name: present[name]), max(present, key=lambda name: present[name])
        findings += finding_of(
            "imbalance",
            "warning",
            f"the largest class of {split}, {escape(high)}, has {present[high] / present[low]:.0f} times as many photos as "
            f"the smallest, {escape(low)}",
            [(name, f"{counted(present[name], 'photo')} in {split}") for name in (high, low)],
            why="a model prefers frequent classes, and top-1 does not show it",
            advice="add photos of rare classes, or train with --balance",
        )
    return findings


def name_findings(photos: Sequence[CheckedPhoto]) -> list[Finding]:
    """Return names of one split that differ only by case or Unicode form."""
    alike: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        alike[unicodedata.normalize("NFC", photo.record.name).casefold()].append(photo.record.name)
    groups = [tuple(sorted(names)) for names in alike.values() if len(set(names)) > 1]
    if not groups:
        return []
    count = "1 group of names differs" if len(groups) == 1 else f"{len(groups):,} groups of names differ"
    return [
        Finding(
            kind="similar-names",
            severity="warning",
            summary=f"{count} only by case or Unicode form",
            groups=tuple(groups),
            details=tuple(map(_unicode_forms, groups)),
            why="on Windows and macOS only one of the files survives a copy",
            advice="rename them",
        )
    ]


def _unicode_forms(names: Sequence[str]) -> str:
    """Return in which characters names differ that look the same; "" if they differ by case, as anyone can see."""
    if len({unicodedata.normalize("NFC", name) for name in names}) == len(names):
        return ""
    differing = next(parts for parts in zip(*(name.split("/") for name in names), strict=True) if len(set(parts)) > 1)
    return "spelled " + " and ".join(map(ascii, differing))


def file_findings(
    dataset: ImageDataset, photos: Sequence[CheckedPhoto], sizes: Mapping[str, Mapping[str, int]]
) -> list[Finding]:
    """Return HEIC and AVIF photos, files next to the photos that are not part of the data set, and empty class folders."""
    stray, skipped, empty = _around(dataset)
    empty += [name for name, counts in sizes.items() if not any(counts.values()) and not _is_folder_of(name, empty)]
    formats = [*not_widely_read(photos, stray), *unread_formats(stray)]
    known = {file for finding in formats for group in finding.groups for file in group}
    misnamed = [(name, f"{kind}, left out") for name, kind in stray if kind in PHOTO_KINDS and name not in known]
    known.update(dict(misnamed))
    others = [(name, str(kind or "an unknown kind of file")) for name, kind in stray if name not in known] + skipped
    folders = f"{len(empty)} class {'folder has' if len(empty) == 1 else 'folders have'} no photos"
    return [
        *formats,
        *finding_of(
            "left-out",
            "warning",
            "{n} are left out because of the extension",
            misnamed,
            why="they are missing from their class",
            advice="give them the extension of their format",
        ),
        *finding_of(
            "stray",
            "note",
            "1 file is not a photo" if len(others) == 1 else f"{len(others):,} files are not photos",
            others,
            why="training ignores them",
            advice="check that they are not photos of another format, or move them elsewhere",
        ),
        *finding_of(
            "empty-class",
            "warning",
            folders,
            [(name, "") for name in empty],
            why="a class without photos cannot be learned: training leaves it out",
            advice="add photos, or remove the folder",
        ),
    ]


def _is_folder_of(name: str, folders: Sequence[str]) -> bool:
    return any(name in folder.split("/") for folder in folders)


def _around(dataset: ImageDataset) -> _Surroundings:
    """Return what a folder or zip has besides the photos of the data set; nothing for other sources."""
    readers = [split.reader for split in dataset.splits.values()]
    if dataset.folder is not None and all(isinstance(r, FileReader) and r.root == dataset.folder for r in readers):
        listing = list_folder(dataset.folder)
        kinds = [(path, kind_of_path(dataset.folder / path)) for path in listing.ignored if not is_in_hidden(path)]
        return _surroundings(listing, kinds)
    if readers and all(isinstance(reader, ZipReader) for reader in readers):
        return _in_zip(Path(dataset.source))
    return [], [], []


def _surroundings(listing: Listing, kinds: Sequence[tuple[str, FileKind | None]]) -> _Surroundings:
    skipped = [(escape(path), why) for path, why in listing.skipped if not is_in_hidden(path)]
    stray = [(escape(path), kind) for path, kind in kinds]
    return stray, skipped, _without_photos(listing.folders, listing.photos)


def _without_photos(folders: Sequence[str], photos: Sequence[str]) -> list[str]:
    """Return the outermost folders without any photo below them."""
    used = {path[:position] for path in photos for position, letter in enumerate(path) if letter == "/"}
    empty = sorted(folder for folder in folders if folder not in used and not is_in_hidden(folder))
    return [f"{escape(folder)}/" for folder in empty if folder.rpartition("/")[0] in {*used, ""}]


def _in_zip(path: Path) -> _Surroundings:
    try:
        listing, ignored = list_zip(path)
        with path.open("rb") as file:
            kinds = [
                (name, _kind_of_member(file, zipped)) for name, zipped in ignored.items() if not is_in_hidden(name)
            ]
    except ZIP_ERRORS:  # it changed since it was opened
        return [], [], []
    return _surroundings(listing, kinds)


def _kind_of_member(file: BufferedReader, member: ZipMember) -> FileKind | None:
    try:
        return kind_of_file(read_start(file, member, START_BYTES))
    except ZIP_ERRORS:
        return None
