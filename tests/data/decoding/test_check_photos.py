"""check_photos: every photo that cannot be used is known, by name, before anything is trained."""

import dataclasses
import gc
import io
import os
import shutil
import threading
import zipfile
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from allmlp.data import FileReader, ImageDataset, Split, check_photos, open_dataset, with_digests
from allmlp.errors import DataError


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write_photos(root: Path, *, per_class: int = 6) -> Path:
    for split in ("train", "test"):
        for number, name in enumerate(("cat", "dog")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(per_class):
                (folder / f"{index}.jpg").write_bytes(jpeg(100 * number + index))
    return root


def refusal(root: Path, *, splits: tuple[str, ...] = ("train", "test"), num_workers: int = 0) -> str:
    with pytest.raises(DataError) as caught:
        check_photos(open_dataset(root), splits=splits, num_workers=num_workers)
    return str(caught.value)


def test_good_photos_pass_and_progress_counts_each_once(tmp_path: Path) -> None:
    dataset = open_dataset(write_photos(tmp_path))
    for num_workers in (0, 2):
        seen: list[tuple[int, int]] = []
        threads = set()

        def progress(done: int, total: int, seen: list[tuple[int, int]] = seen, threads: set[int] = threads) -> None:
            seen.append((done, total))
            threads.add(threading.get_ident())

        check_photos(dataset, splits=("train", "test"), num_workers=num_workers, progress=progress)
        assert seen == [(done, 24) for done in range(1, 25)]
        assert threads == {threading.get_ident()}


@pytest.mark.parametrize("num_workers", [0, 3])
def test_every_broken_photo_is_named_with_its_reason_in_one_error(tmp_path: Path, num_workers: int) -> None:
    root = write_photos(tmp_path / "photos")
    whole = (root / "train" / "cat" / "0.jpg").read_bytes()
    (root / "train" / "cat" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "train" / "dog" / "3.jpg").write_bytes(b"<html>not found</html>")
    (root / "train" / "dog" / "5.jpg").write_bytes(b"")
    (root / "test" / "dog" / "1.jpg").write_bytes(whole[:-2])
    lines = refusal(root, num_workers=num_workers).splitlines()
    assert (
        lines[0] == "4 of 24 photos cannot be used. Replace or remove them, or leave them out with --bad-photos skip:"
    )
    for line, (path, reason) in zip(
        lines[1:],
        [
            ("train/cat/0.jpg", "cut short"),
            ("train/dog/3.jpg", "a web page"),
            ("train/dog/5.jpg", "empty"),
            ("test/dog/1.jpg", "end-of-image marker is missing"),
        ],
        strict=True,
    ):
        assert line.startswith(f"  {root / path}: ")
        assert reason in line
        assert "Replace or remove this file" not in line  # the first line says it for all


def test_changed_photos_of_a_run_are_not_to_be_replaced_or_left_out(tmp_path: Path) -> None:
    dataset = open_dataset(write_photos(tmp_path))
    split = with_digests(dataset.splits["train"], [""] * len(dataset.splits["train"]))
    dataset = dataclasses.replace(dataset, splits={"train": split})
    check_photos(dataset, splits=("train",))
    shutil.copy(tmp_path / "train" / "dog" / "1.jpg", tmp_path / "train" / "cat" / "1.jpg")
    with pytest.raises(DataError) as caught:
        check_photos(dataset, splits=("train",))
    first, line = str(caught.value).splitlines()
    assert first == "1 of 12 photos cannot be used:"
    assert line.endswith(
        "cat/1.jpg: this photo has changed since the run started: its name is the same, its bytes are not. "
        "Restore it, or start a new run."
    )


def test_few_photos_of_a_large_set_are_waiting_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(jpeg(0))
    count = 1_000
    waiting: list[int] = []

    def look(done: int, total: int) -> None:
        if done == total // 2:
            waiting.append(sum(type(thing) is Future for thing in gc.get_objects()))

    split = Split(tuple(map(str, range(count))), np.zeros(count, np.int64), FileReader(tmp_path, ("x.jpg",) * count))
    gc.freeze()  # what other tests made is not looked at
    try:
        check_photos(ImageDataset(("a",), {"train": split}, "x", ()), splits=("train",), num_workers=2, progress=look)
    finally:
        gc.unfreeze()
    (num_waiting,) = waiting
    assert 0 < num_waiting < 100


def test_only_the_splits_asked_for_are_checked(tmp_path: Path) -> None:
    root = write_photos(tmp_path)
    (root / "test" / "dog" / "1.jpg").write_bytes(b"")
    check_photos(open_dataset(root), splits=("train",))
    assert refusal(root, splits=("test",)).startswith("1 of 12 photos")


def test_a_long_list_is_counted_beyond_fifty(tmp_path: Path) -> None:
    root = write_photos(tmp_path, per_class=40)
    for path in root.rglob("*.jpg"):
        path.write_bytes(b"")
    lines = refusal(root).splitlines()
    assert (
        lines[0]
        == "160 of 160 photos cannot be used. Replace or remove them, or leave them out with --bad-photos skip:"
    )
    assert len(lines) == 52
    assert lines[-1] == "  ... and 110 more"


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_photos_that_vanish_or_become_pipes_are_named_without_hanging(tmp_path: Path) -> None:
    dataset = open_dataset(write_photos(tmp_path))
    (tmp_path / "train" / "cat" / "1.jpg").unlink()
    (tmp_path / "train" / "cat" / "2.jpg").unlink()
    os.mkfifo(tmp_path / "train" / "cat" / "2.jpg")
    with pytest.raises(DataError) as caught:
        check_photos(dataset, splits=("train",))
    assert "cat/1.jpg: this photo cannot be read: no such file" in str(caught.value)
    assert "cat/2.jpg: this photo cannot be read: not a regular file" in str(caught.value)


def test_damage_inside_a_zip_is_named_by_member(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "photos")
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(root.rglob("*.jpg")):
            archive.write(file, file.relative_to(root))
    content = bytearray(path.read_bytes())
    start = content.index(b"train/dog/2.jpg") + 200  # a bit inside compressed data decodes, but not by its checksum
    content[start] ^= 1
    path.write_bytes(content)
    lines = refusal(path).splitlines()
    assert (
        lines[0] == "1 of 24 photos cannot be used. Replace or remove them, or leave them out with --bad-photos skip:"
    )
    assert lines[1].startswith(
        f"  {path}: train/dog/2.jpg: this photo cannot be read from the zip: the checksum is wrong"
    )


def test_the_embedded_photos_are_all_whole() -> None:
    check_photos(open_dataset("clothing"), splits=("train", "test"), num_workers=2)
