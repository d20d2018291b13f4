"""Order and batches: functions of (seed, epoch, sample ID), however photos are kept or read."""

import numpy as np
import pytest
from PIL import Image

from allmlp.data import (
    Preprocessing,
    TrainingImages,
    TrainingOrder,
    evaluation_batches,
    open_dataset,
    resized_images,
    uniform,
)
from allmlp.data.sampling.stateless_random import epoch_order, sample_keys

IDENTITIES = [f"class{index % 3}/photo{index:03}.png" for index in range(97)]


@pytest.fixture
def split(tmp_path):
    generator = np.random.default_rng(0)
    for index, sample_id in enumerate(IDENTITIES[:25]):
        path = tmp_path / "data" / "train" / sample_id
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20 + index % 3 * 30, 24 + index % 4 * 20)
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return open_dataset(tmp_path / "data").splits["train"]


@pytest.mark.parametrize("batch_size", [1, 8, 97, 250])
def test_every_epoch_sees_every_sample_once_whatever_the_batch_size(batch_size):
    order = TrainingOrder(IDENTITIES, seed=0, batch_size=batch_size)
    num_steps = -(-3 * 97 // batch_size)
    seen = [np.concatenate(parts) for parts in zip(*(order.batch(step) for step in range(num_steps)), strict=True)]
    for epoch in range(3):
        assert sorted(seen[0][seen[1] == epoch]) == list(range(97))


def test_the_order_is_that_of_identities_not_of_listing():
    shuffled = list(np.random.default_rng(1).permutation(IDENTITIES))
    one = [IDENTITIES[index] for index in epoch_order(5, 2, sample_keys(IDENTITIES))]
    two = [shuffled[index] for index in epoch_order(5, 2, sample_keys(shuffled))]
    assert one == two


def test_seeds_and_epochs_give_different_orders():
    keys = sample_keys(IDENTITIES)
    orders = {tuple(epoch_order(seed, epoch, keys)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_a_step_can_be_asked_for_alone():
    in_turn = TrainingOrder(IDENTITIES, seed=3, batch_size=10)
    batches = [in_turn.batch(step) for step in range(30)]
    for step in (29, 0, 17):
        alone = TrainingOrder(IDENTITIES, seed=3, batch_size=10).batch(step)
        assert all(np.array_equal(one, two) for one, two in zip(alone, batches[step], strict=True))


def test_draws_are_uniform_and_uncorrelated():
    draws = uniform(0, 0, sample_keys([str(index) for index in range(20_000)]), 6)
    assert draws.min() >= 0.0 and draws.max() < 1.0
    for column in draws.T:
        # Kolmogorov–Smirnov: 1.95 / sqrt(n) is exceeded by chance once in a thousand times; the draws are fixed.
        assert np.abs(np.sort(column) - np.arange(20_000) / 20_000).max() < 1.95 / np.sqrt(20_000)
    assert np.abs(np.corrcoef(draws.T) - np.eye(6)).max() < 0.03
    next_epoch = uniform(0, 1, sample_keys([str(index) for index in range(20_000)]), 1)
    assert abs(np.corrcoef(draws[:, 0], next_epoch[:, 0])[0, 1]) < 0.03


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("image_size", [(16, 16), (64, 64)])
def test_streamed_and_kept_photos_are_the_same_bits(split, num_workers, image_size):
    from allmlp.data import decode

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


def test_a_large_photo_is_kept_at_twice_the_image_size(split):
    photo = np.zeros((1000, 3000, 3), dtype=np.uint8)
    images = TrainingImages(split.subset([0]), image_size=(32, 32), fit="crop", num_workers=0)
    images.keep(0, photo)
    (batch,) = images.batches([np.array([0])])
    assert batch.images.shape == (1, 64, 192, 3)


def test_a_squashed_photo_keeps_the_pixels_of_both_sides(split):
    images = TrainingImages(split.subset([0]), image_size=(64, 64), fit="squash", num_workers=0)
    images.keep(0, np.zeros((100, 1000, 3), dtype=np.uint8))
    (batch,) = images.batches([np.array([0])])
    assert batch.images.shape == (1, 100, 128, 3)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_evaluation_sees_every_photo_once_and_masks_the_rest(batch_size):
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


def test_evaluation_names_every_photo_that_cannot_be_read(split, tmp_path):
    from allmlp.errors import DataError

    for sample_id in (IDENTITIES[3], IDENTITIES[20]):
        (tmp_path / "data" / "train" / sample_id).write_text("no photo")
    with pytest.raises(DataError, match=r"(?s)2 of 25 photos cannot be used.*photo003\.png.*photo020\.png"):
        list(resized_images(split, Preprocessing(image_size=8)))


def test_decoding_threads_end_when_the_reader_stops_early(split):
    import threading

    batches = TrainingImages(split, image_size=(16, 16), fit="crop", num_workers=2).batches(
        np.array([step % 25]) for step in range(10_000)
    )
    next(batches)
    batches.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("allmlp-decode")]


def test_a_photo_that_vanishes_during_streaming_is_named(split, tmp_path):
    from allmlp.errors import DataError

    gone = next((tmp_path / "data").rglob("*007.png"))
    gone.unlink()
    images = TrainingImages(split, image_size=(16, 16), fit="crop", num_workers=2)
    with pytest.raises(DataError, match=r"photo007\.png"):
        list(images.batches([np.arange(25)]))
