"""Tar shards at an address: their list, and a cache of whole shards on the local disk, each verified when it arrives.

The cache is the folder `remote-shards` in allmlp's cache folder: shards are named by their SHA-256, so that a file of that name
is complete and cannot be outdated; each address has a folder with its list, class names and index.
"""

import contextlib
import functools
import hashlib
import itertools
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from allmlp.data.sources.tar_shards.index import index_paths
from allmlp.data.sources.tar_shards.labels import CLASS_NAME_FILES, MAX_NAMES_BYTES
from allmlp.data.sources.tar_shards.manifest import (
    MANIFEST,
    MAX_MANIFEST_BYTES,
    ListedShard,
    has_listed_digest,
    listed_shards,
)
from allmlp.data.sources.tar_shards.remote_files import AbsentFileError, download, is_http, read_remote
from allmlp.errors import AllmlpError, CheckpointError, ConfigError, DataError
from allmlp.io.atomic_write import advice_for, reason_of, rename, write_bytes
from allmlp.io.cache_folder import cache_folder, is_offline
from allmlp.io.display import escape, quote
from allmlp.io.file_kinds import sha256_of
from allmlp.io.http_download import MAX_FILE_BYTES, check_address, discard

__all__ = ["RemoteShards", "is_copy_whole", "open_remote", "shard_at"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}\.tar")  # a name is part of an address, and never a path
_SHA256 = re.compile("[0-9a-f]{64}")
_UPLOAD = "Upload all files that `allmlp shard` has written."
_OFFLINE = "is not in the cache, and ALLMLP_OFFLINE or HF_HUB_OFFLINE forbids downloads. Unset it."
_prefetching = threading.Semaphore(1)
_comparing = threading.Lock()
_damaged: dict[Path, tuple[int, int]] = {}  # the size and modification time of copies that did not have their digests


@dataclass(frozen=True, eq=False)
class RemoteShards:
    """The shards below `address`, which has no slash at its end, by name in their order. Picklable.

    `folder` is the part of the cache that belongs to the address.
    """

    address: str
    folder: Path
    shards: Mapping[str, ListedShard]

    def path(self, name: str) -> Path:
        """Return where a shard is in the cache, once it has been downloaded."""
        return self.folder.parent / f"{self.shards[name].sha256}.tar"

    def fetch(self, name: str, *, compare: bool = False) -> Path:
        """Return the path of a shard, which is downloaded and verified if it is not in the cache.

        Threads and processes may ask for the same shard. The next one of the split is downloaded in the background. `compare`:
        also verify a shard that is in the cache, once per process unless it changes; for callers who know no digests of photos.

        Raises:
            DataError: the shard is missing or has changed, cannot be downloaded, or cannot be written to the cache.
            MissingExtraError: a library for this kind of storage is not installed.
        """
        if compare and self._is_here(name) and not self._is_unchanged(name):
            with _writing(self.path(name)):
                self.path(name).unlink(missing_ok=True)
        if not self._is_here(name):
            self._download(name)
        self._prefetch(name)
        return self.path(name)

    def fetch_index(self) -> Path | None:
        """Download the index next to the shards to the cache, and return its path; None if there is none."""
        target = index_paths(self.folder, None)[0]
        if is_offline():
            return None
        with _writing(target) as part:
            try:
                # An index is smaller than its shards: a photo has at least three blocks in them.
                limit = sum(shard.size for shard in self.shards.values())
                download(f"{self.address}/{target.name}", part, max_bytes=min(limit, MAX_FILE_BYTES))
            except AbsentFileError:
                return None
            part.replace(target)
        return target

    def _is_here(self, name: str) -> bool:
        try:
            return self.path(name).stat().st_size == self.shards[name].size
        except OSError:
            return False

    def _is_unchanged(self, name: str) -> bool:
        """Whether a shard in the cache has its digest."""
        try:
            return has_listed_digest(self.path(name), self.shards[name])
        except OSError as error:
            raise _cache_error(self.path(name), error) from error

    def _download(self, name: str) -> None:
        address, shard, path = f"{self.address}/{name}", self.shards[name], self.path(name)
        if is_offline():
            raise DataError(f"{escape(address)} {_OFFLINE}")
        expected = f"{MANIFEST} lists it with {shard.size:,} bytes and a SHA-256 that starts with {shard.sha256[:12]}"
        with _writing(path) as part:
            if self._is_here(name):  # another process or thread was faster
                return
            was_begun = part.exists()
            try:
                download(address, part, max_bytes=shard.size, advice=f"Try again. {expected}.")
                if was_begun and sha256_of(part) != shard.sha256:  # damaged since; after a power failure, for example
                    discard(part)
                    download(address, part, max_bytes=shard.size, advice=f"Try again. {expected}.")
            except AbsentFileError as error:
                raise DataError(
                    f"{escape(address)}: this shard is missing there, or may not be read, but {MANIFEST} lists it. {_UPLOAD}"
                ) from error
            size, digest = part.stat().st_size, sha256_of(part)
            if (size, digest) != (shard.size, shard.sha256):
                discard(part)
                raise DataError(
                    f"{escape(address)}: this shard has changed, or is cut short: it has {size:,} bytes and a SHA-256 that "
                    f"starts with {digest[:12]}, but {expected}. {_UPLOAD}"
                )
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            rename(part, path)

    def _prefetch(self, name: str) -> None:
        """Start the download of the next shard, once, unless another one is under way."""
        if name not in self._following or not _prefetching.acquire(blocking=False):
            return
        following = self._following.pop(name, None)

        def run() -> None:
            try:
                if following is not None and not self._is_here(following):
                    self._download(following)
            except AllmlpError:  # reported if the shard is needed
                pass
            finally:
                _prefetching.release()

        try:
            threading.Thread(target=run, name="allmlp-prefetch", daemon=True).start()
        except RuntimeError:  # the system allows no further thread
            _prefetching.release()

    @functools.cached_property
    def _following(self) -> dict[str, str]:
        names = list(self.shards)
        pairs = itertools.pairwise(names)
        return {name: after for name, after in pairs if name.rpartition("-")[0] == after.rpartition("-")[0]}


