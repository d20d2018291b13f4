"""Notes on copies, as training gives them: leaks, several labels and repetition, with counts and names."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.data.photo_sources import write_folder

from allmlp.data import copy_notes, hold_out, open_dataset


def notes(root: Path, photos: Mapping[str, bytes], *, held_out: bool = False) -> list[str]:
    dataset = open_dataset(write_folder(root, photos))
    if held_out:
        dataset = hold_out(dataset, fraction=0.3, seed=0)
    digests = {
        name: [hashlib.sha256(split.read(index)).hexdigest() for index in range(len(split))]
        for name, split in dataset.splits.items()
    }
    return copy_notes(dataset, digests)


def photos(*splits: str, count: int = 4) -> dict[str, bytes]:
    return {f"{s}/{c}/{i}.jpg": f"{s}{c}{i}".encode() for s in splits for c in ("a", "b") for i in range(count)}


def test_no_copies_give_no_notes(tmp_path: Path) -> None:
    assert notes(tmp_path, photos("train", "validation", "test")) == []


def test_leaks_are_counted_for_each_pair_of_splits(tmp_path: Path) -> None:
    found = photos("train", "validation", "test")
    found |= {f"test/a/x{i}.jpg": found[f"train/a/{i}.jpg"] for i in range(4)}
    found["validation/b/y.jpg"] = found["train/b/2.jpg"]
    assert notes(tmp_path, found) == [
        "4 photos of train are in test: a/0.jpg, a/1.jpg, a/2.jpg and 1 more. The test score will be too high",
        "1 photo of train is in validation: b/2.jpg. The validation score will be too high",
    ]


def test_several_labels_are_named(tmp_path: Path) -> None:
    found = photos("train")
    found["train/b/x.jpg"] = found["train/a/1.jpg"]
    assert notes(tmp_path / "one", found) == ["one photo has two labels: a/1.jpg = b/x.jpg"]
    found["train/b/y.jpg"] = found["train/a/2.jpg"]
    assert notes(tmp_path / "two", found) == ["2 photos have two labels: a/1.jpg = b/x.jpg, a/2.jpg = b/y.jpg"]


def test_repetition_in_a_split_is_named(tmp_path: Path) -> None:
    found = photos("train")
    found["train/a/x.jpg"] = found["train/a/1.jpg"]
    assert notes(tmp_path, found) == ["1 photo occurs more than once in train: a/1.jpg = a/x.jpg"]


@pytest.mark.parametrize("count", [3, 9])
def test_photos_that_were_held_out_count_as_train(tmp_path: Path, count: int) -> None:
    found = photos("train", count=count)
    found |= {name.replace("train", "test"): content for name, content in found.items()}
    (note,) = notes(tmp_path, found, held_out=True)
    assert note.startswith(f"{2 * count} photos of train are in test: ")
