"""Data sets as a zip of photos, read in place: nothing is unpacked to disk."""

import contextlib
import dataclasses
import stat
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset
from allmlp.data.decoding.decode import MAX_PHOTO_BYTES
from allmlp.data.sources.assemble import FoundSplit, assemble, raise_problems
from allmlp.data.sources.folder_layout import Listing, arrange, is_hidden, is_photo_name
from allmlp.errors import DataError
from allmlp.io.display import escape, summarise
from allmlp.io.zip_archive import (
    LOCAL_HEADER_BYTES,
    ZIP_ERRORS,
    ZipMember,
    leads_outside,
    read_directory,
    read_into,
    repeated_names,
    unreadable_because,
)

__all__ = ["ZipReader", "open_zip"]

# Photos are compressed already; what shrinks 200 times is a bomb (deflate reaches 1,032 times).
_MAX_RATIO = 200
_RATIO_MATTERS_FROM = 2**20
_NAME_IS_UTF8 = 0x800  # among a member's flag_bits


@dataclasses.dataclass(frozen=True, eq=False)
class ZipReader:
    """Reads members by their position in the file.

    Each read opens the archive anew: there is no directory to parse again and no file position for threads or forked
    workers to share. `positions` is int64 (n, 5): offset, compressed bytes, bytes, method, CRC-32.
    """

    path: Path
    names: tuple[str, ...]
    positions: NDArray[np.int64]

    def read(self, index: int) -> bytes:
        """Return the member's bytes. Raises DataError when the archive has vanished, changed or is damaged there."""
        offset, num_packed, num_bytes, method, crc = (int(value) for value in self.positions[index])
        # Names are not compared: those here are decoded anew, and an archive may hold them twice, in two encodings.
        member = ZipMember("", offset, num_packed, num_bytes, crc, deflated=method == zipfile.ZIP_DEFLATED)
        try:
            content = bytearray(num_bytes)
            with self.path.open("rb") as file:
                read_into(file, member, memoryview(content))
        except ZIP_ERRORS as error:
            raise DataError(f"{self.where(index)}: this photo cannot be read from the zip: {error}.") from error
        return bytes(content)

    def where(self, index: int) -> str:
        """Return "photos.zip: train/dress/x.jpg"."""
        return escape(f"{self.path}: {self.names[index]}")

    def subset(self, indices: NDArray[np.int64]) -> "ZipReader":
        """Return a reader of these members in this order."""
        return ZipReader(self.path, tuple(self.names[index] for index in indices), self.positions[indices])

    def photo_files(self) -> tuple[Path, ...]:
        """Return the archive's path."""
        return (self.path,)

    def storage_order(self) -> NDArray[np.int64]:
        """Return the members by their offset."""
        return np.argsort(self.positions[:, 0], kind="stable")


def open_zip(path: Path) -> ImageDataset:
    """Open a zip that holds either layout of a folder.

    Raises:
        DataError: not a whole zip; members that are encrypted, outside of it ("../"), there twice, packed by an unknown
            method, that unpack to too much, or whose position is beyond the end of the file; or see `arrange`.
    """
    try:
        num_bytes = path.stat().st_size
        members = read_directory(path)
    except ZIP_ERRORS as error:
        raise DataError(
            f"{escape(path)}: this is not a whole zip file ({error}). Copy or download it again."
        ) from error
    names = [_name(member).replace("\\", "/") for member in members]
    raise_problems(str(path), _problems(members, names, num_bytes))
    listing, photos = _list(members, names)
    arrangement = arrange(str(path), listing)
    positions = np.array([_position(member) for member in photos], dtype=np.int64).reshape(-1, 5)
    found = {}
    for split, entries in arrangement.members.items():
        indices, paths, class_names = zip(*entries, strict=True)
        reader = ZipReader(path, tuple(listing.photos[i] for i in indices), positions[list(indices)])
        found[split] = FoundSplit(paths, class_names, reader)
    return assemble(str(path), found, arrangement.class_names, arrangement.notes)


def _name(member: zipfile.ZipInfo) -> str:
    """Return a member's name, which zip on Linux writes in UTF-8 without the flag that says so: zipfile takes it for cp437."""
    if not member.flag_bits & _NAME_IS_UTF8:
        with contextlib.suppress(UnicodeError):  # what is no UTF-8 is cp437, as the format has it
            return member.filename.encode("cp437").decode("utf-8")
    return member.filename


def _list(members: list[zipfile.ZipInfo], names: list[str]) -> tuple[Listing, list[zipfile.ZipInfo]]:
    listing = Listing()
    photos = []
    folders: set[str] = set()
    for member, name in sorted(zip(members, names, strict=True), key=lambda pair: pair[1]):
        path = PurePosixPath(name)
        hidden = any(is_hidden(part) for part in path.parts)
        if not hidden:
            folders.update(str(parent) for parent in path.parents if parent.name)
        if name.endswith("/"):
            if not hidden:
                folders.add(str(path))
        elif hidden or not is_photo_name(path.name):
            listing.ignored.append(name)
        elif stat.S_ISLNK(member.external_attr >> 16):
            listing.skipped.append((name, "a link"))
        else:
            listing.photos.append(str(path))
            photos.append(member)
    listing.folders = sorted(folders)
    return listing, photos


def _problems(members: list[zipfile.ZipInfo], names: list[str], num_bytes: int) -> list[str]:
    offenders: dict[str, list[str]] = {
        "members lie outside the archive; do not trust this file": list(filter(leads_outside, names)),
        "members come twice; pack it again": repeated_names(names),
    }
    encrypted: list[str] = []
    unknown: list[str] = []
    beyond, large, bombs = [], [], []
    for member, name in zip(members, names, strict=True):
        if not is_photo_name(PurePosixPath(name).name):
            continue  # never unpacked
        if reason := unreadable_because(member):
            (encrypted if reason == "encrypted" else unknown).append(name)
        elif not 0 <= member.header_offset <= num_bytes - LOCAL_HEADER_BYTES - member.compress_size:
            beyond.append(name)
        elif max(member.file_size, member.compress_size) > MAX_PHOTO_BYTES:  # what is packed is read whole, too
            large.append(name)
        elif member.file_size > max(_RATIO_MATTERS_FROM, _MAX_RATIO * member.compress_size):
            bombs.append(name)
    offenders["members are encrypted; unpack it with its password and give the folder"] = encrypted
    offenders["members are packed by a method other than store and deflate; pack it again"] = unknown
    offenders["members lie beyond the end of the file by its directory; copy or download it again"] = beyond
    offenders[f"members have more than {MAX_PHOTO_BYTES:,} bytes"] = large
    offenders[f"members unpack to more than {_MAX_RATIO} times their size, as no photo does"] = bombs
    return [f"{len(found):,} {what}: {summarise(sorted(found))}" for what, found in offenders.items() if found]


def _position(member: zipfile.ZipInfo) -> tuple[int, int, int, int, int]:
    return member.header_offset, member.compress_size, member.file_size, member.compress_type, member.CRC
