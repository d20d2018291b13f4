"""Zip archives: their members listed and read within bounded memory and time.

`zipfile` makes the list. The members are read here: straight into the memory that keeps them, never more of one than the
list gives as its size, and without the checksum where that is not reliable.
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
    "ZIP_ERRORS",
    "ZipMember",
    "leads_outside",
    "list_members",
    "read_directory",
    "read_into",
    "read_start",
    "repeated_names",
    "seek_to",
    "unreadable_because",
]

MAX_LIST_BYTES = 1 << 19  # some 100 bytes a member; a training checkpoint of H/14 has 1,600 of them
CHUNK_BYTES = 1 << 20
END_BYTES = 22  # of the record at the archive's end, without its comment

LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field
LOCAL_HEADER_BYTES = LOCAL_HEADER.size

# What damaged archives raise, here and in zipfile (which trusts the offsets and the texts that it reads).
ZIP_ERRORS = (
    OSError, ValueError, EOFError, OverflowError, NotImplementedError, zipfile.BadZipFile, struct.error, zlib.error
)  # fmt: skip


@dataclass(frozen=True)
class ZipMember:
    """Where a member is. `num_bytes` is its size when unpacked, `packed_bytes` its size in the file.

    An empty `name` is not compared with the one next to the data, which may be in another encoding.
    """

    name: str
    header_offset: int
    packed_bytes: int
    num_bytes: int
    crc: int
    deflated: bool


class _BoundedReader(io.BufferedReader):
    """zipfile reads the whole list of members at once, as long as the file says that it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_LIST_BYTES:
            raise ValueError(f"its list of members would take {size:,} bytes")
        return super().read(size)


def list_members(path: Path) -> list[ZipMember]:
    """Return the members of the archive at `path`, in its order.

    Raises:
        CheckpointError: no readable zip archive, too many members, names that occur twice, lead elsewhere or are not
            text, members that overlap, encrypted members, or members compressed by another method than deflate.
    """
    try:
        with io.FileIO(path) as raw, _BoundedReader(raw) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            _check_count(raw, len(infos), comment_bytes=len(archive.comment))
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{path}: a zip archive that is damaged or cut short ({error}). Copy it anew.") from error
    _check_names(path, infos)
    _check_places(path, infos)
    for info in infos:
        if reason := unreadable_because(info):
            raise CheckpointError(f"{path}: the member {quote(info.filename)} is {reason}; expected plain weights.")
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
    """Return the entries of an archive's central directory, however many: photos may be a million.

    Raises:
        ZIP_ERRORS: not a readable zip archive.
    """
    with zipfile.ZipFile(path) as archive:
        return archive.infolist()


def repeated_names(names: Iterable[str]) -> list[str]:
    """Return the names that occur more than once, sorted."""
    return sorted(name for name, count in Counter(names).items() if count > 1)


def leads_outside(name: str) -> bool:
    """Whether a member's name is an absolute path, or leads out of the folder that the archive is unpacked in."""
    name = name.replace("\\", "/")
    return name.startswith("/") or ".." in name.split("/") or name[1:2] == ":"


def unreadable_because(info: zipfile.ZipInfo) -> str:
    """Return why the data of a member is not read: "encrypted" or "packed by method N"; "" where it is."""
    if info.flag_bits & 0x1:
        return "encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"packed by method {info.compress_type}"
    return ""


def _check_count(file: io.FileIO, count: int, *, comment_bytes: int) -> None:
    # zipfile does not compare: a damaged length in the list may swallow the entry behind it.
    file.seek(-END_BYTES - comment_bytes, io.SEEK_END)
    (expected,) = struct.unpack_from("<H", file.read(END_BYTES), 10)
    if count != expected and expected != 0xFFFF:  # where there are more, the count is in another record
        raise ValueError(f"{count:,} members instead of {expected:,}")


def _check_names(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    twice = repeated_names(info.filename for info in infos)
    if twice:
        raise CheckpointError(f"{path}: members that occur more than once: {summarise(map(quote, twice))}.")
    for info in infos:
        if leads_outside(info.filename) or info.orig_filename != info.filename:
            raise CheckpointError(f"{path}: the member {quote(info.orig_filename)} is not named as weights are.")


def _check_places(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    # Many members that share their bytes would be read to many times the file's size.
    size, packed = path.stat().st_size, sum(info.compress_size for info in infos)
    if packed > size:
        raise CheckpointError(
            f"{path}: cut short, or its members overlap: they would take {packed:,} bytes of a file that has {size:,}. "
            "Copy it anew."
        )


def seek_to(file: io.BufferedReader, member: ZipMember) -> None:
    """Go to the first byte of `member`'s data.

    Raises:
        ValueError: no such member there, or its data would end behind the file.
    """
    file.seek(0, io.SEEK_END)
    end = file.tell()
    file.seek(max(0, member.header_offset))  # zipfile counts negative offsets for an archive whose start is missing
    header = file.read(LOCAL_HEADER_BYTES)
    if len(header) < LOCAL_HEADER_BYTES:
        raise ValueError(f"{_shown(member)} is cut short")
    signature, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
    name = file.read(name_bytes)
    known = ("", name.decode("utf-8", "replace"), name.decode("cp437"))
    if signature != b"PK\x03\x04" or member.name not in known:
        raise ValueError(f"damaged: {_shown(member)} is not where it should be")
    start = file.seek(extra_bytes, io.SEEK_CUR)
    if start + member.packed_bytes > end:
        raise ValueError(f"{_shown(member)} is cut short")


def read_start(file: io.BufferedReader, member: ZipMember, num_bytes: int) -> bytes:
    """Return the first `num_bytes` of a member's unpacked data, or all of it when it has fewer.

    Raises:
        ValueError, zlib.error: a damaged member.
    """
    seek_to(file, member)
    num_bytes = min(num_bytes, member.num_bytes)
    if not member.deflated:
        return file.read(num_bytes)
    # Deflate needs a bit more than the data in the worst case.
    packed = file.read(min(member.packed_bytes, 2 * num_bytes + 1024))
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, num_bytes) if num_bytes else b""


def read_into(file: io.BufferedReader, member: ZipMember, view: memoryview, *, skip: int = 0) -> None:
    """Fill `view` (bytes) with a member's unpacked data behind its first `skip` bytes, and check its checksum.

    Raises:
        ValueError, zlib.error: a damaged member, or one of another size than `skip` and `view` make.
    """
    seek_to(file, member)
    if skip + len(view) != member.num_bytes:
        raise ValueError(f"{_shown(member)} has {member.num_bytes:,} bytes instead of {skip + len(view):,}")
    crc = _inflate(file, member, view, skip) if member.deflated else _copy(file, member, view, skip)
    if crc != member.crc:
        raise ValueError(f"the checksum of {_shown(member)} is wrong" if member.name else "the checksum is wrong")


def _copy(file: io.BufferedReader, member: ZipMember, view: memoryview, skip: int) -> int:
    crc = zlib.crc32(file.read(skip))
    for start in range(0, len(view), CHUNK_BYTES):  # summed up while it is in the processor's cache
        part = view[start : start + CHUNK_BYTES]
        if file.readinto(part) != len(part):
            raise ValueError(f"{_shown(member)} is cut short")
        crc = zlib.crc32(part, crc)
    return crc


def _inflate(file: io.BufferedReader, member: ZipMember, view: memoryview, skip: int) -> int:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left, crc, position = member.packed_bytes, 0, -skip
    while not inflater.eof:
        packed = inflater.unconsumed_tail
        if not packed:
            packed = file.read(min(left, CHUNK_BYTES))
            left -= len(packed)
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
