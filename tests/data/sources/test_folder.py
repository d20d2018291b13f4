"""Folders of photos: what is ignored, skipped with a reason, or refused with all faults at once."""

import os
import time
import zipfile
from pathlib import Path

import pytest
from tests.data.photo_sources import FLAT, SPLIT, refusal, write_folder, write_zip

from allmlp.data import open_dataset
from allmlp.errors import DataError


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
    (root / "robe").symlink_to(root / "dress")
    dataset = open_dataset(root)
    sample_ids = set(dataset.splits["train"].sample_ids)
    assert {"hat/a/more.jpg", "hat/a/deep/most.jpg"} <= sample_ids or {"hat/b/more.jpg"} <= sample_ids
    note, merged = dataset.notes
    assert merged.startswith("sub-folders merged into their classes: a/ in 1 class")
    assert dataset.class_names == ("dress", "hat", "shoes")
    for fragment in (
        "robe (a link to dress/ next to it)",
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
    assert dataset.notes == (
        "ignored folders next to the splits: unlabelled",
        "sub-folders merged into their classes: long/ in 1 class",
    )


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


def test_one_class_of_several_is_told_to_use_the_folder_above(tmp_path: Path) -> None:
    hint = f"if rose is one of the classes, choose the folder above it: {tmp_path}"
    rose = write_folder(tmp_path / "rose", {"1.jpg": b"", "2.jpg": b""})
    assert "choose the folder above" not in refusal(rose)
    write_folder(tmp_path / "daisy", {"1.jpg": b""})
    assert hint in refusal(rose)


def test_all_faults_of_a_folder_are_named_at_once(tmp_path: Path) -> None:
    more = {"test/loose.jpg": b"", "train/Hat/1.jpg": b"", "test/scarf/1.jpg": b"", "valid/hat/1.jpg": b""}
    root = write_folder(tmp_path, {**SPLIT, **more})
    (root / "train" / "gloves").mkdir()
    (root / "dev").mkdir()
    message = refusal(root)
    for fragment in (
        "valid/ and validation/ both name the validation split",
        "note: class folders without photos are left out: train/gloves/",
        "1 photo is directly in test/",
        "train lacks 'scarf', which test has; add photos of them to train, or remove them from test",
        "class names that differ only by case: 'Hat', 'hat'; rename or merge these classes",
        "note: left out: dev/ holds no photos",
    ):
        assert fragment in message, fragment


def test_an_empty_split_folder_is_left_out_with_a_note(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train/a/1.jpg": b"", "train/b/1.jpg": b""})
    (root / "test").mkdir()
    dataset = open_dataset(root)
    assert [*dataset.splits] == ["train"]
    assert dataset.notes == ("left out: test/ holds no photos",)
    assert dataset.left_out == {"test": "test/ holds no photos"}


PHONE_FORMATS = Path(__file__).parents[2] / "cases" / "layouts" / "phone_formats.zip"


@pytest.mark.parametrize("is_zip", [True, False])
def test_photos_that_cannot_be_read_are_counted_by_class_and_format(tmp_path: Path, is_zip: bool) -> None:
    if not is_zip:
        with zipfile.ZipFile(PHONE_FORMATS) as archive:
            archive.extractall(tmp_path / "phone")
    dataset = open_dataset(PHONE_FORMATS if is_zip else tmp_path / "phone")
    assert len(dataset.splits["train"]) == 11
    assert dataset.notes == (
        "5 photos of leaf cannot be read: 4 AVIF, 1 HEIC; to read them, pip install 'allmlp[heic]', or convert them to JPEG",
    )


@pytest.mark.parametrize(
    ("names", "counts"),
    [
        (["a.HEIC", "b.heif", "c.hif"], "3 HEIC"),
        (["a.cr2", "b.NEF", "c.dng", "d.jxl"], "3 RAW, 1 JPEG XL"),
        (["a.jp2"], "1 JPEG 2000"),
    ],
)
def test_a_class_of_photos_that_cannot_be_read_is_named_as_that(tmp_path: Path, names: list[str], counts: str) -> None:
    for path in ("cat/x.jpg", *(f"dog/{name}" for name in names)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    assert f"of dog cannot be read: {counts}; " in str(caught.value)
    assert "add photos" not in str(caught.value)
    (tmp_path / "cat" / "x.jpg").unlink()
    with pytest.raises(DataError, match=f"no photos found.\n.*of dog cannot be read: {counts}; "):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["a.jfif", "a.JPE", "a.jif", "a.dib", "a.apng", "a.mpo", "a.TIF"])
def test_every_extension_of_a_format_that_is_read_counts(tmp_path: Path, name: str) -> None:
    for path in (f"cat/{name}", "dog/x.jpg"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(b"")
    assert len(open_dataset(tmp_path).splits["train"]) == 2


@pytest.mark.parametrize("name", ["train.zip", "data/photos.tar.gz", "Photos.RAR", "a.7z"])
def test_a_folder_of_archives_is_told_to_unpack_them(name: str, tmp_path: Path) -> None:
    message = refusal(write_folder(tmp_path / "photos", {name: b"", ".hidden.zip": b""}))
    assert f"no photos found.\nUnpack {name} first; a single zip of photos can be given itself.\n" in message
