"""Writing of a data set as WebDataset tar shards, whose bytes depend on the photos only."""

import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from allmlp.data.dataset import ImageDataset, Split
from allmlp.data.sampling.stateless_random import sample_keys
from allmlp.data.sources.tar_shards.labels import CLASS_NAME_FILES
from allmlp.data.sources.tar_shards.manifest import MANIFEST, ListedShard, manifest_bytes
from allmlp.errors import ConfigError
from allmlp.io.atomic_write import advice_for, reason_of, write_folder
from allmlp.io.display import Progress, escape, no_progress
from allmlp.io.file_kinds import FileKind, kind_of_file

__all__ = ["WrittenShards", "write_shards"]

_EXTENSIONS = {
    FileKind.JPEG: "jpg",
    FileKind.PNG: "png",
    FileKind.WEBP: "webp",
    FileKind.GIF: "gif",
    FileKind.BMP: "bmp",
    FileKind.TIFF: "tiff",
    FileKind.HEIC: "heic",
    FileKind.AVIF: "avif",
}
_UNKNOWN = "jpg"  # of a photo whose content is of no known kind; reading it says so
_BLOCK = 512
_OVERHEAD = 10 * _BLOCK + tarfile.RECORDSIZE  # of a sample and of the end: headers, labels and padding


class WrittenShards(NamedTuple):
    """The shards that `write_shards` has written, and the number of bytes of all."""

    shards: tuple[ListedShard, ...]
    num_bytes: int


def write_shards(
    dataset: ImageDataset, folder: Path, *, shard_bytes: int = 512_000_000, progress: Progress = no_progress
) -> WrittenShards:
    """Write every split as train-000000.tar, train-000001.tar, ..., with classes.txt and a list of the shards.

    A sample is three members: the photo with its bytes unchanged, the number of its class (.cls), and a .json of its class name
    and sample ID. Samples are in a fixed random order, because programs that read shards from start to end need the classes
    mixed. A shard is closed when the next photo would exceed `shard_bytes`. The folder appears complete or not at all.

    Raises:
        DataError: a photo cannot be read.
        ConfigError: the folder exists and is not empty, or cannot be written.
    """
    shards: list[ListedShard] = []
    try:
        write_folder(folder, _contents(dataset, shard_bytes, shards, progress))
    except OSError as error:
        raise ConfigError(
            f"{escape(folder)}: could not be written ({reason_of(error)}). {advice_for(error)} Nothing was left behind."
        ) from error
    return WrittenShards(tuple(shards), sum(shard.size for shard in shards))


_Contents = Iterator[tuple[str, bytes | Callable[[IO[bytes]], object]]]


def _contents(dataset: ImageDataset, shard_bytes: int, shards: list[ListedShard], progress: Progress) -> _Contents:
    """Yield the files of the folder; `shards` receives each shard when it has been written."""
    total = sum(map(len, dataset.splits.values()))
    done = 0
    for name, split in dataset.splits.items():
        writer = _SplitWriter(split, dataset.class_names, shard_bytes)
        number = 0
        while not writer.is_done():
            shard_name = f"{name}-{number:06d}.tar"
            yield shard_name, writer.write_shard
            shards.append(writer.listed(shard_name))
            done += shards[-1].num_photos
            progress(done, total)
            number += 1
    yield CLASS_NAME_FILES[0], "".join(f"{name}\n" for name in dataset.class_names).encode()
    yield MANIFEST, manifest_bytes(shards)


class _SplitWriter:
    """Writes the photos of a split, shard by shard."""

    def __init__(self, split: Split, class_names: tuple[str, ...], shard_bytes: int) -> None:
        self._split = split
        self._class_names = class_names
        self._shard_bytes = shard_bytes
        keys = sample_keys(split.sample_ids)
        self._order = np.argsort(keys, kind="stable")  # keys are random, but fixed: those of the sample IDs
        self._position = 0
        self._next: bytes | None = None  # a photo that was read, but did not fit into the shard before
        self._written = (0, "", 0)

    def is_done(self) -> bool:
        """Return whether all photos are written."""
        return self._position == len(self._order)

    def write_shard(self, file: IO[bytes]) -> None:
        """Write the next photos to a file, at least one."""
        first = self._position
        hashed = _HashedFile(file)
        while not self.is_done():
            content = self._next if self._next is not None else self._split.read(int(self._order[self._position]))
            self._next = content
            if self._position > first and hashed.tell() + len(content) + _OVERHEAD > self._shard_bytes:
                break
            self._add(hashed, content)
            self._next = None
            self._position += 1
        hashed.write(bytes(2 * _BLOCK))  # the end mark
        hashed.write(bytes(-hashed.tell() % tarfile.RECORDSIZE))
        self._written = hashed.tell(), hashed.sha256.hexdigest(), self._position - first

    def listed(self, name: str) -> ListedShard:
        """Return the entry of the shard written last."""
        size, digest, num_photos = self._written
        return ListedShard(name, size, digest, num_photos)

    def _add(self, file: "_HashedFile", content: bytes) -> None:
        index = int(self._order[self._position])
        label = int(self._split.labels[index])
        facts = {"class_name": self._class_names[label], "label": label, "sample_id": self._split.sample_ids[index]}
        kind = kind_of_file(content)
        extension = _EXTENSIONS.get(kind, _UNKNOWN) if kind else _UNKNOWN
        members = ((extension, content), ("cls", str(label).encode()), ("json", json.dumps(facts).encode()))
        for field, data in members:
            info = tarfile.TarInfo(f"{self._position:09d}.{field}")  # time, owner and group are 0 by default
            info.size = len(data)
            file.write(info.tobuf(tarfile.USTAR_FORMAT))
            file.write(data)
            file.write(bytes(-len(data) % _BLOCK))


class _HashedFile:
    """A file that is written from start to end, and hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._num_bytes = 0
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        """Write bytes."""
        self._file.write(content)
        self.sha256.update(content)
        self._num_bytes += len(content)
        return len(content)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._num_bytes
