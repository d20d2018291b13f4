"""`Predictor`: from photos in any form to labels."""

import io
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from allmlp.checkpoints import Checkpoint, load_checkpoint
from allmlp.data import FileReader, Preprocessing, decode
from allmlp.errors import ConfigError, DataError
from allmlp.evaluation import Forward
from allmlp.inference.backends import eager_forward

__all__ = ["Photo", "Prediction", "Predictor", "ScoredLabel"]

Photo = str | Path | bytes | tuple[str, bytes] | Image.Image | NDArray[np.uint8]
"""A path; an encoded file's bytes, alone or with a name for messages; a PIL image; pixels (H, W, 3) uint8 RGB."""

Item = TypeVar("Item")

# What PNG holds without loss; a PIL image of another mode is converted to RGB by Pillow.
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")


class ScoredLabel(TypedDict):
    """A class and its probability, 0 to 1."""

    label: str
    score: float


@dataclass(frozen=True)
class Prediction:
    """The answer for one photo.

    Attributes:
        source: the photo's path or name; "image 3" for the third photo when it has none.
        labels: the most probable classes, best first. The scores of all classes sum to 1.
    """

    source: str
    labels: tuple[ScoredLabel, ...]


class Predictor:
    """A checkpoint ready to answer. Photos are decoded and run batch by batch, so memory stays bounded.

    Attributes:
        class_names: K names, in the order of the model.
    """

    def __init__(
        self, forward: Forward, preprocessing: Preprocessing, class_names: Sequence[str], *, batch_size: int = 32
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; expected at least 1.")
        if not class_names:
            raise ConfigError("This checkpoint has no classifier (num_classes is 0), so it cannot name photos.")
        self.class_names = tuple(class_names)
        self._forward = forward
        self._preprocessing = preprocessing
        self._batch_size = batch_size

    @classmethod
    def from_checkpoint(
        cls, source: str | Path | Checkpoint, *, device: str = "auto", batch_size: int = 32
    ) -> "Predictor":
        """Load a run folder, a checkpoint folder, or a `Checkpoint`.

        Raises:
            CheckpointError: nothing usable at `source`.
            ConfigError: a device that is not there, or a batch size under 1.
        """
        checkpoint = source if isinstance(source, Checkpoint) else load_checkpoint(source)
        forward = eager_forward(checkpoint, device=device)
        return cls(forward, checkpoint.preprocessing, checkpoint.class_names, batch_size=batch_size)

    def predict(self, images: Photo | Iterable[Photo], *, top_k: int = 5) -> list[Prediction]:
        """Return one prediction for each photo, in order; a single photo gives a list of one.

        Args:
            images: one photo or any number of them: paths, encoded bytes, (name, bytes), PIL images, or arrays
                (H, W, 3) uint8 RGB.
            top_k: how many labels; all K when there are fewer.

        Raises:
            DataError: photos that cannot be read or decoded, all of them named.
            ConfigError: `top_k` under 1.
        """
        answers = list(self.stream(_as_photos(images), top_k=top_k))
        problems = [answer for answer in answers if isinstance(answer, DataError)]
        if problems:
            raise DataError("\n".join(str(problem) for problem in problems))
        return [answer for answer in answers if isinstance(answer, Prediction)]

    def stream(self, images: Iterable[Photo], *, top_k: int = 5) -> Iterator[Prediction | DataError]:
        """Yield, for each photo in order, its prediction, or the error that names it when it cannot be decoded.

        Raises:
            ConfigError: `top_k` under 1.
        """
        if top_k < 1:
            raise ConfigError(f"top_k is {top_k}; expected at least 1.")
        return self._stream(images, top_k)

    def _stream(self, images: Iterable[Photo], top_k: int) -> Iterator[Prediction | DataError]:
        numbered = enumerate(images, start=1)
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), thread_name_prefix="allmlp-decode") as pool:
            while chunk := list(itertools.islice(numbered, self._batch_size)):
                yield from self._answers(list(pool.map(self._load, chunk)), top_k)

    def _load(self, numbered: tuple[int, Photo]) -> tuple[str, NDArray[np.uint8] | DataError]:
        """Return the photo's name, and its pixels (H, W, 3) as the model is shown them, or what is wrong."""
        name = _name(*numbered)
        try:
            return name, self._preprocessing.resize(_pixels(numbered[1], name))
        except DataError as error:
            return name, error

    def _answers(
        self, loaded: Sequence[tuple[str, NDArray[np.uint8] | DataError]], top_k: int
    ) -> Iterator[Prediction | DataError]:
        photos = [photo for _, photo in loaded if not isinstance(photo, DataError)]
        if photos:
            rows = iter(_softmax(self._forward(self._preprocessing.normalise(np.stack(photos)))))
        for name, photo in loaded:
            yield photo if isinstance(photo, DataError) else Prediction(name, self._labels(next(rows), top_k))

    def _labels(self, probabilities: NDArray[np.float64], top_k: int) -> tuple[ScoredLabel, ...]:
        best = np.argsort(-probabilities, kind="stable")[:top_k]
        return tuple(ScoredLabel(label=self.class_names[index], score=float(probabilities[index])) for index in best)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:  # (B, K) -> (B, K)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def _as_photos(images: Photo | Iterable[Photo]) -> Iterable[Photo]:
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
