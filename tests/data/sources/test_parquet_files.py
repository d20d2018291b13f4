"""Parquet files in the layouts of the hub: their splits, missing parts, and other files next to them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.photo_sources import refusal, write_folder, write_parquet, write_zip

from allmlp.data import ImageDataset, open_dataset

ROWS: list[tuple[str | None, bytes | None, object]] = [("1.jpg", b"1", 0), ("2.jpg", b"2", 1)]


def write(root: Path, *names: str, rows: list[tuple[str | None, bytes | None, object]] = ROWS) -> Path:
    for name in names:
        write_parquet(root / name, rows, names=["cat", "dog"])
    return root


def counts(dataset: ImageDataset) -> dict[str, int]:
    return {name: len(split) for name, split in dataset.splits.items()}


@pytest.mark.parametrize(
    "names",
    [
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("plain_text/train/0000.parquet", "plain_text/train/0001.parquet", "plain_text/test/0000.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("train/train-00000.parquet", "test/test-00000.parquet"),
        ("data/training.parquet", "data/holdout.parquet"),
        ("train-00000-of-00001-0a1b2c3d4e5f6071.parquet", "test-00000-of-00001-0a1b2c3d4e5f6071.parquet"),
        ("data/train-00001-of-00002.parquet", "data/train-00002-of-00002.parquet", "data/test.parquet"),
    ],
)
def test_the_split_of_a_file_is_in_its_name_or_that_of_its_folder(names: tuple[str, ...], tmp_path: Path) -> None:
    num_train = sum("train" in name for name in names)
    assert counts(open_dataset(write(tmp_path, *names))) == {"train": 2 * num_train, "test": 2}


def test_a_folder_of_numbered_files_is_the_split_after_which_it_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "default" / "test", "0000.parquet", "0001.parquet")
    assert counts(open_dataset(root)) == {"test": 4}


@pytest.mark.parametrize("folder", ["data", "default/train"])
def test_photos_next_to_the_parquet_files_are_left_out_with_a_note(folder: str, tmp_path: Path) -> None:
    write_folder(tmp_path, {"assets/logo.png": b"", "docs/a/1.png": b""})
    dataset = open_dataset(write(tmp_path, f"{folder}/train-00000-of-00001.parquet"))
    assert counts(dataset) == {"train": 2}
    assert dataset.notes == ("left out next to the Parquet files: assets, docs",)


def test_parquet_files_that_are_no_splits_do_not_hide_photos(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat/1.jpg": b"", "dog/1.jpg": b""})
    dataset = open_dataset(write(tmp_path, "cat/features.parquet"))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.notes == ("1 other file ignored (features.parquet)",)


def test_several_data_sets_are_a_question(tmp_path: Path) -> None:
    root = write(tmp_path, "default/train/0000.parquet", "small/train/0000.parquet")
    assert refusal(root) == f"{root}: several data sets of Parquet files: default/, small/; open one of these folders."


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (("train-00000-of-00003.parquet", "train-00001-of-00003.parquet"), "train-00002-of-00003.parquet"),
        (("train-00000-of-00002.parquet",), "train-00001-of-00002.parquet"),
        (("data/train-00000-of-00002-0a1b2c3d4e5f6071.parquet",), "train-00001-of-00002.parquet"),
        (("train_1_of_3.parquet", "train_3_of_3.parquet"), "train_2_of_3.parquet"),
        (("default/train/0000.parquet", "default/train/0002.parquet"), "train/0001.parquet"),
        (("train-00000-of-00001.parquet", "test-00001-of-00002.parquet"), "test-00000-of-00002.parquet"),
    ],
)
def test_missing_parts_are_noticed_whatever_is_there(names: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    assert refusal(write(tmp_path, *names)) == f"{tmp_path}: shards are missing: {missing}; download them too."


def test_a_single_part_that_is_opened_by_name_is_noted(tmp_path: Path) -> None:
    note = "by its name, this file is one of 3 parts; the others are not read"
    write(tmp_path, "train-00000-of-00003.parquet", "train-00000-of-00001.parquet")
    assert open_dataset(tmp_path / "train-00000-of-00003.parquet").notes == (note,)
    assert open_dataset(tmp_path / "train-00000-of-00001.parquet").notes == ()
    photos = write_zip(tmp_path / "photos-1-of-3.zip", {"a/1.jpg": b"", "b/1.jpg": b""})
    assert open_dataset(photos).notes == (note,)


def test_a_split_that_the_hub_converted_in_part_is_noted(tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, "default/partial-train/0000.parquet"))
    assert counts(dataset) == {"train": 2}
    assert dataset.notes == ("partial-train/ holds only the first part of its split",)


@pytest.mark.parametrize("label", [-1, None])
@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_scoring_split_without_labels_is_left_out(split: str, label: int | None, tmp_path: Path) -> None:
    write(tmp_path, "train.parquet")
    write_parquet(tmp_path / f"{split}.parquet", [("3.jpg", b"", label)] * 2, names=["cat", "dog"])
    dataset = open_dataset(tmp_path)
    assert dataset.left_out == {split: "its labels are all empty or -1"}
    assert dataset.notes == (f"the {split} split is left out: its labels are all empty or -1",)


def test_a_scoring_split_without_a_column_of_labels_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "train.parquet")
    pq.write_table(pa.table({"image": pa.array([b"1"])}), tmp_path / "test.parquet")
    assert open_dataset(tmp_path).left_out == {"test": "test.parquet has no column of labels"}
    pq.write_table(pa.table({"image": pa.array([b"1"])}), tmp_path / "train.parquet")
    assert "train.parquet: there is no column 'label'" in refusal(tmp_path)


def test_single_labels_that_are_missing_are_still_named(tmp_path: Path) -> None:
    write(tmp_path, "train.parquet")
    write(tmp_path, "test.parquet", rows=[*ROWS, ("3.jpg", b"", -1)])
    assert "test.parquet: 1 label is not in 0..1: row 2 (-1); correct or remove these rows" in refusal(tmp_path)


def test_a_class_that_the_test_split_lacks_is_a_note(tmp_path: Path) -> None:
    write(tmp_path, "train.parquet")
    write(tmp_path, "test.parquet", rows=ROWS[:1])
    assert open_dataset(tmp_path).notes == ("test has no photos of 'dog'",)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("decoys", [("image.bytes", "image.path"), ("image.bytes.x",), ("image.path", "label.names")])
def test_columns_named_like_fields_of_the_photos_are_not_read_in_their_place(
    decoys: tuple[str, ...], is_first: bool, tmp_path: Path
) -> None:
    photos = pa.array([{"bytes": b"1", "path": "1.jpg"}, {"bytes": b"2", "path": "2.jpg"}])
    columns = {"image": photos, "label": pa.array([0, 1])}
    others = {name: pa.array([b"wrong", b"wrong"]) for name in decoys}
    pq.write_table(pa.table({**others, **columns} if is_first else {**columns, **others}), tmp_path / "x.parquet")
    train = open_dataset(tmp_path / "x.parquet").splits["train"]
    assert train.sample_ids == ("0/1.jpg", "1/2.jpg")
    assert [train.read(i) for i in range(2)] == [b"1", b"2"]


def test_a_photo_column_without_fields_is_read_next_to_one_that_looks_like_its_field(tmp_path: Path) -> None:
    decoys = pa.array([b"wrong", b"wrong"])
    table = pa.table({"image.bytes": decoys, "image": pa.array([b"1", b"2"]), "label": pa.array([0, 1])})
    pq.write_table(table, tmp_path / "x.parquet")
    train = open_dataset(tmp_path / "x.parquet").splits["train"]
    assert sorted(train.read(i) for i in range(2)) == [b"1", b"2"]
