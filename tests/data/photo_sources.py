"""The same photos as a folder, a zip, Parquet files and a table, for tests of whatever reads them."""

import csv
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from allmlp.data import ImageDataset, open_dataset
from allmlp.errors import DataError

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


def write_tar(
    path: Path, members: Iterable[tuple[str, bytes] | tarfile.TarInfo], *, form: int = tarfile.USTAR_FORMAT
) -> Path:
    """Write a tar of files, and of members without data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
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
