"""open_dataset and hold_out: one data set whatever the source, and every offender named at once."""

import csv
import hashlib
import io
import json
import os
import pickle
import random
import shutil
import struct
import time
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from allmlp.data import DATASETS, ImageDataset, decode, hold_out, open_dataset
from allmlp.data.sources.sample_ids import sample_id_of, unique_sample_ids
from allmlp.errors import ConfigError, DataError

# path below the data set -> content; opening reads no photo, so any bytes do
Photos = Mapping[str, bytes]

FLAT: Photos = {f"{name}/{i}.jpg": f"{name} {i}".encode() for name in ("hat", "dress", "shoes") for i in range(4)}
SPLIT: Photos = {
    f"{split}/{path}": split.encode() + content
    for split in ("train", "validation", "test")
    for path, content in {**FLAT, "dress/long/0.jpg": b"long"}.items()
}


def write_folder(root: Path, photos: Photos) -> Path:
    for path, content in photos.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def write_zip(path: Path, photos: Photos, *, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in photos.items():
            archive.writestr(name, content)
    return path


def write_parquet(
    path: Path,
    rows: list[tuple[str | None, bytes | None, object]],
    *,
    names: list[str] | None,
    row_group_size: int = 5,
    columns: tuple[str, str] = ("image", "label"),
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": content, "path": name} for name, content, _ in rows], image_type)
    labels = pa.array([label for *_, label in rows])
    table = pa.table({columns[0]: images, columns[1]: labels})
    if names is not None:
        features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=row_group_size, compression="zstd")
    return path


def write_table(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def contents(dataset: ImageDataset) -> dict[str, list[tuple[str, str, bytes]]]:
    return {
        name: [(split.sample_ids[i], dataset.class_names[split.labels[i]], split.read(i)) for i in range(len(split))]
        for name, split in dataset.splits.items()
    }


def refusal(source: str | Path) -> str:
    with pytest.raises(DataError) as caught:
        open_dataset(source)
    return str(caught.value)


# --- the same photos by every door -----------------------------------------------------------------------------------


def split_as_folder(root: Path) -> Path:
    return write_folder(root / "photos", SPLIT)


def split_as_wrapped_folder(root: Path) -> Path:
    return write_folder(root / "photos" / "download", SPLIT).parent


def split_as_short_names(root: Path) -> Path:
    short = {path.replace("validation/", "Val/").replace("test/", "TEST/"): content for path, content in SPLIT.items()}
    return write_folder(root / "photos", short)


def split_as_zip(root: Path) -> Path:
    shuffled = random.Random(0).sample(sorted(SPLIT.items()), len(SPLIT))
    return write_zip(root / "photos.zip", dict(shuffled))


def split_as_wrapped_zip(root: Path) -> Path:
    extra = {"__MACOSX/photos/train/hat/._0.jpg": b"", "photos/.DS_Store": b""}
    photos = {f"photos/{path}": content for path, content in SPLIT.items()}
    return write_zip(root / "photos.zip", {**photos, **extra}, compression=zipfile.ZIP_STORED)


def parquet_rows(split: str, *, names: list[str]) -> list[tuple[str | None, bytes | None, object]]:
    rows = []
    for path, content in random.Random(1).sample(sorted(SPLIT.items()), len(SPLIT)):
        folder, _, below = path.partition("/")
        if folder == split:
            rows.append((below, content, names.index(below.partition("/")[0])))
    return rows


def split_as_parquet(root: Path) -> Path:
    names = ["shoes", "dress", "hat"]  # not sorted: labels are mapped by name
    for split in ("train", "validation", "test"):
        write_parquet(root / "photos" / f"{split}.parquet", parquet_rows(split, names=names), names=names)
    return root / "photos"


def split_as_parquet_shards(root: Path) -> Path:
    names = ["shoes", "dress", "hat"]
    for split, prefix in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows = parquet_rows(split, names=names)
        for shard, part in enumerate((rows[:6], rows[6:])):
            file = root / "photos" / "data" / f"{prefix}-0000{shard}-of-00002.parquet"
            write_parquet(file, part, names=names, row_group_size=4)
    return root / "photos"


def split_as_table(root: Path) -> Path:
    write_folder(root / "photos", SPLIT)
    rows = [(f"photos/{path}", path.split("/")[1], path.split("/")[0]) for path in sorted(SPLIT, reverse=True)]
    return write_table(root / "photos.csv", [("path", "label", "split"), *rows])


def split_as_windows_table(root: Path) -> Path:
    write_folder(root / "photos", SPLIT)
    lines = ["Split,Label,Path,Remark"]
    lines += [f'{path.split("/")[0]},"{path.split("/")[1]}",photos\\{path},'.replace("/", "\\") for path in SPLIT]
    (root / "photos.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    return root / "photos.csv"


SOURCES = [
    split_as_folder,
    split_as_wrapped_folder,
    split_as_short_names,
    split_as_zip,
    split_as_wrapped_zip,
    split_as_parquet,
    split_as_parquet_shards,
    split_as_table,
    split_as_windows_table,
]


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


@pytest.mark.parametrize(("encoding", "stand_in"), [("utf-8", "H@@te"), ("cp437", "H@te")])
def test_a_zip_without_the_flag_for_utf8_is_read_as_utf8_where_it_is(
    encoding: str, stand_in: str, tmp_path: Path
) -> None:
    """As Info-ZIP writes it on Linux, and as the format has it: the names are put in after zipfile has set no flag."""
    path = write_zip(tmp_path / "photos.zip", {f"{stand_in}/1.jpg": b"1", "Schuhe/2.jpg": b"2"})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), "Hüte".encode(encoding)))
    dataset = open_dataset(path)
    assert dataset.class_names == ("Hüte", "Schuhe")
    assert dataset.splits["train"].sample_ids == ("Hüte/1.jpg", "Schuhe/2.jpg")


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


