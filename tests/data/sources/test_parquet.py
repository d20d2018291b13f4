"""Parquet files of photos: columns and labels of any writer, and every fault by its row."""

import json
import random
import shutil
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.data.photo_sources import (
    contents,
    refusal,
    split_as_parquet,
    split_as_parquet_shards,
    write_parquet,
)

from allmlp.data import open_dataset
from allmlp.errors import DataError


def test_a_single_parquet_file_named_after_a_split_is_that_split(tmp_path: Path) -> None:
    rows = [("0.jpg", b"a", 0), ("1.jpg", b"b", 1)]
    assert [*open_dataset(write_parquet(tmp_path / "test.parquet", rows, names=["a", "b"])).splits] == ["test"]


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


@pytest.mark.parametrize("content", [pa.binary(), pa.large_binary(), pa.binary_view()], ids=str)
@pytest.mark.parametrize("text", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("is_struct", [True, False])
def test_every_type_of_bytes_and_of_text_is_read(
    content: pa.DataType, text: pa.DataType, is_struct: bool, tmp_path: Path
) -> None:
    image = pa.array([b"1", b"2"], content)
    if is_struct:
        image = pa.StructArray.from_arrays([image, pa.array(["a.jpg", "b.jpg"], text)], names=["bytes", "path"])
    pq.write_table(pa.table({"image": image, "label": pa.array(["hat", "dress"], text)}), tmp_path / "x.parquet")
    dataset = open_dataset(tmp_path / "x.parquet")
    assert dataset.class_names == ("dress", "hat")
    assert [dataset.splits["train"].read(index) for index in range(2)] == [b"2", b"1"]


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
    assert "train lacks 'c', which test has" in refusal(tmp_path)


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
        assert refusal(path) == (
            f"{path}: class name '\\udcff.jpg' is not text in utf-8, the encoding in use; rename it."
        )


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
        f"{path}: 1 label is not in 0..99999, the limit without class names: row 1 ({label}); correct or remove these rows.\n"
        'note: no class names in the Parquet file; the classes are named after their labels, "0", "1", ...'
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
    assert "several labels share a class name: 'a'" in refusal(
        write_parquet(tmp_path / "x.parquet", rows, names=["a", "a"])
    )


def test_a_row_without_bytes_is_named_when_it_is_read(tmp_path: Path) -> None:
    rows = [("1.jpg", b"1", 0), ("2.jpg", None, 1)]
    dataset = open_dataset(write_parquet(tmp_path / "x.parquet", rows, names=["a", "b"]))
    with pytest.raises(DataError, match=r"row 1 \(2\.jpg\): this row has no image bytes"):
        dataset.splits["train"].read(1)


def test_shuffled_reads_unpack_little_more_than_the_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(0)
    contents_of = [generator.randbytes(20_000) for _ in range(300)]
    rows = [(f"{i:04}.jpg", content, i % 2) for i, content in enumerate(contents_of)]
    dataset = open_dataset(write_parquet(tmp_path / "x.parquet", rows, names=["a", "b"], row_group_size=100))
    train = dataset.splits["train"]
    for group in range(3):
        train.read(100 * group)  # finds where the photos of the row group are
    unpacked = []
    original = pa.decompress

    def counted(data: bytes, **options: object) -> bytes:
        unpacked.append(options["decompressed_size"])
        return original(data, **options)

    monkeypatch.setattr(pa, "decompress", counted)
    monkeypatch.setattr(pq, "read_metadata", None)  # nor is the footer read again
    for index in generator.sample(range(300), 300):
        number = int(train.sample_ids[index].partition("/")[2][:4])
        assert train.read(index) == contents_of[number]
    assert sum(unpacked) < 300 * (20_000 + 2 * 2**16)  # snappy's blocks at both ends


def test_a_photo_of_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    rows = [("1.jpg", b"1", 0), ("2.jpg", b"2", 1)]
    path = write_parquet(tmp_path / "x.parquet", rows, names=["a", "b"])
    train = open_dataset(path).splits["train"]
    write_parquet(path, [*rows, ("3.jpg", b"3", 1)], names=["a", "b"])
    with pytest.raises(DataError, match=r"row 0 \(1\.jpg\): .*the file has changed since it was opened"):
        train.read(0)


def test_many_row_groups_take_linear_time(tmp_path: Path) -> None:
    seconds = []
    for count in (300, 1_200):
        rows = [(f"{i}.jpg", b"%d" % i, i % 2) for i in range(count)]
        path = write_parquet(tmp_path / f"{count}.parquet", rows, names=["a", "b"], row_group_size=1)
        start = time.process_time()
        train = open_dataset(path).splits["train"]
        assert sorted(int(train.read(index)) for index in train.storage_order()) == list(range(count))
        seconds.append(time.process_time() - start)
    assert seconds[1] < 8 * seconds[0] + 0.5  # 16 times as long if quadratic; 4 times if linear


@pytest.mark.parametrize(
    ("names", "shown"), [([["a"], {}], "['a']"), (5, "5"), ({"0": "a"}, "'0'"), ("ab", "'ab'"), ([1, 2], "[1, 2]")]
)
def test_class_names_that_are_not_texts_are_refused(names: object, shown: str, tmp_path: Path) -> None:
    message = refusal(write_described(tmp_path, json.dumps({"info": {"features": {"label": {"names": names}}}})))
    assert "the class names of column 'label' are not a list of texts" in message
    assert shown in message


@pytest.mark.parametrize(
    "metadata",
    [b"[" * 100_000, b"\xff\xfe", b'{"info": ' * 50_000, b"1" * 5_000, b"null", b'{"info": {"features": 7}}'],
)
def test_a_description_of_another_kind_is_ignored(metadata: bytes, tmp_path: Path) -> None:
    assert open_dataset(write_described(tmp_path, metadata)).class_names == ("0", "1")


def write_described(folder: Path, metadata: str | bytes) -> Path:
    table = pa.table({"image": pa.array([b"1", b"2"]), "label": pa.array([0, 1])})
    pq.write_table(table.replace_schema_metadata({"huggingface": metadata}), folder / "x.parquet")
    return folder / "x.parquet"


@pytest.mark.parametrize("number", [3, 5, 8, 200, -39])  # LZO, Hadoop's LZ4, and none
def test_an_unknown_compression_is_refused_and_does_not_end_the_process(number: int, tmp_path: Path) -> None:
    rows = [("1.jpg", b"1", 0), ("2.jpg", b"2", 1)]
    path = write_parquet(tmp_path / "x.parquet", rows, names=["a", "b"])
    content = bytearray(path.read_bytes())
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    codec = content.index(b"image\x05bytes\x15", start) + 12  # the value after the path in the schema
    zigzag = 2 * number if number >= 0 else -2 * number - 1
    encoded = bytes([zigzag]) if zigzag < 128 else bytes([zigzag & 127 | 128, zigzag >> 7])
    content[codec : codec + 1] = encoded
    content[-8:-4] = (int.from_bytes(content[-8:-4], "little") + len(encoded) - 1).to_bytes(4, "little")
    path.write_bytes(content)
    assert f"the compression number {number} is not supported" in refusal(path)
