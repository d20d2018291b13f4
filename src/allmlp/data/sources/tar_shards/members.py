"""Members of a tar file, in one pass from its start to its end, with bounds on everything that its headers claim."""

import hashlib
import tarfile
from collections.abc import Iterator
from typing import IO, NamedTuple

from allmlp.io.zip_archive import OUTSIDE, name_problem

__all__ = ["DamagedTarError", "TarMember", "TarPass"]

_BLOCK = 512
_CHUNK = 1 << 20
_MAX_HEADER_BYTES = 1 << 20  # of one member: its header, long name and extended attributes


class DamagedTarError(ValueError):
    """A tar file that is cut short or damaged; the message is the reason, without the file's name, and `advice` what to do."""

    def __init__(self, reason: str, *, advice: str = "pack or download it again") -> None:
        super().__init__(reason)
        self.advice = advice


class TarMember(NamedTuple):
    """A file in a tar: its name with POSIX separators, and its data. `problem` is why it is refused; "" if it is not."""

    name: str
    offset: int
    size: int
    problem: str


class TarPass:
    """One pass over a tar file, forwards only. Its bytes are hashed on the way if `with_digest`.

    After a member was yielded, `read` and `hash_data` read its data; whoever does neither skips it.
    """

    def __init__(self, file: IO[bytes], num_bytes: int, *, with_digest: bool = False) -> None:
        self._file = file
        self._num_bytes = num_bytes
        self._position = 0
        self._header_bytes = _MAX_HEADER_BYTES
        self._blocks: list[bytes] = []  # the first two that were read of the present header
        self._sha256 = hashlib.sha256() if with_digest else None

    def members(self) -> Iterator[TarMember]:
        """Yield the files in the tar; folders are left out.

        Raises:
            DamagedTarError: the tar is cut short, damaged, or has no end mark, which may mean that it is cut between members.
        """
        tar, info = self._open()
        while info is not None:
            start, end = info.offset_data, tar.offset  # of the data, and of the next header
            if info.size < 0 or end < self._position or start < 0:
                raise DamagedTarError(f"the header at byte {info.offset:,} is damaged")
            problem = _problem(info)
            if start + info.size > self._num_bytes and not problem:  # of sparse data, the size is that when unpacked
                raise DamagedTarError(f"it is cut short: it ends at byte {self._num_bytes:,}, within a member")
            if not info.isdir():
                yield TarMember(info.name if problem else _clean(info.name), start, info.size, problem)
            self._skip_to(end)
            self._header_bytes = _MAX_HEADER_BYTES
            self._blocks.clear()
            try:
                info = tarfile.TarInfo.fromtarfile(tar)
            except tarfile.HeaderError as error:
                self._check_end(end, error)
                return
            except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
                raise DamagedTarError(f"the header at byte {end:,} is damaged ({_reason(error)})") from error

    def read_data(self, member: TarMember) -> bytes:
        """Return the data of the member yielded last."""
        content = self._take(member.size)
        if len(content) < member.size:
            raise DamagedTarError("it became shorter while it was read")
        return content

    def hash_data(self, member: TarMember) -> bytes:
        """Return the SHA-256 of the data of the member yielded last, which need not fit into memory."""
        digest, left = hashlib.sha256(), member.size
        while left:
            chunk = self._take(min(left, _CHUNK))
            if not chunk:
                raise DamagedTarError("it became shorter while it was read")
            digest.update(chunk)
            left -= len(chunk)
        return digest.digest()

    def digest(self) -> str:
        """Return the SHA-256 of the whole file, in hexadecimal, after the last member. Only `with_digest`."""
        assert self._sha256 is not None
        return self._sha256.hexdigest()

    # What tarfile needs of a file. It reads headers only; the data is read and skipped here.

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes of a header. Raises DamagedTarError if the headers of one member are too large."""
        if not 0 <= size <= self._header_bytes:
            raise DamagedTarError(f"a member has headers of more than {_MAX_HEADER_BYTES:,} bytes")
        self._header_bytes -= size
        content = self._take(size)
        if len(self._blocks) < 2:
            self._blocks.append(content)
        return content

    def tell(self) -> int:
        """Return the offset in the file."""
        return self._position

    def _open(self) -> tuple[tarfile.TarFile, tarfile.TarInfo | None]:
        try:
            tar = tarfile.TarFile(
                fileobj=self,  # type: ignore[arg-type]
                mode="r",
                encoding="utf-8",
                errors="surrogateescape",
            )
            info = tar.next()  # which the constructor has read
        except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
            raise DamagedTarError(f"it is not a tar file ({_reason(error)})") from error
        if info is None:
            self._check_rest()
        return tar, info

    def _take(self, size: int) -> bytes:
        content = self._file.read(size)
        self._position += len(content)
        if self._sha256 is not None:
            self._sha256.update(content)
        return content

    def _skip_to(self, offset: int) -> None:
        if self._sha256 is None:
            self._file.seek(offset)
            self._position = offset
        while self._position < offset:
            if not self._take(min(_CHUNK, offset - self._position)):
                raise DamagedTarError("it is cut short in the padding of its last member")

    def _check_end(self, offset: int, error: tarfile.HeaderError) -> None:
        block = self._blocks[0] if len(self._blocks) == 1 else None  # else the header has several parts
        if block == bytes(_BLOCK):
            self._check_rest()
        elif block == b"":
            end = min(offset, self._num_bytes)
            raise DamagedTarError(f"it has no end mark: it is cut short after byte {end:,}, or was not closed")
        elif self._position >= self._num_bytes:
            raise DamagedTarError(f"it is cut short: it ends at byte {self._num_bytes:,}, within a header")
        else:
            raise DamagedTarError(f"the header at byte {offset:,} is damaged ({_reason(error)})")

    def _check_rest(self) -> None:
        """Check that only zeros follow the end mark: photos behind it would be lost without a word."""
        while chunk := self._take(_CHUNK):
            if chunk.count(0) < len(chunk):
                raise DamagedTarError("data follows its end mark: several tar files were joined, or it is damaged")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "a chain of headers that belongs to no member"
    return str(error).rstrip(".") or type(error).__name__


def _clean(name: str) -> str:
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _problem(info: tarfile.TarInfo) -> str:
    if problem := name_problem(info.name):
        return "a path outside of the shard" if problem == OUTSIDE else problem
    if info.issparse():
        return "sparse data"
    if info.islnk() or info.issym():
        return "a link instead of a file"
    return "" if info.isreg() else "a device or pipe instead of a file"
