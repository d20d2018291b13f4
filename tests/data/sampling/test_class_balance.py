"""The balanced order: every class equally often, every photo in its turn, and a function of (seed, step)."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from allmlp.data import TrainingOrder

IDENTITIES = [f"class{index % 3}/photo{index:03}.png" for index in range(97)]


def made(counts: Sequence[int], *, seed: int = 0, batch_size: int = 10) -> tuple[TrainingOrder, NDArray[np.int64]]:
    """An order over so many photos of each class, and the class of each."""
    labels = np.repeat(np.arange(len(counts)), counts)
    sample_ids = [f"{label}/{index}" for index, label in enumerate(labels)]
    return TrainingOrder(sample_ids, seed=seed, batch_size=batch_size, balanced_labels=labels), labels


def shown(order: TrainingOrder, num_epochs: int) -> list[NDArray[np.int64]]:
    """The sample and the pass at each place of whole epochs, each (num_epochs, n)."""
    size = len(order.keys)
    steps = [order.batch(step) for step in range(-(-num_epochs * size // order.batch_size))]
    parts = (np.concatenate(part)[: num_epochs * size] for part in zip(*steps, strict=True))
    return [part.reshape(num_epochs, size) for part in parts]


@pytest.mark.parametrize("counts", [[90, 9, 1], [5, 5, 5], [40, 3, 20, 11], [1, 1], [7]])
@pytest.mark.parametrize("batch_size", [1, 10, 250])
def test_every_class_comes_equally_often_in_every_epoch(counts: list[int], batch_size: int) -> None:
    order, labels = made(counts, batch_size=batch_size)
    num_epochs = 2 * len(counts)
    indices, _ = shown(order, num_epochs)
    each = np.array([np.bincount(labels[epoch], minlength=len(counts)) for epoch in indices])
    assert each.min() >= len(labels) // len(counts) and each.max() <= -(-len(labels) // len(counts))
    assert each.sum(axis=0).tolist() == [num_epochs * len(labels) // len(counts)] * len(counts)  # over K epochs exactly


def test_a_classs_photos_come_in_turn() -> None:
    counts = [80, 15, 5]
    order, labels = made(counts)
    indices, passes = (part.ravel() for part in shown(order, 12))
    for label, count in enumerate(counts):
        times = np.bincount(indices, minlength=100)[labels == label]
        assert times.max() - times.min() <= 1 and times.sum() == 400
        whole = 400 // count
        for number in range(whole):  # a pass has every photo of the class once
            members = indices[(passes == number) & (labels[indices] == label)]
            assert sorted(members) == np.flatnonzero(labels == label).tolist()
    first = {index for index in indices[:300] if labels[index] == 0}
    assert len(first) == 80  # all of the frequent class after three epochs, a third of an epoch at a time


def test_no_sample_comes_twice_in_one_pass() -> None:
    order, _ = made([50, 4, 2])
    indices, passes = (part.ravel() for part in shown(order, 9))
    assert len(set(zip(indices.tolist(), passes.tolist(), strict=True))) == len(indices)


def test_the_classes_are_mixed_within_an_epoch() -> None:
    order, labels = made([300, 30, 30])
    indices, _ = shown(order, 4)
    for epoch in indices:
        thirds = [np.bincount(labels[part], minlength=3) for part in np.array_split(epoch, 3)]
        assert (
            np.abs(np.array(thirds) - 40).max() < 20
        )  # over four standard deviations of drawing 120 of 360 without replacement


def test_a_step_can_be_asked_for_alone_and_seeds_differ() -> None:
    order, _ = made([60, 7, 3], seed=3)
    batches = [order.batch(step) for step in range(30)]
    for step in (29, 0, 17):
        alone = made([60, 7, 3], seed=3)[0].batch(step)
        assert all(np.array_equal(one, two) for one, two in zip(alone, batches[step], strict=True))
    orders = {tuple(made([60, 7, 3], seed=seed)[0].batch(step)[0]) for seed in range(4) for step in (0, 7, 14)}
    assert len(orders) == 12


def test_the_order_is_that_of_identities_not_of_listing() -> None:
    labels = np.array([int(sample_id[5]) for sample_id in IDENTITIES])
    shuffle = np.random.default_rng(1).permutation(97)
    here = TrainingOrder(IDENTITIES, seed=0, batch_size=50, balanced_labels=labels)
    shuffled = [IDENTITIES[index] for index in shuffle]
    there = TrainingOrder(shuffled, seed=0, batch_size=50, balanced_labels=labels[shuffle])
    for step in range(6):
        ours, theirs = here.batch(step), there.batch(step)
        assert [IDENTITIES[index] for index in ours[0]] == [shuffled[index] for index in theirs[0]]
        assert np.array_equal(ours[1], theirs[1])


def test_the_balanced_order_is_known_by_value() -> None:
    order, _ = made([60, 7, 3], seed=3)
    digest = hashlib.sha256()
    for step in range(30):
        for part in order.batch(step):
            digest.update(part.astype("<i8").tobytes())
    assert digest.hexdigest() == "6e3d29f73aa1233958ba3a3eaf687efa885e38060c51d6e39faad8bb9fa39094"
