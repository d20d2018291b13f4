"""Photos held out: a share of each class that follows from seed and identity alone."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from tests.data.photo_sources import FLAT, split_as_folder, write_folder, write_parquet, write_zip

from allmlp.data import FileReader, ImageDataset, held_out_as, hold_out, open_dataset
from allmlp.errors import ConfigError, DataError


def numbered(tmp_path: Path, counts: Mapping[str, int]) -> ImageDataset:
    return open_dataset(
        write_folder(tmp_path, {f"{name}/{i}.jpg": b"" for name, count in counts.items() for i in range(count)})
    )


def test_a_tenth_of_each_class_is_held_out_and_at_least_one(tmp_path: Path) -> None:
    counts = {"a": 100, "b": 26, "c": 3, "d": 2, "e": 1}
    dataset = hold_out(numbered(tmp_path, counts), fraction=0.1, seed=0)
    held_out = np.bincount(dataset.splits["validation"].labels, minlength=5).tolist()
    assert held_out == [10, 3, 1, 1, 0]
    assert np.bincount(dataset.splits["train"].labels).tolist() == [90, 23, 2, 1, 1]
    train, validation = (set(dataset.splits[name].sample_ids) for name in ("train", "validation"))
    assert not train & validation
    assert len(train | validation) == sum(counts.values())
    assert dataset.splits["validation"].sample_ids == tuple(sorted(validation))
    assert "15 of 132 train photos held out for validation (seed 0)" in dataset.notes
    assert "none held out from classes with a single photo: e" in dataset.notes


def test_what_is_held_out_follows_from_seed_and_identity_alone(tmp_path: Path) -> None:
    folder = open_dataset(write_folder(tmp_path / "photos", FLAT))
    zipped = open_dataset(write_zip(tmp_path / "photos.zip", dict(sorted(FLAT.items(), reverse=True))))
    chosen = {seed: hold_out(folder, fraction=0.25, seed=seed).splits["validation"].sample_ids for seed in range(10)}
    for seed, sample_ids in chosen.items():
        assert hold_out(zipped, fraction=0.25, seed=seed).splits["validation"].sample_ids == sample_ids
    assert len(set(chosen.values())) > 5


def test_held_out_photos_are_known_by_value() -> None:
    # A change of the draw, or of the embedded photos' names, would silently change what every run is measured on.
    validation = hold_out(open_dataset("clothing"), fraction=0.1, seed=0).splits["validation"]
    assert len(validation) == 100
    assert validation.sample_ids[0] == "dress/15e1f140-7552-4402-9419-a6dd10cba223.webp"
    digest = hashlib.sha256("\n".join(validation.sample_ids).encode()).hexdigest()
    assert digest == "5cb88de7d843f5d9cbfc43ec104f62e4d0032dbb45a641622d31c4fbd8b03379"


def test_photos_added_later_move_few_others(tmp_path: Path) -> None:
    before = hold_out(numbered(tmp_path, {"a": 100, "b": 100}), fraction=0.1, seed=0).splits["validation"].sample_ids
    write_folder(tmp_path, {"a/new.jpg": b""})
    after = hold_out(open_dataset(tmp_path), fraction=0.1, seed=0).splits["validation"].sample_ids
    assert len(set(before) ^ set(after)) <= 2


def test_an_own_validation_split_is_kept(tmp_path: Path) -> None:
    dataset = open_dataset(split_as_folder(tmp_path))
    assert hold_out(dataset, fraction=0.1, seed=0) is dataset


def test_holding_out_needs_train_photos_and_a_fraction(tmp_path: Path) -> None:
    single = numbered(tmp_path / "a", {"a": 1, "b": 1})
    with pytest.raises(DataError, match="every class has a single photo"):
        hold_out(single, fraction=0.1, seed=0)
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(ConfigError, match="fraction"):
            hold_out(single, fraction=fraction, seed=0)
    only_test = open_dataset(write_folder(tmp_path / "b", {"test/a/1.jpg": b"", "test/b/1.jpg": b""}))
    with pytest.raises(DataError, match="no train split"):
        hold_out(only_test, fraction=0.1, seed=0)


@pytest.mark.parametrize("write", [write_folder, lambda path, photos: write_zip(path.with_suffix(".zip"), photos)])
def test_copies_of_a_photo_stay_on_one_side(tmp_path: Path, write) -> None:
    # every photo of a has a copy in a; b has a copy of one of them; c has none
    photos = {f"a/{i}.jpg": f"photo {i % 10}".encode() for i in range(20)}
    photos |= {"b/0.jpg": b"photo 3", **{f"b/{i}.jpg": f"other {i}".encode() for i in range(1, 12)}}
    photos |= {f"c/{i}.jpg": f"third {i}".encode() for i in range(12)}
    dataset = open_dataset(write(tmp_path / "photos", photos))
    for seed in range(20):
        divided = hold_out(dataset, fraction=0.2, seed=seed)
        contents = {
            name: {divided.splits[name].read(i) for i in range(len(divided.splits[name]))}
            for name in ("train", "validation")
        }
        assert not contents["train"] & contents["validation"], seed
        counts = np.bincount(divided.splits["validation"].labels, minlength=3)
        assert counts[0] in (4, 5) or counts[0] == 2 * (counts[0] // 2)
        assert 1 <= counts[1] <= 3 and counts[2] == 2
        assert len(divided.splits["train"]) + len(divided.splits["validation"]) == len(photos)


def test_copies_in_parquet_stay_on_one_side(tmp_path: Path) -> None:
    rows = [(f"a/{i}.jpg", f"photo {i // 2}".encode(), 0) for i in range(20)]
    rows += [(f"b/{i}.jpg", f"other {i // 2}".encode(), 1) for i in range(20)]
    dataset = open_dataset(write_parquet(tmp_path / "photos.parquet", rows, names=["a", "b"]))
    divided = hold_out(dataset, fraction=0.3, seed=1)
    for name in ("train", "validation"):
        split = divided.splits[name]
        contents = [split.read(index) for index in range(len(split))]
        assert all(contents.count(content) == 2 for content in contents)
    assert len(divided.splits["validation"]) == 12


def test_a_class_whose_photos_are_all_the_same_stays_in_train(tmp_path: Path) -> None:
    photos = {f"a/{i}.jpg": b"the same" for i in range(8)} | {f"b/{i}.jpg": f"{i}".encode() for i in range(8)}
    divided = hold_out(open_dataset(write_folder(tmp_path, photos)), fraction=0.1, seed=0)
    assert divided.splits["validation"].labels.tolist() == [1]
    assert "none held out from classes with a single photo: a" in divided.notes


def test_a_large_group_of_copies_is_held_out_only_if_nothing_else_can_be(tmp_path: Path) -> None:
    photos = {f"a/{i}.jpg": b"copied" if i < 5 else f"{i:06}".encode() for i in range(10)}
    photos |= {f"b/{i}.jpg": f"{i // 5:06} b".encode() for i in range(10)}  # two photos, five times each
    for seed in range(10):
        validation = hold_out(open_dataset(write_folder(tmp_path, photos)), fraction=0.1, seed=seed).splits[
            "validation"
        ]
        assert np.bincount(validation.labels).tolist() == [1, 5]


def test_only_photos_of_the_same_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = {f"{name}/{i}.jpg": name.encode() * (10 + i) for name in ("a", "bb") for i in range(10)}
    dataset = open_dataset(write_folder(tmp_path, photos))
    read = []
    original = FileReader.read
    monkeypatch.setattr(FileReader, "read", lambda self, index: read.append(index) or original(self, index))
    hold_out(dataset, fraction=0.1, seed=0)
    assert len(read) <= 4  # a/10 and bb/0 have 20 bytes, and so on


def test_the_split_of_a_run_is_taken_again(tmp_path: Path) -> None:
    dataset = open_dataset(write_folder(tmp_path, FLAT))
    divided = hold_out(dataset, fraction=0.25, seed=5)
    saved = {name: list(split.sample_ids) for name, split in divided.splits.items()}
    again = held_out_as(dataset, saved)
    assert again is not None and again.is_held_out
    assert {name: list(split.sample_ids) for name, split in again.splits.items()} == saved
    saved["train"].pop()
    assert held_out_as(dataset, saved) is None
