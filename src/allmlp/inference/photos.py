"""Photos in any accepted form, and the model's outputs for them, decoded and computed batch by batch."""

import contextlib
import inspect
import itertools
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data import MAX_PHOTO_BYTES, FileReader, Preparation, decode, encode_thumbnail, raise_shortage, to_pixels
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.inference.photo_folder import photos_in_folder
from allmlp.inference.runnable import check_finite
from allmlp.io.display import escape, shorten
from allmlp.io.ordered_map import drop_locals, ordered_map
from allmlp.io.path_problem import path_text
from allmlp.metrics import Forward

__all__ = ["Photo", "StoredPhoto", "as_iterable", "as_photos", "loaded_photos", "output_rows", "raise_unreadable"]

T = TypeVar("T")


class Readable(Protocol):
    """An open file, a BytesIO, an upload: `read(size)` returns bytes."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes."""


@dataclass(frozen=True)
class StoredPhoto:
    """A photo that is read when its turn comes, by one of the threads that decode photos.

    Attributes:
        name: for messages and results.
        read_bytes: returns the encoded photo, or raises DataError, whose message names the photo.
    """

    name: str
    read_bytes: Callable[[], bytes]


Photo = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | mmap.mmap
    | Readable
    | tuple[str, bytes]
    | StoredPhoto
    | Image.Image
    | NDArray[np.uint8]
)
"""A path; the bytes of an image file, in any object that holds or reads bytes; (name, bytes), with a name for messages; a photo
that is read when its turn comes; a PIL image; or uint8 RGB (H, W, 3)."""

_EXPECTED = (
    "expected a path, the bytes of an image file, an object that reads them, a PIL image, "
    "or a uint8 array (height, width, 3)"
)
_MAX_LISTED = 50
_MAX_PATH = 8192  # characters; no system has paths as long
_MAX_NAME = 300  # characters of a name in an error
_THUMBNAIL_SIDE = 200
_THUMBNAIL_QUALITY = 80


class _NamedPhoto(NamedTuple):
    """A photo's name, and a function that returns its pixels, uint8 RGB (h, w, 3), or raises `DataError`."""

    name: str
    load: Callable[[], NDArray[np.uint8]]


class OutputRow(NamedTuple):
    """A photo's name, the model's output for it (K,), or the error if it is unreadable, and its thumbnail if asked for."""

    name: str
    output: NDArray[np.float32] | DataError
    thumbnail: bytes | None


class _Loaded(NamedTuple):
    """What `Preparation.resize` made of a photo, and its thumbnail if asked for."""

    image: NDArray[Any]
    thumbnail: bytes | None


def loaded_photos(
    images: Iterable[Photo], prepare: Callable[[NDArray[np.uint8]], T]
) -> Iterator[tuple[str, T | DataError]]:
    """Yield the name of each photo, in order, and what `prepare` makes of its pixels (h, w, 3), or the error if unreadable.

    Threads decode and prepare a bounded number of photos ahead (see `ordered_map`).
    """

    def load(numbered: tuple[int, Photo]) -> tuple[str, T | DataError]:
        photo = _named(*numbered)
        try:
            return photo.name, prepare(photo.load())
        except DataError as error:
            drop_locals(error)
            return photo.name, error

    return ordered_map(load, enumerate(images, start=1), num_decoding_threads())


def output_rows(
    forward: Forward,
    preparation: Preparation,
    images: Iterable[Photo],
    *,
    batch_size: int,
    thumbnails: bool = False,
) -> Iterator[OutputRow]:
    """Yield the model's output for each photo, in order. Raises CheckpointError if it is not finite.

    Memory stays bounded: photos are decoded a bounded number ahead, and reduced to the model's image size at once.
    """

    def prepare(pixels: NDArray[np.uint8]) -> _Loaded:
        small = encode_thumbnail(pixels, side=_THUMBNAIL_SIDE, quality=_THUMBNAIL_QUALITY) if thumbnails else None
        return _Loaded(preparation.resize(pixels), small)

    loaded = loaded_photos(images, prepare)
    while chunk := list(itertools.islice(loaded, batch_size)):
        yield from _run(forward, preparation, chunk)


def _run(
    forward: Forward, preparation: Preparation, loaded: Sequence[tuple[str, _Loaded | DataError]]
) -> Iterator[OutputRow]:
    decoded = [(name, photo.image) for name, photo in loaded if not isinstance(photo, DataError)]
    if decoded:
        names, images = zip(*decoded, strict=True)
        rows = iter(check_finite(forward(preparation.normalise(np.stack(images))), names))
    for name, photo in loaded:
        if isinstance(photo, DataError):
            yield OutputRow(name, photo, None)
        else:
            yield OutputRow(name, next(rows), photo.thumbnail)


