"""Photos in any form, decoded and run batch by batch: what every answer is made from."""

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from allmlp.data import FileReader, Preprocessing, decode
from allmlp.errors import DataError
from allmlp.hardware.num_decoding_threads import num_decoding_threads
from allmlp.metrics import Forward

__all__ = ["Photo", "as_photos", "output_rows"]

Photo = str | Path | bytes | tuple[str, bytes] | Image.Image | NDArray[np.uint8]
"""A path; an encoded file's bytes, alone or with a name for messages; a PIL image; pixels (H, W, 3) uint8 RGB."""

# What PNG holds without loss; a PIL image of another mode is converted to RGB by Pillow.
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


def output_rows(
    forward: Forward, preprocessing: Preprocessing, images: Iterable[Photo], *, batch_size: int
) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    """Yield, for each photo in order, its name and the model's output (K,), or the error when it cannot be decoded.

    No more than a batch of photos is taken at a time, so memory stays bounded.
    """

    def load(numbered: tuple[int, Photo]) -> tuple[str, NDArray[np.uint8] | DataError]:
        name = _name(*numbered)
        try:
            return name, preprocessing.resize(_pixels(numbered[1], name))
        except DataError as error:
            return name, error

    numbered = enumerate(images, start=1)
    with ThreadPoolExecutor(num_decoding_threads(), thread_name_prefix="allmlp-decode") as pool:
        while chunk := list(itertools.islice(numbered, batch_size)):
            yield from _run(forward, preprocessing, list(pool.map(load, chunk)))


def _run(
    forward: Forward, preprocessing: Preprocessing, loaded: Sequence[tuple[str, NDArray[np.uint8] | DataError]]
) -> Iterator[tuple[str, NDArray[np.float32] | DataError]]:
    photos = [photo for _, photo in loaded if not isinstance(photo, DataError)]
    if photos:
        rows = iter(forward(preprocessing.normalise(np.stack(photos))))
    for name, photo in loaded:
        yield name, photo if isinstance(photo, DataError) else next(rows)


def as_photos(images: Photo | Iterable[Photo]) -> Iterable[Photo]:
    """Return one photo or many as many."""
    if isinstance(images, str | Path | bytes | Image.Image | np.ndarray):
        return [images]
    # A tuple of a name and bytes is one photo; a list of a path and bytes is two.
    if isinstance(images, tuple) and [type(part) for part in images] == [str, bytes]:
        return [images]
    return images


def _name(number: int, image: Photo) -> str:
    if isinstance(image, str | Path):
        return str(image)
    return image[0] if isinstance(image, tuple) else f"image {number}"


def _pixels(image: Photo, name: str) -> NDArray[np.uint8]:
    """Return (h, w, 3) uint8 RGB."""
    if isinstance(image, str | Path):
        return decode(FileReader(Path(), (str(image),)).read(0), name=name)
    if isinstance(image, tuple):
        return decode(image[1], name=name)
    if isinstance(image, bytes):
        return decode(image, name=name)
    if isinstance(image, Image.Image):
        return decode(_encoded(image, name), name=name)
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise DataError(
                f"{name}: an array of shape {image.shape} and type {image.dtype}; "
                "expected (height, width, 3), uint8, RGB. Nothing is guessed."
            )
        return image
    raise DataError(
        f"{name}: a {type(image).__name__} is not a photo; "
        "expected a path, bytes, a PIL image or an array (height, width, 3) of uint8."
    )


def _encoded(image: Image.Image, name: str) -> bytes:
    """Return a PIL image as a lossless file, so that transparency, 16 bits and limits have one rule: the decoder's."""
    content = io.BytesIO()
    try:
        if image.mode in ("I", "F"):
            raise ValueError(f"mode {image.mode} has no declared range; convert it to 8 bits first")
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in _PNG_MODES:
            upright = upright.convert("RGB")
        upright.save(content, "PNG", compress_level=0, icc_profile=None, exif=None)
    except Exception as error:  # a file that PIL opened lazily fails here, in as many ways as formats have
        raise DataError(f"{name}: this PIL image cannot be used: {error}.") from error
    return content.getvalue()
