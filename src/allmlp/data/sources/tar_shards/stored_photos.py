"""Photos in tar shards without their classes, for programs that answer for photos whether or not they are labelled."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

from allmlp.data.decoding.limits import MAX_PHOTO_BYTES
from allmlp.data.decoding.reasons import raise_shortage
from allmlp.data.sources.file_reader import file_problem
from allmlp.data.sources.folder import list_folder
from allmlp.data.sources.folder_layout import Listing, has_photo_ending, is_in_hidden
from allmlp.data.sources.tar_shards.members import DamagedTarError, TarPass
from allmlp.data.sources.tar_shards.remote_shards import open_remote, shard_at
from allmlp.data.sources.tar_shards.shard_files import shards_in
from allmlp.errors import DataError
from allmlp.io.display import escape
from allmlp.io.file_kinds import START_BYTES, FileKind, kind_of_file
from allmlp.io.ordered_map import ordered_map
from allmlp.io.remote_address import is_remote

__all__ = ["TarPhoto", "TarPhotos", "stored_photos", "tar_files_in"]

_NUM_DOWNLOADS = 4  # at once


@dataclasses.dataclass(frozen=True, slots=True)
class TarPhoto:
    """A photo in a tar shard: where its bytes are, in the file `path`, which may be a copy of a shard at an `address`."""

    path: Path
    member: str
    offset: int
    size: int
    address: str | None = None

    @property
    def shard(self) -> str:
        """The path or address of the shard."""
        return self.address or str(self.path)

    @property
    def name(self) -> str:
        """The path of the photo as if the shard were a folder: "shards/train-000000.tar/000000012.jpg"."""
        return f"{self.address}/{self.member}" if self.address else str(self.path / self.member)

    def read(self) -> bytes:
        """Return the photo's bytes. Raises DataError if the shard is missing or cut short."""
        problem = file_problem(self.path)
        if problem is None:
            try:
                with self.path.open("rb") as file:
                    file.seek(self.offset)
                    content = file.read(self.size)
                if len(content) == self.size:
                    return content
                problem = "the shard has become shorter"
            except (OSError, MemoryError) as error:
                raise_shortage(error, where=escape(self.name))
                problem = (getattr(error, "strerror", None) or str(error)).lower()
        raise DataError(f"{escape(self.name)}: this photo cannot be read: {problem}.")


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


def stored_photos(source: str | Path) -> list[TarPhoto] | None:
    """Return the photos of a tar file or of a folder of shards, in the order of the shards; None if `source` is neither.

    Only headers are read; shards at an address are downloaded first. Any file with the name of a photo is one, also several
    with one key.

    Raises:
        DataError: a shard is cut short, damaged or compressed; it has members that are refused; there are no photos; shards at
            an address cannot be downloaded.
        MissingExtraError: a library for the storage at the address is not installed.
    """
    if is_remote(source):
        photos = _remote_photos(str(source))
    else:
        path = Path(source)
        is_single = path.suffix.lower() == ".tar" and not path.is_dir() and _is_tar(path)
        shards = tar_files_in(path) if path.is_dir() else [path] if is_single else []
        if not shards:
            return None
        photos = [photo for shard in shards for photo in _photos_in(shard)]
    if not photos:
        raise DataError(f"{escape(source)}: no photos in these tar files.")
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
    return [
        photo for name, path in zip(names, paths, strict=True) for photo in _photos_in(path, f"{remote.address}/{name}")
    ]


def _photos_in(path: Path, address: str | None = None) -> list[TarPhoto]:
    photos = []
    try:
        if problem := file_problem(path):
            raise DamagedTarError(problem)
        with path.open("rb", buffering=1 << 16) as file:
            for member in TarPass(file, path.stat().st_size).members():
                is_hidden = is_in_hidden(member.name) and not member.problem  # ".." is not a hidden folder
                if is_hidden or not has_photo_ending(member.name.rpartition("/")[2]):
                    continue
                problem = member.problem or (f"{member.size:,} bytes" if member.size > MAX_PHOTO_BYTES else "")
                if problem:
                    raise DamagedTarError(f"{escape(member.name)} is refused: {problem}", advice="pack the shard again")
                photos.append(TarPhoto(path, member.name, member.offset, member.size, address))
    except DamagedTarError as error:
        raise DataError(f"{escape(address or path)}: {error}; {error.advice}.") from error
    except OSError as error:
        raise DataError(f"{escape(path)}: cannot be read ({error.strerror or error}).") from error
    return photos


def _is_tar(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return kind_of_file(file.read(START_BYTES)) is FileKind.TAR
    except OSError:
        return False
