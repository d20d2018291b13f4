"""Folds: each photo is held out once, classes are spread evenly, and copies stay together."""

from pathlib import Path

import numpy as np
import pytest
from tests.data.photo_sources import FLAT, write_folder, write_zip

from allmlp.data import fold_datasets, fold_of_photos, open_dataset
from allmlp.errors import ConfigError, DataError


def photos(tmp_path: Path, contents: dict[str, list[bytes]]):
    files = {f"{name}/{i:03}.jpg": content for name, each in contents.items() for i, content in enumerate(each)}
    return open_dataset(write_folder(tmp_path, files))


def distinct(name: str, count: int) -> list[bytes]:
    return [f"{name}{i}".encode() for i in range(count)]


@pytest.mark.parametrize("num_folds", [2, 3, 5, 10])
def test_each_photo_is_held_out_once_and_classes_are_spread_evenly(num_folds: int, tmp_path: Path) -> None:
    sizes = {"a": 53, "b": 20, "c": 11, "d": 7}
    dataset = photos(tmp_path, {name: distinct(name, size) for name, size in sizes.items()})
    folds = fold_of_photos(dataset, num_folds=num_folds, seed=0)
    assert sorted(set(folds.tolist())) == list(range(num_folds))
    for label, size in enumerate(sizes.values()):
        counts = np.bincount(folds[dataset.splits["train"].labels == label], minlength=num_folds)
        assert counts.sum() == size and np.ptp(counts) <= 1
    assert np.ptp(np.bincount(folds)) <= len(sizes)
    held_out: list[str] = []
    for number, fold in enumerate(fold_datasets(dataset, folds)):
        train, validation = (set(fold.splits[name].sample_ids) for name in ("train", "validation"))
        assert not train & validation and len(train | validation) == sum(sizes.values())
        assert len(validation) == (folds == number).sum()
        assert len(set(fold.splits["train"].labels.tolist())) == len(sizes)
        held_out += validation
    assert sorted(held_out) == sorted(dataset.splits["train"].sample_ids)


def test_copies_are_in_one_fold_across_classes_too(tmp_path: Path) -> None:
    contents = {name: distinct(name, 12) for name in "abc"}
    contents["a"][1:4] = [contents["a"][0]] * 3
    contents["b"][5] = contents["c"][7] = contents["a"][0]
    dataset = photos(tmp_path, contents)
    for seed in range(20):
        folds = fold_of_photos(dataset, num_folds=4, seed=seed)
        names = ["a/000.jpg", "a/001.jpg", "a/002.jpg", "a/003.jpg", "b/005.jpg", "c/007.jpg"]
        ids = dataset.splits["train"].sample_ids
        assert len({folds[ids.index(name)] for name in names}) == 1


@pytest.mark.parametrize(
    ("contents", "never"),
    [
        ({"a": 9, "b": 9, "one": 1}, ["one/000.jpg"]),
        ({"a": 9, "b": 9, "same": [b"x", b"x", b"x"]}, ["same/000.jpg", "same/001.jpg", "same/002.jpg"]),
        ({"a": 9, "b": 9, "two": 2}, []),
    ],
)
def test_a_class_is_never_left_without_training_photos(contents, never, tmp_path: Path) -> None:
    files = {name: each if isinstance(each, list) else distinct(name, each) for name, each in contents.items()}
    dataset = photos(tmp_path, files)
    folds = fold_of_photos(dataset, num_folds=3, seed=1)
    assert [name for name, fold in zip(dataset.splits["train"].sample_ids, folds, strict=True) if fold < 0] == never
    for fold in fold_datasets(dataset, folds):
        assert set(fold.splits["train"].labels.tolist()) == {0, 1, 2}


def test_folds_follow_from_seed_and_identity_alone(tmp_path: Path) -> None:
    folder = open_dataset(write_folder(tmp_path / "photos", FLAT))
    zipped = open_dataset(write_zip(tmp_path / "photos.zip", dict(sorted(FLAT.items(), reverse=True))))
    chosen = [fold_of_photos(folder, num_folds=2, seed=seed).tolist() for seed in range(10)]
    assert [fold_of_photos(zipped, num_folds=2, seed=seed).tolist() for seed in range(10)] == chosen
    assert len({tuple(folds) for folds in chosen}) > 1


def test_too_few_photos_and_too_few_folds_are_refused(tmp_path: Path) -> None:
    dataset = photos(tmp_path, {"a": distinct("a", 2), "b": distinct("b", 2)})
    with pytest.raises(DataError, match=r"4 photos are too few for 5 folds.*--folds 2.*--folds 0"):
        fold_of_photos(dataset, num_folds=5, seed=0)
    with pytest.raises(ConfigError, match="the number of folds is 1; expected at least 2"):
        fold_of_photos(dataset, num_folds=1, seed=0)
