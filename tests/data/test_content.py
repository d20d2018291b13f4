"""The digest by which a data set is known again without decoding it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.training.small_runs import write_photos

from allmlp.data import fingerprint, open_dataset


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", per_class=3)


def of(path: Path) -> str | None:
    return fingerprint(open_dataset(path))


def rewrite(photo: Path) -> None:
    """Change one byte and give the file its modification time back, as a copying program may."""
    times = photo.stat()
    content = bytearray(photo.read_bytes())
    content[-20] ^= 1
    photo.write_bytes(content)
    os.utime(photo, ns=(times.st_atime_ns, times.st_mtime_ns))


def replace(photo: Path) -> None:
    content = photo.read_bytes()
    photo.unlink()
    photo.write_bytes(content + b"0")


def move_to_another_class(photo: Path) -> None:
    photo.rename(photo.parents[1] / "red" / "new.png")


def test_a_data_set_that_is_left_alone_keeps_its_fingerprint(photos: Path) -> None:
    assert of(photos) == of(photos) is not None


@pytest.mark.parametrize("change", [rewrite, replace, move_to_another_class, Path.unlink])
def test_a_photo_that_changes_changes_the_fingerprint(photos: Path, change: Callable[[Path], object]) -> None:
    before = of(photos)
    change(photos / "train" / "blue" / "01.png")
    assert of(photos) != before


def test_a_zip_that_changes_changes_the_fingerprint(photos: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "photos"), "zip", photos))
    before = of(archive)
    assert of(archive) == before is not None
    archive.write_bytes(archive.read_bytes())
    assert of(archive) != before


def test_photos_that_cannot_be_examined_have_none(photos: Path) -> None:
    dataset = open_dataset(photos)
    shutil.rmtree(photos)
    assert fingerprint(dataset) is None
