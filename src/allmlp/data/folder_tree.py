"""The folders of a data set as a tree, from the paths of its photos and folders."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from allmlp.data.split_names import describes_photos, is_plain_name, split_named

__all__ = ["FolderTree", "class_root", "parent_of", "top_folder"]


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


def top_folder(tree: FolderTree) -> str:
    """Return the folder that holds everything: the top one, or a single one in it, again and again.

    images/ next to meta/ or annotations/, which hold no photos, counts as a single one, too; and so does a folder of any name
    that holds class folders, next to annotations/ and the like.
    """
    top = ""
    while not tree.photos_directly_in(top):
        names = tree.folders_in(top)
        if len(names) > 1 and not any(map(split_named, names)):
            filled = tree.filled_folders_in(top)
            others = set(names).difference(filled)
            names = filled if all(map(is_plain_name, filled)) or _holds_classes(tree, top, filled, others) else []
        if len(names) != 1:
            break
        inner = f"{top}{names[0]}/"
        below = tree.folders_in(inner)
        if not below or tree.photos_directly_in(inner):
            break
        if split_named(names[0]) and not any(
            split_named(name) and tree.folders_in(f"{inner}{name}/") for name in below
        ):
            break  # its sub-folders are classes
        top = inner
    return top


def _holds_classes(tree: FolderTree, top: str, filled: Sequence[str], others: Iterable[str]) -> bool:
    """Return whether the only folder with photos holds all classes: 101_ObjectCategories/ next to Annotations/.

    Next to a folder of another name, such as an empty dog/, it may be a class itself.
    """
    return (
        len(filled) == 1
        and len(tree.filled_folders_in(f"{top}{filled[0]}/")) > 1
        and all(map(describes_photos, others))
    )


def class_root(tree: FolderTree, folder: str) -> str:
    """Enter a folder that only repeats or describes the one around it: train/train/<class>/, test/images/<class>/."""
    while len(names := tree.filled_folders_in(folder)) == 1 and not tree.photos_directly_in(folder):
        repeats = names[0] == folder.rstrip("/").rpartition("/")[2] or is_plain_name(names[0])
        inner = f"{folder}{names[0]}/"
        if not repeats or not tree.filled_folders_in(inner):
            break
        folder = inner
    return folder
