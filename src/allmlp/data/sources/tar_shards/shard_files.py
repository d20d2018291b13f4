"""Files of a folder of tar shards: which they are, the split of each, and whether parts are missing."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from allmlp.data.completeness import missing_parts, part_of
from allmlp.data.dataset import SplitName
from allmlp.data.sources.folder_layout import Listing, is_in_hidden
from allmlp.data.sources.tar_shards.manifest import MANIFEST
from allmlp.data.split_names import partly_split_named, split_named
from allmlp.errors import DataError
from allmlp.io.display import counted, escape, summarise

__all__ = ["missing_from", "missing_shards", "shard_splits", "shards_in", "split_of_shard"]

_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


def shards_in(root: Path, listing: Listing) -> list[str]:
    """Return the tar shards of a folder, relative to it: in the folder itself or in a folder of a split.

    There are none in a folder with sub-folders of photos. Next to other photos, tar files are shards only if they are numbered
    or named after splits.

    Raises:
        DataError: shards are compressed.
    """
    if any("/" in name for name in listing.photos):
        return []
    paths = [path for path in listing.ignored if _is_shard_place(path)]
    if compressed := [path for path in paths if path.lower().endswith(_COMPRESSED) and _is_numbered(path)]:
        raise DataError(
            f"{escape(root)}: compressed shards: {summarise(compressed)}. Photos in them cannot be read at random; unpack them "
            "first (gunzip, bunzip2, unxz or unzstd), so that NAME.tar.gz becomes NAME.tar."
        )
    found = sorted(path for path in paths if path.lower().endswith(".tar"))
    return found if not listing.photos or all(map(_is_numbered, found)) else []


def shard_splits(names: Sequence[str]) -> tuple[dict[SplitName, list[str]], list[str]]:
    """Group the shards of a folder by split, and return the problems.

    The split is in the name of a shard ("imagenet-train-0000.tar") or of its folder; without any, all shards are train.
    """
    splits: dict[SplitName, list[str]] = {}
    unnamed = []
    for name in sorted(names):
        split = split_of_shard(name)
        if split is None:
            unnamed.append(name)
        splits.setdefault(split or "train", []).append(name)
    if unnamed and len(unnamed) < len(names):
        return splits, [
            f"{summarise(unnamed)}: not named after a split, as other shards are; expected train*, validation* or test*"
        ]
    return splits, []


def missing_shards(root: Path, names: Sequence[str], listed: Iterable[str]) -> list[str]:
    """Return a problem for each group of shards of a split whose numbers show that some are missing, or else for the list.

    `listed` are the shards in the list next to them.
    """
    return missing_parts(root, [root / name for name in names]) or missing_from(MANIFEST, listed, names)


def missing_from(list_name: str, listed: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return a problem if shards in the list of this name are missing."""
    if missing := sorted(set(listed) - set(names)):
        return [f"{counted(len(missing), 'shard')} missing that {list_name} lists: {summarise(missing)}; restore them"]
    return []


def split_of_shard(name: str) -> SplitName | None:
    """Return the split in the name of a shard, or else of the folder that holds it; None if there is none."""
    path = PurePosixPath(name)
    part = part_of(path.stem)
    stem = part.before if part else path.stem
    if split := split_named(stem):
        return split
    partial = partly_split_named(stem)
    if partial and partial.rest is not None:
        return partial.split
    return split_named(path.parent.name) if path.parent.name else None


def _is_shard_place(path: str) -> bool:
    folder, _, _ = path.rpartition("/")
    return not is_in_hidden(path) and (not folder or ("/" not in folder and split_named(folder) is not None))


def _is_numbered(path: str) -> bool:
    stem = path.rpartition("/")[2].partition(".")[0]
    part = part_of(stem)
    return (part is not None and (part.is_padded or part.total is not None)) or split_of_shard(
        f"{stem}.tar"
    ) is not None
