"""Shards as they are written: their bytes, their size, and other programs that read them."""

import hashlib
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.data.photo_sources import SPLIT, contents, write_folder

from allmlp.data import ImageDataset, check_photos, open_dataset, write_shards
from allmlp.errors import ConfigError, DataError

# webdataset leaves its files to the garbage collector.
UNCLOSED = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def encoded(number: int, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(content, kind)
    return content.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> ImageDataset:
    photos = {
        f"{split}/{name}/{number}.png": encoded(10 * number + len(name))
        for split in ("train", "test")
        for name in ("cat", "mouse")
        for number in range(6)
    }
    return open_dataset(write_folder(tmp_path / "photos", photos))


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def test_bytes_depend_on_the_photos_only(dataset: ImageDataset, tmp_path: Path) -> None:
    written = write_shards(dataset, tmp_path / "one", shard_bytes=20_000)
    other = open_dataset(tmp_path / "one")
    (tmp_path / "photos").rename(tmp_path / "moved")
    write_shards(other, tmp_path / "two", shard_bytes=20_000)
    assert files_in(tmp_path / "one") == files_in(tmp_path / "two")
    assert sorted(files_in(tmp_path / "one")) == sorted(
        ["classes.txt", "shards.json", *(s.name for s in written.shards)]
    )
    for shard in written.shards:
        path = tmp_path / "one" / shard.name
        assert shard.size == path.stat().st_size <= 20_000
        assert shard.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(shard.num_photos for shard in written.shards) == 24
    assert written.num_bytes == sum(shard.size for shard in written.shards)


def test_a_shard_is_what_tarfile_would_write(dataset: ImageDataset, tmp_path: Path) -> None:
    write_shards(dataset, tmp_path / "shards")
    path = tmp_path / "shards" / "train-000000.tar"
    again = io.BytesIO()
    with tarfile.open(path) as archive, tarfile.open(fileobj=again, mode="w", format=tarfile.USTAR_FORMAT) as copy:
        members = archive.getmembers()
        for member in members:
            copy.addfile(member, archive.extractfile(member))
        facts = json.load(archive.extractfile("000000000.json"))  # type: ignore[arg-type]
        label = archive.extractfile("000000000.cls").read()  # type: ignore[union-attr]
    assert again.getvalue() == path.read_bytes()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert facts == {"class_name": facts["class_name"], "label": int(label), "sample_id": facts["sample_id"]}
    assert dataset.class_names[int(label)] == facts["class_name"] == facts["sample_id"].partition("/")[0]


def test_classes_are_mixed_and_extensions_are_those_of_the_content(tmp_path: Path) -> None:
    photos = {f"{name}/{number}.jpg": encoded(number, "WEBP") for name in ("a", "b") for number in range(50)}
    photos["a/broken.JPG"] = b"no photo"
    write_shards(open_dataset(write_folder(tmp_path / "photos", photos)), tmp_path / "shards")
    with tarfile.open(tmp_path / "shards" / "train-000000.tar") as archive:
        names = archive.getnames()
        labels = "".join(archive.extractfile(name).read().decode() for name in names if name.endswith(".cls"))  # type: ignore[union-attr]
    assert sum(name.endswith(".webp") for name in names) == 100
    assert sum(name.endswith(".jpg") for name in names) == 1
    assert 25 < sum(one != other for one, other in itertools.pairwise(labels)) < 75


def test_a_heic_photo_is_a_sample_also_where_it_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.data.decoding.more_formats.has_heic", lambda: False)
    monkeypatch.setattr("allmlp.data.decoding.decode.has_heic", lambda: False)
    photos = {"a/phone.jpg": b"\0\0\0\x18ftypheic" + bytes(40), "a/1.png": encoded(1)}
    write_shards(open_dataset(write_folder(tmp_path / "photos", photos)), tmp_path / "shards")
    with tarfile.open(tmp_path / "shards" / "train-000000.tar") as archive:
        assert any(name.endswith(".heic") for name in archive.getnames())
    dataset = open_dataset(tmp_path / "shards")
    assert contents(dataset) == contents(open_dataset(tmp_path / "photos"))
    with pytest.raises(DataError, match=r"1 of 2 photos cannot be used.*\n.*this is a HEIC image"):
        check_photos(dataset, splits=("train",))


def test_one_photo_that_is_larger_than_a_shard_has_its_own(tmp_path: Path) -> None:
    photos = {f"a/{number}.jpg": bytes([number]) * 30_000 for number in range(3)}
    write_shards(open_dataset(write_folder(tmp_path / "photos", photos)), tmp_path / "shards", shard_bytes=1000)
    assert len(list((tmp_path / "shards").glob("*.tar"))) == 3
    assert contents(open_dataset(tmp_path / "shards")) == contents(open_dataset(tmp_path / "photos"))


def test_a_folder_that_is_not_empty_stays_as_it_is(dataset: ImageDataset, tmp_path: Path) -> None:
    write_folder(tmp_path / "full", {"mine.txt": b"mine"})
    with pytest.raises(ConfigError, match="could not be written"):
        write_shards(dataset, tmp_path / "full")
    assert files_in(tmp_path / "full") == {"mine.txt": b"mine"}


def test_a_photo_that_cannot_be_read_leaves_nothing(dataset: ImageDataset, tmp_path: Path) -> None:
    (tmp_path / "photos" / "test" / "cat" / "3.png").unlink()
    with pytest.raises(DataError, match=r"test/cat/3\.png: this photo cannot be read"):
        write_shards(dataset, tmp_path / "shards")
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


SLOW = """
import sys, time
from pathlib import Path
from allmlp.data import open_dataset, write_shards
def progress(done, total):
    print(done, flush=True)
    time.sleep(0.05)
write_shards(open_dataset(sys.argv[1]), Path(sys.argv[2]), shard_bytes=1000, progress=progress)
"""


@pytest.mark.skipif(os.name != "posix", reason="kills processes")
@pytest.mark.parametrize("num_shards", [1, 5, 9])
def test_after_a_kill_there_is_no_folder_and_the_next_run_writes_all(num_shards: int, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "photos", SPLIT)
    command = [sys.executable, "-c", SLOW, str(folder), str(tmp_path / "shards")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(num_shards):
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "shards").exists()
    assert [path.name for path in tmp_path.glob(".shards.*.part")]
    write_shards(open_dataset(folder), tmp_path / "shards", shard_bytes=1000)
    assert contents(open_dataset(tmp_path / "shards")) == contents(open_dataset(folder))


def expected_samples(dataset: ImageDataset, split: str) -> list[tuple[str, int, bytes]]:
    chosen = dataset.splits[split]
    rows = zip(chosen.sample_ids, chosen.labels.tolist(), range(len(chosen)), strict=True)
    return sorted((sample_id, label, chosen.read(index)) for sample_id, label, index in rows)


@UNCLOSED
def test_webdataset_reads_the_shards(dataset: ImageDataset, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    write_shards(dataset, tmp_path / "shards", shard_bytes=20_000)
    for split in dataset.splits:
        urls = sorted(str(path) for path in (tmp_path / "shards").glob(f"{split}-*.tar"))
        assert len(urls) > 1
        raw = webdataset.WebDataset(urls, shardshuffle=False)
        found = [(json.loads(s["json"])["sample_id"], int(s["cls"]), s["png"]) for s in raw]
        assert sorted(found) == expected_samples(dataset, split)
        decoded = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("png", "cls", "json"))
        assert all(isinstance(image, Image.Image) and label == facts["label"] for image, label, facts in decoded)


@UNCLOSED
def test_what_webdataset_writes_is_read(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    (tmp_path / "shards").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "shards" / "train-%06d.tar"), maxcount=4, verbose=0) as writer:
        for number in range(10):
            writer.write({"__key__": f"n{number % 2}/{number:04}", "jpg": encoded(number, "JPEG"), "cls": number % 2})
    found = open_dataset(tmp_path / "shards")
    assert found.class_names == ("0", "1")
    assert contents(found)["train"] == [
        (f"{number % 2}/n{number % 2}/{number:04}.jpg", str(number % 2), encoded(number, "JPEG"))
        for number in (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
    ]


@pytest.mark.filterwarnings("default")  # those of other programs
def test_hugging_face_datasets_reads_the_shards(
    dataset: ImageDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    write_shards(dataset, tmp_path / "shards", shard_bytes=20_000)
    open_dataset(tmp_path / "shards")  # writes an index, which is none of its business
    loaded = datasets.load_dataset(str(tmp_path / "shards"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == set(dataset.splits)
    for split in loaded:
        rows = loaded[split].cast_column("png", datasets.Image(decode=False))
        found = [(row["json"]["sample_id"], row["cls"], row["png"]["bytes"]) for row in rows]
        assert sorted(found) == expected_samples(dataset, split)
