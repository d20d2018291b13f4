"""Data sets given as folders of photos."""

import contextlib
import itertools
import os
from pathlib import Path

from allmlp.data.dataset import ImageDataset
from allmlp.data.decoding.reasons import raise_shortage
from allmlp.data.sources.file_reader import FileReader, file_problem
from allmlp.data.sources.folder_layout import (
    FolderOptions,
    Listing,
    arrange,
    assemble_arrangement,
    is_hidden,
    is_in_hidden,
    is_photo_name,
    unread_photos,
)
from allmlp.errors import DataError
from allmlp.io.display import escape
from allmlp.io.file_kinds import PHOTO_KINDS, START_BYTES, FileKind, kind_of_file
from allmlp.runs.layout import RunLayout

__all__ = ["kind_of_path", "list_folder", "open_folder", "unnamed_photos"]

_Inode = tuple[int, int]


def open_folder(root: Path, listing: Listing, options: FolderOptions) -> ImageDataset:
    """Open `root/{train,validation,test}/<class>/**` or `root/<class>/**`, as listed, without opening any photo.

    Raises:
        DataError: `root` is a run folder; see also `arrange`.
    """
    if RunLayout(root).recipe.is_file():
        raise DataError(
            f"{escape(str(root))}: this is a run folder, not a folder of photos. To continue the run, use --resume."
        )
    arrangement = arrange(str(root), listing, options)
    if arrangement.problems and not listing.folders and _has_photo_folders_beside(root):
        name, above = escape(root.absolute().name), escape(str(root.absolute().parent))
        arrangement.problems.append(f"if {name} is one of the classes, choose the folder above it: {above}")
    return assemble_arrangement(
        str(root),
        arrangement,
        lambda indices: FileReader(root, tuple(listing.photos[i] for i in indices)),
    )


def list_folder(root: Path) -> Listing:
    """List a folder tree in sorted order. Links to folders are followed, but never in a cycle.

    A link to a folder that contains it is skipped, and so is a second link to the same folder: together these bound the
    walk to twice the number of folders. A link to a folder next to it is a second name of that folder, and skipped too.

    Raises:
        DataError: a folder cannot be read.
    """
    listing = Listing()
    linked: set[_Inode] = set()
    pending: list[tuple[str, frozenset[_Inode]]] = [("", frozenset({_inode(root)}))]
    while pending:
        folder, ancestors = pending.pop()
        siblings: dict[_Inode, str] = {}  # the folders in this one, without links
        for entry in sorted(_entries(root / folder), key=os.DirEntry.is_symlink):
            path = f"{folder}/{entry.name}" if folder else entry.name
            problem = _link_problem(entry)
            if is_hidden(entry.name) or not (problem or entry.is_dir() or is_photo_name(entry.name)):
                listing.ignored.append(path)
            elif is_photo_name(entry.name) or problem:
                problem = problem or (None if entry.is_file() else file_problem(Path(entry.path)))
                if problem is None:
                    listing.photos.append(path)
                else:
                    listing.skipped.append((path, problem))
            else:
                inode = _inode(Path(entry.path))
                if entry.is_symlink() and inode in siblings:
                    listing.skipped.append((path, f"a link to {siblings[inode]}/ next to it"))
                    continue
                if inode in ancestors or (entry.is_symlink() and inode in linked):
                    listing.skipped.append((path, "a link to a folder that is already read"))
                    continue
                if entry.is_symlink():
                    linked.add(inode)
                else:
                    siblings[inode] = entry.name
                listing.folders.append(path)
                pending.append((path, ancestors | {inode}))
    return listing


def _has_photo_folders_beside(root: Path) -> bool:
    """Return whether a folder next to this one holds photos; at most 100 folders, and 100 names in each, are looked at."""
    with contextlib.suppress(OSError, DataError):
        folders = (entry for entry in _entries(root.absolute().parent) if entry.is_dir() and not is_hidden(entry.name))
        for folder in itertools.islice((entry for entry in folders if entry.name != root.absolute().name), 100):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                if any(is_photo_name(entry.name) for entry in itertools.islice(entries, 100)):
                    return True
    return False


def unnamed_photos(root: Path, listing: Listing) -> list[str]:
    """Return the ignored files that are photos by their content but not by their name, such as "IMG_1" or "a.jpg_large"."""
    unread = {*unread_photos(listing)}
    files = [path for path in listing.ignored if path not in unread and not is_in_hidden(path)]
    return [path for path in files if kind_of_path(root / path) in PHOTO_KINDS]


def kind_of_path(path: Path) -> FileKind | None:
    """Return the kind of a file by its first bytes; None if it is unknown or not a file that can be read.

    Raises:
        ShortageError: the disk does not answer: it may be a photo.
    """
    try:
        if file_problem(path) is not None:
            return None
        with path.open("rb") as file:
            return kind_of_file(file.read(START_BYTES))
    except OSError as error:
        raise_shortage(error, where=escape(path))
        return None


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _link_problem(entry: os.DirEntry[str]) -> str | None:
    """Return why a link cannot be followed (a loop, or an inaccessible folder); None if it can. Raises ShortageError."""
    try:
        entry.is_dir()
    except OSError as error:
        raise_shortage(error, where=escape(entry.path))
        return (error.strerror or str(error)).lower()
    return None


def _inode(folder: Path) -> _Inode:
    try:
        status = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return status.st_dev, status.st_ino


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{escape(folder)}: this folder cannot be read ({error.strerror or error}). Check its permissions."
    )