def as_photos(images: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """Return the photos to iterate over; a single photo becomes a list, and the path of a folder all photos in it.

    Raises:
        DataError: neither a photo nor an iterable of photos, judged by its first item; or a folder without photos.
    """
    if _is_folder(images):
        return photos_in_folder(Path(images))
    iterator = iter(as_iterable(images))
    first = list(itertools.islice(iterator, 1))
    if first and not _is_photo(first[0]):  # an iterable of other things may be endless
        raise DataError(f"image 1: {_not_a_photo(first[0])}")
    return itertools.chain.from_iterable(
        photos_in_folder(Path(photo)) if _is_folder(photo) else [photo] for photo in itertools.chain(first, iterator)
    )


def as_iterable(images: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """Return the photos to iterate over; a single photo becomes a list. Nothing is taken from an iterator.

    Raises:
        DataError: neither a photo nor an iterable that may hold photos.
    """
    if _is_photo(images):
        return [images]  # type: ignore[list-item]
    if isinstance(images, Mapping | Set | np.generic) or _is_table(images) or not isinstance(images, Iterable):
        raise DataError(_not_a_photo(images))
    try:
        return iter(images)  # type: ignore[return-value]
    except TypeError as error:
        raise DataError(_not_a_photo(images)) from error


def raise_unreadable(answers: Iterable[object]) -> None:
    """Raise one DataError that lists the errors among the answers, if there are any; they are counted beyond 50."""
    problems = [str(answer) for answer in answers if isinstance(answer, DataError)]
    if len(problems) > _MAX_LISTED:
        problems[_MAX_LISTED:] = [f"... and {len(problems) - _MAX_LISTED:,} more"]
    if problems:
        raise DataError("\n".join(problems))


def _is_photo(value: object) -> bool:
    # A tuple (name, bytes) is one photo; a list [path, bytes] is two.
    if isinstance(value, tuple):
        return len(value) == 2 and isinstance(value[0], str) and _holds_bytes(value[1])
    if path_text(value) is not None or isinstance(value, StoredPhoto | Image.Image | np.ndarray):
        return True
    return _holds_bytes(value) or _is_readable(value)


def _is_folder(value: object) -> TypeGuard[str | os.PathLike[str]]:
    # os.path.isdir, unlike Path.is_dir, raises nothing if a name is too long or inaccessible.
    path = path_text(value)
    return path is not None and path != "" and os.path.isdir(path)  # noqa: PTH112


def _holds_bytes(value: object) -> TypeGuard[bytes | bytearray | memoryview | mmap.mmap]:
    return isinstance(value, bytes | bytearray | memoryview | mmap.mmap)


def _is_readable(value: object) -> TypeGuard[Readable]:
    return callable(_attribute(value, "read"))


def _is_table(value: object) -> bool:
    # Tensors, tables and data frames are iterable, but their rows or the names of their columns are not photos.
    try:
        return len(_attribute(value, "shape")) != 1
    except TypeError:
        return False


def _attribute(value: object, name: str) -> Any:
    """Return an attribute; None if there is none, or if the object fails to say so."""
    try:
        return getattr(value, name, None)
    except Exception:  # such as an unbound proxy of a web framework
        return None


def _named(number: int, photo: object) -> _NamedPhoto:
    """Return a photo with the name that results and errors use; without a name it is "image `number`", from 1."""
    if isinstance(photo, StoredPhoto):
        return _NamedPhoto(photo.name, partial(_decode_stored, photo))
    name = f"image {number}"
    if isinstance(photo, tuple) and _is_photo(photo):
        name, photo = photo
    shown = shorten(name, _MAX_NAME)
    if (path := path_text(photo)) is not None:
        return _NamedPhoto(path, partial(_read, path))
    if isinstance(photo, Image.Image | np.ndarray):
        return _NamedPhoto(name, partial(to_pixels, photo, name=shown))
    if _holds_bytes(photo) or _is_readable(photo):
        return _NamedPhoto(name, partial(_decode_object, photo, shown))
    return _NamedPhoto(name, partial(_raise_not_a_photo, photo, name))


def _decode_stored(photo: StoredPhoto) -> NDArray[np.uint8]:
    return decode(photo.read_bytes(), name=photo.name)


def _decode_object(photo: object, name: str) -> NDArray[np.uint8]:
    try:
        content = bytes(photo) if _holds_bytes(photo) else _read_object(photo)
    except Exception as error:  # closed, or an object's own errors
        raise_shortage(error, where=name)
        reason = shorten(escape(error) or type(error).__name__, 100)
        raise DataError(f"{name}: this {_type_name(photo)} cannot be read ({reason}).") from error
    if not _holds_bytes(content):
        raise DataError(
            f"{name}: this {_type_name(photo)} reads {_type_name(content)}, not bytes; open files in binary mode ('rb')."
        )
    return decode(bytes(content), name=name)


def _read_object(photo: Any) -> object:
    """Read an open file or an upload from its start, as PIL does."""
    if inspect.iscoroutinefunction(photo.read):  # an upload of an asynchronous web framework, which holds a file
        photo = photo.file
    if hasattr(photo, "seek"):
        with contextlib.suppress(OSError):  # a pipe
            photo.seek(0)
    try:
        return photo.read(MAX_PHOTO_BYTES + 1)
    except TypeError:  # takes no size
        return photo.read()


def _read(path: str) -> NDArray[np.uint8]:
    if not path:
        raise DataError("The path of a photo is empty.")
    if len(path) > _MAX_PATH:
        raise DataError(f"{shorten(escape(path), _MAX_NAME)}: this photo cannot be read: file name too long.")
    return decode(FileReader(Path(), (path,)).read(0), name=path)


def _not_a_photo(value: object) -> str:
    return f"a {_type_name(value)} is not a photo; {_EXPECTED}."


def _type_name(value: object) -> str:
    return shorten(escape(type(value).__name__), 100)


def _raise_not_a_photo(value: object, name: str) -> NDArray[np.uint8]:
    raise DataError(f"{name}: {_not_a_photo(value)}")
