"""Parts that a data set lacks, by the names of its files and by its description: never passed over in silence."""

import json
import random
from pathlib import Path

import pytest
from tests.data.photo_sources import Photos, refusal, write_folder, write_parquet, write_zip

from allmlp.data import open_dataset

CLASSES: Photos = {"cat/1.jpg": b"1", "dog/1.jpg": b"2"}


def write(root: Path, *names: str) -> Path:
    for name in names:
        write_parquet(root / name, [("1.jpg", b"1", 0), ("2.jpg", b"2", 1)], names=["cat", "dog"])
    return root


UUID = "0a1b2c3d-0000-1111-2222-0a1b2c3d4e5f-c000.snappy"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["train_0", "train_2"], "train_1"),
        (["train-1", "train-2", "train-4", "test-1"], "train-3"),
        (["data/train.0", "data/train.2"], "data/train.1"),
        (["train-00000-of-00002.zstd"], "train-00001-of-00002"),
        (["TRAIN-00001-OF-00002"], "TRAIN-00000-OF-00002"),
        (["train.00000.of.00002"], "train.00001.of.00002"),
        (["train part 2 of 2", "test part 1 of 1"], "train part 1 of 2"),
        (["train (1of3)", "train (3of3)"], "train (2of3)"),
        ([f"train/part-00000-{UUID}", f"train/part-00002-{UUID}"], "train/part-00001"),
    ],
)
def test_a_missing_part_is_noticed_however_parts_are_numbered(names: list[str], missing: str, tmp_path: Path) -> None:
    root = write(tmp_path, *(f"{name}.parquet" for name in names))
    assert refusal(root) == f"{root}: shards are missing: {missing}.parquet; download them too."


@pytest.mark.parametrize("names", [["train-2019", "train-2021"], ["train-1", "train-10"], ["train_v2"], ["train_64"]])
def test_years_and_versions_are_no_numbers_of_parts(names: list[str], tmp_path: Path) -> None:
    dataset = open_dataset(write(tmp_path, *(f"{name}.parquet" for name in names)))
    assert len(dataset.splits["train"]) == 2 * len(names)
    assert dataset.notes == ()


@pytest.mark.parametrize("name", ["photos-1-of-3", "photos_2_of_3", "train-00000-of-00003", "photos part 1 of 3"])
@pytest.mark.parametrize("kind", ["zip", "folder", "folder in a zip", "folder in a folder"])
def test_a_zip_or_a_folder_that_is_one_of_several_parts_is_noted(kind: str, name: str, tmp_path: Path) -> None:
    inner = {f"{name}/{path}": content for path, content in CLASSES.items()}
    source = {
        "zip": lambda: write_zip(tmp_path / f"{name}.zip", CLASSES),
        "folder": lambda: write_folder(tmp_path / name, CLASSES),
        "folder in a zip": lambda: write_zip(tmp_path / "x.zip", inner),
        "folder in a folder": lambda: write_folder(tmp_path / "x", inner),
    }[kind]()
    what = "file" if kind == "zip" else "folder"
    assert f"by its name, this {what} is one of 3 parts; the others are not read" in open_dataset(source).notes


@pytest.mark.parametrize("ends", [("zip.001", "zip.002", "zip.003"), ("z01", "z02", "zip")])
def test_parts_of_a_split_zip_are_named_as_such(ends: tuple[str, ...], tmp_path: Path) -> None:
    photos = {f"{name}/{i}.jpg": random.Random(i).randbytes(2_000) for name in ("cat", "dog") for i in range(9)}
    content = write_zip(tmp_path / "whole", photos).read_bytes()
    size = len(content) // 3 + 1
    for number, end in enumerate(ends):
        (tmp_path / f"photos.{end}").write_bytes(content[number * size : (number + 1) * size])
    for end in ends:
        assert "this is one of the parts of a split zip. Join them first" in refusal(tmp_path / f"photos.{end}")


CARD = """---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  splits:
  - name: train
    num_bytes: 1000.0
    num_examples: {}
---
# Photos
"""


@pytest.mark.parametrize("kind", ["Parquet", "folder"])
@pytest.mark.parametrize("name", ["README.md", "dataset_info.json", "dataset_infos.json"])
def test_fewer_photos_than_the_description_states_are_noted(name: str, kind: str, tmp_path: Path) -> None:
    root = (
        write(tmp_path, "data/train-00000-of-00001.parquet") if kind == "Parquet" else write_folder(tmp_path, CLASSES)
    )
    for count in (2, 7):
        info = {"splits": {"train": {"name": "train", "num_examples": count}}}
        text = {"dataset_info.json": json.dumps(info), "dataset_infos.json": json.dumps({"default": info})}
        (root / name).write_text(text.get(name, CARD.format(count)))
        note = f"{name} states 7 photos of train, of which 2 are here; download the missing files"
        assert (note in open_dataset(root).notes) == (count == 7)


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"splits": 3}', '{"splits": {"train": {"num_examples": "many"}}}', "[" * 100_000, "\ud800"]
)
def test_a_description_of_another_kind_is_ignored(text: str, tmp_path: Path) -> None:
    (write(tmp_path, "train.parquet") / "dataset_info.json").write_bytes(text.encode(errors="surrogatepass"))
    assert open_dataset(tmp_path).notes == ()
