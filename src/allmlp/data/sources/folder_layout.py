"""Splits and classes of the photos in a folder or zip, derived from their relative paths only."""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from allmlp.data.completeness import part_notes
from allmlp.data.dataset import ImageDataset, Reader, SplitName, with_notes
from allmlp.data.decoding.more_formats import HEIC_KINDS, INSTALL_HEIC, is_read
from allmlp.data.folder_tree import FolderTree
from allmlp.data.sources.assemble import FoundSplit, assemble
from allmlp.data.sources.split_folders import Reading, read_as_classes, read_as_splits, read_tree
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import counted, escape, summarise
from allmlp.io.file_kinds import PHOTO_EXTENSIONS, PHOTO_FORMATS, FileKind

__all__ = [
    "LAYOUTS",
    "Arrangement",
    "FolderOptions",
    "Listing",
    "arrange",
    "assemble_arrangement",
    "has_photo_ending",
    "is_hidden",
    "is_in_hidden",
    "is_photo_name",
    "unread_photos",
]

_MAX_TREE_LINES = 20
_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar")

# Folders that macOS, Windows, Linux, Python and the storage of Synology, QNAP, NetApp and Netgear add: trash, previews,
# snapshots.
_SYSTEM_NAMES = {
    *("__macosx", "$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "__pycache__"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", "@sharesnap", "~snapshot"),
    *("@appstore", "@database", "@docker", "@sharebin", "@synologydrive", "@s2s", "@img_bkp_cache", "@__thumb"),
    *("network trash folder", "temporary items", "thumbs.db", "desktop.ini", "recycle bin", "network recycle bin"),
}
_SYSTEM_ENDINGS = (
    "@synoeastream",
    "@synoresource",
)  # Synology's attributes of files, alone or after the name of the file
_RECOVERED = re.compile(r"found\.\d{3}", re.IGNORECASE)  # by Windows, after a check of the disk

LAYOUTS = f"""Supported layouts:
  a folder or a zip   train/<class>/**/*.jpg, optionally with validation/ and test/ next to train/ (or other usual names),
                      or <class>/**/*.jpg   ({PHOTO_FORMATS})
  Parquet             columns image (bytes, path) and label, as Hugging Face writes them: a file, or a folder of
                      train*.parquet, validation*.parquet, test*.parquet
  tar shards          of WebDataset: train-000000.tar, ..., with .jpg and .cls (or .json) for each photo
  CSV                 path,label or path,label,split; paths relative to the CSV file"""


def is_photo_name(name: str) -> bool:
    """Return whether a file of this name is treated as a photo; its content is checked later."""
    return is_read(_kind_of(name))


def has_photo_ending(name: str) -> bool:
    """Return whether a file of this name is a photo, also of a format that cannot be decoded here."""
    return _kind_of(name) is not None


def _kind_of(name: str) -> FileKind | None:
    """Return the kind of a photo by its name, whether or not it can be decoded; None if it is not a photo."""
    _, dot, extension = name.rpartition(".")
    return PHOTO_EXTENSIONS.get(extension.lower()) if dot and not is_hidden(name) else None


def unread_photos(listing: "Listing") -> list[str]:
    """Return the ignored files that are photos, but in a format that cannot be decoded here."""
    return [path for path in listing.ignored if _kind_of(path.rpartition("/")[2]) and not is_in_hidden(path)]


def is_hidden(name: str) -> bool:
    """Return whether file managers hide this name ("._x.jpg", ".git"), or a system adds it to folders of photos."""
    folded = name.casefold()
    is_system = folded in _SYSTEM_NAMES or folded.endswith(_SYSTEM_ENDINGS)
    return name.startswith(".") or is_system or _RECOVERED.fullmatch(name) is not None


def is_in_hidden(path: str) -> bool:
    """Return whether a name of this path, its own or that of a folder, is hidden."""
    return any(map(is_hidden, path.split("/")))


@dataclasses.dataclass
class Listing:
    """Contents of a folder or zip, as POSIX paths relative to it; `skipped` holds (path, reason)."""

    photos: list[str] = dataclasses.field(default_factory=list)
    folders: list[str] = dataclasses.field(default_factory=list)
    ignored: list[str] = dataclasses.field(default_factory=list)
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class FolderOptions:
    """How to read a tree that could be read in two ways: `classes_from` is the folder whose sub-folders are the classes,
    `split_folders` the folder of each split. At most one of the two is given, as paths in the data; None decides by the tree.
    """

    classes_from: str | None = None
    split_folders: Mapping[str, str] | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The options that are not None, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclasses.dataclass
