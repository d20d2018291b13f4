"""What training sees with RandAugment and random erasing: a function of (seed, epoch, sample), like everything else."""

import dataclasses
import hashlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.small_runs import TINY, write_photos

from allmlp import DataError, Recipe
from allmlp.data import AugmentationPipeline, ImageDataset, hold_out, open_dataset, uniform
from allmlp.data.augmentation.mixing import Mix, draw_mix
from allmlp.data.augmentation.warp import mix_images
from allmlp.errors import MissingExtraError
from allmlp.training import DataConfig
from allmlp.training.distributed.process_group import ONE_PROCESS, ProcessGroup
from allmlp.training.input_pipeline import InputPipeline
from allmlp.training.progress import NoProgress
from allmlp.training.recipe.resolve import resolve
from allmlp.training.step.batch import TrainingBatch


def changed(recipe: Recipe = TINY, **augmentation: Any) -> Recipe:
    return dataclasses.replace(recipe, augmentation=dataclasses.replace(recipe.augmentation, **augmentation))


ALL = changed(rand_augment_layers=2, rand_augment_magnitude=15.0, random_erasing=0.5)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def dataset(root: Path) -> ImageDataset:
    return hold_out(open_dataset(root), fraction=0.1, seed=0)


def feed(recipe: Recipe, dataset: ImageDataset, *, ranks: ProcessGroup = ONE_PROCESS, **data: Any) -> InputPipeline:
    recipe = dataclasses.replace(recipe, data=DataConfig(**data))
    return InputPipeline(resolve(recipe, dataset, "cpu"), dataset, ranks=ranks, progress=NoProgress())


def pipeline(recipe: Recipe) -> AugmentationPipeline:
    return AugmentationPipeline(
        augmentation=recipe.augmentation,
        preprocessing=recipe.data.preprocessing(recipe.model.image_size),
        seed=recipe.seed,
        batch_size=recipe.batch_size,
        num_classes=recipe.model.num_classes,
        num_depth_draws=2 * recipe.model.num_blocks,
    )


def batches(*arguments: Any, first_step: int = 0, num_steps: int = 4, **options: Any) -> list[TrainingBatch]:
    return list(feed(*arguments, **options).batches(first_step=first_step, num_steps=num_steps))


def same(one: Sequence[TrainingBatch], two: Sequence[TrainingBatch]) -> bool:
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and np.array_equal(a.keys, b.keys)
        for a, b in zip(one, two, strict=True)
    )


def test_recipes_without_them_draw_the_numbers_that_they_always_drew(dataset: ImageDataset) -> None:
    """The digests are those of allmlp before there was RandAugment."""
    order = feed(TINY, dataset).order
    indices, epochs = order.batch(2)
    for recipe in (TINY, ALL):
        draws = pipeline(recipe).draws(order.keys[indices], epochs)
        older = np.concatenate([draws["crop"], draws["color"]], axis=1)
        assert hashlib.sha256(older.tobytes()).hexdigest().startswith("4fa8aaf9eb2fe9d7c9b5b74fcbfba0a4")
        depth = draws["depth"].astype(np.float32)
        assert hashlib.sha256(depth.tobytes()).hexdigest().startswith("a202cb82795a9e19cc36c0c8d26752ec")


def test_every_purpose_has_numbers_of_its_own(dataset: ImageDataset) -> None:
    order = feed(ALL, dataset).order
    indices, epochs = order.batch(0)
    draws = pipeline(ALL).draws(order.keys[indices], epochs)
    together = np.concatenate(list(draws.values()), axis=1)
    assert together.shape == (16, 23 + 4 + 4 + 2 * 4 + 24)
    assert len(np.unique(together)) == together.size
    alone = uniform(ALL.seed, int(epochs[5]), order.keys[indices[[5]]], together.shape[1])
    assert np.array_equal(alone[0], together[5])


