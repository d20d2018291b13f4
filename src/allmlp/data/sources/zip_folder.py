"""Data sets given as a zip of photos, read in place: nothing is unpacked to disk."""

import contextlib
import dataclasses
import re
import stat
import zipfile
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allmlp.data.dataset import ImageDataset
from allmlp.data.decoding.limits import MAX_PHOTO_BYTES
from allmlp.data.decoding.reasons import raise_shortage
from allmlp.data.sources.assemble import raise_problems
from allmlp.data.sources.folder_layout import (
    FolderOptions,
    Listing,
    arrange,
    assemble_arrangement,
    has_photo_ending,
    is_hidden,
    is_photo_name,
)
from allmlp.errors import DataError
from allmlp.io.display import escape, shorten, summarise
from allmlp.io.zip_archive import (
    LOCAL_HEADER_BYTES,
    OUTSIDE,
    ZIP_ERRORS,
    ZipMember,
    name_problem,
    read_directory,
    read_into,
    repeated_names,
    unreadable_because,
)

__all__ = ["ZipReader", "is_part_of_zip", "list_zip", "open_zip", "open_zip_photos"]

# Photos are compressed already, so a compression ratio above 200 means a zip bomb (deflate reaches 1,032).
_MAX_RATIO = 200
_ANY_RATIO_BYTES = 2**20  # smaller members may have any ratio
_ANY_RATIO_TOTAL = 2**26  # all members together may unpack to this, whatever the size of the zip
_SHOWN_NAME = 100
_SPLIT_ZIP = re.compile(r"\.(z\d\d|zip\.\d{3})$", re.IGNORECASE)
_NAME_IS_UTF8 = 0x800  # among a member's flag_bits


@dataclasses.dataclass(frozen=True, eq=False)
class ZipReader:
    """Reads members by their offset in the file.

    Each read opens the file again, so threads and forked workers share no file position, but the zip directory is parsed
    only once. `entries` is int64 (n, 5): offset, compressed size, size, compression method, CRC-32. `problems` are the reasons
    why some members are not read, by their names.
    """

    path: Path
    names: tuple[str, ...]
    entries: NDArray[np.int64]
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def read(self, index: int) -> bytes:
        """Return the member's bytes.

        Raises:
            DataError: the zip is missing, has changed, or is damaged at this member, or it is one of those that are not read.
            ShortageError: the machine lacks memory, open files or the disk.
        """
        if problem := self.problems.get(self.names[index]):
            raise DataError(f"{self.where(index)}: this photo cannot be read from the zip: {problem}.")
        offset, num_packed, num_bytes, method, crc = (int(value) for value in self.entries[index])
        # The name is not compared: it was decoded again here, and a zip may store it twice, in different encodings.
        member = ZipMember("", offset, num_packed, num_bytes, crc, deflated=method == zipfile.ZIP_DEFLATED)
        try:
            content = bytearray(num_bytes)
            with self.path.open("rb") as file:
                read_into(file, member, memoryview(content))
        except (*ZIP_ERRORS, MemoryError) as error:
            raise_shortage(error, where=self.where(index))
            raise DataError(f"{self.where(index)}: this photo cannot be read from the zip: {error}.") from error
        return bytes(content)

    def where(self, index: int) -> str:
        """Return "photos.zip: train/dress/x.jpg"."""
        return escape(f"{self.path}: {self.names[index]}")

    def subset(self, indices: NDArray[np.int64]) -> "ZipReader":
        """Return a reader of the members at `indices`, in that order."""
        names = tuple(self.names[index] for index in indices)
        return ZipReader(self.path, names, self.entries[indices], self.problems)

    def sizes(self) -> NDArray[np.int64]:
        """Return the unpacked size of each member."""
        return self.entries[:, 2]

    def photo_files(self) -> tuple[Path, ...]:
        """Return the path of the zip."""
        return (self.path,)

    def storage_order(self) -> NDArray[np.int64]:
        """Return all indices, ordered by offset."""
        return np.argsort(self.entries[:, 0], kind="stable")


def open_zip(path: Path, options: FolderOptions) -> ImageDataset:
    """Open a zip with one of the layouts of a folder.

    Raises:
        DataError: as `open_zip_photos`; see also `arrange`.
    """
    listing, reader = _checked(path)
    arrangement = arrange(str(path), listing, options)
    return assemble_arrangement(
        str(path), arrangement, lambda indices: reader.subset(np.array(indices, dtype=np.int64))
    )


