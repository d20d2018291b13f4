"""A lack of memory, open files or the disk while photos are read: reported as such, and no photo is left out for it."""

import errno
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.data.photo_sources import write_parquet
from tests.training.small_runs import write_photos

from allmlp import DataError, open_dataset
from allmlp.data import FileReader, ImageDataset, ShortageError, check, list_folder, skip_bad_photos, unnamed_photos
from allmlp.data.decoding.check_photos import check_photos
from allmlp.data.sources.file_reader import file_problem

ERRORS = {
    "memory": (MemoryError, "not enough memory"),
    "open files": (partial(OSError, errno.EMFILE, os.strerror(errno.EMFILE)), "too many files are open"),
    "the disk": (partial(OSError, errno.EIO, os.strerror(errno.EIO)), "the disk, or the network, does not answer"),
    "the system's memory": (partial(OSError, errno.ENOMEM, os.strerror(errno.ENOMEM)), "not enough memory"),
}
PLACES = ["PIL.ImageFile.ImageFile.load", "pathlib.Path.open"]


def as_zip(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))


def as_parquet(folder: Path) -> Path:
    paths = sorted((folder / "train").rglob("*.png"))
    rows: list[tuple[str | None, bytes | None, object]] = [(p.name, p.read_bytes(), p.parent.name) for p in paths]
    return write_parquet(folder.parent / "photos.parquet", rows, names=None)


DOORS: dict[str, Callable[[ImageDataset], object]] = {
    "stop": lambda dataset: check_photos(dataset, splits=tuple(dataset.splits), num_workers=2),
    "skip": lambda dataset: skip_bad_photos(dataset, num_workers=2),
    "check": lambda dataset: check(dataset, use_cache=False, num_workers=2),
}


@pytest.mark.parametrize("place", PLACES, ids=["decoding", "reading"])
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("form", [Path, as_zip, as_parquet], ids=["folder", "zip", "parquet"])
def test_it_ends_the_command_and_blames_no_photo(
    place: str, kind: str, door: str, form: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(form(write_photos(tmp_path / "photos", per_class=2)))
    error, words = ERRORS[kind]

    def fail(*_: object, **__: object) -> None:
        raise error()

    with monkeypatch.context() as patch:
        patch.setattr(place, fail)
        with pytest.raises(DataError, match=f"cannot be read: .*{words}") as caught:
            DOORS[door](dataset)
    message = str(caught.value)
    assert "\n" not in message
    assert "photos" in message.partition(": this photo")[0]  # where it is
    assert not any(word in message for word in ("Replace", "damaged", "skip"))


def test_arrow_out_of_memory_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = as_parquet(write_photos(tmp_path / "photos", per_class=2))

    def fail(*_: object) -> None:
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr("allmlp.data.sources.parquet.read_footer", fail)
    with pytest.raises(DataError, match="not enough memory") as caught:
        open_dataset(source)
    assert "copy or download" not in str(caught.value)


OUTAGES = [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENETDOWN, errno.ENETUNREACH]


def failing_stat(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """Let the file system fail to look at files of this name."""
    stat = os.stat

    def fail(path: object, *arguments: Any, **options: Any) -> os.stat_result:
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number), path)
        return stat(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", fail)


@pytest.mark.parametrize("number", OUTAGES, ids=errno.errorcode.get)
def test_a_file_that_cannot_be_looked_at_is_not_missing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0.png").write_bytes(b"x")
    reader = FileReader(tmp_path, ("0.png",))
    with monkeypatch.context() as patch:
        failing_stat(patch, "0.png", number)
        for look in (lambda: file_problem(tmp_path / "0.png"), lambda: reader.read(0)):
            with pytest.raises(
                ShortageError, match=r"0\.png: this photo cannot be read: the disk, or the network, does"
            ):
                look()
        failing_stat(patch, "0.png", errno.EACCES)
        assert file_problem(tmp_path / "0.png") == "permission denied"
    assert reader.read(0) == b"x"


def test_a_photo_without_an_ending_is_not_left_out_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_photos(tmp_path / "photos", per_class=1)
    photo = next(folder.rglob("*.png"))
    bare = photo.rename(photo.with_suffix(""))
    listing = list_folder(folder)
    name = str(bare.relative_to(folder))
    assert unnamed_photos(folder, listing) == [name]
    failing_stat(monkeypatch, name, errno.EIO)
    with pytest.raises(ShortageError, match="does not answer"):
        unnamed_photos(folder, listing)
