"""Which photos are recognised as those of a public data set."""

import pytest

from allmlp.data import is_downloaded, open_dataset
from allmlp.studies.learning.known_photos import TITLES, recognised

_CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_CIFAR100 = [
    *("aquarium_fish", "cockroach", "skyscraper", "sweet_pepper", "willow_tree"),
    *(f"class {number}" for number in range(95)),
]


@pytest.mark.parametrize(
    ("classes", "num_test", "num_train", "name"),
    [
        (_CIFAR10, 10_000, 50_000, "cifar10"),
        (list(reversed(_CIFAR10)), 10_000, None, "cifar10"),
        (_CIFAR10, 10_000, 5_000, None),
        (_CIFAR10, 1_000, 50_000, None),
        ([*_CIFAR10[:9], "lorry"], 10_000, 50_000, None),
        (_CIFAR100, 10_000, 50_000, "cifar100"),
        (_CIFAR100[1:], 10_000, 50_000, None),
    ],
)
def test_photos_are_recognised_by_classes_and_numbers(
    classes: list[str], num_test: int, num_train: int | None, name: str | None
) -> None:
    assert recognised(classes, num_test=num_test, num_train=num_train) == name


@pytest.mark.parametrize("name", TITLES)
def test_torchvision_s_data_sets_are_recognised(name: str) -> None:
    """Their classes, read from torchvision's files where they are on this machine."""
    if not is_downloaded(name):
        pytest.skip(f"{name} is not on this machine")
    dataset = open_dataset(name)
    sizes = {split: len(photos) for split, photos in dataset.splits.items()}
    assert recognised(dataset.class_names, num_test=sizes["test"], num_train=sizes["train"]) == name
