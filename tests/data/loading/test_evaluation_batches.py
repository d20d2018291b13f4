"""Batches for evaluation: every photo once, and every photo that cannot be read by its name."""

from pathlib import Path

import numpy as np
import pytest
from tests.data.loading.random_photos import IDENTITIES, write_random_photos

from allmlp.data import (
    Preprocessing,
    Split,
    evaluation_batches,
    resized_images,
)
from allmlp.errors import DataError


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return write_random_photos(tmp_path / "data")


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_evaluation_sees_every_photo_once_and_masks_the_rest(batch_size: int) -> None:
    photos = [np.full((8, 8, 3), index, dtype=np.uint8) for index in range(20)]
    labels = [index % 4 for index in range(20)]
    batches = list(
        evaluation_batches(photos, labels, Preprocessing(image_size=8), num_classes=4, batch_size=batch_size)
    )
    assert all(len(batch.images) == batch_size for batch in batches)
    images = np.concatenate([batch.images[batch.mask] for batch in batches])
    rows = np.concatenate([batch.labels[batch.mask] for batch in batches])
    assert np.array_equal(np.round((images[:, 0, 0, 0] * 0.5 + 0.5) * 255), np.arange(20))
    assert np.array_equal(rows, np.eye(4)[labels])


def test_evaluation_names_every_photo_that_cannot_be_read(split: Split, tmp_path: Path) -> None:
    for sample_id in (IDENTITIES[3], IDENTITIES[20]):
        (tmp_path / "data" / "train" / sample_id).write_text("no photo")
    with pytest.raises(DataError, match=r"(?s)2 of 25 photos cannot be used.*photo003\.png.*photo020\.png"):
        list(resized_images(split, Preprocessing(image_size=8)))
