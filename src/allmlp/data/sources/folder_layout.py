"""Splits and classes of the photos in a folder or zip, derived from their relative paths only."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from allmlp.data.dataset import SplitName, split_named
from allmlp.data.decoding.more_formats import INSTALL_HEIC, is_read
from allmlp.data.sources.assemble import class_difference_problems, class_name_problems, raise_problems
from allmlp.errors import DataError
from allmlp.io.display import counted, escape, summarise
from allmlp.io.file_kinds import PHOTO_EXTENSIONS

__all__ = ["LAYOUTS", "Arrangement", "Listing", "arrange", "is_hidden", "is_photo_name", "unread_photos"]

_MAX_TREE_LINES = 20

LAYOUTS = """Supported layouts:
  a folder or a zip   train/<class>/**/*.jpg, optionally with validation/ and test/ next to train/,
                      or <class>/**/*.jpg   (JPEG, PNG, WebP, BMP, TIFF or GIF)
  Parquet             columns image (bytes, path) and label, as Hugging Face writes them: a file, or a folder of
                      train*.parquet, validation*.parquet, test*.parquet
  CSV                 path,label or path,label,split; paths relative to the CSV file"""


def is_photo_name(name: str) -> bool:
    """Return whether a file of this name is treated as a photo; its content is checked later."""
    photo_format = _format_of(name)
    return photo_format is not None and is_read(photo_format)


def _format_of(name: str) -> str | None:
    """Return the format of a photo by its name, whether or not it can be decoded; None if it is not a photo."""
    _, dot, extension = name.rpartition(".")
    return PHOTO_EXTENSIONS.get(extension.lower()) if dot and not is_hidden(name) else None


def unread_photos(listing: "Listing") -> list[str]:
    """Return the ignored files that are photos, but in a format that cannot be decoded here."""
    return [path for path in listing.ignored if _format_of(path.rpartition("/")[2]) and not _is_in_hidden(path)]


def _is_in_hidden(path: str) -> bool:
    return any(is_hidden(part) for part in path.split("/"))


def is_hidden(name: str) -> bool:
    """Return whether file managers hide this name ("._x.jpg", ".git") or macOS adds it to zips ("__MACOSX")."""
    return name.startswith(".") or name == "__MACOSX"


@dataclasses.dataclass
class Listing:
    """Contents of a folder or zip, as POSIX paths relative to it; `skipped` holds (path, reason)."""

    photos: list[str] = dataclasses.field(default_factory=list)
    folders: list[str] = dataclasses.field(default_factory=list)
    ignored: list[str] = dataclasses.field(default_factory=list)
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Arrangement:
    """Splits and classes; `members[split]` holds (index into the listing's photos, path below the split, class name)."""

    members: dict[SplitName, list[tuple[int, str, str]]]
    class_names: set[str]
    notes: list[str]


class _Tree:
    """The folders of a listing, each with its direct contents. The top folder is ""; all others end with "/"."""

    def __init__(self, listing: Listing) -> None:
        self.children: dict[str, set[str]] = defaultdict(set)
        self.photos: dict[str, list[int]] = defaultdict(list)
        for folder in listing.folders:
            parent, _, name = folder.rpartition("/")
            self.children[parent + "/" if parent else ""].add(name)
        for index, path in enumerate(listing.photos):
            self.photos[path[: path.rfind("/") + 1]].append(index)

    def folders_in(self, folder: str) -> list[str]:
        return sorted(self.children.get(folder, ()))

    def photos_directly_in(self, folder: str) -> list[int]:
        return self.photos.get(folder, [])


def arrange(source: str, listing: Listing) -> Arrangement:
    """Find the splits and classes in a listing.

    If a single folder wraps everything else, its contents are used. Folders named after splits are splits if one of them has
    sub-folders or if there are no other folders; otherwise every folder is a class (photos of trains are a class "train").

    Raises:
        DataError: no photos, photos outside of a class, empty classes or splits, or splits with different classes; all are
            reported.
    """
    if not listing.photos:
        unread = "".join(f"\n{note}." for note in _unread_notes(unread_photos(listing)))
        raise DataError(f"{escape(source)}: no photos found.{unread}\n{_draw_tree(listing)}\n{LAYOUTS}")
    tree = _Tree(listing)
    top = _top(tree)
    notes = [f"read from its sub-folder {escape(top)}"] if top else []
    splits, problems = _split_folders(tree, top)
    if splits:
        ignored = [name for name in tree.folders_in(top) if split_named(name) is None]
        if ignored:
            notes.append(f"ignored folders next to the splits: {summarise(ignored)}")
        problems += _loose_photo_problems(tree, listing, top)
    arrangement = Arrangement({}, set(), notes + _left_out(listing))
    classes: dict[SplitName, set[str]] = {}
    for split, folder in (splits or {"train": top}).items():
        classes[split] = set(tree.folders_in(folder))
        members = _members(listing, folder)
        problems += _loose_photo_problems(tree, listing, folder)
        problems += _empty_problems(folder, classes[split], {name for _, _, name in members}, unread_photos(listing))
        arrangement.members[split] = members
        arrangement.class_names |= classes[split]
    problems += class_difference_problems(classes) + class_name_problems(arrangement.class_names)
    raise_problems(source, problems)
    return arrangement


def _top(tree: _Tree) -> str:
    top = ""
    while len(tree.folders_in(top)) == 1 and not tree.photos_directly_in(top):
        name = tree.folders_in(top)[0]
        inner = f"{top}{name}/"
        if split_named(name) is not None or not tree.folders_in(inner) or tree.photos_directly_in(inner):
            break
        top = inner
    return top


def _split_folders(tree: _Tree, top: str) -> tuple[dict[SplitName, str], list[str]]:
    splits: dict[SplitName, str] = {}
    problems = []
    names = tree.folders_in(top)
    for name in names:
        split = split_named(name)
        if split is None:
            continue
        if split in splits:
            problems.append(f"{escape(splits[split])} and {escape(top + name)}/ both name the {split} split; keep one")
        splits[split] = f"{top}{name}/"
    has_classes = any(tree.folders_in(folder) for folder in splits.values())
    nothing_else = all(split_named(name) is not None for name in names)
    return (splits, problems) if has_classes or nothing_else else ({}, [])


def _members(listing: Listing, folder: str) -> list[tuple[int, str, str]]:
    start = len(folder)
    members = []
    for index, path in enumerate(listing.photos):
        class_end = path.find("/", start)
        if class_end > 0 and path.startswith(folder):
            members.append((index, path[start:], path[start:class_end]))
    return members


def _loose_photo_problems(tree: _Tree, listing: Listing, folder: str) -> list[str]:
    loose = [listing.photos[index] for index in tree.photos_directly_in(folder)]
    if not loose:
        return []
    subject = "1 photo is" if len(loose) == 1 else f"{len(loose):,} photos are"
    return [
        f"{subject} directly in {escape(folder) or 'the top folder'}, outside of any class: {summarise(loose, limit=3)}; "
        f"move each into a folder named after its class, such as {escape(folder)}cat/"
    ]


def _empty_problems(folder: str, classes: set[str], with_photos: set[str], unread: Sequence[str]) -> list[str]:
    if not classes and not with_photos:
        return [f"{escape(folder) or 'the top folder'} has no class folders; create one sub-folder per class"]
    folders = sorted(f"{folder}{name}/" for name in classes - with_photos)
    without = {path: [name for name in unread if name.startswith(path)] for path in folders}
    problems = _unread_notes(name for names in without.values() for name in names)
    empty = [path for path, names in without.items() if not names]
    if not empty:
        return problems
    return [
        *problems,
        f"class folders without photos: {summarise(empty)}; add photos to them, or move the folders elsewhere",
    ]


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
    by_folder: dict[str, Counter[str]] = defaultdict(Counter)
    for path in paths:
        by_folder[path.rpartition("/")[0]][_format_of(path.rpartition("/")[2]) or ""] += 1
    return [
        f"{counted(counts.total(), 'photo')} of {escape(folder) or 'the top folder'} cannot be read: "
        f"{', '.join(f'{number:,} {name}' for name, number in counts.most_common())}; {_way_out(counts)}"
        for folder, counts in sorted(by_folder.items())
    ]


def _way_out(formats: Iterable[str]) -> str:
    extra = f"to read them, {INSTALL_HEIC}, or " if {"HEIC", "AVIF"} & set(formats) else ""
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
