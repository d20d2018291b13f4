"""open_dataset: one data set whatever the source, and every offender named at once."""

import dataclasses
import io
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photo_sources import (
    FLAT,
    SOURCES,
    SPLIT,
    contents,
    refusal,
    split_as_folder,
    split_as_zip,
    write_folder,
    write_parquet,
    write_table,
    write_zip,
)

from allmlp.data import DATASETS, decode, open_dataset
from allmlp.errors import DataError


@pytest.mark.parametrize("write", SOURCES, ids=lambda write: write.__name__)
def test_every_source_gives_the_same_names_labels_and_bytes(write: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path))
    assert dataset.class_names == ("dress", "hat", "shoes")
    expected: dict[str, list[tuple[str, str, bytes]]] = {"train": [], "validation": [], "test": []}
    for path, content in SPLIT.items():
        split, _, sample_id = path.partition("/")
        expected[split].append((sample_id, sample_id.partition("/")[0], content))
    assert contents(dataset) == {split: sorted(entries) for split, entries in expected.items()}
    assert list(dataset.splits) == ["train", "validation", "test"]


@pytest.mark.parametrize("write", SOURCES, ids=lambda write: write.__name__)
def test_splits_travel_to_other_processes_and_keep_their_order(write: Callable[[Path], Path], tmp_path: Path) -> None:
    train = open_dataset(write(tmp_path)).splits["train"]
    copy = pickle.loads(pickle.dumps(train))
    chosen = [3, 0, 7]
    part = copy.subset(chosen)
    assert len(part) == 3
    assert part.labels.dtype == np.int64
    assert part.sample_ids == tuple(train.sample_ids[i] for i in chosen)
    assert part.labels.tolist() == [train.labels[i] for i in chosen]
    for position, index in enumerate(chosen):
        assert part.read(position) == train.read(index)
        assert part.where(position) == train.where(index)
        assert train.sample_ids[index].rpartition("/")[2] in part.where(position).replace("\\", "/")
    assert sorted(train.storage_order().tolist()) == list(range(len(train)))
    with pytest.raises(ValueError, match="read-only"):
        train.labels[0] = 1


def test_a_flat_source_without_splits_is_all_train(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", FLAT)
    rows = [(f"photos/{path}", path.split("/")[0]) for path in FLAT]
    names = ["dress", "hat", "shoes"]
    in_rows = [(path.split("/")[1], content, names.index(path.split("/")[0])) for path, content in FLAT.items()]
    datasets = [
        open_dataset(tmp_path / "photos"),
        open_dataset(write_zip(tmp_path / "photos.zip", FLAT)),
        open_dataset(write_table(tmp_path / "photos.csv", [("path", "label"), *rows])),
        # As Hugging Face writes them: base names only.
        open_dataset(write_parquet(tmp_path / "photos.parquet", in_rows, names=names)),
    ]
    assert all(contents(dataset) == contents(datasets[0]) for dataset in datasets)
    assert [*datasets[0].splits] == ["train"]
    assert datasets[0].splits["train"].sample_ids == tuple(sorted(FLAT))


def test_a_file_that_vanishes_or_changes_later_is_named(tmp_path: Path) -> None:
    dataset = open_dataset(split_as_folder(tmp_path / "a"))
    (tmp_path / "a" / "photos" / "train" / "dress" / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"dress/0\.jpg: .*no such file"):
        dataset.splits["train"].read(0)
    zipped = open_dataset(split_as_zip(tmp_path))
    damaged = bytearray((tmp_path / "photos.zip").read_bytes())
    (tmp_path / "photos.zip").write_bytes(bytes(len(damaged)))
    with pytest.raises(DataError, match=r"photos\.zip: train/dress/0\.jpg: "):
        zipped.splits["train"].read(0)
    rows = [("0.jpg", b"a", 0), ("1.jpg", b"b", 1)]
    parquet = open_dataset(write_parquet(tmp_path / "train.parquet", rows, names=["a", "b"]))
    write_parquet(tmp_path / "train.parquet", rows[:1], names=["a", "b"])
    with pytest.raises(DataError, match=r"row 1 \(1\.jpg\): .*changed"):
        parquet.splits["train"].read(1)
    (tmp_path / "train.parquet").unlink()


@pytest.mark.parametrize("name", ["{}/a.jpg", "train/{}/a.jpg", "x/{}/y/a.jpg"])
def test_tens_of_thousands_of_class_folders_take_linear_time(name: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "many.zip", {name.format(number): b"" for number in range(20_000)})
    started = time.process_time()
    assert len(open_dataset(tmp_path / "many.zip").class_names) == 20_000
    assert time.process_time() - started < 15  # a minute and more where each folder is compared with all others


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_folder(tmp_path, FLAT))
    assert refusal("").startswith("The name of the data set is empty; a shell variable may be unset.")
    assert len(open_dataset(".").splits["train"]) == len(FLAT)


def test_a_missing_source_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "blossoms").mkdir()
    message = refusal(tmp_path / "blosoms")
    assert "no such file or folder" in message
    assert f"Did you mean '{tmp_path / 'blossoms'}'?" in message
    assert "'clothing'" in refusal("clothng")
    assert str(tmp_path / "nothing") in refusal(tmp_path / "nothing" / "below")


def test_what_is_no_data_set_is_told_the_layouts(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"\xff\xd8\xff")
    assert "this is a single photo" in refusal(tmp_path / "x.jpg")
    (tmp_path / "x.tar").write_bytes(b"rest")
    assert "this is not a known kind of data set" in refusal(tmp_path / "x.tar")
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        assert "neither a file nor a folder" in refusal(tmp_path / "pipe")
    assert "cannot be read" in refusal(tmp_path / ("x" * 5_000))


@pytest.mark.parametrize("name", [name for name, named in DATASETS.items() if not named.folder])
def test_every_data_set_that_comes_with_the_package_opens_and_decodes(name: str) -> None:
    dataset = open_dataset(name)
    assert dataset.source == name
    assert {"train", "test"} <= dataset.splits.keys()
    for split in dataset.splits.values():
        assert split.sample_ids == tuple(sorted(set(split.sample_ids)))
        assert set(split.labels.tolist()) == set(range(len(dataset.class_names)))
        assert decode(split.read(0), name=split.where(0)).shape[2] == 3


def test_the_clothing_photos_are_those_of_the_notice() -> None:
    dataset = open_dataset("clothing")
    assert len(dataset.class_names) == 10
    assert np.bincount(dataset.splits["train"].labels).tolist() == [100] * 10
    assert len(dataset.splits["test"]) == 372
    shared = set(dataset.splits["train"].sample_ids) & set(dataset.splits["test"].sample_ids)
    assert not shared
    with Image.open(io.BytesIO(dataset.splits["test"].read(5))) as image:
        assert image.size == (64, 64)


def test_a_data_set_and_its_splits_have_short_reprs() -> None:
    dataset = open_dataset("clothing")
    assert repr(dataset) == "ImageDataset(clothing: 10 classes; train 1,000, test 372 photos)"
    assert repr(dataset.splits["train"]) == "Split(1,000 photos of 10 classes)"
    assert repr(dataset.splits["train"].subset([0])) == "Split(1 photo of 1 class)"
    assert len(repr(dataclasses.replace(dataset, source="x" * 10_000))) < 200