def open_zip_photos(path: Path) -> ZipReader:
    """Open a zip as photos without labels, sorted by name; its folders mean nothing.

    Members that are encrypted, too large, or compressed by an unknown method or too much are among them: as with such photos in
    a folder, only reading them fails.

    Raises:
        DataError: an incomplete zip; members that are duplicated, beyond the end of the file, or have paths outside of the zip
            ("../"); or all together unpack to far more than the size of the zip.
    """
    return _checked(path, has_photo_ending, keeps_unreadable=True)[1]  # the decoder says why it does not read some


def _checked(
    path: Path, is_photo: Callable[[str], bool] = is_photo_name, *, keeps_unreadable: bool = False
) -> tuple[Listing, ZipReader]:
    """Return what is in a zip, and a reader of its photos in the order of the listing."""
    if is_part_of_zip(path.name) or path.with_suffix(".z01").exists():
        raise _split_zip(path)
    try:
        num_bytes = path.stat().st_size
        members = read_directory(path)
    except OSError as error:
        raise DataError(f"{escape(path)}: this zip file cannot be read ({error.strerror or error}).") from error
    except ZIP_ERRORS as error:
        raise DataError(
            f"{escape(path)}: this is not a complete zip file ({error}). Copy or download it again."
        ) from error
    if any(member.volume for member in members):
        raise _split_zip(path)
    names = [_name(member) for member in members]
    faults = _faults(members, names, num_bytes, is_photo)
    kept = {member: fault.reason for member, fault in faults.items() if keeps_unreadable and fault.reason}
    refused = {member: fault for member, fault in faults.items() if member not in kept}
    raise_problems(str(path), _problems(members, names, refused) or _total_problems(members, kept, num_bytes))
    listing, photos, _ = _list(members, names, is_photo)
    # The numbers of what is not read may be any.
    rows = [(0, 0, 0, 0, 0) if member in kept else _entry(member) for member in photos]
    problems = {name: kept[member] for name, member in zip(listing.photos, photos, strict=True) if member in kept}
    entries = np.array(rows, dtype=np.int64).reshape(-1, 5)
    return listing, ZipReader(path, tuple(listing.photos), entries, problems)


def list_zip(path: Path) -> tuple[Listing, dict[str, ZipMember]]:
    """List a zip as `open_zip` does, and return the ignored members too, by their path in the listing.

    Raises:
        ZIP_ERRORS: not a readable zip archive.
    """
    members = read_directory(path)
    listing, _, ignored = _list(members, [_name(member) for member in members], is_photo_name)
    return listing, {
        name: ZipMember("", info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type != 0)
        for name, info in ignored.items()
    }


def is_part_of_zip(name: str) -> bool:
    """Return whether a file of this name is a part of a split zip, which may begin anywhere: "a.z01", "a.zip.002"."""
    return _SPLIT_ZIP.search(name) is not None


def _split_zip(path: Path) -> DataError:
    return DataError(
        f"{escape(path)}: this is one of the parts of a split zip. Join them first, with `zip -s 0 NAME.zip --out WHOLE.zip` "
        "for NAME.z01, NAME.z02, ..., NAME.zip, or with `cat NAME.zip.* > NAME.zip` for NAME.zip.001, NAME.zip.002, ..."
    )


def _name(member: zipfile.ZipInfo) -> str:
    """Return a member's name. zip on Linux writes UTF-8 without setting the flag, so that zipfile decodes it as cp437."""
    name = member.filename
    if not member.flag_bits & _NAME_IS_UTF8:
        with contextlib.suppress(UnicodeError):  # if it is not UTF-8, it is cp437, the default of the format
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _parts(name: str) -> list[str]:
    """Return the folders and the file that a member is unpacked to, which "./a//x.jpg" and "a/x.jpg" share."""
    return [part for part in name.split("/") if part not in ("", ".")]


def _list(
    members: list[zipfile.ZipInfo], names: list[str], is_photo: Callable[[str], bool]
) -> tuple[Listing, list[zipfile.ZipInfo], dict[str, zipfile.ZipInfo]]:
    """Return the listing, the members of its photos, and those of its ignored files (one for a hidden folder)."""
    listing = Listing()
    photos = []
    folders: set[str] = set()
    ignored: dict[str, zipfile.ZipInfo] = {}
    for member, name in sorted(zip(members, names, strict=True), key=lambda pair: pair[1]):
        parts = _parts(name)
        if not parts:
            continue
        hidden = next((depth for depth, part in enumerate(parts, start=1) if is_hidden(part)), 0)
        if not hidden:
            folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
        if name.endswith("/"):
            if not hidden:
                folders.add("/".join(parts))
        elif hidden:
            ignored["/".join(parts[:hidden])] = member  # once for a folder, as if it were unpacked
        elif not is_photo(parts[-1]):
            ignored["/".join(parts)] = member
        elif stat.S_ISLNK(member.external_attr >> 16):
            listing.skipped.append(("/".join(parts), "a link"))
        else:
            listing.photos.append("/".join(parts))
            photos.append(member)
    listing.folders, listing.ignored = sorted(folders), list(ignored)
    return listing, photos, ignored


