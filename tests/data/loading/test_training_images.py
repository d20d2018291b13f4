"""Photos for training: the same bits kept or streamed, by any number of threads."""

import threading
from pathlib import Path

import numpy as np
import pytest
from tests.data.loading.random_photos import write_random_photos

from allmlp.data import (
    Split,
    TrainingImages,
    TrainingOrder,
    decode,
)
from allmlp.errors import DataError


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return write_random_photos(tmp_path / "data")


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("image_size", [(16, 16), (64, 64)])
def test_streamed_and_kept_photos_are_the_same_bits(
    split: Split, num_workers: int, image_size: tuple[int, int]
) -> None:
    options = {"image_size": image_size, "fit": "crop"}
    kept = TrainingImages(split, num_workers=0, **options)
    for index in range(len(split)):
        kept.keep(index, decode(split.read(index), name=""))
    streamed = TrainingImages(split, num_workers=num_workers, **options)
    order = TrainingOrder(split.sample_ids, seed=0, batch_size=7)
    batches = zip(*(p.batches(order.batch(step)[0] for step in range(12)) for p in (kept, streamed)), strict=True)
    count = 0
    for one, two in batches:
        count += 1
        assert np.array_equal(one.images, two.images)
        assert np.array_equal(one.sizes, two.sizes)
    assert count == 12


def test_a_large_photo_is_kept_at_twice_the_image_size(split: Split) -> None:
    photo = np.zeros((1000, 3000, 3), dtype=np.uint8)
    images = TrainingImages(split.subset([0]), image_size=(32, 32), fit="crop", num_workers=0)
    images.keep(0, photo)
    (batch,) = images.batches([np.array([0])])
    assert batch.images.shape == (1, 64, 192, 3)


def test_a_squashed_photo_keeps_the_pixels_of_both_sides(split: Split) -> None:
    images = TrainingImages(split.subset([0]), image_size=(64, 64), fit="squash", num_workers=0)
    images.keep(0, np.zeros((100, 1000, 3), dtype=np.uint8))
    (batch,) = images.batches([np.array([0])])
    assert batch.images.shape == (1, 100, 128, 3)


def test_decoding_threads_end_when_the_reader_stops_early(split: Split) -> None:
    batches = TrainingImages(split, image_size=(16, 16), fit="crop", num_workers=2).batches(
        np.array([step % 25]) for step in range(10_000)
    )
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("allmlp-decode")]


def test_a_photo_that_vanishes_during_streaming_is_named(split: Split, tmp_path: Path) -> None:
    gone = next((tmp_path / "data").rglob("*007.png"))
    gone.unlink()
    images = TrainingImages(split, image_size=(16, 16), fit="crop", num_workers=2)
    with pytest.raises(DataError, match=r"photo007\.png"):
        list(images.batches([np.arange(25)]))