def test_erasing_changes_nothing_outside_of_its_rectangles(dataset: ImageDataset) -> None:
    plain = changed(mixup=0.0, cutmix=0.0)
    (whole,) = batches(plain, dataset, num_steps=1)
    (erased,) = batches(changed(plain, random_erasing=0.5), dataset, num_steps=1)
    touched = (whole.images != erased.images).any(dim=1)
    assert whole.depth_draws is not None and erased.depth_draws is not None
    assert torch.equal(whole.depth_draws, erased.depth_draws)
    assert 0 < touched.flatten(1).any(dim=1).sum() < len(touched)
    for mask in touched.numpy():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert mask.sum() == len(rows) * len(columns) <= 16 * 16 / 3 + 16  # one full rectangle


def test_erasing_comes_before_mixing(dataset: ImageDataset) -> None:
    (mixed,) = batches(ALL, dataset, num_steps=1)
    (unmixed,) = batches(changed(ALL, mixup=0.0, cutmix=0.0), dataset, num_steps=1)
    mix = draw_mix(ALL.augmentation, seed=ALL.seed, step=0, batch_size=16, image_size=(16, 16))
    assert torch.equal(mixed.images, mix_images(unmixed.images, mix))
    assert not torch.equal(mixed.images, unmixed.images)


def test_images_are_whole_grey_levels_where_randaugment_is_the_last(dataset: ImageDataset) -> None:
    recipe = changed(rand_augment_layers=1, color_jitter=0.0, hue_jitter=0.0, mixup=0.0, cutmix=0.0)
    (batch,) = batches(recipe, dataset, num_steps=1)
    levels = (batch.images * 0.5 + 0.5) * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert levels.min() >= -1e-3 and levels.max() <= 255 + 1e-3


@pytest.fixture(scope="module")
def whole(dataset: ImageDataset) -> list[TrainingBatch]:
    """The first batches, made by one process of photos in memory."""
    return batches(ALL, dataset, storage="memory", num_workers=2)


@pytest.mark.parametrize(
    ("storage", "num_workers"), [("stream", 0), ("stream", 1), ("stream", 3), ("memory", 0), ("memory", 3)]
)
def test_memory_and_stream_and_any_number_of_workers_give_the_same_bits(
    storage: str, num_workers: int, dataset: ImageDataset, whole: list[TrainingBatch]
) -> None:
    assert same(whole, batches(ALL, dataset, storage=storage, num_workers=num_workers))


def test_another_seed_gives_other_bits(dataset: ImageDataset, whole: list[TrainingBatch]) -> None:
    assert not same(whole[:1], batches(dataclasses.replace(ALL, seed=1), dataset, num_steps=1))


def test_a_step_can_be_asked_for_alone(dataset: ImageDataset, whole: list[TrainingBatch]) -> None:
    assert same(whole[3:], batches(ALL, dataset, first_step=3))


def test_processes_make_the_parts_of_one_batch(dataset: ImageDataset, whole: list[TrainingBatch]) -> None:
    parts = [batches(ALL, dataset, ranks=ProcessGroup(rank=rank, count=4, device="cpu")) for rank in range(4)]
    for step, batch in enumerate(whole):
        images = torch.cat([part[step].images for part in parts])
        assert torch.equal(torch.cat([part[step].labels for part in parts]), batch.labels)
        # A part's canvas may be smaller, and sums then go in another order: of half levels one may round the other way.
        assert ((images - batch.images).abs() > 1e-5).float().mean() < 1e-3
        assert (images - batch.images).abs().mean() < 1e-3


def test_the_same_sample_in_another_batch_is_the_same(dataset: ImageDataset) -> None:
    recipe = changed(ALL, mixup=0.0, cutmix=0.0)
    of_16 = batches(recipe, dataset, num_steps=2)
    of_8 = batches(dataclasses.replace(recipe, batch_size=8), dataset, num_steps=4)
    one, two = (torch.cat([batch.images for batch in parts]) for parts in (of_16, of_8))
    assert ((one - two).abs() > 1e-5).float().mean() < 1e-3


