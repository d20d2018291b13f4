"""Streamed training images of which only the crop is decoded, in a fraction of the time that whole photos take.

The crop of a sample is drawn before its photo is decoded (`decode_part`), so that a JPEG is decoded at a half, a quarter or an
eighth where the crop stays large enough, and without the rows far below it. Pillow scales the crop, in uint8, the width first
in every version of Pillow; of a photo that EXIF turns, that is the width before the turn. So the pixels differ slightly from
those of `warp`, which scales in float32; tests/data/augmentation/test_crop_images.py states by how much.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from allmlp.data.augmentation.config import Augmentation
from allmlp.data.augmentation.crops import inception_box
from allmlp.data.dataset import Split
from allmlp.data.decoding.decode import Box, PartOfPhoto, decode_part
from allmlp.data.decoding.rgb import upright, upright_size
from allmlp.data.preprocessing import Preprocessing
from allmlp.data.resizing.axes import resize_box_by_axes, resize_by_axes
from allmlp.io.ordered_map import ordered_map

__all__ = ["CropBatch", "CropImages", "normalise_crops"]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_REACH = {"bilinear": 1, "bicubic": 2}  # of the filters, in pixels of the result, or of the photo if it is enlarged


class CropBatch(NamedTuple):
    """The crops of one training step: B arrays (H, W, 3) uint8, scaled and mirrored, not yet normalised."""

    images: list[NDArray[np.uint8]]


class CropImages:
    """The crops of the photos of a split, decoded by threads each time that they are used.

    All photos must have been decoded before (`check_photos`).
    """

    def __init__(
        self, split: Split, *, augmentation: Augmentation, preprocessing: Preprocessing, num_workers: int
    ) -> None:
        self._split = split
        self._augmentation = augmentation
        self._preprocessing = preprocessing
        self._num_workers = num_workers

    def batches(self, samples: Iterable[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Iterator[CropBatch]:
        """Yield one batch per pair of indices (B,) and draws of their crops (B, NUM_CROP_DRAWS). Decodes ahead."""
        lengths: deque[int] = deque()

        def flat() -> Iterator[tuple[int, NDArray[np.float64]]]:
            for indices, draws in samples:
                lengths.append(len(indices))
                yield from zip(map(int, indices), draws, strict=True)

        batch: list[NDArray[np.uint8]] = []
        for image in ordered_map(self._load, flat(), self._num_workers):
            batch.append(image)
            if len(batch) == lengths[0]:
                lengths.popleft()
                yield CropBatch(batch)
                batch = []

    def _load(self, sample: tuple[int, NDArray[np.float64]]) -> NDArray[np.uint8]:
        index, draws = sample

        def box_of(size: tuple[int, int]) -> Box:
            left, top, width, height = inception_box(self._augmentation, draws, size)
            return (
                left,
                top,
                min(left + width, size[0]),
                min(top + height, size[1]),
            )  # rounding must not exceed the photo

        part = decode_part(
            self._split.read(index),
            name=self._split.where(index),
            box_of=box_of,
            image_size=self._preprocessing.image_size,
        )
        image = upright(np.asarray(self._scaled(part)), part.orientation)
        return image[:, ::-1] if self._augmentation.flip and draws[0] < 0.5 else image

    def _scaled(self, part: PartOfPhoto) -> Image.Image:
        height, width = self._preprocessing.image_size
        stored_size = upright_size((width, height), part.orientation)
        kernel = _FILTERS[self._preprocessing.interpolation]
        if self._augmentation.crop_law == "tensorflow":  # no pixel outside of the crop has any weight
            left, top, right, bottom = map(round, part.box)
            return resize_by_axes(part.image.crop((left, top, right, bottom)), stored_size, kernel)
        # Pillow takes a box in float32: it is rounded before its rows are counted from another one.
        left, top, right, bottom = np.asarray(part.box, np.float32).tolist()
        # The pass over the width needs only the rows that the one over the height reaches. One more allows for rounding.
        reach = 1 + _REACH[self._preprocessing.interpolation] * max(1.0, (bottom - top) / stored_size[1])
        first, last = max(0, math.floor(top - reach)), min(part.image.height, math.ceil(bottom + reach))
        rows = part.image.crop((0, first, part.image.width, last))
        return resize_box_by_axes(rows, stored_size, kernel, (left, top - first, right, bottom - first))


def normalise_crops(
    crops: CropBatch, *, device: str, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Tensor:
    """Return (B, 3, H, W) float32 on `device`: (value - 255 mean) / (255 std), per channel."""
    centre, scale = np.float32(255.0) * np.array([mean, std], np.float32)
    if torch.device(device).type != "cpu":
        pixels = torch.from_numpy(np.stack(crops.images)).to(device, non_blocking=True)
        both = torch.from_numpy(np.stack([centre, scale])).to(device)[:, :, None, None]
        return ((pixels.permute(0, 3, 1, 2).to(torch.float32) - both[0]) / both[1]).contiguous()
    height, width, _ = crops.images[0].shape
    result = np.empty((len(crops.images), 3, height, width), np.float32)
    for image, planes in zip(crops.images, result, strict=True):
        for channel in range(3):  # plane by plane, each of which stays in the processor's cache
            plane = planes[channel]
            plane[:] = image[:, :, channel]
            np.subtract(plane, centre[channel], out=plane)
            np.divide(plane, scale[channel], out=plane)
    return torch.from_numpy(result)
