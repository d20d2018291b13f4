"""Photos in any accepted form, and the model's outputs for them, decoded and computed batch by batch."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data import FileReader, Preprocessing, decode, to_pixels
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.io.ordered_map import ordered_map
from allmlp.metrics import Forward

__all__ = ["Photo", "as_photos", "output_rows"]

Photo = str | Path | bytes | tuple[str, bytes] | Image.Image | NDArray[np.uint8]
"""A path; the bytes of an image file; (name, bytes), with a name for messages; a PIL image; or uint8 RGB (H, W, 3)."""


class _NamedPhoto(NamedTuple):
    """A photo's name, and a function that returns its pixels, uint8 RGB (h, w, 3), or raises `DataError`."""

    name: str
    load: Callable[[], NDArray[np.uint8]]


def output_rows(
    forward: Forward, preprocessing: Preprocessing, images: Iterable[Photo], *, batch_size: int
) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    """Yield (name, the model's output (K,)) for each photo, in order; in place of the output, the error if it is unreadable.

    Threads decode the next photos while the model computes. Memory stays bounded: they run a bounded number of photos ahead
    (see `ordered_map`), and resize each photo to the model's image size at once.
    """

    def load(numbered: tuple[int, Photo]) -> tuple[str, NDArray[np.uint8] | DataError]:
        photo = _named(*numbered)
        try:
            return photo.name, preprocessing.resize(photo.load())
        except DataError as error:
            return photo.name, error

    loaded = ordered_map(load, enumerate(images, start=1), num_decoding_threads())
    while chunk := list(itertools.islice(loaded, batch_size)):
        yield from _run(forward, preprocessing, chunk)


def _run(
    forward: Forward, preprocessing: Preprocessing, loaded: Sequence[tuple[str, NDArray[np.uint8] | DataError]]
) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    images = [image for _, image in loaded if not isinstance(image, DataError)]
    if images:
        rows = iter(forward(preprocessing.normalise(np.stack(images))))
    for name, image in loaded:
        yield name, image if isinstance(image, DataError) else next(rows)


def as_photos(images: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """Return the photos to iterate over; a single photo becomes a list."""
    return [images] if _is_photo(images) else images  # type: ignore[list-item, return-value]


def _is_photo(value: object) -> bool:
    # A tuple (name, bytes) is one photo; a list [path, bytes] is two.
    if isinstance(value, tuple):
        return [type(part) for part in value] == [str, bytes]
    return isinstance(value, str | Path | bytes | Image.Image | np.ndarray)


def _named(number: int, photo: Photo) -> _NamedPhoto:
    """Return a photo with the name that results and errors use; without a name it is "image `number`", from 1."""
    name = f"image {number}"
    if isinstance(photo, tuple):
        name, photo = photo
    if isinstance(photo, bytes):
        return _NamedPhoto(name, partial(decode, photo, name=name))
    if isinstance(photo, str | Path):
        return _NamedPhoto(str(photo), partial(_read, str(photo)))
    if isinstance(photo, Image.Image | np.ndarray):
        return _NamedPhoto(name, partial(to_pixels, photo, name=name))
    return _NamedPhoto(name, partial(_raise_not_a_photo, photo, name))


def _read(path: str) -> NDArray[np.uint8]:
    return decode(FileReader(Path(), (path,)).read(0), name=path)


def _raise_not_a_photo(value: object, name: str) -> NDArray[np.uint8]:
    raise DataError(
        f"{name}: a {type(value).__name__} is not a photo; "
        "expected a path, bytes, a PIL image or a uint8 array (height, width, 3)."
    )
