"""Photos in tar shards without their classes, for programs that answer for photos whether or not they are labelled."""

import dataclasses
import functools
import os
from collections.abc import Sequence
from pathlib import Path

from allmlp.data.decoding.limits import MAX_PHOTO_BYTES
from allmlp.data.decoding.reasons import ShortageError, raise_shortage
from allmlp.data.sources.assemble import raise_problems
from allmlp.data.sources.file_reader import file_problem
from allmlp.data.sources.folder import list_folder
from allmlp.data.sources.folder_layout import Listing, has_photo_ending, is_in_hidden
from allmlp.data.sources.tar_shards.manifest import (
    DIGEST_PROBLEM,
    ListedShard,
    has_listed_digest,
    read_manifest,
    size_problem,
)
from allmlp.data.sources.tar_shards.members import DamagedTarError, TarMember, TarPass
from allmlp.data.sources.tar_shards.remote_shards import is_copy_whole, open_remote, shard_at
from allmlp.data.sources.tar_shards.shard_files import missing_shards, shards_in
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.display import escape, summarise
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file
from allmlp.io.ordered_map import ordered_map
from allmlp.io.remote_address import is_remote

__all__ = ["TarPhoto", "TarPhotos", "stored_photos", "tar_files_in"]

_NUM_DOWNLOADS = 4  # at once
_TOO_LARGE = f"larger than {MAX_PHOTO_BYTES:,} bytes"


@dataclasses.dataclass(frozen=True, slots=True)
class TarPhoto:
    """A photo in a tar shard: where its bytes are, in the file `path`, which may be a copy of a shard at an address.

    `state` is the size and the time of change in nanoseconds of the file when it was opened, `problem` why the photo is not
    read; "" if it is. Of a copy, `address` is where the shard is, and `listed` its entry in the list there.
    """

    path: Path
    member: str
    offset: int
    size: int
    state: tuple[int, int]
    problem: str = ""
    address: str | None = None
    listed: ListedShard | None = None

    @property
    def shard(self) -> str:
        """The path or address of the shard."""
        return self.address or str(self.path)

    @property
    def name(self) -> str:
        """The path of the photo as if the shard were a folder: "shards/train-000000.tar/000000012.jpg"."""
        return self.named(self.path)

    def named(self, shard: str | Path) -> str:
        """Return the name with another path of the shard, unless that is at an address."""
        return f"{self.address}/{self.member}" if self.address else str(Path(shard) / self.member)

    def read(self) -> bytes:
        """Return the photo's bytes.

        Raises:
            DataError: the shard is missing or cut short, or has changed, or the photo is one that is not read.
            ShortageError: the machine lacks memory, open files or the disk, or has lost the copy of a shard at an address.
        """
        problem = self.problem or file_problem(self.path)
        if not problem:
            try:
                with self.path.open("rb") as file:
                    file.seek(self.offset)
                    content = file.read(self.size)
                    state = _state(os.fstat(file.fileno()))
                if len(content) < self.size:
                    problem = "the shard has become shorter"
                elif state == self.state or self._is_of_whole_copy(state):
                    return content
                else:
                    problem = "the shard has changed since it was opened"
            except (OSError, MemoryError) as error:
                raise_shortage(error, where=escape(self.name))
                problem = (getattr(error, "strerror", None) or str(error)).lower()
        if self.address and not self.problem:  # which says nothing about the shard there
            problem = (
                f"{escape(self.path)}, the copy of its shard, was deleted or changed; a new run downloads it again"
            )
            raise ShortageError(f"{escape(self.name)}: this photo cannot be read: {problem}.", problem=problem)
        raise DataError(f"{escape(self.name)}: this photo cannot be read: {problem}.")

    def _is_of_whole_copy(self, state: tuple[int, int]) -> bool:
        """Whether a file in this state is the copy of a shard at an address as it is listed: it was downloaded again."""
        is_whole = self.listed is not None and is_copy_whole(self.path, self.listed)
        return is_whole and _state(self.path.stat()) == state


class TarPhotos:
    """Reads photos in tar files by their numbers."""

    def __init__(self, photos: Sequence[TarPhoto]) -> None:
        self._photos = photos

    def read(self, index: int) -> bytes:
        """Return a photo's bytes. Raises DataError as `TarPhoto.read`."""
        return self._photos[index].read()


def tar_files_in(folder: Path, listing: Listing | None = None) -> list[Path]:
    """Return the tar shards of a folder, in their order; [] if it holds other photos, or none.

    `listing` is that of the folder, if it was listed before.

    Raises:
        DataError: shards are compressed.
    """
    return [folder / name for name in shards_in(folder, list_folder(folder) if listing is None else listing)]


