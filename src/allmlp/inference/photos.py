"""Photos in any form, decoded and run batch by batch: what every answer is made from."""

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
"""A path; an encoded file's bytes, alone or with a name for messages; a PIL image; pixels (H, W, 3) uint8 RGB."""


class _NamedPhoto(NamedTuple):
    """A photo in any form: its name, and how to get its pixels (h, w, 3), uint8 RGB; `load` may raise DataError."""

    name: str
    load: Callable[[], NDArray[np.uint8]]


def output_rows(
    forward: Forward, preprocessing: Preprocessing, images: Iterable[Photo], *, batch_size: int
) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    """Yield, for each photo in order, its name and the model's output (K,), or the error when it cannot be decoded.

    Threads decode the next photos while the model computes. They are a bounded number ahead (see `ordered_map`), and each is
    reduced to the model's size at once, so memory stays bounded.
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
    resized = [image for _, image in loaded if not isinstance(image, DataError)]
    if resized:
        rows = iter(forward(preprocessing.normalise(np.stack(resized))))
    for name, image in loaded:
        yield name, image if isinstance(image, DataError) else next(rows)


def as_photos(images: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """Return one photo or many as many."""
    return [images] if _is_photo(images) else images  # type: ignore[list-item, return-value]


def _is_photo(thing: object) -> bool:
    # A tuple of a name and bytes is one photo; a list of a path and bytes is two.
    if isinstance(thing, tuple):
        return [type(part) for part in thing] == [str, bytes]
    return isinstance(thing, str | Path | bytes | Image.Image | np.ndarray)


def _named(number: int, photo: Photo) -> _NamedPhoto:
    """Return the photo that is the `number`th, from 1, with the name that answers and errors know it by."""
    name = f"image {number}"
    if isinstance(photo, tuple):
        name, photo = photo
    if isinstance(photo, bytes):
        return _NamedPhoto(name, partial(decode, photo, name=name))
    if isinstance(photo, str | Path):
        return _NamedPhoto(str(photo), partial(_read, str(photo)))
    if isinstance(photo, Image.Image | np.ndarray):
        return _NamedPhoto(name, partial(to_pixels, photo, name=name))
    return _NamedPhoto(name, partial(_refuse, photo, name))


def _read(path: str) -> NDArray[np.uint8]:
    return decode(FileReader(Path(), (path,)).read(0), name=path)


def _refuse(thing: object, name: str) -> NDArray[np.uint8]:
    raise DataError(
        f"{name}: a {type(thing).__name__} is not a photo; "
        "expected a path, bytes, a PIL image or an array (height, width, 3) of uint8."
    )
