"""Zip archives: listing and reading members within bounded memory and time.

`zipfile` parses the list of members. The members are read here: directly into their final memory, never more bytes than
the list gives as their size, and without the checksum where that is not reliable.
"""

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from allmlp.errors import CheckpointError
from allmlp.io.display import quote, summarise

__all__ = [
    "LOCAL_HEADER_BYTES",
    "OUTSIDE",
    "ZIP_ERRORS",
    "ChecksumError",
    "ZipMember",
    "list_members",
    "name_problem",
    "read_directory",
    "read_into",
    "read_start",
    "repeated_names",
    "seek_to",
    "unreadable_because",
]

MAX_LIST_BYTES = 1 << 19  # about 100 bytes per member; a training checkpoint of H/14 has 1,600 members
MAX_PHOTO_LIST_BYTES = 1 << 28  # of 2.5 million photos

# Longer or deeper names are of no use, and make lists of folders grow with the square of a name's length.
MAX_NAME, MAX_PART, MAX_DEPTH = 1024, 255, 32
OUTSIDE = "a path outside of the zip"
CHUNK_BYTES = 1 << 20
END_BYTES = 22  # of the record at the end of the archive, without its comment

LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
LOCAL_HEADER_BYTES = LOCAL_HEADER.size

# Exceptions that damaged archives cause, here and in zipfile (which trusts the offsets and texts that it reads).
ZIP_ERRORS = (
    OSError, ValueError, EOFError, OverflowError, NotImplementedError, zipfile.BadZipFile, struct.error, zlib.error
)  # fmt: skip


class ChecksumError(ValueError):
    """A member that is not what was written."""


@dataclass(frozen=True)
class ZipMember:
    """The location of a member. `num_bytes` is its unpacked size, `packed_bytes` its size in the file.

    An empty `name` is not compared with the name next to the data, which may be in another encoding.
    """

    name: str
    header_offset: int
    packed_bytes: int
    num_bytes: int
    crc: int
    deflated: bool


class _BoundedReader(io.BufferedReader):
    """A reader that bounds the list of members, which zipfile reads at once at the length that the file claims."""

    def __init__(self, raw: io.FileIO, limit: int) -> None:
        super().__init__(raw)
        self._limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._limit:
            raise ValueError(f"its list of members would take {size:,} bytes")
        return super().read(size)


def list_members(path: Path) -> list[ZipMember]:
    """Return the members of the archive at `path`, in archive order.

    Raises:
        CheckpointError: an unreadable archive, too many members, member names that occur twice, lead outside or are not
            text, or members that overlap, are encrypted or are compressed by a method other than deflate.
    """
    try:
        with io.FileIO(path) as raw, _BoundedReader(raw, MAX_LIST_BYTES) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _check_count(raw, len(infos), comment_bytes=len(archive.comment))
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{path}: this zip archive is damaged or cut short ({error}). Copy it again.") from error
    _check_names(path, infos)
    _check_sizes(path, infos)
    for info in infos:
        if reason := unreadable_because(info):
            raise CheckpointError(
                f"{path}: the member {quote(info.filename)} is {reason}; expected stored or deflated weights."
            )
        if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
            raise CheckpointError(
                f"{path}: the member {quote(info.filename)} is stored in {info.compress_size:,} bytes "
                f"but listed with {info.file_size:,}."
            )
    return [
        ZipMember(
            info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type != 0
        )
        for info in infos
    ]


def read_directory(path: Path) -> list[zipfile.ZipInfo]:
    """Return the entries of an archive's central directory, of at most 2.5 million photos.

    Raises:
        ZIP_ERRORS: not a readable zip archive, or a larger directory.
    """
    with io.FileIO(path) as raw, _BoundedReader(raw, MAX_PHOTO_LIST_BYTES) as file, zipfile.ZipFile(file) as archive:
        return archive.infolist()