class Arrangement:
    """Splits and classes; `members[split]` holds (index into the listing's photos, path below the split, class name).

    `problems` prevent the data from being used; `left_out` is as in `ImageDataset`.
    """

    members: dict[SplitName, list[tuple[int, str, str]]]
    class_names: set[str]
    notes: list[str]
    problems: list[str]
    left_out: Mapping[SplitName, str]


def arrange(source: str, listing: Listing, options: FolderOptions) -> Arrangement:
    """Find the splits and classes in a listing, as the options say or by `read_tree`.

    Raises:
        DataError: no photos, folders that may be splits or classes, or a folder of the options that does not exist.
        ConfigError: invalid options.
    """
    if not listing.photos:
        unread = "".join(f"\n{note}." for note in _unread_notes(unread_photos(listing)))
        archives = [path for path in listing.ignored if path.lower().endswith(_ARCHIVES) and not is_in_hidden(path)]
        unread += (
            f"\nUnpack {summarise(archives)} first; a single zip of photos can be given itself." if archives else ""
        )
        raise DataError(f"{escape(source)}: no photos found.{unread}\n{_draw_tree(listing)}\n{LAYOUTS}")
    tree = FolderTree(listing.photos, listing.folders)
    reading = _reading(source, tree, options, _left_out(listing))
    notes = [f"read from its sub-folder {escape(reading.top)}"] if reading.top else []
    notes += [*part_notes(PurePosixPath(reading.top), "folder"), *reading.notes, *_left_out(listing)]
    arrangement = Arrangement({}, set(), notes, reading.problems, reading.left_out)
    folders = reading.class_folders
    for split, folder in folders.items():
        members = _members(listing, folder)
        with_photos = {name for _, _, name in members}
        # A class without photos is a problem only in train: a scoring split may lack classes.
        classes = set(tree.folders_in(folder)) if split == "train" or len(folders) == 1 else with_photos
        arrangement.problems += _loose_photo_problems(tree, listing, folder)
        if not classes and not with_photos:
            arrangement.problems.append(
                f"{escape(folder) or 'the top folder'} has no class folders; create one sub-folder per class"
            )
        empty = classes - with_photos
        arrangement.problems += _unread_classes(folder, empty, unread_photos(listing))
        if empty:
            arrangement.notes.append(
                f"class folders without photos are left out: {summarise(f'{folder}{name}/' for name in sorted(empty))}"
            )
        classes = with_photos
        arrangement.members[split] = members
        arrangement.class_names |= classes
    if reading.splits and options.split_folders is None:
        arrangement.problems += _loose_photo_problems(tree, listing, reading.top)
    arrangement.notes += _merged_folders(arrangement)
    return arrangement


def assemble_arrangement(
    source: str, arrangement: Arrangement, reader_of: Callable[[list[int]], Reader]
) -> ImageDataset:
    """Return the data set of an arrangement; `reader_of` returns a reader of the photos at these indices of the listing.

    Raises:
        DataError: as `assemble`.
    """
    found = {
        split: FoundSplit(
            [path for _, path, _ in members],
            [class_name for *_, class_name in members],
            reader_of([index for index, *_ in members]),
        )
        for split, members in arrangement.members.items()
    }
    return assemble(
        source,
        found,
        arrangement.class_names,
        arrangement.notes,
        problems=arrangement.problems,
        left_out=arrangement.left_out,
    )


def _reading(source: str, tree: FolderTree, options: FolderOptions, notes: list[str]) -> Reading:
    if options.classes_from is not None and options.split_folders is not None:
        raise ConfigError("--classes-from and --split-folders are two ways to read folders; omit one of them.")
    try:
        if options.classes_from is not None:
            return read_as_classes(tree, options.classes_from)
        return read_tree(tree) if options.split_folders is None else read_as_splits(tree, options.split_folders)
    except DataError as error:
        raise DataError(with_notes(f"{escape(source)}: {error}.", notes)) from error


def _merged_folders(arrangement: Arrangement) -> list[str]:
    """Return a note on sub-folders whose photos are merged into one class: they may be masks, or separate classes."""
    sub_folders: dict[str, set[str]] = defaultdict(set)
    for members in arrangement.members.values():
        for _, path, class_name in members:
            below, slash, _ = path[len(class_name) + 1 :].partition("/")
            sub_folders[class_name].add(below if slash else "")
    counts = Counter(folder for found in sub_folders.values() if len(found) > 1 for folder in found if folder)
    if not counts:
        return []
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = (f"{name}/ in {count:,} {'class' if count == 1 else 'classes'}" for name, count in ordered)
    return [f"sub-folders merged into their classes: {summarise(shown)}"]