def test_a_single_parquet_file_named_after_a_split_is_that_split(tmp_path: Path) -> None:
    rows = [("0.jpg", b"a", 0), ("1.jpg", b"b", 1)]
    assert [*open_dataset(write_parquet(tmp_path / "test.parquet", rows, names=["a", "b"])).splits] == ["test"]


# --- names and order -------------------------------------------------------------------------------------------------


def test_numeric_class_names_are_sorted_by_number(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"{number}/x.jpg": b"" for number in (10, 9, 0, 100)})
    assert open_dataset(tmp_path).class_names == ("0", "9", "10", "100")


def test_class_names_and_identities_are_composed_unicode(tmp_path: Path) -> None:
    write_folder(tmp_path, {unicodedata.normalize("NFD", "café/é.jpg"): b"1", "bar/x.jpg": b"2"})
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("bar", "café")
    assert dataset.splits["train"].sample_ids == ("bar/x.jpg", "café/é.jpg")
    assert dataset.splits["train"].read(1) == b"1"


@pytest.mark.parametrize(
    ("path", "class_name", "sample_id"),
    [
        ("hat/1.jpg", "hat", "hat/1.jpg"),
        ("1.jpg", "hat", "hat/1.jpg"),
        ("train/hat/1.jpg", "hat", "hat/1.jpg"),
        ("Valid\\hat\\1.jpg", "hat", "hat/1.jpg"),
        ("./val//hat/./1.jpg", "hat", "hat/1.jpg"),
        ("../hat/1.jpg", "hat", "hat/1.jpg"),
        ("train/1.jpg", "train", "train/1.jpg"),  # a class of photos of trains
        ("train", "hat", "hat/train"),
        ("hats/1.jpg", "hat", "hat/hats/1.jpg"),
        ("n/a/1.jpg", "n/a", "n/a/1.jpg"),
        ("hat/\udcff.jpg", "hat", "hat/\\xff.jpg"),
    ],
)
def test_identities_are_normalised(path: str, class_name: str, sample_id: str) -> None:
    assert sample_id_of(path, class_name) == sample_id
    sample_id.encode()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([None, "a", "b", "a#2"]), st.sampled_from("xy"), st.sampled_from([b"1", b"2"])),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_identities_are_unique_and_independent_of_the_listing(
    photos: list[tuple[str | None, str, bytes]], generator: random.Random
) -> None:
    def named(listing: list[tuple[str | None, str, bytes]]) -> list[tuple[str, str, bytes]]:
        candidates = [None if path is None else f"{name}/{path}" for path, name, _ in listing]
        names = [name for _, name, _ in listing]
        sample_ids = unique_sample_ids(candidates, names, lambda index: listing[index][2])
        return sorted(zip(sample_ids, names, [content for *_, content in listing], strict=True))

    result = named(photos)
    assert len({sample_id for sample_id, *_ in result}) == len(photos)
    assert result == named(generator.sample(photos, len(photos)))


def test_rows_without_a_path_and_clashing_names_are_told_apart_by_content(tmp_path: Path) -> None:
    rows = [(None, b"1", 0), ("x.jpg", b"2", 1), ("x.jpg", b"3", 1), ("y.jpg", b"4", 1), (None, b"1", 0), ("", b"5", 0)]
    first = open_dataset(write_parquet(tmp_path / "a.parquet", rows, names=["p", "q"]))
    other = open_dataset(write_parquet(tmp_path / "b.parquet", rows[::-1], names=["p", "q"]))
    assert contents(first) == contents(other)
    sample_ids = first.splits["train"].sample_ids
    assert "q/y.jpg" in sample_ids
    assert sum(sample_id.startswith("q/x.jpg#") for sample_id in sample_ids) == 2
    copies = [sample_id for sample_id, _, content in contents(first)["train"] if content == b"1"]
    assert copies[1] == copies[0] + "#2"