class _Fault(NamedTuple):
    """Why a member is refused, as a heading for several, and what to do. `reason` says it of one; "" if the zip is damaged."""

    heading: str
    advice: str
    reason: str


_ENCRYPTED = _Fault(
    "encrypted members",
    "unpack the zip with its password and open the folder",
    "encrypted; unpack the zip with its password",
)
_PACKED = _Fault(
    "members compressed by a method other than store and deflate",
    "pack the zip again",
    "compressed by a method other than store and deflate; pack the zip again",
)
_BEYOND = _Fault("members that the directory puts beyond the end of the file", "copy or download it again", "")
_LARGE = _Fault(
    f"members larger than {MAX_PHOTO_BYTES:,} bytes", "replace or remove them", f"larger than {MAX_PHOTO_BYTES:,} bytes"
)
_BOMB = _Fault(
    f"members larger than {_MAX_RATIO} times their compressed size, as no photo is",
    "remove them",
    f"larger than {_MAX_RATIO} times its compressed size, as no photo is",
)


def _faults(
    members: list[zipfile.ZipInfo], names: list[str], num_bytes: int, is_photo: Callable[[str], bool]
) -> dict[zipfile.ZipInfo, _Fault]:
    """Return what is wrong with members that have the names of photos; others are never unpacked."""
    faults = {}
    for member, name in zip(members, names, strict=True):
        if is_photo(name.rpartition("/")[2]) and (fault := _fault(member, num_bytes)):
            faults[member] = fault
    return faults


def _fault(member: zipfile.ZipInfo, num_bytes: int) -> _Fault | None:
    if reason := unreadable_because(member):
        return _ENCRYPTED if reason == "encrypted" else _PACKED
    if not 0 <= member.header_offset <= num_bytes - LOCAL_HEADER_BYTES - member.compress_size:
        return _BEYOND
    if max(member.file_size, member.compress_size) > MAX_PHOTO_BYTES:  # both are read into memory
        return _LARGE
    return _BOMB if member.file_size > max(_ANY_RATIO_BYTES, _MAX_RATIO * member.compress_size) else None


def _problems(members: list[zipfile.ZipInfo], names: list[str], refused: Mapping[zipfile.ZipInfo, _Fault]) -> list[str]:
    files = ["/".join(_parts(name)) for name in names if not name.endswith("/")]
    offenders: dict[tuple[str, str], list[str]] = {("duplicate members", "pack the zip again"): repeated_names(files)}
    for name in names:
        if problem := name_problem(name):
            advice = "do not trust this file" if problem == OUTSIDE else "pack the zip again with shorter names"
            offenders.setdefault((f"members with {problem}", advice), []).append(name)
    for each in (_ENCRYPTED, _PACKED, _BEYOND, _LARGE, _BOMB):
        found = [name for member, name in zip(members, names, strict=True) if refused.get(member) is each]
        offenders[each.heading, each.advice] = found
    return [
        f"{what} ({len(found):,}): {summarise(shorten(name, _SHOWN_NAME) for name in sorted(found))}; {advice}"
        for (what, advice), found in offenders.items()
        if found
    ]


def _total_problems(members: list[zipfile.ZipInfo], unread: Container[zipfile.ZipInfo], num_bytes: int) -> list[str]:
    packed = sum(member.compress_size for member in members)
    unpacked = sum(member.file_size for member in members if member not in unread)
    if packed > num_bytes:
        return [f"its members overlap, or it is cut short: they need {packed:,} bytes; copy or download it again"]
    if unpacked > max(_ANY_RATIO_TOTAL, _MAX_RATIO * num_bytes):
        return [f"its members unpack to {unpacked:,} bytes, more than {_MAX_RATIO} times its size; do not trust it"]
    return []


def _entry(member: zipfile.ZipInfo) -> tuple[int, int, int, int, int]:
    return member.header_offset, member.compress_size, member.file_size, member.compress_type, member.CRC
