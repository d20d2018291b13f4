"""The folders of a data set as a tree, from the paths of its photos and folders."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

__all__ = ["FolderTree", "parent_of"]


class FolderTree:
    """The folders of a data set, each with its direct contents. The top folder is ""; all others end with "/"."""

    def __init__(self, photos: Sequence[str], folders: Iterable[str]) -> None:
        self._children: dict[str, set[str]] = defaultdict(set)
        self._photos: dict[str, list[int]] = defaultdict(list)
        self._with_photos: set[str] = set()
        for folder in folders:
            parent, _, name = folder.rpartition("/")
            self._children[parent + "/" if parent else ""].add(name)
        for index, path in enumerate(photos):
            self._photos[path[: path.rfind("/") + 1]].append(index)
        for folder in self._photos:
            ancestor = folder
            while ancestor not in self._with_photos:
                self._with_photos.add(ancestor)
                ancestor = parent_of(ancestor)

    def folders_in(self, folder: str) -> list[str]:
        """Return the names of all sub-folders, sorted."""
        return sorted(self._children.get(folder, ()))

    def filled_folders_in(self, folder: str) -> list[str]:
        """Return the names of the sub-folders that hold photos at any depth, sorted."""
        return [name for name in self.folders_in(folder) if f"{folder}{name}/" in self._with_photos]

    def photos_directly_in(self, folder: str) -> list[int]:
        """Return the indices of the photos that are in no sub-folder."""
        return self._photos.get(folder, [])

    def exists(self, folder: str) -> bool:
        """Return whether the tree has this folder."""
        return not folder or folder.rstrip("/").rpartition("/")[2] in self._children.get(parent_of(folder), ())


def parent_of(folder: str) -> str:
    """Return the folder that contains a folder: "a/" for "a/b/", and "" for "a/"."""
    return folder[: folder.rstrip("/").rfind("/") + 1]