# --- folders and zips ------------------------------------------------------------------------------------------------


def test_other_files_are_ignored_counted_and_named(tmp_path: Path) -> None:
    junk = {"hat/.DS_Store": b"", "Thumbs.db": b"", "hat/._0.jpg": b"", "hat/0.jpg.part": b"", ".cache/x/1.jpg": b""}
    for dataset in (
        open_dataset(write_folder(tmp_path / "photos", {**FLAT, **junk})),
        open_dataset(write_zip(tmp_path / "photos.zip", {**FLAT, **junk})),
    ):
        assert dataset.splits["train"].sample_ids == tuple(sorted(FLAT))
        (note,) = dataset.notes
        assert note.startswith("5 other files ignored (")
        assert "Thumbs.db" in note
        assert "0.jpg.part" in note


def test_extensions_count_in_any_case(tmp_path: Path) -> None:
    names = ["a.JPG", "b.jpeg", "c.Png", "d.webp", "e.BMP", "f.tif", "g.TIFF", "h.gif"]
    write_folder(tmp_path, {f"{label}/{name}": b"" for label in ("x", "y") for name in names})
    assert len(open_dataset(tmp_path).splits["train"]) == 16


@pytest.mark.skipif(os.name != "posix", reason="links and pipes of POSIX")
def test_link_circles_pipes_and_folders_named_as_photos_are_skipped_with_the_reason(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos", FLAT)
    (root / "hat" / "up").symlink_to(root)
    (root / "hat" / "self").symlink_to(root / "hat")
    (root / "hat" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    (root / "hat" / "itself").symlink_to("itself")
    (root / "hat" / "itself.jpg").symlink_to("itself.jpg")
    (root / "hat" / "folder.jpg").mkdir()
    os.mkfifo(root / "hat" / "pipe.jpg")
    write_folder(tmp_path / "elsewhere", {"more.jpg": b"linked", "deep/most.jpg": b"linked"})
    (root / "hat" / "a").symlink_to(tmp_path / "elsewhere")
    (root / "hat" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(root / "dress")
    dataset = open_dataset(root)
    sample_ids = set(dataset.splits["train"].sample_ids)
    assert {"hat/a/more.jpg", "hat/a/deep/most.jpg"} <= sample_ids or {"hat/b/more.jpg"} <= sample_ids
    (note,) = dataset.notes
    for fragment in (
        "hat/up (a link to a folder",
        "hat/self (a link",
        "gone.jpg (a broken link)",
        "pipe.jpg (not a",
        "hat/itself (too many levels of symbolic links)",
        "hat/itself.jpg (too many levels of symbolic links)",
    ):
        assert fragment in note
    assert "folder.jpg (a folder)" in note


def test_folders_that_link_to_each_other_are_walked_in_bounded_time(tmp_path: Path) -> None:
    names = [f"class{i}" for i in range(12)]
    write_folder(tmp_path, {f"{name}/x.jpg": b"" for name in names})
    for name in names:
        for other in names:
            if other != name:
                (tmp_path / name / other).symlink_to(tmp_path / other)
    start = time.process_time()
    open_dataset(tmp_path)
    assert time.process_time() - start < 2.0


def test_photos_of_trains_are_a_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"train/1.jpg": b"", "bus/1.jpg": b"", "test/1.jpg": b""})
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("bus", "test", "train")
    assert [*dataset.splits] == ["train"]
    assert dataset.splits["train"].sample_ids == ("bus/1.jpg", "test/1.jpg", "train/1.jpg")


def test_folders_beside_the_splits_are_noted(tmp_path: Path) -> None:
    write_folder(tmp_path, {**SPLIT, "unlabelled/1.jpg": b""})
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ("dress", "hat", "shoes")
    assert dataset.notes == ("ignored folders next to the splits: unlabelled",)


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


def test_an_empty_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_folder(tmp_path, FLAT))
    assert refusal("").startswith("The name of the data set is empty; a shell variable may be unset.")
    assert len(open_dataset(".").splits["train"]) == len(FLAT)


def test_a_missing_source_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "blossoms").mkdir()
    message = refusal(tmp_path / "blosoms")
    assert "no such file or folder" in message
    assert "Did you mean 'blossoms'?" in message
    assert "'clothing'" in refusal("clothng")
    assert str(tmp_path / "nothing") in refusal(tmp_path / "nothing" / "below")


def test_a_folder_without_photos_is_drawn_with_the_layouts_wanted(tmp_path: Path) -> None:
    write_folder(tmp_path, {f"phone/{i}.heic": b"" for i in range(30)})
    write_folder(tmp_path, {"notes.txt": b""})
    message = refusal(tmp_path)
    for fragment in ("no photos", "phone/  30 x .heic", "1 x .txt", "train/<class>", "path,label"):
        assert fragment in message
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "It is empty." in refusal(empty)
    assert "no photos" in refusal(write_zip(tmp_path / "empty.zip", {}))