def is_copy_whole(path: Path, shard: ListedShard) -> bool:
    """Return whether the copy of a shard is there and has its digest, which is computed again only if the file has changed."""
    try:
        with _comparing:  # the threads that read photos come all at once
            status = path.stat()
            state = (status.st_size, status.st_mtime_ns)
            if _damaged.get(path) == state:
                return False
            is_whole = state[0] == shard.size and has_listed_digest(path, shard)
            if not is_whole:
                _damaged[path] = state
            return is_whole
    except OSError:
        return False


def open_remote(source: str) -> RemoteShards:
    """Read the list of the shards at an address. If downloads are forbidden, the list that was read last is used.

    Raises:
        DataError: an invalid address, a list that is missing or invalid, or a cache that cannot be written.
        MissingExtraError: a library for this kind of storage is not installed.
    """
    address = _checked(source)
    digest = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()
    folder = cache_folder() / "remote-shards" / digest[:32]
    contents: dict[str, bytes] = {}
    try:
        for name, limit in ((MANIFEST, MAX_MANIFEST_BYTES), (CLASS_NAME_FILES[0], MAX_NAMES_BYTES)):
            if not is_offline():
                contents[name] = read_remote(f"{address}/{name}", max_bytes=limit)
            elif (folder / name).is_file():
                contents[name] = (folder / name).read_bytes()
            else:
                raise DataError(f"{escape(address)}/{name} {_OFFLINE}")
        shards = _listed(address, contents[MANIFEST])
        for name, content in contents.items():
            if not (folder / name).is_file() or (folder / name).read_bytes() != content:
                write_bytes(folder / name, content)
        return RemoteShards(address, folder, shards)
    except AbsentFileError as error:
        raise DataError(
            f"{escape(address)}/{name}: there is no such file, or it may not be read. Of addresses, only folders of tar shards "
            "are read: write them with `allmlp shard PHOTOS DIR`, and upload all files in DIR."
        ) from error
    except ConfigError as error:  # of write_bytes
        raise DataError(f"{error} {_ANOTHER_CACHE}") from error
    except OSError as error:
        raise _cache_error(folder, error) from error


def shard_at(address: str) -> tuple[RemoteShards, str]:
    """Return the shards next to the one at this address, and its name. The list is read once per process.

    Raises:
        DataError: as `open_remote`, or the list has no such shard.
    """
    folder, _, name = address.rpartition("/")
    remote = _opened(folder)
    if name not in remote.shards:
        raise DataError(f"{escape(address)}: {MANIFEST} does not list this shard.")
    return remote, name


@functools.lru_cache(maxsize=16)
def _opened(source: str) -> RemoteShards:
    return open_remote(source)


def _checked(source: str) -> str:
    """Return an address without the slash at its end."""
    if re.search(r"://[^/]*:[^/]*@", source):
        raise DataError(
            "The address of the shards has a password. Omit it, and set it as the storage expects it instead."
        )
    address = source.rstrip("/")
    if "?" in source or "::" in source:
        raise DataError(
            f"{escape(source.partition('?')[0])}: not the address of a folder; expected one such as s3://bucket/flowers/, "
            "without ? and ::."
        )
    if is_http(address):
        try:
            check_address(address, what="The address of the shards")
        except CheckpointError as error:
            raise DataError(str(error)) from error
    return address


def _listed(address: str, content: bytes) -> dict[str, ListedShard]:
    """Return the shards of a list from a server, sorted by name. Raises DataError."""
    where = f"{escape(address)}/{MANIFEST}"
    try:
        shards = listed_shards(content)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = escape(f"{type(error).__name__}: {error}")
        raise DataError(f"{where}: this list of shards cannot be read ({reason}). {_UPLOAD}") from error
    if not shards:
        raise DataError(f"{where}: not a list of shards that `allmlp shard` has written, or an empty one. {_UPLOAD}")
    for shard in shards.values():
        if not _NAME.fullmatch(shard.name):
            raise DataError(f"{where}: lists {quote(shard.name)}, which is not the name of a shard in this folder.")
        if not _SHA256.fullmatch(shard.sha256) or shard.size <= 0:
            raise DataError(f"{where}: {shard.name} has an invalid size or SHA-256. {_UPLOAD}")
    return {name: shards[name] for name in sorted(shards)}


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[Path]:
    """Yield the path of a download of `target`, which no other process or thread uses at the same time."""
    from filelock import FileLock

    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{target}.lock"):
            yield part
            discard(part)
    except OSError as error:
        with contextlib.suppress(OSError):
            discard(part)  # a disk that is full does not stay full
        raise _cache_error(target.parent, error) from error


_ANOTHER_CACHE = "Set ALLMLP_HOME to use another folder for downloads."


def _cache_error(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{escape(error.filename or folder)}: shards cannot be cached ({reason_of(error)}). {advice_for(error)} "
        f"{_ANOTHER_CACHE}"
    )
