"""Decision which folders of a tree are splits and which are classes, from names and from the tree."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from allmlp.data.dataset import SplitName
from allmlp.data.folder_tree import FolderTree, class_root, top_folder
from allmlp.data.split_names import SPELLINGS, is_plain_name, partly_split_named, split_named
from allmlp.errors import ConfigError, DataError
from allmlp.io.display import escape, quote, summarise

__all__ = ["Reading", "read_as_classes", "read_as_splits", "read_tree"]

_IN_PYTHON = "In Python, the options are open_dataset(..., classes_from=...) and open_dataset(..., split_folders={...})"


@dataclasses.dataclass
class Reading:
    """How a tree is read: the folder of each split, or without splits the folder `top` of the classes.

    `left_out` has the reason for each split that has a folder but no labelled photos.
    """

    top: str
    splits: dict[SplitName, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)
    left_out: dict[SplitName, str] = dataclasses.field(default_factory=dict)

    @property
    def class_folders(self) -> dict[SplitName, str]:
        """The folder whose sub-folders are the classes, for each split."""
        return self.splits or {"train": self.top}


def read_as_classes(tree: FolderTree, folder: str) -> Reading:
    """Read the sub-folders of `folder` as classes, whatever their names. Raises DataError if there is no such folder."""
    return Reading(_given_folder(tree, folder, "--classes-from"))


def read_as_splits(tree: FolderTree, folders: Mapping[str, str]) -> Reading:
    """Read the given folder of each split.

    Raises:
        ConfigError: an unknown split, or a folder within another one.
        DataError: a missing folder.
    """
    splits: dict[SplitName, str] = {}
    for name, folder in folders.items():
        split = split_named(name)
        if split is None or split in splits:
            what = "an unknown split" if split is None else "given twice"
            raise ConfigError(
                f"--split-folders: {quote(name)} is {what}; expected train, validation or test, each once."
            )
        splits[split] = class_root(tree, _given_folder(tree, folder, "--split-folders"))
    for split, folder in splits.items():
        inside = [other for other in splits if other != split and splits[other].startswith(folder)]
        if inside:
            raise ConfigError(
                f"--split-folders: the folder of {inside[0]} is in that of {split}; expected separate ones."
            )
    reading = Reading("", splits)
    unlabelled = [split for split in splits if split != "train" and not tree.filled_folders_in(splits[split])]
    for split in unlabelled if "train" in splits else ():
        _leave_out(reading, tree, split, splits.pop(split))
    given = (*splits.values(), *folders.values())
    ignored = [name for name in tree.filled_folders_in("") if not any(f"{f}/".startswith(f"{name}/") for f in given)]
    reading.notes += [f"ignored folders next to the splits: {summarise(ignored)}"] if ignored else []
    return reading


def _leave_out(reading: Reading, tree: FolderTree, split: SplitName, folder: str) -> None:
    """Note that a folder of a split has no photos with labels."""
    has_photos = bool(tree.photos_directly_in(folder) or tree.filled_folders_in(folder))
    why = "has no class folders, so its photos have no labels" if has_photos else "holds no photos"
    reason = f"{escape(folder)} {why}"
    reading.notes.append(f"left out: {reason}")
    if split not in reading.splits:
        reading.left_out[split] = reason


def _given_folder(tree: FolderTree, folder: str, option: str) -> str:
    parts = [part for part in folder.replace("\\", "/").split("/") if part not in ("", ".")]
    path = "".join(f"{part}/" for part in parts)
    if not tree.exists(path):
        known = summarise(tree.folders_in(""))
        raise DataError(f"{option}: there is no folder {quote(folder)} in the data; the top folders are {known}")
    return path


def read_tree(tree: FolderTree) -> Reading:
    """Find the splits, or else the folder of the classes.

    A single folder that wraps everything else is entered. Folders named after splits are splits if they hold class folders
    and their contents do not contradict it. They are certainly splits if they hold the same two or more class folders.

    Raises:
        DataError: the folders may be splits or classes; the message has both readings and the options that decide.
    """
    top = top_folder(tree)
    names = tree.filled_folders_in(top)
    folders = {name: class_root(tree, f"{top}{name}/") for name in tree.folders_in(top)}
    classes = {name: set(tree.filled_folders_in(folder)) for name, folder in folders.items()}
    named = {name: split for name in folders if (split := split_named(name))}
    named = named or _partly_named(tree, top, {name: folders[name] for name in names})
    trained = set().union(*(classes[name] for name in named if named[name] == "train"))
    labelled = [
        name
        for name in named
        if classes[name] and (named[name] == "train" or not _is_unlabelled(classes[name], trained))
    ]
    if not labelled:
        return _without_splits(tree, top, [name for name in named if name in names])
    unnamed = [name for name in names if name not in named]
    has_train = all(name in labelled for name in named if named[name] == "train" and name in names)
    if not has_train or not _are_splits([classes[name] for name in labelled], [classes[name] for name in unnamed]):
        raise _question(top, named, [name for name in folders if name in named or name in names])
    reading = Reading(top)
    first = {named[name]: name for name in reversed(labelled)}
    for name in labelled:
        if (split := named[name]) in reading.splits:
            reading.problems.append(
                f"{escape(top + first[split])}/ and {escape(top + name)}/ both name the {split} split; choose the folder of "
                f"each split, such as --split-folders {_argument(_option(top, first))} here, or merge them"
            )
            continue
        reading.splits[split] = folders[name]
    _note_names(reading, tree, named, labelled)
    return reading


def _partly_named(tree: FolderTree, top: str, folders: Mapping[str, str]) -> dict[str, SplitName]:
    """Return the splits of folders such as seg_train/ and seg_test/ that hold the same class folders.

    Raises:
        DataError: their names agree too little to be sure.
    """
    parts = {name: part for name in folders if (part := partly_split_named(name))}
    named = {name: part.split for name, part in parts.items()}
    if len(set(named.values())) < 2 or not _same_classes([folders[name] for name in named], tree):
        return {}
    rests = {part.rest for part in parts.values()}
    if len(rests) > 1 or None in rests or len(set(named.values())) < len(named):
        raise _question(top, named, list(folders))
    return named


def _same_classes(folders: Sequence[str], tree: FolderTree) -> bool:
    """Return whether all folders hold the same two or more class folders and no photos outside of them."""
    classes = [tree.filled_folders_in(folder) for folder in folders]
    return all(len(each) > 1 and each == classes[0] for each in classes) and not any(
        map(tree.photos_directly_in, folders)
    )


def _is_unlabelled(classes: set[str], trained: set[str]) -> bool:
    """Return whether the only sub-folder of a scoring split says nothing about its photos: test/unknown/."""
    return bool(trained) and len(classes) == 1 and not classes & trained and all(map(is_plain_name, classes))


def _are_splits(labelled: Sequence[set[str]], unnamed: Sequence[set[str]]) -> bool:
    """Return whether folders named after splits are splits, given the class folders in them and in the folders next to them."""
    shared = set.intersection(*labelled)
    if unnamed:
        return len(labelled) > 1 and len(shared) > 1 and not any(folders & shared for folders in unnamed)
    # Sub-folders that have nothing in common may be kinds of two classes: train/steam/, test/blood/.
    return all(folders & labelled[-1] for folders in labelled)


def _without_splits(tree: FolderTree, top: str, named: Sequence[str]) -> Reading:
    names = tree.filled_folders_in(top)
    if named and len(named) == len(names):
        return Reading(
            top,
            problems=[
                f"{_listed(top, names)} {'is' if len(names) == 1 else 'are'} named like splits, but "
                f"{'has' if len(names) == 1 else 'have'} no class folders; create one sub-folder per class in each, or "
                f"choose --classes-from {_argument(top)} if these are the classes"
            ],
        )
    _refuse_splits_in_classes(tree, top, names)
    _refuse_inner_copy(tree, top, names)
    _refuse_shared_classes(tree, top, names)
    notes = [f"read as classes, like the folders next to them: {_listed(top, named)}"] if named else []
    return Reading(top, notes=notes)


def _refuse_splits_in_classes(tree: FolderTree, top: str, names: Sequence[str]) -> None:
    partly = [partly_split_named(name) for name in names]
    if all(partly) and len({part.split for part in partly if part}) > 1:
        raise DataError(
            f"the names of all folders ({summarise(names, limit=5)}) have a split and something else, which can be read in two "
            f"ways. Choose --classes-from {_argument(top)} if these are the classes; or, for splits, move the photos, so that "
            "each split has its class folders, such as train/cats/"
        )
    inner = [[inside for inside in tree.filled_folders_in(f"{top}{name}/") if split_named(inside)] for name in names]
    found_in = {inside: split_named(inside) for each in inner for inside in each}
    if len(names) > 1 and len(set(found_in.values())) > 1 and all(inner):
        found = summarise(sorted(found_in))
        raise DataError(
            f"every folder ({summarise(names, limit=5)}) has sub-folders named after splits ({found}), which can be read in "
            f"two ways. Choose --classes-from {_argument(top)} to merge them into one class per folder; or, for splits, "
            f"move the photos, so that each split has its class folders, such as {escape(inner[0][0])}/{escape(names[0])}/"
        )


def _refuse_inner_copy(tree: FolderTree, top: str, names: Sequence[str]) -> None:
    """Refuse a folder that holds the whole data: splits, or folders with the names of all others next to it."""
    for name in names:
        inner = f"{top}{name}/"
        held = tree.filled_folders_in(inner)
        splits = {split: f"{name}/{folder}" for folder in held if (split := split_named(folder))}
        roots = [class_root(tree, f"{top}{folder}/") for folder in splits.values()]
        if len(names) > 1 and len(roots) > 1 and _same_classes(roots, tree):
            raise DataError(
                f"{escape(inner)} holds splits with the same class folders, and there are folders next to it ("
                f"{summarise((each for each in names if each != name), limit=5)}). Choose --split-folders "
                f"{_argument(_option(top, splits))} to use only these splits, or --classes-from {_argument(top)} if "
                f"{escape(name)} and the folders next to it are the classes"
            )
        if len(names) < 3 or len(held) < len(names) - 1:  # first: the work is then linear in the number of folders
            continue
        siblings = [each for each in names if each != name]
        if set(siblings) <= set(held) and not tree.photos_directly_in(inner):
            raise DataError(
                f"{escape(inner)} has folders with the names of all folders next to it ({summarise(siblings, limit=5)}), "
                f"as a second copy of the data has. Choose --classes-from {_argument(top + name)} to use only the copy, or "
                f"--classes-from {_argument(top)} if it is a class of its own; or remove it"
            )


def _refuse_shared_classes(tree: FolderTree, top: str, names: Sequence[str]) -> None:
    """Refuse folders of any names that hold the same two or more sub-folders, as folds, years or versions of data do.

    Sub-folders such as images/ do not count: a class may have them next to its masks.
    """
    folders = {name: class_root(tree, f"{top}{name}/") for name in names}
    inner = [set(tree.filled_folders_in(folder)) for folder in folders.values()]
    shared = sorted(name for name in set.intersection(*inner) if not is_plain_name(name)) if inner else []
    if len(names) > 1 and len(shared) > 1 and not any(map(tree.photos_directly_in, folders.values())):
        first, second, *_ = names
        raise DataError(
            f"all folders ({summarise(names, limit=5)}) hold the same sub-folders ({summarise(shared, limit=5)}), which can be "
            "read in two ways:\n"
            f"  as classes: {summarise(names)}, with the sub-folders merged. Choose this with --classes-from {_argument(top)}\n"
            f"  as parts of a data set with the classes {summarise(shared, limit=5)}. Choose a folder for each split, such as "
            f"--split-folders {_argument(_option(top, {'train': first, 'test': second}))}, or one folder with "
            f"--classes-from {_argument(folders[first])}\n{_IN_PYTHON}"
        )


def _question(top: str, named: Mapping[str, SplitName], names: Sequence[str]) -> DataError:
    guessed = {name: part.split for name in names if (part := partly_split_named(name))} | {**named}
    splits = {split: name for split in SPELLINGS for name in reversed(names) if guessed.get(name) == split}
    rest = [name for name in names if name not in splits.values()]
    left_out = f"; left out: {_listed(top, rest)}" if rest else ""
    return DataError(
        f"the folders {_listed(top, names)} can be read in two ways:\n"
        f"  as classes: {summarise(names)}. Choose this with --classes-from {_argument(top)}\n"
        f"  as splits: {', '.join(f'{escape(name)}/ is {split}' for split, name in splits.items())}{left_out}. "
        f"Choose this with --split-folders {_argument(_option(top, splits))}\n"
        f"{_IN_PYTHON}"
    )


def _note_names(reading: Reading, tree: FolderTree, named: Mapping[str, SplitName], labelled: Sequence[str]) -> None:
    """Note what the names were taken for, and what was left out."""
    top = reading.top
    for name, split in named.items():
        if name in labelled:
            continue
        _leave_out(reading, tree, split, f"{top}{name}/")
    for split, folder in reading.splits.items():
        if folder.removeprefix(top).rstrip("/").lower() not in ("train", "val", "valid", "validation", "test"):
            reading.notes.append(f"{escape(folder)} is read as the {split} split")
    if ignored := [name for name in tree.folders_in(top) if name not in named]:
        reading.notes.append(f"ignored folders next to the splits: {summarise(ignored)}")


def _listed(top: str, names: Iterable[str]) -> str:
    return summarise(f"{top}{name}/" for name in names)


def _option(top: str, folders: Mapping[SplitName, str]) -> str:
    return ",".join(f"{split}={top}{folders[split]}" for split in SPELLINGS if split in folders)


def _argument(text: str) -> str:
    """Return the value of an option as a shell takes it."""
    text = escape(text.rstrip("/")) or "."
    return text if all(c.isalnum() or c in "_-./=,+" for c in text) else f"'{text}'"