def test_a_large_tree_without_photos_is_shortened(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"folder{number}").mkdir()
    message = refusal(tmp_path)
    assert "and 80 more folders" in message
    assert len(message.splitlines()) < 40


def test_photos_in_no_class_are_refused_with_what_to_do(tmp_path: Path) -> None:
    message = refusal(write_folder(tmp_path / "a", {"1.jpg": b"", "2.jpg": b""}))
    assert (
        "2 photos are directly in the top folder, outside of any class: 1.jpg, 2.jpg; move each into a folder"
        in message
    )
    message = refusal(write_folder(tmp_path / "b", {**FLAT, "1.jpg": b""}))
    assert "1 photo is directly" in message
    message = refusal(write_folder(tmp_path / "c", {**SPLIT, "test/1.jpg": b""}))
    assert "directly in test/" in message


def test_one_class_is_refused(tmp_path: Path) -> None:
    for photos in ({"hat/1.jpg": b""}, {"train/hat/1.jpg": b"", "test/hat/2.jpg": b""}):
        root = write_folder(tmp_path / str(len(photos)), photos)
        assert "only one class has photos, 'hat'" in refusal(root)
    table = write_table(tmp_path / "1" / "t.csv", [("path", "label"), ("hat/1.jpg", "hat")])
    assert "only one class" in refusal(table)
    parquet = write_parquet(tmp_path / "x.parquet", [("1.jpg", b"", 0)], names=["hat", "shoe"])
    assert "only one class" in refusal(parquet)


def test_all_faults_of_a_folder_are_named_at_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {**SPLIT, "test/loose.jpg": b"", "train/Hat/1.jpg": b"", "test/scarf/1.jpg": b""})
    (root / "train" / "gloves").mkdir()
    (root / "valid").mkdir()
    message = refusal(root)
    for fragment in (
        "valid/ and validation/ both name the validation split",
        "class folders without photos: train/gloves/",
        "1 photo is directly in test/",
        "train lacks scarf, which test has",
        "test lacks Hat, gloves, which train has; add photos of them, or open only the folder or file of one split",
        "'Hat', 'hat' differ only by case",
    ):
        assert fragment in message, fragment


