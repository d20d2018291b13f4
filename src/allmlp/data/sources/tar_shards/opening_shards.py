"""Data sets given as a folder of WebDataset tar shards, or as a single one, indexed when they are first opened."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from allmlp.data.dataset import ImageDataset, Split, SplitName
from allmlp.data.sources.assemble import FoundSplit, assemble, raise_problems
from allmlp.data.sources.tar_shards.class_numbers import class_names_of_labels
from allmlp.data.sources.tar_shards.index import ShardIndex, index_paths, make_index, open_index, write_index
from allmlp.data.sources.tar_shards.labels import class_names_in
from allmlp.data.sources.tar_shards.manifest import DIGEST_PROBLEM, MANIFEST, ListedShard, read_manifest, size_problem
from allmlp.data.sources.tar_shards.members import DamagedTarError, TarPass
from allmlp.data.sources.tar_shards.reader import TarReader
from allmlp.data.sources.tar_shards.remote_shards import RemoteShards, open_remote
from allmlp.data.sources.tar_shards.samples import ShardSamples, read_samples
from allmlp.data.sources.tar_shards.shard_files import missing_from, missing_shards, shard_splits
from allmlp.errors import DataError, shortage
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.display import counted, escape, file_size, summarise
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file
from allmlp.io.ordered_map import ordered_map

__all__ = ["open_remote_shards", "open_shards"]

_COMPRESSED = (FileKind.GZIP, FileKind.BZIP2, FileKind.XZ, FileKind.ZSTANDARD)


def open_remote_shards(source: str) -> ImageDataset:
    """Open the shards in a folder at an address. If there is an index, only the shards that are read are downloaded.

    Raises:
        DataError: as `open_shards`, or the shards cannot be downloaded.
        MissingExtraError: a library for this kind of storage is not installed.
    """
    if source.lower().endswith(".tar"):
        raise DataError(f"{escape(source)}: give the address of its folder, {escape(source.rpartition('/')[0])}/.")
    remote = open_remote(source)
    note = f"shards are downloaded to {escape(remote.folder.parent)} when they are first read"
    return open_shards(source, remote.folder, list(remote.shards), [note], remote=remote)


def open_shards(
    source: str,
    root: Path,
    names: Sequence[str],
    notes: Sequence[str] = (),
    *,
    is_single: bool = False,
    remote: RemoteShards | None = None,
) -> ImageDataset:
    """Open the shards `names` in the folder `root`, all of it unless `is_single`.

    The first time, all of their bytes are read once, and an index is written: next to the shards or, if that folder cannot be
    written, in allmlp's cache folder. Later, the index is used as long as the sizes and modification times fit. For shards that
    are `remote`, `root` is a folder of the cache, and an index fits if it was made of the same contents.

    Raises:
        DataError: shards that are cut short, damaged, missing or changed; members that are refused; samples without a class
            or without a photo; see also `assemble`. All are reported.
    """
    listed = remote.shards if remote else read_manifest(root)
    if is_single:
        listed = {name: listed[name] for name in names if name in listed}
    splits, problems = shard_splits(names)
    if is_single:
        problems = []
    else:
        problems += missing_shards(root, names, listed)
    raise_problems(source, problems, notes)
    paths = index_paths(root, names[0] if is_single else None)
    named = class_names_in(root)
    stamps: dict[str, Any] = {"contents": _contents(listed, named[0] if named else None)}
    if remote is None:
        stamps["shards"] = [_stamp(root, name) for name in names]
        stamps["others"] = [_stamp(root, path.name) for path in ([named[0]] if named else [])]
        stamps["others"] += [_stamp(root, MANIFEST)] if listed else []
    changed: list[str] = []
    for path, index in _indexes(paths, remote):
        if not (is_single or remote) and (lost := missing_from(path.name, index.shards, names)):
            raise_problems(source, [f"{lost[0]}; if they were removed on purpose, delete {escape(path)}"], notes)
        if {name: index.info.get(name) for name in stamps} == stamps and set(index.shards) == set(names):
            return _dataset_of(index, source, root, notes, remote)
        if remote is None:
            changed = changed or _changed_shards(index, stamps["shards"], listed)
    scanned, problems = _scan(root, names, listed, remote)
    raise_problems(source, problems, notes)
    index, dataset = _assembled(source, root, splits, scanned, named[1] if named else None, notes)
    if remote and named and (unnamed := set(dataset.class_names) - set(named[1])):
        # Some servers answer with a page for whatever is missing: its lines would be classes.
        raise DataError(
            f"{escape(remote.address)}/{escape(named[0].name)}: does not name the classes of the photos: "
            f"{summarise(sorted(unnamed), limit=3)}. Upload the file that `allmlp shard` has written."
        )
    rows = np.concatenate([split.reader.rows for split in dataset.splits.values()])  # type: ignore[attr-defined]
    changes: dict[str, Any] = {
        "label": np.concatenate([split.labels for split in dataset.splits.values()]).astype(np.int32),
        "sample_id": [sample_id for split in dataset.splits.values() for sample_id in split.sample_ids],
        "info": {
            **stamps,
            "class_names": dataset.class_names,
            "splits": {name: len(split) for name, split in dataset.splits.items()},
            "notes": dataset.notes[len(notes) :],
            "left_out": dict(dataset.left_out),
        },
    }
    index = write_index(paths, index, rows, changes)
    return _dataset_of(index, source, root, [*notes, *changed, _index_note(index)], remote)


def _contents(listed: Mapping[str, ListedShard], class_names: Path | None) -> dict[str, str]:
    """Return the SHA-256 of each shard, and of the file of class names; {} if those of the shards are not known."""
    contents = {name: shard.sha256 for name, shard in sorted(listed.items())}
    if contents and class_names is not None:
        contents[class_names.name] = hashlib.sha256(class_names.read_bytes()).hexdigest()
    return contents


def _indexes(paths: Sequence[Path], remote: RemoteShards | None) -> Iterator[tuple[Path, ShardIndex]]:
    """Yield the indexes at `paths` and, if they do not fit, the one at the address, with their paths."""
    yield from ((path, index) for path in paths if (index := open_index(path)))
    if remote and (path := remote.fetch_index()) and (index := open_index(path)):
        yield path, index


def _changed_shards(index: ShardIndex, stamps: Sequence[Sequence[Any]], listed: Mapping[str, ListedShard]) -> list[str]:
    """Return a note on the shards that are not those of an index; those that are `listed` are compared with their list."""
    before = {name: state for name, *state in index.info["shards"]}
    changed = [name for name, *state in stamps if name not in listed and before.get(name, state) != state]
    if not changed:
        return []
    return [
        f"{counted(len(changed), 'shard')} with another size or time than when indexed, read again: {summarise(changed)}"
    ]


def _index_note(index: ShardIndex) -> str:
    if index.path is None:
        return "the shards were indexed; the index could not be written, so the next command has to read them again"
    return f"the shards were indexed: {escape(index.path)} ({file_size(index.path.stat().st_size)})"


def _dataset_of(
    index: ShardIndex, source: str, root: Path, notes: Sequence[str], remote: RemoteShards | None
) -> ImageDataset:
    info = index.info
    splits: dict[str, Split] = {}
    start = 0
    for name, count in info["splits"].items():
        stop = start + count
        labels = index.labels[start:stop].astype(np.int64)
        labels.setflags(write=False)
        reader = TarReader(root, index, range(start, stop), remote)
        splits[name] = Split(index.sample_ids(start, stop), labels, reader)
        start = stop
    return ImageDataset(tuple(info["class_names"]), splits, source, (*notes, *info["notes"]), left_out=info["left_out"])


def _stamp(root: Path, name: str) -> list[Any]:
    try:
        status = (root / name).stat()
    except OSError as error:
        raise DataError(f"{escape(root / name)}: cannot be read ({error.strerror or error}).") from error
    return [name, status.st_size, status.st_mtime_ns]


def _scan(
    root: Path, names: Sequence[str], listed: Mapping[str, ListedShard], remote: RemoteShards | None
) -> tuple[dict[str, ShardSamples], list[str]]:
    """Read all shards once. A problem has the name of its shard."""
    scanned: dict[str, ShardSamples] = {}
    problems: list[str] = []

    def scan(name: str) -> ShardSamples | str:
        try:
            return _scan_shard(remote.fetch(name) if remote else root / name, listed.get(name))
        except DamagedTarError as error:
            return f"{error}; {error.advice}"
        except OSError as error:
            if shortage(error):
                raise
            return f"cannot be read ({error.strerror or error})"

    # Threads: Python's global lock is released while photos are read and hashed, most of the work for photos of 100 kB.
    for name, found in zip(names, ordered_map(scan, names, num_decoding_threads()), strict=True):
        if isinstance(found, str):
            copy = f" (its copy is {escape(remote.path(name))})" if remote else ""
            problems.append(f"{escape(name)}{copy}: {found}")
        else:
            scanned[name] = found
            problems += [f"{escape(name)}: {line}" for line in found.problem_lines()]
    return scanned, problems


def _scan_shard(path: Path, listed: ListedShard | None) -> ShardSamples:
    if not path.is_file():  # opening a pipe would block
        raise DamagedTarError("it is not a regular file")
    num_bytes = path.stat().st_size
    if listed and (problem := size_problem(listed, num_bytes)):
        raise DamagedTarError(problem)
    with path.open("rb", buffering=1 << 20) as file:
        kind = kind_of_file(file.read(START_BYTES))
        if kind in _COMPRESSED:
            raise DamagedTarError(f"this is {kind}", advice="unpack it to a tar file, which can be read at random")
        file.seek(0)
        tar = TarPass(file, num_bytes, with_digest=listed is not None)
        found = read_samples(tar)
    if listed and tar.digest() != listed.sha256:
        raise DamagedTarError(DIGEST_PROBLEM)
    return found


def _assembled(
    source: str,
    root: Path,
    splits: Mapping[SplitName, Sequence[str]],
    scanned: Mapping[str, ShardSamples],
    class_names: Sequence[str] | None,
    notes: Sequence[str],
) -> tuple[ShardIndex, ImageDataset]:
    """Return an index in the order of the shards, and the data set of it."""
    labels, names, left_out, label_notes = class_names_of_labels(source, splits, scanned, class_names, notes)
    kept = {split: shards for split, shards in splits.items() if split not in left_out}
    shards = [name for of_split in kept.values() for name in of_split]
    counts = [len(scanned[name].names) for name in shards]
    index = make_index(
        {
            "shard": np.repeat([sorted(scanned).index(name) for name in shards], counts),
            "offset": np.concatenate([np.asarray(scanned[name].offsets, dtype=np.int64) for name in shards]),
            "size": np.concatenate([np.asarray(scanned[name].sizes, dtype=np.int32) for name in shards]),
            "digest": b"".join(scanned[name].digests for name in shards),
            "name": [member for name in shards for member in scanned[name].names],
            "label": np.zeros(sum(counts)),
            "sample_id": [""] * sum(counts),
        },
        {"shards": [[name] for name in sorted(scanned)]},
    )
    found: dict[SplitName, FoundSplit] = {}
    start = 0
    for split, of_split in kept.items():
        paths = [member for name in of_split for member in scanned[name].names]
        found[split] = FoundSplit(paths, labels[split], TarReader(root, index, range(start, start + len(paths))))
        start += len(paths)
    kept_ids = {split: _sample_ids(of_split, scanned, labels[split]) for split, of_split in kept.items()}
    if all(ids is not None for ids in kept_ids.values()):  # shards that `allmlp shard` has written
        raise_problems(source, [line for split in kept for line in _repeated(split, kept_ids[split] or [])], notes)
        found = {split: dataclasses.replace(each, sample_ids=kept_ids[split]) for split, each in found.items()}
    ignored = sum(each.num_ignored for each in scanned.values())
    notes = [*notes, *label_notes]
    if ignored:
        notes.append(f"{counted(ignored, 'member')} of the shards ignored: neither a photo nor its class")
    return index, assemble(source, found, names, notes, left_out=left_out)


def _sample_ids(
    shards: Sequence[str], scanned: Mapping[str, ShardSamples], class_names: Sequence[str]
) -> list[str] | None:
    """Return the sample IDs that the JSON of all samples keeps; None if one has none, or one of another class."""
    ids: list[str] = []
    for sample_id, class_name in zip(_stated_ids(shards, scanned), class_names, strict=True):
        if sample_id is None or not sample_id.startswith(f"{class_name}/"):
            return None
        ids.append(sample_id)
    return ids


def _stated_ids(shards: Sequence[str], scanned: Mapping[str, ShardSamples]) -> Iterator[str | None]:
    return (sample_id for name in shards for sample_id in scanned[name].sample_ids)


def _repeated(split: str, sample_ids: Sequence[str]) -> list[str]:
    if len(set(sample_ids)) == len(sample_ids):
        return []
    seen: set[str] = set()
    twice = {sample_id for sample_id in sample_ids if sample_id in seen or seen.add(sample_id)}  # type: ignore[func-returns-value]
    return [
        f"{counted(len(twice), 'sample ID')} of {split} in several samples: {summarise(sorted(twice), limit=3)}; "
        "a shard may be here twice: remove the copy"
    ]
