"""Which photos choose a learning rate and which are trained on in the end: the rules of ViT and of VTAB-1k."""

import dataclasses
from collections.abc import Collection

import pytest
from tests.studies.tasks.task_contexts import dataset_of

from allmlp.data import ImageDataset, Split
from allmlp.errors import DataError
from allmlp.studies.tasks.division import divided
from allmlp.studies.tasks.task import AVG_5, VTAB_1K


def sizes(dataset: ImageDataset) -> dict[str, int]:
    return {name: len(split) for name, split in dataset.splits.items()}


def contents(*splits: Split) -> list[bytes]:
    return sorted(split.read(index) for split in splits for index in range(len(split)))


def as_set(split: Split) -> Collection[bytes]:
    return set(contents(split))


@pytest.mark.parametrize(
    ("name", "share"), [("imagenet", 0.01), ("cifar10", 0.02), ("cifar100", 0.02), ("pets", 0.1), ("flowers102", 0.1)]
)
def test_a_share_of_the_training_photos_chooses_and_all_are_trained_on(name: str, share: float) -> None:
    photos = divided(AVG_5[name], dataset_of(train=600, test=50))
    assert sizes(photos.choice) == {"train": 600 - round(600 * share), "validation": round(600 * share)}
    assert sizes(photos.last) == {"train": 600, "validation": round(600 * share), "test": 50}
    assert contents(*photos.choice.splits.values()) == contents(photos.last.splits["train"])
    assert as_set(photos.last.splits["validation"]) <= as_set(photos.last.splits["train"])  # so they can choose nothing
    assert not as_set(photos.last.splits["test"]) & as_set(photos.last.splits["train"])
    assert not photos.is_drawn


def test_validation_photos_are_trained_on_too() -> None:
    dataset = dataset_of(train=100, validation=60, test=30)
    photos = divided(AVG_5["flowers102"], dataset)
    assert sizes(photos.last) == {"train": 160, "validation": 16, "test": 30}
    assert contents(photos.last.splits["train"]) == contents(dataset.splits["train"], dataset.splits["validation"])


def test_without_a_test_split_validation_is_tested_on() -> None:
    dataset = dataset_of(train=100, validation=60)
    photos = divided(AVG_5["imagenet"], dataset)
    assert contents(photos.last.splits["test"]) == contents(dataset.splits["validation"])
    assert len(photos.last.splits["train"]) == 100


@pytest.mark.parametrize(
    ("given", "is_drawn"),
    [
        ({"train": 800, "validation": 200, "test": 40}, False),
        ({"train": 1000, "test": 40}, False),
        ({"train": 900, "validation": 300, "test": 40}, True),
        ({"train": 1500, "test": 40}, True),
        ({"train": 1200, "validation": 90, "test": 40}, True),  # too few to choose by: drawn from train
    ],
)
def test_vtab_has_800_and_200_of_1000_photos(given: dict[str, int], is_drawn: bool) -> None:
    dataset = dataset_of(**given)
    photos = divided(VTAB_1K["dtd"], dataset)
    assert sizes(photos.choice) == {"train": 800, "validation": 200}
    assert sizes(photos.last) == {"train": 1000, "validation": 200, "test": 40}
    assert contents(*photos.choice.splits.values()) == contents(photos.last.splits["train"])
    assert photos.is_drawn is is_drawn
    if given.get("validation", 0) >= 200:
        assert as_set(photos.choice.splits["train"]) <= as_set(dataset.splits["train"])
        assert as_set(photos.choice.splits["validation"]) <= as_set(dataset.splits["validation"])
    again = divided(VTAB_1K["dtd"], dataset)
    assert again.choice.splits["validation"].sample_ids == photos.choice.splits["validation"].sample_ids


def test_the_draw_does_not_depend_on_the_order_of_the_photos() -> None:
    dataset = dataset_of(train=1100, test=10)
    train = dataset.splits["train"]
    turned = dataclasses.replace(dataset, splits={**dataset.splits, "train": train.subset(range(1099, -1, -1))})
    for found, other in zip(*(divided(VTAB_1K["dtd"], each)[:2] for each in (dataset, turned)), strict=True):
        assert as_set(found.splits["train"]) == as_set(other.splits["train"])


def test_too_few_photos_and_missing_splits_are_named() -> None:
    with pytest.raises(DataError, match=r"990 training photos; VTAB-1k needs 1,000, of which 200 choose"):
        divided(VTAB_1K["dtd"], dataset_of(train=990, test=10))
    with pytest.raises(DataError, match="a task needs a train split and a test split; found train"):
        divided(AVG_5["pets"], dataset_of(train=20))
    with pytest.raises(DataError, match="a task needs a train split and a test split; found test"):
        divided(AVG_5["pets"], dataset_of(test=20))