def test_an_empty_split_folder_is_named(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train/a/1.jpg": b"", "train/b/1.jpg": b""})
    (root / "test").mkdir()
    assert "test/ has no class folders" in refusal(root)


def test_class_names_that_differ_only_by_unicode_normalisation_are_refused(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    message = refusal(write_zip(tmp_path / "x.zip", {f"{composed}/1.jpg": b"", f"{decomposed}/1.jpg": b""}))
    assert "'cafe\\u0301', 'caf\\xe9' differ only by case or Unicode normalisation" in message


def test_unprintable_class_names_are_refused_and_escaped(tmp_path: Path) -> None:
    message = refusal(write_zip(tmp_path / "x.zip", {"a\nb/1.jpg": b"", "c/1.jpg": b""}))
    assert "a\\nb" in message
    assert message.count("\n") == 0


def patch_zip(path: Path, patch: Callable[[bytearray], None]) -> Path:
    content = bytearray(path.read_bytes())
    patch(content)
    path.write_bytes(content)
    return path


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    def encrypt(content: bytearray) -> None:
        start = content.index(b"PK\x01\x02")
        content[start + 8] |= 1

    message = refusal(patch_zip(write_zip(tmp_path / "x.zip", FLAT), encrypt))
    assert "encrypted members (1): " in message
    assert "password" in message


def test_a_cut_or_foreign_zip_is_refused(tmp_path: Path) -> None:
    whole = write_zip(tmp_path / "x.zip", FLAT).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"<html>", whole[:-30]):
        (tmp_path / "x.zip").write_bytes(content)
        assert "not a complete zip file" in refusal(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["../../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "C:/evil.jpg", "..\\evil.jpg"])
def test_zip_members_outside_the_archive_are_refused(name: str, tmp_path: Path) -> None:
    message = refusal(write_zip(tmp_path / "x.zip", {**FLAT, name: b""}))
    assert "members with a path outside of the zip (1): " in message
    assert "evil.jpg" in message


def test_zip_bombs_repeats_and_unknown_packing_are_refused(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", {**FLAT, "hat/bomb.bmp": bytes(4 * 2**20)})
    assert "times their compressed size, as no photo is (1): hat/bomb.bmp; remove" in refusal(bomb)
    lzma = write_zip(tmp_path / "lzma.zip", FLAT, compression=zipfile.ZIP_LZMA)
    assert "compressed by a method other than" in refusal(lzma)
    twice = tmp_path / "twice.zip"
    with zipfile.ZipFile(twice, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name in ("hat/0.jpg", "hat/0.jpg", "dress/0.jpg"):
            archive.writestr(name, b"")
    assert "duplicate members (1): hat/0.jpg; pack the zip again" in refusal(twice)


def test_a_size_forged_in_the_directory_of_a_zip_is_found_on_reading(tmp_path: Path) -> None:
    def forge(content: bytearray) -> None:
        start = content.index(b"PK\x01\x02")
        content[start + 24 : start + 28] = struct.pack("<I", 3)

    dataset = open_dataset(patch_zip(write_zip(tmp_path / "x.zip", FLAT), forge))
    train = dataset.splits["train"]
    with pytest.raises(DataError, match="it unpacks to more than its 3 bytes"):
        train.read(train.sample_ids.index("hat/0.jpg"))


def forged_zip(path: Path, *, num_packed: int, offset: int) -> Path:
    """Write a zip whose first entry of the directory gives 64-bit numbers of bytes and of its place."""

    def forge(content: bytearray) -> None:
        start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
        content[start + 20 : start + 24] = content[start + 42 : start + 46] = b"\xff" * 4
        extra = struct.pack("<HHQQ", 1, 16, num_packed, offset)
        content[start + 30 : start + 32] = struct.pack("<H", len(extra))
        (directory_size,) = struct.unpack_from("<I", content, end + 12)
        content[end + 12 : end + 16] = struct.pack("<I", directory_size + len(extra))
        place = start + 46 + len("hat/0.jpg")
        content[place:place] = extra

    return patch_zip(write_zip(path, FLAT), forge)


@pytest.mark.parametrize(
    ("num_packed", "offset"), [(2**63, 0), (2**40, 0), (2**64 - 2, 0), (5, 2**63), (5, 2**64 - 2), (5, 10_000)]
)
def test_a_member_that_lies_beyond_the_end_of_a_zip_is_named(num_packed: int, offset: int, tmp_path: Path) -> None:
    message = refusal(forged_zip(tmp_path / "x.zip", num_packed=num_packed, offset=offset))
    assert message == (
        f"{tmp_path / 'x.zip'}: members that the directory puts beyond the end of the file (1): "
        "hat/0.jpg; copy or download it again."
    )


def test_a_member_of_a_huge_zip_that_claims_all_of_it_costs_no_memory(tmp_path: Path) -> None:
    path = forged_zip(tmp_path / "x.zip", num_packed=2**31, offset=0)
    content = bytearray(path.read_bytes())
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    content[end + 16 : end + 20] = struct.pack("<I", 3 * 2**30)
    with path.open("wb") as file:  # a hole before the directory: three gigabytes that take no place on the disk
        file.write(content[:start])
        file.seek(3 * 2**30)
        file.write(content[start:])
    tracemalloc.start()
    try:
        assert "members larger than 200,000,000 bytes (1): hat/0.jpg;" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_zip_that_shrinks_after_it_was_opened_is_named(tmp_path: Path) -> None:
    dataset = open_dataset(write_zip(tmp_path / "x.zip", {**FLAT, "hat/9.jpg": random.Random(0).randbytes(5_000)}))
    (tmp_path / "x.zip").write_bytes((tmp_path / "x.zip").read_bytes()[:2_000])
    train = dataset.splits["train"]
    with pytest.raises(
        DataError, match=r"x\.zip: hat/9\.jpg: this photo cannot be read from the zip: it is cut short\."
    ):
        train.read(train.sample_ids.index("hat/9.jpg"))


def test_links_in_a_zip_are_skipped(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", FLAT)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("hat/link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    dataset = open_dataset(path)
    assert dataset.splits["train"].sample_ids == tuple(sorted(FLAT))
    assert dataset.notes == ("1 skipped: hat/link.jpg (a link)",)


def test_the_zip_reader_agrees_with_zipfile(tmp_path: Path) -> None:
    photos = {f"{name}/{i}.jpg": random.Random(i).randbytes(i * 1_000) for name in ("a", "b") for i in range(5)}
    path = write_zip(tmp_path / "x.zip", photos)
    # Bytes in front, as in a self-extracting archive.
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    train = open_dataset(path).splits["train"]
    assert {sample_id: train.read(i) for i, sample_id in enumerate(train.sample_ids)} == photos


# --- Parquet ---------------------------------------------------------------------------------------------------------


def test_parquet_without_names_counts_its_classes(tmp_path: Path) -> None:
    rows = [(f"{i}.jpg", bytes([i]), i) for i in range(12)]
    dataset = open_dataset(write_parquet(tmp_path / "x.parquet", rows, names=None))
    assert dataset.class_names == tuple(str(i) for i in range(12))
    assert dataset.splits["train"].labels.tolist() == [
        int(sample_id.partition("/")[0]) for sample_id in dataset.splits["train"].sample_ids
    ]
    assert "no class names" in dataset.notes[0]


def test_parquet_labels_may_be_names_and_columns_may_be_declared(tmp_path: Path) -> None:
    rows = [("1.jpg", b"1", "hat"), ("2.jpg", b"2", "dress")]
    assert open_dataset(write_parquet(tmp_path / "x.parquet", rows, names=None)).class_names == ("dress", "hat")
    numbered = [("1.jpg", b"1", 0), ("2.jpg", b"2", 1)]
    other = write_parquet(tmp_path / "y.parquet", numbered, names=["hat", "dress"], columns=("img", "fine_label"))
    assert open_dataset(other).splits["train"].sample_ids == ("dress/2.jpg", "hat/1.jpg")
    plain = pa.table({"image": pa.array([b"1", b"2"]), "label": pa.array([0, 1], pa.int32())})
    pq.write_table(plain, tmp_path / "z.parquet")
    dataset = open_dataset(tmp_path / "z.parquet")
    assert sorted(dataset.splits["train"].read(i) for i in range(2)) == [b"1", b"2"]


def test_parquet_labels_out_of_range_are_all_named(tmp_path: Path) -> None:
    rows = [(f"{i}.jpg", b"", label) for i, label in enumerate([0, -1, 1, 2, None])]
    message = refusal(write_parquet(tmp_path / "x.parquet", rows, names=["a", "b"]))
    assert "3 labels are not in 0..1: row 1 (-1), row 3 (2), row 4 (empty)" in message


@pytest.mark.parametrize("labels", [[0.0, 1.5], [True, False]])
def test_parquet_labels_of_another_type_are_refused(labels: list[object], tmp_path: Path) -> None:
    rows = [(f"{i}.jpg", b"", label) for i, label in enumerate(labels)]
    assert "expected integers or class names" in refusal(write_parquet(tmp_path / "x.parquet", rows, names=None))


def test_parquet_without_the_columns_names_those_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"pixels": [1], "target": [2]}), tmp_path / "x.parquet")
    assert "no column 'image' (columns: pixels, target)" in refusal(tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": [b"x"], "target": [2]}), tmp_path / "x.parquet")
    assert "no column 'label' (columns: image, target)" in refusal(tmp_path / "x.parquet")
    pq.write_table(pa.table({"image": ["x.jpg"], "label": [2]}), tmp_path / "x.parquet")
    assert "column 'image' has type string; expected struct" in refusal(tmp_path / "x.parquet")


def test_broken_and_foreign_parquet_files_are_all_named(tmp_path: Path) -> None:
    root = split_as_parquet(tmp_path)
    whole = (root / "train.parquet").read_bytes()
    (root / "train.parquet").write_bytes(whole[: len(whole) // 2])
    (root / "test.parquet").write_bytes(b"")
    message = refusal(root)
    assert "train.parquet: this is not a complete Parquet file" in message
    assert "test.parquet: this is not a complete Parquet file" in message


def test_parquet_files_must_agree_and_be_complete(tmp_path: Path) -> None:
    root = split_as_parquet_shards(tmp_path)
    rows = [("1.jpg", b"", 0), ("2.jpg", b"", 1), ("3.jpg", b"", 2)]
    write_parquet(root / "data" / "test-00001-of-00002.parquet", rows, names=["x", "y", "z"])
    assert "test-00001-of-00002.parquet has other class names than" in refusal(root)
    (root / "data" / "test-00001-of-00002.parquet").unlink()
    assert "shards are missing: test-00001-of-00002.parquet" in refusal(root)
    shutil.copy(root / "data" / "test-00000-of-00002.parquet", root / "data" / "extra.parquet")
    assert "extra.parquet is not named after a split" in refusal(root)


def test_classes_that_training_lacks_are_refused(tmp_path: Path) -> None:
    names = ["a", "b", "c"]
    write_parquet(tmp_path / "train.parquet", [("1.jpg", b"", 0), ("2.jpg", b"", 1)], names=names)
    write_parquet(tmp_path / "test.parquet", [("1.jpg", b"", 0), ("2.jpg", b"", 2)], names=names)
    assert "test has classes that train lacks: c" in refusal(tmp_path)


def write_columns(path: Path, names: list[str], *columns: pa.Array) -> Path:
    pq.write_table(pa.Table.from_arrays(columns, names=names), path)
    return path


def images(paths: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays([pa.array([b"1", b"2"]), paths], ["bytes", "path"])


NOT_UTF8 = pa.array([b"hat.jpg", b"\xff.jpg"])


@pytest.mark.parametrize("paths", [NOT_UTF8, NOT_UTF8.cast(pa.large_binary()), NOT_UTF8.view(pa.string())], ids=str)
def test_parquet_paths_may_be_bytes_that_are_no_text(paths: pa.Array, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "x.parquet", ["image", "label"], images(paths), pa.array([0, 1]))
    train = open_dataset(path).splits["train"]
    assert train.sample_ids == ("0/hat.jpg", "1/\\xff.jpg")
    assert train.where(1) == f"{path}: row 1 (\\udcff.jpg)"
    assert (train.read(0), train.read(1)) == (b"1", b"2")


def test_parquet_labels_that_are_no_text_are_named(tmp_path: Path) -> None:
    for labels in (NOT_UTF8, NOT_UTF8.view(pa.string())):
        path = write_columns(tmp_path / "x.parquet", ["image", "label"], images(pa.array(["1", "2"])), labels)
        assert refusal(path) == (f"{path}: class name '\\udcff.jpg' is empty or has unprintable characters; rename it.")


def test_parquet_labels_may_be_categories(tmp_path: Path) -> None:
    labels, paths = pa.array(["shoe", "hat"]), pa.array(["1.jpg", "2.jpg"])
    plain = open_dataset(write_columns(tmp_path / "x.parquet", ["image", "label"], images(paths), labels))
    columns = (images(paths.dictionary_encode()), labels.dictionary_encode())
    path = write_columns(tmp_path / "y.parquet", ["image", "label"], *columns)
    assert pa.types.is_dictionary(pq.read_schema(path).field("label").type)
    assert contents(open_dataset(path)) == contents(plain)


@pytest.mark.parametrize("names", [["image", "image", "label"], ["label", "image", "label"]], ids=str)
def test_parquet_columns_that_come_twice_are_refused_and_others_do_not_matter(names: list[str], tmp_path: Path) -> None:
    kinds = {"image": images(pa.array(["1", "2"])), "label": pa.array([0, 1]), "other": pa.array([0, 1])}
    path = write_columns(tmp_path / "x.parquet", names, *(kinds[name] for name in names))
    twice = next(name for name in names if names.count(name) == 2)
    assert refusal(path) == f"{path}: column {twice!r} occurs twice; keep one."
    others = ["image", "other", "label", "other"]
    path = write_columns(path, others, *(kinds[name] for name in others))
    assert open_dataset(path).class_names == ("0", "1")


def test_parquet_paths_of_another_type_or_twice_are_refused(tmp_path: Path) -> None:
    numbers = images(pa.array([1, 2]))
    path = write_columns(tmp_path / "x.parquet", ["image", "label"], numbers, pa.array([0, 1]))
    assert "column 'image' has type struct<bytes: binary, path: int64>; expected struct" in refusal(path)
    twice = pa.StructArray.from_arrays([pa.array([b"1", b"2"]), *[pa.array(["1", "2"])] * 2], ["bytes", "path", "path"])
    assert "path: string, path: string>; expected" in refusal(
        write_columns(tmp_path / "x.parquet", ["image", "label"], twice, pa.array([0, 1]))
    )


@pytest.mark.parametrize("label", [100_000, 2**40, 2**63 - 1])
def test_huge_parquet_labels_are_named_at_once_and_make_no_classes(label: int, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "x.parquet", [("1.jpg", b"1", 0), ("2.jpg", b"2", label)], names=None)
    start = time.process_time()
    assert refusal(path) == (
        f"{path}: 1 label is not in 0..99999, the limit without class names: row 1 ({label}); "
        "correct or remove these rows."
    )
    assert time.process_time() - start < 1.0


def test_tens_of_thousands_of_class_names_and_shards_take_no_time(tmp_path: Path) -> None:
    names = [f"class {index}" for index in range(50_000)]
    path = write_parquet(tmp_path / "x.parquet", [("1.jpg", b"1", 0), ("2.jpg", b"2", 1)], names=names)
    start = time.process_time()
    assert len(open_dataset(path).class_names) == 50_000
    for split in ("train", "test"):
        shutil.copy(path, tmp_path / f"{split}-0-of-9999999999.parquet")
    path.unlink()
    open_dataset(tmp_path)
    assert time.process_time() - start < 5.0


def test_a_broken_parquet_file_is_named_once_in_one_sentence(tmp_path: Path) -> None:
    root = split_as_parquet(tmp_path)
    (root / "test.parquet").write_bytes(b"")
    for source, where in ((root / "test.parquet", ""), (root, "test.parquet: ")):
        assert refusal(source) == (
            f"{source}: {where}this is not a complete Parquet file (Parquet file size is 0 bytes); copy or download it again."
        )


def test_repeated_class_names_are_refused(tmp_path: Path) -> None:
    rows = [("1.jpg", b"", 0), ("2.jpg", b"", 1)]
    assert "several labels share a class name: a" in refusal(
        write_parquet(tmp_path / "x.parquet", rows, names=["a", "a"])
    )


def test_a_row_without_bytes_is_named_when_it_is_read(tmp_path: Path) -> None:
    rows = [("1.jpg", b"1", 0), ("2.jpg", None, 1)]
    dataset = open_dataset(write_parquet(tmp_path / "x.parquet", rows, names=["a", "b"]))
    with pytest.raises(DataError, match=r"row 1 \(2\.jpg\): this row has no image bytes"):
        dataset.splits["train"].read(1)


def test_random_access_unpacks_each_row_group_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"{i:04}.jpg", bytes([i % 251]) * 10, i % 2) for i in range(1_000)]
    dataset = open_dataset(write_parquet(tmp_path / "x.parquet", rows, names=["a", "b"], row_group_size=50))
    unpacked = []
    original = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, *arguments: object, **options: object) -> pa.Table:
        unpacked.append(group)
        return original(self, group, *arguments, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    train = dataset.splits["train"]
    for index in random.Random(0).sample(range(1_000), 1_000):
        number = int(train.sample_ids[index].partition("/")[2][:4])
        assert train.read(index) == bytes([number % 251]) * 10
    assert sorted(unpacked) == list(range(20))


# --- CSV -------------------------------------------------------------------------------------------------------------


def test_all_faulty_rows_of_a_table_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a/1.jpg": b"", "b/1.jpg": b"", "b/2.jpg": b""})
    (tmp_path / "c.jpg").mkdir()
    lines = [
        "path,label,split",
        "a/1.jpg,a,train",
        "a/gone.jpg,a,train",
        "b/1.jpg,,train",
        ",b,train",
        "b/2.jpg,b,holdout",
        "",
        "c.jpg,a,train",
        "b/1.jpg,b",
        "a/\0.jpg,a,train",
        "./a/1.jpg,b,test",
        f"{'x' * 5_000}\\1.jpg,a,train",
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    message = refusal(tmp_path / "t.csv")
    for fragment in (
        "row 3: a/gone.jpg: no such file",
        "row 4: the label of b/1.jpg is empty",
        "row 5: the path is empty",
        "row 6: the split is 'holdout'; expected train, validation",
        "row 8: c.jpg: a folder",
        "row 9: has 2 cells; the header has 3",
        "row 10: contains a NUL",
        "rows 2, 11 name the same photo, a/1.jpg",
        "x\\1.jpg: file name too long",
    ):
        assert fragment in message, fragment
    assert "9 problems" in message


def test_many_faulty_rows_are_counted_beyond_a_limit(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", [("path", "label"), *((f"{i}.jpg", "a") for i in range(500))])
    message = refusal(table)
    assert "500 problems" in message
    assert "and 450 more" in message
    assert len(message.splitlines()) < 60


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"", "missing columns: path, label"),
        (b"file,label\n1.jpg,a\n", "missing column: path; the first line is 'file,label'"),
        (b"path;label\n1.jpg;a\n", "separated by commas"),
        (b"path,label,path\n", "column path occurs twice"),
        (b"path,label\n", "no rows below the header"),
        (b"path,label\n\xff\xfe.jpg,a\n", "not UTF-8"),
        (b'path,label\n"1.jpg,a\n', "Check its quotation marks"),
        (b"path,label\n" + b"x" * 200_000 + b",a\n", "cannot be read as CSV"),
    ],
)
def test_tables_that_cannot_be_read_say_why(content: bytes, fragment: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    assert fragment in refusal(tmp_path / "t.csv")


def test_splits_of_a_table_must_have_the_same_classes(tmp_path: Path) -> None:
    write_folder(tmp_path, dict.fromkeys(("1.jpg", "2.jpg", "3.jpg"), b""))
    rows = [("path", "label", "split"), ("1.jpg", "a", "train"), ("2.jpg", "b", "train"), ("3.jpg", "c", "val")]
    message = refusal(write_table(tmp_path / "t.csv", rows))
    assert "train lacks c, which validation has" in message
    assert "validation lacks a, b, which train has" in message


def test_a_table_whose_first_column_begins_like_a_zip_is_a_table(tmp_path: Path) -> None:
    write_folder(tmp_path, {"1.jpg": b"1", "2.jpg": b"2"})
    rows = [("PK", "path", "label"), ("1", "1.jpg", "a"), ("2", "2.jpg", "b")]
    assert open_dataset(write_table(tmp_path / "t.csv", rows)).class_names == ("a", "b")


def test_tables_take_quotes_absolute_paths_and_photos_beside_them(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", {"a, b.jpg": b"1", 'say "x".jpg': b"2"})
    rows = [("label", "path"), (" one ", "../photos/a, b.jpg"), ("two", str(tmp_path / "photos" / 'say "x".jpg'))]
    dataset = open_dataset(write_table(tmp_path / "tables" / "t.csv", rows))
    assert {label: content for _, label, content in contents(dataset)["train"]} == {"one": b"1", "two": b"2"}


# --- other doors -----------------------------------------------------------------------------------------------------


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


# --- holding out -----------------------------------------------------------------------------------------------------


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
