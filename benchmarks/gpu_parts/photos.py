"""Made-up photos: smooth colours that depend on the class, as JPEG files in one folder per class."""

from pathlib import Path

import numpy as np

__all__ = ["write_photos"]

_NUM_CLASSES = 8


def write_photos(folder: Path, *, num_photos, size):
    """Write JPEG files of `size` (width, height) pixels; like photos, they have few details, so that decoding costs as much."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for index in range(num_photos):
        label = index % _NUM_CLASSES
        coarse = generator.integers(0, 160, (24, 32, 3))
        coarse[..., label % 3] += 12 * label
        path = folder / f"class{label}" / f"{index:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
    return folder
