"""Public data sets that are recognised by their classes and number of photos, whatever their folder is called."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["TITLES", "recognised"]

TITLES: Mapping[str, str] = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
"""By the names of `allmlp.data.DATASETS`."""


class _Known(NamedTuple):
    """What identifies a data set; a few of many classes are enough."""

    num_classes: int
    classes: frozenset[str]
    num_train: int
    num_test: int


_KNOWN: Mapping[str, _Known] = {
    "cifar10": _Known(
        10,
        frozenset({"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}),
        50_000,
        10_000,
    ),
    "cifar100": _Known(
        100, frozenset({"aquarium_fish", "cockroach", "skyscraper", "sweet_pepper", "willow_tree"}), 50_000, 10_000
    ),
}


def recognised(class_names: Sequence[str], *, num_test: int, num_train: int | None = None) -> str | None:
    """Return the name of the data set with these classes and photos, or None if it is not known.

    `num_train` counts the photos that are not test photos; None does not compare them.
    """
    found = (
        name
        for name, known in _KNOWN.items()
        if len(class_names) == known.num_classes
        and known.classes <= set(class_names)
        and num_test == known.num_test
        and num_train in (None, known.num_train)
    )
    return next(found, None)