def _members(listing: Listing, folder: str) -> list[tuple[int, str, str]]:
    start = len(folder)
    members = []
    for index, path in enumerate(listing.photos):
        class_end = path.find("/", start)
        if class_end > 0 and path.startswith(folder):
            members.append((index, path[start:], path[start:class_end]))
    return members


def _loose_photo_problems(tree: FolderTree, listing: Listing, folder: str) -> list[str]:
    loose = [listing.photos[index] for index in tree.photos_directly_in(folder)]
    if not loose:
        return []
    subject = "1 photo is" if len(loose) == 1 else f"{len(loose):,} photos are"
    return [
        f"{subject} directly in {escape(folder) or 'the top folder'}, outside of any class: {summarise(loose, limit=3)}; "
        f"move each into a folder named after its class, such as {escape(folder)}cat/"
    ]


def _unread_classes(folder: str, classes: set[str], unread: Sequence[str]) -> list[str]:
    """Return one problem for each of these classes that has photos, but only in formats that cannot be decoded here."""
    starts = tuple(f"{folder}{name}/" for name in classes)
    return _unread_notes(path for path in unread if path.startswith(starts))


def _left_out(listing: Listing) -> list[str]:
    unread = unread_photos(listing)
    notes = _unread_notes(unread)
    ignored = sorted(set(listing.ignored).difference(unread))
    if ignored:
        names = Counter(path.rstrip("/").rpartition("/")[2] for path in ignored)
        count = "1 other file" if len(ignored) == 1 else f"{len(ignored):,} other files"
        notes.append(f"{count} ignored ({summarise(sorted(names), limit=5)})")
    if listing.skipped:
        notes.append(
            f"{len(listing.skipped):,} skipped: {summarise(f'{path} ({why})' for path, why in listing.skipped)}"
        )
    return notes


def _unread_notes(paths: Iterable[str]) -> list[str]:
    """Return one line for each folder with photos in formats that cannot be decoded here."""
    by_folder: dict[str, Counter[FileKind]] = defaultdict(Counter)
    for path in paths:
        folder, _, name = path.rpartition("/")
        if kind := _kind_of(name):
            by_folder[folder][kind] += 1
    return [
        f"{counted(counts.total(), 'photo')} of {escape(folder) or 'the top folder'} cannot be read: "
        f"{', '.join(f'{number:,} {_short(kind)}' for kind, number in counts.most_common())}; {_way_out(counts)}"
        for folder, counts in sorted(by_folder.items())
    ]


def _short(kind: FileKind) -> str:
    return kind.name.replace("_", " ")  # JPEG XL


def _way_out(kinds: Iterable[FileKind]) -> str:
    extra = f"to read them, {INSTALL_HEIC}, or " if {*HEIC_KINDS} & {*kinds} else ""
    return f"{extra}convert them to JPEG"


def _draw_tree(listing: Listing) -> str:
    """Draw the folders with their numbers of files by extension, shortened."""
    inside: dict[str, Counter[str]] = defaultdict(Counter)
    for path in listing.ignored:
        folder, _, name = path.rpartition("/")
        inside[folder]["." + name.rpartition(".")[2] if "." in name[1:] else name] += 1
    for path, why in listing.skipped:
        inside[path.rpartition("/")[0]][why] += 1
    lines = [_draw_line("", inside[""])] if inside[""] else []
    lines += [_draw_line(folder, inside[folder]) for folder in sorted(listing.folders)]
    if not lines:
        return "It is empty."
    shown = lines[:_MAX_TREE_LINES]
    if len(lines) > len(shown):
        shown.append(f"  ... and {len(lines) - len(shown):,} more folders")
    return "It contains:\n" + "\n".join(shown)


def _draw_line(folder: str, counts: Counter[str]) -> str:
    depth = folder.count("/") + 1 if folder else 0
    name = folder.rpartition("/")[2] + "/" if folder else "./"
    return f"  {'  ' * depth}{escape(name)}  {summarise(_counted(counts), limit=5)}".rstrip()


def _counted(counts: Counter[str]) -> Iterable[str]:
    return (f"{count:,} x {kind}" for kind, count in counts.most_common())
