"""25 photos of random pixels in several sizes, for tests that read them."""

from pathlib import Path

import numpy as np
from PIL import Image

from allmlp.data import Split, open_dataset

IDENTITIES = [f"class{index % 3}/photo{index:03}.png" for index in range(25)]


def write_random_photos(root: Path) -> Split:
    """Write a training split and open it."""
    generator = np.random.default_rng(0)
    for index, sample_id in enumerate(IDENTITIES):
        path = root / "train" / sample_id
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20 + index % 3 * 30, 24 + index % 4 * 20)
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return open_dataset(root).splits["train"]