def stored_photos(source: str | Path, *, compare: bool = True) -> list[TarPhoto] | None:
    """Return the photos of a tar file or of a folder of shards, in the order of the shards; None if `source` is neither.

    Only headers are read; shards at an address are downloaded first. Any file with the name of a photo is one, also several
    with one key, and one that is too large, whose `read` says so. If there is a list of the shards next to them, their names
    and sizes are compared with it and, with `compare`, their SHA-256, once per process.

    Raises:
        DataError: shards are missing; they are cut short, damaged, compressed, or not those of the list; they have members
            that are refused, or several of one name; there are no photos; shards at an address cannot be downloaded.
        MissingExtraError: a library for the storage at the address is not installed.
    """
    if is_remote(source):
        photos = _remote_photos(str(source))
    else:
        path = Path(source)
        is_folder = path.is_dir()
        root = path if is_folder else path.parent
        names = shards_in(path, list_folder(path)) if is_folder else [path.name] if _is_shard(path) else []
        if not names:
            return None
        photos = _local_photos(root, names, is_folder=is_folder, compare=compare)
    if not photos:
        raise DataError(f"{escape(source)}: no photos in these tar files.")
    return photos


def _local_photos(root: Path, names: Sequence[str], *, is_folder: bool, compare: bool) -> list[TarPhoto]:
    listed = read_manifest(root)
    if is_folder and (missing := missing_shards(root, names, listed)):
        patterns = dict.fromkeys(escape((root / name).parent / "*.tar") for name in names)
        advice = f"to do without them, give the shards instead of their folder: {' '.join(patterns)}"
        raise_problems(str(root), [f"{problem}; {advice}" for problem in missing])

    def read(name: str) -> list[TarPhoto] | str:
        return _photos_in(root / name, listed.get(name), compare=compare)

    photos: list[TarPhoto] = []
    problems: list[str] = []
    for name, found in zip(names, ordered_map(read, names, num_decoding_threads()), strict=True):
        if isinstance(found, str):
            problems.append(f"{escape(name)}: {found}" if is_folder else found)
        else:
            photos += found
    raise_problems(str(root if is_folder else root / names[0]), problems)
    return photos


def _remote_photos(source: str) -> list[TarPhoto]:
    if source.lower().endswith(".tar"):
        remote, name = shard_at(source)
        names = [name]
    else:
        remote = open_remote(source)
        names = list(remote.shards)
    fetch = functools.partial(remote.fetch, compare=True)
    paths = ordered_map(fetch, names, min(len(names), _NUM_DOWNLOADS))
    photos: list[TarPhoto] = []
    for name, path in zip(names, paths, strict=True):
        address = f"{remote.address}/{name}"
        found = _photos_in(path, remote.shards[name], address=address)
        if isinstance(found, str):
            raise DataError(f"{escape(address)}: {found}.")
        photos += found
    return photos


def _photos_in(
    path: Path, listed: ListedShard | None = None, *, compare: bool = True, address: str | None = None
) -> list[TarPhoto] | str:
    """Return the photos of a shard, or what is wrong with it."""
    try:
        if problem := file_problem(path):
            raise DamagedTarError(problem)
        state = _state(path.stat())  # before anything is read: a later change is noticed
        if listed is not None:
            if problem := size_problem(listed, state[0]):
                raise DamagedTarError(problem)
            if compare and address is None and not has_listed_digest(path, listed):  # a copy has been compared
                raise DamagedTarError(DIGEST_PROBLEM)
        members = _photo_members(path, state[0])
        copied = None if address is None else listed
        return [
            TarPhoto(path, member.name, member.offset, member.size, state, member.problem, address, copied)
            for member in members
        ]
    except DamagedTarError as error:
        return f"{error}; {error.advice}"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _photo_members(path: Path, num_bytes: int) -> list[TarMember]:
    """Return the photos among the members of a shard; `problem` says which are not read. Raises DamagedTarError."""
    photos: dict[str, TarMember] = {}
    repeated: dict[str, None] = {}
    with path.open("rb", buffering=1 << 16) as file:
        for member in TarPass(file, num_bytes).members():
            is_hidden = is_in_hidden(member.name) and not member.problem  # ".." is not a hidden folder
            if is_hidden or not has_photo_ending(member.name.rpartition("/")[2]):
                continue
            if member.problem:
                raise DamagedTarError(
                    f"{escape(member.name)} is refused: {member.problem}", advice="pack the shard again"
                )
            # One that is too large is answered with the reason, as in a folder: the others are whole.
            photo = member._replace(problem=_TOO_LARGE) if member.size > MAX_PHOTO_BYTES else member
            if photos.setdefault(member.name, photo) is not photo:
                repeated[member.name] = None
    if repeated:
        raise DamagedTarError(
            f"members that occur twice ({len(repeated):,}): {summarise(repeated, limit=5)}", advice="keep one of each"
        )
    return list(photos.values())


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def _is_shard(path: Path) -> bool:
    if path.suffix.lower() != ".tar" or not path.is_file():  # opening a pipe would block
        return False
    try:
        with path.open("rb") as file:
            return kind_of_file(file.read(START_BYTES)) is FileKind.TAR
    except OSError as error:
        raise_shortage(error, where=escape(path))
        return False