def test_evaluation_sees_photos_as_they_are(dataset: ImageDataset) -> None:
    plain, augmented = feed(TINY, dataset), feed(ALL, dataset)
    for split in ("validation", "test"):
        for one, two in zip(plain.evaluation_batches(split), augmented.evaluation_batches(split), strict=True):
            assert np.array_equal(one.images, two.images)


def test_no_thread_is_left_when_training_stops_early(dataset: ImageDataset) -> None:
    made = feed(ALL, dataset, storage="stream", num_workers=2).batches(first_step=0, num_steps=1000)
    next(made)
    made.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("allmlp-")]


def test_a_photo_that_vanishes_is_named_where_batches_are_read(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos")
    dataset = hold_out(open_dataset(root), fraction=0.1, seed=0)
    reading = feed(ALL, dataset, storage="stream", num_workers=1)
    for path in (root / "train").rglob("07.png"):
        path.unlink()
    with pytest.raises(DataError, match=r"07\.png"):
        list(reading.batches(first_step=0, num_steps=10))


def test_parts_of_a_mix_are_those_of_the_whole(dataset: ImageDataset, whole: list[TrainingBatch]) -> None:
    """The negative control of the parts' test: a part that is mixed with its own last sample is seen."""
    recipe = changed(ALL, mixup=0.0, cutmix=0.0)
    (half,) = batches(recipe, dataset, ranks=ProcessGroup(rank=1, count=2, device="cpu"), num_steps=1)
    mix = draw_mix(ALL.augmentation, seed=ALL.seed, step=0, batch_size=16, image_size=(16, 16))
    assert mix is not None
    wrong = mix_images(half.images, Mix(mix.shares[8:], mix.rectangles[8:]))
    assert ((wrong - whole[0].images[8:]).abs() > 1e-5).float().mean() > 1e-2


def test_an_inception_crop_is_a_part_of_the_photo_as_it_is_whatever_its_fit(dataset: ImageDataset) -> None:
    """Photos of 24 pixels are reduced to 16 here: squashed before the crop, they would give other crops than unsquashed."""
    small = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, image_size=(8, 8)))
    assert same(batches(small, dataset, fit="squash"), batches(small, dataset, fit="crop"))


def test_without_timm_randaugment_is_refused_before_a_photo_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_photos(tmp_path / "photos")
    found = hold_out(open_dataset(root), fraction=0.1, seed=0)
    for path in root.rglob("*.png"):
        path.write_bytes(b"unreadable")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match="pip install timm"):
        feed(ALL, found)
    with pytest.raises(DataError):
        feed(TINY, found)


VIT_JAX = {"law": "vit_jax", "fit": "squash", "interpolation": "bilinear"}
BIG_VISION = {"law": "big_vision", "interpolation": "bilinear"}


@pytest.mark.parametrize("law", [VIT_JAX, BIG_VISION], ids=["vit_jax", "big_vision"])
def test_the_authors_laws_give_the_same_bits_from_memory_and_stream(law: dict[str, Any], dataset: ImageDataset) -> None:
    recipe = changed(crop_law="tensorflow")
    kept = batches(recipe, dataset, num_steps=2, storage="memory", **law)
    assert same(kept, batches(recipe, dataset, num_steps=2, storage="stream", num_workers=2, **law))
    assert not same(kept, batches(TINY, dataset, num_steps=2, **law))  # the law of the crop
    assert not same(kept, batches(recipe, dataset, num_steps=2, interpolation="bilinear"))  # the law of the pixels


def test_big_visions_training_images_are_whole_levels_and_vit_jaxs_are_not(dataset: ImageDataset) -> None:
    plain = changed(crop_law="tensorflow", color_jitter=0.0, hue_jitter=0.0, mixup=0.0, cutmix=0.0)
    for law, is_whole in ((BIG_VISION, True), (VIT_JAX, False)):
        (batch,) = batches(plain, dataset, num_steps=1, **law)
        levels = (batch.images * 0.5 + 0.5) * 255
        assert torch.allclose(levels, levels.round(), atol=1e-3) == is_whole
