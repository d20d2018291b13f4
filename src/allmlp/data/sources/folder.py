"""Data sets as folders of photos."""

import os
from pathlib import Path

from allmlp.data.dataset import ImageDataset
from allmlp.data.sources.assemble import FoundSplit, assemble
from allmlp.data.sources.file_reader import FileReader, file_trouble
from allmlp.data.sources.folder_layout import Listing, arrange, is_hidden, is_photo_name
from allmlp.errors import DataError
from allmlp.io.display import escape

__all__ = ["list_folder", "open_folder"]

_Inode = tuple[int, int]


def open_folder(root: Path) -> ImageDataset:
    """Open `root/{train,validation,test}/<class>/**` or `root/<class>/**`; no photo is opened.

    Raises:
        DataError: see `arrange`; or a folder cannot be read.
    """
    listing = list_folder(root)
    arrangement = arrange(str(root), listing)
    found = {}
    for split, members in arrangement.members.items():
        indices, paths, class_names = zip(*members, strict=True)
        found[split] = FoundSplit(paths, class_names, FileReader(root, tuple(listing.photos[i] for i in indices)))
    return assemble(str(root), found, arrangement.class_names, arrangement.notes)


def list_folder(root: Path) -> Listing:
    """List a folder tree in sorted order, following links to folders without ever going round in circles.

    A link to a folder that contains it is skipped, and so is a second link to one and the same folder: with both, the
    walk ends after at most twice as many folders as there are.

    Raises:
        DataError: a folder cannot be read.
    """
    listing = Listing()
    linked: set[_Inode] = set()
    pending: list[tuple[str, frozenset[_Inode]]] = [("", frozenset({_inode(root)}))]
    while pending:
        folder, ancestors = pending.pop()
        for entry in _entries(root / folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            trouble = _link_trouble(entry)
            if is_hidden(entry.name) or not (trouble or entry.is_dir() or is_photo_name(entry.name)):
                listing.ignored.append(path)
            elif is_photo_name(entry.name) or trouble:
                trouble = trouble or (None if entry.is_file() else file_trouble(Path(entry.path)))
                if trouble is None:
                    listing.photos.append(path)
                else:
                    listing.skipped.append((path, trouble))
            else:
                inode = _inode(Path(entry.path))
                if inode in ancestors or (entry.is_symlink() and inode in linked):
                    listing.skipped.append((path, "a link to a folder that is read already"))
                    continue
                if entry.is_symlink():
                    linked.add(inode)
                listing.folders.append(path)
                pending.append((path, ancestors | {inode}))
    return listing


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def _link_trouble(entry: os.DirEntry[str]) -> str | None:
    """Return why a link cannot be followed: it leads to itself, or into a folder that may not be entered."""
    try:
        entry.is_dir()
    except OSError as error:
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