def repeated_names(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def name_problem(name: str) -> str:
    """Return why a member's name is refused; "" if it is not.

    It may be an absolute path, lead out of the folder into which it is unpacked, or be too long or too deep.
    """
    name = name.replace("\\", "/")
    if name.startswith("/") or name[1:2] == ":":
        return OUTSIDE
    if len(name) > MAX_NAME:
        return f"a name longer than {MAX_NAME:,} characters"
    parts = name.split("/")
    if ".." in parts:
        return OUTSIDE
    if len(parts) > MAX_DEPTH + 1:
        return f"a path deeper than {MAX_DEPTH} folders"
    return f"a folder or file name longer than {MAX_PART} characters" if max(map(len, parts)) > MAX_PART else ""


def unreadable_because(info: zipfile.ZipInfo) -> str:
    """Return why a member's data cannot be read: "encrypted" or "compressed by method N"; "" if it can."""
    if info.flag_bits & 0x1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {info.compress_type}"
    return ""


def _check_count(file: io.FileIO, count: int, *, comment_bytes: int) -> None:
    # zipfile does not compare the counts: a damaged length in the list may swallow the entry after it.
    file.seek(-END_BYTES - comment_bytes, io.SEEK_END)
    (expected,) = struct.unpack_from("<H", file.read(END_BYTES), 10)
    if count != expected and expected != 0xFFFF:  # a larger count is in another record
        raise ValueError(f"{count:,} members instead of {expected:,}")


def _check_names(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    duplicates = repeated_names(info.filename for info in infos)
    if duplicates:
        raise CheckpointError(f"{path}: members that occur more than once: {summarise(map(quote, duplicates))}.")
    for info in infos:
        if name_problem(info.filename) or info.orig_filename != info.filename:
            raise CheckpointError(
                f"{path}: the member name {quote(info.orig_filename)} is invalid; expected a relative path without '..' "
                f"of at most {MAX_NAME:,} characters and {MAX_DEPTH} folders."
            )


def _check_sizes(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    # Members that share their bytes could unpack to many times the file's size.
    size, packed = path.stat().st_size, sum(info.compress_size for info in infos)
    if packed > size:
        raise CheckpointError(
            f"{path}: cut short, or its members overlap: they need {packed:,} bytes, but the file has {size:,}. "
            "Copy it again."
        )


def seek_to(file: io.BufferedReader, member: ZipMember) -> None:
    """Move to the first byte of `member`'s data.

    Raises:
        ValueError: the member is not at its offset, or its data would extend past the end of the file.
    """
    file.seek(0, io.SEEK_END)
    end = file.tell()
    file.seek(max(0, member.header_offset))  # zipfile computes negative offsets for an archive whose start is missing
    header = file.read(LOCAL_HEADER_BYTES)
    if len(header) < LOCAL_HEADER_BYTES:
        raise ValueError(f"{_shown(member)} is cut short")
    signature, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    name = file.read(name_bytes)
    accepted_names = ("", name.decode("utf-8", "replace"), name.decode("cp437"))
    if signature != b"PK\x03\x04" or member.name not in accepted_names:
        raise ValueError(f"damaged: {_shown(member)} is not at its offset")
    start = file.seek(extra_bytes, io.SEEK_CUR)
    if start + member.packed_bytes > end:
        raise ValueError(f"{_shown(member)} is cut short")


def read_start(file: io.BufferedReader, member: ZipMember, num_bytes: int) -> bytes:
    """Return the first `num_bytes` of a member's unpacked data, or all of it if it has fewer.

    Raises:
        ValueError, zlib.error: a damaged member.
    """
    seek_to(file, member)
    num_bytes = min(num_bytes, member.num_bytes)
    if not member.deflated:
        return file.read(num_bytes)
    # In the worst case, deflate needs slightly more bytes than the data.
    packed = file.read(min(member.packed_bytes, 2 * num_bytes + 1024))
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, num_bytes) if num_bytes else b""


def read_into(file: io.BufferedReader, member: ZipMember, view: memoryview, *, skip: int = 0) -> None:
    """Fill `view` (bytes) with a member's unpacked data after its first `skip` bytes, and verify the checksum.

    Raises:
        ValueError, zlib.error: a damaged member, or one whose size is not `skip` plus the length of `view`.
    """
    seek_to(file, member)
    if skip + len(view) != member.num_bytes:
        raise ValueError(f"{_shown(member)} has {member.num_bytes:,} bytes instead of {skip + len(view):,}")
    crc = _inflate(file, member, view, skip) if member.deflated else _copy(file, member, view, skip)
    if crc != member.crc:
        raise ChecksumError(f"the checksum of {_shown(member)} is wrong" if member.name else "the checksum is wrong")


def _copy(file: io.BufferedReader, member: ZipMember, view: memoryview, skip: int) -> int:
    crc = zlib.crc32(file.read(skip))
    for start in range(0, len(view), CHUNK_BYTES):  # each chunk is summed while it is in the CPU cache
        part = view[start : start + CHUNK_BYTES]
        if file.readinto(part) != len(part):
            raise ValueError(f"{_shown(member)} is cut short")
        crc = zlib.crc32(part, crc)
    return crc


def _inflate(file: io.BufferedReader, member: ZipMember, view: memoryview, skip: int) -> int:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    remaining, crc, position = member.packed_bytes, 0, -skip
    while not inflater.eof:
        packed = inflater.unconsumed_tail
        if not packed:
            packed = file.read(min(remaining, CHUNK_BYTES))
            remaining -= len(packed)
        part = inflater.decompress(packed, CHUNK_BYTES)
        if not packed and not part and not inflater.eof:
            raise ValueError(f"{_shown(member)} is cut short")
        crc = zlib.crc32(part, crc)
        if position + len(part) > len(view):
            raise ValueError(f"{_shown(member)} unpacks to more than its {member.num_bytes:,} bytes")
        kept = part[max(0, -position) :]
        view[max(0, position) : max(0, position) + len(kept)] = kept
        position += len(part)
    if position != len(view):
        raise ValueError(f"{_shown(member)} unpacks to less than its {member.num_bytes:,} bytes")
    return crc


def _shown(member: ZipMember) -> str:
    return quote(member.name) if member.name else "it"
